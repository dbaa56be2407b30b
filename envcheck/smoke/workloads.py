"""The part `workload`: small members of the families that people train, walked through six steps in each framework.

One child a framework walks all of them; where one crashes, hangs or fails, a new child goes on behind it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from envcheck.smoke import backends, child, judge, reference, workload_judge
from envcheck.smoke.backends import Target
from envcheck.smoke.child import Ending
from envcheck.smoke.choice import Choice, Listener, Size
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Settings, Status

REFERENCE = "reference-cnn"

ORDER = (
    REFERENCE,
    "residual",
    "recurrent",
    "text-classifier",
    "character-model",
    "translator",
    "speech",
    "waveform",
)
"""Workloads from the oldest family to the youngest; one that is not named here comes behind them."""

ENGINES = {"torch": "workload_torch", "tensorflow": "workload_keras", "keras": "workload_keras"}
"""Package → the engine of `envcheck/inside/` that trains in it."""

SLACK_SECONDS = 10.0
"""Beyond the time of the import and of each workload, for the child to end itself."""

REFERENCE_SETTINGS: dict[Size, Settings] = {
    "quick": Settings(samples=200, epochs=2),
    "standard": Settings(),
    "full": Settings(samples=5000, epochs=12),
}
"""What the reference network is told at each size."""


def names() -> list[str]:
    """Return the names of all workloads, in the order in which they run."""
    files = (child.INSIDE / "workloads").glob("*_data.py")
    found = {path.name.removesuffix("_data.py").replace("_", "-") for path in files} | {REFERENCE}
    return [name for name in ORDER if name in found] + sorted(found - set(ORDER))


def prove(choice: Choice, listen: Listener) -> list[Proof]:
    """Walk each workload that is asked for through its steps, in each framework.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; nothing is left running.
    """
    proofs: list[Proof] = []
    for target in backends.targets(choice.frameworks, choice.interpreter):
        proofs += prove_in(target, choice, listen)
    return together(proofs, choice)


def together(proofs: list[Proof], choice: Choice) -> list[Proof]:
    """Return the proofs of all frameworks, judged beside each other."""
    if not choice.by_name and any(proof.status is not Status.ABSENT for proof in _as_absent(proofs)):
        proofs = _as_absent(proofs)
    return workload_judge.with_same_start(proofs)


def _as_absent(proofs: Sequence[Proof]) -> list[Proof]:
    """Return the proofs; those in a framework that is not installed are no failures."""
    return [
        replace(proof, status=Status.ABSENT, findings=[]) if judge.is_absent(proof.failure) else proof
        for proof in proofs
    ]


def prove_in(target: Target, choice: Choice, listen: Listener) -> list[Proof]:
    """Return the proofs of one framework; a new child begins behind each workload that ended the one before."""
    asked = names() if "all" in choice.workloads else [name for name in names() if name in choice.workloads]
    proofs: list[Proof] = []
    left = list(asked)
    while left:
        events, ending = _run(target, left, choice, listen)
        begun = {event["workload"] for event in events if event["event"] == "workload"}
        # Where it did not come to the first one, no other would fare better.
        over = [name for name in left if name in begun] or left
        for name in over:
            proofs.append(_proof(name, target, choice, events, ending))
            listen(target.name, {"event": "proof", "name": name, "done": len(proofs), "total": len(asked)})
        left = [name for name in left if name not in over]
    return proofs


def _run(target: Target, asked: Sequence[str], choice: Choice, listen: Listener) -> tuple[list[dict[str, Any]], Ending]:
    events: list[dict[str, Any]] = []

    def receive(event: dict[str, Any]) -> None:
        # Of the progress only the last is of use later.
        if event["event"] == "progress" and events and events[-1]["event"] == "progress":
            events[-1] = event
        else:
            events.append(event)
        if event["event"] not in {"end", "failure"}:
            listen(target.name, event)

    ending = child.run(
        choice.interpreter,
        ENGINES[target.package],
        _told(target, asked, choice),
        # The child ends itself in time, with a word about where it hung; this is for one that cannot.
        choice.timeout_seconds * (len(asked) + 1) + SLACK_SECONDS,
        receive,
        target.variables,
        driver="workload_walk",
    )
    return events, ending


def _told(target: Target, asked: Sequence[str], choice: Choice) -> Mapping[str, Any]:
    return {
        "package": target.package,
        "workloads": list(asked),
        "size": choice.size,
        "device": choice.device,
        "seed": choice.seed,
        "data": choice.data and os.path.abspath(choice.data),  # noqa: PTH100 - a text goes to the child
        "alone": _alone(choice),
        "precision": choice.precision,
        "compiled": choice.compiled,
        "threads": choice.threads,
        "seconds": choice.timeout_seconds,
        "reference": _reference_settings(choice),
    }


def _alone(choice: Choice) -> bool:
    """Tell whether one workload was asked for, which the data is then for."""
    return len(choice.workloads) == 1 and "all" not in choice.workloads


def _reference_settings(choice: Choice) -> dict[str, int]:
    settings = REFERENCE_SETTINGS[choice.size]
    return {"samples": settings.samples, "epochs": settings.epochs, "batch_size": settings.batch_size}


def _proof(name: str, target: Target, choice: Choice, events: Sequence[dict[str, Any]], ending: Ending) -> Proof:
    told = [event for event in events if event.get("workload", name) == name]
    if name == REFERENCE:
        return _reference_proof(target, choice, told, ending)
    return workload_judge.proof_of(name, target, choice, told, ending)


def _reference_proof(target: Target, choice: Choice, events: Sequence[dict[str, Any]], ending: Ending) -> Proof:
    """Return the reference network's proof: its own judge reads what its own steps told."""
    own = [event for event in events if event["event"] != "end" or event.get("workload")]
    settings = replace(
        REFERENCE_SETTINGS[choice.size],
        device=choice.device,
        seed=choice.seed,
        data=choice.data if _alone(choice) else "",
        timeout_seconds=choice.timeout_seconds,
    )
    if any(event["event"] == "workload-end" for event in own):
        ending = Ending(outcome="ok", exit_code=0, seconds=own[-1]["at"])
    framework = target.name.partition("-")[0]
    result = judge.result_of(framework, settings, choice.interpreter, own, ending)
    failure = workload_judge.failure_of(choice.interpreter, own, ending)
    if failure is not None:
        result = replace(result, failure=failure)
    return replace(
        reference.proof_of(result),
        part="workload",
        framework=target.name,
        measures=[*reference.proof_of(result).measures, *workload_judge.untrained(own)],
    )
