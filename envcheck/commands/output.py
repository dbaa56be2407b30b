"""Writing what a command has to say, whatever standard output is: a terminal, a closed pipe, ASCII only, nothing."""

from __future__ import annotations

import os
import shutil
import sys


def write(text: str) -> None:
    """Write text to standard output; a reader that has gone is no error."""
    try:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        # What is still buffered must not be tried again when the interpreter ends.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open to the end


def answer(value: object, text: str, *, as_json: bool) -> None:
    """Write a value as JSON where that was asked for, else as text."""
    if not as_json:
        write(text)
        return
    import msgspec

    write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def tidied(text: str) -> str:
    """Return text in which the user's home folder is `~`: shorter, and with no name in it; commands stay runnable."""
    home = os.path.expanduser("~")  # noqa: PTH111 - no error where HOME is missing
    # In JSON a backslash stands twice.
    for written in {home, home.replace("\\", "\\\\")}:
        if len(written) > 1 and written in text:
            from envcheck.redact import tidy

            text = str(tidy(text, written))
    return text


def width() -> int:
    """Return the columns of the terminal; 100 where there is none."""
    return min(shutil.get_terminal_size((100, 24)).columns, 120)


def colour() -> bool:
    """Tell whether standard output shows colours; NO_COLOR and TERM=dumb say that it does not."""
    return bool(
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "") not in {"", "dumb"}
    )
