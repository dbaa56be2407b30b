"""Whether frameworks see and use the GPUs, and which variables stand between."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.cuda import (
    MESSAGE_TOO_OLD,
    guides,
    has_gpu,
    requires_gpu_of,
)
from envcheck.checks.nvidia_context import (
    accelerator_of,
    label,
    requires_gpu,
    working_gpus,
)
from envcheck.checks.nvidia_remedies import (
    install_framework,
)
from envcheck.facts import (
    Facts,
    Framework,
    Gpu,
    Variables,
    need,
)
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

SEES_CAUSES = [
    "driver-too-old",
    "cuda-libraries-missing",
    "visible-devices-masked",
    "device-permission",
    "device-nodes-missing",
    "fabric-manager-down",
    "driver-library-mismatch",
    "libcuda-stub-or-duplicate",
    "gpu-in-use",
    "gpu-not-in-compute-mode",
    "gpu-arch-not-in-build",
    "gpu-out-of-memory",
    "gpu-memory-fault",
    "gpu-hardware-fault",
    "gpu-fell-off-bus",
    "driver-not-loaded",
    "container-image-cuda-too-new",
    "cudnn-version-mismatch",
    "cuda-library-conflict",
    "driver-hung",
    "user-code",
]
"""What the error with which a framework starts CUDA can speak for: see the table cuda_errors."""


@check(area="cuda", causes=SEES_CAUSES)
def torch_sees_gpu(torch: Framework, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """A PyTorch build for CUDA sees the GPU that the driver reports.

    Why: this is a consequence, and stands alone only where no deeper check explains it; the error with which CUDA
    starts then names the layer.
    If not: read the error; try again after a restart, in a fresh shell without LD_LIBRARY_PATH.
    Source: CUDA Runtime API, error types; table cuda_errors.
    """
    yield from _sees_gpu(torch, facts, intent)


@check(area="cuda", causes=SEES_CAUSES)
def tensorflow_sees_gpu(tensorflow: Framework, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """A TensorFlow build for CUDA sees the GPU that the driver reports.

    Why: this is a consequence, and stands alone only where no deeper check explains it. TensorFlow leaves out all GPUs
    when one of the CUDA libraries that it loads is not found, and says so in one line of its log.
    If not: install the CUDA libraries with the extra `and-cuda`, or put those of the toolkit where the loader looks.
    Source: TensorFlow, "Install with pip"; stream_executor's messages "Cannot dlopen some GPU libraries".
    """
    yield from _sees_gpu(tensorflow, facts, intent)


def _sees_gpu(framework: Framework, facts: Facts, intent: Intent) -> Iterator[Finding]:
    if accelerator_of(framework, facts) != "cuda" or not has_gpu(facts) or framework.state != "ok":
        return
    if need(framework.sees_gpu, f"{framework.name}.sees_gpu"):
        return
    value = (facts.variables.values or {}).get("CUDA_VISIBLE_DEVICES") if facts.variables else None
    if value is not None and hides_all(value) and not (requires_gpu(intent) or requires_gpu_of(framework, intent)):
        # The user asks for the CPU.
        return
    words = framework.gpu_error or ""
    cause, meaning = cause_of_words(words)
    python = (facts.python.path if facts.python else None) or "python"
    libraries = "dlopen" in words or "Could not load dynamic library" in words
    remedies = []
    if libraries:
        cause = "cuda-libraries-missing"
        repair = install_framework(framework, facts)
        remedies = [repair] if repair else []
    yield Finding(
        cause=cause or "cuda-libraries-missing",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY if cause else Confidence.POSSIBLE,
        title=f"{label(framework)} sees no GPU" + (f": {words.splitlines()[0][:160]}" if words else ""),
        evidence=[
            *seen(framework, "sees_gpu", "cuda"),
            *([Evidence(words[:600], framework.sources.get("gpu_error", framework.name or ""))] if words else []),
            *(Evidence(f"the driver reports {gpu.name}", "NVML") for gpu in working_gpus(facts)[:2]),
        ],
        explains=[f"{framework.name}-computes"],
        remedies=remedies
        or [
            Remedy(
                action="Try it in a fresh shell, where no variable hides a device or names another library",
                commands=[f"env -u LD_LIBRARY_PATH -u CUDA_VISIBLE_DEVICES {python} -c {_question(framework)}"],
                safe=True,
                changes="nothing",
            )
        ],
        detail=meaning,
        links=guides(framework),
    )


def _question(framework: Framework) -> str:
    if framework.name == "torch":
        return "'import torch; torch.cuda.init(); print(torch.cuda.device_count())'"
    return "'import tensorflow as tf; print(tf.config.list_physical_devices())'"


def cause_of_words(words: str) -> tuple[str, str]:
    """Return the likeliest cause that CUDA's error in a text names, and what it means; empty where it names none."""
    if not words:
        return "", ""
    if MESSAGE_TOO_OLD.search(words):
        return "driver-too-old", ""
    from envcheck.compat import cuda_errors

    for row in cuda_errors.in_text(words):
        if row.causes:
            return row.causes[0], row.meaning
    return "", ""


