"""Names for the kernel of an environment."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from envcheck import describe

TITLES = {**describe.TITLES, "jax": "JAX"}
"""Framework → its name for people."""

PLAIN = {".venv", "venv", "env", ".env", "virtualenv", ".virtualenv"}
"""Names of an environment's folder that say nothing: the folder above it is the project."""


def name_of(prefix: str) -> str:
    """Return what people call an environment: its project's folder, or its own."""
    parts = [part for part in prefix.replace("\\", "/").split("/") if part]
    if len(parts) > 1 and parts[-1].lower() in PLAIN:
        return parts[-2]
    return parts[-1] if parts else "python"


def kernel_name(prefix: str, taken: Collection[str] = ()) -> str:
    """Return a name that Jupyter takes and that no other kernel has.

    Args:
        prefix: folder of the environment.
        taken: names of other kernels, in lower case.
    """
    plain = re.sub(r"[^a-z0-9._-]+", "-", name_of(prefix).lower()).strip("-._") or "python"
    # `python3` is the name under which the server's own environment is looked for.
    plain = f"{plain}-kernel" if re.fullmatch(r"python[23]?", plain) else plain
    number, name = 1, plain
    while name in taken:
        number += 1
        name = f"{plain}-{number}"
    return name


def display_name(prefix: str, version: str | None, frameworks: Mapping[str, str], taken: Collection[str] = ()) -> str:
    """Return what a notebook's menu shows: `project (Python 3.12, PyTorch 2.9.0)`.

    Args:
        prefix: folder of the environment.
        version: of its Python.
        frameworks: framework → version; Keras is left out beside TensorFlow, which brings it along.
        taken: what the menu shows already; where the name is among them the folder is added.
    """
    shown = {name: number for name, number in frameworks.items() if name != "keras" or "tensorflow" not in frameworks}
    series = ".".join((version or "").split(".")[:2])
    parts = [f"Python {series}".strip(), *(f"{TITLES.get(name, name)} {number}" for name, number in shown.items())]
    name = f"{name_of(prefix)} ({', '.join(parts)})"
    return f"{name} {prefix}" if name in taken else name
