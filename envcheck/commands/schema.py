"""`envcheck schema`: the JSON Schema of a report."""

from __future__ import annotations

import click


@click.command()
@click.argument("command", type=click.Choice(["doctor", "smoke"]), default="doctor", required=False)
def schema(command: str) -> None:
    """Print the JSON Schema of what `doctor --json` (or `smoke --json`) prints."""
    import json

    if command == "smoke":
        from envcheck.smoke.proof import schema as described
    else:
        from envcheck.report import schema as described

    click.echo(json.dumps(described(), indent=2))
