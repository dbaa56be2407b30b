"""`envcheck explain CHECK|RULE|CAUSE`: a manual page."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", metavar="CHECK|RULE|CAUSE")
def explain(name: str) -> None:
    """Print the manual page of a check or rule, or what a cause means and what names it; `smoke` is known, too."""
    from envcheck import manual
    from envcheck.causes import meaning
    from envcheck.check import all_checks

    found = all_checks()
    by_id = {check.id: check for check in found}
    name = name.strip().lower()
    if name in by_id:
        click.echo(manual.page(by_id[name]))
        return
    from envcheck.imagelint import manual as rule_manual
    from envcheck.imagelint.rule import all_rules

    rules = {rule.id: rule for rule in all_rules()}
    if name in rules:
        click.echo(rule_manual.page(rules[name]))
        return
    from envcheck.smoke import suite

    if name == "smoke":
        click.echo(suite.manual())
        return
    if meaning(name) is not None:
        click.echo(manual.cause_page(name, found) + rule_manual.naming(name, list(rules.values())))
        return
    import difflib

    from envcheck.causes import CAUSES

    known = [*by_id, *rules, *(slug for causes in CAUSES.values() for slug in causes)]
    close = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else " `envcheck checks` and `envcheck image rules` list them."
    raise click.UsageError(f"There is no rule, no check and no cause {name!r}.{hint}")
