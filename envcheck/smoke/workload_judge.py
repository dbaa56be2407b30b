"""From what a child reported of a workload to its proof.  Pure: reads events, never the machine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity
from envcheck.smoke import judge
from envcheck.smoke.backends import Target
from envcheck.smoke.child import Ending
from envcheck.smoke.choice import Choice
from envcheck.smoke.proof import Curve, Matrix, Measure, Picture, Proof
from envcheck.smoke.result import Condition, Failure, Status

STEPS = ("preprocess", "build", "initialise", "train", "validate", "test")
"""The steps of every workload; `compile` and `save` may stand among them."""

SAME_START = 1e-4
"""How far two frameworks' losses before the training may lie apart, relative to the smaller.

Data and parameters are bit for bit the same; what differs is the rounding of sums, some 1e-7 for each of a few hundred
operations on the way, and the mean over the samples evens it out.  A layer that is wired otherwise is off by per cents.
"""

SAME_START_MIXED = 2e-2
"""Likewise where some operations round to bfloat16 (2**-8 relative): frameworks choose which ones."""


def proof_of(name: str, target: Target, choice: Choice, events: Sequence[dict[str, Any]], ending: Ending) -> Proof:
    """Return the proof of one workload in one framework.

    Args:
        name: the workload's.
        target: where it was tried.
        choice: what was asked for.
        events: those of the child that carry this workload's name, and those that carry none.
        ending: how the child ended.
    """
    last = {event["event"]: event for event in events if event["event"] != "end"}
    data, memory, device = (last.get(key, {}) for key in ("data", "memory", "device"))
    where = last.get("where", {}).get("devices", [])
    shown = [event for event in events if event["event"] == "shown"]
    seconds, step_seconds = _seconds(events, ending)
    proof = Proof(
        part="workload",
        name=name,
        framework=target.name,
        title=data.get("title", name),
        proves=data.get("proves", ""),
        status=Status.FAILED,
        summary="",
        settings=_settings(choice, data),
        framework_version=last.get("framework", {}).get("version", ""),
        device=" and ".join(where) or device.get("used", ""),
        dtype=last.get("network", {}).get("half") or "float32",
        seconds=seconds,
        step_seconds=step_seconds,
        peak_memory_bytes=memory.get("peak_bytes"),
        device_peak_bytes=memory.get("device_peak_bytes"),
        measures=_measures(data, last, shown),
        curves=_courses(events) + [Curve(**curve) for event in shown for curve in event.get("curves", [])],
        matrices=[Matrix(**matrix) for event in shown for matrix in event.get("matrices", [])],
        pictures=[
            Picture(**{**picture, "pixels": bytes(picture["pixels"])})
            for event in shown
            for picture in event.get("pictures", [])
        ],
    )
    failure = failure_of(choice.interpreter, events, ending)
    if failure is not None:
        finding = (
            judge.finding_of(failure, target.package, choice.interpreter)
            or _precision_finding(failure, choice)
            or _loader_finding(failure, last.get("stuck", {}))
        )
        return replace(
            proof,
            status=judge.status_of(failure),
            summary=f"{failure.reason.rstrip('.')}.",
            failure=failure,
            findings=[finding] if finding else [],
        )
    conditions = _conditions(choice, events, last, shown)
    passed = all(condition.holds for condition in conditions)
    compiled = last.get("compiled", {})
    findings = [compiler_finding(compiled, target)] if compiled and not compiled["works"] else []
    proof = replace(proof, status=Status.PASSED if passed else Status.FAILED, conditions=conditions, findings=findings)
    return replace(proof, summary=summary_of(proof))


def summary_of(proof: Proof) -> str:
    """Return how a workload that came to its end went, one sentence."""
    broken = [condition for condition in proof.conditions if not condition.holds]
    if broken:
        # What else does not hold follows from a number that is none.
        shown = broken[:1] if broken[0].name == "loss-finite" else broken
        return f"It trains wrongly on {proof.device or 'an unknown device'}: {'; '.join(one.seen for one in shown)}."
    test = next((f"{one.name} {one.value:.3f}" for one in proof.measures if one.value is not None), "")
    rate = next((one.value for one in proof.measures if one.name == "training rate"), None)
    return f"It trains on {proof.device}{', ' if test else ''}{test}" + (f", {rate:,.0f} samples/s." if rate else ".")


def with_same_start(proofs: Sequence[Proof]) -> list[Proof]:
    """Return the proofs, each with the condition that its loss before the training is that of the first framework."""
    first: dict[str, Proof] = {}
    compared = []
    for proof in proofs:
        loss = _untrained(proof)
        if loss is None:
            compared.append(proof)
        elif proof.name not in first:
            first[proof.name] = proof
            compared.append(proof)
        else:
            compared.append(_compared(proof, loss, first[proof.name]))
    return compared


def _compared(proof: Proof, loss: float, other: Proof) -> Proof:
    expected = _untrained(other)
    if expected is None:
        return proof
    allowed = SAME_START if proof.dtype == other.dtype == "float32" else SAME_START_MIXED
    apart = abs(loss - expected) / max(min(abs(loss), abs(expected)), 1e-12)
    condition = Condition(
        name="same-start",
        holds=apart <= allowed,
        seen=f"from the same numbers the loss before the training is {loss:.6f}, in {other.framework} {expected:.6f}",
    )
    conditions = [*proof.conditions, condition]
    if condition.holds or proof.status is not Status.PASSED:
        return replace(proof, conditions=conditions)
    failed = replace(proof, conditions=conditions, status=Status.FAILED)
    return replace(failed, summary=summary_of(failed))


def _untrained(proof: Proof) -> float | None:
    return next((one.value for one in proof.measures if one.name == UNTRAINED), None)


UNTRAINED = "loss before the training"


def untrained(events: Sequence[dict[str, Any]]) -> list[Measure]:
    """Return the loss before the training as a measure."""
    losses = [event["loss"] for event in events if event["event"] == "untrained" and event["loss"] is not None]
    return [Measure(name=UNTRAINED, value=losses[-1], unit="nats")] if losses else []


def failure_of(interpreter: str, events: Sequence[dict[str, Any]], ending: Ending) -> Failure | None:
    """Return where and how a workload ended early; None where it came to its end."""
    last = {event["event"]: event for event in events if event["event"] != "end"}
    if "workload-end" in last:
        return None
    failure = judge.failure_of(interpreter, last, ending)
    if "failure" in last:
        return failure
    stuck = last.get("stuck")
    if failure is None:
        # The child left in good order, but not this workload: nothing of ours does that.
        return Failure(step="start", kind="exit", reason="the child ended and did not say how the workload did")
    if stuck:
        return replace(
            failure, step=stuck["step"] or failure.step, kind="timeout", exit_code=None, reason=_stuck(stuck)
        )
    if failure.kind == "exit" and failure.python_stack.startswith("Timeout ("):
        reason = f"the step '{failure.step}' was not done when the time was up; native code held the interpreter"
        return replace(failure, kind="timeout", exit_code=None, reason=reason)
    return failure


def _stuck(stuck: dict[str, Any]) -> str:
    time_up = f"when the time was up, after {stuck['seconds']:.1f} s"
    if stuck["step"] != "train" or not stuck["batch"]:
        return f"the step '{stuck['step']}' was not done {time_up}"
    if stuck["validates"]:
        return f"the step 'train' was validating after epoch {stuck['epoch']} {time_up}"
    place = f"batch {stuck['batch']} of epoch {stuck['epoch']}"
    if stuck["waits_for_loader"]:
        return f"the step 'train' waited for the data loader to give {place} {time_up}"
    return f"the step 'train' was computing {place} {time_up}"


def _seconds(events: Sequence[dict[str, Any]], ending: Ending) -> tuple[float | None, dict[str, float]]:
    """Return the wall time of a workload and of each of its steps."""
    own = [event for event in events if "workload" in event]
    if not own:
        return None, {}
    end = own[-1]["at"] if own[-1]["event"] in {"workload-end", "failure"} else ending.seconds
    begun = [(event["step"], event["at"]) for event in own if event["event"] == "step"]
    ends = [at for _, at in begun[1:]] + [end]
    steps = {step: round(max(until - at, 0.0), 3) for (step, at), until in zip(begun, ends, strict=False)}
    return round(end - own[0]["at"], 3), steps


def _settings(choice: Choice, data: dict[str, Any]) -> dict[str, str | int | float | bool]:
    told = {
        "epochs": data.get("epochs"),
        "batch size": data.get("batch_size"),
        "learning rate": data.get("learning_rate"),
        "samples": data.get("train", 0) + data.get("validation", 0) or None,
        "size": choice.size,
        "device": choice.device,
        "seed": choice.seed,
        "data": data.get("path") or None,
        "precision": choice.precision,
        "compiled": choice.compiled,
    }
    return {name: value for name, value in told.items() if value is not None}


def _measures(data: dict[str, Any], last: dict[str, dict[str, Any]], shown: Sequence[dict[str, Any]]) -> list[Measure]:
    test, validation = (last.get(key, {}).get("scores", {}) for key in ("test", "validation"))
    metric = data.get("metric", "")
    found = []
    if metric in test:
        bar = data.get("bar")
        sign = "at least" if data.get("higher_is_better") else "at most"
        note = "" if bar is None else f"{sign} {bar:g} is needed"
        found.append(Measure(name=f"test {metric}", value=test[metric], note=note))
    if metric in validation:
        found.append(Measure(name=f"validation {metric}", value=validation[metric]))
    found += [Measure(name=f"test {name}", value=value) for name, value in test.items() if name != metric]
    found += untrained([last["untrained"]] if "untrained" in last else [])
    for name, event, key, unit in (
        ("test loss", "test", "loss", "nats"),
        ("training rate", "trained", "samples_per_second", "samples/s"),
    ):
        value = last.get(event, {}).get(key)
        if value is not None:
            found.append(Measure(name=name, value=value, unit=unit))
    return found + [Measure(**measure) for event in shown for measure in event.get("measures", [])]


def _courses(events: Sequence[dict[str, Any]]) -> list[Curve]:
    epochs = [event for event in events if event["event"] == "epoch"]
    if len(epochs) < 2:  # noqa: PLR2004 - a point is no curve
        return []
    numbers = [float(event["epoch"]) for event in epochs]
    return [
        Curve(name=name, x_label="epoch", y_label="nats", x=numbers, y=[event[key] for event in epochs])
        for name, key in (("training loss", "loss"), ("validation loss", "validation_loss"))
    ]


def _conditions(
    choice: Choice,
    events: Sequence[dict[str, Any]],
    last: dict[str, dict[str, Any]],
    shown: Sequence[dict[str, Any]],
) -> list[Condition]:
    conditions = [_finite(events, last), _falls(events, last), _moved(last)]
    if "not-finite" in last:
        # It ended there: the rest was not tried.
        return conditions
    used, chosen = " and ".join(last.get("where", {}).get("devices", [])), last.get("device", {}).get("used", "")
    conditions.append(
        Condition(
            name="device",
            holds=judge.same_device(used, chosen),
            seen=f"the work ran on {used or 'a device that the framework does not name'}, asked for was {choice.device}"
            + ("" if choice.device == chosen else f" ({chosen})"),
        )
    )
    conditions += [*_bar(last), *_compiled(last)]
    conditions += [Condition(**condition) for event in shown for condition in event.get("conditions", [])]
    return conditions + [_saved(event) for event in events if event["event"] == "saved" and "absent" not in event]


def _finite(events: Sequence[dict[str, Any]], last: dict[str, dict[str, Any]]) -> Condition:
    bad = last.get("not-finite")
    finite = (
        bad is None
        and all(event["finite"] for event in events if event["event"] in {"epoch", "untrained"})
        and last.get("moved", {}).get("finite") is True
        and last.get("test", {}).get("finite") is True
    )
    seen = "loss, outputs and parameters stayed finite" if finite else "loss, outputs or parameters are not finite"
    if bad is not None and bad["step"] is not None:
        where = {
            "output": f"the output of {bad['layer']}",
            "update": f"the update of {bad['layer']}",
        }.get(bad["kind"], "the loss")
        seen = f"not finite from step {bad['step']} on (epoch {bad['epoch']}, batch {bad['batch']}): first in {where}"
    elif bad is not None:
        seen += "; trained once more from the same start they stayed finite: the fault comes and goes"
    return Condition(name="loss-finite", holds=finite, seen=seen)


def _falls(events: Sequence[dict[str, Any]], last: dict[str, dict[str, Any]]) -> Condition:
    losses = [event["loss"] for event in events if event["event"] == "epoch"]
    first = losses[0] if len(losses) > 1 else last.get("untrained", {}).get("loss")
    latest = losses[-1] if losses else None
    return Condition(
        name="loss-falls",
        holds=first is not None and latest is not None and latest < first,
        seen=f"the training loss went from {_number(first)} to {_number(latest)}",
    )


def _moved(last: dict[str, dict[str, Any]]) -> Condition:
    moved = last.get("moved", {}).get("layers", {})
    # A distance that is not finite is None: such parameters did move, and another condition speaks of them.
    still = [name for name, distance in moved.items() if distance == 0]
    return Condition(
        name="parameters-moved",
        holds=bool(moved) and not still,
        seen=f"these did not move: {', '.join(still)}" if still else "every parameter moved",
    )


def _bar(last: dict[str, dict[str, Any]]) -> list[Condition]:
    data = last.get("data", {})
    bar, metric = data.get("bar"), data.get("metric", "")
    if bar is None:
        return []
    value = last.get("test", {}).get("scores", {}).get(metric)
    higher = data["higher_is_better"]
    holds = value is not None and (value >= bar if higher else value <= bar)
    return [
        Condition(
            name=f"test-{metric.replace(' ', '-')}",
            holds=holds,
            seen=f"test {metric} {_number(value)}, at {'least' if higher else 'most'} {bar:g} is needed",
        )
    ]


def _compiled(last: dict[str, dict[str, Any]]) -> list[Condition]:
    compiled = last.get("compiled")
    if compiled is None:
        return []
    if not compiled["works"]:
        seen = f"the compiler failed with {compiled['type']}: {_first_line(compiled['message'])}"
        return [Condition(name="compiled-equals-eager", holds=False, seen=seen)]
    difference, allowed = compiled["difference"], compiled["allowed"]
    return [
        Condition(
            name="compiled-equals-eager",
            holds=difference is not None and difference <= allowed,
            seen=f"compiled in {compiled['seconds']:.1f} s; outputs differ by {_exponent(difference)} of the largest, "
            f"{allowed:g} is allowed",
        )
    ]


def _saved(event: dict[str, Any]) -> Condition:
    if "error" in event:
        return Condition(name="saved-and-loaded", holds=False, seen=f"{event['format']}: {_first_line(event['error'])}")
    difference, allowed = event["difference"], event["allowed"]
    return Condition(
        name="saved-and-loaded",
        holds=difference is not None and difference <= allowed,
        seen=f"{event['format']}: loaded into a new network, outputs differ by {_exponent(difference)} of the largest, "
        f"{allowed:g} is allowed",
    )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "no message")


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"


def _exponent(value: float | None) -> str:
    return "what is not finite" if value is None else f"{value:.1e}"


NO_PRIMITIVE = "could not create a primitive"
"""How oneDNN says that it has no code for an operation in these numbers on this processor."""


def _precision_finding(failure: Failure, choice: Choice) -> Finding | None:
    """Return why mixed precision does not work on this processor, where that is what happened."""
    if choice.precision != "mixed" or NO_PRIMITIVE not in failure.message:
        return None
    return Finding(
        check="smoke",
        cause="cpu-instructions-missing",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title="oneDNN cannot compute an operation of this network in bfloat16 on this processor",
        detail="In bfloat16 some of its operations need AVX-512, recurrent layers among them; in float32 they do not.",
        evidence=[Evidence(failure.message, f"envcheck smoke, step {failure.step}")],
        remedies=[
            Remedy(action="Train this network in float32: leave mixed precision (autocast) off", safe=True),
            Remedy(
                action="Or compute it without oneDNN: run the training inside "
                "`with torch.backends.mkldnn.flags(enabled=False):`",
                safe=True,
            ),
        ],
    )


def _loader_finding(failure: Failure, stuck: dict[str, Any]) -> Finding | None:
    """Return that the data loader is what hung, where it is."""
    if failure.kind != "timeout" or not stuck.get("waits_for_loader"):
        return None
    return Finding(
        check="smoke",
        cause="slow-data-path",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=failure.reason,
        detail="The device had trained with every batch that came; the data lies in memory, so no disk is waited for.",
        evidence=[
            Evidence(failure.reason, "envcheck smoke, step train"),
            Evidence(failure.python_stack, "where Python was"),
        ],
        remedies=[
            Remedy(action="See in the stack what the loader waits for: a lock, a worker that died, a full /dev/shm"),
            Remedy(action="See how fast it is apart from any training", commands=["envcheck smoke --pace"], safe=True),
        ],
    )


COMPILERS: tuple[tuple[str, str, str], ...] = (
    (r"libdevice|ptxas|nvvm|cuda[_ ]?toolkit|--xla_gpu_cuda_data_dir", "cuda-toolkit-missing", "cuda"),
    (r"triton", "package-not-installed", "triton"),
    (r"Python\.h", "missing-system-library", "headers"),
    (
        r"no working c\+\+ compiler|invalidcxxcompiler|g\+\+|clang|cl\.exe|failed to find c compiler|cppcompileerror",
        "host-compiler-unsupported",
        "compiler",
    ),
    (
        r"(dynamo|torch\.compile)[^\n]*not supported[^\n]*python|python 3\.\d+\+? not",
        "python-version-unsupported",
        "python",
    ),
    (r"torch\.compile came with 2\.0", "framework-too-old-for-code", "old"),
)
"""What a compiler's error says → cause, and the key of its cure; the first that is found counts."""


