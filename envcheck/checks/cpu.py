"""Does the processor fit what is installed, and the number of threads the cores?"""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.facts import Cpu, Framework, OtherAccelerators, Platform, Python, Variables, need
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)
"""Variables that set how many threads one operation, or one pool, uses."""

X86 = {"x86_64", "AMD64", "amd64"}


@check(area="cpu", causes=["thread-oversubscription"])
def thread_settings_fit_the_cores(cpu: Cpu, variables: Variables) -> Iterator[Finding]:
    """No variable asks for more threads than there are cores that this process may use.

    Why: threads beyond the cores wait for each other at every operation; a small network then trains several times
    slower than with one thread.
    If not: set the variable to the number of cores, or unset it.
    Source: measured: on two busy cores, two threads trained the reference network 5 to 15 times slower than one.
    """
    allowed = need(cpu.allowed_cores, "cpu.allowed_cores")
    values = need(variables.values, "variables.values")
    # OpenMP takes a list, one number a nesting level; the first one counts.
    asked = {name: values[name].split(",")[0].strip() for name in THREAD_VARIABLES if name in values}
    over = {name: int(text) for name, text in asked.items() if text.isdigit() and int(text) > allowed}
    if not over:
        return
    name = max(over, key=lambda name: over[name])
    yield Finding(
        cause="thread-oversubscription",
        severity=Severity.WARNING,
        title=f"{name} asks for {over[name]} threads where {allowed} {_cores(allowed)} may be used",
        evidence=[
            *[Evidence(f"{name}={values[name]}", variables.sources.get("values", "")) for name in over],
            *seen(cpu, "allowed_cores", "affinity_cores", "quota_cores"),
        ],
        explains=["thread-pools-see-the-cpu-limit"],
        remedies=[
            Remedy(
                action="Set it to the number of cores",
                commands=[f"export {name}={allowed}" for name in over],
                changes="this shell and what it starts",
            )
        ],
    )


@check(area="cpu", causes=["thread-oversubscription"])
def thread_pools_see_the_cpu_limit(
    cpu: Cpu, variables: Variables | None = None, torch: Framework | None = None, tensorflow: Framework | None = None
) -> Iterator[Finding]:
    """Where a container or job limits CPU time, thread pools are told so.

    Why: frameworks start a thread for each core that they see, and a quota (docker --cpus, Kubernetes limits) hides
    none of them: on a 64-core node with a quota of 2 cores, 64 threads share the time of two and are stopped in turn.
    If not: set OMP_NUM_THREADS (and TF_NUM_INTRAOP_THREADS) to the quota.
    Source: Linux kernel documentation, "CFS Bandwidth Control"; OpenMP and std::thread count the affinity mask.
    """
    quota = need(cpu.quota_cores, "cpu.quota_cores")
    allowed = need(cpu.allowed_cores, "cpu.allowed_cores")
    seen_cores = cpu.affinity_cores or cpu.logical_cores
    values = (variables.values or {}) if variables else {}
    if not quota or not seen_cores or seen_cores < 2 * allowed or "OMP_NUM_THREADS" in values:
        return
    known = [framework.threads for framework in (torch, tensorflow) if framework and framework.threads]
    if known and max(known) <= allowed:
        return
    yield Finding(
        cause="thread-oversubscription",
        severity=Severity.WARNING,
        confidence=Confidence.CERTAIN if known else Confidence.LIKELY,
        title=f"Frameworks start {max(known, default=seen_cores)} threads where the CPU limit leaves {quota:g} cores",
        evidence=[
            *seen(cpu, "quota_cores", "affinity_cores", "logical_cores"),
            *[Evidence(f"torch would use {torch.threads} threads") for _ in [0] if torch and torch.threads],
        ],
        remedies=[
            Remedy(
                action="Tell the thread pools",
                commands=[f"export OMP_NUM_THREADS={allowed}", f"export TF_NUM_INTRAOP_THREADS={allowed}"],
                changes="this shell and what it starts",
            )
        ],
    )


