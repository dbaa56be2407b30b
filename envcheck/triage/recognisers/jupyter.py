"""`jupyter kernelspec list`: the kernels that a notebook offers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.facts import Kernel
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece

ROW = r"^\s+(?P<name>[\w.-]{1,60})\s+(?P<path>(?:/|[A-Za-z]:\\)\S{3,200}kernels[\\/][\w.-]+)$"


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield registered kernels."""
    listing = False
    for line in paste.lines:
        if line.text.startswith("Available kernels:"):
            listing = True
        elif listing and (found := re.match(ROW, line.text)):
            kernel = Kernel(name=found["name"], path=found["path"])
            yield Piece("jupyter", {"kernels": [kernel]}, line.source)
        elif line.text.strip():
            listing = False
