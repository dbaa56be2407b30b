"""Signs for the rules of tables/*.toml: what facts and the values of messages say, as names.

A sign `fact:…` comes from fact groups, a sign `text:…` from what messages name (numbers compared, versions judged).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from envcheck.facts import Facts, Gpu, Message, NvidiaDriver
from envcheck.messages.requests import signs_of_requests

BYTES = {
    "": 1, "b": 1, "bytes": 1, "kib": 2**10, "kb": 2**10, "k": 2**10, "mib": 2**20, "mb": 2**20, "m": 2**20,
    "gib": 2**30, "gb": 2**30, "g": 2**30, "tib": 2**40,
}  # fmt: skip


def size(text: str | None) -> float | None:
    """Return a size such as `1.5 GiB` in bytes; None where it is none."""
    match = re.match(r"\s*([\d.,]+)\s*([a-zA-Z]*)", text or "")
    if not match or match[2].lower() not in BYTES:
        return None
    try:
        return float(match[1].replace(",", "").rstrip(".")) * BYTES[match[2].lower()]
    except ValueError:
        return None


def signs_of(messages: Sequence[Message], facts: Facts) -> set[str]:
    """Return the signs that hold."""
    known = {*_from_platform(facts), *_from_frameworks(facts), *_from_nvidia(facts), *_from_listings(facts)}
    return known | set(_from_values(messages, facts))


SYSTEMS = {"Linux": "fact:linux", "Darwin": "fact:macos", "Windows": "fact:windows"}

NARROW = 32
"""Bits of a processor or interpreter for which the frameworks have no release."""


def _from_platform(facts: Facts) -> Iterator[str]:
    platform, python = facts.platform, facts.python
    if platform is not None:
        signs = {
            SYSTEMS.get(platform.system or "", ""): True,
            "fact:wsl": platform.wsl,
            f"fact:wsl{platform.wsl}": platform.wsl,
            "fact:container": platform.container,
            "fact:emulated": platform.emulation,
            "fact:musl": platform.libc == "musl",
            "fact:arm64": platform.machine in {"aarch64", "arm64"},
            "fact:x86-64": platform.machine in {"x86_64", "AMD64"},
            "fact:secure-boot": platform.secure_boot,
        }
        yield from (sign for sign, holds in signs.items() if sign and holds)
    if python is not None:
        if python.environment_kind:
            yield f"fact:{python.environment_kind}-environment"
        if python.bits == NARROW:
            yield "fact:32-bit"
        if python.shadows:
            yield "fact:shadow"


def _from_frameworks(facts: Facts) -> Iterator[str]:
    for name in ("torch", "tensorflow"):
        framework = getattr(facts, name)
        if framework is None:
            continue
        version = framework.version or framework.metadata_version or ""
        if framework.accelerator:
            yield f"fact:{name}-{framework.accelerator}-build"
        elif "+" in version:
            local = version.partition("+")[2]
            kind = "cuda" if local.startswith("cu") else "rocm" if local.startswith("rocm") else local
            yield f"fact:{name}-{kind}-build"
        elif framework.cuda:
            yield f"fact:{name}-cuda-build"
        if framework.sees_gpu is not None:
            yield f"fact:{name}-sees-gpu" if framework.sees_gpu else f"fact:{name}-sees-no-gpu"
        if framework.distribution in {"tensorflow-cpu", "tensorflow-intel"}:
            yield "fact:tensorflow-cpu-build"
        if version:
            yield f"fact:{name}-installed"


NOTABLE_BYTES = 500e6
"""Memory from which a process on a GPU counts as one that computes."""

NEARLY_FULL = 0.8

EXCLUSIVE = {"Exclusive_Process", "Prohibited", "Exclusive_Thread"}


def _from_nvidia(facts: Facts) -> Iterator[str]:
    gpus = (facts.nvml.gpus if facts.nvml is not None else None) or []
    if gpus:
        yield "fact:gpu-listed"
    if len(gpus) > 1:
        yield "fact:several-gpus"
    for gpu in gpus:
        yield from _from_gpu(gpu)
    driver = facts.driver
    if driver is not None:
        signs = {
            "fact:nvidia-smi-works": driver.smi_state == "ok" or driver.smi_driver_version,
            "fact:module-loaded": driver.module_loaded,
            "fact:module-not-loaded": driver.module_loaded is False,
            "fact:nouveau": driver.nouveau_loaded,
        }
        yield from (sign for sign, holds in signs.items() if holds)
        yield from _uvm(driver)


def _from_listings(facts: Facts) -> Iterator[str]:
    """Compare what listings hold with each other."""
    pci, torch, toolkits = facts.pci, facts.torch, facts.toolkits
    if pci is not None and pci.complete and pci.devices is not None and not _nvidia(facts):
        yield "fact:no-nvidia-card"
    release = toolkits.nvcc_version if toolkits is not None else None
    if torch is not None and torch.cuda and release and release.split(".")[0] != torch.cuda.split(".")[0]:
        yield "fact:nvcc-of-another-cuda"
    installed = {package.name for package in (facts.packages.installed or [] if facts.packages is not None else [])}
    if {"intel-openmp", "llvm-openmp"} <= installed:
        yield "fact:two-openmp-packages"
    amd = facts.accelerators is not None and (facts.accelerators.amd_devices or facts.accelerators.amd_targets)
    if amd and not _nvidia(facts):
        yield "fact:amd-card-alone"


def _nvidia(facts: Facts) -> bool:
    devices = (facts.pci.devices if facts.pci is not None else None) or []
    gpus = facts.nvml.gpus if facts.nvml is not None else None
    return bool(gpus) or any(device.vendor_id == "10de" for device in devices)


def _uvm(driver: NvidiaDriver) -> Iterator[str]:
    """Find that CUDA's own module or device file is missing where the rest of the driver is there."""
    nodes = {node.path for node in driver.device_nodes or []}
    node_missing = "/dev/nvidiactl" in nodes and "/dev/nvidia-uvm" not in nodes
    if driver.module_loaded is not False and (driver.uvm_loaded is False or node_missing):
        yield "fact:uvm-missing"


