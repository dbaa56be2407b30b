"""Proving an environment before it is swapped in: every framework imports in the planned version, and trains."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
from packaging.version import Version

from envcheck.install import child
from envcheck.install.faults import Fault, FaultError
from envcheck.plan import TITLES, Choice, Plan
from envcheck.smoke import training
from envcheck.smoke.result import Settings, SmokeResult
from envcheck.smoke.result import Status as SmokeStatus

IMPORT_SECONDS = 300.0
"""Deadline of an import: the first one after an installation compiles every module, on a slow disk for minutes."""

TRAINING = Settings(epochs=3, batch_size=32, samples=600, timeout_seconds=600.0)
"""A few batches: 480 images, 45 updates of the weights, enough for the smoke training to ask for an accuracy."""

QUESTION = """
import importlib, json, sys
module = importlib.import_module(sys.argv[1])
print("\\n" + json.dumps({"version": getattr(module, "__version__", "")}))
"""


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of one framework.

    Attributes:
        framework: which one.
        version: as the imported module says.
        trained: whether it trained; None where training was left out.
        device: what it trained on.
        test_accuracy: fraction of unseen images that it named rightly.
        samples_per_second: training images in a second.
        seconds: wall time of import and training.
    """

    framework: str
    version: str
    trained: bool | None = None
    device: str = ""
    test_accuracy: float | None = None
    samples_per_second: float | None = None
    seconds: float = 0.0


def verify(plan: Plan, interpreter: Path, *, train: bool, listen: Callable[[str], None]) -> list[Verified]:
    """Import and train every framework of a plan.

    Args:
        plan: what must be there.
        interpreter: of the new environment.
        train: whether to train, or to import alone.
        listen: told what is going on, one line at a time.

    Raises:
        FaultError: something does not work.
    """
    return [_framework(choice, interpreter, train=train, listen=listen) for choice in plan.choices]


def _framework(choice: Choice, interpreter: Path, *, train: bool, listen: Callable[[str], None]) -> Verified:
    title = TITLES[choice.framework]
    if not train:
        listen(f"importing {title}")
        return _imported(choice, interpreter)
    listen(f"training in {title}")
    result = training.train(choice.framework, TRAINING, str(interpreter), lambda _, event: _tell(title, event, listen))
    return trained(choice, result)


def trained(choice: Choice, result: SmokeResult) -> Verified:
    """Return what a training showed of a framework.

    Raises:
        FaultError: it did not pass, or not in the planned version, or not on the planned device.
    """
    if result.status is not SmokeStatus.PASSED:
        raise FaultError(_not_training(result))
    _check_version(choice, result.framework_version)
    _check_device(choice, result)
    return Verified(
        framework=choice.framework,
        version=result.framework_version,
        trained=True,
        device=result.device_used,
        test_accuracy=result.test_accuracy,
        samples_per_second=result.samples_per_second,
        seconds=round(sum(result.step_seconds.values()), 2),
    )


def _tell(title: str, event: dict[str, object], listen: Callable[[str], None]) -> None:
    if event["event"] == "epoch":
        listen(f"training in {title}: epoch {event['epoch']}/{event['epochs']}")


def _imported(choice: Choice, interpreter: Path) -> Verified:
    return imported(
        choice, child.run([str(interpreter), "-c", QUESTION, choice.framework], {}, lambda _: None, IMPORT_SECONDS)
    )


def imported(choice: Choice, ended: child.Ended) -> Verified:
    """Return what `QUESTION` showed of a framework.

    Raises:
        FaultError: it cannot be imported, or not in the planned version.
    """
    title = TITLES[choice.framework]
    lines = ended.output.splitlines()
    if not ended.good:
        raise FaultError(
            Fault(
                kind="does-not-import",
                step="verify",
                sentence=f"{title} {choice.version} was installed and cannot be imported"
                + (" in time" if ended.outcome == "timeout" else ""),
                change="`envcheck doctor` names causes of what is quoted below",
                evidence=tuple(lines[-12:]),
            )
        )
    version = str(json.loads(lines[-1])["version"])
    _check_version(choice, version)
    return Verified(framework=choice.framework, version=version, seconds=round(ended.seconds, 2))


def _check_version(choice: Choice, seen: str) -> None:
    if Version(seen).public != Version(choice.version).public:
        raise FaultError(
            Fault(
                kind="wrong-version",
                step="verify",
                sentence=f"{TITLES[choice.framework]} {choice.version} was installed, but {seen} is what imports",
                change="PYTHONPATH and files in this folder named like the framework: `envcheck doctor` finds them",
            )
        )


def _check_device(choice: Choice, result: SmokeResult) -> None:
    """Make sure that what was chosen for the GPU trained on it."""
    if choice.accelerator != "cpu" and result.device_used == "cpu" and result.framework != "keras":
        raise FaultError(
            Fault(
                kind="accelerator-unused",
                step="verify",
                sentence=f"{TITLES[choice.framework]} {choice.version} is for {choice.accelerator}, "
                f"but trained on the processor: {result.device_reason or 'it sees no GPU'}",
                change="`envcheck doctor` says why; --accelerator cpu trains meanwhile",
            )
        )


def _not_training(result: SmokeResult) -> Fault:
    failure = result.failure
    evidence = [] if failure is None else [*failure.traceback[-4:], failure.message, *failure.stderr.splitlines()[-4:]]
    remedies = [remedy.action for finding in result.findings for remedy in finding.remedies]
    return Fault(
        kind="does-not-train",
        step="verify",
        sentence=training.summary_of(result).rstrip("."),
        change="; ".join(remedies[:2]) or "`envcheck doctor` looks for the cause",
        evidence=tuple(line for text in evidence for line in text.splitlines() if line.strip())[-12:],
    )
