"""The Windows Subsystem for Linux: its version, and whose driver is used in it."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.facts import Framework, NvidiaDriver, Nvml, Platform, need
from envcheck.intent import GPU_NAMES, Intent, requires
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

WSL_LIBRARIES = "/usr/lib/wsl"

CONSEQUENCES = [
    "driver-*",
    "device-nodes-*",
    "nvml-*",
    "nvidia-smi-*",
    "gpus-on-bus-*",
    "required-gpu-*",
    "framework-build-*",
    "*-sees-gpu",
]


@check(area="wsl", causes=["wsl-version-too-old"])
def wsl_can_reach_a_gpu(
    platform: Platform,
    driver: NvidiaDriver | None = None,
    torch: Framework | None = None,
    tensorflow: Framework | None = None,
    intent: Intent | None = None,
) -> Iterator[Finding]:
    """Where a GPU is wanted inside WSL, it is version 2, with a kernel that passes GPUs through.

    Why: WSL 1 translates system calls and has no GPU; WSL 2 has one since kernel 5.10.16, which makes /dev/dxg.
    If not: convert the distribution to version 2, and update WSL, in Windows.
    Source: Microsoft's documentation, "GPU acceleration in WSL"; NVIDIA's, "CUDA on WSL User Guide".
    """
    wanted = requires(intent or Intent(), GPU_NAMES)
    builds = [framework for framework in (torch, tensorflow) if framework and framework.accelerator == "cuda"]
    if not platform.wsl or not (wanted or builds):
        return
    nodes = driver.device_nodes if driver else None
    if platform.wsl == 1:
        title = "This is WSL 1, which has no GPU"
        remedies = [
            Remedy(
                action="Convert the distribution to version 2, in PowerShell on Windows",
                commands=["wsl --list --verbose", "wsl --set-version DISTRIBUTION 2"],
                shell="powershell",
                changes="the distribution's disk, which is converted (minutes)",
            )
        ]
    elif nodes is not None and not any(node.path == "/dev/dxg" for node in nodes) and not platform.container:
        title = "WSL does not pass a GPU through: /dev/dxg is missing"
        remedies = [
            Remedy(
                action="Update WSL and its kernel, in PowerShell on Windows",
                commands=["wsl --update", "wsl --shutdown"],
                shell="powershell",
                changes="WSL's kernel; running distributions end",
            )
        ]
    else:
        return
    yield Finding(
        cause="wsl-version-too-old",
        severity=Severity.ERROR if wanted else Severity.WARNING,
        confidence=Confidence.CERTAIN if platform.wsl == 1 else Confidence.LIKELY,
        required=wanted,
        title=title,
        evidence=[*seen(platform, "wsl", "kernel_release"), *(seen(driver, "device_nodes") if driver else [])],
        explains=CONSEQUENCES,
        remedies=remedies,
        links=["https://learn.microsoft.com/windows/wsl/install"],
    )


@check(area="wsl", causes=["wsl-driver-misinstalled"])
def wsl_uses_the_windows_driver(
    platform: Platform, driver: NvidiaDriver, nvml: Nvml | None = None, intent: Intent | None = None
) -> Iterator[Finding]:
    """Inside WSL, the driver is the one of Windows, and no Linux driver lies over it.

    Why: WSL brings libcuda from the Windows driver in /usr/lib/wsl/lib; a Linux driver installed in the distribution
    puts another libcuda before it, which finds no kernel module.
    If not: remove the Linux driver's packages in the distribution; install or update the driver on Windows only.
    Source: NVIDIA's "CUDA on WSL User Guide": no Linux display driver may be installed in WSL.
    """
    if need(platform.wsl, "platform.wsl") != 2 or platform.container:  # noqa: PLR2004
        return
    works = nvml is not None and nvml.state == "ok"
    libraries = [
        library for library in driver.libraries or [] if library.name.startswith(("libcuda.", "libnvidia-ml."))
    ]
    foreign = [library for library in libraries if not library.path.startswith(WSL_LIBRARIES)]
    first_is_foreign = bool(libraries) and libraries[0] in foreign
    if (first_is_foreign or driver.packages_version) and foreign:
        yield Finding(
            cause="wsl-driver-misinstalled",
            severity=Severity.WARNING if works else Severity.ERROR,
            confidence=Confidence.LIKELY if works else Confidence.CERTAIN,
            title="A Linux NVIDIA driver is installed inside WSL and hides the one of Windows",
            evidence=[
                *[Evidence(f"{library.name} is found at {library.path}", "loader") for library in foreign],
                *seen(driver, "packages_version"),
                *seen(platform, "kernel_release"),
            ],
            explains=CONSEQUENCES,
            remedies=_remove_linux_driver(platform),
            links=["https://docs.nvidia.com/cuda/wsl-user-guide/index.html"],
        )
        return
    has_device = any(node.path == "/dev/dxg" for node in driver.device_nodes or [])
    if requires(intent or Intent(), GPU_NAMES) and has_device and driver.libraries == []:
        yield Finding(
            cause="wsl-driver-misinstalled",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY,
            required=True,
            title="Windows has no NVIDIA driver that WSL could use: no libcuda in /usr/lib/wsl/lib",
            evidence=seen(driver, "device_nodes", "libraries"),
            explains=CONSEQUENCES,
            remedies=[
                Remedy(
                    action="Install or update NVIDIA's driver on Windows, then restart WSL in PowerShell",
                    commands=["wsl --shutdown"],
                    shell="powershell",
                    changes="nothing that lasts; running distributions end",
                )
            ],
            links=["https://docs.nvidia.com/cuda/wsl-user-guide/index.html"],
        )


def _remove_linux_driver(platform: Platform) -> list[Remedy]:
    apt = platform.distribution in {"ubuntu", "debian", "kali", "pop", "linuxmint"}
    return [
        Remedy(
            action="Remove the Linux driver's packages inside WSL (not the CUDA toolkit), then restart WSL",
            commands=["sudo apt-get purge 'nvidia-driver-*' 'libnvidia-compute-*' 'cuda-drivers*'", "sudo ldconfig"]
            if apt
            else [],
            changes="packages of the distribution; the Windows driver stays",
        ),
        Remedy(
            action="Restart WSL, in PowerShell on Windows",
            commands=["wsl --shutdown"],
            shell="powershell",
            changes="nothing that lasts; running distributions end",
        ),
    ]