def _from_gpu(gpu: Gpu) -> Iterator[str]:
    if any((process.memory_bytes or 0) > NOTABLE_BYTES and not process.ours for process in gpu.processes or []):
        yield "fact:gpu-has-processes"
    if gpu.memory_total_bytes and (gpu.memory_used_bytes or 0) > NEARLY_FULL * gpu.memory_total_bytes:
        yield "fact:gpu-memory-nearly-full"
    if gpu.mig_enabled:
        yield "fact:mig"
    if gpu.compute_mode in EXCLUSIVE:
        yield "fact:exclusive-compute-mode"


def _from_values(messages: Sequence[Message], facts: Facts) -> Iterator[str]:
    accounts = [message.values for message in messages if message.family == "torch-oom-account"]
    if accounts and _names_itself(accounts[-1], messages):
        yield "text:named-process-is-this-one"
    for message in messages:
        if message.family == "torch-cuda-out-of-memory":
            # The newer text has two parts, recognised apart; the last account belongs to the last error.
            yield from _out_of_memory({**(accounts[-1] if accounts else {}), **message.values})
        if message.family == "pip-no-matching-distribution":
            yield from _no_matching(message.values)
        if message.family == "no-module-named" and _is_installed(message.values.get("module", ""), facts):
            yield "text:module-is-installed"
    yield from _python(messages, facts)
    yield from _wheels(messages)
    yield from _skew(messages)
    yield from _step_times(messages)
    yield from _quota(messages)
    builds = [int(message.values["build"]) for message in messages if message.family == "windows-build"]
    if builds and min(builds) < WINDOWS_BUILD_WITH_WSL_GPU:
        yield "text:windows-build-without-wsl-gpu"
    yield from _branches(facts)
    yield from _names(messages)
    yield from _glibc(messages, facts)
    yield from _wheel_platform(messages, facts)
    yield from signs_of_requests(messages, facts)
    yield from _ranks(messages, facts)
    for values in (message.values for message in messages if message.family == "gpus-counted"):
        bus, listed = int(values["bus"]), int(values["listed"])
        # Of a pod or a job, which does not say that it is one, more are missing.
        if listed < bus and listed >= 2 * (bus - listed):
            yield "text:bus-has-more-gpus"


