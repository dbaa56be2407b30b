"""PyTorch beside its companions and NumPy, and whether it computes."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck import cures, import_errors
from envcheck.check import check
from envcheck.checks.packages import conflicts_of
from envcheck.facts import Facts, Framework, Package, Packages, Platform, Python, need
from envcheck.report import Confidence, Evidence, Finding, Severity, seen

COMPANIONS = ("torchvision", "torchaudio", "torchtext")


@check(area="torch", causes=["framework-companion-mismatch"])
def torch_companions_match(packages: Packages, python: Python | None, platform: Platform | None) -> Iterator[Finding]:
    """torchvision, torchaudio and torchtext belong to the installed release and build of PyTorch.

    Why: they are compiled against one release of PyTorch, for one accelerator. Those of another release, or from
    another index (`+cpu` beside a CUDA build), do not find the operators that they register.
    If not: "operator torchvision::nms does not exist", "undefined symbol", or CUDA versions that differ.
    Source: Requires-Dist of the companions; table `torch` (columns torchvision, torchaudio, torchtext).
    """
    installed = {package.name: package for package in need(packages.installed, "packages.installed")}
    torch = installed.get("torch") or installed.get("pytorch")
    if torch is None or not installed.keys() & set(COMPANIONS):
        return
    from envcheck.compat import torch as releases
    from envcheck.compat.versions import public

    belonging = releases.companions(torch.version)
    conflicts = conflicts_of(packages, COMPANIONS)
    refused = {conflict.package: conflict for conflict in conflicts if conflict.required == "torch"}
    wrong: list[tuple[Package, str]] = []
    for name in COMPANIONS:
        companion = installed.get(name)
        if companion is None:
            continue
        right = getattr(belonging, name) if belonging is not None else None
        other = releases.release_with_companion(name, companion.version)
        if name in refused:
            wrong.append((companion, f"{name} {companion.version} needs {refused[name].requirement}"))
        elif other is not None and right is not None and public(right) != public(companion.version):
            wrong.append((companion, f"{name} {companion.version} belongs to torch {other.version}"))
        elif name == "torchvision" and (differ := _other_accelerator(torch, companion, platform)):
            wrong.append((companion, differ))
    if not wrong:
        return
    known = {name: getattr(belonging, name) if belonging is not None else None for name in COMPANIONS}
    index = cures.torch_index(torch.version)
    requirements = [f"torch=={torch.version}"] + [
        f"{companion.name}=={known[companion.name]}" if known[companion.name] else companion.name
        for companion, _ in wrong
    ]
    yield Finding(
        cause="framework-companion-mismatch",
        severity=Severity.WARNING,
        title=f"{wrong[0][1]}, installed is torch {torch.version}",
        evidence=[Evidence(reason, companion.location or "metadata") for companion, reason in wrong]
        + [Evidence(f"torch {torch.version}", torch.location or "metadata")],
        remedies=[
            cures.install(
                python,
                requirements,
                "Install the companions of this release, from the same index",
                index=index,
                packages=packages,
            )
        ],
        links=["https://pytorch.org/get-started/previous-versions/"],
    )


def _other_accelerator(torch: Package, companion: Package, platform: Platform | None) -> str:
    """Return what is said of two builds for different accelerators; empty where they are for the same, or unknown."""
    if "conda" in {torch.installer, companion.installer}:
        return ""
    ours, theirs = _accelerator(torch, platform), _accelerator(companion, platform)
    if not ours or not theirs or ours == theirs:
        return ""
    return f"{companion.name} {companion.version} is built for {theirs}, torch for {ours}"


def _accelerator(package: Package, platform: Platform | None) -> str:
    """Return `cpu`, `cu126`, `rocm6.4`: the local part, else what the default index has; empty where unknown."""
    from envcheck.compat import torch as releases
    from envcheck.compat.versions import parse

    version = parse(package.version)
    if version is not None and version.local:
        return version.local
    release = (
        releases.release(package.version)
        if package.name == "torch"
        else releases.release_with_companion(package.name, package.version)
    )
    if platform is None or release is None:
        return ""
    if platform.system == "Linux" and platform.machine == "x86_64":
        return f"cu{release.cuda_default.replace('.', '')}"
    return "cpu" if platform.system == "Windows" else ""


@check(area="torch", causes=["numpy-abi-mismatch"])
def torch_fits_numpy(
    packages: Packages | None, torch: Framework, platform: Platform | None, python: Python | None
) -> Iterator[Finding]:
    """The installed NumPy has the C interface that PyTorch was built for.

    Why: PyTorch up to 2.2 (on Windows up to 2.4.0) was built with NumPy 1 and cannot talk to NumPy 2.
    If not: PyTorch is imported, warns "Failed to initialize NumPy: _ARRAY_API not found", and `tensor.numpy()` and
    DataLoaders fail with "Numpy is not available".
    Source: table `torch`, part numpy_abi (read from the wheels); NumPy 2.0 release notes.
    """
    version = torch.version or torch.metadata_version
    numpy = torch.numpy or cures.version_of(packages, "numpy")
    told = [
        candidate
        for candidate in import_errors.candidates(f"{torch.error or ''}\n{torch.stderr or ''}")
        if candidate.cause == "numpy-abi-mismatch" and candidate.confidence is Confidence.CERTAIN
    ]
    if not told:
        if need(numpy, "the installed NumPy").startswith(("0.", "1.")):
            return
        from envcheck.compat import abi
        from envcheck.compat import torch as releases

        system = (platform.system or "linux") if platform else "linux"
        built = releases.numpy_major(need(version, "torch.version"), system)
        if abi.numpy_fits(str(built) if built else None, need(numpy, "the installed NumPy")) is not False:
            return
    yield Finding(
        cause="numpy-abi-mismatch",
        severity=Severity.WARNING,
        title=f"torch {version or '(version unknown)'} and NumPy {numpy or '(version unknown)'} do not fit: "
        + (told[0].meaning if told else "this torch was built for NumPy 1"),
        evidence=[Evidence(one.line, "import torch") for one in told]
        + seen(torch, "metadata_version", "version", "numpy"),
        remedies=[
            cures.install(python, ["numpy<2"], "Install NumPy 1", packages=packages),
            cures.install(
                python, ["torch>=2.4.1"], "Or install a PyTorch that was built for NumPy 2", packages=packages
            ),
        ],
        explains=["torch-imports"],
        links=["https://numpy.org/doc/stable/numpy_2_0_migration_guide.html"],
    )


COMPUTE_CAUSES = [
    "broken-install",
    "cuda-library-conflict",
    "driver-too-old",
    "gpu-arch-not-in-build",
    "gpu-hardware-fault",
    "gpu-in-use",
    "gpu-out-of-memory",
    "user-code",
]
"""Why a device that a framework sees may not compute."""


@check(area="torch", causes=COMPUTE_CAUSES)
def torch_computes(torch: Framework, facts: Facts) -> Iterator[Finding]:
    """PyTorch multiplies two small matrices on every device that it sees, and the numbers are right.

    Why: a device that is listed need not work: the build may lack code for it, its memory may be taken, a library may
    be of another version.
    If not: training fails at its first step, or learns nothing.
    Source: computed in the interpreter under test, compared with the exact product.
    """
    yield from computed("torch", torch, facts)


def computed(name: str, framework: Framework, facts: Facts) -> Iterator[Finding]:
    """Yield a finding for each device on which a framework did not compute, with the cause that its error names."""
    from envcheck.compat import cuda_errors

    for device in need(framework.devices, f"{name}.devices"):
        if device.computed is not False:
            continue
        named = [cause for row in cuda_errors.in_text(device.error) for cause in row.causes]
        told = [candidate.cause for candidate in import_errors.candidates(device.error)]
        cause = (named or told or ["broken-install"])[0]
        # Sixteen rows and columns fit on every card: where they do not, somebody else has its memory.
        cause = "gpu-in-use" if cause == "gpu-out-of-memory" and device.kind != "cpu" else cause
        wrong = not device.error.partition(":")[2] or "came out wrong" in device.error
        yield Finding(
            cause="gpu-hardware-fault" if wrong and device.kind != "cpu" else cause,
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY if named else Confidence.POSSIBLE,
            title=f"{name} does not compute on {device.name}: {device.error.splitlines()[0] if device.error else '?'}",
            evidence=[Evidence(device.error, f"{name}, a product of two matrices")],
            remedies=[cures.reinstall(facts.python, facts.packages, framework.distribution or name)]
            if device.kind == "cpu"
            else [],
        )
