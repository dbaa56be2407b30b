"""The live page of an endurance run: how it goes right now, on a terminal; elsewhere one line a minute."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from envcheck.smoke.child import without_escapes

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

SPARKS = "▁▂▃▄▅▆▇█"
SPARK_WIDTH = 48
"""Rounds whose rate is drawn: the newest."""

LINE_SECONDS = 60.0
"""Of load between two lines where there is no terminal."""


class Page:
    """What a terminal shows while the load is on; nothing before the first look at the machine.

    Give it to rich as something to render; `tell` takes the events of the run.
    """

    def __init__(self) -> None:
        """Show nothing yet."""
        self.lines: list[str] = []
        self.rates: dict[str, list[float]] = {}
        self.newest: dict[str, float] = {}

    def tell(self, framework: str, event: dict[str, Any]) -> None:
        """Take an event; only `endurance` changes the page."""
        if event["event"] != "endurance":
            return
        for line in event["rounds"]:
            rates = self.rates.setdefault(line["device"], [])
            if line.get("samples_per_second") is not None and line["at"] != self.newest.get(line["device"]):
                self.newest[line["device"]] = line["at"]
                rates.append(line["samples_per_second"])
                del rates[:-SPARK_WIDTH]
        self.lines = page_lines(framework, event, self.rates)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give rich the lines, as plain text that is cut and never wrapped."""
        from rich.text import Text  # noqa: PLC0415 - 20 ms that only a terminal needs

        shown = [without_escapes(line) for line in self.lines]
        if options.ascii_only:
            shown = [line.encode("ascii", "replace").decode() for line in shown]
        yield from (Text(line, no_wrap=True, overflow="ellipsis") for line in shown)


def page_lines(framework: str, event: dict[str, Any], rates: dict[str, list[float]]) -> list[str]:
    """Return the page as lines: time, each load, the processor, each GPU, what was found so far."""
    lines = [f"endurance  {framework}  {_time(event)}  Ctrl-C ends it with the verdict so far"]
    for line in event["rounds"]:
        device = line["device"]
        lines += [
            f"  {device:<10}{'  '.join(_load(line, event['machine']))}",
            f"  {'':<10}{sparkline(rates.get(device, []))}",
        ]
    processor = _processor(event["machine"])
    if processor:
        lines.append(f"  {'processor':<10}{'  '.join(processor)}")
    gpus = event["machine"].get("gpus") or []
    lines += [f"  {'GPU ' + str(gpu.get('index')):<10}{'  '.join(_gpu(gpu))}" for gpu in gpus]
    lines += [f"  {'found':<10}{title}" for title in event.get("findings", [])]
    return lines


def plain(write: Callable[[str], None]) -> Callable[[str, dict[str, Any]], None]:
    """Return a listener that writes one line a minute."""
    due: dict[str, float] = {}

    def listen(framework: str, event: dict[str, Any]) -> None:
        if event["event"] != "endurance" or not event["rounds"]:
            return
        at = float(event["machine"]["at"])
        if at < due.get(framework, 0.0):
            return
        due[framework] = at + LINE_SECONDS
        loads = ["  ".join([line["device"], *_load(line, event["machine"])]) for line in event["rounds"]]
        gpus = ["  ".join([f"GPU {gpu.get('index')}", *_gpu(gpu)]) for gpu in event["machine"].get("gpus") or []]
        parts = [f"{framework} {_time(event)}", *loads, "  ".join(_processor(event["machine"])), *gpus]
        write(without_escapes("; ".join(part for part in [*parts, *event.get("findings", [])] if part)))

    return listen


def sparkline(values: list[float]) -> str:
    """Return values as a row of blocks, from nothing to the largest of them."""
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(SPARKS[min(int(value / top * len(SPARKS)), len(SPARKS) - 1)] for value in values)


def _time(event: dict[str, Any]) -> str:
    return f"{event['machine']['at'] / 60:.1f} of {event['seconds'] / 60:g} minutes"


def _load(line: dict[str, Any], machine: dict[str, Any]) -> list[str]:
    resident = machine.get("resident_bytes", {}).get(line["device"])
    parts = [
        _number(line.get("samples_per_second"), "samples/s"),
        _number(line.get("gigaflops"), "GFLOP/s"),
        _number(None if resident is None else resident / 2**20, "MiB"),
        "" if line.get("finite", True) else "NOT FINITE",
    ]
    return [part for part in parts if part]


def _processor(machine: dict[str, Any]) -> list[str]:
    parts = [_number(machine.get("megahertz"), "MHz"), _number(machine.get("celsius"), "°C")]
    return [part for part in parts if part]


def _gpu(gpu: dict[str, Any]) -> list[str]:
    if gpu.get("state", "ok") != "ok":
        return [f"does not answer: {gpu['state']}"]
    parts = [
        _number(gpu.get("temperature_celsius"), "°C"),
        _number(gpu.get("clock_megahertz"), "MHz"),
        _number(gpu.get("power_watts"), "W"),
        _number(gpu.get("utilization_percent"), "% busy"),
        _number(gpu.get("ecc_uncorrected"), "uncorrected errors"),
        ", ".join(gpu.get("throttle_reasons") or []),
    ]
    return [part for part in parts if part]


def _number(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:,.0f} {unit}"
