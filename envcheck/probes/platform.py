"""The operating system and what it runs on."""

from __future__ import annotations

import re

from envcheck.facts import Platform
from envcheck.mounts import mount_of, mounts
from envcheck.probe import probe
from envcheck.system import System

SECURE_BOOT = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
"""The EFI global variable SecureBoot: four bytes of attributes, then 0 or 1 (UEFI specification, chapter 3)."""

INFINIBAND = "/sys/class/infiniband"

Known = dict[str, "tuple[object, str]"]
"""Field → its value and where it was read."""


@probe(fills=["platform"], deadline=3)
def platform(system: System) -> Platform:
    """Ask uname, os-release, the firmware's tables and the traces that containers and hypervisors leave."""
    uname = system.ask("uname") or {}
    kind = uname.get("system")
    known: Known = {
        "system": (kind, "uname -s"),
        "kernel_release": (uname.get("release"), "uname -r"),
        "kernel_version": (uname.get("version"), "uname -v"),
        "machine": (uname.get("machine"), "uname -m"),
        "user_id": (system.ask("user_id"), "getuid"),
        "user_groups": (system.ask("user_groups"), "getgroups"),
    }
    if kind == "Linux":
        known |= _linux(system, uname)
    elif kind == "Darwin":
        known |= _mac(system)
    elif kind == "Windows":
        known |= _windows(system)
    return Platform(
        **{field: value for field, (value, _) in known.items()},  # type: ignore[arg-type]
        sources={field: source for field, (_, source) in known.items() if source},
    )


def _linux(system: System, uname: dict[str, str]) -> Known:
    release = uname.get("release", "")
    container, container_source = container_kind(system)
    version, version_source = wsl_version(system, release)
    cpu = system.read("/proc/cpuinfo").text
    machine_kind, machine_source = virtual_machine(system, cpu, version)
    infiniband = system.entries(INFINIBAND)
    return {
        **_distribution(system),
        **_libc(system),
        "emulation": (emulation(uname.get("machine", ""), cpu), "uname -m, /proc/cpuinfo"),
        "wsl": (version, version_source),
        "virtual_machine": (machine_kind, machine_source),
        "secure_boot": (secure_boot(system, container), SECURE_BOOT),
        "container": (container, container_source),
        "init": (system.read("/proc/1/comm").text.strip() or None, "/proc/1/comm"),
        "infiniband_devices": (infiniband or [] if system.entries("/sys/class") is not None else None, INFINIBAND),
    }


def _distribution(system: System) -> Known:
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        reading = system.read(path)
        if reading.outcome == "ok":
            fields = dict(re.findall(r"^([A-Z_]+)=[\"']?(.*?)[\"']?$", reading.text, re.MULTILINE))
            return {
                "distribution": (fields.get("ID"), path),
                "distribution_version": (fields.get("VERSION_ID", ""), path),
                "distribution_name": (fields.get("PRETTY_NAME"), path),
            }
    return {}


def _libc(system: System) -> Known:
    name, version = (system.ask("libc") or ["", ""])[:2]
    if name == "glibc":
        return {"libc": ("glibc", "confstr"), "libc_version": (version or None, "confstr")}
    loaders = [entry for entry in system.entries("/lib") or [] if entry.startswith("ld-musl-")]
    if loaders or name == "musl":
        # musl tells its version only to who runs its loader, and nothing that envcheck judges needs it.
        return {"libc": ("musl", f"/lib/{loaders[0]}" if loaders else "interpreter"), "libc_version": (None, "")}
    return {}


def emulation(machine: str, cpu_information: str) -> str:
    """Return what translates the instructions of a Linux program; empty where its processor runs them.

    The kernel's /proc/cpuinfo describes the processor that is there: an x86 program that reads of an ARM processor
    is translated.  Rosetta for Linux shows itself as the vendor `VirtualApple`.
    """
    if "VirtualApple" in cpu_information:
        return "rosetta"
    is_arm = re.search(r"^CPU implementer\s*:", cpu_information, re.MULTILINE) is not None
    is_x86 = re.search(r"^vendor_id\s*:\s*(?:GenuineIntel|AuthenticAMD)", cpu_information, re.MULTILINE) is not None
    x86_program = machine in {"x86_64", "i386", "i686"}
    return "qemu" if (x86_program and is_arm) or (machine in {"aarch64", "armv7l"} and is_x86) else ""


def wsl_version(system: System, release: str) -> tuple[int, str]:
    """Return 0 outside the Windows Subsystem for Linux, else its version, and where that was read.

    Source: Microsoft's kernels: version 1 presents itself as `4.4.0-…-Microsoft`, version 2 as
    `…-microsoft-standard-WSL2`; a kernel that the user built may have any name, but has /dev/dxg or /usr/lib/wsl.
    """
    if re.match(r"\d+\.\d+\.\d+-\d+-Microsoft$", release):
        return 1, "uname -r"
    if "microsoft" in release.lower() or "wsl2" in release.lower():
        return 2, "uname -r"
    if system.getenv("WSL_DISTRO_NAME") and system.status("/usr/lib/wsl").kind == "folder":
        return 2, "/usr/lib/wsl"
    return 0, "uname -r"