def compiler_finding(compiled: dict[str, Any], target: Target) -> Finding:
    """Return why the framework's compiler does not work, and what cures it."""
    text = f"{compiled['type']}: {compiled['message']}"
    found = next(((cause, cure) for pattern, cause, cure in COMPILERS if re.search(pattern, text, re.IGNORECASE)), None)
    cause, cure = found or ("broken-install", "")
    compiler = "torch.compile" if "torch" in target.name else "XLA"
    return Finding(
        check="smoke",
        cause=cause,
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY if found else Confidence.POSSIBLE,
        title=f"{compiler} does not work here: {_first_line(compiled['message']) or compiled['type']}",
        evidence=[Evidence(text[:1000], f"envcheck smoke, step compile, {target.name}")],
        remedies=[
            *CURES.get(cure, []),
            Remedy(action="Train without --compile: it works, at the usual speed", safe=True),
        ],
    )


CURES: dict[str, list[Remedy]] = {
    "cuda": [
        Remedy(
            action="Install the compiler's tools that TensorFlow's CUDA wheels bring (ptxas, libdevice)",
            commands=["python -m pip install 'tensorflow[and-cuda]'"],
            safe=True,
            changes="this environment",
        )
    ],
    "triton": [
        Remedy(
            action="Install triton, of the version that this torch names in its requirements",
            commands=["python -m pip install triton"],
            safe=True,
            changes="this environment",
        )
    ],
    "headers": [
        Remedy(
            action="Install the headers of this Python (Debian, Ubuntu)",
            commands=["sudo apt-get install python3-dev"],
            changes="this machine",
        )
    ],
    "compiler": [
        Remedy(
            action="Install a C++ compiler (Debian, Ubuntu)",
            commands=["sudo apt-get install g++"],
            changes="this machine",
        )
    ],
    "python": [Remedy(action="Use a Python that this torch release compiles for, or a newer torch")],
    "old": [Remedy(action="Install torch 2.0 or later", commands=["python -m pip install 'torch>=2'"], safe=True)],
}
