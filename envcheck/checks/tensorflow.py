"""TensorFlow beside its companions, NumPy, protobuf and the CUDA libraries, and whether it computes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck import cures
from envcheck.check import check
from envcheck.checks.packages import TWINS, Conflict, conflicts_of
from envcheck.checks.torch import COMPUTE_CAUSES, computed
from envcheck.facts import Facts, Framework, Nvml, Package, Packages, Python, need
from envcheck.report import Confidence, Evidence, Finding, Severity

DISTRIBUTIONS = ("tensorflow", *TWINS["tensorflow"])


def installed_tensorflow(packages: Packages) -> Package | None:
    """Return the distribution that provides TensorFlow; None where there is none."""
    by_name = {package.name: package for package in packages.installed or []}
    return next((by_name[name] for name in DISTRIBUTIONS if name in by_name), None)


@check(area="tensorflow", causes=["framework-companion-mismatch"])
def tensorflow_companions_match(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """tensorflow-text and tf-keras are of the same series as TensorFlow.

    Why: tensorflow-text is compiled against one series of TensorFlow, and tf-keras (Keras 2) uses its internals.
    If not: "undefined symbol" when it is imported, or an attribute that is missing.
    Source: Requires-Dist of tensorflow-text and tf-keras; table `tensorflow`.
    """
    need(packages.installed, "packages.installed")
    tensorflow = installed_tensorflow(packages)
    if tensorflow is None or not {package.name for package in packages.installed or []} & {
        "tensorflow-text",
        "tf-keras",
    }:
        return
    from envcheck.compat import tensorflow as releases

    belonging = releases.companions(tensorflow.version)
    for name, field in (("tensorflow-text", "tensorflow_text"), ("tf-keras", "tf_keras")):
        version = cures.version_of(packages, name)
        if version is None or releases.companion_fits(name, version, tensorflow.version) is not False:
            continue
        right = getattr(belonging, field) if belonging is not None else None
        series = ".".join(tensorflow.version.split(".")[:2])
        yield Finding(
            cause="framework-companion-mismatch",
            severity=Severity.WARNING,
            title=f"{name} {version} is not of the series of {tensorflow.name} {tensorflow.version}",
            evidence=[
                Evidence(f"{name} {version}", "metadata"),
                Evidence(f"{tensorflow.name} {tensorflow.version}", tensorflow.location or "metadata"),
            ],
            remedies=[
                cures.install(
                    python,
                    [f"{name}=={right}" if right else f"{name}=={series}.*"],
                    f"Install the {name} of TensorFlow {series}",
                    packages=packages,
                )
            ],
        )


def _conflicts(packages: Packages, required: str) -> list[Conflict]:
    need(packages.installed, "packages.installed")
    return [
        conflict
        for conflict in conflicts_of(packages, DISTRIBUTIONS)
        if conflict.required == required and conflict.present
    ]


@check(area="tensorflow", causes=["numpy-abi-mismatch", "dependency-conflict"])
def tensorflow_fits_numpy(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """The installed NumPy is one that TensorFlow accepts.

    Why: TensorFlow up to 2.17 was built with NumPy 1 and cannot be imported with NumPy 2.
    If not: "A module that was compiled using NumPy 1.x cannot be run in NumPy 2", "numpy.dtype size changed".
    Source: Requires-Dist of the installed TensorFlow.
    """
    for conflict in _conflicts(packages, "numpy"):
        asked = re.search(r"<\s*2(?:\.0)*(?![\d.]*[1-9])", conflict.requirement)
        other_major = bool(asked) and not conflict.present.startswith(("0.", "1."))
        yield Finding(
            cause="numpy-abi-mismatch" if other_major else "dependency-conflict",
            severity=Severity.WARNING,
            title=f"{conflict.package} {conflict.version} needs {conflict.requirement}, installed is NumPy "
            f"{conflict.present}",
            evidence=[Evidence(f"Requires-Dist: {conflict.requirement}", f"metadata of {conflict.package}")],
            remedies=[
                cures.install(
                    python, [conflict.requirement], "Install the NumPy that TensorFlow asks for", packages=packages
                )
            ],
            explains=["tensorflow-imports"] if other_major else [],
        )


@check(area="tensorflow", causes=["protobuf-mismatch"])
def tensorflow_fits_protobuf(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """The installed protobuf is one that TensorFlow accepts.

    Why: TensorFlow holds code that one release of protobuf generated; a runtime that is older, or too new, refuses it.
    If not: "Descriptors cannot be created directly", "Detected incompatible Protobuf Gencode/Runtime versions".
    Source: Requires-Dist of the installed TensorFlow; table `abi`, part protobuf.
    """
    for conflict in _conflicts(packages, "protobuf"):
        yield Finding(
            cause="protobuf-mismatch",
            severity=Severity.WARNING,
            title=f"{conflict.package} {conflict.version} needs {conflict.requirement}, installed is protobuf "
            f"{conflict.present}",
            evidence=[Evidence(f"Requires-Dist: {conflict.requirement}", f"metadata of {conflict.package}")],
            remedies=[
                cures.install(
                    python, [conflict.requirement], "Install the protobuf that TensorFlow asks for", packages=packages
                )
            ],
            explains=["tensorflow-imports"],
        )


MISSING_LIBRARY = re.compile(r"Could not load dynamic library '(?P<library>[^'\n]{1,80})'")


@check(area="tensorflow", causes=["cuda-libraries-missing", "missing-system-library"])
def tensorflow_finds_cuda_libraries(tensorflow: Framework, nvml: Nvml, facts: Facts) -> Iterator[Finding]:
    """TensorFlow finds the CUDA libraries that it loads when it starts a GPU.

    Why: TensorFlow's wheels hold no CUDA; its libraries come with `tensorflow[and-cuda]` or from the system.
    If not: TensorFlow says "Cannot dlopen some GPU libraries" and goes on without the GPU.
    Source: tensorflow/core/common_runtime/gpu/gpu_device.cc; TensorFlow documentation, "Install TensorFlow with pip".
    """
    if tensorflow.accelerator == "cpu" or tensorflow.sees_gpu is not False or not nvml.gpus:
        return
    text = f"{tensorflow.gpu_error or ''}\n{tensorflow.stderr or ''}"
    libraries = list(dict.fromkeys(match["library"] for match in MISSING_LIBRARY.finditer(text)))
    if not libraries and "Cannot dlopen some GPU libraries" not in text:
        return
    version = tensorflow.version or tensorflow.metadata_version
    requirement = f"tensorflow[and-cuda]=={version}" if version else "tensorflow[and-cuda]"
    yield Finding(
        cause="cuda-libraries-missing",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN if libraries else Confidence.LIKELY,
        title=f"TensorFlow does not find {', '.join(libraries) or 'the CUDA libraries'} and leaves the GPU out",
        evidence=[Evidence(line, "import tensorflow") for line in (tensorflow.gpu_error or "").splitlines()[:4]],
        remedies=[
            cures.install(
                facts.python,
                [requirement],
                "Install TensorFlow with the CUDA libraries of this release",
                packages=facts.packages,
            )
        ],
        explains=["tensorflow-sees-gpu"],
        links=["https://www.tensorflow.org/install/pip"],
    )


@check(area="tensorflow", causes=COMPUTE_CAUSES)
def tensorflow_computes(tensorflow: Framework, facts: Facts) -> Iterator[Finding]:
    """TensorFlow multiplies two small matrices on every device that it sees, and the numbers are right.

    Why: a device that is listed need not work: the build may lack code for it, its memory may be taken, a library may
    be of another version.
    If not: training fails at its first step, or learns nothing.
    Source: computed in the interpreter under test, compared with the exact product.
    """
    yield from computed("tensorflow", tensorflow, facts)
