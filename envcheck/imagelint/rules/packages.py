"""What pip is asked for: names, companions, indexes, and whether there is a build at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
from packaging.version import Version

from envcheck.compat import packages as names
from envcheck.compat import tensorflow, torch
from envcheck.compat.build import Build, why_not
from envcheck.compat.versions import parse, public
from envcheck.imagelint import installs
from envcheck.imagelint.base_image import BaseImage
from envcheck.imagelint.faults import Fault
from envcheck.imagelint.framework_build import keeps
from envcheck.imagelint.image import Image
from envcheck.imagelint.installs import Install, Package
from envcheck.imagelint.rule import rule
from envcheck.report import Evidence, Remedy, Severity

COMPANIONS = ("torchvision", "torchaudio", "torchtext")
FAILING_NAMES = {"removed", "no such package", "conda only"}
"""Kinds of misleading names (table packages) that pip cannot install; a stub may fail on purpose, too."""
OTHER_NAMES = {"stub", "other project"}
"""Kinds that install something else than is usually meant."""


def seen_at(install: Install) -> Evidence:
    """Return a command as evidence."""
    return Evidence(install.command[:300], f"{install.place.path}:{install.place.line}")


@rule(causes=["wrong-package-name"])
def packages_are_named_rightly(image: Image) -> Iterator[Fault]:
    """Packages are asked for by the names under which they are published today.

    Why: `tensorflow-gpu` was removed, `sklearn` and `pytorch` are stubs that fail or do nothing; others are names of
    another project.
    If not: ask for the package that is meant.
    Source: table packages (package metadata, what their installation prints).
    """
    for install in image.installs:
        for package in install.packages if install.tool == "pip" else ():
            known = names.misleading(package.name)
            if known is None or known.kind not in FAILING_NAMES | OTHER_NAMES:
                continue
            pinned, newest = parse(package.pinned), parse(known.newest)
            # Releases from before a name was given up still install.
            still = pinned is not None and newest is not None and pinned < newest
            fails = known.kind in FAILING_NAMES or "on purpose" in known.why
            if not fails and package.pinned:
                # Who asks for one release of it means it.
                continue
            meant = " or ".join(known.install) or "nothing"
            yield Fault(
                cause="wrong-package-name",
                severity=Severity.ERROR if fails and not still else Severity.NOTE,
                place=package.place,
                title=f"{package.written}: "
                + ("pip cannot install it" if fails and not still else "another package is usually meant")
                + f"; install {meant}",
                detail=f"{package.name}: {known.why}.",
                evidence=[Evidence(package.written, f"{package.place.path}:{package.place.line}")],
                remedies=[Remedy(action=f"Replace it with {meant}")],
            )


@rule(causes=["framework-companion-mismatch"])
def torch_companions_fit(image: Image) -> Iterator[Fault]:
    """torchvision, torchaudio and torchtext are asked for in the versions that belong to the pinned PyTorch.

    Why: each of their releases belongs to one of PyTorch. Left open and installed by a later command, pip takes the
    newest and replaces the pinned PyTorch; from another index, their compiled parts do not load
    ("operator torchvision::nms does not exist").
    If not: pin them in the same command as PyTorch, from the same index.
    Source: table torch (requirements in the metadata of those packages).
    """
    pinned: tuple[Package, Install, str] | None = None
    present: set[str] = set()
    for install in image.installs:
        if install.tool != "pip":
            continue
        asked = install.named("torch")
        if asked and asked.pinned and not asked.variable:
            pinned = (asked, install, asked.pinned)
        if pinned is None:
            continue
        for name in COMPANIONS:
            package = install.named(name)
            if package is None or (name in present and keeps(install, package)):
                continue
            present.add(name)
            if not package.variable and "--no-deps" not in install.options:
                yield from _companion(package, install, pinned)


def _companion(package: Package, install: Install, pinned: tuple[Package, Install, str]) -> Iterator[Fault]:
    asked, first, version = pinned
    belongs = torch.companions(version)
    right = getattr(belongs, package.name, None) if belongs else None
    together = install is first
    evidence = [
        Evidence(asked.written, f"{asked.place.path}:{asked.place.line}"),
        Evidence(package.written, f"{package.place.path}:{package.place.line}"),
    ]
    remedies = []
    if right:
        index = f" --index-url {first.index}" if first.index else ""
        extra = "".join(f" --extra-index-url {address}" for address in first.extra_indexes)
        remedies = [
            Remedy(
                action="Pin both in one command",
                commands=[f"RUN pip install torch=={version} {package.name}=={right}{index}{extra}"],
                shell="dockerfile",
            )
        ]
    other = torch.release_with_companion(package.name, package.pinned)
    if right and other and public(package.pinned) != Version(right):
        yield Fault(
            cause="framework-companion-mismatch",
            severity=Severity.ERROR,
            place=package.place,
            title=f"{package.name} {package.pinned} does not belong to torch {version}; {right} does",
            evidence=evidence,
            remedies=remedies,
        )
    elif not together and not package.pinned:
        index_differs = first.index != install.index
        yield Fault(
            cause="framework-companion-mismatch",
            severity=Severity.WARNING,
            place=package.place,
            title=f"{package.name} is not pinned, after torch {version}: pip takes the newest and may replace torch",
            detail="It is asked for by a later command"
            + (", and from another index than torch." if index_differs else "."),
            evidence=evidence,
            remedies=remedies,
        )
    elif not together and first.index != install.index and installs.pytorch_index(first.index) and package.pinned:
        if "+" in package.pinned:
            return
        yield Fault(
            cause="framework-companion-mismatch",
            severity=Severity.WARNING,
            place=package.place,
            title=f"{package.name} comes from another index than torch: its build is for another CUDA version",
            evidence=[seen_at(first), seen_at(install)],
            remedies=remedies,
        )
    elif together and not package.pinned and not package.specifier:
        yield Fault(
            cause="framework-companion-mismatch",
            severity=Severity.NOTE,
            place=package.place,
            title=f"{package.name} is not pinned beside torch {version}"
            + (f"; {right} belongs to it" if right else ""),
            evidence=evidence,
            remedies=remedies,
        )


@rule(causes=["dependency-conflict"])
def base_keeps_its_torch(image: Image) -> Iterator[Fault]:
    """A base that brings PyTorch keeps the version that it brings.

    Why: pip replaces the base's PyTorch by the pinned one, which has another CUDA version perhaps and lies in the
    image twice, gigabytes each; what the base built against its own no longer loads.
    If not: take the base of that release, or leave torch out of the requirements.
    Source: pytorch/pytorch on Docker Hub (tags name release and CUDA version); pip's documentation, "pip install".
    """
    brought = parse(image.base.torch)
    for build in image.torch_builds() if brought else ():
        asked = public(build.package.pinned)
        if asked is None or build.install.tool != "pip" or asked == brought:
            continue
        yield Fault(
            cause="dependency-conflict",
            severity=Severity.WARNING,
            place=build.package.place,
            title=f"{build.package.written} replaces torch {image.base.torch} of the base",
            evidence=[
                Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                seen_at(build.install),
            ],
            remedies=[
                Remedy(action=f"Take the base of torch {asked}, or ask for torch=={image.base.torch}"),
            ],
        )


@rule(causes=["package-index-wrong"])
def torch_build_is_on_its_index(image: Image) -> Iterator[Fault]:
    """The index that pip is sent to has the build of PyTorch that is asked for.

    Why: builds with a local version (`+cu124`) are on PyTorch's own index only, and each release has some CUDA
    versions only; pip then finds no matching distribution. An extra index does not choose: pip takes the newest
    release of all indexes, which is the default one's where the extra index has no newer.
    If not: name the index of a CUDA version that the release has.
    Source: table torch (variants of each release); pip's documentation, "Finding packages".
    """
    if image.configures_pip():
        # Its indexes are then not what the commands say.
        return
    for build in image.torch_builds():
        install, package = build.install, build.package
        if install.tool != "pip" or package.variable or package.wheel:
            continue
        pinned = package.pinned
        addresses = [address for address in (install.index, *install.extra_indexes) if address]
        variants = [installs.pytorch_index(address) for address in addresses]
        if any(variant is None for variant in variants) or install.find_links:
            # A mirror may have anything.
            continue
        local = re.search(r"\+(.+)$", pinned or "")
        if local and not addresses:
            yield _no_such_build(package, install, f"the default index has no build `{package.written}`", pinned)
            continue
        wanted = local[1] if local else installs.pytorch_index(install.index)
        cuda_version = installs.cuda_of_variant(wanted)
        row = torch.release(pinned)
        if row and cuda_version and row.cuda_variants and cuda_version not in row.cuda_variants:
            have = ", ".join(row.cuda_variants)
            yield _no_such_build(
                package, install, f"torch {row.version} has no build for CUDA {cuda_version}, only for {have}", pinned
            )
        elif local and wanted not in variants and installs.pytorch_index(install.index):
            yield _no_such_build(package, install, f"`{package.written}` is not on the index {install.index}", pinned)
        elif not pinned and not install.index and variants:
            yield from _overruled(image, package, install, [variant for variant in variants if variant])


def _no_such_build(package: Package, install: Install, title: str, pinned: str | None) -> Fault:
    row = torch.release(pinned)
    variants = row.cuda_variants if row else []
    local = re.search(r"\+cu(\d+)(\d)$", pinned or "")
    best = f"{local[1]}.{local[2]}" if local and f"{local[1]}.{local[2]}" in variants else (variants or [""])[-1]
    remedies = []
    if row and best:
        label = f"cu{best.replace('.', '')}"
        remedies = [
            Remedy(
                action=f"Take the build for CUDA {best}",
                commands=[f"RUN pip install torch=={row.version} --index-url https://download.pytorch.org/whl/{label}"],
                shell="dockerfile",
            )
        ]
    return Fault(
        cause="package-index-wrong",
        severity=Severity.ERROR,
        place=package.place,
        title=f"{title}: pip finds no matching distribution",
        evidence=[seen_at(install)],
        remedies=remedies,
    )


def _overruled(image: Image, package: Package, install: Install, variants: list[str]) -> Iterator[Fault]:
    """Say that the newest release is not on the extra index, so that pip takes the default index's build."""
    python = image.python_of(install)
    rows = [row for row in torch.releases() if python is None or python in row.python_linux_x86_64]
    newest = next((row for row in rows if package.admits(row.version)), None)
    cuda_version = installs.cuda_of_variant(variants[0])
    if newest is None or cuda_version is None or not newest.cuda_variants:
        newest_known = next((row for row in rows if row.cuda_variants), None)
        if newest_known is None or cuda_version is None or newest is None:
            return
        # The newest release's own list is not known; a version that all later ones lack is gone for good.
        if cuda_version in newest_known.cuda_variants or Version(cuda_version) > Version(newest_known.cuda_variants[0]):
            return
    elif cuda_version in newest.cuda_variants:
        return
    yield Fault(
        cause="package-index-wrong",
        severity=Severity.WARNING,
        place=package.place,
        title=f"the extra index for CUDA {cuda_version} is overruled: torch {newest.version} of the default index, "
        f"for CUDA {newest.cuda_default}, is newer",
        detail="pip takes the newest release of all indexes; the index for that CUDA version has older ones only.",
        evidence=[seen_at(install)],
        remedies=[
            Remedy(
                action="Ask that index alone",
                commands=[f"RUN pip install torch --index-url https://download.pytorch.org/whl/{variants[0]}"],
                shell="dockerfile",
            ),
            Remedy(action="Or pin a release that has a build for that CUDA version"),
        ],
    )


