"""From what children reported of a framework's arithmetic to its proofs.  Pure: reads events, never the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity
from envcheck.smoke import judge
from envcheck.smoke.backends import Target
from envcheck.smoke.child import Ending
from envcheck.smoke.choice import Choice
from envcheck.smoke.proof import Measure, Proof
from envcheck.smoke.result import Condition, Failure, Status

DESCRIPTIONS: dict[str, tuple[str, str]] = {
    "linear": (
        "linear map",
        "products of matrices are right to their last rows, columns and terms, and so are their gradients",
    ),
    "activations": (
        "activations",
        "relu, gelu, sigmoid, tanh, silu and softplus keep their digits from the middle to the tails",
    ),
    "convolution": ("convolution", "convolutions with stride, padding, dilation and groups see each pixel once"),
    "max-pooling": (
        "max pooling",
        "the largest number of each window is chosen, and its gradient goes back to its place",
    ),
    "gradient-descent": ("gradient descent", "weights move by the rate times the gradient, with and without momentum"),
    "adam": ("Adam", "moments, their correction and epsilon are where this framework's documentation has them"),
    "softmax": ("softmax", "probabilities and their logarithms keep their digits over thousands of classes"),
    "cross-entropy": ("cross-entropy", "the loss that classifiers train with, and what it tells each logit"),
    "additive-attention": (
        "additive attention",
        "softmax(v' tanh(Wq q + Wk k + b)) times the values, and all eight gradients of it",
    ),
    "dot-product-attention": (
        "scaled dot-product attention",
        "fused attention kernels, with and without a causal mask, agree with the formula",
    ),
    "lstm": ("LSTM", "gates, cell state and back-propagation through time of a long short-term memory"),
    "gru": ("GRU", "gates and back-propagation through time of a gated recurrent unit"),
    "layer-norm": ("layer normalisation", "means and variances over thousands of numbers, and their gradients"),
    "embedding": ("embedding", "rows are looked up, and rows used several times gather all their gradients"),
    "special-values": (
        "special values",
        "NaN is not swallowed, -inf masks weigh nothing, logits of 10,000 do not overflow",
    ),
}
"""Operation → its title, and what it proves that the others do not."""

OPERATIONS = tuple(DESCRIPTIONS)
"""In the order in which they are tried: what is wrong in an earlier one explains what is wrong in a later one."""

TOLERANCE = (
    "each step of the formula is allowed its format's unit roundoff u, a function 8 u, a sum of n terms"
    " min(n, 8 sqrt n) u of the sum of their magnitudes; errors are carried along the formula to first order;"
    " of all this twice as much is allowed"
)

Key = tuple[str, str]
"""Number format and direction (`forward` or `gradient`)."""


class Switch(msgspec.Struct, frozen=True, kw_only=True):
    """Something that can be switched off to see whether it is what computes wrongly.

    Attributes:
        title: what is switched, in a few words.
        settings: what the child is told.
        variables: environment variables for the child.
        action: how the user does it, as a sentence in the imperative.
        commands: likewise, as commands.
        blames: what it is that computes wrongly where this heals it.
        cause: slug of the vocabulary of causes.
    """

    title: str
    action: str
    blames: str
    cause: str = "kernel-computes-wrongly"
    settings: dict[str, bool] = {}
    variables: dict[str, str] = {}
    commands: list[str] = []


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What one child reported, and how it ended."""

    events: list[dict[str, Any]]
    ending: Ending

    def all(self, event: str) -> list[dict[str, Any]]:
        """Return the events of a kind."""
        return [one for one in self.events if one["event"] == event]

    def first(self, event: str) -> dict[str, Any]:
        """Return the first event of a kind; empty where there is none."""
        return next(iter(self.all(event)), {})

    def names(self, event: str) -> list[str]:
        """Return the names that events of a kind carry."""
        return [one["name"] for one in self.all(event)]

    def last_step(self) -> str:
        """Return the step that it was on when it ended."""
        return next((str(one["step"]) for one in reversed(self.all("step"))), "")


class Tried(msgspec.Struct, frozen=True, kw_only=True):
    """What came of switching something off: the operations that are right then, and those that are wrong still."""

    switch: Switch
    healed: list[str]
    failed: list[str]


