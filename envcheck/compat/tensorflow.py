"""TensorFlow: its releases, what each pins and was built with, and which of them run on a machine.

Tables: tensorflow (package metadata, build information in the published wheels, the "tested build configurations" of
the TensorFlow documentation) and macos.
"""

from __future__ import annotations

import re
from functools import cache

import msgspec
from packaging.version import Version

from envcheck.compat import cudnn, table
from envcheck.compat.build import Build, newest_first, why_not
from envcheck.compat.python_wheels import libc_of_tag
from envcheck.compat.target import PLATFORMS, Platform, Target, capability
from envcheck.compat.versions import VersionLike, parse, public, series

__all__ = [
    "AppleRelease",
    "Companions",
    "Rule",
    "TensorFlowRelease",
    "WindowsGpu",
    "build",
    "builds",
    "companion_fits",
    "companions",
    "extra_pins",
    "metal",
    "published",
    "release",
    "releases",
    "rules",
    "why_not",
    "windows_gpu",
]


class TensorFlowRelease(msgspec.Struct, frozen=True):
    """One release of TensorFlow. Requirements are as in its metadata: "<2.16,>=2.15.0"."""

    version: str
    series: str
    tags: list[str]
    minimum_glibc_linux_x86_64: str
    gpu_in_wheel: bool
    """Whether the Linux x86_64 wheel is a CUDA build; else gpu_package is."""
    tested_python: str
    tested_compiler: str
    tested_cuda: str
    tested_cudnn: str
    protobuf: str
    numpy: str | list[str]
    grpcio: str
    source: str
    requires_python: str | None = None
    python_linux_x86_64: list[str] = []
    """CPython versions with a wheel in the package tensorflow."""
    python_linux_aarch64: list[str] = []
    python_windows_x86_64: list[str] = []
    python_macos_arm64: list[str] = []
    python_macos_x86_64: list[str] = []
    gpu_package: str | None = None
    cuda_built: str | None = None
    """CUDA that the Linux x86_64 wheel was built with, as the wheel says; None = it does not."""
    cudnn_built_major: str | None = None
    code: list[str] = []
    """Machine code in that wheel: ["sm_60", ...]; empty = not known."""
    ptx: list[str] = []
    """PTX in that wheel: ["compute_90"]."""
    keras: str | None = None
    tensorboard: str | None = None
    estimator: str | None = None
    h5py: str | None = None
    wrapt: str | None = None
    typing_extensions: str | None = None
    ml_dtypes: str | None = None
    and_cuda: list[str] = []
    """CUDA packages that the extra [and-cuda] brings; empty = the libraries have to be on the machine."""
    tensorflow_text: str | None = None
    """Newest tensorflow-text of the same series."""
    tf_keras: str | None = None
    """Newest tf-keras of the same series."""
    windows_package: str | None = None
    linux_aarch64_package: str | None = None


class Companions(msgspec.Struct, frozen=True):
    """What belongs to one release of TensorFlow; None = it needs none, or there is none.

    tensorflow_text and tf_keras are versions, the others requirements.
    """

    tensorflow: str
    keras: str | None
    tf_keras: str | None
    tensorflow_text: str | None
    tensorboard: str | None
    estimator: str | None
    protobuf: str
    numpy: tuple[str, ...]
    """Several where they differ by Python, each with its marker."""
    h5py: str | None
    ml_dtypes: str | None
    wrapt: str | None
    typing_extensions: str | None
    grpcio: str
    source: str


class WindowsGpu(msgspec.Struct, frozen=True):
    """What a series with GPU on native Windows was tested with."""

    series: str
    python: str
    compiler: str
    cudnn: str
    cuda: str
    source: str


class AppleRelease(msgspec.Struct, frozen=True):
    """A release of tensorflow-macos or of the plug-in tensorflow-metal."""

    package: str
    version: str
    pythons: list[str]
    source: str
    tags: list[str] = []


class Rule(msgspec.Struct, frozen=True):
    """A sentence about releases, with its source."""

    id: str
    rule: str
    source: str


