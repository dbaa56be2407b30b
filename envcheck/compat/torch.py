"""PyTorch: its releases, the builds of each, and which of them run on a machine.

Tables: torch (package metadata, contents of the published wheels, PyTorch's release tables and build scripts),
rocm and macos; what driver and card a CUDA build needs comes from cuda and cudnn.
"""

from __future__ import annotations

import re
from functools import cache

import msgspec
from packaging.version import Version

from envcheck.compat import amd, table
from envcheck.compat.build import Build, newest_first, why_not
from envcheck.compat.cuda import how_it_runs, runs_on
from envcheck.compat.python_wheels import libc_of_tag
from envcheck.compat.target import PLATFORMS, Accelerator, Platform, Target, platform_of
from envcheck.compat.versions import VersionLike, parse, public, series

__all__ = [
    "Build",
    "Companions",
    "CondaForgeBuild",
    "Rule",
    "TorchRelease",
    "build",
    "builds",
    "companions",
    "conda_forge",
    "how_it_runs",
    "newest_build",
    "numpy_major",
    "published",
    "release",
    "release_with_companion",
    "releases",
    "rules",
    "runs_on",
    "why_not",
]

WHEEL_INDEX = "https://download.pytorch.org/whl"
"""PyTorch's own wheel index; its folders are cpu, cu126, rocm6.4 and the like."""

CUDA_FOR_AARCH64_SINCE = Version("2.11")
"""The default aarch64 wheels have CUDA code from here on. Source: table torch, meta, linux_aarch64_cuda_since."""

MPS_SINCE = Version("1.12")
"""The macOS arm64 wheels use the GPU from here on. Source: table macos, part mps, row mps-first."""


class TorchRelease(msgspec.Struct, frozen=True):
    """One release of PyTorch."""

    version: str
    series: str
    requires_python: str
    cuda_default: str
    """CUDA of the wheel that the default package index has for Linux x86_64."""
    code_linux_x86_64: list[str]
    """Architectures with code in that wheel: ["sm_75", ...]. None of these wheels has PTX."""
    minimum_glibc_linux_x86_64: str
    cxx11_abi: bool
    """_GLIBCXX_USE_CXX11_ABI of the Linux x86_64 wheel; extensions must be built with the same."""
    tags: list[str]
    """Platform tags of the wheels on the default package index."""
    torchvision: str
    source: str
    python_linux_x86_64: list[str] = []
    """CPython versions with a wheel for the platform; "3.13t" is free-threaded."""
    python_linux_aarch64: list[str] = []
    python_windows_x86_64: list[str] = []
    python_macos_arm64: list[str] = []
    python_macos_x86_64: list[str] = []
    code_linux_aarch64: list[str] = []
    """Architectures with code in the default aarch64 wheel; empty = none, or not read."""
    cudnn_default: str | None = None
    nccl_default: str | None = None
    triton: str | None = None
    setuptools: str | None = None
    nvidia_pins: list[str] = []
    """CUDA packages that the default Linux x86_64 wheel requires."""
    torchaudio: str | None = None
    torchtext: str | None = None
    cuda_variants: list[str] = []
    rocm_variants: list[str] = []
    torchvision_note: str | None = None
    torchaudio_note: str | None = None


class Companions(msgspec.Struct, frozen=True):
    """The packages that belong to one release of torch; None = there is none for it."""

    torch: str
    torchvision: str
    torchaudio: str | None
    torchtext: str | None
    triton: str | None
    """Version, or requirement ("~=3.8.0"), that the Linux x86_64 wheel declares."""
    setuptools: str | None
    notes: tuple[str, ...]
    source: str


class _Variant(msgspec.Struct, frozen=True):
    series: str
    cuda: str
    platform: Platform
    compute_capabilities: list[str]
    source: str
    cudnn: str | None = None
    ptx: str | None = None
    verified: bool = True