def _ranks(messages: Sequence[Message], facts: Facts) -> Iterator[str]:
    """Compare the processes that are started on a machine with the GPUs that they may use."""
    counts = [message.values.get("ranks", "") for message in messages if message.family == "ranks-on-a-node"]
    ranks = max((int(count) for count in counts if count.isdigit()), default=0)
    masks = [
        message.values.get("value", "")
        for message in messages
        if message.family == "visible-devices-set" and message.values.get("variable") != "NVIDIA_VISIBLE_DEVICES"
    ]
    gpus = facts.nvml.gpus if facts.nvml is not None and facts.nvml.gpus_complete else None
    visible = len([part for part in masks[-1].split(",") if part.strip()]) if masks else len(gpus or [])
    if ranks > visible > 0:
        yield "text:more-ranks-than-gpus"


def _is_installed(module: str, facts: Facts) -> bool:
    installed = facts.packages.installed if facts.packages is not None else None
    if not installed or not module:
        return False
    from envcheck.compat import packages  # noqa: PLC0415 - only where a module is missing

    top = module.partition(".")[0]
    row = packages.distribution_of_import(top)
    names = {packages.normalised(top), packages.normalised(row.distribution if row else top)}
    return any(packages.normalised(package.name) in names for package in installed)


def _wheels(messages: Sequence[Message]) -> Iterator[str]:
    """Compare the CUDA version of the index that was named with that of the wheels that came."""
    asked = {message.values["asked"] for message in messages if message.values.get("asked")}
    came = {message.values["came"] for message in messages if message.values.get("came")}
    if asked and came and not {cuda[:2] for cuda in asked} & {cuda[:2] for cuda in came}:
        yield "text:index-and-wheels-differ"


def _skew(messages: Sequence[Message]) -> Iterator[str]:
    """Find one thing of which several versions are told."""
    versions: dict[str, set[str]] = {}
    for message in messages:
        item, version = message.values.get("item"), message.values.get("item_version")
        if item and version:
            versions.setdefault(item.lower(), set()).add(version)
    if any(len(found) > 1 for found in versions.values()):
        yield "text:several-versions-of-one-thing"
    if any(_hosts_differ(message.values.get("output", "")) for message in messages):
        yield "text:hosts-answer-differently"


HOST = re.compile(r"^\s*\[?[A-Za-z][\w.-]{1,60}\]?\s*(?::|\||=>)\s*(?=\S)")
"""What pdsh, clush, mpirun and the like put before each line: the host's name."""

VERSION = re.compile(r"\d+(?:\.\d+)+[\w.+-]*")


def _hosts_differ(output: str) -> bool:
    """Tell whether hosts gave different versions in answer to one question."""
    answers: dict[str, set[tuple[str, ...]]] = {}
    for line in output.splitlines():
        text = HOST.sub("", line)
        found = tuple(VERSION.findall(text))
        if found:
            answers.setdefault(" ".join(VERSION.sub("", text).split()), set()).add(found)
    # An answer that holds but versions and numbers has numbers of its own beside them.
    shapes: dict[str, set[tuple[str, ...]]] = {}
    for shape, versions in answers.items():
        shapes.setdefault(re.sub(r"\d+", "", shape), set()).update(versions)
    return any(len(versions) > 1 for versions in shapes.values())


KNOWN_NAMES = [
    "torch", "torchvision", "torchaudio", "torchtext", "tensorflow", "tensorflow-cpu", "tensorflow-datasets",
    "tensorflow-hub", "tensorflow-probability", "keras", "numpy", "scipy", "pandas", "matplotlib", "scikit-learn",
    "scikit-image", "opencv-python", "pillow", "transformers", "diffusers", "accelerate", "datasets", "tokenizers",
    "huggingface-hub", "safetensors", "sentencepiece", "jax", "jaxlib", "flax", "xformers", "flash-attn", "triton",
    "bitsandbytes", "deepspeed", "lightning", "pytorch-lightning", "torchmetrics", "onnx", "onnxruntime",
    "onnxruntime-gpu", "tensorboard", "jupyter", "notebook", "ipykernel", "timm", "kornia", "einops", "protobuf",
    "h5py", "requests", "tqdm", "wandb", "mlflow", "gymnasium", "stable-baselines3", "sentence-transformers",
]  # fmt: skip
"""Names that people mean who misspell."""


