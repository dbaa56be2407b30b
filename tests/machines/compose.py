"""Write the composed machines: what such a machine is documented to show, put together from parts.

The figures of cards and drivers come from envcheck's own tables and from the makers' documentation; nothing here was
seen on a real machine, and every note says so.  `make machines` runs this before it writes the pages.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

from envcheck import __version__
from envcheck.recording import FORMAT
from envcheck.testing import machine

HERE = pathlib.Path(__file__).resolve().parent

HOME = "/home/user"
PROJECT = f"{HOME}/project"
ENVIRONMENT = f"{PROJECT}/.venv"
GIB = 2**30

X86_FLAGS = "fpu sse sse2 ssse3 sse4_1 sse4_2 avx f16c avx2 fma bmi1 bmi2"

Answers = dict[str, Any]


def said(*items: Answers) -> Answers:
    """Return how a child ended that wrote these objects."""
    return {
        "outcome": "ok",
        "exit_code": 0,
        "stdout": "".join(json.dumps(item) + "\n" for item in items),
        "seconds": 1.0,
    }


def printed(stdout: str = "", exit_code: int = 0, stderr: str = "") -> Answers:
    """Return how a program ended that printed this."""
    return {"outcome": "ok", "exit_code": exit_code, "stdout": stdout, "stderr": stderr, "seconds": 0.1}


def room(total: int, free: int) -> Answers:
    """Return the room of a file system, in GiB."""
    return {"outcome": "ok", "total_bytes": total * GIB, "free_bytes": free * GIB, "total_inodes": 0, "free_inodes": 0}


def folder(path: str) -> Answers:
    """Return the status of a folder that this user may write."""
    return {
        "outcome": "ok",
        "kind": "folder",
        "real_path": path,
        "mode": "0755",
        "group": "user",
        "readable": True,
        "writable": True,
        "executable": True,
    }


def device(path: str, mode: str = "0666", *, open_to_user: bool = True) -> Answers:
    """Return the status of a device file."""
    return {
        "outcome": "ok",
        "kind": "device",
        "real_path": path,
        "mode": mode,
        "group": "root",
        "readable": open_to_user,
        "writable": open_to_user,
    }


def linux(
    *,
    name: str = "Ubuntu 24.04.3 LTS",
    distribution: tuple[str, str] = ("ubuntu", "24.04"),
    kernel: str = "6.8.0-79-generic",
    glibc: str = "2.39",
    cpu: str = "13th Gen Intel(R) Core(TM) i7-13700H",
    cores: int = 20,
    memory: int = 32,
    init: str = "systemd",
    shared_memory: int = 16,
    filesystem: str = "ext4",
    machine_name: str = "x86_64",
) -> Answers:
    """Return what a healthy Linux machine shows; memory and shared memory in GiB."""
    if machine_name == "x86_64":
        # Every processor of a real machine repeats the first one's lines; a short file says the same.
        first = f"vendor_id\t: GenuineIntel\nmodel name\t: {cpu}\nflags\t\t: {X86_FLAGS}\n"
        block = "processor\t: {}\nphysical id\t: 0\ncore id\t\t: {}\n"
        processors = first + "\n".join(block.format(number, number // 2) for number in range(cores))
    else:
        block = "processor\t: {}\nFeatures\t: fp asimd aes atomics\nCPU implementer\t: 0x41\n"
        processors = "\n".join(block.format(number) for number in range(cores)) + f"\nModel\t\t: {cpu}\n"
    kib = memory * 2**20
    found = machine(
        files={
            "/etc/os-release": f'ID={distribution[0]}\nVERSION_ID="{distribution[1]}"\nPRETTY_NAME="{name}"\n',
            "/proc/cpuinfo": processors,
            "/proc/meminfo": f"MemTotal: {kib} kB\nMemAvailable: {kib * 3 // 4} kB\n"
            f"SwapTotal: {2**21} kB\nSwapFree: {2**21} kB\n",
            "/proc/modules": "snd 122880 1 - Live 0x0\nusbcore 348160 2 - Live 0x0\n",
            "/proc/1/comm": f"{init}\n",
            "/proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
            "/proc/self/mountinfo": f"22 1 259:2 / / rw - {filesystem} /dev/nvme0n1p2 rw\n"
            "23 22 0:5 / /dev/shm rw - tmpfs tmpfs rw\n24 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
            "/sys/class/net/lo/mtu": "65536\n",
            "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": "\x06\x00\x00\x00\x00",
            "/sys/class/dmi/id/sys_vendor": "LENOVO\n",
            "/sys/class/dmi/id/product_name": "21D8\n",
        },
        answers={
            "uname": {
                "system": "Linux",
                "release": kernel,
                "version": "#1 SMP PREEMPT_DYNAMIC",
                "machine": machine_name,
            },
            "libc": ["glibc", glibc],
            "home": HOME,
            "temporary_folder": "/tmp",
            "working_directory": PROJECT,
            "own_interpreter": f"{HOME}/.local/share/uv/tools/envcheck-ml/bin/python",
            "user_id": 1000,
            "user_groups": ["user", "sudo", "video", "render"],
            "logical_cores": cores,
            "affinity_cores": cores,
            "load_average": 0.4,
            "resource_limits": {
                "open_files": [1024, 1048576],
                "locked_memory": [4 * GIB, 4 * GIB],
                "processes": [127000, 127000],
                "stack": [8388608, -1],
                "address_space": [-1, -1],
                "file_size": [-1, -1],
            },
        },
        runs={},
        more={
            "run kernel log from dmesg": printed(exit_code=1),
            "entries /sys/bus/pci/devices": [],
            "entries /dev": ["null", "shm", "tty", "zero"],
            **{
                f"status {path}": folder(path)
                for path in (HOME, PROJECT, ENVIRONMENT, "/tmp", "/dev/shm", f"{HOME}/.cache")
            },
            **{f"space {path}": room(468, 210) for path in (HOME, PROJECT, ENVIRONMENT, "/tmp", f"{HOME}/.cache")},
            "space /dev/shm": room(shared_memory, shared_memory),
            **no_framework(),
        },
    )
    return dict(found._observations)


def no_framework() -> Answers:
    """Return that no framework is installed."""
    return {
        f"run inside frameworks_probe {name}": said({"kind": "absent"}) for name in ("torch", "tensorflow", "keras")
    }


def python(
    *packages: tuple[str, str],
    version: str = "3.12.3",
    kind: str = "venv",
    prefix: str = ENVIRONMENT,
    base: str = "/usr",
    machine_name: str = "x86_64",
    platform_tag: str = "linux-x86_64",
    system: str = "Linux",
    numpy: str = "2.3.3",
) -> Answers:
    """Return an interpreter with packages: pairs of name and version."""
    short = ".".join(version.split(".")[:2])
    site = f"{prefix}/lib/python{short}/site-packages"
    listed = [
        {
            "name": name,
            "version": number,
            "location": site,
            "installer": "pip",
            "requires": [],
            "requires_python": ">=3.8",
        }
        for name, number in (("pip", "25.2"), ("numpy", numpy), *packages)
    ]
    markers = {
        "implementation_name": "cpython",
        "implementation_version": version,
        "os_name": "nt" if system == "Windows" else "posix",
        "platform_machine": machine_name,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": system,
        "platform_version": "",
        "python_full_version": version,
        "python_version": short,
        "sys_platform": {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}[system],
    }
    described = {
        "kind": "python",
        "executable": f"{base}/bin/python{short}",
        "version": version,
        "implementation": "CPython",
        "free_threaded": False,
        "bits": 64,
        "machine": machine_name,
        "platform_tag": platform_tag,
        "prefix": prefix,
        "base_prefix": base,
        "environment_kind": kind,
        "externally_managed": False,
        "site_packages": site,
        "site_packages_writable": True,
        "search_path": ["", f"{base}/lib/python{short}", site],
        "user_site": f"{HOME}/.local/lib/python{short}/site-packages",
        "user_site_enabled": False,
        "python_path": [],
        "pip_version": "25.2",
        "made_for_version": version,
        "base_missing": "",
        "shadows": [],
    }
    whole = {"installed": listed, "hidden": [], "damaged": [], "conda_managed": [], "markers": markers}
    return {"run inside interpreter_probe": said(described, {"kind": "packages", **whole})}


CODE_2_9 = ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
"""Code in torch 2.9.0 for CUDA 12.8, Linux x86_64: see the table of torch."""


def torch(
    *devices: Answers,
    version: str = "2.9.0+cu128",
    accelerator: str = "cuda",
    cuda: str = "12.8",
    problem: str = "",
    architectures: list[str] | None = None,
    stderr: str = "",
    numpy: str = "2.3.3",
    rocm: str = "",
) -> Answers:
    """Return what PyTorch says from inside, on these devices beside the CPU."""
    path = f"{ENVIRONMENT}/lib/python3.12/site-packages/torch/__init__.py"
    build = {
        "accelerator": accelerator,
        "cuda": cuda,
        "rocm": rocm,
        "architectures": [],
        "cudnn": "",
        "nccl": "",
        "threads": 10,
    }
    if accelerator == "cuda":
        build |= {"architectures": architectures or CODE_2_9, "cudnn": "9.10.2", "nccl": "2.27.5"}
    every = [{"name": "cpu", "kind": "cpu", "computed": True, "error": "", "seconds": 0.01}, *devices]
    ended = said(
        {"kind": "found", "module_path": path},
        {"kind": "stage", "name": "import"},
        {"kind": "imported", "version": version, "module_path": path, "import_seconds": 1.4, "numpy": numpy},
        {"kind": "stage", "name": "build"},
        {"kind": "build", **build},
        {"kind": "stage", "name": "devices"},
        {"kind": "devices", "sees_gpu": bool(devices), "gpu_error": problem},
        {"kind": "stage", "name": "compute"},
        *({"kind": "device", "device": item} for item in every),
        {"kind": "end", "total_seconds": 2.1},
    )
    return {"run inside frameworks_probe torch": {**ended, "stderr": stderr}}


def cuda_device(number: int, model: str, capability: str, memory: int, error: str = "") -> Answers:
    """Return a GPU as PyTorch sees it; memory in GiB."""
    return {
        "name": f"cuda:{number}",
        "kind": "cuda",
        "model": model,
        "compute_capability": capability,
        "memory_total_bytes": memory * GIB,
        "computed": not error,
        "error": error,
        "seconds": 0.2,
    }


def bus(*cards: tuple[str, str, str], driver: str = "nvidia") -> Answers:
    """Return NVIDIA cards on the PCI bus: address, device id, class, and the kernel driver that holds them."""
    answers: Answers = {"entries /sys/bus/pci/devices": sorted(address for address, _, _ in cards)}
    for address, identity, code in cards:
        lines = [f"DRIVER={driver}"] if driver else []
        lines += [f"PCI_CLASS={code}", f"PCI_ID=10DE:{identity.upper()}", f"PCI_SLOT_NAME={address}"]
        path = f"/sys/bus/pci/devices/{address}"
        answers[f"read {path}/uevent"] = {"outcome": "ok", "text": "\n".join(lines) + "\n"}
    return answers


def kernel_module(
    version: str, *, flavour: str = "proprietary", modules: str = "nvidia_uvm nvidia_drm nvidia"
) -> Answers:
    """Return the loaded kernel module of NVIDIA's driver."""
    kind = "Open Kernel Module for x86_64" if flavour == "open" else "x86_64 Kernel Module"
    return {
        "read /proc/driver/nvidia/version": {
            "outcome": "ok",
            "text": f"NVRM version: NVIDIA UNIX {kind}  {version}  Release Build\nGCC version:  gcc version 13.3.0\n",
        },
        "read /proc/modules": {
            "outcome": "ok",
            "text": "".join(f"{module} 4096 1 - Live 0x0\n" for module in modules.split()),
        },
    }


