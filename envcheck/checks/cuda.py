"""CUDA between driver and framework: builds, code for the card, visible devices, cuDNN, toolkits."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.nvidia_context import (
    FRAMEWORK_GPU_UNUSABLE,
    NVIDIA_COMPATIBILITY_GUIDE,
    PYTORCH_INSTALL,
    TENSORFLOW_INSTALL,
    accelerator_of,
    architectures_of,
    capabilities,
    cuda_of,
    driver_version,
    gpus_on_bus,
    in_container,
    in_wsl,
    install_framework,
    label,
    no_gpu_on_bus,
    requires_gpu,
    update_driver,
    working_gpus,
)
from envcheck.facts import CudaToolkits, Facts, Framework, Gpu, NvidiaDriver, Variables, need
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

MESSAGE_TOO_OLD = re.compile(
    r"driver on your system is too old|driver version is insufficient|cudaErrorInsufficientDriver"
)


def has_gpu(facts: Facts) -> bool:
    """Tell whether an NVIDIA GPU is known to be here."""
    # A container sees the bus of its host, also where it was given no GPU.
    return bool(working_gpus(facts) or (gpus_on_bus(facts.pci) and not in_container(facts)))


def computed_on_gpu(framework: Framework) -> bool:
    """Tell whether a framework has already computed on an accelerator, whatever versions say."""
    return any(device.computed and device.kind != "cpu" for device in framework.devices or [])


def guides(framework: Framework) -> list[str]:
    """Return the page of a framework's own installation guide."""
    return [PYTORCH_INSTALL if framework.name == "torch" else TENSORFLOW_INSTALL]


@check(area="cuda", causes=["driver-too-old"])
def driver_supports_torch(torch: Framework, facts: Facts) -> Iterator[Finding]:
    """The NVIDIA driver can run the CUDA version that PyTorch was built with.

    Why: programs built with a CUDA major version need at least the driver of that major version (minor version
    compatibility: any 12.x build runs from driver 525 on); an older driver makes PyTorch see no GPU. The CUDA version
    that nvidia-smi prints is the highest that the driver runs, and need not equal that of PyTorch.
    If not: update the driver, or install a build of PyTorch for an older CUDA. A toolkit does not help.
    Source: CUDA Toolkit release notes, tables of driver versions; NVIDIA CUDA Compatibility.
    """
    yield from _driver_supports(torch, facts)


@check(area="cuda", causes=["driver-too-old"])
def driver_supports_tensorflow(tensorflow: Framework, facts: Facts) -> Iterator[Finding]:
    """The NVIDIA driver can run the CUDA version that TensorFlow was built with.

    Why: programs built with a CUDA major version need at least the driver of that major version; an older driver makes
    TensorFlow fall back to the CPU with one line of its log.
    If not: update the driver, or install a release of TensorFlow that was built with an older CUDA.
    Source: CUDA Toolkit release notes, tables of driver versions; NVIDIA CUDA Compatibility.
    """
    yield from _driver_supports(tensorflow, facts)


def _driver_supports(framework: Framework, facts: Facts) -> Iterator[Finding]:
    if computed_on_gpu(framework):
        return
    if not working_gpus(facts) and (in_container(facts) or (no_gpu_on_bus(facts.pci) and not in_wsl(facts))):
        return
    built = cuda_of(framework, facts)
    if built is None:
        if accelerator_of(framework, facts) in {None, "cuda"}:
            need(None, f"{framework.name}.cuda")
        return
    version = driver_version(facts)
    if version is None:
        need(None, "driver version")
        return
    from envcheck.compat import cuda

    system = "wsl" if in_wsl(facts) else ((facts.platform.system if facts.platform else None) or "linux").lower()
    if cuda.driver_runs(built[0], version[0], system) is not False or _compatibility_package(facts, built[0]):
        return
    minimum = str(cuda.minimum_driver(built[0], system))
    evidence = [
        Evidence(f"{label(framework)}: built with CUDA {built[0]}", built[1]),
        Evidence(f"driver {version[0]}", version[1]),
        Evidence(f"CUDA {built[0]} needs driver {minimum} or later", "table: CUDA Toolkit release notes"),
    ]
    if framework.gpu_error and MESSAGE_TOO_OLD.search(framework.gpu_error):
        evidence.append(Evidence(framework.gpu_error[:300], framework.name or ""))
    older = install_framework(framework, facts)
    yield Finding(
        cause="driver-too-old",
        severity=Severity.ERROR,
        title=f"Driver {version[0]} is too old for {label(framework)}, which needs {minimum} (CUDA {built[0]})",
        evidence=evidence,
        explains=[
            f"{framework.name}-sees-gpu",
            f"{framework.name}-computes",
            f"gpu-architecture-is-in-{framework.name}",
        ],
        remedies=[*([older] if older else []), update_driver(facts, minimum)],
        links=[NVIDIA_COMPATIBILITY_GUIDE],
    )


