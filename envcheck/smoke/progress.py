"""What a person sees while it trains: a bar on a terminal, else one plain line an epoch."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import IO, Any

from envcheck.smoke import endurance_page
from envcheck.smoke.choice import Listener
from envcheck.smoke.page import epoch_line
from envcheck.smoke.training import NAMES

STEPS = {
    "import": "importing",
    "device": "choosing the device",
    "preprocess": "preprocessing",
    "build": "building",
    "initialise": "initialising",
    "train": "training",
    "evaluate": "evaluating",
    "threads": "measuring with one thread",
}


def shows_bars(stream: IO[str] | None) -> bool:
    """Tell whether a stream is a terminal that can redraw a line."""
    return bool(stream is not None and stream.isatty() and os.environ.get("TERM", "") not in {"", "dumb"})


@contextlib.contextmanager
def bars(stream: IO[str]) -> Iterator[Listener]:
    """Draw one bar for each framework, with loss, accuracy, samples/s and time left; gives the listener.

    The bars are cleared at the end, whatever it is, and the cursor is shown again.
    """
    from rich.console import Console, Group  # noqa: PLC0415 - 20 ms that only a terminal needs
    from rich.live import Live  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    # What comes from the child is text, never markup.
    progress = Progress(
        TextColumn("{task.fields[name]:<21}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    endurance = endurance_page.Page()
    tasks: dict[tuple[str, str], TaskID] = {}

    def listen(framework: str, event: dict[str, Any]) -> None:
        if event["event"] == "endurance":
            endurance.tell(framework, event)
            return
        # Parts that are tried at once have a bar each.
        of = framework, event.get("part", "")
        if of not in tasks:
            name = NAMES.get(framework, framework)
            tasks[of] = progress.add_task("", total=None, name=f"{name} {of[1]}".rstrip(), state="starting")
        task = tasks[of]
        if event["event"] == "step":
            progress.update(task, state=STEPS.get(event["step"], event["step"]))
        elif event["event"] in {"progress", "epoch"}:
            progress.update(task, completed=_epochs_done(event), total=event["epochs"], state=_state(event))
        elif event["event"] == "proof":
            progress.update(task, completed=event["done"], total=event["total"], state=event["name"])
        elif event["event"] in {"end", "failure"}:
            progress.update(task, state="done" if event["event"] == "end" else "failed")

    with Live(Group(progress, endurance), console=console, refresh_per_second=5, transient=True):
        yield listen


def _epochs_done(event: dict[str, Any]) -> float:
    if event["event"] == "epoch":
        return float(event["epoch"])
    return float(event["epoch"] - 1 + event["batch"] / event["batches"])


def _state(event: dict[str, Any]) -> str:
    loss, accuracy, rate = (event[name] for name in ("loss", "accuracy", "samples_per_second"))
    parts = [f"epoch {event['epoch']}/{event['epochs']}"]
    if loss is not None:
        parts.append(f"loss {loss:.3f}")
    if accuracy is not None:
        parts.append(f"accuracy {accuracy:.3f}")
    if rate is not None:
        parts.append(f"{rate:,.0f} samples/s")
    return "  ".join(parts)


def plain(write: Callable[[str], None]) -> Listener:
    """Return a listener that writes one line an epoch, and one a minute while the load is kept on."""
    endurance = endurance_page.plain(write)

    def listen(framework: str, event: dict[str, Any]) -> None:
        endurance(framework, event)
        name = NAMES.get(framework, framework)
        if event["event"] == "epoch" and "workload" not in event:
            write(epoch_line(framework, event))
        elif event["event"] == "step" and event["step"] in {"import", "threads"}:
            write(f"{name} {STEPS[event['step']]}")
        elif event["event"] == "proof":
            write(f"{name} {event['name']} done, {event['done']} of {event['total']}")

    return listen


def silent(framework: str, event: dict[str, Any]) -> None:
    """Show nothing."""
