"""NVIDIA's kernel driver and its libraries, seen from outside."""

from __future__ import annotations

import re
from typing import Any

from envcheck.facts import DeviceNode, Library, NvidiaDriver
from envcheck.probe import Ended, probe
from envcheck.probes.pci import nvidia_on_bus
from envcheck.report import Outcome
from envcheck.system import Completed, System

VERSION_FILE = "/proc/driver/nvidia/version"
MODULES_FILE = "/proc/modules"
PARAMETERS_FILE = "/proc/driver/nvidia/params"

LIBRARIES = ("libcuda.so.1", "libnvidia-ml.so.1")

USUAL_FOLDERS = (
    "/usr/lib/wsl/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/run/opengl-driver/lib",
)
"""Where the driver's libraries are installed or mounted: WSL, Debian's and Red Hat's layout, Kubernetes, NixOS."""

NODE_NAME = re.compile(r"^(?:nvidia(?:\d+|ctl|-uvm|-uvm-tools|-modeset)|dxg)$")

MODULE_VERSION = re.compile(r"Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)")

SMI_VERSION = re.compile(r"(?:Driver|KMD) Version\s*:\s*(\d+(?:\.\d+)+)")
SMI_CUDA = re.compile(r"CUDA(?: UMD)? Version\s*:\s*(\d+\.\d+)")

WINDOWS_LIBRARY = "C:/Windows/System32/nvml.dll"


@probe(fills=["driver"], deadline=16)
def driver(system: System, deadline: float, quick: bool) -> NvidiaDriver:
    """Look at modules, device nodes, libraries and packages; ask nvidia-smi where there is time for it."""
    name = (system.ask("uname") or {}).get("system")
    if name == "Linux":
        return _linux(system, deadline, quick)
    if name == "Windows" and (system.which("nvidia-smi") or system.status(WINDOWS_LIBRARY).outcome == "ok"):
        return NvidiaDriver(**_smi(system, deadline, asked=not quick))
    raise Ended(Outcome.ABSENT, "no NVIDIA driver is here")


def _linux(system: System, deadline: float, quick: bool) -> NvidiaDriver:
    if on_jetson(system):
        raise Ended(Outcome.ABSENT, "a Jetson brings its driver with its system image; it has no module `nvidia`")
    modules = system.read(MODULES_FILE)
    loaded = {line.split(" ", 1)[0] for line in modules.text.splitlines()}
    known = modules.outcome == "ok"
    version_text = system.read(VERSION_FILE)
    libraries = libraries_found(system)
    nodes = _nodes(system)
    module_loaded = True if version_text.outcome == "ok" else ("nvidia" in loaded if known else None)
    if not (module_loaded or libraries or nodes or nvidia_on_bus(system)):
        raise Ended(Outcome.ABSENT, "no NVIDIA device, driver or library is here")
    version = MODULE_VERSION.search(version_text.text)
    library_version = _library_version(libraries)
    module_version = version[1] if version else ("" if module_loaded is False else None)
    inquiry: dict[str, Any] = {}
    if not module_loaded or not library_version or (module_version and library_version != module_version):
        # What the package manager and modinfo know matters only where something does not fit.
        inquiry = {"module_on_disk": _module_on_disk(system), "packages_version": _packages_version(system)}
    fabric = _fabric_manager(system) if _has_nvswitch(system) else {}
    smi = _smi(system, deadline, asked=not quick)
    return NvidiaDriver(
        module_loaded=module_loaded,
        module_version=module_version,
        module_flavour=_flavour(version_text.text) if version else None,
        uvm_loaded="nvidia_uvm" in loaded if known else None,
        nouveau_loaded="nouveau" in loaded if known else None,
        module_parameters=_parameters(system) if module_loaded else None,
        device_nodes=nodes,
        libraries=libraries,
        library_version=library_version,
        graphics_devices=system.entries("/proc/driver/nvidia/gpus"),
        **inquiry,
        **fabric,
        **smi,
        sources={
            "module_loaded": MODULES_FILE,
            "module_version": VERSION_FILE,
            "module_flavour": VERSION_FILE,
            "uvm_loaded": MODULES_FILE,
            "nouveau_loaded": MODULES_FILE,
            "module_parameters": PARAMETERS_FILE,
            "module_on_disk": "modinfo nvidia",
            "packages_version": "package manager",
            "device_nodes": "/dev",
            "libraries": "the loader's folders",
            "library_version": next((library.path for library in _own(libraries)), "the loader's folders"),
            "fabric_manager": "systemctl is-active nvidia-fabricmanager",
            "fabric_manager_version": "nv-fabricmanager --version",
            **dict.fromkeys(("smi_state", "smi_exit_code", "smi_message", "smi_driver_version"), "nvidia-smi"),
            "smi_cuda_version": "nvidia-smi",
            "smi_path": "PATH",
        },
    )


