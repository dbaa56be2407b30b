"""Whether each framework can be imported, and why not: what the error means, and what cures it on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from envcheck import cures, import_errors
from envcheck.check import check
from envcheck.facts import Facts, Framework, need
from envcheck.import_errors import Candidate
from envcheck.report import Evidence, Finding, Remedy, Severity

TITLES = {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras"}

CAUSES = [
    "broken-install",
    "cpu-arch-emulated",
    "cpu-instructions-missing",
    "cuda-libraries-missing",
    "cuda-library-conflict",
    "dependency-conflict",
    "disk-full",
    "driver-hung",
    "driver-missing",
    "framework-companion-mismatch",
    "framework-version-bug",
    "frameworks-clash",
    "glibc-too-old",
    "host-out-of-memory",
    "install-permission",
    "keras-2-3-mismatch",
    "libstdcxx-too-old",
    "missing-system-library",
    "numpy-abi-mismatch",
    "open-files-limit",
    "openmp-duplicate",
    "package-not-installed",
    "protobuf-mismatch",
    "python-version-unsupported",
    "rocm-mismatch",
    "shadowed-module",
    "slow-data-path",
    "thread-oversubscription",
    "user-code",
    "vc-redist-missing",
    "windows-long-path",
    "xpu-runtime-missing",
]
"""What the text of a failed import can speak for; see `envcheck.import_errors`."""


@check(area="imports", causes=CAUSES)
def torch_imports(torch: Framework, facts: Facts) -> Iterator[Finding]:
    """PyTorch can be imported.

    Why: a library that it loads is missing or of another version, a package that it needs does not fit, or its files
    are damaged. The text of the error decides which.
    If not: nothing that uses PyTorch runs in this environment.
    Source: the words of the loader, CPython, NumPy and protobuf, see `envcheck/import_errors.py`.
    """
    yield from judged("torch", torch, facts)


@check(area="imports", causes=CAUSES)
def tensorflow_imports(tensorflow: Framework, facts: Facts) -> Iterator[Finding]:
    """TensorFlow can be imported.

    Why: a library that it loads is missing or of another version, a package that it needs does not fit, its files are
    damaged, or the processor lacks instructions that the build uses. The text of the error decides which.
    If not: nothing that uses TensorFlow runs in this environment.
    Source: the words of the loader, CPython, NumPy and protobuf, see `envcheck/import_errors.py`.
    """
    yield from judged("tensorflow", tensorflow, facts)


@check(area="imports", causes=CAUSES)
def keras_imports(keras: Framework, facts: Facts) -> Iterator[Finding]:
    """Keras can be imported with the backend that it is told to use.

    Why: Keras 3 imports its backend (KERAS_BACKEND, else keras.json, else TensorFlow) when it is imported itself.
    If not: the backend is missing or broken, or two generations of Keras are mixed.
    Source: the Keras documentation, "Configuring your backend".
    """
    yield from judged("keras", keras, facts)


def judged(name: str, framework: Framework, facts: Facts) -> Iterator[Finding]:
    """Yield the finding of a failed import: its surest cause; the other candidates stand in its detail."""
    state = need(framework.state, f"{name}.state")
    if state == "not-imported":
        need(None, f"whether {name} can be imported (it was not tried)")
    if state == "ok":
        return
    found = import_errors.of_framework(framework)
    first = found[0]
    others = [f"{candidate.cause} ({candidate.meaning})" for candidate in found[1:3]]
    # On a live machine what was printed was printed by this import; in a paste it may come from anywhere.
    printed = ["no-message-*"] if facts.python is not None and facts.python.state == "ok" else []
    yield Finding(
        cause=first.cause,
        severity=Severity.ERROR,
        confidence=first.confidence,
        title=f"{_what_happened(name, framework)}: {first.meaning}",
        evidence=_evidence(name, framework, first),
        remedies=remedies(name, framework, first, facts),
        detail=f"It may also be {'; or '.join(others)}." if others else "",
        explains=[
            "required-framework-imports",
            "required-accelerator-computes",
            f"{name}-sees-gpu",
            f"{name}-computes",
            *(["keras-imports"] if name == "tensorflow" else []),
            *printed,
        ],
    )


DOING = {
    "build": "its look at its own libraries",
    "devices": "its look for devices",
    "compute": "a computation",
    "keras": "the import of Keras",
}
"""Stage → what the framework was doing; every other stage is its import."""


def _what_happened(name: str, framework: Framework) -> str:
    title = TITLES[name]
    doing = DOING.get(framework.stage or "", "its import")
    if framework.state == "crash":
        return f"{title} crashes in {doing} ({framework.signal or 'no signal known'})"
    if framework.state == "timeout":
        return f"{title} hangs in {doing}"
    if framework.state == "exit":
        return f"{title} ends the whole process in {doing} (exit status {framework.exit_code})"
    return f"{title} cannot be imported" if doing == "its import" else f"{title} fails in {doing}"


def _evidence(name: str, framework: Framework, first: Candidate) -> list[Evidence]:
    source = framework.sources.get("state", f"import {name}")
    evidence = []
    if framework.error_type or framework.error:
        lines = (framework.error or "").strip().splitlines()
        text = lines[0] if lines else ""
        evidence.append(Evidence(f"{framework.error_type or 'error'}: {text}"[:500], source))
    if first.line and not any(first.line in item.text for item in evidence):
        evidence.append(Evidence(first.line, source))
    frames = import_errors.last_frames(framework.stderr or "", 4)
    if framework.state in {"crash", "timeout"} and frames:
        evidence.append(Evidence(f"innermost frames: {frames}", "faulthandler"))
    if not evidence and framework.stderr:
        evidence.append(Evidence("\n".join(framework.stderr.strip().splitlines()[-3:])[:500], "standard error"))
    version = framework.version or framework.metadata_version
    if version:
        evidence.append(Evidence(f"{framework.distribution or name} {version}", "metadata"))
    return evidence


def remedies(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    """Return what cures a failed import on this machine, best first."""
    cure = CURES.get(candidate.cause, _install_again)
    return cure(name, framework, candidate, facts)


Cure = Callable[[str, Framework, Candidate, Facts], list[Remedy]]


def _distribution(name: str, framework: Framework, facts: Facts) -> str:
    """Return the distribution that provides a framework."""
    if framework.distribution:
        return framework.distribution
    for package in facts.packages.installed or [] if facts.packages else []:
        if package.name == name or package.name.startswith(f"{name}-cpu"):
            return package.name
    return name


def _install_again(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    del candidate
    return [cures.reinstall(facts.python, facts.packages, _distribution(name, framework, facts))]


def _cuda_libraries(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    """Install the wheel that brings the library, in the version that the framework's metadata asks for."""
    library = candidate.values.get("library", "").lower().removeprefix("lib").partition(".")[0].partition("64_")[0]
    family = next((part for part in CUDA_WHEELS if library.startswith(part)), library)
    word = CUDA_WHEELS.get(family, family)
    distribution = _distribution(name, framework, facts)
    for package in facts.packages.installed or [] if facts.packages else []:
        if package.name != distribution:
            continue
        asked = [line.partition(";")[0].strip() for line in package.requires if line.startswith("nvidia-")]
        fitting = [requirement for requirement in asked if f"-{word}" in requirement]
        if fitting:
            return [
                cures.install(
                    facts.python, fitting, "Install the wheel that brings the library", packages=facts.packages
                )
            ]
    if name == "tensorflow":
        version = framework.version or framework.metadata_version
        requirement = f"tensorflow[and-cuda]=={version}" if version else "tensorflow[and-cuda]"
        return [
            cures.install(
                facts.python,
                [requirement],
                "Install TensorFlow with the CUDA libraries that it was built for",
                packages=facts.packages,
            )
        ]
    return _install_again(name, framework, candidate, facts)