@check(area="cuda", causes=["visible-devices-masked"])
def cuda_visible_devices_name_gpus(variables: Variables, facts: Facts, intent: Intent) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES names GPUs that this machine has.

    Why: programs see the listed devices alone. CUDA reads the list up to the first entry that names none and ignores
    the rest, so that a wrong index, an empty value or -1 leaves no GPU, without any message.
    If not: unset the variable or name devices by index or UUID as `nvidia-smi -L` lists them. Indices follow CUDA's
    own order (fastest first) unless CUDA_DEVICE_ORDER is PCI_BUS_ID.
    Source: CUDA C++ Programming Guide, "CUDA environment variables".
    """
    values = need(variables.values, "variables")
    value = values.get("CUDA_VISIBLE_DEVICES")
    gpus = working_gpus(facts)
    if value is None or not gpus or (facts.nvml and not facts.nvml.gpus_complete):
        return
    seen_devices, wrong = visible(value, gpus)
    if not wrong and seen_devices:
        return
    hidden = hides_all(value)
    if hidden and not requires_gpu(intent):
        severity = Severity.NOTE
    elif seen_devices:
        severity = Severity.WARNING
    else:
        severity = Severity.ERROR
    listed = ", ".join(f"{gpu.index}: {gpu.name} {gpu.uuid}" for gpu in gpus[:8])
    left = "all GPUs" if not seen_devices else f"all but {len(seen_devices)} of {len(gpus)} GPUs"
    yield Finding(
        cause="visible-devices-masked",
        severity=severity,
        title=f"CUDA_VISIBLE_DEVICES={value!r} hides {left}"
        + (f": {wrong!r} names no GPU here" if wrong and not hidden else ""),
        evidence=[
            Evidence(f"CUDA_VISIBLE_DEVICES={value}", variables.sources.get("values", "environment")),
            Evidence(f"GPUs: {listed}", "NVML"),
        ],
        explains=["torch-sees-gpu", "tensorflow-sees-gpu"],
        remedies=[
            Remedy(
                action="Unset the variable, or name a device that is here",
                commands=["unset CUDA_VISIBLE_DEVICES", "nvidia-smi -L"],
                safe=True,
                changes="which GPUs programs of this shell see",
            )
        ],
    )


def hides_all(value: str) -> bool:
    """Tell whether a value of CUDA_VISIBLE_DEVICES is one with which people ask for the CPU."""
    return value.strip() in {"", "-1", "none", "NoDevFiles", "void"}


def visible(value: str, gpus: list[Gpu]) -> tuple[list[str], str]:
    """Return the entries of CUDA_VISIBLE_DEVICES that name a GPU, and the first one that names none.

    Source: CUDA C++ Programming Guide: an invalid entry ends the list; UUIDs may be shortened to a unique beginning;
    a device may be named once.
    """
    named: list[str] = []
    for raw in value.split(","):
        entry = raw.strip()
        if re.fullmatch(r"\d+", entry):
            known = int(entry) < len(gpus)
        elif entry.startswith("GPU-"):
            known = sum((gpu.uuid or "").startswith(entry) for gpu in gpus) == 1
        elif entry.startswith("MIG-"):
            instances = [instance for gpu in gpus for instance in gpu.mig_instances or []]
            # The older form is MIG-GPU-UUID/GI/CI.
            known = any(instance.uuid.startswith(entry) for instance in instances) or any(
                entry.startswith(f"MIG-{gpu.uuid}/") for gpu in gpus if gpu.uuid
            )
        else:
            known = False
        if not known or entry in named:
            return ([] if entry in named else named), entry
        named.append(entry)
    return named, ""


SLOWING_VARIABLES = (
    "NSIGHT_CUDA_DEBUGGER",
    "CUDA_INJECTION32_PATH",
    "CUDA_INJECTION64_PATH",
    "CUDA_AUTO_BOOST",
    "CUDA_ENABLE_COREDUMP_ON_EXCEPTION",
    "CUDA_COREDUMP_FILE",
    "CUDA_DEVICE_WAITS_ON_EXCEPTION",
    "CUDA_PROFILE",
    "COMPUTE_PROFILE",
    "OPENCL_PROFILE",
    "CUDA_LAUNCH_BLOCKING",
)
"""Variables for debugging that slow every CUDA program down (DCGM 4.6.0, nvvs/src/Software.cpp; the last one: CUDA C++
Programming Guide)."""


@check(area="cuda", causes=["user-code"])
def no_debugging_variable_slows_cuda(variables: Variables, facts: Facts) -> Iterator[Finding]:
    """No variable of CUDA's debuggers and profilers is left set.

    Why: they make kernels run one after another or hook a profiler into every program; left over from a search for an
    error, they cost a good part of the speed without a word.
    If not: unset them once the search is over.
    Source: DCGM error DCGM_FR_BAD_CUDA_ENV; CUDA C++ Programming Guide, "CUDA environment variables".
    """
    values = need(variables.values, "variables")
    left = [name for name in SLOWING_VARIABLES if values.get(name, "0") not in {"", "0"}]
    if not left or not has_gpu(facts):
        return
    yield Finding(
        cause="user-code",
        severity=Severity.NOTE,
        title=f"{', '.join(left)} {'is' if len(left) == 1 else 'are'} set, which slows CUDA programs down",
        evidence=[Evidence(f"{name}={values[name]}", variables.sources.get("values", "environment")) for name in left],
        remedies=[
            Remedy(
                action="Unset them once the search for an error is over",
                commands=[f"unset {' '.join(left)}"],
                safe=True,
                changes="variables of this shell",
            )
        ],
    )