def on_jetson(system: System) -> bool:
    """Tell whether this is a Jetson whose GPU is driven by `nvgpu`: no PCI device, no NVML, other version numbers.

    Later ones (JetPack 7) have the driver of other GPUs and are examined as such. Source: NVIDIA Jetson Linux Developer
    Guide; the device tree's `compatible`.
    """
    if system.read(VERSION_FILE).outcome == "ok":
        return False
    return "nvidia,tegra" in system.read("/proc/device-tree/compatible").text


def hinted(system: System) -> bool:
    """Tell whether anything on this machine suggests an NVIDIA driver: its library, module, device or bus."""
    if (system.ask("uname") or {}).get("system") == "Windows":
        return system.which("nvidia-smi") is not None or system.status(WINDOWS_LIBRARY).outcome == "ok"
    return not on_jetson(system) and (
        system.read(VERSION_FILE).outcome == "ok"
        or bool(libraries_found(system))
        or system.status("/dev/dxg").outcome == "ok"
        or nvidia_on_bus(system)
    )


def _flavour(text: str) -> str:
    return "open" if "Open Kernel Module" in text else "proprietary"


def loader_folders(system: System) -> list[str]:
    """Return where the loader looks for libraries, in its order: LD_LIBRARY_PATH, ld.so.conf, usual folders."""
    own = [folder for folder in (system.getenv("LD_LIBRARY_PATH") or "").split(":") if folder.startswith("/")]
    configured: list[str] = []
    files = [
        f"/etc/ld.so.conf.d/{name}" for name in system.entries("/etc/ld.so.conf.d") or [] if name.endswith(".conf")
    ]
    for path in files:
        lines = (line.partition("#")[0].strip() for line in system.read(path).text.splitlines())
        configured += [line for line in lines if line.startswith("/")]
    folders = [folder.rstrip("/") or "/" for folder in [*own, *configured, *USUAL_FOLDERS]]
    return list(dict.fromkeys(folders))


def libraries_found(system: System) -> list[Library]:
    """Return every libcuda.so.1 and libnvidia-ml.so.1 on the loader's way, each file once, first found first."""
    found: dict[tuple[str, str], Library] = {}
    for folder in loader_folders(system):
        for name in LIBRARIES:
            path = f"{folder}/{name}"
            status = system.status(path)
            if status.outcome != "ok":
                continue
            real = status.real_path or path
            version = re.search(r"\.so\.(\d+(?:\.\d+)+)$", real)
            library = Library(
                name=name, path=real, version=version[1] if version else "", stub="/stubs/" in f"{path} {real}"
            )
            found.setdefault((name, real), library)
    return list(found.values())


def _own(libraries: list[Library]) -> list[Library]:
    """Return the libraries that belong to the driver, NVML's first.

    A libcuda in a folder named `compat` comes from NVIDIA's forward compatibility package; it is newer than the
    kernel module on purpose.
    """
    fitting = [
        library for library in libraries if library.version and not library.stub and "/compat/" not in library.path
    ]
    return sorted(fitting, key=lambda library: library.name != "libnvidia-ml.so.1")


def _library_version(libraries: list[Library]) -> str | None:
    """Return the version of the driver's libraries; empty where none is found, None where no name tells it."""
    own = _own(libraries)
    if own:
        return own[0].version
    return None if libraries else ""


def _nodes(system: System) -> list[DeviceNode] | None:
    names = system.entries("/dev")
    if names is None:
        return None
    nodes = []
    for name in names:
        if NODE_NAME.match(name):
            status = system.status(f"/dev/{name}")
            if status.outcome != "absent" and status.kind != "folder":
                nodes.append(
                    DeviceNode(
                        path=f"/dev/{name}",
                        mode=status.mode,
                        group=status.group,
                        accessible=status.readable and status.writable if status.outcome == "ok" else None,
                    )
                )
    return nodes


def _parameters(system: System) -> dict[str, str] | None:
    reading = system.read(PARAMETERS_FILE)
    if reading.outcome != "ok":
        return None
    wanted = {"ModifyDeviceFiles", "DeviceFileMode", "DeviceFileUID", "DeviceFileGID", "OpenRmEnableUnsupportedGpus"}
    pairs = (line.partition(":") for line in reading.text.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs if name.strip() in wanted}


