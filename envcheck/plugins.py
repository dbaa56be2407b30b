"""Modules of third parties that add checks and probes through entry points.

`importlib.metadata.entry_points()` costs more than the whole `doctor --quick` may, since it imports the mail parser and
reads every distribution; looking only into the files that can hold a group costs a millisecond.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from types import ModuleType
from typing import Any

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


def described(package: str, attribute: str) -> list[Any]:
    """Return what a package's modules, then those of third parties under the same name, have marked as theirs.

    Args:
        package: such as `envcheck.checks`: our own package, and the entry point group of third parties.
        attribute: under which a decorator keeps a function's description.

    Returns:
        The descriptions, module by module in the order of their names, in each in the order of definition.
    """
    names = sorted(found.name for found in pkgutil.iter_modules(importlib.import_module(package).__path__))
    own = [importlib.import_module(f"{package}.{name}") for name in names]
    return [
        getattr(value, attribute)
        for module in [*own, *modules(package)]
        for value in vars(module).values()
        if hasattr(value, attribute) and getattr(value, "__module__", "") == module.__name__
    ]


FAILED: dict[str, str] = {}
"""Module name → why it could not be imported."""
