"""`envcheck checks`: list every check."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def checks(*, as_json: bool) -> None:
    """List every check: its id and what it requires."""
    from envcheck import manual, plugins
    from envcheck.check import all_checks

    found = all_checks()
    if as_json:
        import json

        rows = [
            {"check": check.id, "area": check.area, "causes": check.causes, "requires": manual.first_line(check.manual)}
            for check in found
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        area = ""
        for check in sorted(found, key=lambda check: check.area):
            if check.area != area:
                area = check.area
                click.echo(f"{area}:")
            click.echo(f"  {check.id:<44} {manual.first_line(check.manual)}")
    for name, reason in plugins.FAILED.items():
        click.echo(f"envcheck: plug-in {name} was left out: {reason}", err=True)
