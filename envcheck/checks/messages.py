"""What was printed: messages of known families, judged together with facts.

All checks here ask one question, `envcheck.messages.weigh`: which cause do the messages and the facts speak for?  Each
reports the answer where it lies in its part of the vocabulary, so that a finding stands in the family it belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from envcheck.causes import CAUSES
from envcheck.check import check
from envcheck.facts import Facts, Messages
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity

if TYPE_CHECKING:
    from envcheck.messages.weigh import Answer

CLEAR_FROM = 78
"""Weight from which an answer explains the findings that are its consequences."""

SHOWN = 3
"""Candidates that are named beside the answer."""

_judged: list[tuple[Facts, list[Answer]]] = []


def _answers(messages: Messages, facts: Facts) -> list[Answer]:
    """Return the answers for these facts; the nine checks of one examination share them."""
    if _judged and _judged[0][0] is facts:
        return _judged[0][1]
    from envcheck.messages.weigh import answers

    ranked = answers(messages.found or [], facts)
    _judged[:] = [(facts, ranked)]
    return ranked


def _findings(part: str, messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Return findings whose causes lie in one part of the vocabulary."""
    from envcheck.messages import weigh

    ranked = _answers(messages, facts)
    if not ranked:
        return
    best = ranked[0]
    candidates = [
        answer
        for answer in ranked[: SHOWN + 1]
        if answer.weight >= weigh.CANDIDATE_FROM and answer.weight > best.weight - weigh.CLOSE
    ]
    for rank, answer in enumerate(candidates):
        if answer.cause in CAUSES[part]:
            yield _finding(answer, rank, best)


def _finding(answer: Answer, rank: int, best: Answer) -> Finding:
    from envcheck.messages import weigh
    from envcheck.messages.table import cures

    row = cures().get(answer.cause)
    values = _with_package(answer.values)
    particular = [cure for support in answer.supports for cure in support.cures]
    chosen = particular or (row.cures if row else [])
    question = weigh.command(row.question, values) if row and row.question else None
    decides = f"What would decide: {question}" if question else ""
    sure = answer.weight >= weigh.CERTAIN_FROM
    clear = answer.weight >= CLEAR_FROM
    detail = [support.meaning for support in answer.supports[1:3] if support.meaning != answer.supports[0].meaning]
    if (rank or not sure) and decides:
        detail.append(decides)
    return Finding(
        told=True,
        cause=answer.cause,
        severity=_severity(answer, rank, best),
        confidence=_confidence(answer.weight) if rank == 0 else Confidence.POSSIBLE,
        title=_sentence(answer.supports[0].meaning),
        evidence=_evidence(answer),
        remedies=[
            Remedy(
                action=weigh.filled(cure.action, values),
                commands=[command for template in cure.commands if (command := weigh.command(template, values))],
                changes=cure.changes,
            )
            for cure in chosen
        ],
        links=row.links if row else [],
        explains=DEEPER.get(answer.cause, []) if rank == 0 and clear else [],
        detail="; ".join(detail),
    )


def _with_package(values: dict[str, str]) -> dict[str, str]:
    """Return what messages named, with the distribution that provides a module that they named."""
    if "module" not in values or "package" in values:
        return values
    from envcheck.compat import packages

    row = packages.distribution_of_import(values["module"])
    return {**values, "package": row.distribution if row else values["module"].partition(".")[0]}


def _confidence(weight: int) -> Confidence:
    from envcheck.messages import weigh

    if weight >= weigh.CERTAIN_FROM:
        return Confidence.CERTAIN
    return Confidence.LIKELY if weight >= weigh.LIKELY_FROM else Confidence.POSSIBLE


def _severity(answer: Answer, rank: int, best: Answer) -> Severity:
    from envcheck.messages import weigh

    if best.cause in {"user-code", "healthy"}:
        return Severity.WARNING if rank == 0 else Severity.NOTE
    if rank or answer.weight < weigh.LIKELY_FROM:
        return Severity.WARNING
    return Severity.ERROR


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    # A word of letters alone begins a sentence; the name of a file, a library or a command keeps its spelling.
    word = text.partition(" ")[0]
    return text[:1].upper() + text[1:] if word.isalpha() and word.islower() and " " in text else text


def _evidence(answer: Answer) -> list[Evidence]:
    seen: dict[str, Evidence] = {}
    for support in answer.supports:
        for message in support.messages:
            seen.setdefault(message.source, Evidence(message.text, message.source))
    return list(seen.values())[:4]


SYMPTOMS = ["nvml-answers", "nvidia-smi-answers", "driver-module-is-loaded", "torch-sees-gpu", "tensorflow-sees-gpu"]
"""Checks that find that the driver does not answer, which is a consequence of each cause below."""

DEEPER = dict.fromkeys((
    "secure-boot-blocks-driver", "nouveau-loaded", "driver-dropped-gpu", "device-permission", "driver-hung",
    "libcuda-stub-or-duplicate", "gpu-fell-off-bus", "bar-or-iommu-setting", "container-lost-gpu",
    "container-capabilities-missing", "rootless-or-cgroup-config", "container-toolkit-missing",
    "wsl-driver-misinstalled", "wsl-version-too-old", "kubernetes-device-plugin", "driver-library-mismatch",
    "driver-missing", "device-nodes-missing", "visible-devices-masked", "fabric-manager-down", "no-gpu-present",
    "scheduler-allocation", "container-gpu-not-requested", "gpu-hardware-fault",
), SYMPTOMS)  # fmt: skip
"""A cause that the messages tell with certainty explains what those checks found."""