def _compatibility_package(facts: Facts, built: str) -> bool:
    """Tell whether a forward compatibility libcuda of the build's CUDA is found first by the loader."""
    from envcheck.compat import cuda

    libraries = facts.driver.libraries or [] if facts.driver else []
    first = next((library for library in libraries if library.name == "libcuda.so.1"), None)
    return bool(first and "/compat/" in first.path and cuda.driver_runs(built, first.version or None))


@check(area="cuda", causes=["libcuda-stub-or-duplicate"])
def forward_compatibility_is_allowed(driver: NvidiaDriver, facts: Facts) -> Iterator[Finding]:
    """NVIDIA's forward compatibility package is in use only on cards for which NVIDIA supports it.

    Why: the package brings a newer libcuda for an older kernel module, on data-centre cards alone; on a GeForce card
    every CUDA program ends with error 804, "forward compatibility was attempted on non supported HW".
    If not: take its folder (…/compat) off the loader's way and update the driver instead.
    Source: NVIDIA CUDA Compatibility, "Forward compatibility"; CUDA Driver API, error 804.
    """
    libraries = [library for library in need(driver.libraries, "driver.libraries") if library.name == "libcuda.so.1"]
    first = libraries[0] if libraries else None
    if first is None or "/compat/" not in first.path or not driver.module_version:
        return
    from envcheck.compat.versions import parse

    newer, present = parse(first.version or None), parse(driver.module_version)
    consumer = [gpu for gpu in working_gpus(facts) if re.search(r"GeForce|TITAN", gpu.name or "")]
    if newer is None or present is None or newer.major <= present.major or not consumer:
        return
    folder = first.path.rpartition("/")[0]
    yield Finding(
        cause="libcuda-stub-or-duplicate",
        severity=Severity.ERROR,
        confidence=Confidence.LIKELY,
        title=f"The forward compatibility libcuda {first.version} does not work on {consumer[0].name}",
        evidence=[Evidence(f"libcuda.so.1: {first.path}", "the loader's folders"), *seen(driver, "module_version")],
        explains=FRAMEWORK_GPU_UNUSABLE,
        remedies=[
            Remedy(
                action=f"Take {folder} out of LD_LIBRARY_PATH and out of /etc/ld.so.conf.d",
                changes="which libcuda is loaded",
            ),
            update_driver(facts, first.version),
        ],
        links=[NVIDIA_COMPATIBILITY_GUIDE],
    )


@check(area="cuda", causes=["gpu-arch-not-in-build"])
def gpu_architecture_is_in_torch(torch: Framework, facts: Facts) -> Iterator[Finding]:
    """PyTorch's build has code for the compute capability of every GPU.

    Why: a build holds machine code for some generations alone; on another card the first kernel ends with "no kernel
    image is available for execution on the device". Machine code runs within its major capability, PTX upwards.
    If not: install a build with code for the card; old cards need an older CUDA build, new ones a newer release.
    Source: CUDA C++ Programming Guide, "Application compatibility"; tables torch and compute_capability.
    """
    yield from _architecture_in_build(torch, facts)


@check(area="cuda", causes=["gpu-arch-not-in-build"])
def gpu_architecture_is_in_tensorflow(tensorflow: Framework, facts: Facts) -> Iterator[Finding]:
    """TensorFlow's build has code for the compute capability of every GPU.

    Why: a build holds machine code for some generations and PTX for later ones; a card below both is left out or fails
    at its first kernel. Through PTX the first start takes minutes, and the driver must know that PTX.
    If not: install a release with code for the card.
    Source: CUDA C++ Programming Guide, "Application compatibility"; tables tensorflow and compute_capability.
    """
    yield from _architecture_in_build(tensorflow, facts)


