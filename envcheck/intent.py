"""Declared intent: what this environment must have, from `[tool.envcheck]` and `--require`.

A requirement is a name, or a name with a comparison: `torch.cuda`, `gpus>=1`, `gpu-memory >= 20GiB`, `python ~= 3.12`.
"""

from __future__ import annotations

import re

import msgspec

from envcheck.facts import Facts, Framework
from envcheck.report import Requirement


class UsageError(Exception):
    """The command line or a configuration file is wrong; the text is the sentence for the user."""


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """What the user declared.

    Attributes:
        requirements: what this environment must have.
        mute: ids (globs) of checks that the user does not want to hear.
        source: configuration file that was read; empty where there is none.
    """

    requirements: list[Requirement] = []
    mute: list[str] = []
    source: str = ""


NAMES = {
    "gpus": "number of GPUs that the driver reports",
    "gpu-memory": "memory of the smallest GPU, such as `20GiB`",
    "compute-capability": "compute capability of the least capable GPU, such as `8.0`",
    "driver": "version of the NVIDIA driver",
    "cuda": "highest CUDA version that the driver runs",
    "memory": "memory that this process may use, such as `16GiB`",
    "disk": "free disk space for the environment, such as `10GiB`",
    "shm": "size of /dev/shm, such as `8GiB`",
    "cores": "cores that this process may use",
    "python": "version of the interpreter under test",
    "torch": "PyTorch that can be imported; a version may be asked for",
    "tensorflow": "TensorFlow that can be imported; a version may be asked for",
    "keras": "Keras that can be imported; a version may be asked for",
    "torch.cuda": "PyTorch computes on an NVIDIA GPU",
    "torch.rocm": "PyTorch computes on an AMD GPU",
    "torch.mps": "PyTorch computes on an Apple GPU",
    "torch.xpu": "PyTorch computes on an Intel GPU",
    "tensorflow.gpu": "TensorFlow computes on a GPU",
    "docker": "a Docker daemon that this user may talk to",
}
"""What can be required."""

SIZES = {"gpu-memory", "memory", "disk", "shm"}
NUMBERS = {"gpus", "cores"}
FLAGS = {"torch.cuda", "torch.rocm", "torch.mps", "torch.xpu", "tensorflow.gpu", "docker"}

FORM = re.compile(r"^\s*(?P<name>[A-Za-z][\w.-]*?)\s*(?P<specifier>(?:[<>=!~]=?=?.*)?)$")
SIZE = re.compile(r"^([\d.]+)\s*([KMGT]i?B|B)?$", re.IGNORECASE)
UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse(required: list[str], mute: list[str]) -> Intent:
    """Return the intent that the command line alone declares.

    Raises:
        UsageError: a requirement cannot be understood.
    """
    return Intent(requirements=[requirement_of(text, "--require") for text in required], mute=mute)


def requirement_of(text: str, source: str) -> Requirement:
    """Return a requirement as it was written, checked for its form.

    Raises:
        UsageError: it cannot be understood.
    """
    found = FORM.match(text)
    name = found["name"].lower() if found else text
    if not found or name not in NAMES:
        raise UsageError(f"{source}: {text!r} is no requirement; known are {', '.join(sorted(NAMES))}")
    specifier = found["specifier"].strip()
    if name in FLAGS and specifier:
        raise UsageError(f"{source}: {name} holds or does not; leave out {specifier!r}")
    if name not in FLAGS and specifier:
        _compare(name, specifier, "1", source)
    return Requirement(text=text.strip(), source=source)


