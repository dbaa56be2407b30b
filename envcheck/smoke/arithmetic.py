"""The part `arithmetic`: each operation of each framework against a float64 reference, and the same bits twice.

One child a framework goes through all operations; where one crashes, hangs or fails, a new child goes on behind it.
What gave a wrong result is computed again with one thing switched off after another, to find out which of them it is.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from envcheck.smoke import arithmetic_judge as judge
from envcheck.smoke import backends, child
from envcheck.smoke.arithmetic_judge import OPERATIONS, Attempt, Switch, Tried
from envcheck.smoke.backends import Target
from envcheck.smoke.choice import Choice, Listener
from envcheck.smoke.proof import Proof

SCRIPTS = {"torch": "arithmetic_torch", "tensorflow": "arithmetic_tensorflow", "keras": "arithmetic_keras"}
"""Package → the script of `envcheck/inside/` that computes in it."""

OPERATION_SHARE = 0.5
"""An operation counts as hung after this part of the time that was left when its child began.

The slowest takes 2 s of the 300 s at `quick`, where the cores are free; a busy machine alone is not to be called so.
"""

LEAST_SECONDS = 3.0
"""With less time left no child is started: importing a framework alone takes as long."""

SEEDED = {"PYTHONHASHSEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
"""For trainings that are to give the same bits; cuBLAS asks for the second (cuBLAS, Results reproducibility)."""

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)

TRAININGS: dict[str, Mapping[str, str]] = {"first": {}, "second": {}, "one thread": ONE_THREAD}
"""The trainings that are compared, each in a process of its own."""


def prove(choice: Choice, listen: Listener) -> list[Proof]:
    """Compare each operation, in each framework, with its reference.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; nothing is left running.
    """
    proofs: list[Proof] = []
    for target in backends.targets(choice.frameworks, choice.interpreter):
        proofs += prove_in(target, choice, listen)
    return together(proofs, choice)


def together(proofs: list[Proof], choice: Choice) -> list[Proof]:
    """Return the proofs of all frameworks, judged beside each other."""
    found = judge.with_one_yardstick(proofs)
    absent = [judge.is_absent(proof) for proof in found]
    if choice.by_name or all(absent):
        return found
    return [judge.as_absent(proof) if gone else proof for proof, gone in zip(found, absent, strict=True)]


class _Walk(msgspec.Struct):
    """What is needed to start one child after another for a framework."""

    target: Target
    choice: Choice
    listen: Listener
    deadline: float

    def seconds(self) -> float:
        return self.deadline - time.monotonic()

    def run(
        self,
        operations: Sequence[str],
        *,
        trains: str = "no",
        switch: Switch | None = None,
        variables: Mapping[str, str] | None = None,
        shown: bool = True,
    ) -> Attempt:
        """Run a child to its end; its events are shown as they come."""
        events: list[dict[str, Any]] = []

        def receive(event: dict[str, Any]) -> None:
            events.append(event)
            if not shown:
                return
            if event["event"] == "operation-end":
                place = len(OPERATIONS) - len(operations) + operations.index(event["name"]) + 1
                self.listen(
                    self.target.name,
                    {"event": "proof", "name": event["name"], "done": place, "total": len(OPERATIONS)},
                )
            elif event["event"] not in {"end", "failure"}:
                self.listen(self.target.name, event)

        told = {
            "package": self.target.package,
            "operations": list(operations),
            "size": self.choice.size,
            "device": self.choice.device,
            "seed": self.choice.seed,
            "threads": 1 if variables is ONE_THREAD else self.choice.threads,
            "switches": dict(switch.settings) if switch else {},
            "trains": trains,
            "operation_seconds": max((1.0 if trains == "only" else OPERATION_SHARE) * self.seconds(), 1.0),
        }
        ending = child.run(
            self.choice.interpreter,
            SCRIPTS[self.target.package],
            told,
            max(self.seconds(), 0.1),
            receive,
            {**self.target.variables, **SEEDED, **(variables or {}), **(switch.variables if switch else {})},
            driver="arithmetic_walk",
        )
        return Attempt(events=events, ending=ending)


def prove_in(target: Target, choice: Choice, listen: Listener) -> list[Proof]:
    """Return the proofs of one framework."""
    walk = _Walk(target=target, choice=choice, listen=listen, deadline=time.monotonic() + choice.timeout_seconds)
    attempts = _try_operations(walk)
    if not any(attempt.first("operation") for attempt in attempts):
        return [judge.failed_start(target, choice, attempts[-1])]
    wrong = sorted(judge.wrong_operations(attempts), key=OPERATIONS.index)
    switches = judge.suspects(target, attempts, os.environ, platform.machine()) if wrong else []
    proofs = judge.proofs_of(target, choice, attempts, _switched_off(walk, wrong, switches))
    trainings = _train(walk, attempts)
    return proofs + judge.training_proofs(target, choice, trainings)


def _try_operations(walk: _Walk) -> list[Attempt]:
    """Try all operations, the rest of them in a new child where one ended its child."""
    left = list(OPERATIONS)
    attempts: list[Attempt] = []
    while left:
        if attempts and walk.seconds() < LEAST_SECONDS:
            break
        attempt = walk.run(left, trains="no" if attempts else "too")
        attempts.append(attempt)
        begun = attempt.names("operation")
        if not begun and (len(attempts) > 1 or attempt.last_step() != "train"):
            break
        left = left[len(begun) :]
    return attempts


def _switched_off(walk: _Walk, wrong: Sequence[str], switches: Sequence[Switch]) -> list[Tried]:
    """Compute what is wrong with one thing switched off after another, until all of it is right or the time is up."""
    tried: list[Tried] = []
    for switch in switches:
        left = [name for name in wrong if not any(name in one.healed for one in tried)]
        if not left or walk.seconds() < LEAST_SECONDS:
            break
        walk.listen(walk.target.name, {"event": "step", "step": switch.title})
        attempt = walk.run(left, switch=switch, shown=False)
        still = judge.wrong_operations([attempt])
        tried.append(Tried(switch=switch, healed=judge.right_operations(attempt), failed=sorted(still)))
    return tried


def _train(walk: _Walk, attempts: Sequence[Attempt]) -> dict[str, Attempt]:
    """Return the trainings that are to be compared; where only the processor computes, the first is done already."""
    found: dict[str, Attempt] = {}
    done = [attempt for attempt in attempts if attempt.first("trained")]
    if done:
        found["first"] = done[0]
    for name, variables in TRAININGS.items():
        if name in found or (name == "one thread" and walk.choice.size == "quick"):
            continue
        if walk.seconds() < LEAST_SECONDS:
            break
        found[name] = walk.run([], trains="only", variables=variables)
        if not found[name].first("trained"):
            break
    return found