class _WindowsBuild(msgspec.Struct, frozen=True):
    cuda: str
    compute_capabilities: list[str]
    source: str
    ptx: str | None = None


class CondaForgeBuild(msgspec.Struct, frozen=True):
    """What conda-forge's build of a series holds, on Linux x86_64."""

    series: str
    cuda: str
    """A version, or a range "12.0-12.6"."""
    compute_capabilities: list[str]
    ptx: str
    source: str


class _NumpyBuild(msgspec.Struct, frozen=True):
    version: str
    platform: Platform
    built_against_numpy: int


class Rule(msgspec.Struct, frozen=True):
    """A sentence about builds, with its source."""

    id: str
    text: str
    source: str
    verified: bool = True


class _Table(msgspec.Struct, frozen=True):
    release: list[TorchRelease]
    variant: list[_Variant]
    windows_build: list[_WindowsBuild]
    conda_forge: list[CondaForgeBuild]
    numpy_abi: list[_NumpyBuild]
    rule: list[Rule]


@cache
def _table() -> _Table:
    return table.read("torch", _Table)


@cache
def _by_version() -> dict[Version, TorchRelease]:
    return {Version(row.version): row for row in _table().release}


def releases() -> list[TorchRelease]:
    """Return every release of the table, newest first."""
    return [row for _, row in sorted(_by_version().items(), reverse=True)]


def release(version: VersionLike | None) -> TorchRelease | None:
    """Return the row of a release ("2.6.0" or "2.6.0+cu124"), or None where the table has none."""
    wanted = public(version)
    return None if wanted is None else _by_version().get(wanted)


def rules() -> list[Rule]:
    """Return the sentences about builds that no column holds."""
    return _table().rule


def conda_forge(version: VersionLike | None) -> list[CondaForgeBuild]:
    """Return what conda-forge's CUDA builds of a release's series hold; empty where no row has the series."""
    wanted = series(version)
    return [row for row in _table().conda_forge if row.series == wanted]


def companions(version: VersionLike | None) -> Companions | None:
    """Return the packages that belong to a release of torch, or None where the table does not have it.

    torchvision, torchaudio and torchtext must come from the same index as torch: a build for another CUDA version
    fails at import. Source: requirements in the metadata of those packages.
    """
    row = release(version)
    if row is None:
        return None
    notes = tuple(note for note in (row.torchvision_note, row.torchaudio_note) if note is not None)
    return Companions(
        torch=row.version,
        torchvision=row.torchvision,
        torchaudio=row.torchaudio,
        torchtext=row.torchtext,
        triton=row.triton,
        setuptools=row.setuptools,
        notes=notes,
        source=row.source,
    )


def release_with_companion(package: str, version: VersionLike | None) -> TorchRelease | None:
    """Return the release of torch that a version of torchvision, torchaudio or torchtext belongs to, or None.

    Where several do (torchtext 0.18.0), the newest.
    """
    wanted = public(version)
    name = package.lower()
    if wanted is None or name not in {"torchvision", "torchaudio", "torchtext"}:
        return None
    return next((row for row in releases() if public(getattr(row, name)) == wanted), None)


def numpy_major(version: VersionLike | None, system: str = "linux") -> int | None:
    """Return the NumPy C API that a release was built with: 1 (needs numpy<2) or 2 (works with both).

    Read from wheels for Python 3.11: built with 1 up to 2.2.2, on Windows up to 2.4.0; with 2 from 2.3.0, on Windows
    2.4.1, on. A release between two that were read has the answer on which both agree.

    Returns:
        The major version, or None where torch's version or platform is unknown.
    """
    wanted = public(version)
    platform = {"linux": "linux_x86_64", "windows": "windows_x86_64", "macos": "macos_arm64"}.get(_system(system))
    if wanted is None or platform is None:
        return None
    read = {Version(row.version): row.built_against_numpy for row in _table().numpy_abi if row.platform == platform}
    if any(at >= wanted and major == 1 for at, major in read.items()):
        return 1
    if any(at <= wanted and major > 1 for at, major in read.items()):
        return max(read.values())
    return None