def libraries(version: str, place: str = "/usr/lib/x86_64-linux-gnu") -> Answers:
    """Return the driver's libraries in a folder of the loader."""
    return {
        f"status {place}/{name}.so.1": {
            "outcome": "ok",
            "kind": "file",
            "real_path": f"{place}/{name}.so.{version}",
            "mode": "0644",
            "group": "root",
            "readable": True,
        }
        for name in ("libcuda", "libnvidia-ml")
    }


def nodes(count: int, *, open_to_user: bool = True) -> Answers:
    """Return the device files of a number of GPUs."""
    names = [f"nvidia{number}" for number in range(count)] + ["nvidiactl", "nvidia-uvm"]
    answers: Answers = {"entries /dev": sorted(["null", "shm", "tty", "zero", *names])}
    return answers | {f"status /dev/{name}": device(f"/dev/{name}", open_to_user=open_to_user) for name in names}


def gpu(index: int, name: str, capability: str, memory: float, address: str, **more: Any) -> Answers:
    """Return a GPU as NVML reports it, idle and well; memory in GiB."""
    total = int(memory * GIB)
    return {
        "kind": "gpu",
        "state": "ok",
        "unreadable": {},
        "index": index,
        "name": name,
        "uuid": f"GPU-00000000-0000-0000-0000-{index:012d}",
        "pci_address": address,
        "compute_capability": capability,
        "memory_total_bytes": total,
        "memory_used_bytes": total // 50,
        "memory_free_bytes": total - total // 50,
        "utilization_percent": 0,
        "temperature_celsius": 41,
        "power_watts": 12.0,
        "performance_state": "P8",
        "compute_mode": "Default",
        "persistence_mode": False,
        "processes": [],
        **more,
    }