def _names(messages: Sequence[Message]) -> Iterator[str]:
    """Find a name that the index does not have and that is close to one that it has."""
    asked = {
        re.split(r"[<>=!~\[; ]", value)[0].lower().replace("_", "-")
        for message in messages
        if message.family in {"pip-no-matching-distribution", "pip-versions-none"}
        for value in [message.values.get("requirement", "")]
        if value
    }
    if asked - set(KNOWN_NAMES):
        import difflib  # noqa: PLC0415 - only where the index lacks something

        for name in asked - set(KNOWN_NAMES):
            close = difflib.get_close_matches(name, KNOWN_NAMES, n=1, cutoff=0.86)
            if close and not name.startswith(close[0] + "-"):
                yield "text:name-is-nearly-a-known-one"


def _glibc(messages: Sequence[Message], facts: Facts) -> Iterator[str]:
    """Compare the system's C library with what the wheels need that were asked for or are named."""
    if _wheel_needs_newer_glibc(messages, facts):
        yield "text:glibc-older-than-the-wheel-needs"
    if _wheels_need_newer_glibc(messages, facts):
        yield "text:glibc-older-than-the-wheels-named"


def _wheel_needs_newer_glibc(messages: Sequence[Message], facts: Facts) -> bool:
    """Tell whether a release of torch was asked for whose wheels need glibc 2.28, on a system that has an older one.

    Source: PyTorch 2.6 release notes, manylinux_2_28.
    """
    found = facts.platform.libc_version if facts.platform is not None else None
    old = re.match(r"2\.(\d+)$", found or "")
    if old is None or int(old[1]) >= 28:  # noqa: PLR2004 - the wheels' tag
        return False
    wanted = [
        re.match(r"==(\d+)\.(\d+)", message.values.get("wanted", ""))
        for message in messages
        if message.family == "pip-framework-version-missing" and message.values.get("package", "") == "torch"
    ]
    return any(match and (int(match[1]), int(match[2])) >= (2, 6) for match in wanted)


def _wheels_need_newer_glibc(messages: Sequence[Message], facts: Facts) -> bool:
    """Tell whether every wheel that is named needs a newer glibc than the system has. Source: PEP 600."""
    found = facts.platform.libc_version if facts.platform is not None else None
    here = re.match(r"2\.(\d+)$", found or "")
    needed = [int(message.values["glibc_minor"]) for message in messages if message.family == "manylinux-wheel-named"]
    return here is not None and bool(needed) and min(needed) > int(here[1])


def _wheel_platform(messages: Sequence[Message], facts: Facts) -> Iterator[str]:
    """Compare a wheel that was refused with the machine."""
    wheels = [message.values.get("wheel", "") for message in messages if message.family == "wheel-not-supported"]
    platform = facts.platform
    machine, system = (platform.machine or "", platform.system or "") if platform is not None else ("", "")
    for wheel in wheels:
        if ("x86_64" in wheel or "amd64" in wheel) and machine in {"aarch64", "arm64"}:
            yield "text:wheel-for-another-machine"
        if ("aarch64" in wheel or "arm64" in wheel) and machine in {"x86_64", "AMD64"}:
            yield "text:wheel-for-another-machine"
        if ("win_amd64" in wheel and system in {"Linux", "Darwin"}) or ("manylinux" in wheel and system == "Windows"):
            yield "text:wheel-for-another-machine"


WINDOWS_BUILD_WITH_WSL_GPU = 19044
"""Windows 10 21H2. Source: Microsoft, 'Enable NVIDIA CUDA on WSL 2'."""


def _quota(messages: Sequence[Message]) -> Iterator[str]:
    """Compare the cores that a cgroup gives with the threads that a program tells of."""
    cores = []
    for values in (message.values for message in messages if message.family == "cpu-quota"):
        if values.get("quota"):
            cores.append(int(values["quota"]) / int(values.get("period") or 100_000))
        elif values.get("cpus", "").replace(".", "", 1).isdigit():
            cores.append(float(values["cpus"]))
    threads = [int(message.values["threads"]) for message in messages if message.values.get("threads", "").isdigit()]
    if cores and threads and max(threads) >= 2 * min(cores) > 0:
        yield "text:more-threads-than-the-quota"


LONG_STEP_SECONDS = 0.05
MOST_OF_A_STEP = 0.6


