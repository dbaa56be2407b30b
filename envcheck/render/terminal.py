"""A report as a page for a terminal: verdict first, then cause, evidence, cure.

What came from the machine is text, never markup: every piece goes through `clean`, which drops control characters, and
is put into rich's Text, which interprets nothing.  Colours repeat what words say.
"""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from envcheck.describe import frameworks, gibibytes
from envcheck.facts import Facts
from envcheck.render.plain import clean
from envcheck.report import CheckOutcome, Confidence, Finding, Outcome, Remedy, Report, Severity, Verdict

__all__ = ["clean", "page", "summary_rows"]

VERDICTS = {
    Verdict.OK: ("OK", "bold green"),
    Verdict.WARNING: ("WARNING", "bold yellow"),
    Verdict.ERROR: ("ERROR", "bold red"),
    Verdict.UNKNOWN: ("UNKNOWN", "bold magenta"),
}
SEVERITIES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow", Severity.NOTE: "bold"}

AT_FAULT = {
    "host": "the host",
    "image": "the image",
    "start": "the way in which the container was started",
}

EVIDENCE_LINES = 4
REMEDIES = 2
NOTES_SHOWN = 3


def page(report: Report, *, width: int = 100, colour: bool = False, verbose: bool = False, quiet: bool = False) -> str:
    """Return the page.

    Args:
        report: what to show.
        width: columns.
        colour: whether the terminal shows colours.
        verbose: all facts, probes and checks too.
        quiet: the verdict alone.
    """
    output = io.StringIO()
    console = _console(output, width, colour=colour)
    word, style = VERDICTS[report.verdict]
    _heading(console, word, style, report.summary)
    if quiet:
        return output.getvalue()
    shown = [finding for finding in report.findings if not finding.muted]
    # Where the verdict is the first finding's sentence, it stands once and its cause follows at once.
    said = report.verdict is Verdict.ERROR and bool(shown) and shown[0].title == report.summary
    _findings(console, shown, said=said, verbose=verbose)
    console.print()
    for name, value in [*summary_rows(report.facts), *_remarks(report)]:
        _row(console, name, value)
    if verbose:
        _details(console, report)
    _row(console, "checks", _counts(report))
    if not verbose and any(finding.severity is not Severity.NOTE for finding in shown):
        console.print(
            f"  envcheck explain {shown[0].check} says more; envcheck doctor -v shows every fact", style="dim"
        )
    return output.getvalue()


def findings(
    verdict: Verdict,
    summary: str,
    found: list[Finding],
    *,
    width: int = 100,
    colour: bool = False,
    verbose: bool = False,
) -> str:
    """Return a verdict and findings as `page` shows them, for answers that are no whole report."""
    output = io.StringIO()
    console = _console(output, width, colour=colour)
    word, style = VERDICTS[verdict]
    _heading(console, word, style, summary)
    said = verdict is Verdict.ERROR and bool(found) and found[0].title == summary
    _findings(console, found, said=said, verbose=verbose)
    return output.getvalue()


