"""What `envcheck smoke --require` asks of a run: a name, a comparison and a number, judged over the proofs.

accuracy>=0.95                     each training's test accuracy (or the score that its workload is measured by)
torch:accuracy>=0.95               in PyTorch alone
residual:accuracy>=0.8             of one workload; both can be given: torch:residual:accuracy>=0.8
samples-per-second>=1500           the training rate
samples-per-second>=90%            of what this machine reached before
device=cuda                        where it ran; cuda stands for each of its numbers
seconds<=60                        wall time of one training with everything around it
peak-memory<=2GiB                  of the process that trained
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence

import msgspec

from envcheck.intent import SIZE, UNITS, UsageError
from envcheck.smoke import history
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Status, Threshold

FORM = re.compile(r"^\s*(?P<where>(?:[\w-]+:)*)\s*(?P<name>[a-z-]+)\s*(?P<sign>>=|<=|==|=|>|<)\s*(?P<value>.+?)\s*$")
SIGNS: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "==": operator.eq,
}
NAMES = ("accuracy", "samples-per-second", "device", "seconds", "peak-memory")
FRAMEWORKS = {"tf": "tensorflow"}
SHARE = "%"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A requirement, read.

    Attributes:
        text: as it was written.
        where: names of frameworks and workloads that it is limited to.
        name: one of `NAMES`.
        sign: one of `SIGNS`.
        value: the device, or the number as text.
        number: the number; of memory in bytes; of a share from 0.
        share: whether the number is a share of what this machine reached before.
    """

    text: str
    where: tuple[str, ...]
    name: str
    sign: str
    value: str
    number: float = 0.0
    share: bool = False


def wanted(text: str) -> Wanted:
    """Read a requirement.

    Raises:
        UsageError: it cannot be understood.
    """
    found = FORM.match(text)
    if not found or found["name"] not in NAMES:
        raise UsageError(
            f"--require: {text!r} is no requirement of a training; such are accuracy>=0.95, samples-per-second>=90%, "
            f"torch:residual:accuracy>=0.8, device=cuda, seconds<=60, peak-memory<=2GiB"
        )
    where = tuple(FRAMEWORKS.get(word, word) for word in found["where"].split(":") if word)
    read = Wanted(text=text.strip(), where=where, name=found["name"], sign=found["sign"], value=found["value"])
    if read.name == "device":
        if read.sign not in {"=", "=="}:
            raise UsageError(f"--require: {text!r}: a device is or is not; write device=cuda")
        return read
    number, share = _number(read)
    return msgspec.structs.replace(read, number=number, share=share)


def _number(read: Wanted) -> tuple[float, bool]:
    value = read.value
    if read.name == "peak-memory":
        size = SIZE.match(value)
        if not size:
            raise UsageError(f"--require: {read.text!r} needs a size, such as peak-memory<=2GiB")
        return float(size[1]) * UNITS[(size[2] or "B").lower()], False
    share = value.endswith(SHARE) and read.name == "samples-per-second"
    try:
        return float(value[:-1]) / 100 if share else float(value), share
    except ValueError as error:
        raise UsageError(f"--require: {read.text!r}: {value!r} is no number") from error


def judge(requirement: Wanted, proofs: Sequence[Proof], processor: str, past: Sequence[history.Entry]) -> Threshold:
    """Return a requirement with its state: it holds where it does for each training that it speaks of.

    Args:
        requirement: what was asked for.
        proofs: what was tried.
        processor: of this machine, as the history names it.
        past: earlier trainings, oldest first.
    """
    meant = [
        proof
        for proof in proofs
        if proof.status is not Status.ABSENT
        and proof.part in {"reference", "workload"}
        and all(word in {proof.framework, proof.framework.partition("-")[0], proof.name} for word in requirement.where)
    ]
    judged = [_judge_one(requirement, proof, processor, past) for proof in meant]
    if not judged:
        return Threshold(text=requirement.text, state="unknown", seen="nothing was trained that it speaks of")
    for state in ("fails", "unknown", "holds"):
        seen = [sentence for found, sentence in judged if found == state]
        if seen:
            return Threshold(text=requirement.text, state=state, seen="; ".join(seen))
    raise AssertionError(judged)


def _judge_one(requirement: Wanted, proof: Proof, processor: str, past: Sequence[history.Entry]) -> tuple[str, str]:
    of = f"{proof.name} in {proof.framework}"
    if requirement.name == "device":
        if not proof.device:
            return "unknown", f"{of} says no device"
        same = requirement.value in {proof.device, proof.device.partition(":")[0]}
        return ("holds" if same else "fails"), f"{of} ran on {proof.device}"
    value, unit = _seen(requirement.name, proof)
    if value is None:
        return "unknown", f"{of} has no {requirement.name}"
    bound, note = requirement.number, ""
    if requirement.share:
        usual, count = history.usual_rate(proof, history.machine_of(proof, processor), past)
        if usual is None:
            return "unknown", f"{of} reached {value:,.0f} samples/s, and no earlier run of it is known on this machine"
        bound = requirement.number * usual
        note = f", {value / usual:.0%} of the median of {count} earlier runs ({usual:,.0f})"
    holds = SIGNS[requirement.sign](value, bound)
    return ("holds" if holds else "fails"), f"{of} has {_written(value)}{unit}{note}"


def _seen(name: str, proof: Proof) -> tuple[float | None, str]:
    if name == "samples-per-second":
        return history.rate_of(proof), " samples/s"
    if name == "seconds":
        return proof.seconds, " s"
    if name == "peak-memory":
        return (None if proof.peak_memory_bytes is None else float(proof.peak_memory_bytes)), " bytes"
    accuracies = [measure.value for measure in proof.measures if measure.name.endswith("accuracy")]
    return (accuracies[0] if accuracies else None), " accuracy"


def _written(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.4g}"  # noqa: PLR2004 - three digits are enough to read
