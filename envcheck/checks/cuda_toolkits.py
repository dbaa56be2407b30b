"""CUDA toolkits and compilers, for those who compile extensions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.check import check
from envcheck.checks.cuda import (
    has_gpu,
)
from envcheck.checks.nvidia_context import (
    cuda_of,
    label,
    working_gpus,
)
from envcheck.facts import (
    CudaToolkits,
    Facts,
    Framework,
    need,
)
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen


@check(area="cuda", causes=["toolkit-version-mismatch"])
def toolkit_matches_torch(toolkits: CudaToolkits, torch: Framework, facts: Facts) -> Iterator[Finding]:
    """The CUDA compiler that extensions would be built with is of PyTorch's CUDA major version.

    Why: torch.utils.cpp_extension refuses to build with a toolkit of another major version, and warns for another
    minor one. It takes CUDA_HOME, else the nvcc on PATH. PyTorch itself needs no toolkit to run.
    If not: point CUDA_HOME to a toolkit of that version, before building flash-attn, apex and the like.
    Source: torch/utils/cpp_extension.py, `_check_cuda_version`.
    """
    built = cuda_of(torch, facts)
    if built is None or not (working_gpus(facts) or has_gpu(facts)):
        return
    home = next((toolkit for toolkit in toolkits.toolkits or [] if toolkits.cuda_home == toolkit.path), None)
    version = (home.version if home and home.version else None) or toolkits.nvcc_version
    if not version or version.partition(".")[0] == built[0].partition(".")[0]:
        return
    fitting = [
        toolkit for toolkit in toolkits.toolkits or [] if toolkit.version.startswith(built[0].partition(".")[0] + ".")
    ]
    yield Finding(
        cause="toolkit-version-mismatch",
        severity=Severity.NOTE,
        confidence=Confidence.POSSIBLE,
        title=f"Extensions would be compiled with CUDA {version}, {label(torch)} was built with {built[0]}",
        evidence=[
            *seen(toolkits, "cuda_home", "nvcc_path", "nvcc_version"),
            Evidence(f"{label(torch)}: CUDA {built[0]}", built[1]),
        ],
        explains=["host-compiler-suits-the-toolkit"],
        remedies=[
            Remedy(
                action=f"Before compiling an extension, point to a toolkit of CUDA {built[0]}",
                commands=[f"export CUDA_HOME={fitting[0].path} PATH={fitting[0].path}/bin:$PATH"] if fitting else [],
                safe=bool(fitting),
                changes="which compiler builds extensions in this shell",
            )
        ],
    )


@check(area="cuda", causes=["host-compiler-unsupported"])
def host_compiler_suits_the_toolkit(toolkits: CudaToolkits, facts: Facts) -> Iterator[Finding]:
    """The gcc on PATH is one that the CUDA compiler accepts.

    Why: nvcc refuses a gcc that is newer than it knows: "unsupported GNU version". It matters only where extensions
    are compiled.
    If not: name an older g++ with -ccbin, CUDAHOSTCXX or CC and CXX, or use a newer toolkit.
    Source: CUDA Installation Guide for Linux, host compiler support; table host_compiler.
    """
    version = toolkits.nvcc_version
    found = re.match(r"gcc (\d+)", need(toolkits.host_compiler, "toolkits.host_compiler"))
    if not version or not found or not has_gpu(facts):
        return
    from envcheck.compat import host_compiler

    row = host_compiler.host_compiler(version)
    if row is None or int(found[1]) <= row.gcc_max:
        return
    yield Finding(
        cause="host-compiler-unsupported",
        severity=Severity.NOTE,
        confidence=Confidence.LIKELY,
        title=f"nvcc {version} accepts gcc up to {row.gcc_max}; PATH has {toolkits.host_compiler}",
        evidence=seen(toolkits, "nvcc_version", "host_compiler"),
        remedies=[
            Remedy(
                action="Before compiling an extension, name a compiler that nvcc accepts",
                commands=[
                    f"export CC=gcc-{row.gcc_max} CXX=g++-{row.gcc_max} NVCC_PREPEND_FLAGS='-ccbin g++-{row.gcc_max}'"
                ],
                safe=True,
                changes="which compiler builds extensions in this shell",
            )
        ],
    )