CUDA_WHEELS = {
    "cudnn": "cudnn",
    "cublas": "cublas",
    "cudart": "cuda-runtime",
    "cufft": "cufft",
    "cufile": "cufile",
    "curand": "curand",
    "cusolver": "cusolver",
    "cusparselt": "cusparselt",
    "cusparse": "cusparse",
    "nccl": "nccl",
    "nvjitlink": "nvjitlink",
    "nvrtc": "cuda-nvrtc",
    "nvshmem": "nvshmem",
    "nvtoolsext": "nvtx",
}
"""Library → the word in the name of NVIDIA's wheel for it. Source: Requires-Dist of torch, column nvidia_pins."""


def _library_conflict(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    path = (facts.variables.values or {}).get("LD_LIBRARY_PATH") if facts.variables else None
    first = [
        Remedy(
            action="Leave LD_LIBRARY_PATH out: the framework finds its own libraries by itself",
            commands=["unset LD_LIBRARY_PATH"],
            safe=True,
            changes="this shell alone",
        )
    ]
    return (first if path else []) + _install_again(name, framework, candidate, facts)


def _numpy(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    present = framework.numpy or cures.version_of(facts.packages, "numpy") or ""
    if "built for NumPy 1" in candidate.meaning or present.startswith("2"):
        return [
            cures.install(
                facts.python, ["numpy<2"], "Install the NumPy that the module was built for", packages=facts.packages
            ),
            cures.install(
                facts.python,
                [_distribution(name, framework, facts)],
                "Or install a release that was built for NumPy 2",
                options="--upgrade",
                packages=facts.packages,
            ),
        ]
    return [
        cures.install(facts.python, ["numpy"], "Install a newer NumPy", options="--upgrade", packages=facts.packages)
    ]


def _protobuf(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    del candidate
    distribution = _distribution(name, framework, facts)
    for package in facts.packages.installed or [] if facts.packages else []:
        asked = [line.partition(";")[0].strip() for line in package.requires if line.startswith("protobuf")]
        if package.name == distribution and asked:
            return [
                cures.install(
                    facts.python, asked, f"Install the protobuf that {distribution} asks for", packages=facts.packages
                )
            ]
    return [
        cures.install(
            facts.python,
            ["protobuf<=3.20.3"],
            "Install a protobuf that accepts the older code",
            packages=facts.packages,
        )
    ]


def _missing_package(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    del name, framework
    from envcheck.compat import packages as names

    module = candidate.values.get("module", "")
    row = names.distribution_of_import(module) if module else None
    wanted = row.distribution if row else module.partition(".")[0].replace("_", "-")
    return [cures.install(facts.python, [wanted], f"Install {wanted}", packages=facts.packages)] if wanted else []


def _rename(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    del framework, facts
    path = candidate.values.get("path", "")
    if not path.endswith(".py"):
        return [Remedy(action=f"Rename the file or folder of yours that has the name of a module which {name} imports")]
    folder, separator, own = path.rpartition("/")
    return [
        Remedy(
            action="Give your file another name",
            commands=[f"mv {cures.quoted(path)} {cures.quoted(f'{folder}{separator}my_{own}')}"],
            changes="your own file, and whatever imports it by its old name",
        )
    ]


SYSTEM_PACKAGES: dict[str, tuple[str, str]] = {
    "libGL.so": ("libgl1", "mesa-libGL"),
    "libEGL.so": ("libegl1", "mesa-libEGL"),
    "libgomp.so": ("libgomp1", "libgomp"),
    "libsndfile.so": ("libsndfile1", "libsndfile"),
    "libglib-2.0.so": ("libglib2.0-0", "glib2"),
    "libgthread-2.0.so": ("libglib2.0-0", "glib2"),
    "libSM.so": ("libsm6", "libSM"),
    "libXext.so": ("libxext6", "libXext"),
    "libXrender.so": ("libxrender1", "libXrender"),
    "libnuma.so": ("libnuma1", "numactl-libs"),
    "libopenblas.so": ("libopenblas0", "openblas"),
    "libgfortran.so": ("libgfortran5", "libgfortran"),
    "libstdc++.so": ("libstdc++6", "libstdc++"),
    "libatomic.so": ("libatomic1", "libatomic"),
    "libusb-1.0.so": ("libusb-1.0-0", "libusb1"),
    "libffi.so": ("libffi8", "libffi"),
}
"""Library → its package in Debian and Ubuntu, and in Fedora and RHEL. Source: the distributions' package contents."""


def _system_library(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    library = candidate.values.get("library", "")
    stem = library.partition(".so")[0] + ".so"
    packages = SYSTEM_PACKAGES.get(stem)
    identifier = (facts.platform.distribution or "") if facts.platform else ""
    if packages and identifier in {"debian", "ubuntu", "linuxmint", "pop", "raspbian"}:
        return [
            Remedy(
                action=f"Install the package that brings {library}",
                commands=["sudo apt-get update", f"sudo apt-get install {packages[0]}"],
                changes="packages of the system",
            )
        ]
    if packages and identifier in {"fedora", "rhel", "centos", "rocky", "almalinux", "amzn", "ol"}:
        return [
            Remedy(
                action=f"Install the package that brings {library}",
                commands=[f"sudo dnf install {packages[1]}"],
                changes="packages of the system",
            )
        ]
    if library.startswith("libcupti"):
        return _cuda_libraries(name, framework, candidate, facts)
    what = library or "the library"
    return [Remedy(action=f"Install the package of your system that brings {what}")]


def _libstdcxx(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    del name, framework
    from envcheck.compat import abi

    row = abi.gcc_of_symbol(candidate.values.get("symbol", ""))
    newer = f" (that of GCC {row.gcc} or newer)" if row else ""
    if facts.python and facts.python.environment_kind == "conda":
        program = facts.python.conda_program or "conda"
        prefix = cures.quoted(facts.python.prefix or "", facts.python)
        return [
            Remedy(
                action=f"Install a newer libstdc++{newer} into the environment",
                commands=[f"{program} install --prefix {prefix} -c conda-forge libstdcxx-ng"],
                changes=cures.CHANGES,
            )
        ]
    return [Remedy(action=f"Let a newer libstdc++{newer} be found first: see LD_LIBRARY_PATH, or use a newer system")]


def _older_release(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    """Name the newest release that runs on this system's C library and Python."""
    del framework, candidate
    build = newest_build(name, facts)
    if build is None:
        return [Remedy(action=f"Use a newer system, or a container, to run {TITLES[name]}")]
    requirement = f"{build[0]}=={build[1]}"
    return [
        cures.install(
            facts.python,
            [requirement],
            f"Install the newest release that runs here ({build[1]})",
            index=build[2],
            packages=facts.packages,
        ),
        Remedy(action="Or use a newer system, or a container"),
    ]


def newest_build(name: str, facts: Facts) -> tuple[str, str, str | None] | None:
    """Return distribution, version and index of the newest build that fits this machine; None where none is known."""
    if name not in {"torch", "tensorflow"} or facts.platform is None or facts.platform.system is None:
        return None
    from envcheck.checks.nvidia_context import target_of
    from envcheck.compat import tensorflow, torch

    target = target_of(facts)
    found = (torch if name == "torch" else tensorflow).builds(target)
    if not found:
        return None
    return found[0].package, found[0].version, found[0].index


def _vc_redist(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    return [
        Remedy(
            action="Install the newest Visual C++ Redistributable (x64), then start a new terminal",
            commands=["winget install --id Microsoft.VCRedist.2015+.x64"],
            changes="a runtime of the system",
            shell="powershell",
        ),
        *_install_again(name, framework, candidate, facts),
    ]


def _openmp(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    del name, framework, candidate
    return [
        Remedy(
            action="Let one installer bring all that uses OpenMP: make a new environment with conda alone or pip alone",
        ),
        Remedy(
            action="Until then, allow both (Intel calls it unsupported: results may be wrong)",
            commands=["export KMP_DUPLICATE_LIB_OK=TRUE"],
            safe=facts.python is not None,
            changes="this shell alone",
        ),
    ]


def _instructions(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    del framework, candidate, facts
    return [
        Remedy(
            action=f"Use a machine whose processor has AVX and AVX2, or a build of {TITLES[name]} made for this one"
        ),
        Remedy(action="In a virtual machine: let the guest see the host's processor (CPU type `host`)"),
    ]


def _advice(text: str) -> Cure:
    def cure(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
        del name, framework, candidate, facts
        return [Remedy(action=text)]

    return cure


def _upgrade(name: str, framework: Framework, candidate: Candidate, facts: Facts) -> list[Remedy]:
    module = candidate.values.get("module", "")
    distribution = "typing-extensions" if "typing_extensions" in candidate.line else module.partition(".")[0]
    wanted = distribution or _distribution(name, framework, facts)
    return [
        cures.install(
            facts.python,
            [wanted],
            f"Install a release of {wanted} that fits",
            options="--upgrade",
            packages=facts.packages,
        )
    ]


CURES: dict[str, Cure] = {
    "cuda-libraries-missing": _cuda_libraries,
    "cuda-library-conflict": _library_conflict,
    "numpy-abi-mismatch": _numpy,
    "protobuf-mismatch": _protobuf,
    "package-not-installed": _missing_package,
    "shadowed-module": _rename,
    "missing-system-library": _system_library,
    "libstdcxx-too-old": _libstdcxx,
    "glibc-too-old": _older_release,
    "python-version-unsupported": _older_release,
    "vc-redist-missing": _vc_redist,
    "openmp-duplicate": _openmp,
    "cpu-instructions-missing": _instructions,
    "dependency-conflict": _upgrade,
    "cpu-arch-emulated": _advice("Use an interpreter of the machine's own architecture, and install everything anew"),
    "disk-full": _advice("Make room on the disk (`df -h`, `df -i`), then import again"),
    "host-out-of-memory": _advice("Free memory or raise the limit, then import again (`free -h`)"),
    "open-files-limit": _advice("Raise the limit on open files: `ulimit -n 65536`"),
    "thread-oversubscription": _advice("Start fewer threads (OMP_NUM_THREADS), or raise `ulimit -u`"),
    "install-permission": _advice(
        "Make the file readable to this user, and its file system allow programs (no noexec)"
    ),
    "driver-missing": _advice("Install the NVIDIA driver, or a CPU build of the framework"),
    "driver-hung": _advice("See what `nvidia-smi` and the kernel log say; a driver that hangs needs a reboot"),
    "slow-data-path": _advice("Put the environment on a local disk: it lies on one that is too slow"),
    "windows-long-path": _advice("Allow long paths in Windows, or install into a folder with a shorter path"),
    "rocm-mismatch": _advice(
        "Install the ROCm version that the build is for, or a build for the ROCm that is installed"
    ),
    "xpu-runtime-missing": _advice("Install Intel's GPU driver and runtime (level-zero)"),
    "user-code": _advice(
        "Correct KERAS_BACKEND, or `backend` in ~/.keras/keras.json: tensorflow, torch, jax, openvino"
    ),
    "keras-2-3-mismatch": _advice("Bring Keras and TensorFlow to the same generation: Keras 3 with TensorFlow 2.16 on"),
}
"""Cause → what cures it; for every other cause the package is installed again."""