def _module_on_disk(system: System) -> str | None:
    """Return the version of the module that the running kernel would load; empty where it has none.

    Unknown where the kernel's modules are not in sight, as in a container.
    """
    release = (system.ask("uname") or {}).get("release", "")
    if system.status(f"/lib/modules/{release}").outcome != "ok":
        return None
    # Debian names its module nvidia-current; modinfo ends with an error for the name that is not there.
    completed = system.run(["modinfo", "-F", "version", "nvidia", "nvidia-current"], 3)
    if completed.outcome != "ok":
        return None
    found = re.search(r"^\d+(?:\.\d+)+$", completed.stdout, re.MULTILINE)
    return found[0] if found else ""


def _packages_version(system: System) -> str | None:
    """Return the driver version that the package manager has installed; empty where it has none."""
    for argv, pattern in PACKAGE_QUERIES:
        if system.which(argv[0]) is None:
            continue
        completed = system.run(argv, 4)
        if completed.outcome == "ok":
            found = re.search(pattern, completed.stdout, re.MULTILINE)
            return found[1] if found else ""
    names = system.entries("/var/lib/pacman/local")
    if names is None:
        return None
    found = re.search(
        r"^nvidia(?:-open|-lts|-utils|-dkms|-open-dkms)?-(\d+(?:\.\d+)+)-", "\n".join(names), re.MULTILINE
    )
    return found[1] if found else ""


PACKAGE_QUERIES = (
    (
        [
            "dpkg-query",
            "-W",
            "-f",
            "${db:Status-Abbrev} ${Package} ${Version}\n",
            "nvidia-driver*",
            "libnvidia-compute*",
            "libcuda1",
            "nvidia-kernel-*",
            "nvidia-dkms-*",
        ],
        r"^.i\S*\s+\S+ (?:\d+:)?(\d+(?:\.\d+)+)",
    ),
    (
        [
            "rpm",
            "-qa",
            "--qf",
            "%{NAME} %{VERSION}\n",
            "*nvidia-driver*",
            "kmod-nvidia*",
            "akmod-nvidia*",
            "xorg-x11-drv-nvidia*",
        ],
        r"^\S+ (\d+(?:\.\d+)+)",
    ),
)
"""Queries of package managers, and the version in their answers."""


def _has_nvswitch(system: System) -> bool:
    return any(name.startswith("nvidia-nvswitch") for name in system.entries("/dev") or [])


def _fabric_manager(system: System) -> dict[str, Any]:
    """Return the state of the fabric manager's service and its version."""
    facts: dict[str, Any] = {}
    completed = system.run(["systemctl", "is-active", "nvidia-fabricmanager"], 3)
    if completed.outcome == "ok":
        facts["fabric_manager"] = completed.stdout.strip().splitlines()[0] if completed.stdout.strip() else "not-found"
    program = system.which("nv-fabricmanager")
    if program is None:
        return {**facts, "fabric_manager_version": ""}
    found = re.search(
        r"(\d+(?:\.\d+)+)", system.run([program, "--version"], 3, key="nv-fabricmanager --version").stdout
    )
    return {**facts, "fabric_manager_version": found[1]} if found else facts


def _smi(system: System, deadline: float, *, asked: bool) -> dict[str, Any]:
    """Ask nvidia-smi: a second witness beside NVML, never the first."""
    path = system.which("nvidia-smi")
    if path is None:
        return {"smi_path": "", "smi_state": "absent"}
    if not asked:
        return {"smi_path": path}
    completed = system.run([path], max(deadline - 1, 0.5), key="nvidia-smi")
    return {"smi_path": path, **smi_facts(completed)}


def smi_facts(completed: Completed) -> dict[str, Any]:
    """Return what a run of nvidia-smi says.

    nvidia-smi prints its failures to standard output; see the texts and exit statuses in its manual page.
    """
    words = " ".join((completed.stdout or completed.stderr).split())
    version, cuda = SMI_VERSION.search(completed.stdout), SMI_CUDA.search(completed.stdout)
    facts: dict[str, Any] = {
        "smi_exit_code": completed.exit_code,
        "smi_driver_version": version[1] if version else None,
        "smi_cuda_version": cuda[1] if cuda else None,
    }
    if completed.outcome == "timeout":
        return {**facts, "smi_state": "timeout", "smi_message": f"no answer within {completed.seconds:.0f} s"}
    if completed.outcome == "signal":
        return {**facts, "smi_state": "crash", "smi_message": f"ended by {completed.signal}"}
    if completed.outcome != "ok":
        return {**facts, "smi_state": "failed", "smi_message": completed.reason or completed.outcome}
    if version and completed.exit_code == 0:
        return {**facts, "smi_state": "ok"}
    recognised = re.search(r"NVIDIA-SMI|NVML|No devices|Unable to determine|GPU", words)
    state = "failed" if completed.exit_code and recognised else "garbled"
    return {**facts, "smi_state": state, "smi_message": words[:300] or f"exit status {completed.exit_code}, no output"}
