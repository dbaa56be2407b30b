"""Signs from releases of PyTorch that pip was asked for and did not find, compared with what was published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envcheck.facts import Facts, Message

__all__ = ["signs_of_requests"]

FAMILIES = {"pip-framework-versions-none", "pip-framework-version-missing"}


def signs_of_requests(messages: Sequence[Message], facts: Facts) -> Iterator[str]:
    """Yield what the published builds say of each release of torch that pip did not find.

    Of a release that is not known nothing is said. Source: PyTorch's wheels (compat/tables/torch.toml).
    """
    wanted = {
        match[1]
        for message in messages
        if message.family in FAMILIES and message.values.get("package") == "torch"
        for match in [re.match(r"===?(\d+(?:\.\d+)+)", message.values.get("wanted", ""))]
        if match
    }
    if not wanted:
        return
    indexes = {message.values["asked"] for message in messages if message.values.get("asked")}
    python = facts.python.version if facts.python is not None else None
    for version in sorted(wanted):
        yield from _of_release(version, python, indexes)


def _of_release(version: str, python: str | None, indexes: set[str]) -> Iterator[str]:
    from envcheck.compat import torch, versions  # noqa: PLC0415 - only where a release was asked for

    builds = torch.published(version)
    pythons = [series for build in builds for text in build.pythons if (series := versions.parse(text))]
    here = versions.parse(versions.series(python))
    if here is not None and pythons and here > max(pythons):
        yield "text:release-is-for-older-pythons"
    if here is not None and pythons and here < min(pythons):
        yield "text:release-is-for-newer-pythons"
    cudas = {build.cuda.replace(".", "") for build in builds if build.cuda}
    if indexes and cudas and not indexes & cudas:
        yield "text:release-is-on-another-index"
