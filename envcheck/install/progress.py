"""What a person sees while an environment is made: bars on a terminal, else one plain line a step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import IO

from envcheck.install.steps import Listener

STEPS = {"environment": "environment", "solve": "solve", "install": "install", "check": "check", "verify": "verify"}
"""Steps with a bar, in their order."""


@contextlib.contextmanager
def bars(stream: IO[str]) -> Iterator[Listener]:
    """Draw one bar a step, with what is going on in it and for how long; gives the listener."""
    from rich.console import Console  # noqa: PLC0415 - 20 ms that only a terminal needs
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    progress = Progress(
        TextColumn("{task.fields[name]:<12}", markup=False),
        BarColumn(bar_width=24),
        TimeElapsedColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        console=Console(file=stream, highlight=False, markup=False, emoji=False),
        refresh_per_second=8,
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def listen(step: str, text: str) -> None:
        if step not in tasks:
            tasks[step] = progress.add_task("", total=None, name=STEPS.get(step, step), state=text)
        elif text:
            progress.update(tasks[step], state=text)
        else:
            progress.update(tasks[step], total=1, completed=1)

    with progress:
        yield listen


def plain(write: Callable[[str], None]) -> Listener:
    """Return a listener that writes one line for all that begins."""

    def listen(step: str, text: str) -> None:
        if text:
            write(f"{step}: {text}")

    return listen


def silent(step: str, text: str) -> None:
    """Show nothing."""
