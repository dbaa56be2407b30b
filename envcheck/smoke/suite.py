"""The smoke suite: its parts, the order in which they run, and the verdict over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from envcheck.smoke.choice import Choice, Listener, Part, Size
from envcheck.smoke.proof import Proof, SmokeReport
from envcheck.smoke.result import SCHEMA_VERSION, SmokeResult, Status, Threshold
from envcheck.smoke.training import summary_of

if TYPE_CHECKING:
    from envcheck.smoke.backends import Target
    from envcheck.system import System

PARTS: dict[Part, str] = {
    "reference": "the reference convolutional network learns",
    "arithmetic": "each operation agrees with a float64 reference",
    "workload": "small members of the families that people train learn",
    "pace": "how fast this machine computes, reads and feeds",
    "endurance": "it holds under load",
    "distributed": "several processes train as one",
}
"""What can be tried, in the order of trying: what is wrong in an earlier part explains what fails in a later one."""

OF_SIZE: dict[Size, tuple[Part, ...]] = {
    "quick": ("arithmetic", "workload"),
    "standard": ("reference",),
    "full": ("arithmetic", "workload", "pace", "distributed"),
}
"""Without a part that was asked for by name, what a size tries; endurance needs `--minutes`."""


def parts_of(asked: Sequence[Part], size: Size) -> tuple[Part, ...]:
    """Return what is tried: the parts that were asked for, in their order, else those of the size."""
    wanted = set(asked) or set(OF_SIZE[size])
    return tuple(part for part in PARTS if part in wanted)


def prove(choice: Choice, listen: Listener, system: System) -> list[Proof]:
    """Try each part in turn but the reference network, which has a result of its own.

    Where no rate is judged and cores are free, what is independent is tried at once.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; nothing is left running.
    """
    from envcheck.smoke import side_by_side  # noqa: PLC0415 - when it is asked for

    at_once = side_by_side.children_at_once(choice, system)
    if at_once > 1:
        return _prove_side_by_side(choice, listen, at_once)
    proofs: list[Proof] = []
    for part in choice.parts:
        if part != "reference":
            proofs += _module(part).prove(choice, listen)
    return proofs


def _prove_side_by_side(choice: Choice, listen: Listener, at_once: int) -> list[Proof]:
    """Try each part in each framework, so many at once, each with one thread."""
    from envcheck.smoke import backends, side_by_side  # noqa: PLC0415

    choice = replace(choice, threads=1)
    targets = backends.targets(choice.frameworks, choice.interpreter)
    # What takes longest begins first: the workloads, and TensorFlow, which comes first of the frameworks.
    longest_first = [(part, target) for target in targets for part in reversed(choice.parts)]

    def job(part: Part, target: Target) -> Callable[[], list[Proof]]:
        return lambda: list(_module(part).prove_in(target, choice, side_by_side.one_at_a_time(listen, part)))

    found = side_by_side.all_of([job(part, target) for part, target in longest_first], at_once)
    by_job = dict(zip([(part, target.name) for part, target in longest_first], found, strict=True))
    return [
        proof
        for part in choice.parts
        for proof in _module(part).together(
            [proof for target in targets for proof in by_job[part, target.name]], choice
        )
    ]


def _module(part: Part) -> Any:  # noqa: ANN401 - a module
    """Return a part's module, which is imported when it is asked for."""
    import importlib  # noqa: PLC0415 - so is this

    return importlib.import_module(f"envcheck.smoke.{MODULES.get(part, part)}")


def manual() -> str:
    """Return what `envcheck explain smoke` prints: findings of a run have `smoke` where others have their check."""
    flags = {"reference": "", "workload": "--workload NAME|all", "endurance": "--minutes N"}
    parts = [f"  {part:<12} {title:<66} {flags.get(part, f'--{part}')}".rstrip() for part, title in PARTS.items()]
    return "\n".join(
        [
            "smoke: this environment was tried, not only examined",
            "",
            "envcheck smoke runs these parts; without a part it trains the reference network:",
            "",
            *parts,
            "",
            "A finding of smoke rests on what was seen while it ran: losses, results, rates, how a process ended.",
        ]
    )


MODULES: dict[Part, str] = {"workload": "workloads"}


def report(
    results: list[SmokeResult],
    proofs: list[Proof],
    thresholds: list[Threshold],
    interpreter: str,
    interpreter_reason: str,
) -> SmokeReport:
    """Return the whole answer."""
    from envcheck import __version__  # noqa: PLC0415

    verdict, exit_code = verdict_of([*results, *proofs], thresholds)
    sentences = [summary_of(result) for result in results] + part_summaries(proofs)
    sentences += [f"{one.text} {STATES[one.state]}: {one.seen}." for one in thresholds if one.state != "holds"]
    return SmokeReport(
        schema_version=SCHEMA_VERSION,
        envcheck_version=__version__,
        verdict=verdict,
        exit_code=exit_code,
        summary=" ".join(sentences),
        interpreter=interpreter,
        interpreter_reason=interpreter_reason,
        results=results,
        proofs=proofs,
        thresholds=thresholds,
    )


STATES = {"fails": "does not hold", "unknown": "could not be judged", "holds": "holds"}


def verdict_of(tried: Sequence[SmokeResult | Proof], thresholds: Sequence[Threshold] = ()) -> tuple[str, int]:
    """Return the verdict and the exit code: the worst of all, and an error is worse than what could not be examined."""
    statuses = {one.status for one in tried}
    states = {threshold.state for threshold in thresholds}
    if Status.FAILED in statuses or statuses <= {Status.ABSENT} or "fails" in states:
        return "error", 1
    if Status.UNUSABLE_DATA in statuses:
        return "usage", 2
    if Status.UNEXAMINED in statuses or "unknown" in states:
        return "unknown", 3
    return ("warning" if any(one.findings for one in tried) else "ok"), 0


def part_summaries(proofs: Sequence[Proof]) -> list[str]:
    """Return one sentence a part: how many of its proofs hold, and which do not."""
    sentences = []
    for part in PARTS:
        found = [proof for proof in proofs if proof.part == part and proof.status is not Status.ABSENT]
        if not found:
            continue
        bad = [f"{proof.name} ({proof.framework})" for proof in found if proof.status is not Status.PASSED]
        sentence = f"{part}: {len(found) - len(bad)} of {len(found)} hold"
        sentences.append(f"{sentence}; not {', '.join(bad)}." if bad else f"{sentence}.")
    return sentences
