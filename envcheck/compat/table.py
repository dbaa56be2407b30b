"""Reading a table of the package: JSON that was compiled from the TOML file beside it (tools/compile_tables.py)."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

TABLES = Path(__file__).parent / "tables"

T = TypeVar("T")


def read(name: str, form: type[T]) -> T:
    """Read one table.

    Args:
        name: the table's file name without its ending, such as "torch".
        form: the Struct that names the parts and fields to read; what it does not name is passed over.

    Returns:
        The table, validated against the form. Callers keep it: each module caches the tables that it asks.

    Raises:
        FileNotFoundError: the package has no such table.
        msgspec.ValidationError: the table does not have that form.
    """
    return msgspec.json.decode((TABLES / f"{name}.json").read_bytes(), type=form)
