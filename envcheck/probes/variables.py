"""Environment variables that matter to training."""

from __future__ import annotations

from envcheck.facts import Variables
from envcheck.probe import probe
from envcheck.redact import mask_values
from envcheck.system import System
from envcheck.variables import that_matter


@probe(fills=["variables"], deadline=1)
def variables(system: System) -> Variables:
    """Keep the variables that drivers, frameworks, installers and schedulers read; mask secrets."""
    return Variables(
        values=mask_values(that_matter(system.variables())), sources={"values": "environment of this process"}
    )
