"""NVIDIA's kernel driver: /proc/driver/nvidia/version, lsmod, modinfo, dkms, packages, device nodes, fabric manager."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.facts import DeviceNode, Gpu, Library
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, Values, always, apply, taking


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what lines and commands say of the driver."""
    yield from apply(RULES, paste)
    yield from _modules(paste)
    yield from _dkms(paste)
    yield from _versions(paste)
    yield from _packaged_libraries(paste)
    yield from _nothing_packaged(paste)
    yield from _nodes(paste)
    yield from _fabric_manager(paste)
    yield from _library_files(paste)


LIBRARY_FILE = r"(?:^|[\s/])lib(?:cuda|nvidia-ml)\.so\.(?P<version>\d{3}\.\d+(?:\.\d+)?)$"


def _library_files(paste: Paste) -> Iterator[Piece]:
    """Read the driver's version from the names of its libraries, where all that are listed have one version."""
    found = [
        (match["version"], line.source)
        for line in paste.lines
        if ".so." in line.text and (match := re.search(LIBRARY_FILE, line.text.rstrip()))
    ]
    if len({version for version, _ in found}) == 1:
        yield Piece("driver", {"library_version": found[0][0]}, found[0][1])


def _module(found: re.Match[str]) -> Values:
    flavour = "open" if found["open"] else "proprietary"
    return {"module_loaded": True, "module_version": found["version"], "module_flavour": flavour}


LOADED = r"^(?P<name>nvidia|nvidia_uvm|nvidia_drm|nvidia_modeset|nouveau|amdgpu)\s+\d{3,12}\s+-?\d{1,6}\b"
ASKED = r"lsmod(?: *\| *grep (?:-\w+ )*[\"']?(?P<name>[\w|\\]+)[\"']?)?$|cat /proc/modules"


def _modules(paste: Paste) -> Iterator[Piece]:
    """Read lsmod; where it was asked for a module and printed nothing, that module is not loaded."""
    for line in paste.lines:
        if line.text.startswith(("nvidia", "nouveau", "amdgpu")) and (found := re.match(LOADED, line.text)):
            yield from _loaded(found["name"], line.source)
    for place, command in enumerate(paste.commands):
        asked = re.match(ASKED, command.text) if "modules" in command.text or "lsmod" in command.text else None
        # The last command of a paste may have printed more than was copied.
        if not asked or (place + 1 == len(paste.commands) and not any(line.text.strip() for line in command.output)):
            continue
        shown = {found["name"] for line in command.output if (found := re.match(LOADED, line.text))}
        names = asked["name"]
        said = [line.text.strip() for line in command.output if line.text.strip()]
        none_counted = said == ["0"] and re.search(r" -\w*c", command.text)
        if not shown and said and not none_counted:
            continue
        for name, field in (("nvidia", "module_loaded"), ("nouveau", "nouveau_loaded")):
            if name not in shown and (names is None or name in names):
                yield Piece("driver", {field: False}, command.source)
        if "nvidia" in shown and "nvidia_uvm" not in shown and names in {None, "nvidia"}:
            yield Piece("driver", {"uvm_loaded": False}, command.source)


def _loaded(name: str, source: str) -> Iterator[Piece]:
    if name == "nvidia":
        yield Piece("driver", {"module_loaded": True}, source)
    elif name == "nvidia_uvm":
        yield Piece("driver", {"uvm_loaded": True}, source)
    elif name == "nouveau":
        yield Piece("driver", {"nouveau_loaded": True}, source)
    elif name == "amdgpu":
        yield Piece("accelerators", {"amd_kernel_driver": True}, source)


DKMS = (
    r"^nvidia(?:-\w+)*[/,] ?(?P<version>\d+\.[\d.]+)(?:, (?P<kernel>\d[\w.+~-]+)(?:, \w+)?)?: "
    r"(?P<state>added|built|installed|broken)"
)
KERNEL = r"\b(?:Linux \S+ |Linux version |^)(?P<release>\d+\.\d+\.\d+-[\w.+~-]+)"