def failed_start(target: Target, choice: Choice, attempt: Attempt) -> Proof:
    """Return the one proof of a framework whose child came to no operation at all."""
    failure = _failure(choice, attempt) or Failure(
        step="start", kind="exit", reason="the child ended and did not say what it computed"
    )
    finding = judge.finding_of(failure, target.package, choice.interpreter)
    return replace(
        _blank("arithmetic", "arithmetic", "each operation agrees with its reference", target, choice, attempt),
        status=judge.status_of(failure),
        summary=f"{failure.reason.rstrip('.')}.",
        failure=failure,
        findings=[finding] if finding else [],
    )


def is_absent(proof: Proof) -> bool:
    """Tell whether a proof says no more than that its framework is not installed."""
    return judge.is_absent(proof.failure)


def as_absent(proof: Proof) -> Proof:
    """Return the proof of a framework that is not installed and was not asked for."""
    return replace(proof, status=Status.ABSENT, findings=[])


def _failure(choice: Choice, attempt: Attempt) -> Failure | None:
    last = {event["event"]: event for event in attempt.events}
    failure = judge.failure_of(choice.interpreter, last, attempt.ending)
    if failure is not None and failure.kind == "exit" and failure.python_stack.startswith("Timeout ("):
        # The child's own watchdog ended it.
        reason = f"the step '{failure.step}' was not done after its share of the time"
        return replace(failure, kind="timeout", exit_code=None, reason=reason)
    return failure


def _blank(name: str, title: str, proves: str, target: Target, choice: Choice, attempt: Attempt) -> Proof:
    return Proof(
        part="arithmetic",
        name=name,
        framework=target.name,
        title=title,
        proves=proves,
        status=Status.FAILED,
        summary="",
        settings={"size": choice.size, "device": choice.device, "seed": choice.seed},
        framework_version=attempt.first("framework").get("version", ""),
        peak_memory_bytes=attempt.first("memory").get("peak_bytes"),
    )


def wrong_operations(attempts: Sequence[Attempt]) -> set[str]:
    """Return the operations that gave a wrong result (not those that ended in an exception or a crash)."""
    return {
        event["operation"] for attempt in attempts for event in attempt.all("wrong") if event["kind"] != "exception"
    }


def right_operations(attempt: Attempt) -> list[str]:
    """Return the operations that came to their end, gave results, and none that is wrong."""
    wrong = {event["operation"] for event in attempt.all("wrong")}
    checked = {event["operation"] for event in attempt.all("checked")}
    return [name for name in attempt.names("operation-end") if name in checked - wrong]


def proofs_of(target: Target, choice: Choice, attempts: Sequence[Attempt], tried: Sequence[Tried]) -> list[Proof]:
    """Return one proof for each operation and device, and that of the yardstick.

    Args:
        target: the framework.
        choice: what was asked for.
        attempts: the children that tried the operations, in their order.
        tried: what came of switching things off.
    """
    proofs = [_yardstick(target, choice, next((one for one in attempts if one.first("yardstick")), attempts[0]))]
    for name in OPERATIONS:
        attempt = next((one for one in attempts if name in one.names("operation")), None)
        if attempt is None:
            proofs.append(_not_begun(name, target, choice, attempts[-1]))
        else:
            proofs += _operation_proofs(name, target, choice, attempt, tried)
    return proofs


def _not_begun(name: str, target: Target, choice: Choice, attempt: Attempt) -> Proof:
    """Return the proof of an operation that no child came to: the last one could not start, or time was up."""
    failure = None if attempt.first("operation") else _failure(choice, attempt)
    if failure is None:
        reason = f"the {choice.timeout_seconds:g} s of this framework were up before it began; give --timeout more"
        failure = Failure(step="start", kind="timeout", reason=reason)
    return replace(
        _blank(name, *DESCRIPTIONS[name], target, choice, attempt),
        status=Status.UNEXAMINED,
        summary=f"{failure.reason.rstrip('.')}.",
        failure=failure,
    )


def _operation_proofs(
    name: str, target: Target, choice: Choice, attempt: Attempt, tried: Sequence[Tried]
) -> list[Proof]:
    ended = {event["name"]: event for event in attempt.all("operation-end")}
    failure = None if name in ended else _failure(choice, attempt)
    events = [event for event in attempt.events if event.get("operation") == name]
    devices = attempt.first("devices").get("devices", [])
    proofs = []
    for device in devices:
        own = [event for event in events if event["device"] == device]
        # Of several devices it is the last one with an event that it was on when it ended.
        ended_here = failure if device == (events[-1]["device"] if events else devices[0]) else None
        if not own and ended_here is None:
            continue
        proof = replace(
            _blank(name, *DESCRIPTIONS[name], target, choice, attempt),
            device=device,
            seconds=round(ended[name]["seconds"], 3) if name in ended and len(devices) == 1 else None,
        )
        proofs.append(_judged(proof, own, ended_here, tried, choice, target))
    return proofs


