"""Versions as the tables and the callers write them: parsed once, compared as versions, never as text."""

from __future__ import annotations

from functools import lru_cache
from typing import TypeAlias

from packaging.version import InvalidVersion, Version

VersionLike: TypeAlias = "str | Version"
"""A version as text ("12.8", "570.124.06", "2.6.0+cu124") or already parsed."""


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Version | None:
    try:
        return Version(text)
    except InvalidVersion:
        return None


def parse(version: VersionLike | None) -> Version | None:
    """Return the version parsed, or None where there is none or the text is no version."""
    return _parsed(version) if isinstance(version, str) else version


def public(version: VersionLike | None) -> Version | None:
    """Return the version without its local part: 2.6.0 for "2.6.0+cu124"; None as for parse."""
    parsed = parse(version)
    return _parsed(parsed.public) if parsed is not None and parsed.local else parsed


def series(version: VersionLike | None) -> str | None:
    """Return "major.minor" of a version: "12.4" for "12.4.1", "2.6" for "2.6.0+cu124"; None as for parse."""
    parsed = parse(version)
    return None if parsed is None else f"{parsed.major}.{parsed.minor}"
