"""A check: a plain generator function over facts, registered by its name.

    @check(area="driver", causes=["driver-too-old"])
    def driver_supports_torch(driver: NvidiaDriver, torch: Framework) -> Iterator[Finding]:
        \"\"\"The NVIDIA driver can run the CUDA version that torch was built for. …\"\"\"

The function's name in kebab-case is the check's id and states the requirement; its docstring is its manual page; the
names of its parameters say which fact groups it needs (or `intent`, the declared requirements).  Where a group is
absent or unknown the check does not run, unless the parameter's annotation admits None.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from envcheck import plugins
from envcheck.report import Finding

Judge = Callable[..., Iterator[Finding]]

ATTRIBUTE = "__envcheck_check__"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A registered check.

    Attributes:
        id: name in kebab-case; states the requirement.
        area: family, the module that it stands in.
        causes: every cause that its findings can name.
        needs: fact groups without which it cannot run.
        wants: fact groups that it uses where they are known.
        judge: the function.
        manual: its docstring, as it stands in the source.
    """

    id: str
    area: str
    causes: list[str]
    needs: list[str]
    wants: list[str]
    judge: Judge
    manual: str


def check(*, area: str, causes: list[str]) -> Callable[[Judge], Judge]:
    """Register a generator function as a check.

    Args:
        area: family, such as `driver`.
        causes: slugs that its findings can name.
    """

    def register(judge: Judge) -> Judge:
        # The code object says the same as `inspect.signature`, whose import costs more than all checks together.
        parameters = judge.__code__.co_varnames[: judge.__code__.co_argcount]
        optional = [name for name in parameters if "None" in str(judge.__annotations__.get(name))]
        described = Check(
            id=judge.__name__.replace("_", "-"),
            area=area,
            causes=causes,
            needs=[name for name in parameters if name not in optional],
            wants=optional,
            judge=judge,
            manual=judge.__doc__ or "",
        )
        setattr(judge, ATTRIBUTE, described)
        return judge

    return register


def all_checks() -> list[Check]:
    """Return every check: those in `envcheck.checks`, then those of third parties (entry points `envcheck.checks`)."""
    return plugins.described("envcheck.checks", ATTRIBUTE)