def _dkms(paste: Paste) -> Iterator[Piece]:
    """Read `dkms status`: the module that is installed for the running kernel, where the paste names that kernel."""
    rows = [
        (found, line.source)
        for line in paste.lines
        if line.text.startswith("nvidia") and (found := re.match(DKMS, line.text))
    ]
    if not rows:
        return
    running = next((found["release"] for line in paste.lines if (found := re.search(KERNEL, line.text))), None)
    fitting = [found for found, _ in rows if found["kernel"] == running and found["state"] == "installed"]
    if fitting:
        yield Piece("driver", {"module_on_disk": fitting[0]["version"]}, rows[0][1])
    elif running or all(found["kernel"] is None or found["state"] == "broken" for found, _ in rows):
        yield Piece("driver", {"module_on_disk": ""}, rows[0][1])
    yield Piece("driver", {"packages_version": rows[0][0]["version"]}, rows[0][1])


MODINFO = r"(?:/\w+/)?modinfo (?:-F ?version |-\w+ |--field[= ]version )*nvidia(?:[-_]current)?\b"
SYSFS = r"cat /sys/module/nvidia/version$"
BARE_VERSION = r"^(?:version:\s+)?(?P<version>\d{3}\.\d{1,3}(?:\.\d{1,3})?)$"


def _versions(paste: Paste) -> Iterator[Piece]:
    """Read `modinfo nvidia`, the module that would be loaded, and /sys/module/nvidia/version, the one that is."""
    for command in paste.commands:
        loaded = re.match(SYSFS, command.text) is not None
        if not loaded and not re.match(MODINFO, command.text):
            continue
        for line in command.output:
            if found := re.match(BARE_VERSION, line.text.strip()):
                if loaded:
                    yield Piece("driver", {"module_loaded": True, "module_version": found["version"]}, line.source)
                else:
                    yield Piece("driver", {"module_on_disk": found["version"]}, line.source)
                break


LIBRARY_PACKAGE = (
    r"^(?:[ih]i\s+(?:libcuda1|libnvidia-ml1|nvidia-smi|libnvidia-(?:compute|gl)-\d{3}(?:-server)?|nvidia-utils-\d{3}(?:-server)?)"
    r"(?::\w+)?\s+(?:\d:)?"
    r"|(?:nvidia-driver-(?:cuda-)?libs|nvidia-driver-cuda|libnvidia-ml|xorg-x11-drv-nvidia-(?:cuda-)?libs"
    r"|xorg-x11-drv-nvidia-cuda)-(?:\d:)?"
    r"|nvidia-utils )"
    r"(?P<version>\d{3}\.\d{1,3}(?:\.\d{1,3})?)(?:-|\s|$)"
)
"""Packages of Debian, Ubuntu, Fedora and Arch that hold libcuda or libnvidia-ml; what is removed (`rc`) holds none."""


NOT_PACKAGED = (
    r"(?:dpkg -l|apt list --installed|rpm -qa|pacman -Q)\s*(?:2>\S+ ?)?\| ?grep (?:-\w+ )*[\"']?nvidia[\"']?$"
)


def _nothing_packaged(paste: Paste) -> Iterator[Piece]:
    """Read a list of all packages in which nothing of NVIDIA is; the last command may have printed more."""
    for command in paste.commands[:-1]:
        if re.match(NOT_PACKAGED, command.text) and not any(line.text.strip() for line in command.output):
            yield Piece("driver", {"packages_version": "", "library_version": ""}, command.source)


def _packaged_libraries(paste: Paste) -> Iterator[Piece]:
    """Read which version of the libraries is installed, where all packages of them are of one version."""
    rows = [
        (found["version"], line.source)
        for line in paste.lines
        if "nvidia" in line.text or "libcuda" in line.text
        if (found := re.match(LIBRARY_PACKAGE, line.text))
    ]
    if len({version for version, _ in rows}) == 1:
        yield Piece("driver", {"library_version": rows[0][0]}, rows[0][1])