def _judged(
    proof: Proof,
    events: Sequence[dict[str, Any]],
    failure: Failure | None,
    tried: Sequence[Tried],
    choice: Choice,
    target: Target,
) -> Proof:
    wrong = [event for event in events if event["event"] == "wrong"]
    checked = {_key(event): event for event in events if event["event"] == "checked"}
    keys = dict.fromkeys([*checked, *map(_key, wrong)])
    conditions = [_condition(key, checked.get(key), [one for one in wrong if _key(one) == key]) for key in keys]
    numbers = sum(event["numbers"] for event in checked.values())
    findings = [_finding_of_wrong(proof, wrong, tried)] if wrong and wrong[0]["kind"] != "exception" else []
    if failure is not None:
        found = judge.finding_of(failure, target.package, choice.interpreter)
        findings += [found] if found else []
    proof = replace(
        proof,
        settings={**proof.settings, "tolerance": TOLERANCE},
        conditions=conditions,
        measures=[_measure(key, event) for key, event in checked.items()] + _observations(events),
        failure=failure,
        findings=findings,
    )
    if failure is not None:
        where = f" (in {events[-1]['dtype']} on {proof.device})" if events else ""
        return replace(proof, status=judge.status_of(failure), summary=f"{failure.reason.rstrip('.')}{where}.")
    if wrong:
        return replace(proof, status=Status.FAILED, summary=_sentence(proof, wrong))
    missing = [event for event in events if event["event"] == "unavailable" and event["dtype"] == "float32"]
    missing = [event for event in missing if ("float32", event.get("direction", "forward")) not in checked]
    if missing or ("float32", "forward") not in checked:
        reason = missing[0]["reason"].rstrip(".") if missing else "no reason was given"
        direction = missing[0].get("direction", "forward") if missing else "forward"
        summary = f"Its {direction} computation in float32 is not available here: {reason}."
        return replace(proof, status=Status.UNEXAMINED, summary=summary)
    formats = list(dict.fromkeys(dtype for dtype, _ in checked))
    worst = max(event["ratio"] for event in checked.values())
    summary = (
        f"{numbers:,} numbers agree with the reference in {_listed(formats)} on {proof.device};"
        f" the largest error is {worst:.2f} of what is allowed."
    )
    return replace(proof, status=Status.PASSED, summary=summary)


def _key(event: Mapping[str, Any]) -> Key:
    return event["dtype"], event["direction"]


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:-1]) + " and " + words[-1] if len(words) > 1 else "".join(words)


def _condition(key: Key, checked: Mapping[str, Any] | None, wrong: Sequence[Mapping[str, Any]]) -> Condition:
    name = f"{key[0]} {key[1]}"
    if wrong:
        more = f"; {len(wrong) - 1} more results are wrong" if len(wrong) > 1 else ""
        return Condition(name=name, holds=False, seen=f"{_told(wrong[0])}{more}")
    ratio, cases = (checked or {}).get("ratio", 0.0), (checked or {}).get("cases", 0)
    return Condition(
        name=name, holds=True, seen=f"{cases} results agree, the largest error is {ratio:.2g} of what is allowed"
    )


def _told(event: Mapping[str, Any]) -> str:
    """Return what is wrong with one result: which, where, how far off."""
    output = event.get("output", "result")
    where = f"{output} of {event['case']}" if output != "result" else f"{event['case']}"
    if event["kind"] != "numbers" or "index" not in event:
        return f"{where}: {event['message']}"
    index = ", ".join(str(part) for part in event["index"])
    return (
        f"{where}: {_figure(event['found'])} instead of {_figure(event['expected'])} at [{index}]"
        f", {_figure(event['error'])} off where {_figure(event['allowed'])} is allowed; {event['message']}"
    )


def _figure(value: float | None) -> str:
    return "a number that is not finite" if value is None else f"{value:.7g}"


