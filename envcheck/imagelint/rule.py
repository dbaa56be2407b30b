"""A rule: a plain generator function over what a file says, registered by its name.

    @rule(causes=["container-image-cuda-too-new"])
    def cuda_of_base_suits_torch(image: Image) -> Iterator[Fault]:
        \"\"\"The toolkit of the base image is of the CUDA version that torch was built for. …\"\"\"

The function's name in kebab-case is the rule's id and states the requirement; its docstring is its manual page; its
first parameter says what it judges: `image` (a stage of a Dockerfile), `service` (of a compose file) or `pod` (of a
Kubernetes manifest). A second one, `machine`, is what the image shall run on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from envcheck import plugins
from envcheck.imagelint.faults import Fault

Judge = Callable[..., Iterator[Fault]]

ATTRIBUTE = "__envcheck_rule__"

SUBJECTS = {"image": "Dockerfiles", "service": "Compose files", "pod": "Kubernetes manifests"}
"""First parameter of a rule → the files that it judges."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What the images shall run on, as far as it is known.

    Attributes:
        driver: version of the NVIDIA driver.
        driver_source: where that was read.
        platform: "linux/amd64", "linux/arm64".
    """

    driver: str | None = None
    driver_source: str = ""
    platform: str | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A registered rule.

    Attributes:
        id: name in kebab-case; states the requirement.
        subject: "image", "service" or "pod".
        wants_machine: whether it takes the machine besides.
        causes: every cause that its faults can name.
        judge: the function.
        manual: its docstring.
    """

    id: str
    subject: str
    wants_machine: bool
    causes: list[str]
    judge: Judge
    manual: str


def rule(*, causes: list[str]) -> Callable[[Judge], Judge]:
    """Register a generator function as a rule.

    Args:
        causes: slugs that its faults can name.
    """

    def register(judge: Judge) -> Judge:
        subject, *others = judge.__code__.co_varnames[: judge.__code__.co_argcount]
        described = Rule(
            id=judge.__name__.replace("_", "-"),
            subject=subject,
            wants_machine="machine" in others,
            causes=causes,
            judge=judge,
            manual=judge.__doc__ or "",
        )
        setattr(judge, ATTRIBUTE, described)
        return judge

    return register


def all_rules() -> list[Rule]:
    """Return every rule of `envcheck.imagelint.rules`, then those of third parties (entry points of that name)."""
    return plugins.described("envcheck.imagelint.rules", ATTRIBUTE)
