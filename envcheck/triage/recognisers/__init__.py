"""Recognisers: one module a format, each with `recognise(lines) -> Iterator[Piece]`.

A module is loaded only where one of its literals stands in the paste: that keeps the start short.
"""

from __future__ import annotations

RECOGNISERS: tuple[tuple[str, tuple[str, ...]], ...] = ()
"""Module → texts of which one must stand in a paste for the module to have anything to say; in order of authority."""