def _architecture_in_build(framework: Framework, facts: Facts) -> Iterator[Finding]:
    if accelerator_of(framework, facts) not in {None, "cuda"}:
        return
    cards = capabilities(facts)
    if not cards:
        return
    architectures, source = architectures_of(framework, facts)
    if not architectures:
        need(None, f"{framework.name}.architectures")
    from envcheck.compat import cuda

    missing = [card for card in dict.fromkeys(cards) if cuda.how_it_runs(architectures, card[0]) == "not at all"]
    if not missing:
        return
    names = ", ".join(dict.fromkeys(f"{name} (compute capability {value})" for value, name, _ in missing))
    every = len(missing) == len(dict.fromkeys(cards))
    remedy = install_framework(framework, facts)
    yield Finding(
        cause="gpu-arch-not-in-build",
        severity=Severity.ERROR if every else Severity.WARNING,
        confidence=Confidence.CERTAIN if framework.architectures else Confidence.LIKELY,
        title=f"{label(framework)} has no code for {names}",
        evidence=[
            Evidence(f"code in the build: {', '.join(architectures)}", source),
            *(Evidence(f"{name}: compute capability {value}", where) for value, name, where in missing),
        ],
        explains=[f"{framework.name}-sees-gpu", f"{framework.name}-computes", "cudnn-supports-the-gpu"],
        remedies=[remedy] if remedy else _no_build(framework),
        links=guides(framework),
    )


def _no_build(framework: Framework) -> list[Remedy]:
    return [
        Remedy(
            action=f"No published build of {label(framework).partition(' ')[0]} fits card, driver and Python together: "
            "choose another Python version, update the driver, or build it from source",
            changes="the environment",
        )
    ]


@check(area="cuda", causes=["cpu-only-build", "wrong-accelerator-build"])
def framework_build_matches_accelerator(facts: Facts, intent: Intent) -> Iterator[Finding]:
    """On a machine with an NVIDIA GPU the frameworks are builds for CUDA.

    Why: a CPU build never uses a GPU, whatever driver and toolkit are installed, and says nothing. On native Windows
    TensorFlow has no GPU build after 2.10.
    If not: install the build for CUDA. Where the CPU is meant, nothing has to be done.
    Source: PyTorch "Get Started"; TensorFlow "Install with pip"; tables torch and tensorflow.
    """
    if not has_gpu(facts):
        return
    torch_gpu = facts.torch is not None and computed_on_gpu(facts.torch)
    for framework in (facts.torch, facts.tensorflow):
        if framework is None or computed_on_gpu(framework):
            continue
        kind = accelerator_of(framework, facts)
        if kind in {None, "cuda"}:
            continue
        required = _required(framework, intent)
        others = kind != "cpu"
        name = framework.name or ""
        if others and (facts.accelerators and facts.accelerators.amd_devices):
            # Both makers' cards are here, and the build serves the other one.
            continue
        works = bool(working_gpus(facts))
        severity = Severity.ERROR if required else Severity.WARNING if works and not torch_gpu else Severity.NOTE
        remedy = install_framework(framework, facts)
        yield Finding(
            cause="wrong-accelerator-build" if others else "cpu-only-build",
            severity=severity,
            confidence=Confidence.CERTAIN if framework.accelerator else Confidence.LIKELY,
            required=required,
            title=f"{label(framework)} is a build for {kind if others else 'the CPU only'}, and an NVIDIA GPU is here",
            evidence=[
                *(seen(framework, "accelerator") or seen(framework, "distribution", "metadata_version")),
                *(Evidence(f"{gpu.name}", "NVML") for gpu in working_gpus(facts)[:2]),
            ],
            explains=[f"{name}-sees-gpu", f"{name}-computes"],
            remedies=[remedy] if remedy else _windows_tensorflow(framework, facts) or _no_build(framework),
            links=guides(framework),
        )


def _windows_tensorflow(framework: Framework, facts: Facts) -> list[Remedy]:
    if framework.name != "tensorflow" or facts.platform is None or facts.platform.system != "Windows":
        return []
    return [
        Remedy(
            action="Use TensorFlow inside WSL 2: releases after 2.10 have no GPU support on native Windows",
            commands=["wsl --install"],
            shell="powershell",
            changes="installs a Linux system inside Windows",
        )
    ]


def _required(framework: Framework, intent: Intent) -> bool:
    wanted = "torch.cuda" if framework.name == "torch" else "tensorflow.gpu"
    return any(requirement.text.strip().lower().startswith(wanted) for requirement in intent.requirements)


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
    if value is not None and hides_all(value) and not (requires_gpu(intent) or _required(framework, intent)):
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


@check(area="cuda", causes=SEES_CAUSES)
def torch_computes(torch: Framework) -> Iterator[Finding]:
    """PyTorch computes a small matrix product rightly on every GPU that it sees.

    Why: seeing a device is not using it: missing code for the card, taken memory, a broken cuDNN or a broken card show
    at the first kernel.
    If not: the error names the layer.
    Source: CUDA Runtime API, error types; table cuda_errors.
    """
    yield from _computes(torch)