def nvml(driver: str, cuda: str, *gpus: Answers) -> Answers:
    """Return what NVML answers."""
    return {
        "run inside nvml_probe": said(
            {"kind": "driver", "driver_version": driver, "cuda_version": cuda},
            *gpus,
            {"kind": "nvml", "state": "ok", "count": len(gpus)},
        ),
        "which nvidia-smi": "/usr/bin/nvidia-smi",
        "run nvidia-smi": printed(f"| NVIDIA-SMI {driver}    Driver Version: {driver}    CUDA Version: {cuda} |\n"),
    }


def nvml_fails(code: str, message: str, smi: str, exit_code: int) -> Answers:
    """Return an NVML that cannot be initialised, and nvidia-smi's words for it."""
    return {
        "run inside nvml_probe": said({"kind": "nvml", "state": code, "message": message}),
        "which nvidia-smi": "/usr/bin/nvidia-smi",
        "run nvidia-smi": printed(smi + "\n", exit_code),
    }


def variables(**values: str) -> Answers:
    """Return environment variables."""
    return {"variables": values, **{f"getenv {name}": value for name, value in values.items()}}


def text(path: str, content: str) -> Answers:
    """Return a file."""
    status = {"outcome": "ok", "kind": "file", "real_path": path, "mode": "0644", "group": "root", "readable": True}
    return {f"read {path}": {"outcome": "ok", "text": content}, f"status {path}": status}