def _system(system: str) -> str:
    platform = platform_of(system, "x86_64")
    return "" if platform is None else platform.split("_")[0]


def published(version: VersionLike | None) -> tuple[Build, ...]:
    """Return every build of a release that the tables know, for all platforms; empty for an unknown release."""
    return tuple(build for platform in PLATFORMS for build in _published_for(public(version), platform))


@cache
def _published_for(version: Version | None, platform: Platform) -> tuple[Build, ...]:
    row = release(version)
    if row is None or not _pythons(row, platform):
        return ()
    kinds = (_default_build(row, platform), *_cuda_builds(row, platform), *_rocm_builds(row, platform))
    return (*kinds, *_cpu_builds(row, platform))


def _pythons(row: TorchRelease, platform: Platform) -> tuple[str, ...]:
    return tuple(getattr(row, f"python_{platform}"))


def _minimum_glibc(row: TorchRelease, platform: Platform) -> str | None:
    if platform == "linux_x86_64":
        return row.minimum_glibc_linux_x86_64
    found = [libc_of_tag(tag) for tag in row.tags if platform == "linux_aarch64" and tag.endswith("aarch64")]
    least = [libc.minimum for libc in found if libc is not None]
    return max(least, key=Version) if least else None


def _minimum_macos(row: TorchRelease, platform: Platform) -> str | None:
    machine = platform.removeprefix("macos_")
    found = [match for tag in row.tags if (match := re.fullmatch(rf"macosx_(\d+)_(\d+)_{machine}", tag))]
    least = [Version(f"{match[1]}.{match[2]}") for match in found]
    return str(min(least)) if least else None


def _build(
    row: TorchRelease,
    platform: Platform,
    accelerator: Accelerator,
    *,
    cuda: str | None = None,
    rocm: str | None = None,
    architectures: tuple[str, ...] = (),
    cudnn: str | None = None,
    index: str | None = None,
    verified: bool = True,
    source: str | None = None,
) -> Build:
    """Return a build with what all builds of a release for a platform share."""
    return Build(
        package="torch",
        version=row.version,
        platform=platform,
        accelerator=accelerator,
        pythons=_pythons(row, platform),
        cuda=cuda,
        rocm=rocm,
        architectures=architectures,
        cudnn=cudnn,
        minimum_glibc=_minimum_glibc(row, platform),
        minimum_macos=_minimum_macos(row, platform),
        index=index,
        verified=verified,
        source=source or row.source,
    )


def _default_build(row: TorchRelease, platform: Platform) -> Build:
    """Return what the default package index has: CUDA for Linux x86_64 (aarch64 from 2.11 on), CPU or MPS else."""
    if platform == "linux_x86_64":
        return _build(
            row,
            platform,
            "cuda",
            cuda=row.cuda_default,
            architectures=tuple(row.code_linux_x86_64),
            cudnn=row.cudnn_default,
        )
    if platform == "linux_aarch64" and Version(row.version) >= CUDA_FOR_AARCH64_SINCE:
        variant = _variant(row.series, row.cuda_default, platform)
        return _build(
            row,
            platform,
            "cuda",
            cuda=row.cuda_default,
            architectures=tuple(row.code_linux_aarch64) or (() if variant is None else _architectures(variant)),
            cudnn=row.cudnn_default,
            verified=bool(row.code_linux_aarch64),
        )
    if platform == "macos_arm64" and Version(row.version) >= MPS_SINCE:
        return _build(row, platform, "mps")
    return _build(row, platform, "cpu")


def _architectures(variant: _Variant | _WindowsBuild) -> tuple[str, ...]:
    names = [f"sm_{value.replace('.', '')}" for value in variant.compute_capabilities]
    return (*names, *([] if variant.ptx is None else [f"compute_{variant.ptx.replace('.', '')}"]))


