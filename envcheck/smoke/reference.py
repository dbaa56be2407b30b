"""The reference network's training as one of the suite's proofs."""

from __future__ import annotations

from envcheck.smoke.proof import Curve, Matrix, Measure, Picture, Proof
from envcheck.smoke.result import SmokeResult
from envcheck.smoke.training import summary_of

DIGITS = [str(digit) for digit in range(10)]
SIDE = 28


def proof_of(result: SmokeResult) -> Proof:
    """Return the training of one framework in the form of all other proofs."""
    settings = result.settings
    return Proof(
        part="reference",
        name="reference-cnn",
        framework=result.framework,
        title="reference convolutional network",
        proves="convolution, pooling, dense layers and Adam together learn digits that they have never seen",
        status=result.status,
        summary=summary_of(result),
        settings={
            "epochs": settings.epochs,
            "batch size": settings.batch_size,
            "samples": settings.samples,
            "device asked": settings.device,
            "seed": settings.seed,
        },
        framework_version=result.framework_version,
        device=result.device_used,
        device_name=result.device_name if result.device_name != result.device_used else "",
        dtype="float32",
        seconds=round(sum(result.step_seconds.values()), 3) if result.step_seconds else None,
        step_seconds=result.step_seconds,
        peak_memory_bytes=result.peak_memory_bytes,
        device_peak_bytes=result.device_peak_bytes,
        conditions=result.conditions,
        measures=_measures(result),
        curves=_curves(result),
        matrices=_confusion(result),
        pictures=[
            Picture(
                name=f"mistake {number}",
                caption=f"{mistake.label} taken for {mistake.taken_for}",
                width=SIDE,
                height=SIDE,
                pixels=mistake.pixels,
            )
            for number, mistake in enumerate(result.mistakes, 1)
        ],
        failure=result.failure,
        findings=result.findings,
    )


def _measures(result: SmokeResult) -> list[Measure]:
    found = [
        ("test accuracy", result.test_accuracy, ""),
        ("test loss", result.test_loss, "nats"),
        ("training rate", result.samples_per_second, "samples/s"),
    ]
    return [Measure(name=name, value=value, unit=unit) for name, value, unit in found if value is not None]


def _curves(result: SmokeResult) -> list[Curve]:
    epochs = result.epochs
    if len(epochs) < 2:  # noqa: PLR2004 - a point is no curve
        return []
    courses = [
        ("training loss", "nats", [epoch.loss for epoch in epochs]),
        ("validation loss", "nats", [epoch.validation_loss for epoch in epochs]),
        ("training accuracy", "accuracy", [epoch.accuracy for epoch in epochs]),
        ("validation accuracy", "accuracy", [epoch.validation_accuracy for epoch in epochs]),
    ]
    numbers = [float(epoch.epoch) for epoch in epochs]
    return [Curve(name=name, x_label="epoch", y_label=unit, x=numbers, y=values) for name, unit, values in courses]


def _confusion(result: SmokeResult) -> list[Matrix]:
    if not result.confusion:
        return []
    return [
        Matrix(
            name="confusion",
            rows=DIGITS,
            columns=DIGITS,
            values=[[float(count) for count in row] for row in result.confusion],
            row_label="digit",
            column_label="taken for",
        )
    ]