def require(*requirements: str) -> Answers:
    """Return a project that declares what it must have."""
    listed = ", ".join(f'"{requirement}"' for requirement in requirements)
    return text(f"{PROJECT}/pyproject.toml", f"[tool.envcheck]\nrequire = [{listed}]\n")


NO_GPU = "No CUDA GPUs are available"

CARD = ("0000:01:00.0", "2684", "30000")
CARD_NAME = "NVIDIA GeForce RTX 4090"


def desktop(driver: str = "580.95.05", cuda: str = "13.0") -> Answers:
    """Return a desktop with one healthy GeForce RTX 4090."""
    return {
        **linux(cpu="AMD Ryzen 9 7950X 16-Core Processor", cores=32, memory=64),
        **python(("torch", "2.9.0+cu128")),
        **bus(CARD),
        **kernel_module(driver, flavour="open"),
        **libraries(driver),
        **nodes(1),
        **nvml(driver, cuda, gpu(0, CARD_NAME, "8.9", 24, CARD[0])),
        **torch(cuda_device(0, CARD_NAME, "8.9", 24)),
    }


def mismatch() -> Answers:
    """Return a desktop whose driver was updated and that was not started again."""
    failure = "Failed to initialize NVML: Driver/library version mismatch"
    return {
        **desktop(),
        **kernel_module("575.64.03", flavour="open"),
        **nvml_fails("NVML_ERROR_LIB_RM_VERSION_MISMATCH", "Driver/library version mismatch", failure, 18),
        **torch(problem="CUDA initialization: Unexpected error from cudaGetDeviceCount(). Error 803"),
    }


DPKG = (
    "run dpkg-query -W -f ${db:Status-Abbrev} ${Package} ${Version}\n nvidia-driver* libnvidia-compute* libcuda1 "
    "nvidia-kernel-* nvidia-dkms-*"
)


def installed_packages(version: str = "") -> Answers:
    """Return what dpkg knows of a driver; without a version it has none."""
    listed = f"ii  nvidia-driver-{version.partition('.')[0]} {version}-0ubuntu0.24.04.1\n" if version else ""
    return {"which dpkg-query": "/usr/bin/dpkg-query", DPKG: printed(listed, 0 if version else 1)}


def without_driver() -> Answers:
    """Return a desktop on which NVIDIA's driver was never installed."""
    return {
        **linux(cpu="AMD Ryzen 9 7950X 16-Core Processor", cores=32, memory=64),
        **python(("torch", "2.9.0+cu128")),
        **bus(CARD, driver=""),
        **installed_packages(),
        "run inside nvml_probe": said(
            {"kind": "nvml", "state": "NVML_ERROR_LIBRARY_NOT_FOUND", "message": "NVML Shared Library Not Found"}
        ),
        **torch(problem="Found no NVIDIA driver on your system"),
    }


COMMUNICATION = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest NVIDIA "
    "driver is installed and running."
)


def nouveau() -> Answers:
    """Return a desktop with the driver's packages, whose card the free driver holds."""
    return {
        **without_driver(),
        **bus(CARD, driver="nouveau"),
        **libraries("580.95.05"),
        **installed_packages("580.95.05"),
        "read /proc/modules": {"outcome": "ok", "text": "nouveau 2453504 1 - Live 0x0\n"},
        "status /lib/modules/6.8.0-79-generic": folder("/lib/modules/6.8.0-79-generic"),
        "run modinfo -F version nvidia nvidia-current": printed("580.95.05\n", 1),
        **nvml_fails("NVML_ERROR_DRIVER_NOT_LOADED", "Driver Not Loaded", COMMUNICATION, 9),
    }


