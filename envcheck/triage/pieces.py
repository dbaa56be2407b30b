"""What a recogniser hands over: a few facts of one group, and where they were read."""

from __future__ import annotations

from typing import Any

import msgspec


class Piece(msgspec.Struct, frozen=True):
    """Facts of one group that stood together in a paste.

    Attributes:
        group: name of the group in `Facts`, such as `driver`.
        values: field → value; what is None is left out.
        source: `FILE:LINE` of the line that says it.
    """

    group: str
    values: dict[str, Any]
    source: str