DRIVER = "Driver and kernel"
HARDWARE = "Hardware"
CUDA = "CUDA user space"
PYTHON = "Python environment"
MEMORY = "Memory, disk, limits"
CONTAINERS = "Containers, WSL, schedulers"
DISTRIBUTED = "Distributed"
ACCELERATORS = "Other accelerators"


@check(area="messages", causes=list(CAUSES[DRIVER]))
def no_message_tells_of_a_driver_fault(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of a fault of the NVIDIA driver.

    Why: the driver, the kernel and nvidia-smi say in their own words what stops them: a module that is not loaded, not
    signed, of another version than its libraries, or held off by nouveau.
    If not: the finding quotes the message and says what to do.
    Source: open-gpu-kernel-modules, the Linux kernel, nvidia-smi; each family names its own in
    envcheck/messages/tables/driver.toml.
    """
    yield from _findings(DRIVER, messages, facts)


@check(area="messages", causes=list(CAUSES[HARDWARE]))
def no_message_tells_of_a_hardware_fault(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of a fault of a GPU, its memory or its links.

    Why: Xid and PCIe errors, ECC counters and CUDA's own error codes tell failing hardware from failing software.
    If not: the finding quotes the message and says what to do.
    Source: NVIDIA's Xid catalogue; envcheck/messages/tables/hardware.toml.
    """
    yield from _findings(HARDWARE, messages, facts)


@check(area="messages", causes=list(CAUSES[CUDA]))
def no_message_tells_of_a_cuda_fault(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of a fault between a framework and CUDA's libraries.

    Why: builds without code for the GPU, libraries that are missing or of another version, and toolkits that are absent
    each have their own sentences.
    If not: the finding quotes the message and says what to do.
    Source: cuda.h, cuDNN, torch, TensorFlow, nvcc; envcheck/messages/tables/cuda.toml.
    """
    yield from _findings(CUDA, messages, facts)


@check(area="messages", causes=list(CAUSES[PYTHON]))
def no_message_tells_of_a_fault_of_the_environment(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of a fault of the Python environment.

    Why: loaders, pip, uv, conda and the frameworks say which package, library or version does not fit.
    If not: the finding quotes the message and says what to do.
    Source: CPython, pip, uv, conda, glibc, the frameworks; envcheck/messages/tables/python.toml and frameworks.toml.
    """
    yield from _findings(PYTHON, messages, facts)


@check(area="messages", causes=list(CAUSES[MEMORY]))
def no_message_tells_of_a_limit_that_was_hit(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of memory, disk or a limit that ran out.

    Why: the same end of a process (`Killed`, a bus error) has different cures, depending on whose limit was hit.
    If not: the finding quotes the message and says what to do.
    Source: torch's allocator, the Linux kernel, errno; envcheck/messages/tables/memory.toml.
    """
    yield from _findings(MEMORY, messages, facts)


@check(area="messages", causes=list(CAUSES[CONTAINERS]))
def no_message_tells_of_a_container_fault(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of a container, WSL or scheduler that keeps the GPU away.

    Why: a machine whose driver works can still hide its GPU from a container, a pod or a job.
    If not: the finding quotes the message and says what to do.
    Source: Docker, NVIDIA container toolkit, Kubernetes, Slurm; envcheck/messages/tables/containers.toml.
    """
    yield from _findings(CONTAINERS, messages, facts)


@check(area="messages", causes=list(CAUSES[DISTRIBUTED]))
def no_message_tells_of_a_fault_between_ranks(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of ranks that cannot talk to each other.

    Why: a time-out is what every rank reports when one of them fails; the cause stands in another line.
    If not: the finding quotes the message and says what to do.
    Source: NCCL, Gloo, torch.distributed; envcheck/messages/tables/distributed.toml.
    """
    yield from _findings(DISTRIBUTED, messages, facts)


@check(area="messages", causes=list(CAUSES[ACCELERATORS]))
def no_message_tells_of_a_fault_of_another_accelerator(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of a fault of an AMD, Apple or Intel GPU.

    Why: ROCm, Metal and oneAPI have limits and permissions of their own.
    If not: the finding quotes the message and says what to do.
    Source: HIP, ROCr, torch's MPS back end, level-zero; envcheck/messages/tables/accelerators.toml.
    """
    yield from _findings(ACCELERATORS, messages, facts)


@check(area="messages", causes=["user-code"])
def no_message_tells_of_a_fault_of_the_program(messages: Messages, facts: Facts) -> Iterator[Finding]:
    """Nothing that was printed tells of a program that does what no environment can make right.

    Why: shapes, types, indices and devices that do not fit are errors of the program; nothing need be installed.
    If not: the finding quotes the message.
    Source: torch, TensorFlow, Keras, CPython; envcheck/messages/tables/program.toml.
    """
    for finding in _findings("Not the environment", messages, facts):
        if finding.cause == "user-code":
            yield finding


@check(area="messages", causes=["healthy"])
def no_message_only_looks_like_a_fault(messages: Messages) -> Iterator[Finding]:
    """Nothing that was printed looks like a fault without being one.

    Why: TensorFlow and others print warnings that have no effect; knowing that saves a search.
    If not: the finding quotes the message and says that it is harmless.
    Source: the programs' own sources; rows marked `harmless` in envcheck/messages/tables.
    """
    from envcheck.messages.table import families

    rows = families()
    told: set[str] = set()
    for message in messages.found or []:
        row = rows.get(message.family)
        if row is None or not row.harmless or row.id in told:
            continue
        told.add(row.id)
        yield Finding(
            cause="healthy",
            severity=Severity.NOTE,
            confidence=Confidence.CERTAIN,
            title=f"Harmless: {row.meaning}",
            evidence=[Evidence(message.text, message.source)],
        )