NODE = (
    r"^c(?P<mode>[rwx-]{9})[.+]?\s+\d+ \S+ (?P<group>\S+)\s+\d+, *\d+ .{5,30} (?P<path>/dev/"
    r"(?:nvidia[\w/-]*|kfd|dxg|dri/renderD\d+))$"
)
NO_NODES = r"(?:cannot access|cannot open) '?\"?(?P<path>/dev/(?:nvidia|kfd|dxg|dri)[\w*?/-]{0,20})'?\"?: No such file"


def _nodes(paste: Paste) -> Iterator[Piece]:
    for line in paste.lines:
        if "/dev/" not in line.text:
            continue
        if line.text.startswith("c") and (found := re.match(NODE, line.text)):
            node = DeviceNode(path=found["path"], mode=_octal(found["mode"]), group=found["group"])
            if "nvidia" in node.path or "dxg" in node.path:
                yield Piece("driver", {"device_nodes": [node]}, line.source)
            elif "kfd" in node.path:
                yield Piece("accelerators", {"amd_kfd": node}, line.source)
            else:
                yield Piece("accelerators", {"render_nodes": [node]}, line.source)
        elif (
            "No such" in line.text
            and (found := re.search(NO_NODES, line.text))
            and re.fullmatch(r"/dev/nvidia[*?0]{0,2}", found["path"])
        ):
            yield Piece("driver", {"device_nodes": []}, line.source)


def _octal(letters: str) -> str:
    digits = [
        sum(value for letter, value in zip(letters[start : start + 3], (4, 2, 1), strict=True) if letter != "-")
        for start in (0, 3, 6)
    ]
    return "0" + "".join(str(digit) for digit in digits)


def _fabric_manager(paste: Paste) -> Iterator[Piece]:
    """Read `systemctl status nvidia-fabricmanager`, whose state stands a few lines below the service's name."""
    remaining = 0
    for line in paste.lines:
        if "nvidia-fabricmanager.service" in line.text:
            remaining = 5
        elif remaining and (found := re.match(r"\s*Active: (?P<state>active|inactive|failed)", line.text)):
            yield Piece("driver", {"fabric_manager": found["state"]}, line.source)
        remaining = max(remaining - 1, 0)


def _library(found: re.Match[str]) -> Values:
    path = found["path"]
    stub = "/stubs/" in path
    version = found.groupdict().get("version") or ""
    values: Values = {"libraries": [Library(name=found["name"], path=path, version=version, stub=stub)]}
    # A folder `compat` holds NVIDIA's forward compatibility package, whose version is another on purpose.
    if version and not stub and "/compat/" not in found.string:
        values["library_version"] = version
    return values