@check(area="cuda", causes=SEES_CAUSES)
def tensorflow_computes(tensorflow: Framework) -> Iterator[Finding]:
    """TensorFlow computes a small matrix product rightly on every GPU that it sees.

    Why: seeing a device is not using it: missing code for the card, taken memory, a broken cuDNN or a broken card show
    at the first kernel.
    If not: the error names the layer.
    Source: CUDA Runtime API, error types; table cuda_errors.
    """
    yield from _computes(tensorflow)


def _computes(framework: Framework) -> Iterator[Finding]:
    hung = framework.state in {"timeout", "crash"} and framework.stage in {"devices", "compute"}
    if hung and framework.sees_gpu is not False:
        doing = "looks for devices" if framework.stage == "devices" else "computes"
        how = "does not come back" if framework.state == "timeout" else f"is ended by {framework.signal or 'a crash'}"
        yield Finding(
            cause="driver-hung" if framework.state == "timeout" else "gpu-hardware-fault",
            severity=Severity.ERROR,
            confidence=Confidence.POSSIBLE,
            title=f"{label(framework)} {how} while it {doing}",
            evidence=seen(framework, "state", "stage", "signal", "stderr"),
            remedies=[
                Remedy(
                    action="Read the kernel log for an Xid or a blocked task",
                    commands=["sudo dmesg | grep -iE 'xid|nvrm|blocked for more|amdgpu'"],
                    changes="nothing",
                )
            ],
        )
    for device in framework.devices or []:
        if device.computed is not False or device.kind == "cpu":
            continue
        cause, meaning = cause_of_words(device.error)
        if not cause and re.search(r"out of memory|OOM|RESOURCE_EXHAUSTED", device.error):
            cause = "gpu-in-use"
        if cause == "gpu-out-of-memory":
            # Sixteen rows and columns fit on every card: somebody else has the memory.
            cause = "gpu-in-use"
        first = device.error.splitlines()[0][:160] if device.error else "the product came out wrong"
        yield Finding(
            cause=cause or "gpu-hardware-fault",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY if cause else Confidence.POSSIBLE,
            title=f"{label(framework)} cannot compute on {device.model or device.name}: {first}",
            evidence=[Evidence(device.error[:600] or "wrong result", f"{framework.name}, {device.name}")],
            detail=meaning,
            remedies=[
                Remedy(
                    action="See who uses the GPU and what the driver says of it",
                    commands=["nvidia-smi"],
                    changes="nothing",
                )
            ],
        )


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


@check(area="cuda", causes=["cudnn-version-mismatch"])
def cudnn_supports_the_gpu(facts: Facts) -> Iterator[Finding]:
    """The cuDNN that a framework uses works on the GPU.

    Why: cuDNN drops old generations on its own schedule (9.11 works from Turing on); convolutions then fail on a card
    for which the framework itself has code.
    If not: install an older cuDNN of the same major version beside the framework.
    Source: NVIDIA cuDNN support matrix; table cudnn.
    """
    cards = capabilities(facts)
    if not cards:
        return
    from envcheck.compat import cudnn

    for framework in (facts.torch, facts.tensorflow):
        if framework is None or accelerator_of(framework, facts) != "cuda":
            continue
        version, source = _cudnn_of(framework, facts)
        if version is None:
            continue
        failing = [card for card in dict.fromkeys(cards) if cudnn.works_on(version, card[0]) is False]
        if not failing:
            continue
        value, name, where = failing[0]
        built = cuda_of(framework, facts)
        major = int(built[0].partition(".")[0]) if built else 12
        older = cudnn.newest_wheel_for(major, value)
        from envcheck import cures

        remedy = (
            cures.install(
                facts.python, [f"nvidia-cudnn-cu{major}=={older}"], f"Install cuDNN {older}, which works on this card"
            )
            if older
            else install_framework(framework, facts)
        )
        yield Finding(
            cause="cudnn-version-mismatch",
            severity=Severity.ERROR if len(failing) == len(dict.fromkeys(cards)) else Severity.WARNING,
            confidence=Confidence.LIKELY,
            title=f"cuDNN {version} of {label(framework)} does not work on {name} (compute capability {value})",
            evidence=[
                Evidence(f"cuDNN {version}", source),
                Evidence(f"{name}: compute capability {value}", where),
                Evidence(
                    f"least compute capability: {cudnn.minimum_compute_capability(version)}",
                    "table: cuDNN support matrix",
                ),
            ],
            explains=[f"{framework.name}-computes"],
            remedies=[remedy] if remedy else [],
            links=["https://docs.nvidia.com/deeplearning/cudnn/backend/latest/reference/support-matrix.html"],
        )


