"""What a smoke training ends in: plain data that the page, the JSON and the checks read.

These Structs are the public JSON of `envcheck smoke --json`.  A field is added with a default; a field that changes its
meaning or goes away raises `SCHEMA_VERSION`.  `None` means unknown, as everywhere.
"""

from __future__ import annotations

import enum

import msgspec
from msgspec.structs import replace

from envcheck.facts import Framework, Training, TrainingRun
from envcheck.report import Finding

SCHEMA_VERSION = 1


class Status(str, enum.Enum):
    """How the smoke training of one framework ended.

    `passed`: every condition holds.  `failed`: one does not, or a step did not come to its end.  `absent`: the
    framework is not installed, and was not asked for by its name.  `unexamined`: nothing can be said about it, because
    the interpreter under test could not be asked.  `unusable-data`: what `--data` names is damaged or no MNIST.
    """

    PASSED = "passed"
    FAILED = "failed"
    ABSENT = "absent"
    UNEXAMINED = "unexamined"
    UNUSABLE_DATA = "unusable-data"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for.

    Attributes:
        epochs: passes over the training images.
        batch_size: images a step.
        samples: images to train and validate with; a fifth of them validates.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        seed: of the data, of the initial weights and of the order; from 0 to 2**31 - 1.
        data: path of real MNIST; empty for generated digits.
        timeout_seconds: wall time that one framework gets, its import included.
    """

    epochs: int = 10
    batch_size: int = 32
    samples: int = 1500
    device: str = "auto"
    seed: int = 0
    data: str = ""
    timeout_seconds: float = 300.0


class Epoch(msgspec.Struct, frozen=True, kw_only=True):
    """One pass over the training images.

    Attributes:
        epoch: its number, from 1.
        loss: mean cross-entropy of the training images while they trained, in nats; None where it is not finite.
        accuracy: fraction of the training images that were right while they trained.
        validation_loss: of the validation images, after the epoch; None where it is not finite.
        validation_accuracy: likewise.
        seconds: wall time of the training, without the validation.
        samples_per_second: training images in that time.
        finite: whether both losses are finite numbers.
    """

    epoch: int
    loss: float | None = None
    accuracy: float | None = None
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    seconds: float | None = None
    samples_per_second: float | None = None
    finite: bool = True


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold for the training to pass.

    Attributes:
        name: `loss-finite`, `loss-falls`, `parameters-moved`, `device` or `test-accuracy`.
        holds: whether it does.
        seen: what was seen, and what was expected, one sentence.
    """

    name: str
    holds: bool
    seen: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how the training ended early.

    Attributes:
        step: `start`, `import`, `device`, `preprocess`, `build`, `initialise`, `train` or `evaluate`.
        kind: `exception`, `signal` (the child was ended by one), `exit` (it left without a word), `timeout`, `device`
            (what was asked for cannot be used), `not-installed`, `shadowed`, `broken`, `data`, `start` (no
            interpreter).
        reason: what happened, one sentence.
        type: class of the exception; empty where there is none.
        message: its text.
        traceback: the stack of an exception, innermost last, as `FILE:LINE in FUNCTION: TEXT`.
        signal: name of the signal that ended the child, such as `SIGSEGV`.
        exit_code: the child's, where it left by itself.
        python_stack: where Python was when a signal or the deadline came, as faulthandler prints it.
        stderr: the last that the child wrote to standard error.
        cause: slug of the vocabulary of causes where the evidence decides; else empty.
    """

    step: str
    kind: str
    reason: str
    type: str = ""
    message: str = ""
    traceback: list[str] = []
    signal: str = ""
    exit_code: int | None = None
    python_stack: str = ""
    stderr: str = ""
    cause: str = ""


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """A test image that was taken for another digit.

    Attributes:
        label: the digit that it is.
        taken_for: the digit that it was taken for.
        pixels: 28 x 28 bytes from 0 (dark) to 255, row by row from the top; base64 in JSON.
    """

    label: int
    taken_for: int
    pixels: bytes


class SmokeResult(msgspec.Struct, frozen=True, kw_only=True):
    """How the reference network trained in one framework.

    Attributes:
        framework: `tensorflow`, `torch` or `keras`.
        status: see Status.
        settings: what was asked for.
        interpreter: path of the interpreter under test.
        python_version: such as `3.11.7`.
        framework_version: such as `2.13.0+cpu`.
        framework_file: the file that `import` runs.
        build: what the framework was built with, by name, such as `cuda`: `12.8`.
        numpy_version: such as `2.4.6`.
        step_seconds: wall time of each step that was begun, in order.
        device_used: where weights and results lay, read back from them: `cpu`, `cuda:0`, `mps`.
        device_name: as the framework names the device.
        device_reason: why `auto` did not take an accelerator; empty where it did.
        parameters: how many numbers the network has; 225,034 are expected.
        training_samples: images that trained.
        validation_samples: images that validated.
        test_samples: images that tested, seen neither in training nor in validation.
        untrained_loss: of the validation images, before the training.
        epochs: one entry an epoch.
        test_loss: of the test images.
        test_accuracy: fraction of the test images that are right.
        accuracy_bar: the test accuracy that is needed to pass.
        samples_per_second: training throughput without the first epoch (of a single epoch: without its first batches).
        samples_per_second_one_thread: likewise with one thread; measured only where threads seem to hurt.
        threads: threads that one operation may use.
        allowed_cores: cores that the process may use: affinity and control group, whichever is less.
        cores_used: processor time over wall time, while it trained.
        cores_waited_for: time that threads were ready and had no core, over wall time (Linux).
        peak_memory_bytes: highest resident memory of the child.
        device_peak_bytes: highest memory that the framework took on the GPU.
        moved: for each layer, how far its kernel moved: the norm of the difference over the norm at the start.
        conditions: what had to hold; empty where the training did not come to its end.
        confusion: how often each digit of the test images (row) was taken for each digit (column).
        mistakes: the first test images that were taken for another digit.
        failure: where and how it ended early.
        findings: what is to be mended, in the form of `envcheck doctor`.
    """

    framework: str
    status: Status
    settings: Settings
    interpreter: str = ""
    python_version: str = ""
    framework_version: str = ""
    framework_file: str = ""
    build: dict[str, str | bool | None] = {}
    numpy_version: str = ""
    step_seconds: dict[str, float] = {}
    device_used: str = ""
    device_name: str = ""
    device_reason: str = ""
    parameters: int | None = None
    training_samples: int | None = None
    validation_samples: int | None = None
    test_samples: int | None = None
    untrained_loss: float | None = None
    epochs: list[Epoch] = []
    test_loss: float | None = None
    test_accuracy: float | None = None
    accuracy_bar: float | None = None
    samples_per_second: float | None = None
    samples_per_second_one_thread: float | None = None
    threads: int | None = None
    allowed_cores: float | None = None
    cores_used: float | None = None
    cores_waited_for: float | None = None
    peak_memory_bytes: int | None = None
    device_peak_bytes: int | None = None
    moved: dict[str, float | None] = {}
    conditions: list[Condition] = []
    confusion: list[list[int]] = []
    mistakes: list[Mistake] = []
    failure: Failure | None = None
    findings: list[Finding] = []


class Threshold(msgspec.Struct, frozen=True, kw_only=True):
    """What `--require` asked of a run, and whether it holds.

    Attributes:
        text: as it was written, such as `torch:accuracy>=0.95`.
        state: `holds`, `fails` or `unknown`.
        seen: what was seen, one sentence.
    """

    text: str
    state: str
    seen: str


def as_facts(results: list[SmokeResult]) -> Training:
    """Return what the checks of `envcheck doctor` read about the trainings."""
    return Training(runs=[_as_run(result) for result in results if result.status is not Status.ABSENT])


STATES = {"signal": "crash", "exit": "exit", "timeout": "timeout"}
STAGES = {"import": "import", "device": "devices", "build": "build"}


def as_framework(result: SmokeResult) -> Framework:
    """Return a framework as the training saw it, in the form in which `envcheck doctor` examines one."""
    failure = result.failure
    source = f"envcheck smoke, step {failure.step}" if failure else "envcheck smoke"
    seen = Framework(
        name=result.framework,
        state="ok",
        version=result.framework_version or None,
        module_path=result.framework_file or None,
        numpy=result.numpy_version or None,
        threads=result.threads,
    )
    if failure is None:
        return seen
    return replace(
        seen,
        state=STATES.get(failure.kind, "failed"),
        stage=STAGES.get(failure.step, "compute"),
        error_type=failure.type,
        error=failure.message or ("" if failure.kind in STATES else failure.reason),
        traceback="\n".join(failure.traceback) or failure.python_stack,
        signal=failure.signal,
        exit_code=failure.exit_code,
        stderr=failure.stderr,
        sources=dict.fromkeys(("state", "stage", "error", "error_type", "traceback", "signal", "stderr"), source),
    )


def _as_run(result: SmokeResult) -> TrainingRun:
    failure = result.failure
    broken = [condition for condition in result.conditions if not condition.holds]
    return TrainingRun(
        framework=result.framework,
        passed=None if result.status is Status.UNEXAMINED else result.status is Status.PASSED,
        failed_step=failure.step if failure else "evaluate" if broken else "",
        reason=failure.reason if failure else "; ".join(condition.seen for condition in broken),
        error_type=failure.type if failure else "",
        error=failure.message if failure else "",
        stderr=failure.stderr if failure else "",
        signal=failure.signal if failure else "",
        device=result.device_used,
        device_asked=result.settings.device,
        test_accuracy=result.test_accuracy,
        samples_per_second=result.samples_per_second,
        samples_per_second_one_thread=result.samples_per_second_one_thread,
        threads=result.threads,
        allowed_cores=None if result.allowed_cores is None else max(1, int(result.allowed_cores)),
        peak_memory_bytes=result.peak_memory_bytes,
    )
