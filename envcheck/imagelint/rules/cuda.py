"""Base image × framework × driver."""

from __future__ import annotations

import re
from collections.abc import Iterator

from packaging.version import Version

from envcheck.compat import cuda, tensorflow
from envcheck.compat.versions import parse
from envcheck.imagelint.base_image import BaseImage, cuda_series
from envcheck.imagelint.faults import Fault
from envcheck.imagelint.framework_build import FrameworkBuild, called
from envcheck.imagelint.image import Image
from envcheck.imagelint.installs import pytorch_index
from envcheck.imagelint.rule import Machine, rule
from envcheck.imagelint.source import Place
from envcheck.report import Evidence, Remedy, Severity

COMPILES = re.compile(
    r"flash[-_]attn|\bapex\b|detectron2|mmcv(?!-lite)|xformers.*--no-binary|--no-build-isolation|\bnvcc\b|pytorch3d"
    r"|tiny-cuda-nn|gsplat|diff-gaussian|bitsandbytes.*--no-binary"
)
"""Commands that compile extensions with nvcc, as their projects' installation guides say."""
FOR_EXTENSIONS = ("TORCH_CUDA_ARCH_LIST", "FORCE_CUDA")
"""Variables that say how extensions are compiled. Source: torch/utils/cpp_extension.py; torchvision's setup.py."""


def major(version: str | None) -> int | None:
    """Return the major number of a version; None where there is none."""
    parsed = parse(version)
    return None if parsed is None else parsed.major


@rule(causes=["toolkit-version-mismatch", "container-image-cuda-too-new"])
def cuda_of_base_suits_torch(image: Image) -> Iterator[Fault]:
    """The CUDA toolkit of the base image is of the major version that PyTorch was built for.

    Why: PyTorch's wheels bring CUDA's libraries with them, so the toolkit of the base is not used by them; what must
    fit is the rest: an extension that is compiled in the image is refused ("The detected CUDA version mismatches the
    version that was used to compile PyTorch"), and the base lets the container start on drivers that are too old for
    the wheel.
    If not: take PyTorch from the index of the base's CUDA version, or a base of PyTorch's; where nothing is compiled,
    a base without CUDA is smaller by gigabytes.
    Source: torch/utils/cpp_extension.py (`_check_cuda_version`: another major version is an error); table torch;
    NVIDIA CUDA Toolkit release notes, minor version compatibility.
    """
    base = cuda_series(image.base)
    if base is None or not image.base.repository.endswith("nvidia/cuda"):
        return
    compiled = [
        Evidence(f"compiles: {command.text[:120]}", f"{image.path}:{command.line}")
        for _, command in image.commands()
        if COMPILES.search(command.text) or set(FOR_EXTENSIONS) & set(command.settings)
    ] + [
        Evidence(f"compiles: {name} is set", f"{image.path}:{image.stage.environment[name].line}")
        for name in FOR_EXTENSIONS
        if name in image.stage.environment
    ]
    for build in image.torch_builds():
        if build.cuda is None or major(build.cuda) == major(base):
            continue
        if build.chosen and any(map(pytorch_index, build.install.extra_indexes)):
            # What goes wrong there is the index: torch-build-is-on-its-index.
            continue
        breaks = bool(compiled) and image.base.flavour == "devel"
        driver = cuda.driver_text(cuda.minimum_driver(build.cuda, "linux"))
        own = cuda.driver_text(cuda.minimum_driver(base, "linux"))
        needs = f"; it needs a driver of {driver} or later, the base is content with {own}" if driver and own else ""
        newer = (major(build.cuda) or 0) > (major(base) or 0)
        if breaks:
            severity, ending = Severity.ERROR, ": extensions compiled here will be refused"
        elif newer:
            severity, ending = Severity.WARNING, needs
        else:
            severity, ending = Severity.NOTE, ", whose libraries are never used: the wheel brings its own"
        yield Fault(
            cause="container-image-cuda-too-new" if newer and not breaks else "toolkit-version-mismatch",
            severity=severity,
            place=build.package.place,
            title=f"{called(build)} on a base of CUDA {base}{ending}",
            detail="No version is asked for: this is the newest release for this Python." if build.chosen else "",
            evidence=[
                Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                Evidence(build.install.command, f"{build.install.place.path}:{build.install.place.line}"),
                *compiled[:1],
            ],
            remedies=_torch_for(base, build),
        )