class _Table(msgspec.Struct, frozen=True):
    release: list[TensorFlowRelease]
    windows_gpu: list[WindowsGpu]
    metal: list[AppleRelease]
    macos_package: list[AppleRelease]
    rule: list[Rule]


@cache
def _table() -> _Table:
    return table.read("tensorflow", _Table)


@cache
def _by_version() -> dict[Version, TensorFlowRelease]:
    return {Version(row.version): row for row in _table().release}


def releases() -> list[TensorFlowRelease]:
    """Return every release of the table, newest first."""
    return [row for _, row in sorted(_by_version().items(), reverse=True)]


def release(version: VersionLike | None) -> TensorFlowRelease | None:
    """Return the row of a release, or None where the table has none."""
    wanted = public(version)
    return None if wanted is None else _by_version().get(wanted)


def rules() -> list[Rule]:
    """Return the sentences about releases that no column holds."""
    return _table().rule


def companions(version: VersionLike | None) -> Companions | None:
    """Return what belongs to a release of TensorFlow, or None where the table does not have it."""
    row = release(version)
    if row is None:
        return None
    return Companions(
        tensorflow=row.version,
        keras=row.keras,
        tf_keras=row.tf_keras,
        tensorflow_text=row.tensorflow_text,
        tensorboard=row.tensorboard,
        estimator=row.estimator,
        protobuf=row.protobuf,
        numpy=(row.numpy,) if isinstance(row.numpy, str) else tuple(row.numpy),
        h5py=row.h5py,
        ml_dtypes=row.ml_dtypes,
        wrapt=row.wrapt,
        typing_extensions=row.typing_extensions,
        grpcio=row.grpcio,
        source=row.source,
    )


def companion_fits(package: str, version: VersionLike | None, tensorflow: VersionLike | None) -> bool | None:
    """Say whether tensorflow-text or tf-keras is of TensorFlow's series, as both must be.

    Source: requirements in the metadata of tensorflow-text and tf-keras.

    Returns:
        The answer, or None where a version is unknown or the package is neither.
    """
    name = re.sub(r"[-_.]+", "-", package.lower())
    have, need = series(version), series(tensorflow)
    if name not in {"tensorflow-text", "tf-keras"} or have is None or need is None:
        return None
    return have == need


def windows_gpu(version: VersionLike | None) -> WindowsGpu | None:
    """Return what a release with GPU on native Windows was tested with; None from 2.11 on: there is none."""
    wanted = series(version)
    return next((row for row in _table().windows_gpu if row.series == wanted), None)


def metal(python: str | None = None) -> list[AppleRelease]:
    """Return the releases of tensorflow-metal, newest first, that have a wheel for a Python ("3.12"; None = any).

    Which TensorFlow each one fits is not declared in its metadata and is not known here.
    """
    rows = [row for row in _table().metal if python is None or python in row.pythons]
    return sorted(rows, key=lambda row: Version(row.version), reverse=True)


@cache
def published(version: VersionLike | None) -> tuple[Build, ...]:
    """Return every build of a release that the tables know, for all platforms; empty for an unknown release."""
    row = release(version)
    if row is None:
        return ()
    found = [_linux_cuda(row), _windows_cuda(row)]
    found += [_cpu(row, platform) for platform in PLATFORMS]
    found += [
        Build(
            package=apple.package,
            version=apple.version,
            platform="macos_arm64",
            accelerator="cpu",
            pythons=tuple(apple.pythons),
            source=apple.source,
        )
        for apple in _table().macos_package
        if apple.version == row.version and not row.python_macos_arm64
    ]
    return tuple(build for build in found if build is not None)


def _pinned_cudnn(row: TensorFlowRelease) -> str | None:
    """Return the cuDNN that [and-cuda] fixes; None where it allows a range or there is no such extra."""
    pins = [match[1] for pin in row.and_cuda if (match := re.fullmatch(r"nvidia-cudnn-cu\d+==([\d.]+)", pin))]
    return pins[0] if pins else None