HYPERVISORS = (
    ("amazon ec2", "amazon"),
    ("google compute engine", "google"),
    ("vmware", "vmware"),
    ("virtualbox", "virtualbox"),
    ("innotek", "virtualbox"),
    ("parallels", "parallels"),
    ("microsoft corporation virtual machine", "hyperv"),
    ("xen", "xen"),
    ("openstack", "openstack"),
    ("kvm", "kvm"),
    ("qemu", "kvm"),
    ("bochs", "bochs"),
    ("apple virtualization", "apple"),
)
"""Words in the firmware's vendor and product names → hypervisor, in the order of the test."""


def virtual_machine(system: System, cpu_information: str, wsl: int) -> tuple[str | None, str]:
    """Return the hypervisor, `unnamed` where one shows itself without a name, empty on bare metal; and the source."""
    if wsl == 2:  # noqa: PLR2004 - it runs on Hyper-V
        return "hyperv", "uname -r"
    folder = "/sys/class/dmi/id"
    named = " ".join(system.read(f"{folder}/{name}").text.strip() for name in ("sys_vendor", "product_name")).lower()
    found = next((name for word, name in HYPERVISORS if word in named), None)
    if found == "amazon" and ".metal" in named:
        found = None
    if found:
        return found, folder
    hypervisor = system.read("/sys/hypervisor/type").text.strip()
    if hypervisor:
        return hypervisor, "/sys/hypervisor/type"
    flags = re.search(r"^flags\s*:(.*)$", cpu_information, re.MULTILINE)
    if flags and " hypervisor " in flags[1] + " ":
        return "unnamed", "/proc/cpuinfo"
    # ARM processors have no such flag; the firmware's silence says something only where it speaks at all.
    return ("" if flags or named.strip() else None), "/proc/cpuinfo"


def secure_boot(system: System, container: str) -> bool | None:
    """Return whether the firmware enforces signatures; None where it cannot be read."""
    reading = system.read(SECURE_BOOT)
    if reading.outcome == "ok" and reading.text:
        return reading.text[-1] == "\x01"
    # Without EFI there is no Secure Boot; containers hide the firmware's folder.
    booted_without = not container and system.status("/sys/firmware").kind == "folder"
    return False if booted_without and system.status("/sys/firmware/efi").outcome == "absent" else None


CONTAINER_FILES = (
    ("/run/.containerenv", "podman"),
    ("/.singularity.d", "apptainer"),
    ("/.dockerenv", "docker"),
)
"""Files that a container engine leaves in every container of its."""

CONTAINER_GROUPS = (("/kubepods", "kubernetes"), ("/docker", "docker"), ("/libpod", "podman"), ("/lxc", "lxc"))
"""Part of the path of process 1's control group → container engine."""

ENGINES = {"podman", "docker", "lxc", "systemd-nspawn", "apptainer"}


def container_kind(system: System) -> tuple[str, str]:
    """Return which kind of container this is, empty outside, and where that was read."""
    if system.getenv("KUBERNETES_SERVICE_HOST"):
        return "kubernetes", "KUBERNETES_SERVICE_HOST"
    for path, kind in CONTAINER_FILES:
        if system.status(path).outcome == "ok":
            return kind, path
    # systemd and others tell process 1, and through it every program, what it runs in.
    said = system.getenv("container") or system.read("/run/systemd/container").text.strip()
    if said:
        kind = next((engine for engine in ENGINES if said.startswith(engine)), "other")
        return kind, "variable container" if system.getenv("container") else "/run/systemd/container"
    groups = system.read("/proc/1/cgroup").text
    for part, kind in CONTAINER_GROUPS:
        if part in groups:
            return kind, "/proc/1/cgroup"
    root = mount_of("/", mounts(system))
    first = system.read("/proc/1/comm").text.strip()
    if root and root.filesystem == "overlay" and first and first not in {"systemd", "init"}:
        return "other", "/proc/self/mountinfo"
    return "", "/proc/1/cgroup"


def _mac(system: System) -> Known:
    version = system.ask("macos_version") or None
    answer = system.run(["sysctl", "-i", "sysctl.proc_translated", "kern.hv_vmm_present"], 1.0)
    said = dict(re.findall(r"^([\w.]+): (\d+)$", answer.stdout, re.MULTILINE))
    asked = answer.outcome == "ok"
    translated = said.get("sysctl.proc_translated") == "1"
    return {
        "distribution": ("macos", "uname -s"),
        "distribution_version": (version, "SystemVersion.plist"),
        "distribution_name": (f"macOS {version}" if version else "macOS", "SystemVersion.plist"),
        "libc": ("", "uname -s"),
        "emulation": (("rosetta" if translated else "") if asked else None, "sysctl sysctl.proc_translated"),
        "wsl": (0, "uname -s"),
        "container": ("", "uname -s"),
        "virtual_machine": (
            ("apple" if said.get("kern.hv_vmm_present") == "1" else "") if asked else None,
            "sysctl kern.hv_vmm_present",
        ),
    }


def _windows(system: System) -> Known:
    release, version = (system.ask("windows_version") or ["", ""])[:2]
    return {
        "distribution": ("windows", "operating system"),
        "distribution_version": (version or None, "operating system"),
        "distribution_name": (f"Windows {release}".strip(), "operating system"),
        "libc": ("", "operating system"),
        "wsl": (0, "operating system"),
        "container": ("", "operating system"),
    }