RULES = (
    Rule(
        "Kernel Module",
        r"NVIDIA UNIX (?P<open>Open )?(?:\S+ )?Kernel Module\s+(?:for \S+\s+)?(?P<version>\d+\.\d+(?:\.\d+)?)",
        "driver",
        _module,
    ),
    Rule(
        "client has the version",
        r"the client has the version (?P<version>\d+\.\d+(?:\.\d+)?)",
        "driver",
        taking(library_version="version"),
    ),
    Rule(
        "kernel module has the version",
        r"this kernel module has the version (?P<version>\d+\.\d+(?:\.\d+)?)",
        "driver",
        lambda found: {"module_loaded": True, "module_version": found["version"]},
    ),
    Rule(
        "NVRM version:",
        r"^NVRM version:\s+(?P<version>\d{3}\.\d+(?:\.\d+)?)\s*$",
        "driver",
        lambda found: {"module_loaded": True, "module_version": found["version"]},
    ),
    Rule("CUDA version:", r"^CUDA version:\s{3,}(?P<version>\d{1,2}\.\d)\s*$", "nvml", taking(cuda_version="version")),
    Rule(
        "Model:",
        r"^Model:\s{3,}(?P<name>(?:NVIDIA|Tesla|GeForce|Quadro).{2,60}?)\s*$",
        "nvml",
        lambda found: {"gpus": [Gpu(index=0, name=found["name"])], "gpus_complete": False},
    ),
    Rule(
        "kernel reported version is",
        r"kernel reported version is: (?P<version>\d+\.\d+(?:\.\d+)?)",
        "driver",
        lambda found: {"module_loaded": True, "module_version": found["version"]},
    ),
    Rule(
        "libcuda reported version is",
        r"libcuda reported version is: (?P<version>\d+\.\d+(?:\.\d+)?)",
        "driver",
        taking(library_version="version"),
    ),
    Rule(
        "/proc/driver/nvidia/version",
        r"/proc/driver/nvidia/version['\"]?: No such file",
        "driver",
        always(module_loaded=False),
    ),
    Rule("Module nvidia not found", r"modinfo: ERROR: Module nvidia not found", "driver", always(module_on_disk="")),
    Rule(
        "Module nvidia",
        r"modprobe: FATAL: Module nvidia(?:-current)? not found in directory",
        "driver",
        always(module_on_disk="", module_loaded=False),
    ),
    Rule(
        "nvidia",
        r"^(?:ii|hi)\s+(?:nvidia-driver(?:-\d+)?(?:-server)?(?:-open)?|nvidia-kernel-dkms|nvidia-dkms-\d+(?:-server)?(?:-open)?|nvidia-utils-\d+(?:-server)?|libnvidia-compute-\d+(?:-server)?)(?::\w+)?\s+(?P<version>\d+\.\d+(?:\.\d+)?)",
        "driver",
        taking(packages_version="version"),
    ),
    Rule(
        "nvidia",
        r"^(?:nvidia-driver|xorg-x11-drv-nvidia|kmod-nvidia[\w-]*|akmod-nvidia)(?:-cuda|-libs)?-(?:\d:)?(?P<version>\d{3}\.\d+(?:\.\d+)?)-\S+$",
        "driver",
        taking(packages_version="version"),
    ),
    Rule(
        "nvidia-smi: command not found",
        r"nvidia-smi: command not found",
        "driver",
        always(smi_path="", smi_state="absent"),
    ),
    Rule(
        "nvidia-smi",
        r"(?:command not found: nvidia-smi|nvidia-smi: not found|'nvidia-smi' is not recognized"
        r"|'nvidia-smi' not found|\"nvidia-smi\": executable file not found"
        r"|Command 'nvidia-smi' not found)",
        "driver",
        always(smi_path="", smi_state="absent"),
    ),
    Rule(
        "libcuda.so",
        r"(?P<name>libcuda\.so(?:\.1)?) (?:\([^)]{1,60}\) )?=> (?P<path>/\S+libcuda\.so[\w.]*)",
        "driver",
        _library,
    ),
    Rule(
        "libcuda.so",
        r"(?P<name>libcuda\.so\.1) -> (?P<path>(?:/\S+/)?libcuda\.so\.(?P<version>\d{3}\.\d+(?:\.\d+)?))",
        "driver",
        _library,
    ),
    Rule(
        "libnvidia-ml.so",
        r"(?P<name>libnvidia-ml\.so\.1) -> (?P<path>(?:/\S+/)?libnvidia-ml\.so\.(?P<version>\d{3}\.\d+(?:\.\d+)?))",
        "driver",
        _library,
    ),
    Rule(
        "Fabric Manager version",
        r"Fabric Manager version is : (?P<version>\d+\.[\d.]+)",
        "driver",
        taking(fabric_manager_version="version"),
    ),
    Rule(
        "nvidia-fabricmanager.service could not be found",
        r"could not be found",
        "driver",
        always(fabric_manager="not-found"),
    ),
    Rule(
        "cudaDriverVersion",
        r"cudaDriverVersion (?P<major>\d{2})0(?P<minor>\d)0",
        "nvml",
        lambda found: {"cuda_version": f"{found['major']}.{found['minor']}"},
    ),
    Rule("__cuda=", r"__cuda=(?P<version>\d+\.\d+)", "nvml", taking(cuda_version="version")),
)
