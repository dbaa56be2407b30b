"""What a notebook's running kernel adds to the report on its environment: pure.

The examination looks at the environment from outside. A kernel that has been running for hours may differ: it keeps
what it has imported, the GPUs that it has opened and the memory that it holds.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from packaging.version import InvalidVersion, Version

from envcheck.describe import gibibytes
from envcheck.facts import Facts
from envcheck.jupyter import names
from envcheck.jupyter.model import FRAMEWORKS
from envcheck.redact import mask_values
from envcheck.variables import that_matter

TITLES = {**names.TITLES, "numpy": "NumPy"}

MASKS = {"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"}
"""Variables that say which GPUs a process sees; they are read once, when it opens them.

Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
"""

SET_BY_FRAMEWORKS = {"CUDA_MODULE_LOADING", "KMP_INIT_AT_FORK", "TORCHINDUCTOR_CACHE_DIR"}
"""Variables that frameworks set themselves: PyTorch the first as it opens CUDA and the last as it compiles
(torch/cuda/__init__.py, torch/_inductor), scikit-learn the second (sklearn/__init__.py)."""


class Remark(msgspec.Struct, frozen=True, kw_only=True):
    """Something about the running kernel.

    Attributes:
        text: what is so, one sentence.
        action: what to do about it; empty where there is nothing to do.
        grave: whether the kernel does not do what its environment says.
    """

    text: str
    action: str = ""
    grave: bool = False


class TorchState(msgspec.Struct, frozen=True):
    """GPUs that PyTorch has opened: for each `used` and `held` bytes."""

    devices: list[dict[str, int]] = []


class TensorFlowState(msgspec.Struct, frozen=True):
    """How many GPUs TensorFlow has opened."""

    gpus: int = 0


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """What a kernel says of itself: see `envcheck.notebook.state`.

    Attributes:
        process: its process id.
        python: its interpreter.
        imported: module → version, of frameworks and companions that it has imported.
        torch: GPUs that PyTorch has opened; None where it has opened none.
        tensorflow: likewise.
        changed: environment variables set in it since it began; empty where one was unset.
    """

    process: int = 0
    python: str = ""
    imported: dict[str, str] = {}
    torch: TorchState | None = None
    tensorflow: TensorFlowState | None = None
    changed: dict[str, str] = {}


def remarks(kernel: Kernel, facts: Facts) -> list[Remark]:
    """Return what is to be said of a running kernel beside the report on its environment."""
    return [*_stale(kernel, facts), *_variables(kernel), *_memory(kernel, facts), *_imported(kernel)]


def _stale(kernel: Kernel, facts: Facts) -> list[Remark]:
    """Return modules that were imported before another version was installed."""
    installed: dict[str, str] = {}
    for package in (facts.packages.installed if facts.packages else None) or []:
        installed.setdefault(FRAMEWORKS.get(package.name, package.name), package.version)
    return [
        Remark(
            text=f"{TITLES.get(name, name)} {version} is loaded here, and {installed[name]} is what is installed now",
            action="Restart the kernel: a module keeps its version until then",
            grave=True,
        )
        for name, version in kernel.imported.items()
        if version and name in installed and not _same(version, installed[name])
    ]


def _same(loaded: str, installed: str) -> bool:
    """Tell whether two versions are one; a build such as `+cu126` counts where both name one."""
    try:
        one, other = Version(loaded), Version(installed)
    except InvalidVersion:
        return loaded == installed
    return one.public == other.public and (not one.local or not other.local or one.local == other.local)


def _variables(kernel: Kernel) -> list[Remark]:
    changed = {name: value for name, value in that_matter(kernel.changed).items() if name not in SET_BY_FRAMEWORKS}
    opened = [TITLES[name] for name in ("torch", "tensorflow") if getattr(kernel, name) is not None]
    found = []
    for name, value in mask_values(changed).items():
        set_to = f"{name}={value}" if value else f"{name} was unset"
        late = name in MASKS and bool(opened)
        found.append(
            Remark(
                text=f"{set_to}: set in this kernel since it began"
                + (f"; {' and '.join(opened)} had or has its devices open, and reads it only once" if late else ""),
                action="If it was changed after that, restart the kernel and set it first" if late else "",
            )
        )
    return found


def _memory(kernel: Kernel, facts: Facts) -> list[Remark]:
    found = []
    for number, device in enumerate(kernel.torch.devices if kernel.torch else []):
        if device.get("held"):
            found.append(
                Remark(
                    text=f"PyTorch in this kernel holds {gibibytes(device['held'])} on cuda:{number}, "
                    f"{gibibytes(device.get('used'))} of it in use",
                    action="torch.cuda.empty_cache() frees what is not in use; a restart of the kernel frees all",
                )
            )
    if kernel.tensorflow and kernel.tensorflow.gpus:
        count = kernel.tensorflow.gpus
        found.append(
            Remark(
                text=f"TensorFlow in this kernel has opened {count} GPU{'s' if count > 1 else ''}, and by default "
                "takes nearly all of the memory",
                action="A restart of the kernel frees it; tf.config.experimental.set_memory_growth takes less",
            )
        )
    found += [
        Remark(
            text=f"By the driver's account this kernel (process {kernel.process}) holds {gibibytes(held)} on GPU {at}"
        )
        for at, held in _held_by_driver(kernel, facts)
    ]
    return found


def _held_by_driver(kernel: Kernel, facts: Facts) -> list[tuple[int | None, int]]:
    gpus = (facts.nvml.gpus if facts.nvml else None) or []
    return [
        (gpu.index, process.memory_bytes)
        for gpu in gpus
        for process in gpu.processes or []
        if process.process_id == kernel.process and process.memory_bytes
    ]


def _imported(kernel: Kernel) -> list[Remark]:
    named = [f"{TITLES.get(name, name)} {version}".strip() for name, version in kernel.imported.items()]
    return [Remark(text=f"This kernel has imported {', '.join(named)}")] if named else []


def kernel_from(said: Mapping[str, object]) -> Kernel:
    """Return a kernel's account of itself.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert(said, Kernel)
