"""Wheels and Linux distributions: which C library a wheel's tag asks for, and what each distribution has.

Table: python_wheels (PEPs 513, 571, 599, 600, 656; package databases of the distributions).
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

import msgspec
from packaging.version import Version

from envcheck.compat import table
from envcheck.compat.versions import parse


class Libc(msgspec.Struct, frozen=True):
    """The C library that a wheel needs."""

    kind: Literal["glibc", "musl"]
    minimum: str
    """Least version: "2.28"."""


class Distribution(msgspec.Struct, frozen=True):
    """A release of a Linux distribution, named as in /etc/os-release (ID and VERSION_ID)."""

    id: str
    name: str
    version: str
    """VERSION_ID, or its major part; "rolling" where there is none."""
    libc: Literal["glibc", "musl"]
    source: str
    glibc: str | None = None
    minimum_musl: str | None = None
    newest_glibcxx: str | None = None
    """Newest symbol version in its libstdc++.so.6: "GLIBCXX_3.4.30"."""
    newest_cxxabi: str | None = None
    python3: str | None = None
    """Its default python3."""
    python3_verified: bool = True
    note: str | None = None


class _Tag(msgspec.Struct, frozen=True):
    tag: str
    libc: str
    minimum_libc: str
    minimum_pip: str | None = None


class _Table(msgspec.Struct, frozen=True):
    tag: list[_Tag]
    distribution: list[Distribution]


@cache
def _table() -> _Table:
    return table.read("python_wheels", _Table)


def libc_of_tag(tag: str) -> Libc | None:
    """Return the C library that a platform tag asks for.

    Args:
        tag: a platform tag or its end: "manylinux_2_28_x86_64", "manylinux2014_aarch64", "musllinux_1_2_x86_64".
            Of several joined with dots ("manylinux_2_17_x86_64.manylinux2014_x86_64") the least demanding counts.

    Returns:
        The library, or None for tags that name none (linux_x86_64, win_amd64, any).
    """
    found = [libc for part in tag.split(".") if (libc := _libc_of_one_tag(part)) is not None]
    return min(found, key=lambda libc: Version(libc.minimum)) if found else None


def _libc_of_one_tag(tag: str) -> Libc | None:
    match = re.match(r"(many|musl)linux_(\d+)_(\d+)(?:_|$)", tag)
    if match:
        return Libc("glibc" if match[1] == "many" else "musl", f"{match[2]}.{match[3]}")
    for row in _table().tag:
        if row.libc == "glibc" and re.match(rf"{row.tag}(?:_|$)", tag):
            return Libc("glibc", row.minimum_libc)
    return None


def minimum_pip(tag: str) -> str | None:
    """Return the first pip that accepts wheels with a tag, or None where no row says it."""
    rows = [row for row in _table().tag if re.match(rf"{row.tag}(?:_|$)", tag) and row.minimum_pip]
    if rows:
        return rows[0].minimum_pip
    perennial = [row for row in _table().tag if row.tag == "manylinux_2_28"]
    return perennial[0].minimum_pip if perennial and re.match(r"manylinux_\d+_\d+", tag) else None


def distributions() -> list[Distribution]:
    """Return every distribution release of the table."""
    return _table().distribution


def distribution(identifier: str | None, version: str | None) -> Distribution | None:
    """Return a distribution's row by ID and VERSION_ID of /etc/os-release.

    "9.4" finds the row "9" where the table names major versions only. CentOS is found as the RHEL of its number.

    Returns:
        The row, or None where the table has none: a release between two rows is not guessed.
    """
    if identifier is None:
        return None
    wanted = {"centos": "rhel", "ol": "rhel"}.get(identifier.lower(), identifier.lower())
    rows = [row for row in _table().distribution if row.id == wanted]
    if len(rows) == 1 and rows[0].version == "rolling":
        return rows[0]
    if version is None:
        return None
    shortened = [version.rsplit(".", cut)[0] for cut in range(version.count(".") + 1)]
    return next((row for text in shortened for row in rows if row.version == text), None)


def distributions_with_symbol(symbol: str) -> list[Distribution]:
    """Return the distribution releases whose own libstdc++ has a symbol version ("GLIBCXX_3.4.30").

    Returns:
        The rows; empty where the symbol is none of GLIBCXX_ or CXXABI_, or no release has it.
    """
    prefix, _, number = symbol.rpartition("_")
    wanted = parse(number)
    if wanted is None or prefix not in {"GLIBCXX", "CXXABI"}:
        return []
    found = []
    for row in _table().distribution:
        newest = row.newest_glibcxx if prefix == "GLIBCXX" else row.newest_cxxabi
        present = parse(newest.rpartition("_")[2]) if newest else None
        if present is not None and present >= wanted:
            found.append(row)
    return found


def distributions_with_glibc(version: str) -> list[Distribution]:
    """Return the distribution releases with at least a version of glibc; empty where the text is no version."""
    wanted = parse(version)
    if wanted is None:
        return []
    return [row for row in _table().distribution if (have := parse(row.glibc)) is not None and have >= wanted]
