"""The smoke suite's report as one HTML page: no script, nothing fetched, readable in a dark and in a light window."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from string import Template

from envcheck.report import Finding
from envcheck.smoke import drawing
from envcheck.smoke.page import WORDS, measure_text, verdict_line
from envcheck.smoke.proof import Curve, Proof, SmokeReport
from envcheck.smoke.reference import proof_of
from envcheck.smoke.result import Failure, Threshold
from envcheck.smoke.suite import PARTS, STATES

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>envcheck smoke: $verdict</title>
<style>
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --faint: #d7dce1; --panel: #f6f8fa;
  --cell: #0b5cad; --on-cell: #ffffff; --line-1: #0b5cad; --line-2: #b4500a; --line-3: #1a7f4b; --line-4: #7a3fb0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --soft: #9da7b1; --paper: #0d1117; --faint: #30363d;
  --panel: #161b22; --cell: #58a6ff; --on-cell: #06121f; --line-1: #58a6ff; --line-2: #f0a35e; --line-3: #56d38a;
  --line-4: #c297ff; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: var(--ink); background: var(--paper);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid var(--faint); }
h3 { font-size: 1rem; margin: 1.4rem 0 0.3rem; }
table { border-collapse: collapse; width: 100%; font-size: 14px; } td, th { text-align: left; padding: 0.25rem 0.8rem
  0.25rem 0; border-bottom: 1px solid var(--faint); vertical-align: top; }
td.number { text-align: right; white-space: nowrap; }
.word { font-weight: 700; white-space: nowrap; } .soft { color: var(--soft); } svg { max-width: 100%; height: auto; }
.drawings { display: flex; flex-wrap: wrap; gap: 1.2rem; margin: 0.6rem 0; } figure { margin: 0; }
pre { background: var(--panel); padding: 0.6rem; overflow-x: auto; font-size: 13px; }
.finding { border-left: 4px solid var(--line-2); background: var(--panel); padding: 0.4rem 0.9rem; margin: 0.7rem 0; }
.wide { overflow-x: auto; }
</style>
</head>
<body>
<h1>$verdict</h1>
<p class="soft">$interpreter; envcheck $version</p>
$thresholds
$overview
$parts
</body>
</html>
""")


def page(report: SmokeReport) -> str:
    """Return the page: the verdict, a table of all that was tried, then each part with its pictures."""
    proofs = [*map(proof_of, report.results), *report.proofs]
    return PAGE.substitute(
        verdict=escape(": ".join(verdict_line(report).split(maxsplit=1))),
        interpreter=escape(f"{report.interpreter} ({report.interpreter_reason})"),
        version=escape(report.envcheck_version),
        thresholds=_thresholds(report.thresholds),
        overview=_overview(proofs),
        parts="\n".join(_part(part, [proof for proof in proofs if proof.part == part]) for part in PARTS),
    )


def _thresholds(thresholds: Sequence[Threshold]) -> str:
    if not thresholds:
        return ""
    words = {"holds": "PASS", "fails": "FAIL", "unknown": "UNKNOWN"}
    rows = [
        f'<tr><td class="word">{words[one.state]}</td><td>{escape(one.text)}</td>'
        f"<td>{escape(f'{STATES[one.state]}; {one.seen}')}</td></tr>"
        for one in thresholds
    ]
    return _table(("", "required", "seen"), rows)


def _overview(proofs: Sequence[Proof]) -> str:
    rows = [
        f'<tr><td class="word">{WORDS[proof.status]}</td><td><a href="#{_anchor(proof)}">{escape(proof.name)}</a></td>'
        f"<td>{escape(f'{proof.framework} {proof.framework_version}'.strip())}</td><td>{escape(proof.device)}</td>"
        f"<td>{escape(proof.summary)}</td>"
        f'<td class="number">{"" if proof.seconds is None else f"{proof.seconds:.1f} s"}</td>'
        f'<td class="number">{_mebibytes(proof.peak_memory_bytes)}</td></tr>'
        for proof in proofs
    ]
    return _table(("", "tried", "framework", "device", "how it went", "time", "memory"), rows)