@check(area="cpu", causes=["cpu-instructions-missing"])
def cpu_has_the_instructions(
    cpu: Cpu,
    platform: Platform | None = None,
    torch: Framework | None = None,
    tensorflow: Framework | None = None,
) -> Iterator[Finding]:
    """The processor has the instruction sets that the installed frameworks use without asking.

    Why: published builds of TensorFlow for x86 need AVX since 1.6; on a processor without it (old, Atom-class, or a
    virtual machine that hides it) the import ends with "Illegal instruction".
    If not: let the virtual machine pass the processor through, or install a build for older processors.
    Source: the table of CPU instructions; TensorFlow's release notes, 1.6.
    """
    if platform and platform.machine is not None and platform.machine not in X86:
        return
    instructions = cpu.instructions
    if instructions is None or not (torch or tensorflow):
        return
    from envcheck.compat import abi

    for name, framework in (("tensorflow", tensorflow), ("torch", torch)):
        version = framework and (framework.version or framework.metadata_version)
        # A package that imports has what it needs: conda and others build for older processors.
        if not framework or not version or framework.state == "ok":
            continue
        missing = [row for row in abi.cpu_needs(name, version) if row.needs.lower() not in instructions]
        if not missing:
            continue
        sure = framework.state == "crash" and framework.signal in {None, "SIGILL"}
        hidden = platform is not None and bool(platform.virtual_machine)
        remedies = [Remedy(action=f"Install a build of {name} that was made for processors without {missing[0].needs}")]
        if hidden:
            remedies.insert(
                0,
                Remedy(
                    action="Let the virtual machine see the host's processor (libvirt: mode host-passthrough; Proxmox: "
                    "type host), then start it again",
                    changes="the virtual machine's configuration, on its host",
                ),
            )
        yield Finding(
            cause="cpu-instructions-missing",
            severity=Severity.ERROR,
            confidence=Confidence.CERTAIN if sure else Confidence.LIKELY,
            title=f"This processor has no {missing[0].needs}, which {name} {version} uses",
            evidence=[
                *seen(cpu, "model"),
                Evidence(
                    f"instructions: no {missing[0].needs.lower()} among {len(instructions)}",
                    cpu.sources.get("instructions", ""),
                ),
                Evidence(f"{name} {missing[0].versions} needs {missing[0].needs}", missing[0].source),
                *seen(framework, "signal"),
            ],
            explains=[f"{name}-imports", "keras-imports", "no-program-used-a-missing-instruction"],
            remedies=remedies,
        )


@check(area="cpu", causes=["cpu-arch-emulated", "container-wrong-platform"])
def architecture_is_native(
    platform: Platform | None = None,
    python: Python | None = None,
    accelerators: OtherAccelerators | None = None,
) -> Iterator[Finding]:
    """Programs are made for the processor that runs them.

    Why: under Rosetta or qemu every instruction is translated: training is many times slower, AVX is missing (so that
    TensorFlow for x86 ends with "Illegal instruction"), and the GPU of a Mac is out of reach.
    If not: use an interpreter, or a container image, for this processor.
    Source: Apple's documentation, "About the Rosetta translation environment"; Docker's, "Multi-platform builds".
    """
    platform = platform or Platform()
    chip = accelerators.apple_chip if accelerators else None
    mac_on_intel_python = bool(chip) and python is not None and python.machine == "x86_64"
    if not platform.emulation and not mac_on_intel_python:
        return
    translator = platform.emulation or "rosetta"
    container = bool(platform.container)
    native = "arm64" if translator == "rosetta" or platform.machine in X86 else "amd64"
    if container:
        remedies = [
            Remedy(
                action="Start the container from an image for this processor",
                commands=[f"docker run --platform linux/{native} …"],
                changes="the image that is used",
            )
        ]
    elif platform.system == "Darwin" or translator == "rosetta":
        remedies = [
            Remedy(
                action="Make an environment with an interpreter for Apple silicon",
                commands=["uv venv --python cpython-3.12-macos-aarch64 .venv-arm64"],
                changes="nothing but the new folder .venv-arm64",
            ),
            Remedy(
                action="Or with conda, in an edition for Apple silicon or with its channel folder",
                commands=["CONDA_SUBDIR=osx-arm64 conda create -n native python=3.12"],
                changes="nothing but a new conda environment",
            ),
        ]
    else:
        remedies = [Remedy(action=f"Install an interpreter for {native}")]
    yield Finding(
        cause="container-wrong-platform" if container else "cpu-arch-emulated",
        severity=Severity.WARNING,
        title=f"This {'container' if container else 'Python'} is for another processor and runs under {translator}",
        evidence=[
            *seen(platform, "machine", "emulation"),
            *(seen(python, "machine", "executable") if python else []),
            *(seen(accelerators, "apple_chip") if accelerators and chip else []),
        ],
        explains=["cpu-has-the-instructions", "*-imports", "*-sees-gpu"],
        remedies=remedies,
    )


@check(area="cpu", causes=["platform-unsupported"])
def interpreter_is_64_bit(python: Python, platform: Platform | None = None) -> Iterator[Finding]:
    """The interpreter is a 64-bit program.

    Why: neither PyTorch nor TensorFlow publishes wheels for 32-bit interpreters; pip says "No matching distribution
    found".
    If not: install the 64-bit edition of Python, and make the environment from it.
    Source: the files of torch and tensorflow on the Python package index.
    """
    if need(python.bits, "python.bits") != 32:  # noqa: PLR2004
        return
    windows = platform is not None and platform.system == "Windows"
    yield Finding(
        cause="platform-unsupported",
        severity=Severity.WARNING,
        title="This Python is a 32-bit program, for which no framework is published",
        evidence=seen(python, "bits", "version", "executable", "platform_tag"),
        explains=["*-imports"],
        remedies=[
            Remedy(
                action="Install the 64-bit edition of Python and make the environment from it",
                commands=["py -3.12-64 -m venv .venv"] if windows else [],
                changes="nothing but a new environment",
                shell="powershell" if windows else "sh",
            )
        ],
    )


def _cores(count: int) -> str:
    return "core" if count == 1 else "cores"
