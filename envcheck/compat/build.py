"""A build of a framework, and what speaks against it on a machine."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from packaging.version import Version

from envcheck.compat import cuda, cudnn
from envcheck.compat.target import (
    Accelerator,
    Platform,
    Target,
    capability,
    capability_text,
    platform_of,
    python_series,
)
from envcheck.compat.versions import parse, series


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One build of a release of a framework: what is installed with one command."""

    package: str
    """Name of the distribution to install: "torch", "tensorflow", "tensorflow-macos"."""
    version: str
    """The release: "2.6.0"."""
    platform: Platform
    accelerator: Accelerator
    pythons: tuple[str, ...]
    """CPython versions with a wheel; "3.13t" is free-threaded. For builds of torch on its own index those of the
    default wheel: the index itself was not read."""
    cuda: str | None = None
    rocm: str | None = None
    architectures: tuple[str, ...] = ()
    """Code in the build: ("sm_80", "compute_90"), or gfx targets; empty = none, or not known."""
    cudnn: str | None = None
    """The cuDNN that comes with it; None where that is not fixed, or not known."""
    minimum_glibc: str | None = None
    minimum_macos: str | None = None
    index: str | None = None
    """Address of the package index that has it; None = the default index."""
    verified: bool = True
    """False where a row says that the build was not seen published, or its code not read for this release."""
    source: str

    @property
    def local_version(self) -> str:
        """The version with torch's local part, as torch.__version__ has it: "2.6.0+cu124"."""
        if self.package != "torch":
            return self.version
        if self.cuda is not None:
            return f"{self.version}+cu{self.cuda.replace('.', '')}"
        if self.rocm is not None:
            return f"{self.version}+rocm{self.rocm}"
        return self.version if self.platform.startswith("macos") else f"{self.version}+cpu"


def why_not(build: Build, target: Target) -> list[str]:
    """Say why a build does not run on a machine.

    Judged are platform, Python, C library, macOS, driver, every card (code in the build, cuDNN, driver branch) and
    the accelerator that is asked for. What is unknown of the machine, or of the build, is not judged.

    Returns:
        One sentence a reason; empty where nothing that is known speaks against it.
    """
    reasons = [*_wrong_platform(build, target), *_wrong_accelerator(build, target)]
    if not reasons and build.accelerator == "cuda":
        reasons += _wrong_driver(build, target)
        for text in dict.fromkeys(target.compute_capabilities):
            card = capability(text)
            reasons += [] if card is None else _wrong_card(build, target, card)
    if not reasons and build.accelerator == "rocm":
        reasons += [
            f"the build has no code for {gfx}"
            for gfx in target.gfx
            if build.architectures and gfx not in build.architectures
        ]
    return reasons


def _wrong_platform(build: Build, target: Target) -> list[str]:
    platform = platform_of(target.system, target.machine)
    if platform is None:
        return [f"no builds are published for {target.system} on {target.machine}"]
    if platform != build.platform:
        return [f"the build is for {build.platform}, the machine is {platform}"]
    reasons = []
    python = python_series(target.python)
    if python is not None and python not in build.pythons:
        reasons.append(f"no wheel for Python {python}, only for {', '.join(build.pythons)}")
    if platform.startswith("linux") and target.libc == "musl":
        reasons.append("no wheels are published for musl, only for glibc")
    if platform.startswith("linux") and _older(target.glibc, build.minimum_glibc):
        reasons.append(f"needs glibc {build.minimum_glibc}, the machine has {target.glibc}")
    if platform.startswith("macos") and _older(target.macos, build.minimum_macos):
        reasons.append(f"needs macOS {build.minimum_macos}, the machine has {target.macos}")
    return reasons


def _older(present: str | None, needed: str | None) -> bool:
    have, need = parse(present), parse(needed)
    return have is not None and need is not None and have < need


def _wrong_accelerator(build: Build, target: Target) -> list[str]:
    if target.accelerator is not None and build.accelerator != target.accelerator:
        return [f"the build is for {build.accelerator}, not for {target.accelerator}"]
    return []


def _wrong_driver(build: Build, target: Target) -> list[str]:
    if cuda.driver_runs(build.cuda, target.driver, target.system) is False:
        least = cuda.driver_text(cuda.minimum_driver(build.cuda, target.system))
        return [f"CUDA {build.cuda} needs driver {least}, the machine has {target.driver}"]
    return []


def _wrong_card(build: Build, target: Target, card: tuple[int, int]) -> list[str]:
    reasons = []
    name = f"compute capability {capability_text(card)}"
    if cuda.driver_supports(target.driver, card, target.system) is False:
        reasons.append(f"driver {target.driver} does not drive cards of {name}")
    if cudnn.works_on(build.cudnn, card) is False:
        reasons.append(f"cuDNN {build.cudnn} in the build does not work on {name}")
    way = cuda.how_it_runs(build.architectures, card, build.cuda)
    if way == "not at all":
        reasons.append(f"the build has no code for {name}, only for {', '.join(build.architectures)}")
    elif way == "PTX" and _older(cuda.newest_cuda(target.driver, target.system), series(build.cuda)):
        needed = cuda.driver_text(cuda.toolkit_driver(build.cuda, target.system))
        reasons.append(
            f"the build reaches {name} only through PTX of CUDA {build.cuda}, "
            f"which driver {target.driver} cannot translate (needs {needed or 'a newer one'})"
        )
    return reasons


def pythons(builds: Iterable[Build]) -> list[str]:
    """Return the Pythons that some builds have wheels for, newest first; free-threaded ones are left out.

    With target.python = None, pythons(torch.builds(target)) are those that somebody could change to.
    """
    found = {python for build in builds for python in build.pythons if not python.endswith("t")}
    return sorted(found, key=Version, reverse=True)


def newest_first(builds: list[Build]) -> list[Build]:
    """Sort builds: newest release, with an accelerator, checked, newest CUDA or ROCm, from the default index."""
    return sorted(builds, key=_rank, reverse=True)


def _rank(build: Build) -> tuple[Version, bool, bool, Version, bool]:
    runtime = Version(build.cuda or build.rocm or "0")
    return (Version(build.version), build.accelerator != "cpu", build.verified, runtime, build.index is None)