def _cudnn_of(framework: Framework, facts: Facts) -> tuple[str | None, str]:
    """Return the cuDNN that a framework loads: by its own words, else as the environment's wheel says."""
    if framework.cudnn and framework.name == "torch":
        return framework.cudnn, framework.sources.get("cudnn", "torch")
    for package in facts.packages.installed or [] if facts.packages else []:
        if re.fullmatch(r"nvidia-cudnn-cu\d+", package.name):
            return package.version, f"metadata of {package.name}"
    return (framework.cudnn, framework.sources.get("cudnn", "")) if framework.cudnn else (None, "")


@check(area="cuda", causes=["toolkit-version-mismatch"])
def toolkit_matches_torch(toolkits: CudaToolkits, torch: Framework, facts: Facts) -> Iterator[Finding]:
    """The CUDA compiler that extensions would be built with is of PyTorch's CUDA major version.

    Why: torch.utils.cpp_extension refuses to build with a toolkit of another major version, and warns for another
    minor one. It takes CUDA_HOME, else the nvcc on PATH. PyTorch itself needs no toolkit to run.
    If not: point CUDA_HOME to a toolkit of that version, before building flash-attn, apex and the like.
    Source: torch/utils/cpp_extension.py, `_check_cuda_version`.
    """
    built = cuda_of(torch, facts)
    if built is None or not (working_gpus(facts) or has_gpu(facts)):
        return
    home = next((toolkit for toolkit in toolkits.toolkits or [] if toolkits.cuda_home == toolkit.path), None)
    version = (home.version if home and home.version else None) or toolkits.nvcc_version
    if not version or version.partition(".")[0] == built[0].partition(".")[0]:
        return
    fitting = [
        toolkit for toolkit in toolkits.toolkits or [] if toolkit.version.startswith(built[0].partition(".")[0] + ".")
    ]
    yield Finding(
        cause="toolkit-version-mismatch",
        severity=Severity.NOTE,
        confidence=Confidence.POSSIBLE,
        title=f"Extensions would be compiled with CUDA {version}, {label(torch)} was built with {built[0]}",
        evidence=[
            *seen(toolkits, "cuda_home", "nvcc_path", "nvcc_version"),
            Evidence(f"{label(torch)}: CUDA {built[0]}", built[1]),
        ],
        explains=["host-compiler-suits-the-toolkit"],
        remedies=[
            Remedy(
                action=f"Before compiling an extension, point to a toolkit of CUDA {built[0]}",
                commands=[f"export CUDA_HOME={fitting[0].path} PATH={fitting[0].path}/bin:$PATH"] if fitting else [],
                safe=bool(fitting),
                changes="which compiler builds extensions in this shell",
            )
        ],
    )


@check(area="cuda", causes=["host-compiler-unsupported"])
def host_compiler_suits_the_toolkit(toolkits: CudaToolkits, facts: Facts) -> Iterator[Finding]:
    """The gcc on PATH is one that the CUDA compiler accepts.

    Why: nvcc refuses a gcc that is newer than it knows: "unsupported GNU version". It matters only where extensions
    are compiled.
    If not: name an older g++ with -ccbin, CUDAHOSTCXX or CC and CXX, or use a newer toolkit.
    Source: CUDA Installation Guide for Linux, host compiler support; table host_compiler.
    """
    version = toolkits.nvcc_version
    found = re.match(r"gcc (\d+)", need(toolkits.host_compiler, "toolkits.host_compiler"))
    if not version or not found or not has_gpu(facts):
        return
    from envcheck.compat import host_compiler

    row = host_compiler.host_compiler(version)
    if row is None or int(found[1]) <= row.gcc_max:
        return
    yield Finding(
        cause="host-compiler-unsupported",
        severity=Severity.NOTE,
        confidence=Confidence.LIKELY,
        title=f"nvcc {version} accepts gcc up to {row.gcc_max}; PATH has {toolkits.host_compiler}",
        evidence=seen(toolkits, "nvcc_version", "host_compiler"),
        remedies=[
            Remedy(
                action="Before compiling an extension, name a compiler that nvcc accepts",
                commands=[
                    f"export CC=gcc-{row.gcc_max} CXX=g++-{row.gcc_max} NVCC_PREPEND_FLAGS='-ccbin g++-{row.gcc_max}'"
                ],
                safe=True,
                changes="which compiler builds extensions in this shell",
            )
        ],
    )


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