def _compare(name: str, specifier: str, value: str, source: str = "") -> bool:
    """Tell whether a value meets a comparison."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet  # noqa: PLC0415 - costs 10 ms

    if name in SIZES:
        operator = re.match(r"[<>=!]=?", specifier)
        size = SIZE.match(specifier[operator.end() :].strip()) if operator else None
        if not operator or not size or operator[0] not in {">=", ">", "<=", "<", "=="}:
            raise UsageError(f"{source}: {name}{specifier} needs a size, such as {name}>=20GiB")
        specifier = f"{operator[0]}{int(float(size[1]) * UNITS[(size[2] or 'B').lower()])}"
    try:
        return SpecifierSet(specifier).contains(value, prereleases=True)
    except InvalidSpecifier as error:
        raise UsageError(f"{source}: {name}{specifier} is no comparison; try {name}>=1") from error


def judge(requirement: Requirement, facts: Facts) -> Requirement:
    """Return the requirement with its state: `holds`, `fails` or `unknown`, and what was seen."""
    found = FORM.match(requirement.text)
    name = found["name"].lower() if found else requirement.text
    specifier = found["specifier"].strip() if found else ""
    value, reason = value_of(name, facts)
    if value is None:
        state = "unknown"
    elif name in FLAGS or not specifier:
        state = "holds" if value and value != "0" else "fails"
    else:
        state = "holds" if value and _compare(name, specifier, value) else "fails"
    return Requirement(text=requirement.text, source=requirement.source, state=state, reason=reason)


def value_of(name: str, facts: Facts) -> tuple[str | None, str]:
    """Return the value that a requirement's name stands for (empty or `0` where it is not there), and what was seen.

    None means that it is not known.
    """
    if name in {"gpus", "gpu-memory", "compute-capability", "driver", "cuda"}:
        return _gpu_value(name, facts)
    if name in {"torch", "tensorflow", "keras"} or "." in name:
        return _framework_value(name, facts)
    if name == "memory" and facts.memory and facts.memory.total_bytes is not None:
        limit = min(facts.memory.total_bytes, facts.memory.cgroup_limit_bytes or facts.memory.total_bytes)
        return str(limit), f"{limit / 2**30:.1f} GiB"
    if name in {"disk", "shm"} and facts.storage and facts.storage.places:
        purpose = {"disk": "environment", "shm": "shared memory"}[name]
        for place in facts.storage.places:
            size = place.free_bytes if name == "disk" else place.total_bytes
            if place.purpose == purpose and size is not None:
                return str(size), f"{size / 2**30:.1f} GiB at {place.path}"
    if name == "cores" and facts.cpu and facts.cpu.allowed_cores is not None:
        return str(facts.cpu.allowed_cores), f"{facts.cpu.allowed_cores} cores may be used"
    if name == "python" and facts.python and facts.python.version:
        return facts.python.version, f"Python {facts.python.version}"
    if name == "docker" and facts.containers and facts.containers.docker_socket_accessible is not None:
        usable = facts.containers.docker_socket_accessible
        return ("1", "the daemon can be reached") if usable else ("0", "no daemon can be reached")
    return None, "it could not be examined"


def _gpu_value(name: str, facts: Facts) -> tuple[str | None, str]:
    nvml = facts.nvml
    if nvml is None or nvml.state is None:
        if facts.pci and facts.pci.devices is not None and facts.pci.complete and not nvidia_devices(facts):
            return "0", "no NVIDIA GPU on the PCI bus"
        return None, "the driver could not be asked"
    if nvml.state != "ok":
        return "0", nvml.message or nvml.state
    gpus = [gpu for gpu in nvml.gpus or [] if gpu.state == "ok"]
    if name == "gpus":
        return str(len(gpus)), f"the driver reports {len(gpus)} GPU{'s' if len(gpus) != 1 else ''}"
    if name == "driver":
        return nvml.driver_version, f"driver {nvml.driver_version}"
    if name == "cuda":
        return nvml.cuda_version, f"the driver runs CUDA up to {nvml.cuda_version}"
    if name == "gpu-memory":
        sizes = [gpu.memory_total_bytes for gpu in gpus if gpu.memory_total_bytes is not None]
        return (str(min(sizes)), f"smallest has {min(sizes) / 2**30:.1f} GiB") if sizes else ("0", "no GPU")
    from packaging.version import Version  # noqa: PLC0415

    capabilities = [gpu.compute_capability for gpu in gpus if gpu.compute_capability]
    if not capabilities:
        return ("0", "no GPU") if not gpus else (None, "the driver does not tell the compute capability")
    least = min(capabilities, key=Version)
    return least, f"least capable GPU has {least}"


def nvidia_devices(facts: Facts) -> list[str]:
    """Return the PCI addresses of NVIDIA GPUs."""
    return [device.address for device in (facts.pci.devices or [] if facts.pci else []) if device.vendor_id == "10de"]


def _framework_value(name: str, facts: Facts) -> tuple[str | None, str]:
    framework_name, _, accelerator = name.partition(".")
    framework: Framework | None = getattr(facts, framework_name)
    if framework is None or framework.state is None:
        if facts.packages and facts.packages.installed is not None:
            return "", f"{framework_name} is not installed"
        return None, f"{framework_name} could not be examined"
    if framework.state == "not-imported":
        if accelerator:
            return None, f"{framework_name} was not imported"
        return framework.metadata_version, f"{framework_name} {framework.metadata_version} is installed"
    if framework.state != "ok":
        return "", f"{framework_name} cannot be imported"
    if not accelerator:
        return framework.version, f"{framework_name} {framework.version}"
    kinds = {"gpu"} if accelerator == "gpu" else {accelerator}
    computed = [
        device.name
        for device in framework.devices or []
        if device.computed and (device.kind in kinds or (kinds == {"gpu"} and device.kind != "cpu"))
    ]
    if computed:
        return "1", f"{framework_name} computes on {', '.join(computed)}"
    return "0", framework.gpu_error or f"{framework_name} sees no such device"


GPU_NAMES = {"gpus", "gpu-memory", "compute-capability", "driver", "cuda", "torch.cuda", "tensorflow.gpu"}
"""Requirements that only an NVIDIA GPU (or, the last, some GPU) can meet."""


def requires(intent: Intent, names: set[str]) -> bool:
    """Tell whether a requirement with one of these names is declared."""
    return any(name_in(requirement.text) in names for requirement in intent.requirements)


def name_in(text: str) -> str:
    """Return the name that a requirement is about; empty where it has no form of one."""
    found = FORM.match(text)
    return found["name"].lower() if found else ""
