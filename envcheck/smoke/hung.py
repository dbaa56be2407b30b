"""What a script of `inside/` that ends itself, because a call does not come back, leaves behind."""

from __future__ import annotations

from msgspec.structs import replace

from envcheck.smoke.child import Ending
from envcheck.smoke.result import Failure

SIGN = "Timeout ("
"""How faulthandler begins what it prints when its time is up.  Source: Python, Modules/faulthandler.c."""


def as_timeout(failure: Failure | None, ending: Ending) -> Failure | None:
    """Return a failure as a timeout where the child ended itself for one, with its stack on standard error."""
    if failure is None or failure.kind != "exit" or SIGN not in ending.stderr:
        return failure
    return replace(
        failure, kind="timeout", exit_code=None, reason=f"the step '{failure.step}' hung: it came to no result"
    )