def _variant(of_series: str, cuda_version: str, platform: Platform) -> _Variant | None:
    rows = _table().variant
    return next((v for v in rows if (v.series, v.cuda, v.platform) == (of_series, cuda_version, platform)), None)


def _cuda_versions(row: TorchRelease) -> list[str]:
    """Return the CUDA variants of a release on PyTorch's index: its own list, else those seen for its series."""
    if row.cuda_variants:
        return row.cuda_variants
    seen = {v.cuda for v in _table().variant if v.series == row.series}
    return sorted(seen, key=Version)


def _cuda_builds(row: TorchRelease, platform: Platform) -> list[Build]:
    """Return the CUDA builds on PyTorch's own index, where it is known which cards they hold code for."""
    found = []
    for cuda_version in _cuda_versions(row):
        variant: _Variant | _WindowsBuild | None = _variant(row.series, cuda_version, platform)
        if variant is None and platform == "windows_x86_64" and _windows_scripts_apply(row):
            variant = next((script for script in _table().windows_build if script.cuda == cuda_version), None)
        if variant is None:
            continue
        found.append(
            _build(
                row,
                platform,
                "cuda",
                cuda=cuda_version,
                architectures=_architectures(variant),
                cudnn=variant.cudnn if isinstance(variant, _Variant) else None,
                index=f"{WHEEL_INDEX}/cu{cuda_version.replace('.', '')}",
                verified=isinstance(variant, _Variant) and variant.verified,
                source=variant.source,
            )
        )
    return found


def _windows_scripts_apply(row: TorchRelease) -> bool:
    """Say whether the Windows build scripts that were read are of this release's time (2.6 to 2.13)."""
    return Version("2.6") <= Version(row.version) < Version("2.14")


def _rocm_builds(row: TorchRelease, platform: Platform) -> list[Build]:
    return [
        _build(
            row,
            platform,
            "rocm",
            rocm=rocm,
            architectures=tuple(amd.gfx_in_wheels(rocm) or ()),
            index=f"{WHEEL_INDEX}/rocm{rocm}",
        )
        for rocm in row.rocm_variants
        if platform == "linux_x86_64"
    ]


def _cpu_builds(row: TorchRelease, platform: Platform) -> list[Build]:
    """Return the CPU build on PyTorch's own index, which has them for Linux and Windows."""
    return [] if platform.startswith("macos") else [_build(row, platform, "cpu", index=f"{WHEEL_INDEX}/cpu")]


def builds(target: Target) -> list[Build]:
    """Return the builds that run on a machine, newest release first; within a release accelerated before CPU.

    What is unknown of the machine is not judged: with no driver and no card given, CUDA builds are among the answers.
    Set target.accelerator to have builds of one kind only.
    """
    return [build for row in releases() for build in _fitting(row, target)]


def newest_build(target: Target) -> Build | None:
    """Return the first of builds(target) without making the others, or None where nothing runs on the machine."""
    return next((build for row in releases() for build in _fitting(row, target)), None)


def _fitting(row: TorchRelease, target: Target) -> list[Build]:
    platform = platform_of(target.system, target.machine)
    if platform is None:
        return []
    return newest_first([b for b in _published_for(Version(row.version), platform) if not why_not(b, target)])


def build(version: VersionLike | None, target: Target) -> Build | None:
    """Return the known build that a version names on a machine's platform: "2.6.0+cu124", "2.6.0+cpu", "2.6.0".

    A version without local part is the build of the default index.

    Returns:
        The build, whether it runs there or not (ask why_not), or None where the tables do not know it.
    """
    wanted = parse(version)
    platform = platform_of(target.system, target.machine)
    here = () if platform is None else _published_for(public(version), platform)
    if wanted is not None and wanted.local:
        return next((found for found in here if Version(found.local_version).local == wanted.local), None)
    return next((found for found in here if found.index is None), None)