def _console(output: io.StringIO, width: int, *, colour: bool) -> Console:
    return Console(
        file=output,
        width=max(width, 40),
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def _heading(console: Console, word: str, style: str, sentence: str, emphasis: str = "") -> None:
    """Write a word in its style and a sentence beside it, wrapped under its own beginning."""
    indent = len(word) + 2
    lines = Text(clean(sentence), style=emphasis).wrap(console, max(console.width - indent, 20), overflow="fold")
    for number, line in enumerate(lines or [Text("")]):
        line.rstrip()
        head = Text.assemble((word, style), "  ") if number == 0 else Text(" " * indent)
        console.print(Text.assemble(head, line), soft_wrap=True)


def _findings(console: Console, shown: list[Finding], *, said: bool, verbose: bool) -> None:
    notes = [finding for finding in shown if finding.severity is Severity.NOTE]
    for number, finding in enumerate(shown):
        if finding.severity is not Severity.NOTE or verbose:
            if number or not said:
                console.print()
                _heading(console, finding.severity.value, SEVERITIES[finding.severity], finding.title, "bold")
            _finding(console, finding, verbose=verbose)
    if notes and not verbose:
        console.print()
        for finding in notes[:NOTES_SHOWN]:
            _row(console, "note", finding.title)
        if len(notes) > NOTES_SHOWN:
            _row(console, "", f"and {len(notes) - NOTES_SHOWN} more notes: envcheck doctor -v")


def _remarks(report: Report) -> list[tuple[str, str]]:
    """Return what was required, what could not be examined and what was muted, in rows."""
    rows = [("required", f"{item.text}: {item.state} ({item.reason})") for item in report.requirements]
    rows += [("not examined", sentence) for sentence in report.not_examined]
    return rows + [("muted", f"{found.title} [{found.check}]") for found in report.findings if found.muted]


def _finding(console: Console, finding: Finding, *, verbose: bool) -> None:
    sure = "" if finding.confidence is Confidence.CERTAIN else f", {finding.confidence.value}"
    _row(console, "cause", f"{finding.cause}{sure}  [{finding.check}]")
    if finding.at_fault:
        _row(console, "at fault", AT_FAULT.get(finding.at_fault, finding.at_fault))
    if finding.detail:
        _row(console, "why", finding.detail)
    evidence = finding.evidence if verbose else finding.evidence[:EVIDENCE_LINES]
    for piece in evidence:
        text = clean(piece.text).strip()
        if not verbose and len(text) > 3 * console.width:
            text = f"{text[: 3 * console.width]} …"
        _row(console, "seen", f"{text}  ({piece.source})" if piece.source else text)
    if len(finding.evidence) > len(evidence):
        _row(console, "", f"and {len(finding.evidence) - len(evidence)} more (-v)")
    for consequence in finding.consequences:
        _row(console, "explains", consequence.title)
    for number, remedy in enumerate(finding.remedies if verbose else finding.remedies[:REMEDIES]):
        _remedy(console, remedy, "cure" if number == 0 else "or")
    for link in finding.links if verbose else finding.links[:1]:
        # An address is never wrapped: it must survive being clicked.
        console.print(Text.assemble((f"  {'see':<13}", "dim"), clean(link)), soft_wrap=True)


def _remedy(console: Console, remedy: Remedy, label: str) -> None:
    care = "" if remedy.safe else "  (needs care)"
    changes = f" (changes: {remedy.changes})" if remedy.changes else ""
    _row(console, label, f"{remedy.action}{changes}{care}")
    for command in remedy.commands:
        # A command is never wrapped: it must survive being copied.
        console.print(Text.assemble(" " * 13, "    ", (clean(command), "cyan")), soft_wrap=True)


def _row(console: Console, label: str, text: str) -> None:
    indent = 15
    lines = Text(clean(text)).wrap(console, max(console.width - indent, 20), overflow="fold") or [Text("")]
    for number, line in enumerate(lines):
        head = Text(f"  {label if number == 0 else '':<13}", style="dim")
        line.rstrip()
        console.print(Text.assemble(head, line), soft_wrap=True)


def summary_rows(facts: Facts) -> list[tuple[str, str]]:
    """Return what the machine is, in a handful of rows."""
    rows = []
    platform, cpu, memory, python = facts.platform, facts.cpu, facts.memory, facts.python
    if platform:
        around = [
            platform.container and f"container ({platform.container})",
            platform.wsl and f"WSL {platform.wsl}",
            platform.virtual_machine and f"virtual machine ({platform.virtual_machine})",
            platform.emulation and f"emulated by {platform.emulation}",
        ]
        libc = f"{platform.libc} {platform.libc_version}" if platform.libc else ""
        parts = [platform.distribution_name or platform.system, platform.machine, libc, *around]
        rows.append(("system", ", ".join(part for part in parts if part)))
    if cpu and cpu.logical_cores:
        allowed = f", {cpu.allowed_cores} of {cpu.logical_cores} cores usable" if cpu.allowed_cores else ""
        rows.append(("processor", f"{cpu.model or 'unknown model'}{allowed}"))
    if memory and memory.total_bytes is not None:
        limit = f", limit {gibibytes(memory.cgroup_limit_bytes)}" if memory.cgroup_limit_bytes else ""
        free = f", {gibibytes(memory.available_bytes)} available" if memory.available_bytes is not None else ""
        rows.append(("memory", f"{gibibytes(memory.total_bytes)}{limit}{free}"))
    if facts.nvml and facts.nvml.state == "ok":
        runs = f", runs CUDA up to {facts.nvml.cuda_version}" if facts.nvml.cuda_version else ""
        rows.append(("driver", f"{facts.nvml.driver_version or 'version not known'}{runs}"))
        for gpu in facts.nvml.gpus or []:
            used = (
                f", {gibibytes(gpu.memory_free_bytes)} of {gibibytes(gpu.memory_total_bytes)} free"
                if gpu.memory_total_bytes is not None and gpu.memory_free_bytes is not None
                else ""
            )
            capability = f", compute capability {gpu.compute_capability}" if gpu.compute_capability else ""
            state = "" if gpu.state == "ok" else f" ({gpu.state})"
            rows.append((f"gpu {gpu.index}", f"{gpu.name or 'unknown model'}{used}{capability}{state}"))
    elif facts.pci and facts.pci.devices is not None:
        rows.append(
            ("gpus", "; ".join(_device(device.name, device.vendor_id) for device in facts.pci.devices) or "none")
        )
    if python and python.path:
        rows.append(
            (
                "python",
                f"{python.version or '?'} {python.environment_kind or ''} at {python.path} ({python.chosen_because})",
            )
        )
    if facts.torch or facts.tensorflow or facts.keras:
        rows.append(("frameworks", frameworks(facts)))
    return rows


def _device(name: str, vendor: str) -> str:
    vendors = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}
    return name or f"{vendors.get(vendor, vendor)} device"


def _counts(report: Report) -> str:
    words = {
        CheckOutcome.PASS: "passed",
        CheckOutcome.FAIL: "failed",
        CheckOutcome.ABSENT: "about what is not here",
        CheckOutcome.SKIP: "skipped: a fact is unknown",
        CheckOutcome.CRASH: "crashed",
    }
    outcomes = [check.outcome for check in report.checks]
    return ", ".join(f"{outcomes.count(outcome)} {word}" for outcome, word in words.items() if outcome in outcomes)


def _details(console: Console, report: Report) -> None:
    import msgspec  # noqa: PLC0415

    console.print()
    console.print("facts", style="bold")
    for name, group in msgspec.to_builtins(report.facts).items():
        if not group or not isinstance(group, dict):
            continue
        for field, value in group.items():
            if field != "sources" and value not in (None, [], {}):
                _row(console, name, f"{field}: {_short(value)}")
    console.print()
    console.print("probes", style="bold")
    for probe in report.probes:
        state = probe.outcome.value if probe.outcome is not Outcome.OK or not probe.reason else "ok, in part"
        _row(
            console,
            probe.probe[:12],
            f"{state} in {probe.seconds * 1000:.0f} ms{': ' if probe.reason else ''}{probe.reason}",
        )
    console.print()
    console.print("checks", style="bold")
    for check in report.checks:
        reason = f": {check.reason}" if check.reason else ""
        _row(console, check.outcome.value, f"{check.check}{reason}")
    console.print()


LONGEST = 400


def _short(value: object) -> str:
    text = ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} … (--json has all)"