def _table(heads: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    return f'<div class="wide"><table><tr>{head}</tr>{"".join(rows)}</table></div>'


def _anchor(proof: Proof) -> str:
    return escape(f"{proof.part}-{proof.name}-{proof.framework}".replace(" ", "-"), quote=True)


def _part(part: str, proofs: Sequence[Proof]) -> str:
    if not proofs:
        return ""
    title = next(text for name, text in PARTS.items() if name == part)
    return "\n".join([f"<h2>{escape(part)}: {escape(title)}</h2>", *map(_proof, proofs)])


def _proof(proof: Proof) -> str:
    of = f" in {proof.framework}" if proof.framework else ""
    parts = [
        f'<section id="{_anchor(proof)}"><h3>{WORDS[proof.status]}: {escape(proof.title)}{escape(of)}</h3>',
        f'<p>{escape(proof.summary)}<br><span class="soft">{escape(proof.proves)}</span></p>',
    ]
    # Courses are named in the drawing itself.
    drawings = [("", drawing.curves(group)) for group in _groups(proof.curves)]
    drawings += [(table.name, drawing.matrix(table)) for table in proof.matrices]
    drawings += [(chart.name, chart.svg) for chart in proof.charts]
    drawings.append(("pictures", drawing.strip(proof.pictures)))
    figures = [f"<figure>{svg}<figcaption>{escape(name)}</figcaption></figure>" for name, svg in drawings if svg]
    if figures:
        parts.append(f'<div class="drawings">{"".join(figures)}</div>')
    rows = [
        f'<tr><td class="word">{"holds" if one.holds else "BROKEN"}</td><td>{escape(one.name)}</td>'
        f"<td>{escape(one.seen)}</td></tr>"
        for one in proof.conditions
    ] + [
        f'<tr><td class="word">measured</td><td colspan="2">{escape(measure_text(one))}</td></tr>'
        for one in proof.measures
    ]
    if rows:
        parts.append(_table(("", "", ""), rows))
    if proof.failure is not None:
        parts.append(_failure(proof.failure))
    parts += [_finding(finding) for finding in proof.findings]
    return "\n".join([*parts, "</section>"])


def _groups(curves: Sequence[Curve]) -> list[list[Curve]]:
    """Return the curves that share their axes together, in their order."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for curve in curves:
        groups.setdefault((curve.x_label, curve.y_label), []).append(curve)
    return list(groups.values())


def _failure(failure: Failure) -> str:
    evidence = "\n".join(failure.traceback) or failure.python_stack or failure.stderr
    shown = f"<pre>{escape(evidence)}</pre>" if evidence.strip() else ""
    return f'<div class="finding"><p>step {escape(failure.step)}: {escape(failure.reason)}</p>{shown}</div>'


def _finding(finding: Finding) -> str:
    evidence = "".join(
        f"<li>{escape(one.text)}{escape(f' ({one.source})') if one.source else ''}</li>" for one in finding.evidence
    )
    cures = "".join(
        f"<li>{escape(remedy.action)}"
        + (f"<pre>{escape(chr(10).join(remedy.commands))}</pre>" if remedy.commands else "")
        + "</li>"
        for remedy in finding.remedies
    )
    return (
        f'<div class="finding"><p><b>{escape(finding.severity.value)}: {escape(finding.title)}</b> '
        f"(cause: {escape(finding.cause)})</p><p>{escape(finding.detail)}</p><p>Seen:</p><ul>{evidence}</ul>"
        f"<p>Cure:</p><ul>{cures}</ul></div>"
    )


def _mebibytes(count: int | None) -> str:
    return "" if count is None else f"{count / 2**20:,.0f} MiB"