def secure_boot() -> Answers:
    """Return a laptop whose firmware refuses the module that was built for it."""
    return {
        **without_driver(),
        **libraries("580.95.05"),
        **installed_packages("580.95.05"),
        **text("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "\x06\x00\x00\x00\x01"),
        "status /lib/modules/6.8.0-79-generic": folder("/lib/modules/6.8.0-79-generic"),
        "run modinfo -F version nvidia nvidia-current": printed("580.95.05\n", 1),
        "run kernel log from dmesg": printed("[    4.211] Loading of module with unavailable key is rejected\n"),
        **nvml_fails("NVML_ERROR_DRIVER_NOT_LOADED", "Driver Not Loaded", COMMUNICATION, 9),
    }


def wsl(*, place: str = "/usr/lib/wsl/lib") -> Answers:
    """Return Ubuntu in WSL 2 on a Windows with NVIDIA's driver."""
    found = {
        **linux(kernel="6.6.87.2-microsoft-standard-WSL2", cores=16, memory=16),
        **variables(WSL_DISTRO_NAME="Ubuntu"),
        **python(("torch", "2.9.0+cu128")),
        **libraries("1", place),
        "entries /dev": ["dxg", "null", "shm", "tty", "zero"],
        "status /dev/dxg": device("/dev/dxg"),
        "entries /sys/bus/pci/devices": [],
        **nvml("581.42", "13.0", gpu(0, CARD_NAME, "8.9", 24, CARD[0])),
        **torch(cuda_device(0, CARD_NAME, "8.9", 24)),
    }
    found[f"status {place}/libcuda.so.1"]["real_path"] = f"{place}/libcuda.so.1.1"
    return found


def wsl_with_linux_driver() -> Answers:
    """Return the same with a Linux driver installed over the one of Windows."""
    failure = "Failed to initialize NVML: GPU access blocked by the operating system"
    return {
        **wsl(),
        **dict.fromkeys(libraries("1", "/usr/lib/wsl/lib")),
        **libraries("550.163.01"),
        **text("/etc/ld.so.conf.d/x86_64-linux-gnu.conf", "/usr/lib/x86_64-linux-gnu\n"),
        "entries /etc/ld.so.conf.d": ["x86_64-linux-gnu.conf"],
        **installed_packages("550.163.01"),
        **nvml_fails("NVML_ERROR_OPERATING_SYSTEM", "GPU access blocked by the operating system", failure, 17),
        **torch(problem="Found no NVIDIA driver on your system"),
    }


def mac(*, translated: bool = False) -> Answers:
    """Return a Mac with an Apple chip; translated: with a Python for Intel."""
    kind = "x86_64" if translated else "arm64"
    home, project = "/Users/user", "/Users/user/project"
    names = "machdep.cpu.brand_string machdep.cpu.vendor machdep.cpu.features machdep.cpu.leaf7_features"
    release = "2.2.2" if translated else "2.9.0"
    gpu_device = {
        "name": "mps:0",
        "kind": "mps",
        "model": "Apple M2 Pro",
        "computed": True,
        "error": "",
        "seconds": 0.3,
    }
    found = machine(
        answers={
            "uname": {"system": "Darwin", "release": "24.6.0", "version": "Darwin Kernel", "machine": kind},
            "macos_version": "15.6.1",
            "home": home,
            "temporary_folder": "/var/folders/zz/T",
            "working_directory": project,
            "user_id": 501,
            "user_groups": ["staff"],
            "logical_cores": 12,
            "physical_cores": 12,
            "load_average": 1.9,
            "memory": {"total": 32 * GIB, "available": 20 * GIB, "swap_total": 0, "swap_free": 0},
            "resource_limits": {"open_files": [256, -1], "processes": [5333, 8000], "file_size": [-1, -1]},
        },
        more={
            "run sysctl -i sysctl.proc_translated kern.hv_vmm_present": printed(
                f"sysctl.proc_translated: {int(translated)}\nkern.hv_vmm_present: 0\n"
            ),
            f"run sysctl -i {names}": printed("machdep.cpu.brand_string: Apple M2 Pro\n"),
            "run sysctl -n machdep.cpu.brand_string": printed("Apple M2 Pro\n"),
            **{f"status {path}": folder(path) for path in (home, project, f"{project}/.venv", "/var/folders/zz/T")},
            **{f"space {path}": room(926, 400) for path in (home, project, f"{project}/.venv", "/var/folders/zz/T")},
            **no_framework(),
            **python(
                ("torch", release),
                prefix=f"{project}/.venv",
                base="/usr/local" if translated else "/opt/homebrew",
                machine_name=kind,
                platform_tag=f"macosx-14.0-{kind}",
                system="Darwin",
                numpy="1.26.4" if translated else "2.3.3",
            ),
            **torch(
                *([] if translated else [gpu_device]),
                version=release,
                accelerator="cpu" if translated else "mps",
                cuda="",
                numpy="1.26.4" if translated else "2.3.3",
            ),
        },
    )
    return dict(found._observations)


def windows() -> Answers:
    """Return a Windows machine with a healthy GeForce RTX 4090."""
    home, project = "C:/Users/user", "C:/Users/user/project"
    found = machine(
        answers={
            "uname": {"system": "Windows", "release": "11", "version": "10.0.26100", "machine": "AMD64"},
            "windows_version": ["11", "10.0.26100", "SP0", "Multiprocessor Free"],
            "home": home,
            "temporary_folder": f"{home}/AppData/Local/Temp",
            "working_directory": project,
            "own_interpreter": f"{home}/AppData/Roaming/uv/tools/envcheck-ml/Scripts/python.exe",
            "logical_cores": 24,
            "physical_cores": 16,
            "memory": {"total": 64 * GIB, "available": 48 * GIB, "swap_total": 4 * GIB, "swap_free": 4 * GIB},
        },
        variables={"PROCESSOR_IDENTIFIER": "Intel64 Family 6 Model 183 Stepping 1, GenuineIntel"},
        more={
            **{f"status {path}": folder(path) for path in (home, project, f"{project}/.venv")},
            **{f"space {path}": room(953, 300) for path in (home, project, f"{project}/.venv")},
            **no_framework(),
            **python(
                ("torch", "2.9.0+cu128"),
                prefix=f"{project}/.venv",
                base=f"{home}/AppData/Local/Programs/Python/Python312",
                machine_name="AMD64",
                platform_tag="win-amd64",
                system="Windows",
            ),
            **nvml("581.42", "13.0", gpu(0, CARD_NAME, "8.9", 24, CARD[0])),
            **torch(cuda_device(0, CARD_NAME, "8.9", 24)),
        },
    )
    return dict(found._observations)


def server(count: int = 8) -> Answers:
    """Return a node with healthy H100s."""
    name, driver = "NVIDIA H100 80GB HBM3", "570.133.20"
    addresses = [f"0000:{18 + 16 * number:02x}:00.0" for number in range(count)]
    health = {
        "ecc_enabled": True,
        "ecc_enabled_pending": True,
        "ecc_corrected": 0,
        "ecc_uncorrected": 0,
        "remapped_rows_corrected": 0,
        "remapped_rows_uncorrected": 0,
        "remap_pending": False,
        "remap_failed": False,
        "persistence_mode": True,
        "mig_enabled": False,
        "performance_state": "P0",
    }
    cards = [gpu(number, name, "9.0", 79.6, address, **health) for number, address in enumerate(addresses)]
    return {
        **linux(
            name="Ubuntu 22.04.5 LTS",
            distribution=("ubuntu", "22.04"),
            kernel="5.15.0-153-generic",
            glibc="2.35",
            cpu="Intel(R) Xeon(R) Platinum 8480C",
            cores=224,
            memory=2048,
            shared_memory=1008,
        ),
        **python(("torch", "2.9.0+cu128")),
        **bus(*((address, "2330", "30200") for address in addresses)),
        **kernel_module(driver, flavour="open"),
        **libraries(driver),
        **nodes(count),
        **nvml(driver, "12.8", *cards),
        **torch(*(cuda_device(number, name, "9.0", 79) for number in range(count))),
    }


def server_with_memory_fault() -> Answers:
    """Return the same node, GPU 3 of which waits for a reset after an uncorrectable error."""
    found = server()
    items = [json.loads(line) for line in found["run inside nvml_probe"]["stdout"].splitlines()]
    for item in items:
        if item.get("index") == 3:
            item.update(ecc_uncorrected=2, remapped_rows_uncorrected=1, remap_pending=True)
    found["run inside nvml_probe"] = said(*items)
    found["run kernel log from dmesg"] = printed(
        "[93211.402] NVRM: Xid (PCI:0000:42:00): 63, pid=4121, name=python3, Row Remapper: New row (0x1a) marked for "
        "remapping, reset gpu to activate.\n"
    )
    return found


def fell_off_the_bus() -> Answers:
    """Return a workstation with two A10s, one of which no longer answers."""
    addresses = ["0000:17:00.0", "0000:65:00.0"]
    driver = "580.95.05"
    lost = {"kind": "gpu", "index": 1, "state": "NVML_ERROR_GPU_IS_LOST", "unreadable": {}}
    smi = (
        "Unable to determine the device handle for GPU0: 0000:65:00.0: GPU is lost.  "
        "Reboot the system to recover this GPU"
    )
    return {
        **linux(cpu="AMD EPYC 7313P 16-Core Processor", cores=32, memory=256),
        **python(("torch", "2.9.0+cu128")),
        **bus(*((address, "2236", "30200") for address in addresses)),
        **kernel_module(driver),
        **libraries(driver),
        **nodes(2),
        **nvml(driver, "13.0", gpu(0, "NVIDIA A10", "8.6", 22.5, addresses[0]), lost),
        "run nvidia-smi": printed(smi + "\n", 15),
        "run kernel log from dmesg": printed(
            "[18034.118] NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
        ),
        **torch(cuda_device(0, "NVIDIA A10", "8.6", 22)),
    }


def container(base: Answers, **environment: str) -> Answers:
    """Return a Docker container on a machine: its kernel, modules and bus, with nothing of its driver handed in."""
    found = {
        **base,
        **text("/.dockerenv", ""),
        **{key: None for key in base if key.startswith(("status /usr/lib/x86_64-linux-gnu/lib", "status /dev/nvidia"))},
        "read /proc/self/mountinfo": {
            "outcome": "ok",
            "text": "22 1 0:50 / / rw - overlay overlay rw\n23 22 0:5 / /dev/shm rw - tmpfs shm rw\n"
            "24 22 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n",
        },
        "read /proc/1/comm": {"outcome": "ok", "text": "bash\n"},
        "read /proc/self/cgroup": {"outcome": "ok", "text": "0::/\n"},
        "entries /dev": ["null", "shm", "tty", "zero"],
        "which nvidia-smi": None,
        "run nvidia-smi": None,
        "run inside nvml_probe": said(
            {"kind": "nvml", "state": "NVML_ERROR_LIBRARY_NOT_FOUND", "message": "NVML Shared Library Not Found"}
        ),
        "ask user_id": 0,
        "ask user_groups": ["root"],
        **variables(**environment),
        **torch(problem="Found no NVIDIA driver on your system"),
    }
    return {key: answer for key, answer in found.items() if answer is not None}


def container_without_gpu() -> Answers:
    """Return a CUDA image that was started without --gpus."""
    return container(desktop(), NVIDIA_VISIBLE_DEVICES="all", CUDA_VERSION="12.8.1")


def pod_without_gpu() -> Answers:
    """Return a pod that asked for no GPU on a node that has eight, in a project that needs one."""
    return {
        **container(server(), KUBERNETES_SERVICE_HOST="192.0.2.1"),
        **require("gpus>=1"),
        "space /dev/shm": {**room(0, 0), "total_bytes": 64 * 2**20, "free_bytes": 64 * 2**20},
    }


def container_that_lost_its_gpu() -> Answers:
    """Return a container whose device rules were set anew by a daemon-reload on the host."""
    found = container(desktop(), NVIDIA_VISIBLE_DEVICES="all", CUDA_VERSION="12.8.1")
    failure = "Failed to initialize NVML: Unknown Error"
    return {
        **found,
        **nodes(1, open_to_user=False),
        **libraries("580.95.05"),
        **nvml_fails("NVML_ERROR_UNKNOWN", "Unknown Error", failure, 255),
        **torch(problem="CUDA initialization: CUDA unknown error"),
    }


def old_driver() -> Answers:
    """Return a server with a driver from before CUDA 12."""
    driver = "470.256.02"
    found = {**desktop(driver, "11.4"), **kernel_module(driver)}
    card = ("0000:01:00.0", "2204", "30000")
    problem = "The NVIDIA driver on your system is too old (found version 11040)"
    return {
        **found,
        **bus(card),
        **nvml(driver, "11.4", gpu(0, "NVIDIA GeForce RTX 3090", "8.6", 24, card[0])),
        **torch(problem=problem),
    }


def pascal() -> Answers:
    """Return a desktop with a card for which current builds of torch have no code."""
    card, name = ("0000:01:00.0", "1b06", "30000"), "NVIDIA GeForce GTX 1080 Ti"
    error = "AcceleratorError: CUDA error: no kernel image is available for execution on the device"
    driver = "570.133.20"
    return {
        **desktop(driver, "12.8"),
        **kernel_module(driver),
        **bus(card),
        **nvml(driver, "12.8", gpu(0, name, "6.1", 11, card[0])),
        **torch(cuda_device(0, name, "6.1", 11, error)),
    }


def slurm_without_gpu() -> Answers:
    """Return a Slurm job on a node with GPUs, that asked for none."""
    return {
        **server(),
        **variables(SLURM_JOB_ID="4711", SLURM_JOB_PARTITION="gpu", CUDA_VISIBLE_DEVICES="NoDevFiles"),
        **nodes(8, open_to_user=False),
        **nvml_fails("NVML_ERROR_NO_PERMISSION", "Insufficient Permissions", "No devices were found", 6),
        **torch(problem=NO_GPU),
    }


def radeon(*, open_to_user: bool = True) -> Answers:
    """Return a desktop with a Radeon RX 7900 XTX and PyTorch for ROCm."""
    address, node = "0000:03:00.0", "/dev/dri/renderD128"
    rocm_device = {**cuda_device(0, "AMD Radeon RX 7900 XTX", "", 24), "kind": "rocm"}
    build = "2.9.0+rocm6.4"
    found = {
        **linux(cpu="AMD Ryzen 9 7900X 12-Core Processor", cores=24, memory=64),
        **python(("torch", build)),
        "entries /sys/bus/pci/devices": [address],
        f"read /sys/bus/pci/devices/{address}/uevent": {
            "outcome": "ok",
            "text": f"DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:744C\nPCI_SLOT_NAME={address}\n",
        },
        "read /proc/modules": {"outcome": "ok", "text": "amdgpu 19644416 1 - Live 0x0\n"},
        "status /dev/kfd": {**device("/dev/kfd", "0660", open_to_user=open_to_user), "group": "render"},
        f"status {node}": {**device(node, "0660", open_to_user=open_to_user), "group": "render"},
        "entries /dev/dri": ["card0", "renderD128"],
        "entries /sys/class/kfd/kfd/topology/nodes": ["0", "1"],
        "read /sys/class/kfd/kfd/topology/nodes/1/properties": {"outcome": "ok", "text": "gfx_target_version 110000\n"},
        "entries /opt": ["rocm-6.4.1"],
        "read /opt/rocm-6.4.1/.info/version": {"outcome": "ok", "text": "6.4.1-83\n"},
        **torch(
            *([rocm_device] if open_to_user else []),
            version=build,
            accelerator="rocm",
            cuda="",
            rocm="6.4.43484",
            problem="" if open_to_user else "No HIP GPUs are available",
        ),
    }
    if not open_to_user:
        found["ask user_groups"] = ["user", "sudo"]
    return found


def conda() -> Answers:
    """Return a machine without a GPU on which an active conda environment holds PyTorch."""
    prefix = f"{HOME}/miniforge3/envs/vision"
    return {
        **linux(),
        **python(("torch", "2.9.0"), kind="conda", prefix=prefix, base=prefix),
        **variables(CONDA_PREFIX=prefix, CONDA_DEFAULT_ENV="vision"),
        f"status {prefix}": folder(prefix),
        f"space {prefix}": room(468, 210),
        **torch(version="2.9.0", accelerator="cpu", cuda=""),
    }


def machines() -> dict[str, Answers]:
    """Return every composed machine as its file has it."""
    described = {
        "desktop-rtx-4090": (desktop(), "a desktop with a GeForce RTX 4090, all well"),
        "desktop-driver-updated-without-reboot": (mismatch(), "kernel module 575.64.03, libraries 580.95.05"),
        "desktop-nouveau": (nouveau(), "the free driver nouveau holds the card"),
        "desktop-without-driver": (without_driver(), "a GPU, and no driver was ever installed"),
        "laptop-secure-boot": (secure_boot(), "Secure Boot rejects the kernel module"),
        "wsl2-rtx-4090": (wsl(), "WSL 2 with the driver of Windows, all well"),
        "wsl2-linux-driver": (wsl_with_linux_driver(), "WSL 2 with a Linux driver installed in it"),
        "mac-m2": (mac(), "a Mac with an Apple M2 Pro, all well"),
        "mac-m2-intel-python": (mac(translated=True), "the same Mac with a Python for Intel processors"),
        "windows-rtx-4090": (windows(), "Windows 11 with a GeForce RTX 4090, all well"),
        "node-8-h100": (server(), "a node with eight H100s, all well"),
        "node-8-h100-memory-fault": (server_with_memory_fault(), "GPU 3 waits for a reset after a memory error"),
        "workstation-gpu-off-the-bus": (fell_off_the_bus(), "one of two A10s fell off the bus (Xid 79)"),
        "docker-gpu-not-requested": (container_without_gpu(), "a CUDA image started without --gpus"),
        "docker-lost-gpu": (container_that_lost_its_gpu(), "device rules set anew by a daemon-reload on the host"),
        "kubernetes-pod-without-gpu": (pod_without_gpu(), "a pod without a GPU in a project that requires one"),
        "server-driver-too-old": (old_driver(), "driver 470 under a torch for CUDA 12.8"),
        "desktop-gtx-1080-ti": (pascal(), "a Pascal card under a torch that has no code for it"),
        "desktop-radeon-7900-xtx": (radeon(), "a Radeon RX 7900 XTX with PyTorch for ROCm, all well"),
        "desktop-radeon-closed-to-user": (radeon(open_to_user=False), "the user is not in the group render"),
        "laptop-conda-without-gpu": (conda(), "an active conda environment, no GPU, all well"),
        "slurm-job-without-gpu": (slurm_without_gpu(), "a Slurm job that asked for no GPU"),
    }
    return {name: _file(answers, note) for name, (answers, note) in described.items()}


def _file(answers: Answers, note: str) -> Answers:
    project = answers["ask working_directory"]
    windows = answers["ask uname"]["system"] == "Windows"
    active = answers.get("getenv CONDA_PREFIX")
    environment = active or f"{project}/.venv"
    reason = "CONDA_PREFIX is set: an active conda environment" if active else "the working directory has a .venv"
    return {
        "format": FORMAT,
        "interpreter": {
            "path": f"{environment}/" + ("Scripts/python.exe" if windows else "bin/python"),
            "reason": reason,
            "folder": environment,
            "given": False,
        },
        "observations": dict(sorted((key, answer) for key, answer in answers.items() if answer is not None)),
        "envcheck": __version__,
        "note": f"Composed by compose.py, not recorded: {note}.",
        "options": {},
    }


def main() -> None:
    """Write every machine whose file would change."""
    for name, described in machines().items():
        path = HERE / f"{name}.json"
        content = json.dumps(described, indent=1, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
