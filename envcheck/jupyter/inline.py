"""A report as HTML inside a notebook: verdict first, then cause, evidence, cure.

Everything from the machine is escaped.  Styles stand in the elements, for a notebook's output has no style sheet of its
own; text and lines take the notebook's own colour, so that light and dark themes both can be read (JupyterLab, VS Code,
Colab), and every colour repeats a word.  No script: an untrusted notebook shows the same.
"""

from __future__ import annotations

import html
import re

from envcheck.jupyter.running import Remark
from envcheck.render.plain import clean
from envcheck.render.terminal import summary_rows
from envcheck.report import CheckOutcome, Confidence, Finding, Remedy, Report, Severity, Verdict

COLOURS = {
    "OK": "#1b6e3c",
    "WARNING": "#8a5300",
    "ERROR": "#b3261e",
    "UNKNOWN": "#6a3fb5",
    "NOTE": "#4a5568",
    "USAGE": "#4a5568",
}
"""Word → its background; white text on each has a contrast of at least 4.5 : 1 (WCAG 2.2, 1.4.3)."""

VERDICT_LINE = re.compile(r"(OK|WARNING|ERROR|UNKNOWN|USAGE) {2,}\S")
"""How a command of envcheck's says its verdict: a word at the beginning of a line, and a sentence."""

EVIDENCE_LINES = 4
EVIDENCE_CHARACTERS = 600

LINE = "rgba(128,128,128,.35)"
SHADE = "rgba(128,128,128,.13)"
CODE = "font-family:var(--jp-code-font-family,ui-monospace,SFMono-Regular,Menlo,Consolas,monospace);font-size:.92em"
COMMAND = (
    f"{CODE};color:inherit;background:{SHADE};border:1px solid {LINE};border-radius:4px;padding:4px 8px;margin:4px 0;"
    "white-space:pre;overflow-x:auto;line-height:1.4;user-select:all;-webkit-user-select:all"
)
HINT = (
    "A click selects a command. Type it into a terminal, or into a cell with ! before it; after an installation "
    "restart the kernel."
)


def of_report(report: Report, remarks: list[Remark], *, verbose: bool = False) -> str:
    """Return a report as HTML.

    Args:
        report: what to show.
        remarks: what the running kernel adds.
        verbose: all evidence, notes unfolded.
    """
    shown = [finding for finding in report.findings if not finding.muted]
    notes = [finding for finding in shown if finding.severity is Severity.NOTE]
    grave = [finding for finding in shown if finding.severity is not Severity.NOTE]
    verdict, summary = verdict_of(report, remarks)
    pieces = [_head(verdict.value.upper(), summary)]
    pieces += [_remark(remark) for remark in remarks if remark.grave]
    pieces += [_finding(finding, said=finding.title == summary, verbose=verbose) for finding in grave]
    if any(remedy.commands for finding in grave for remedy in finding.remedies):
        pieces.append(f'<div style="opacity:.75;font-size:.9em;margin-top:6px">{HINT}</div>')
    pieces.append(_requirements(report))
    lesser = [remark for remark in remarks if not remark.grave]
    if lesser:
        pieces.append(_heading("This kernel") + "".join(_remark(remark) for remark in lesser))
    if notes:
        inner = "".join(_finding(finding, said=False, verbose=verbose) for finding in notes)
        pieces.append(_folded(f"{len(notes)} note{'s' if len(notes) > 1 else ''}", inner, unfolded=verbose))
    pieces.append(_folded("This machine", _rows([*summary_rows(report.facts), ("checks", _counts(report))])))
    if report.not_examined:
        inner = _rows([("not examined", sentence) for sentence in report.not_examined])
        pieces.append(_folded(f"{len(report.not_examined)} not examined", inner, unfolded=verbose))
    muted = [("muted", finding.title) for finding in report.findings if finding.muted]
    pieces.append(_rows(muted) if muted else "")
    if grave:
        pieces.append(
            f'<div style="opacity:.75;font-size:.9em;margin-top:6px"><code style="{CODE}">%envcheck explain '
            f"{_text(grave[0].check)}</code> says more</div>"
        )
    return _card(verdict.value, "".join(pieces))


def of_text(text: str, word: str = "") -> str:
    """Return what a command printed as HTML: its verdict first, wherever it stood.

    Args:
        text: what it printed.
        word: a mark of the caller's, such as `USAGE`, for the first line.
    """
    lines = clean(text).strip("\n").split("\n")
    at, found = 0, word
    if not word:
        said = ((number, VERDICT_LINE.match(line)) for number, line in enumerate(lines))
        at, found = next(((number, match[1]) for number, match in said if match), (0, ""))
    head = _head(found, lines.pop(at).removeprefix("" if word else found).strip()) if found else ""
    body = "\n".join(lines).strip("\n")
    style = f"{CODE};color:inherit;background:none;white-space:pre;overflow-x:auto;margin:6px 0 0"
    shown = f'<pre style="{style}">{_text(body)}</pre>'
    return _card(found.lower(), head + (shown if body else ""))


def verdict_of(report: Report, remarks: list[Remark]) -> tuple[Verdict, str]:
    """Return the verdict and its sentence: an environment in order is none to a kernel that still holds another one."""
    grave = [remark for remark in remarks if remark.grave]
    if grave and report.verdict is Verdict.OK:
        return Verdict.WARNING, "the environment works, but this kernel still runs what it loaded before"
    return report.verdict, report.summary