def _sentence(proof: Proof, wrong: Sequence[Mapping[str, Any]]) -> str:
    first = wrong[0]
    return f"{proof.title} is wrong in {first['dtype']} on {proof.device}, {first['direction']}: {_told(first)}."


def _measure(key: Key, event: Mapping[str, Any]) -> Measure:
    note = f"over {event['cases']} results of {event['numbers']:,} numbers"
    if event.get("allowed") is not None and event.get("error") is not None:
        index = ", ".join(str(part) for part in event["index"])
        note = (
            f"{event['output']} of {event['case']} at [{index}]: {_figure(event['error'])} off"
            f" where {_figure(event['allowed'])} is allowed; {note}"
        )
    return Measure(name=f"largest error / allowed, {key[0]} {key[1]}", value=event["ratio"], note=note)


def _observations(events: Sequence[dict[str, Any]]) -> list[Measure]:
    """Return what is said and not judged: formats that are not available, what becomes of denormal numbers."""
    found: dict[str, Measure] = {}
    for event in events:
        if event["event"] == "unavailable":
            name = " ".join(filter(None, [event["dtype"], event.get("direction", "")]))
            case = f"{event['case']}: " if event["case"] else ""
            found.setdefault(name, Measure(name=name, value=None, note=f"not available: {case}{event['reason']}"))
        elif event["event"] == "denormal":
            name = f"denormal numbers kept, {event['dtype']}"
            note = "1: they are computed with; 0: they become zero, which is quicker and as good for training"
            found[name] = Measure(name=name, value=float(event["kept"]), note=note)
    return list(found.values())


MEMORY_TEST = Remedy(
    action="Test memory and processor for some hours, at their standard clocks (no overclocking, no memory profile)",
    commands=["sudo memtester 75% 3", "stress-ng --cpu 0 --verify --timeout 30m"],
    changes="nothing; the machine is busy meanwhile",
)

GPU_TEST = Remedy(
    action="Test the GPU: its error counters, then NVIDIA's own diagnosis, at its standard clocks",
    commands=["nvidia-smi -q -d ECC,ROW_REMAPPER,PERFORMANCE", "dcgmi diag -r 3"],
    changes="nothing; the GPU is busy meanwhile",
)

