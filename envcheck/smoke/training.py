"""Train the reference network in the interpreter under test: start the child, listen, judge."""

from __future__ import annotations

import os
from typing import Any

from envcheck.smoke import child, judge
from envcheck.smoke.choice import Listener
from envcheck.smoke.result import Settings, SmokeResult, Status

FRAMEWORKS = {
    "tensorflow": ("smoke_keras", "tensorflow"),
    "torch": ("smoke_torch", "torch"),
    "keras": ("smoke_keras", "keras"),
}
"""Framework → the script of `envcheck/inside/` that trains in it, and the package that it imports."""

ASKED = {"tf": ["tensorflow"], "torch": ["torch"], "keras": ["keras"], "all": ["tensorflow", "torch"]}
"""What `--framework` takes → frameworks, in the order in which they train."""

SPEED_BATCHES = 40
"""Batches of the short training with one thread."""

SPEED_SECONDS = 60.0
"""Its deadline, import included."""


def train_all(
    frameworks: list[str], settings: Settings, interpreter: str, listen: Listener, *, by_name: bool
) -> list[SmokeResult]:
    """Train in one framework after another: side by side they would take each other's cores.

    Args:
        frameworks: keys of `FRAMEWORKS`.
        settings: what was asked for.
        interpreter: path of the interpreter under test.
        listen: called with each event as it comes.
        by_name: whether the user named the framework; one that is not installed is an error then.
    """
    results = [train(framework, settings, interpreter, listen) for framework in frameworks]
    absent = [judge.is_absent(result.failure) for result in results]
    if by_name or all(absent):
        return results
    return [
        judge.without_findings(result, Status.ABSENT) if gone else result
        for result, gone in zip(results, absent, strict=True)
    ]


def train(framework: str, settings: Settings, interpreter: str, listen: Listener) -> SmokeResult:
    """Train in one framework, and once more, shortly and with one thread, where its threads seem to hurt.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; nothing is left running.
    """
    events: list[dict[str, Any]] = []

    def receive(event: dict[str, Any]) -> None:
        # Of the progress only the last is of use later, and a long training reports for hours.
        if event["event"] == "progress" and events and events[-1]["event"] == "progress":
            events[-1] = event
        else:
            events.append(event)
        listen(framework, event)

    script, _ = FRAMEWORKS[framework]
    ending = child.run(interpreter, script, _told(framework, settings), settings.timeout_seconds, receive)
    result = judge.result_of(framework, settings, interpreter, events, ending)
    if judge.threads_seem_to_hurt(result):
        listen(framework, {"event": "step", "step": "threads"})
        result = judge.with_one_thread(result, _speed_with_one_thread(framework, settings, interpreter))
    return result


def _told(framework: str, settings: Settings) -> dict[str, Any]:
    return {
        "package": FRAMEWORKS[framework][1],
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "samples": settings.samples,
        "device": settings.device,
        "seed": settings.seed,
        "data": settings.data and os.path.abspath(settings.data),  # noqa: PTH100 - a text goes to the child
        "threads": 0,
        "speed_only": False,
    }


def _speed_with_one_thread(framework: str, settings: Settings, interpreter: str) -> float | None:
    """Return samples/s with one thread; None where that could not be measured.

    In a child of its own: TensorFlow's threads cannot be changed once it has started.
    """
    events: list[dict[str, Any]] = []
    validating = SPEED_BATCHES * settings.batch_size // 4  # a fifth of all
    told = {
        **_told(framework, settings),
        "epochs": 1,
        "samples": SPEED_BATCHES * settings.batch_size + validating,
        "data": "",
        "threads": 1,
        "speed_only": True,
    }
    one = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    child.run(interpreter, FRAMEWORKS[framework][0], told, SPEED_SECONDS, events.append, one)
    rates = [event["samples_per_second"] for event in events if event["event"] == "trained"]
    return rates[-1] if rates else None


def summary_of(result: SmokeResult) -> str:
    """Return how one framework did, as a sentence."""
    name = f"{NAMES[result.framework]} {result.framework_version}".strip()
    if result.status is Status.ABSENT:
        return f"{name} is not installed: left out."
    if result.failure is not None:
        reason = result.failure.reason.rstrip(".")
        return f"{name}: {reason}."
    if result.status is Status.FAILED:
        broken = [condition for condition in result.conditions if not condition.holds]
        if broken and broken[0].name == "loss-finite":
            # What else does not hold then follows from it.
            broken = broken[:1]
        seen = "; ".join(condition.seen for condition in broken)
        return f"{name} trains wrongly on {result.device_used or 'an unknown device'}: {seen}."
    accuracy = "" if result.test_accuracy is None else f", test accuracy {result.test_accuracy:.3f}"
    rate = "" if result.samples_per_second is None else f", {result.samples_per_second:,.0f} samples/s"
    return f"{name} trains on {result.device_used}{accuracy}{rate}."


NAMES = {"tensorflow": "TensorFlow", "torch": "PyTorch", "keras": "Keras"}