@rule(causes=["python-version-unsupported", "glibc-too-old", "platform-unsupported"])
def framework_has_a_wheel_for_the_base(image: Image) -> Iterator[Fault]:
    """PyTorch or TensorFlow, as it is asked for, has a wheel for the base's Python, C library and architecture.

    Why: pip finds no matching distribution where there is none for this Python, a wheel needs a newer glibc, or the
    platform has no builds; nothing can be built from source in passing.
    If not: take a base with a Python and a glibc that the release has wheels for, or another release.
    Source: tables torch and tensorflow (tags of the published wheels), python_wheels (glibc of distributions).
    """
    for install in image.installs:
        for name, module in (("torch", torch), ("tensorflow", tensorflow)):
            package = install.named(name) if install.tool == "pip" else None
            if package is None or package.variable or package.wheel or image.base.libc == "musl":
                continue
            if package.pinned:
                yield from _no_wheel_of_release(image, install, package, module.published(_public(package.pinned)))
            elif not install.index and not install.extra_indexes and not install.find_links:
                releases = [module.published(row.version) for row in module.releases()]
                yield from _no_wheel_of_any(image, install, package, releases)


def _public(version: str) -> str:
    return version.partition("+")[0]


def _no_wheel_of_release(
    image: Image, install: Install, package: Package, published: Sequence[Build]
) -> Iterator[Fault]:
    target = image.target(install)
    here = [build for build in published if build.platform == f"linux_{target.machine}"]
    reasons = [why_not(build, target) for build in here]
    if not published or (target.python is None and not here) or (here and any(not reason for reason in reasons)):
        return
    reason = reasons[0][0] if here else f"no wheels are published for linux on {target.machine}"
    unsupported = "python-version-unsupported" if here else "platform-unsupported"
    cause = "glibc-too-old" if "glibc" in reason else unsupported
    pythons = sorted({p for build in here for p in build.pythons if not p.endswith("t")}, key=Version)
    remedies = [Remedy(action="Take a newer base, or an older release")]
    yield _not_installable(
        image,
        install,
        package,
        cause,
        f"{package.name} {_public(package.pinned or '')} cannot be installed on {image.base.reference}: {reason}",
        _other_python(image.base, pythons) if cause == "python-version-unsupported" else remedies,
    )


