"""Whether a lock that is there can be taken: it says what it was made from, and nothing of that has changed.

Version and checksum of every package are then known, and the indexes need not be asked what there is.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

from envcheck.install import generations, uv
from envcheck.install.generations import Place
from envcheck.install.uv import Places
from envcheck.plan import Plan

INPUTS = "# inputs: "
"""How the first line of a lock begins; locks of stacks say the same (`envcheck.stacks`)."""

INCLUDE_DEPTH = 10

UNFIXED = r"^(?:-e\s|\S+ @ )"
"""A line of a lock for something that may change without its name changing: a folder, an address."""


def inputs(plan: Plan, places: Places, variables: Mapping[str, str]) -> str:
    """Return a digest of all that decides a lock, as far as this machine knows it.

    Args:
        plan: what is wanted.
        places: who makes the environment.
        variables: what uv is told, as `uv.variables` returns it.
    """
    constraints = (variables.get("UV_CONSTRAINT") or os.environ.get("UV_CONSTRAINT") or "").split()
    folders = (variables.get("UV_FIND_LINKS") or os.environ.get("UV_FIND_LINKS") or "").split(",")
    told = {name: value for name, value in os.environ.items() if name.startswith("UV_")} | dict(variables)
    parts = [
        plan.platform,
        plan.python.series,
        plan.python.path,
        uv.project_file(plan),
        Path(places.conda).name,
        *(f"{name}={value}" for name, value in sorted(told.items()) if name != "UV_CACHE_DIR"),
        *(text for path in (*plan.files, *constraints) for text in _contents(Path(path), INCLUDE_DEPTH)),
        *(name for folder in folders for name in _names(folder)),
    ]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def _contents(path: Path, depth: int) -> list[str]:
    """Return the text of a requirements file and of those that it names."""
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except OSError:
        return [f"{path} cannot be read"]
    named = re.findall(r"^\s*(?:-r|-c|--requirement|--constraint)[\s=]*(\S+)", text, re.MULTILINE) if depth else []
    return [text, *(part for other in named for part in _contents(path.parent / other, depth - 1))]


def _names(folder: str) -> list[str]:
    """Return the files of a folder of wheels: a new one may be wanted."""
    path = re.sub(r"^file:(//(localhost)?)?(?=/)", "", folder)
    try:
        return sorted(entry.name for entry in Path(path).iterdir()) if path else []
    except OSError:
        return []


def reusable(place: Place, digest: str) -> tuple[int, bytes] | None:
    """Return number and lock of the newest generation that was solved from the same; None where there is none."""
    for generation in reversed(generations.listed(place)):
        try:
            lock = (place.record(generation.number) / uv.LOCK).read_bytes()
        except OSError:
            continue
        same = lock.startswith(f"{INPUTS}{digest}\n".encode())
        if generation.usable and same and not re.search(UNFIXED.encode(), lock, re.MULTILINE):
            return generation.number, lock
    return None


def sign(lock: Path, digest: str) -> None:
    """Write on a lock what it was made from."""
    generations.write(lock, f"{INPUTS}{digest}\n".encode() + lock.read_bytes())
