"""Manual pages: what the docstrings of checks say, for `envcheck explain` and docs/checks.md."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import dedent

from envcheck.causes import CAUSES, meaning
from envcheck.check import Check

HEAD = """\
# Checks

Made from the checks' docstrings by `make docs`; a test fails where this page is not current. `envcheck explain CHECK`
prints one entry. Each cause is a slug of the [vocabulary](#causes) at the end.
"""


def first_line(docstring: str) -> str:
    """Return the requirement that a check states."""
    return docstring.strip().partition("\n")[0].strip()


def body(docstring: str) -> str:
    """Return a docstring without its indentation."""
    first, _, rest = docstring.strip().partition("\n")
    return f"{first}\n{dedent(rest)}".strip()


def page(check: Check) -> str:
    """Return the manual page of a check, for a terminal."""
    facts = ", ".join([*check.needs, *(f"{name} where known" for name in check.wants)])
    return (
        f"{check.id}  ({check.area})\n\n{body(check.manual)}\n\n"
        f"Judges: {facts}\nCauses that it can name: {', '.join(check.causes)}"
    )


def cause_page(cause: str, checks: Sequence[Check]) -> str:
    """Return what a cause means and which checks name it."""
    naming = [f"  {check.id:<44} {first_line(check.manual)}" for check in checks if cause in check.causes]
    return "\n".join([f"{cause}: {meaning(cause)}", "", "Checks that can name it:", *(naming or ["  none"])])


def document(checks: Sequence[Check]) -> str:
    """Return docs/checks.md."""
    parts = [HEAD]
    for area in sorted({check.area for check in checks}):
        parts.append(f"## {area}\n")
        for check in sorted((check for check in checks if check.area == area), key=lambda check: check.id):
            causes = ", ".join(f"`{cause}`" for cause in check.causes)
            parts.append(f"### {check.id}\n\n{body(check.manual)}\n\nCauses: {causes}\n")
    parts.append("## Causes\n")
    for family, members in CAUSES.items():
        parts.append(f"**{family}**\n")
        parts.append("\n".join(f"- `{slug}`: {text}" for slug, text in members.items()) + "\n")
    return "\n".join(parts)