def _no_wheel_of_any(
    image: Image, install: Install, package: Package, releases: Sequence[Sequence[Build]]
) -> Iterator[Fault]:
    """Say that none of the releases that are asked for has a wheel for the base's Python."""
    target = image.target(install)
    asked = [build for published in releases for build in published if package.admits(build.version)]
    here = [build for build in asked if build.platform == f"linux_{target.machine}"]
    if target.python is None or not here or any(target.python in build.pythons for build in here):
        return
    newest = max((Version(build.version) for build in here), default=None)
    pythons = sorted({p for build in here for p in build.pythons if not p.endswith("t")}, key=Version)
    fault = _not_installable(
        image,
        install,
        package,
        "python-version-unsupported",
        f"{package.written} has no wheels for Python {target.python} of {image.base.reference}",
        _other_python(image.base, pythons[-6:]),
    )
    yield msgspec.structs.replace(fault, detail=f"The newest release that is known here is {newest}.")


def _not_installable(
    image: Image, install: Install, package: Package, cause: str, title: str, remedies: list[Remedy]
) -> Fault:
    return Fault(
        cause=cause,
        severity=Severity.ERROR,
        place=package.place,
        title=title,
        evidence=[
            Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
            seen_at(install),
        ],
        remedies=remedies,
    )


def _other_python(base: BaseImage, pythons: list[str]) -> list[Remedy]:
    if not pythons:
        return []
    commands = [f"FROM python:{pythons[-1]}-slim"] if base.repository == "python" else []
    return [
        Remedy(
            action=f"Take a Python that it has wheels for: {', '.join(pythons)}", commands=commands, shell="dockerfile"
        )
    ]


