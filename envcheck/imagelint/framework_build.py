"""The build of PyTorch or TensorFlow that an installation gives, as far as the tables know it."""

from __future__ import annotations

import re

import msgspec

from envcheck.compat import tensorflow, torch
from envcheck.compat.build import Build, why_not
from envcheck.compat.target import Target
from envcheck.imagelint import installs
from envcheck.imagelint.installs import Install, Package


class FrameworkBuild(msgspec.Struct, frozen=True, kw_only=True):
    """The build of PyTorch or TensorFlow that an installation gives.

    Attributes:
        package: what asks for it.
        install: the command.
        version: its release; None where any may come.
        cuda: the CUDA version of the build; None where it is not for CUDA, or not known.
        accelerator: "cuda", "cpu", "rocm"; None where it is not known.
        build: the row of the tables, where they know it.
        chosen: whether the release is what the tables call the newest that fits, not what the file says.
    """

    package: Package
    install: Install
    version: str | None
    cuda: str | None
    accelerator: str | None
    build: Build | None = None
    chosen: bool = False


def keeps(install: Install, package: Package) -> bool:
    """Tell whether pip leaves a package as it is where some version of it is there already."""
    replaces = {"-U", "--upgrade", "--force-reinstall", "--ignore-installed", "-I"} & set(install.options)
    return not package.pinned and not package.wheel and not replaces


def called(build: FrameworkBuild) -> str:
    """Return what people call a build: "torch 2.6.0 (CUDA 12.4)"."""
    name = "torch" if build.package.name in {"torch", "pytorch"} else build.package.name
    version = f" {build.version}" if build.version else ""
    return f"{name}{version} (CUDA {build.cuda})" if build.cuda else f"{name}{version}"


def says_cuda(build: FrameworkBuild) -> bool:
    """Tell whether a command asks for a CUDA build in so many words, not by the default of an index."""
    package = build.package
    pinned = package.pinned or ""
    return (
        bool(installs.cuda_of_variant(_variant(build.install)))
        or "+cu" in pinned
        or "and-cuda" in package.extras
        or package.name == "tensorflow-gpu"
    )


def _variant(install: Install) -> str | None:
    """Return the variant of PyTorch's own index where that index alone is asked."""
    if install.index:
        return installs.pytorch_index(install.index)
    return None


def torch_build(install: Install, package: Package, target: Target) -> FrameworkBuild:
    """Return what PyTorch an installation with pip gives.

    Args:
        install: the command.
        package: torch, as it is asked for.
        target: what is known of the image.
    """
    pinned = package.pinned
    variant = _variant(install)
    local = re.search(r"\+(cu\d+|cpu|rocm[\d.]+)", pinned or "")
    label = local[1] if local else variant
    if label is None and install.find_links:
        linked = [variant for link in install.find_links if (variant := installs.pytorch_index(link))]
        if len(linked) != 1 or not pinned:
            # Such a page can have several builds of a release, and pip takes the one with the highest local version.
            return FrameworkBuild(package=package, install=install, version=pinned, cuda=None, accelerator=None)
        label = linked[0]
    if label is None and (package.variable or install.index or "nightly" in " ".join(install.extra_indexes)):
        return FrameworkBuild(package=package, install=install, version=pinned, cuda=None, accelerator=None)
    # The default index has one build of a release; an extra index has others, and pip takes the newest release of all.
    if label is None and pinned and install.extra_indexes:
        variants = [found for address in install.extra_indexes if (found := installs.pytorch_index(address))]
        label = variants[0] if len(variants) == 1 and _has(pinned, variants[0]) else None
    if label is not None:
        cuda_version = installs.cuda_of_variant(label)
        kind = "cuda" if cuda_version else "cpu" if label == "cpu" else "rocm"
        wanted = f"{pinned.partition('+')[0]}+{label}" if pinned else None
        return FrameworkBuild(
            package=package,
            install=install,
            version=pinned.partition("+")[0] if pinned else None,
            cuda=cuda_version,
            accelerator=kind,
            build=torch.build(wanted, target) if wanted else None,
        )
    if pinned:
        build = torch.build(pinned, target)
        return FrameworkBuild(
            package=package,
            install=install,
            version=pinned,
            cuda=build.cuda if build else None,
            accelerator=build.accelerator if build else None,
            build=build,
        )
    return _newest_torch(package, install, target)


def _has(release: str, label: str) -> bool:
    row = torch.release(release)
    version = installs.cuda_of_variant(label)
    return row is not None and (version in row.cuda_variants if version else label == "cpu")


def _newest_torch(package: Package, install: Install, target: Target) -> FrameworkBuild:
    """Return the newest release that the default index has for what is asked; unknown where the Python is."""
    for row in torch.releases() if target.python and not package.variable else ():
        build = torch.build(row.version, target)
        if build and package.admits(row.version) and not why_not(build, target):
            return FrameworkBuild(
                package=package,
                install=install,
                version=row.version,
                cuda=build.cuda,
                accelerator=build.accelerator,
                build=build,
                chosen=True,
            )
    return FrameworkBuild(package=package, install=install, version=None, cuda=None, accelerator=None)


def conda_torch_build(install: Install, package: Package) -> FrameworkBuild:
    """Return what PyTorch an installation with conda gives: `pytorch-cuda` chooses CUDA, `cpuonly` the processor."""
    runtime = install.named("pytorch-cuda")
    version = runtime.specifier.lstrip("=~") if runtime and not runtime.variable else None
    accelerator = "cpu" if install.named("cpuonly") else "cuda" if runtime else None
    return FrameworkBuild(
        package=package, install=install, version=package.pinned, cuda=version, accelerator=accelerator
    )


def tensorflow_build(install: Install, package: Package, target: Target) -> FrameworkBuild:
    """Return what TensorFlow an installation with pip gives; arguments as for torch_build."""
    version, chosen = package.pinned, False
    if version is None and not package.variable and target.python and not install.index:
        for row in tensorflow.releases():
            build = tensorflow.build(row.version, target)
            if build and package.admits(row.version) and not why_not(build, target):
                version, chosen = row.version, True
                break
    build = tensorflow.build(version, target)
    return FrameworkBuild(
        package=package,
        install=install,
        version=version,
        cuda=build.cuda if build else None,
        accelerator=build.accelerator if build else None,
        build=build,
        chosen=chosen,
    )
