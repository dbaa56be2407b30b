"""Frameworks' builds for CUDA: do they fit the driver, the card and cuDNN."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck import cures
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
    label,
    no_gpu_on_bus,
    working_gpus,
)
from envcheck.checks.nvidia_remedies import (
    install_framework,
    update_driver,
)
from envcheck.facts import (
    Facts,
    Framework,
    NvidiaDriver,
    need,
)
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

MESSAGE_TOO_OLD = re.compile(
    r"driver on your system is too old|driver version is insufficient|cudaErrorInsufficientDriver"
)


MESSAGES = ["no-message-tells-of-a-driver-fault", "no-message-tells-of-a-cuda-fault"]
"""Checks of what frameworks print, which follow from a driver that is too old."""


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
            *MESSAGES,
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
        explains=[
            f"{framework.name}-sees-gpu",
            f"{framework.name}-computes",
            "cudnn-supports-the-gpu",
            "no-message-tells-of-a-cuda-fault",
        ],
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
        required = requires_gpu_of(framework, intent)
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
            explains=[f"{name}-sees-gpu", f"{name}-computes", "required-accelerator-computes"],
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


def requires_gpu_of(framework: Framework, intent: Intent) -> bool:
    """Tell whether declared intent asks that a framework computes on a GPU."""
    wanted = "torch.cuda" if framework.name == "torch" else "tensorflow.gpu"
    return any(requirement.text.strip().lower().startswith(wanted) for requirement in intent.requirements)


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

        remedy = (
            cures.install(
                facts.python,
                [f"nvidia-cudnn-cu{major}=={older}"],
                f"Install cuDNN {older}, which works on this card",
                packages=facts.packages,
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
            explains=[f"{framework.name}-computes", "required-accelerator-computes"],
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