@rule(causes=["platform-unsupported"])
def base_has_glibc(image: Image) -> Iterator[Fault]:
    """Frameworks are not installed on a base with musl instead of glibc.

    Why: neither PyTorch nor TensorFlow publishes wheels for musl (Alpine), and CUDA's libraries need glibc; pip finds
    no matching distribution.
    If not: take a Debian or Ubuntu base, such as python:3.12-slim.
    Source: tables torch and tensorflow (tags of the published wheels: manylinux only); PEP 656.
    """
    brought = image.uses_conda() or any(re.search(r"glibc|gcompat", command.text) for _, command in image.commands())
    if image.base.libc != "musl" or brought:
        return
    wanted = ("torch", "tensorflow", "tensorflow-cpu", "torchvision", "jax", "jaxlib")
    for install in image.installs:
        package = install.named(*wanted) if install.tool == "pip" else None
        # A wheel that lies in the image may have been built in it.
        if package and not (package.wheel and "://" not in package.written):
            series = image.base.python or "3.12"
            yield Fault(
                cause="platform-unsupported",
                severity=Severity.ERROR,
                place=package.place,
                title=f"{package.name} has no wheels for musl, the C library of {image.base.reference}",
                evidence=[
                    Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                    seen_at(install),
                ],
                remedies=[
                    Remedy(action="Take a base with glibc", commands=[f"FROM python:{series}-slim"], shell="dockerfile")
                ],
            )


