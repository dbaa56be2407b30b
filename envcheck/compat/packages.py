"""Names of packages: misleading ones, import names, packages that may not be installed together.

Table: packages (package metadata, setup scripts, pantsbuild's and pipreqs' module mappings).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

import msgspec

from envcheck.compat import table


class Misleading(msgspec.Struct, frozen=True):
    """A name that people install though they mean another package."""

    name: str
    install: list[str]
    """What they mean. An entry in brackets or with blanks is no package name but a remark."""
    why: str
    kind: str
    """stub, removed, ended, variant, internal, other project, no such package, conda only."""
    source: str
    newest: str | None = None
    """Newest version under the misleading name."""
    message: str | None = None
    """What its installation prints."""
    still_needed: str | None = None
    note: str | None = None
    verified: bool = True


class ImportName(msgspec.Struct, frozen=True):
    """An import name and the distribution that provides it."""

    import_name: str
    distribution: str
    source: str
    also: list[str] = []
    """Other distributions that provide it."""
    note: str | None = None
    verified: bool = True


class Exclusive(msgspec.Struct, frozen=True):
    """Distributions that write the same folder, so that only one may be installed."""

    packages: list[str]
    folder: str
    text: str
    source: str
    verified: bool = True


class _Table(msgspec.Struct, frozen=True):
    misleading: list[Misleading]
    imports: list[ImportName] = msgspec.field(name="import")
    exclusive: list[Exclusive]


@cache
def _table() -> _Table:
    return table.read("packages", _Table)


def normalised(name: str) -> str:
    """Return a distribution's name in its normal form: lower case, runs of "-", "_" and "." as one "-"."""
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _misleading() -> dict[str, Misleading]:
    return {normalised(row.name): row for row in _table().misleading}


@cache
def _by_import() -> dict[str, ImportName]:
    return {row.import_name: row for row in _table().imports}


def misleading(name: str) -> Misleading | None:
    """Return what is wrong with a distribution's name, or None where nothing is known against it."""
    return _misleading().get(normalised(name))


def distribution_of_import(module: str) -> ImportName | None:
    """Return the distribution that provides a module ("cv2", "google.protobuf.message"), by its longest known name.

    Returns:
        The row, or None where the table does not know the module: often both have the same name.
    """
    parts = module.split(".")
    names = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((row for name in names if (row := _by_import().get(name)) is not None), None)


def exclusive_groups(names: Iterable[str]) -> list[tuple[Exclusive, list[str]]]:
    """Return the groups of which more than one is among some distributions, with those that are, in table order."""
    present = {normalised(name) for name in names}
    found = []
    for row in _table().exclusive:
        together = [name for name in row.packages if normalised(name) in present]
        if len(together) > 1:
            found.append((row, together))
    return found