def _step_times(messages: Sequence[Message]) -> Iterator[str]:
    """Compare the time that steps wait for data with the time that they take."""
    steps = [message.values for message in messages if message.family == "step-times"]
    try:
        pairs = [(float(values["step"]), float(values["data"])) for values in steps]
    except (KeyError, ValueError):
        return
    if any(step > LONG_STEP_SECONDS and data > MOST_OF_A_STEP * step for step, data in pairs):
        yield "text:data-time-dominates"


WINDOWS_BRANCHES = {
    551: 550, 552: 550, 553: 550, 556: 555, 565: 560, 566: 560, 571: 570, 572: 570, 573: 570, 576: 575, 577: 575,
    581: 580, 582: 580, 591: 590,
}  # fmt: skip
"""Windows drivers of one branch carry several major numbers. Source: NVIDIA's Windows driver release notes."""


def _branches(facts: Facts) -> Iterator[str]:
    driver, nvml = facts.driver, facts.nvml
    library = driver.library_version if driver is not None else None
    running = (nvml.driver_version if nvml is not None else None) or (driver.smi_driver_version if driver else None)
    if not library or not running:
        return
    numbers = [version.split(".")[0] for version in (library, running)]
    if not all(number.isdigit() for number in numbers):
        return
    ours, theirs = (WINDOWS_BRANCHES.get(int(number), int(number)) for number in numbers)
    if ours != theirs:
        yield "text:smi-and-driver-of-different-branches"


MOSTLY = 0.8


def _names_itself(account: dict[str, str], messages: Sequence[Message]) -> bool:
    """Tell whether the one process that PyTorch names is the program itself.

    In a container a process has two numbers, so that PyTorch does not know its own in the driver's list; what it
    accounts for then adds up to what the named process holds.
    """
    held = [size(message.values.get("used")) for message in messages if message.family == "torch-other-process-holds"]
    own = (size(account.get("allocated")) or 0) + (size(account.get("unallocated")) or 0)
    return len(held) == 1 and held[0] is not None and own >= MOSTLY * held[0]


SCRAPS = 0.04
"""Share of a GPU's memory that PyTorch may hold unallocated without being called fragmented."""


def _out_of_memory(values: dict[str, str]) -> Iterator[str]:
    """Read PyTorch's own account. Source: c10/cuda/CUDACachingAllocator.cpp, the text of its OutOfMemoryError."""
    tried, total, free = size(values.get("tried")), size(values.get("total")), size(values.get("free"))
    allocated, reserved = size(values.get("allocated")), size(values.get("reserved"))
    unallocated = size(values.get("unallocated"))
    if unallocated is None and reserved is not None and allocated is not None:
        unallocated = reserved - allocated
    if tried is None:
        return
    # A few hundredths of the memory are always between the blocks; that cannot be called fragmented.
    if unallocated is not None and unallocated >= max(tried, 100e6, SCRAPS * (total or 0)):
        yield "text:enough-was-reserved"
    elif unallocated is not None and total and unallocated > 0.2 * total:
        yield "text:much-was-reserved"
    own = size(values.get("in_use"))
    if own is None and allocated is not None:
        own = reserved if reserved is not None else allocated
    if total and own is not None and free is not None:
        others = total - free - own
        # A CUDA context takes a few hundred MiB, on a large card up to one GiB; more is somebody else's.
        if others > max(1.5e9, 0.15 * total):
            yield "text:others-hold-memory"
        if others > 0.4 * total:
            yield "text:others-hold-most-memory"
    if total and tried > total:
        yield "text:more-than-the-gpu-has"


def _no_matching(values: dict[str, str]) -> Iterator[str]:
    versions = values.get("versions", "")
    yield "text:no-versions-at-all" if versions.strip() in {"", "none"} else "text:other-versions-offered"


def _python(messages: Sequence[Message], facts: Facts) -> Iterator[str]:
    version = facts.python.version if facts.python is not None else None
    if version is None:
        named = [message.values["python"] for message in messages if message.values.get("python")]
        version = named[0] if named else None
    match = re.match(r"(\d+)\.(\d+)", version or "")
    if match:
        number = (int(match[1]), int(match[2]))
        if number >= (3, 13):
            yield "text:very-new-python"
        if number >= (3, 12):
            yield "text:new-python"
        if number <= (3, 8):
            yield "text:old-python"
        if number < (3, 0):
            yield "text:python-2"