def _torch_for(base: str, build: FrameworkBuild) -> list[Remedy]:
    label = f"cu{base.replace('.', '')}"
    from envcheck.compat import torch  # noqa: PLC0415 - only where something is wrong

    row = torch.release(build.version)
    fitting = [variant for variant in (row.cuda_variants if row else []) if major(variant) == major(base)]
    remedies = []
    if fitting and build.install.tool == "pip":
        label = f"cu{max(fitting, key=Version).replace('.', '')}"
        remedies.append(
            Remedy(
                action=f"Take the build for CUDA {major(base)} of the same release",
                commands=[f"pip install torch=={build.version} --index-url https://download.pytorch.org/whl/{label}"],
                shell="dockerfile",
            )
        )
    remedies.append(
        Remedy(
            action=f"Or choose a base of CUDA {build.cuda} where something is compiled, and one without CUDA where not",
            commands=[],
        )
    )
    return remedies


@rule(causes=["cuda-libraries-missing", "cudnn-version-mismatch"])
def tensorflow_finds_its_cuda_libraries(image: Image) -> Iterator[Fault]:
    """A base of NVIDIA's has the CUDA and cuDNN libraries that TensorFlow loads.

    Why: TensorFlow without the extra `and-cuda` loads CUDA's and cuDNN's libraries from the image, by names that hold
    their major version; where one is not found it says "Cannot dlopen some GPU libraries" and computes on the CPU.
    Images with `base` in their tag have none of them, those without `cudnn` no cuDNN.
    If not: from 2.14 on install `tensorflow[and-cuda]`; else take the base that this release was tested with.
    Source: TensorFlow's documentation, "Tested build configurations" (table tensorflow); tags of nvidia/cuda.
    """
    base = image.base
    if not base.cuda or base.flavour is None or not base.repository.endswith("nvidia/cuda") or image.uses_conda():
        return
    extra = {package.name for install in image.installs for package in install.packages}
    for build in image.tensorflow_builds():
        row = tensorflow.release(build.version)
        if row is None or "and-cuda" in build.package.extras or build.accelerator != "cuda":
            continue
        wanted = build.cuda or row.tested_cuda
        cudnn = row.cudnn_built_major or row.tested_cudnn.split(".")[0]
        brought = any(name.startswith(("nvidia-cudnn", "libcudnn")) for name in extra)
        libraries = any(re.match(r"cuda-(?:libraries|toolkit|\d)|nvidia-cu", name) for name in extra)
        # Before CUDA 11 the names of the libraries held the minor version as well.
        apart = major(wanted) != major(base.cuda) or (
            (major(wanted) or 11) < 11 and cuda_series(base) != ".".join(wanted.split(".")[:2])  # noqa: PLR2004
        )
        if apart and not libraries:
            problem, cause = f"loads libraries of CUDA {wanted}, the base has {base.cuda}", "cuda-libraries-missing"
        elif base.flavour == "base" and not libraries:
            problem, cause = "loads CUDA's libraries, and a `base` image has none", "cuda-libraries-missing"
        elif not base.cudnn and not brought:
            problem, cause = f"loads cuDNN {cudnn}, and this base has none", "cudnn-version-mismatch"
        elif base.cudnn and base.cudnn != cudnn and not brought:
            problem, cause = f"loads cuDNN {cudnn}, the base has cuDNN {base.cudnn}", "cudnn-version-mismatch"
        else:
            continue
        yield Fault(
            cause=cause,
            severity=Severity.ERROR,
            place=build.package.place,
            title=f"tensorflow {build.version} {problem}: it will compute on the CPU",
            evidence=[
                Evidence(f"FROM {base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                Evidence(build.install.command, f"{build.install.place.path}:{build.install.place.line}"),
            ],
            remedies=[
                *(
                    [
                        Remedy(
                            action="Let pip bring the libraries",
                            commands=[f'RUN pip install "tensorflow[and-cuda]=={build.version}"'],
                            shell="dockerfile",
                        )
                    ]
                    if row.and_cuda
                    else []
                ),
                Remedy(action=f"Or take a base with CUDA {row.tested_cuda} and cuDNN {row.tested_cudnn}"),
            ],
        )


@rule(causes=["driver-too-old", "container-image-cuda-too-new"])
def driver_runs_the_image(image: Image, machine: Machine) -> Iterator[Fault]:
    """The NVIDIA driver of the machine runs the CUDA versions that the image is built for.

    Why: a container uses the driver of its host. Below the least driver of a CUDA major version nothing computes;
    above it, but below the driver of that very toolkit, images of nvidia/cuda are refused at the start on most cards
    ("unsatisfied condition: cuda>=…"), for they set NVIDIA_REQUIRE_CUDA. Judged only where a driver is given
    (`--driver`) or this machine has one.
    If not: update the driver of the host, or take an older base and an older build of the framework.
    Source: NVIDIA CUDA Toolkit release notes, tables 2 and 3; NVIDIA Container Toolkit documentation, "Constraints".
    """
    if machine.driver is None or not image.final:
        return
    for version, what, place in image.cuda_needs():
        yield from _too_old(version, what, place, machine)
    lifted = {"NVIDIA_DISABLE_REQUIRE", "NVIDIA_REQUIRE_CUDA"} & set(image.stage.environment)
    if not lifted:
        yield from _refused_at_start(image.base, image.base_place, machine)


def driver_runs_named_image(image: BaseImage, place: Place, machine: Machine) -> Iterator[Fault]:
    """Compare the driver with an image that is started by its name.

    Args:
        image: what its name says.
        place: where it is named.
        machine: with the driver; where it has none nothing is said.
    """
    if machine.driver is None or image.cuda is None:
        return
    if image.flavour != "base":
        yield from _too_old(image.cuda, image.reference, place, machine)
    yield from _refused_at_start(image, place, machine)


def _too_old(version: str, what: str, place: Place, machine: Machine) -> Iterator[Fault]:
    if cuda.driver_runs(version, machine.driver, "linux") is not False:
        return
    least = cuda.driver_text(cuda.minimum_driver(version, "linux"))
    yield Fault(
        cause="driver-too-old",
        severity=Severity.ERROR,
        place=place,
        title=f"{what} needs an NVIDIA driver of {least} or later; the machine has {machine.driver}",
        evidence=[Evidence(f"driver {machine.driver}", machine.driver_source)],
        remedies=[
            Remedy(action=f"Update the driver of the host to {least} or later"),
            Remedy(action=f"Or build for CUDA {cuda.newest_cuda(machine.driver, 'linux') or 'of that driver'}"),
        ],
    )


def _refused_at_start(base: BaseImage, place: Place, machine: Machine) -> Iterator[Fault]:
    """Say that the container toolkit refuses to start an image whose toolkit is newer than the driver's CUDA."""
    served, wanted = parse(cuda.newest_cuda(machine.driver, "linux")), parse(cuda_series(base))
    if not base.requires_cuda or wanted is None or served is None or served >= wanted:
        return
    if cuda.driver_runs(base.cuda, machine.driver, "linux") is False and base.flavour != "base":
        return
    needed = cuda.driver_text(cuda.toolkit_driver(cuda_series(base), "linux"))
    yield Fault(
        cause="container-image-cuda-too-new",
        severity=Severity.WARNING,
        place=place,
        title=f"{base.reference} asks for CUDA {wanted}; driver {machine.driver} serves {served}: "
        "most cards will refuse to start it",
        evidence=[
            Evidence(f"driver {machine.driver}", machine.driver_source),
            Evidence(f"nvidia/cuda images set NVIDIA_REQUIRE_CUDA=cuda>={wanted}"),
        ],
        remedies=[
            Remedy(action=f"Update the driver of the host{f' to {needed} or later' if needed else ''}"),
            Remedy(action=f"Or take a base of CUDA {served} or older"),
        ],
    )


@rule(causes=["cpu-only-build"])
def cuda_base_gets_a_cuda_build(image: Image) -> Iterator[Fault]:
    """A base with CUDA does not get a framework that can only use the CPU.

    Why: the CPU build never sees the GPU, whatever the base brings.
    If not: take the CUDA build, or a base without CUDA, which is smaller by gigabytes.
    Source: PyTorch's installation page (index `cpu`); package metadata of tensorflow-cpu.
    """
    if not image.base.for_nvidia or image.base.flavour is None:
        return
    accelerated = [
        build for build in [*image.torch_builds(), *image.tensorflow_builds()] if build.accelerator == "cuda"
    ]
    base = f"a base with CUDA {image.base.cuda}" if image.base.cuda else "a base for GPUs"
    for build in image.torch_builds():
        if build.accelerator != "cpu" or accelerated or image.machine == "aarch64":
            continue
        yield Fault(
            cause="cpu-only-build",
            severity=Severity.WARNING,
            place=build.package.place,
            title=f"torch is the CPU-only build, on {base}",
            evidence=[
                Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                Evidence(build.install.command, f"{build.install.place.path}:{build.install.place.line}"),
            ],
            remedies=[
                Remedy(
                    action="Take the CUDA build of the default index",
                    commands=[f"RUN pip install torch{f'=={build.version}' if build.version else ''}"],
                    shell="dockerfile",
                ),
                Remedy(action="Or take a base without CUDA"),
            ],
        )
    for install in image.installs:
        package = install.named("tensorflow-cpu") if install.tool == "pip" else None
        if package and not accelerated:
            yield Fault(
                cause="cpu-only-build",
                severity=Severity.WARNING,
                place=package.place,
                title=f"tensorflow-cpu never sees a GPU, on {base}",
                evidence=[
                    Evidence(f"FROM {image.base.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                ],
                remedies=[Remedy(action="Install tensorflow[and-cuda], or take a base without CUDA")],
            )


@rule(causes=["toolkit-version-mismatch"])
def stages_share_a_cuda_version(image: Image) -> Iterator[Fault]:
    """What is compiled with CUDA in one stage finds the same CUDA in the stage that it is copied to.

    Why: a program that was built with CUDA 12 loads libcudart.so.12, which a base of CUDA 11 does not have.
    If not: give both stages the same CUDA version, best by one ARG before the first FROM.
    Source: NVIDIA CUDA Toolkit release notes, "CUDA libraries" (names hold the major version).
    """
    from envcheck.imagelint import base_image  # noqa: PLC0415 - beside its use

    here = image.base
    if not here.cuda or not here.repository.endswith("nvidia/cuda") or not image.final:
        return
    for name, place, words in image.from_stages:
        reference = image.stage_bases.get(name, name)
        other = base_image.read(reference)
        if not other.cuda or not other.repository.endswith("nvidia/cuda") or other.flavour != "devel":
            continue
        if major(other.cuda) != major(here.cuda):
            yield Fault(
                cause="toolkit-version-mismatch",
                severity=Severity.WARNING,
                place=place,
                title=f"copies what was built with CUDA {other.cuda} into an image with CUDA {here.cuda}",
                evidence=[
                    Evidence(f"COPY --from={name} {' '.join(words)}", f"{place.path}:{place.line}"),
                    Evidence(f"FROM {other.reference}"),
                    Evidence(f"FROM {here.reference}", f"{image.base_place.path}:{image.base_place.line}"),
                ],
                remedies=[
                    Remedy(
                        action="Give both stages one CUDA version",
                        commands=[
                            f"ARG CUDA={other.cuda}",
                            "FROM nvidia/cuda:${CUDA}-devel-ubuntu22.04 AS build",
                            "FROM nvidia/cuda:${CUDA}-runtime-ubuntu22.04",
                        ],
                        shell="dockerfile",
                    )
                ],
            )


@rule(causes=["package-index-wrong"])
def cuda_image_is_named_with_a_tag(image: Image) -> Iterator[Fault]:
    """An image of nvidia/cuda is named with a tag that exists: release, part and distribution.

    Why: nvidia/cuda has no tag `latest`, so a FROM without a tag ends in "manifest unknown"; tags without the third
    number of the release (`11.0-base`) were removed as well.
    If not: write the whole tag.
    Source: README and support policy of NVIDIA's container images for CUDA.
    """
    base = image.base
    if base.repository not in {"nvidia/cuda", "nvcr.io/nvidia/cuda"} or base.digest or "$" in base.reference:
        return
    short = re.match(r"\d+\.\d+(?:-|$)", base.tag) or base.tag in {"base", "runtime", "devel"}
    never = base.tag in {"", "latest"}
    if not never and not short:
        return
    yield Fault(
        cause="package-index-wrong",
        severity=Severity.ERROR if never else Severity.WARNING,
        place=image.base_place,
        title=f"nvidia/cuda has no tag `{base.tag or 'latest'}`: the build ends in `manifest unknown`"
        if never
        else f"nvidia/cuda:{base.tag} is not named in full; such tags were removed",
        evidence=[Evidence(f"FROM {base.reference}", f"{image.base_place.path}:{image.base_place.line}")],
        remedies=[
            Remedy(
                action="Name release, part and distribution",
                commands=["FROM nvidia/cuda:12.6.3-runtime-ubuntu22.04"],
                shell="dockerfile",
            )
        ],
    )


@rule(causes=["driver-library-mismatch"])
def image_brings_no_driver(image: Image) -> Iterator[Fault]:
    """No NVIDIA driver is installed in the image.

    Why: the container toolkit mounts the host's driver libraries at the start; a driver of another version in the
    image is found beside them ("Failed to initialize NVML: Driver/library version mismatch"). The package `cuda`
    brings a driver as well.
    If not: leave the driver out; of CUDA take `cuda-toolkit-…` or the libraries alone.
    Source: NVIDIA Container Toolkit documentation, "Architecture overview"; CUDA Installation Guide for Linux, "Meta
    packages" (`cuda` and `cuda-drivers` bring the driver, `cuda-toolkit` does not).
    """
    for package in image.system_packages():
        if not re.fullmatch(
            r"nvidia-driver(?:-\d+.*)?|nvidia-(?:headless|dkms|kernel|utils)-.*|libnvidia-(?:compute|gl|decode|encode)-\d.*"
            r"|cuda-drivers.*|cuda|cuda-\d+-\d+|cuda-runtime-\d+-\d+|nvidia-open.*|libcuda1",
            package.name,
        ):
            continue
        yield Fault(
            cause="driver-library-mismatch",
            severity=Severity.WARNING,
            place=package.place,
            title=f"{package.written} puts an NVIDIA driver into the image; the host's is mounted at the start",
            evidence=[Evidence(package.written, f"{package.place.path}:{package.place.line}")],
            remedies=[Remedy(action="Leave it out; for nvcc and headers install cuda-toolkit-MAJOR-MINOR instead")],
        )


@rule(causes=["libcuda-stub-or-duplicate"])
def library_path_has_no_stubs(image: Image) -> Iterator[Fault]:
    """LD_LIBRARY_PATH of the image does not lead to CUDA's stub libraries.

    Why: `stubs/libcuda.so` is there to link against where no driver is; a program that opens `libcuda.so` at run time
    finds it first, and every call fails ("CUDA driver is a stub library"). Where it was linked to `libcuda.so.1` as
    well, every program does.
    If not: name that folder for the one command that links, not with ENV.
    Source: CUDA's documentation, error 34 cudaErrorStubLibrary.
    """
    variable = image.stage.environment.get("LD_LIBRARY_PATH")
    if variable is None or "/stubs" not in (variable.value or "") or not image.final:
        return
    if image.base.flavour in {"base", "runtime"}:
        # These images of nvidia/cuda have no folder of stubs.
        return
    linked = any("libcuda.so.1" in command.text and command.program == "ln" for _, command in image.commands())
    yield Fault(
        cause="libcuda-stub-or-duplicate",
        severity=Severity.ERROR if linked else Severity.WARNING,
        place=image.place_of("LD_LIBRARY_PATH"),
        title="LD_LIBRARY_PATH leads to CUDA's stub libraries: programs can load a driver that does nothing",
        evidence=[Evidence(f"LD_LIBRARY_PATH={variable.value}", f"{image.path}:{variable.line}")],
        remedies=[
            Remedy(
                action="Name the folder of stubs only where something is linked",
                commands=["RUN LIBRARY_PATH=/usr/local/cuda/lib64/stubs make"],
                shell="dockerfile",
            )
        ],
    )
