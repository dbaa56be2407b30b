"""Which Pythons an environment may be made from."""

from __future__ import annotations

from packaging.version import Version

from envcheck.compat.target import python_series
from envcheck.machine import InstalledPython, Machine
from envcheck.plan.builds import frameworks_with_builds, published_for
from envcheck.plan.model import parse_version, specifier_set
from envcheck.wish import Wish

OLDEST_DOWNLOAD = Version("3.8")
"""The oldest CPython that uv fetches (`uv python list --only-downloads`, uv 0.13)."""


def pythons_for(wish: Wish, machine: Machine) -> list[tuple[str, InstalledPython | None]]:
    """Return the series that may be used, each with its installed interpreter; None where it would be fetched."""
    free_threaded = wish.python.endswith("t")
    installed: dict[str, InstalledPython] = {}
    for python in sorted(machine.pythons, key=lambda item: item.preferred, reverse=True):
        series = python_series(python.version)
        if series and series.endswith("t") == free_threaded and _allowed(wish.python, python.version):
            installed.setdefault(series, python)
    found: list[tuple[str, InstalledPython | None]] = list(installed.items())
    if machine.downloads_python:
        builds = [build for item in frameworks_with_builds(wish) for build in published_for(item.name, machine)]
        known = {series for build in builds for series in build.pythons}
        found += [
            (series, None)
            for series in sorted(known, key=lambda text: parse_version(text.rstrip("t")), reverse=True)
            if series not in installed
            and series.endswith("t") == free_threaded
            and parse_version(series.rstrip("t")) >= OLDEST_DOWNLOAD
            and series_allowed(wish.python, series)
        ]
    return found


def _allowed(specifier: str, version: str) -> bool:
    if specifier.endswith("t"):
        return python_series(version) == specifier
    return specifier_set(specifier).contains(version.rstrip("t"), prereleases=True)


def series_allowed(specifier: str, series: str) -> bool:
    """Tell whether some release of a series is allowed: the first, or a late one."""
    if specifier.endswith("t"):
        return series == specifier
    return any(_allowed(specifier, f"{series}.{patch}") for patch in range(30))