def _minimum_glibc(row: TensorFlowRelease, platform: Platform) -> str | None:
    if platform == "linux_x86_64":
        return row.minimum_glibc_linux_x86_64
    found = [libc_of_tag(tag) for tag in row.tags if platform == "linux_aarch64" and tag.endswith("aarch64")]
    least = [libc.minimum for libc in found if libc is not None]
    return max(least, key=Version) if least else None


def _linux_cuda(row: TensorFlowRelease) -> Build | None:
    if not row.python_linux_x86_64:
        return None
    return Build(
        package="tensorflow" if row.gpu_in_wheel else "tensorflow-gpu",
        version=row.version,
        platform="linux_x86_64",
        accelerator="cuda",
        pythons=tuple(row.python_linux_x86_64),
        cuda=row.cuda_built or row.tested_cuda,
        architectures=(*row.code, *row.ptx),
        cudnn=_pinned_cudnn(row),
        minimum_glibc=row.minimum_glibc_linux_x86_64,
        verified=row.gpu_in_wheel and bool(row.code),
        source=row.source,
    )


def _windows_cuda(row: TensorFlowRelease) -> Build | None:
    tested = windows_gpu(row.version)
    if tested is None or not row.python_windows_x86_64:
        return None
    return Build(
        package="tensorflow" if row.gpu_in_wheel else "tensorflow-gpu",
        version=row.version,
        platform="windows_x86_64",
        accelerator="cuda",
        pythons=tuple(row.python_windows_x86_64),
        cuda=tested.cuda,
        verified=False,
        source=tested.source,
    )


def _cpu(row: TensorFlowRelease, platform: Platform) -> Build | None:
    """Return the build that computes on the CPU; the CUDA wheel of Linux does that too, without a GPU or driver."""
    pythons = tuple(getattr(row, f"python_{platform}"))
    if not pythons:
        return None
    found = [re.fullmatch(rf"macosx_(\d+)_(\d+)_{platform.removeprefix('macos_')}", tag) for tag in row.tags]
    macos = [Version(f"{match[1]}.{match[2]}") for match in found if match is not None]
    return Build(
        package="tensorflow",
        version=row.version,
        platform=platform,
        accelerator="cpu",
        pythons=pythons,
        minimum_glibc=_minimum_glibc(row, platform),
        minimum_macos=str(min(macos)) if macos else None,
        source=row.source,
    )


def builds(target: Target) -> list[Build]:
    """Return the builds that run on a machine, newest release first; within a release CUDA before CPU.

    What is unknown of the machine is not judged. Set target.accelerator to have builds of one kind only.
    """
    return newest_first([b for row in releases() for b in published(row.version) if not why_not(b, target)])


def build(version: VersionLike | None, target: Target) -> Build | None:
    """Return the build of a release that a machine's platform gets, CUDA before CPU; None where there is none known.

    The build is returned whether it runs there or not: ask why_not.
    """
    anything = Target(system=target.system, machine=target.machine, accelerator=target.accelerator)
    fitting = newest_first([b for b in published(version) if not why_not(b, anything)])
    return fitting[0] if fitting else None


def extra_pins(build: Build, target: Target) -> list[str]:
    """Return requirements to install beside a CUDA build so that it works on all cards of a machine.

    From 2.20 on the extra [and-cuda] allows any cuDNN 9, and cuDNN 9.11 dropped cards below 7.5. Source: table cudnn.

    Returns:
        Requirements such as "nvidia-cudnn-cu12<9.11"; empty where none is needed.
    """
    row = release(build.version)
    if row is None or build.accelerator != "cuda" or _pinned_cudnn(row) is not None:
        return []
    names = [match[1] for pin in row.and_cuda if (match := re.match(r"(nvidia-cudnn-cu\d+)\b", pin))]
    pins = []
    for rule in cudnn.rules():
        least, since = capability(rule.minimum_compute_capability), parse(rule.since)
        cards = [card for text in target.compute_capabilities if (card := capability(text)) is not None]
        if least is not None and since is not None and any(card < least for card in cards):
            pins += [f"{name}<{since.major}.{since.minor}" for name in names]
    return pins
