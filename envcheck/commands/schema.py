"""`envcheck schema`: the JSON Schema of a report."""

from __future__ import annotations

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of what `doctor --json` prints."""
    import json

    from envcheck.report import schema as described

    click.echo(json.dumps(described(), indent=2))