PRECISION_VARIABLES = (
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Variables that let a library compute in less than float32: oneDNN's, CUDA's and PyTorch's documentation."""


def suspects(target: Target, attempts: Sequence[Attempt], variables: Mapping[str, str], machine: str) -> list[Switch]:
    """Return what is worth switching off, the likeliest first.

    Args:
        target: the framework.
        attempts: what is wrong in it.
        variables: the environment variables that are set.
        machine: the processor's architecture, as `platform.machine` names it.
    """
    wrong = [event for attempt in attempts for event in attempt.all("wrong")]
    on_processor = any(event["device"] == "cpu" for event in wrong)
    on_gpu = any(event["device"] != "cpu" for event in wrong)
    has_torch = target.name in {"torch", "keras-torch"}
    has_tensorflow = target.name in {"tensorflow", "keras-tensorflow"}
    found = [
        Switch(
            title=f"computing without {name}",
            variables={name: "STRICT" if "FPMATH" in name else "0"},
            action=f"Unset {name}: it lets products be computed in less than float32",
            commands=[f"unset {name}"],
            blames=f"{name}={variables[name]}",
            cause="precision-lowered",
        )
        for name in PRECISION_VARIABLES
        if variables.get(name)
    ]
    if on_processor and has_torch:
        found.append(
            Switch(
                title="computing without oneDNN",
                settings={"mkldnn": False},
                action="Switch oneDNN off in the program: torch.backends.mkldnn.enabled = False",
                blames="oneDNN",
            )
        )
        found.append(_by_variable("ATen's vector code", "ATEN_CPU_CAPABILITY", "default"))
    if on_processor and has_tensorflow:
        found.append(_by_variable("oneDNN", "TF_ENABLE_ONEDNN_OPTS", "0"))
    if on_processor:
        found.append(
            Switch(
                title="computing with one thread",
                variables=dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1"),
                action="Compute with one thread until it is mended",
                commands=["export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1"],
                blames="work that is shared between threads (a second OpenMP runtime in the process does that)",
            )
        )
        if machine.lower() in {"x86_64", "amd64"}:
            found.append(_by_variable("oneDNN's code for this processor", "ONEDNN_MAX_CPU_ISA", "SSE41"))
            found.append(_by_variable("MKL's code for this processor", "MKL_CBWR", "COMPATIBLE"))
            found.append(_by_variable("OpenBLAS's code for this processor", "OPENBLAS_CORETYPE", "Nehalem"))
        elif machine.lower() in {"aarch64", "arm64"}:
            found.append(_by_variable("OpenBLAS's code for this processor", "OPENBLAS_CORETYPE", "ARMV8"))
    if on_gpu and has_torch:
        found.append(
            Switch(
                title="computing without cuDNN",
                settings={"cudnn": False},
                action="Switch cuDNN off in the program: torch.backends.cudnn.enabled = False",
                blames="cuDNN",
            )
        )
    if on_gpu:
        found.append(_by_variable("TF32", "NVIDIA_TF32_OVERRIDE", "0", cause="precision-lowered"))
    return found


def _by_variable(what: str, variable: str, value: str, cause: str = "kernel-computes-wrongly") -> Switch:
    return Switch(
        title=f"computing without {what}",
        variables={variable: value},
        action=f"Do without {what}",
        commands=[f"export {variable}={value}"],
        blames=what,
        cause=cause,
    )


EVIDENCE_SHOWN = 6

PRECISIONS = {"float32": "float32", "tf32": "the 11 bits of float16 or TF32", "bfloat16": "the 8 bits of bfloat16"}


def _finding_of_wrong(proof: Proof, wrong: Sequence[dict[str, Any]], tried: Sequence[Tried]) -> Finding:
    """Return what is to be mended where an operation gave a wrong result."""
    switch = next((one.switch for one in tried if proof.name in one.healed), None)
    in_vain = [one.switch.title for one in tried if proof.name in one.failed]
    numbers = [event for event in wrong if event["kind"] == "numbers"] or list(wrong)
    first = numbers[0]
    at_times = any(event.get("right_again") for event in numbers)
    like = first.get("like", "")
    source = f"envcheck smoke --arithmetic, {proof.framework} {proof.framework_version} on {proof.device}"
    # Of each case its first wrong result says enough.
    shown = list({event["case"]: event for event in reversed(numbers)}.values())[::-1][:EVIDENCE_SHOWN]
    evidence = [Evidence(f"{event['dtype']} {event['direction']}: {_told(event)}", source) for event in shown]
    if len(numbers) > len(shown):
        evidence.append(Evidence(f"{len(numbers) - len(shown)} more results are wrong", source))
    if like:
        evidence.append(Evidence(f"the error is as large as rounding to {PRECISIONS[like]} would make it", source))
    if in_vain:
        evidence.append(Evidence(f"it is wrong as well {', '.join(in_vain)}", source))
    other = MEMORY_TEST if proof.device == "cpu" else GPU_TEST
    title = f"{proof.title} is wrong in {first['dtype']} on {proof.device} ({proof.framework})"
    undo = (
        [Remedy(action=switch.action, commands=switch.commands, safe=True, changes="programs of this shell")]
        if switch
        else []
    )
    if at_times:
        right = max(event.get("right_again", 0) for event in numbers)
        evidence.append(Evidence(f"of the same computation, repeated at once, {right} of 3 runs were right", source))
        if switch is not None:
            # That may be luck: it was right now and then before.
            evidence.append(Evidence(f"it was right {switch.title}, in one run", source))
        return Finding(
            check="smoke",
            cause="hardware-computes-wrongly",
            severity=Severity.ERROR,
            confidence=Confidence.POSSIBLE,
            title=f"{title}, and not every time",
            detail="a defect of the hardware comes and goes; so does a kernel that reads memory before it was written",
            evidence=evidence,
            remedies=[other, *undo, _another_version(proof)],
        )
    if switch is not None:
        evidence.append(Evidence(f"it is right {switch.title}", source))
        return Finding(
            check="smoke",
            cause=switch.cause,
            severity=Severity.ERROR,
            title=title,
            detail=f"{switch.blames} computes it wrongly here",
            evidence=evidence,
            remedies=[*undo, _another_version(proof)],
        )
    return Finding(
        check="smoke",
        cause="precision-lowered" if like else "kernel-computes-wrongly",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=title,
        detail="it is wrong each time in the same way",
        evidence=evidence,
        remedies=[_another_version(proof), other],
    )


def _another_version(proof: Proof) -> Remedy:
    package = {"torch": "torch", "tensorflow": "tensorflow"}.get(proof.framework, "keras")
    return Remedy(
        action=f"Install {package} anew, or another version of it, and try again; nothing that changes its functions"
        " (a sitecustomize, an extension that patches it) may be loaded"
    )


def _yardstick(target: Target, choice: Choice, attempt: Attempt) -> Proof:
    """Return the proof that NumPy's own products are right; the references do without them."""
    seen = attempt.first("yardstick")
    proof = _blank(
        "yardstick",
        "NumPy's products of matrices",
        "the BLAS behind NumPy agrees with exact sums",
        target,
        choice,
        attempt,
    )
    version = attempt.first("numpy").get("version", "")
    proof = replace(proof, framework="", framework_version=version, device="cpu", dtype="float64")
    if not seen:
        return replace(proof, status=Status.UNEXAMINED, summary="It was not come to.")
    event = {**seen, "case": "5 × 4099 × 3", "kind": "numbers", "cases": 1, "numbers": 15, "output": "result"}
    holds = not seen["message"]
    condition = Condition(
        name="float64 forward", holds=holds, seen="sums of 4,099 products agree" if holds else _told(event)
    )
    proof = replace(proof, conditions=[condition], measures=[_measure(("float64", "forward"), event)])
    if holds:
        return replace(proof, status=Status.PASSED, summary=f"NumPy {version} multiplies matrices rightly.")
    finding = Finding(
        check="smoke",
        cause="kernel-computes-wrongly",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"NumPy {version} multiplies matrices wrongly",
        evidence=[Evidence(_told(event), "envcheck smoke --arithmetic, numpy.dot")],
        remedies=[
            Remedy(
                action="Let OpenBLAS use its code for an older processor",
                commands=["export OPENBLAS_CORETYPE=Nehalem"],
                safe=True,
                changes="this shell's programs",
            ),
            MEMORY_TEST,
        ],
    )
    return replace(proof, status=Status.FAILED, summary=f"{finding.title}: {_told(event)}.", findings=[finding])


def with_one_yardstick(proofs: Sequence[Proof]) -> list[Proof]:
    """Return the proofs with the yardstick of the first framework alone: it is the same in all."""
    found: list[Proof] = []
    for proof in proofs:
        if proof.name != "yardstick" or all(other.name != "yardstick" for other in found):
            found.append(proof)
    return found


def training_proofs(target: Target, choice: Choice, trainings: Mapping[str, Attempt]) -> list[Proof]:
    """Return the proofs that a training repeats itself, and that the order of a batch does not matter.

    Args:
        target: the framework.
        choice: what was asked for.
        trainings: `first`, `second` and `one thread` → what their children reported; one that time did not reach for
            is not there.
    """
    return [_determinism(target, choice, trainings), _any_order(target, choice, trainings)]


def _ended_early(proof: Proof, choice: Choice, trainings: Mapping[str, Attempt], event: str) -> Proof | None:
    """Return the proof of trainings of which one failed or is missing; None where all are there."""
    for attempt in trainings.values():
        if attempt.first(event):
            continue
        failure = _failure(choice, attempt)
        if failure is None:
            continue
        if failure.kind == "exception" and "deterministic" in failure.message:
            summary = f"Not available: {failure.message.rstrip('.')}."
            return replace(proof, status=Status.UNEXAMINED, summary=summary, failure=failure)
        return replace(
            proof, status=judge.status_of(failure), summary=f"{failure.reason.rstrip('.')}.", failure=failure
        )
    if "first" not in trainings:
        reason = f"the {choice.timeout_seconds:g} s of this framework were up before it began; give --timeout more"
        return replace(proof, status=Status.UNEXAMINED, summary=f"{reason}.")
    return None


def _determinism(target: Target, choice: Choice, trainings: Mapping[str, Attempt]) -> Proof:
    proof = _blank(
        "determinism",
        "the same seed twice",
        "two processes that train from the same seed end with the same bits",
        target,
        choice,
        next(iter(trainings.values()), Attempt(events=[], ending=Ending(outcome="ok"))),
    )
    early = _ended_early(proof, choice, trainings, "trained")
    if early is not None:
        return early
    if "second" not in trainings:
        reason = f"the {choice.timeout_seconds:g} s of this framework were up before the second training"
        return replace(proof, status=Status.UNEXAMINED, summary=f"{reason}; give --timeout more.")
    one, two = (trainings[name].first("trained") for name in ("first", "second"))
    losses, weights = one["bits"] == two["bits"], one["weights"] == two["weights"]
    conditions = [
        Condition(
            name="same losses",
            holds=losses,
            seen="both trainings gave the same losses, bit for bit"
            if losses
            else f"the losses differ: {one['losses']} and {two['losses']}",
        ),
        Condition(
            name="same weights",
            holds=weights,
            seen="both ended with the same weights, bit for bit" if weights else "the weights differ at the end",
        ),
    ]
    measures = []
    single = trainings["one thread"].first("trained") if "one thread" in trainings else {}
    if single:
        differences = [abs(a - b) / abs(b) for a, b in zip(one["losses"], single["losses"], strict=False) if a and b]
        note = "largest relative difference of a loss, threads and one thread; sums in another order, not judged"
        measures.append(Measure(name="one thread against all", value=max(differences, default=None), note=note))
    proof = replace(
        proof,
        device=one["device"],
        dtype="float32",
        settings={**proof.settings, "threads": one["threads"] or 0},
        conditions=conditions,
        measures=measures,
    )
    if losses and weights:
        return replace(proof, status=Status.PASSED, summary="Two trainings from one seed gave the same bits.")
    finding = Finding(
        check="smoke",
        cause="hardware-computes-wrongly",
        severity=Severity.ERROR,
        confidence=Confidence.POSSIBLE,
        title=f"Two trainings from the same seed differ ({target.name} on {one['device']})",
        detail="deterministic kernels were asked for; a defect of the hardware comes and goes, and so do the results of"
        " a kernel that is less deterministic than it says",
        evidence=[Evidence(condition.seen, "envcheck smoke --arithmetic") for condition in conditions],
        remedies=[MEMORY_TEST if one["device"] == "cpu" else GPU_TEST],
    )
    return replace(proof, status=Status.FAILED, summary=f"{finding.title}.", findings=[finding])


def _any_order(target: Target, choice: Choice, trainings: Mapping[str, Attempt]) -> Proof:
    proof = _blank(
        "batch-order",
        "evaluation in any order",
        "the loss of a whole network depends neither on the order of a batch nor on its size, nor on threads",
        target,
        choice,
        next(iter(trainings.values()), Attempt(events=[], ending=Ending(outcome="ok"))),
    )
    early = _ended_early(proof, choice, trainings, "evaluated")
    if early is not None:
        return early
    ways = [("", event) for event in trainings["first"].all("evaluated")]
    if "one thread" in trainings:
        ways += [(" with one thread", event) for event in trainings["one thread"].all("evaluated")]
    conditions, measures = [], []
    for threads, event in ways:
        name = f"{event['how']}{threads}"
        off = f"{_figure(event['error'])} off the reference, {_figure(event['allowed'])} is allowed"
        conditions.append(
            Condition(name=name, holds=not event["message"], seen=f"the loss is {_figure(event['loss'])}: {off}")
        )
        measures.append(Measure(name=f"largest error / allowed, {name}", value=event["ratio"], note=off))
    losses = {event["loss"] for _, event in ways}
    note = "1: each way gave the same bits; 0: they differ by roundoffs, which no framework rules out"
    measures.append(Measure(name="same bits each way", value=float(len(losses) == 1), note=note))
    broken = [condition for condition in conditions if not condition.holds]
    device = trainings["first"].first("trained").get("device", "")
    proof = replace(proof, device=device, dtype="float32", conditions=conditions, measures=measures)
    if not broken:
        summary = f"{len(ways)} ways to evaluate one network gave one loss."
        return replace(proof, status=Status.PASSED, summary=summary)
    summary = f"The loss depends on how a network is evaluated: {broken[0].name}: {broken[0].seen}."
    finding = Finding(
        check="smoke",
        cause="kernel-computes-wrongly",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"A whole network's loss is wrong {broken[0].name} ({target.name})",
        evidence=[Evidence(f"{one.name}: {one.seen}", "envcheck smoke --arithmetic") for one in broken],
        remedies=[_another_version(proof), MEMORY_TEST if device == "cpu" else GPU_TEST],
    )
    return replace(proof, status=Status.FAILED, summary=summary, findings=[finding])
