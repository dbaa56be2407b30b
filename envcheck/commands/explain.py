"""`envcheck explain CHECK|CAUSE`: a manual page."""

from __future__ import annotations

import click


@click.command()
@click.argument("name", metavar="CHECK|CAUSE")
def explain(name: str) -> None:
    """Print the manual page of a check, or what a cause means and which checks name it."""
    from envcheck import manual
    from envcheck.causes import meaning
    from envcheck.check import all_checks

    found = all_checks()
    by_id = {check.id: check for check in found}
    name = name.strip().lower()
    if name in by_id:
        click.echo(manual.page(by_id[name]))
        return
    if meaning(name) is not None:
        click.echo(manual.cause_page(name, found))
        return
    import difflib

    from envcheck.causes import CAUSES

    known = [*by_id, *(slug for causes in CAUSES.values() for slug in causes)]
    close = difflib.get_close_matches(name, known, 3, 0.5)
    hint = f" Did you mean {', '.join(close)}?" if close else " `envcheck checks` lists them."
    raise click.UsageError(f"There is no check and no cause {name!r}.{hint}")
