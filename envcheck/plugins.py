"""Modules of third parties that add checks and probes through entry points.

`importlib.metadata.entry_points()` costs more than the whole `doctor --quick` may, since it imports the mail parser and
reads every distribution; looking only into the files that can hold a group costs a millisecond.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

FILE = "entry_points.txt"


def names(group: str) -> list[str]:
    """Return the module names that installed distributions give under an entry point group, sorted."""
    found: set[str] = set()
    for folder in dict.fromkeys(sys.path):
        try:
            entries = [entry for entry in os.scandir(folder or ".") if entry.name.endswith((".dist-info", ".egg-info"))]
        except OSError:
            continue
        for entry in entries:
            try:
                with open(os.path.join(entry.path, FILE), encoding="utf-8") as file:  # noqa: PTH118, PTH123 - speed
                    text = file.read()
            except (OSError, UnicodeDecodeError):
                continue
            if f"[{group}]" in text:
                import configparser  # noqa: PLC0415 - only where a plug-in is there

                parser = configparser.ConfigParser(delimiters=("=",))
                parser.read_string(text)
                found.update(value.split(":")[0].strip() for value in parser[group].values())
    return sorted(found)


def modules(group: str) -> list[ModuleType]:
    """Import and return the modules that entry points of a group name; one that cannot be imported is left out.

    A plug-in that breaks must not break the diagnosis; `envcheck checks` lists what was left out.
    """
    loaded = []
    for name in names(group):
        try:
            loaded.append(importlib.import_module(name))
        except Exception as error:  # noqa: BLE001, PERF203 - third-party code may raise anything
            FAILED[name] = f"{type(error).__name__}: {error}"
    return loaded


FAILED: dict[str, str] = {}
"""Module name → why it could not be imported."""