def _card(verdict: str, inner: str) -> str:
    return (
        f'<div class="envcheck" data-verdict="{_text(verdict)}" style="font-family:var(--jp-ui-font-family,system-ui,'
        f"sans-serif);font-size:13px;line-height:1.5;color:inherit;border:1px solid {LINE};border-radius:6px;"
        f'padding:10px 14px;max-width:64em;overflow-wrap:anywhere">{inner}</div>'
    )


def _badge(word: str) -> str:
    return (
        f'<span style="background:{COLOURS.get(word, COLOURS["NOTE"])};color:#fff;border-radius:4px;padding:1px 8px;'
        f'font-weight:700;font-size:.85em;letter-spacing:.04em;margin-right:8px">{_text(word)}</span>'
    )


def _head(word: str, sentence: str) -> str:
    style = "font-size:1.08em;font-weight:600"
    return f'<div role="heading" aria-level="3" style="{style}">{_badge(word)}{_text(sentence)}</div>'


def _heading(text: str) -> str:
    return f'<div style="font-weight:600;margin-top:10px">{_text(text)}</div>'


def _finding(finding: Finding, *, said: bool, verbose: bool) -> str:
    colour = COLOURS[finding.severity.value.upper()]
    sure = "" if finding.confidence is Confidence.CERTAIN else f" ({finding.confidence.value})"
    title = (
        ""
        if said
        else f'<div style="font-weight:600">{_badge(finding.severity.value.upper())}{_text(finding.title)}</div>'
    )
    rows = [("cause", f'<code style="{CODE}">{_text(finding.cause)}</code>{_text(sure)}')]
    if finding.detail:
        rows.append(("why", _text(finding.detail)))
    evidence = finding.evidence if verbose else finding.evidence[:EVIDENCE_LINES]
    for number, piece in enumerate(evidence):
        text = clean(piece.text).strip()
        if not verbose and len(text) > EVIDENCE_CHARACTERS:
            text = f"{text[:EVIDENCE_CHARACTERS]} …"
        source = f' <span style="opacity:.7">({_text(piece.source)})</span>' if piece.source else ""
        body = _text(text).replace("\n", "<br>")
        rows.append(("seen" if number == 0 else "", f"{body}{source}"))
    if len(finding.evidence) > len(evidence):
        rows.append(("", f"and {len(finding.evidence) - len(evidence)} more: %envcheck -v"))
    rows += [("explains", _text(consequence.title)) for consequence in finding.consequences]
    for number, remedy in enumerate(finding.remedies if verbose else finding.remedies[:2]):
        rows.append(("cure" if number == 0 else "or", _remedy(remedy)))
    rows += [("see", _link(link)) for link in (finding.links if verbose else finding.links[:1])]
    return f'<div style="border-left:3px solid {colour};padding-left:10px;margin:8px 0">{title}{_grid(rows)}</div>'


def _remedy(remedy: Remedy) -> str:
    about = [f"changes: {remedy.changes}" if remedy.changes else "", "" if remedy.safe else "needs care"]
    aside = "; ".join(part for part in about if part)
    lines = [_text(remedy.action) + (f' <span style="opacity:.7">({_text(aside)})</span>' if aside else "")]
    # Commands are typed one by one; what goes into a file stays together.
    blocks = remedy.commands if remedy.shell in {"sh", "powershell"} else ["\n".join(remedy.commands)]
    lines += [f'<pre style="{COMMAND}">{_text(block)}</pre>' for block in blocks if block]
    return "".join(lines)


def _remark(remark: Remark) -> str:
    word = _badge("WARNING") if remark.grave else ""
    action = f'<div style="opacity:.85">{_text(remark.action)}.</div>' if remark.action else ""
    style = f"border-left:3px solid {COLOURS['WARNING'] if remark.grave else LINE};padding-left:10px;margin:6px 0"
    return f'<div style="{style}">{word}{_text(remark.text)}.{action}</div>'


def _requirements(report: Report) -> str:
    rows = _rows([("required", f"{item.text}: {item.state} ({item.reason})") for item in report.requirements])
    return f'<div style="padding-left:13px">{rows}</div>' if rows else ""


def _rows(rows: list[tuple[str, str]]) -> str:
    return _grid([(label, _text(text)) for label, text in rows]) if rows else ""


def _grid(rows: list[tuple[str, str]]) -> str:
    """Return rows of a label and HTML; two columns where the notebook allows a grid, else one under the other."""
    cells = "".join(
        f'<div style="opacity:.7">{_text(label)}</div><div style="min-width:0">{inner}</div>' for label, inner in rows
    )
    return (
        f'<div style="display:grid;grid-template-columns:6.5em minmax(0,1fr);gap:1px 8px;margin-top:2px">{cells}</div>'
    )


def _folded(title: str, inner: str, *, unfolded: bool = False) -> str:
    return (
        f'<details style="margin-top:8px"{" open" if unfolded else ""}><summary style="cursor:pointer;font-weight:600">'
        f"{_text(title)}</summary>{inner}</details>"
    )


def _link(address: str) -> str:
    if not address.startswith(("https://", "http://")):
        return _text(address)
    return f'<a href="{_text(address)}" target="_blank" rel="noopener noreferrer">{_text(address)}</a>'


def _counts(report: Report) -> str:
    outcomes = [check.outcome for check in report.checks]
    passed, failed = outcomes.count(CheckOutcome.PASS), outcomes.count(CheckOutcome.FAIL)
    return f"{passed} passed, {failed} failed, {len(outcomes) - passed - failed} not applicable or unknown"


def _text(text: str) -> str:
    """Return text as HTML shows it: no markup, no control characters."""
    return html.escape(clean(text), quote=True)