@rule(causes=["platform-unsupported", "python-version-unsupported"])
def wheel_file_fits_the_base(image: Image) -> Iterator[Fault]:
    """A wheel that is named by its file is for the base's Python and architecture.

    Why: pip refuses another one ("is not a supported wheel on this platform").
    If not: name the file for this Python and architecture.
    Source: PEP 425 and PEP 427 (what the parts of the name mean).
    """
    for install in image.installs:
        python = image.python_of(install) if install.tool == "pip" else None
        for package in install.packages if install.tool == "pip" else ():
            wheel = package.wheel
            if wheel is None:
                continue
            tags = wheel.python.split(".")
            exact = [match for tag in tags if (match := re.fullmatch(r"cp(\d)(\d+)", tag))]
            stable = "abi3" in wheel.abi.split(".")
            wanted = [f"{match[1]}.{match[2]}" for match in exact]
            if python and exact and len(exact) == len(tags) and not stable and python.rstrip("t") not in wanted:
                yield _wrong_wheel(
                    package,
                    install,
                    f"it is for Python {', '.join(wanted)}, pip here is Python {python}'s",
                    "python-version-unsupported",
                )
            machine = image.machine
            written = (
                "aarch64"
                if re.search(r"aarch64|arm64", wheel.platform)
                else ("x86_64" if "x86_64" in wheel.platform else None)
            )
            if machine and written and written != machine:
                yield _wrong_wheel(
                    package, install, f"it is for {written}, the image is {machine}", "platform-unsupported"
                )
            if re.search(r"(?:^|\.)(?:win|macosx)", wheel.platform):
                yield _wrong_wheel(package, install, f"it is for {wheel.platform}", "platform-unsupported")


def _wrong_wheel(package: Package, install: Install, why: str, cause: str) -> Fault:
    return Fault(
        cause=cause,
        severity=Severity.ERROR,
        place=package.place,
        title=f"the wheel of {package.name} does not fit: {why}",
        evidence=[seen_at(install)],
        remedies=[Remedy(action="Name the file for this Python and architecture, or let pip choose by name")],
    )


@rule(causes=["install-permission"])
def pip_may_change_the_system_python(image: Image) -> Iterator[Fault]:
    """A Python that its distribution keeps for itself is not what pip is sent to.

    Why: Debian since 12 and Ubuntu since 23.04 mark their Python as externally managed; pip ends with
    "error: externally-managed-environment".
    If not: make a virtual environment, and put it on PATH.
    Source: PEP 668; release notes of Debian 12 and Ubuntu 23.04.
    """
    row = image.base.distribution
    if row is None or image.base.python or image.uses_conda() or image.base.repository == "python":
        return
    version = parse(row.version)
    first = {"debian": Version("12"), "ubuntu": Version("23.4")}.get(row.id)
    if first is None or version is None or version < first:
        return
    every = " ; ".join(command.text for _, command in image.commands())
    lifted = "EXTERNALLY-MANAGED" in every or "break-system-packages" in every
    own = re.search(
        r"-m venv|virtualenv|uv venv|uv python|pyenv|get-pip|make (?:alt)?install|deadsnakes|update-alternatives", every
    )
    variables = image.stage.environment
    if lifted or own or {"PIP_BREAK_SYSTEM_PACKAGES", "VIRTUAL_ENV", "UV_SYSTEM_PYTHON"} & set(variables):
        return
    path = variables["PATH"].value or "" if "PATH" in variables else ""
    if re.search(r"venv|conda|mamba|/opt/|\.local", path):
        return
    for install in image.installs:
        if install.tool != "pip" or install.uv or install.interpreter not in {"system", row.python3 or ""}:
            continue
        if {"--target", "-t", "--prefix", "--root"} & set(install.options) or "PIP_BREAK" in install.command:
            continue
        yield Fault(
            cause="install-permission",
            severity=Severity.ERROR,
            place=install.place,
            title=f"pip ends with externally-managed-environment on {row.name} {row.version}",
            evidence=[
                Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                seen_at(install),
            ],
            remedies=[
                Remedy(
                    action="Make a virtual environment and put it on PATH",
                    commands=["RUN python3 -m venv /opt/venv", "ENV PATH=/opt/venv/bin:$PATH"],
                    shell="dockerfile",
                )
            ],
        )
        return
