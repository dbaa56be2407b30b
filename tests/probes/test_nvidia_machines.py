"""What the probes make of machines with GPUs, made up file by file."""

from __future__ import annotations

from typing import Any

import pytest

from envcheck.compat.xid import pci_address
from envcheck.interpreter import Interpreter
from envcheck.probe import Ended
from envcheck.probes.accelerators import accelerators
from envcheck.probes.driver import driver, smi_facts
from envcheck.probes.kernel_log import FAILED, kernel_log, messages
from envcheck.probes.nvml import nvml
from envcheck.probes.pci import pci
from envcheck.probes.toolkits import toolkits
from envcheck.report import Outcome
from envcheck.system import Completed, Recording
from envcheck.testing import machine

LINUX = {"uname": {"system": "Linux", "release": "6.1.0-25-amd64", "version": "", "machine": "x86_64"}, "user_id": 1000}

INTERPRETER = Interpreter("/home/me/.venv/bin/python", "given", folder="/home/me/.venv")

VERSION = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\n"
OPEN_VERSION = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (builder@host)  "
    "Tue Sep 23 09:55:41 UTC 2025\n"
)


def device(address_: str, pci_id: str, class_code: str = "30000", driver_: str = "nvidia") -> dict[str, str]:
    """Return the files of a PCI device."""
    folder = f"/sys/bus/pci/devices/{address_}"
    named = f"DRIVER={driver_}\n" if driver_ else ""
    return {
        f"{folder}/uevent": f"{named}PCI_CLASS={class_code}\nPCI_ID={pci_id}\nPCI_SUBSYS_ID=10DE:0000\n",
        f"{folder}/current_link_speed": "2.5 GT/s PCIe\n",
        f"{folder}/current_link_width": "16\n",
        f"{folder}/max_link_speed": "16.0 GT/s PCIe\n",
        f"{folder}/max_link_width": "16\n",
    }


def node(path: str, *, accessible: bool = True, mode: str = "0666") -> dict[str, Any]:
    """Return the observation of a device file."""
    status = {
        "outcome": "ok",
        "kind": "device",
        "real_path": path,
        "mode": mode,
        "group": "root",
        "readable": accessible,
        "writable": accessible,
    }
    return {f"status {path}": status}


def nvidia_machine(**more: Any) -> Recording:
    """Return a healthy workstation with one card."""
    files = {
        **device("0000:01:00.0", "10DE:2684"),
        **device("0000:00:1f.3", "8086:A0C8", "40300", "snd_hda_intel"),
        "/proc/modules": "nvidia_uvm 1 0 - Live 0x0\nnvidia 2 1 nvidia_uvm, Live 0x0\n",
        "/proc/driver/nvidia/version": OPEN_VERSION,
        "/proc/driver/nvidia/params": "ModifyDeviceFiles: 1\nDeviceFileMode: 438\nOther: 3\n",
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1": "",
        "/usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1": "",
        **more.pop("files", {}),
    }
    observations: dict[str, Any] = {
        "entries /dev": ["null", "nvidia-uvm", "nvidia0", "nvidiactl", "tty"],
        **node("/dev/nvidia0"),
        **node("/dev/nvidiactl"),
        **node("/dev/nvidia-uvm"),
    }
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        path = f"/usr/lib/x86_64-linux-gnu/{name}"
        real = path.replace(".so.1", ".so.580.95.05")
        observations[f"status {path}"] = {"outcome": "ok", "kind": "file", "real_path": real, "readable": True}
    observations.update(more.pop("more", {}))
    return machine(files=files, answers=LINUX, more=observations, **more)


def look(system: Recording, *, quick: bool = True) -> Any:
    return driver(system, deadline=5, quick=quick)


def test_a_card_on_the_bus_is_named_with_its_driver_and_link() -> None:
    (card,) = pci(nvidia_machine()).devices or []
    assert card.name == "NVIDIA GeForce RTX 4090"
    assert (card.address, card.vendor_id, card.device_id) == ("0000:01:00.0", "10de", "2684")
    assert (card.class_code, card.driver) == ("0300", "nvidia")
    assert (card.link_width, card.link_width_max, card.link_speed_max) == (16, 16, "16.0 GT/s PCIe")


def test_nvswitches_are_no_gpus() -> None:
    found = pci(nvidia_machine(files=device("0000:05:00.0", "10DE:22A3", "68000", "nvidia-nvswitch")))
    assert len(found.devices or []) == 1
    assert found.nvswitches == ["0000:05:00.0"]


def test_a_bus_that_may_not_be_read_is_not_an_empty_bus() -> None:
    hidden = machine(answers=LINUX, more={"status /sys/bus/pci/devices": {"outcome": "denied"}})
    with pytest.raises(Ended) as ended:
        pci(hidden)
    assert ended.value.outcome is Outcome.DENIED


def test_a_machine_without_a_bus_has_none() -> None:
    with pytest.raises(Ended) as ended:
        pci(machine(answers=LINUX, more={"entries /sys": ["kernel"]}))
    assert ended.value.outcome is Outcome.ABSENT


def test_module_libraries_nodes_and_parameters_of_a_driver_are_read() -> None:
    found = look(nvidia_machine())
    assert (found.module_loaded, found.module_version, found.module_flavour) == (True, "580.95.05", "open")
    assert found.uvm_loaded
    assert found.nouveau_loaded is False
    assert found.library_version == "580.95.05"
    assert [entry.path for entry in found.device_nodes] == ["/dev/nvidia-uvm", "/dev/nvidia0", "/dev/nvidiactl"]
    assert all(entry.accessible for entry in found.device_nodes)
    assert found.module_parameters == {"ModifyDeviceFiles": "1", "DeviceFileMode": "438"}
    assert found.smi_path == ""


def test_a_module_of_the_older_wording_is_proprietary() -> None:
    found = look(nvidia_machine(files={"/proc/driver/nvidia/version": VERSION}))
    assert (found.module_version, found.module_flavour) == ("535.183.01", "proprietary")


def test_a_forward_compatibility_library_does_not_pass_for_the_drivers_own() -> None:
    folder = "/usr/local/cuda-13.0/compat"
    more = {
        f"status {folder}/libcuda.so.1": {
            "outcome": "ok",
            "kind": "file",
            "real_path": f"{folder}/libcuda.so.590.48.01",
        }
    }
    found = look(nvidia_machine(variables={"LD_LIBRARY_PATH": folder}, more=more))
    assert found.libraries[0].path == f"{folder}/libcuda.so.590.48.01"
    assert found.library_version == "580.95.05"


def test_a_stub_that_is_found_first_is_seen() -> None:
    folder = "/usr/local/cuda/lib64/stubs"
    found = look(nvidia_machine(variables={"LD_LIBRARY_PATH": folder}, files={f"{folder}/libcuda.so.1": ""}))
    assert found.libraries[0].stub


def test_a_module_that_is_not_built_for_the_running_kernel_is_told_from_one_that_is_not_loaded() -> None:
    files = {"/proc/modules": "ext4 1 0 - Live 0x0\n", "/lib/modules/6.1.0-25-amd64/modules.dep": ""}
    gone = {"read /proc/driver/nvidia/version": {"outcome": "absent"}}
    missing = Completed(outcome="ok", exit_code=1, stderr="modinfo: ERROR: Module nvidia not found.\n")
    packages = Completed(outcome="ok", exit_code=0, stdout="ii  nvidia-driver 535.183.01-1~deb12u1\n")
    query = (
        "dpkg-query -W -f ${db:Status-Abbrev} ${Package} ${Version}\n nvidia-driver* libnvidia-compute* libcuda1 "
        "nvidia-kernel-* nvidia-dkms-*"
    )
    found = look(
        nvidia_machine(
            files=files,
            more=gone,
            programs={"dpkg-query": "/usr/bin/dpkg-query"},
            runs={"modinfo -F version nvidia nvidia-current": missing, query: packages},
        )
    )
    assert found.module_loaded is False
    assert found.module_on_disk == ""
    assert found.packages_version == "535.183.01"


def test_unreadable_files_in_proc_leave_the_facts_unknown() -> None:
    denied = {"read /proc/modules": {"outcome": "denied"}, "read /proc/driver/nvidia/version": {"outcome": "denied"}}
    found = look(nvidia_machine(more=denied))
    assert found.module_loaded is found.module_version is found.uvm_loaded is found.nouveau_loaded is None


def test_a_machine_without_a_trace_of_nvidia_starts_no_program() -> None:
    plain = machine(answers=LINUX, files={"/proc/modules": "ext4 1 0 - Live 0x0\n"})
    for probe in (lambda: look(plain), lambda: nvml(plain, INTERPRETER, 5)):
        with pytest.raises(Ended) as ended:
            probe()
        assert ended.value.outcome is Outcome.ABSENT


def test_a_jetson_is_not_taken_for_a_machine_whose_driver_is_broken() -> None:
    jetson = machine(
        answers=LINUX,
        files={
            "/proc/modules": "nvgpu 1 0 - Live 0x0\n",
            "/proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0",
            "/etc/ld.so.conf.d/nvidia-tegra.conf": "/usr/lib/aarch64-linux-gnu/tegra\n",
            "/usr/lib/aarch64-linux-gnu/tegra/libcuda.so.1": "",
        },
    )
    for probe in (lambda: look(jetson), lambda: nvml(jetson, INTERPRETER, 5)):
        with pytest.raises(Ended) as ended:
            probe()
        assert ended.value.outcome is Outcome.ABSENT


def test_nvidia_smi_is_asked_only_where_there_is_time() -> None:
    table = Completed(
        outcome="ok",
        exit_code=0,
        stdout="| NVIDIA-SMI 610.57.04   KMD Version: 610.57.04   CUDA UMD Version: 13.3 |\n",
    )
    system = nvidia_machine(programs={"nvidia-smi": "/usr/bin/nvidia-smi"}, runs={"nvidia-smi": table})
    assert look(system, quick=True).smi_state is None
    asked = look(system, quick=False)
    assert (asked.smi_state, asked.smi_driver_version, asked.smi_cuda_version) == ("ok", "610.57.04", "13.3")


@pytest.mark.parametrize(
    ("completed", "state"),
    [
        (Completed(outcome="timeout", seconds=5.0), "timeout"),
        (Completed(outcome="signal", signal="SIGSEGV"), "crash"),
        (Completed(outcome="denied", reason="Permission denied"), "failed"),
        (Completed(outcome="ok", exit_code=0, stdout="\x00\x01"), "garbled"),
        (Completed(outcome="ok", exit_code=0, stdout=""), "garbled"),
        (
            Completed(outcome="ok", exit_code=9, stdout="NVIDIA-SMI has failed because it couldn't communicate"),
            "failed",
        ),
        (Completed(outcome="ok", exit_code=6, stdout="No devices were found"), "failed"),
    ],
)
def test_whatever_nvidia_smi_does_is_an_answer(completed: Completed, state: str) -> None:
    assert smi_facts(completed)["smi_state"] == state


def test_toolkits_are_found_with_their_version_and_compiler() -> None:
    found = toolkits(
        machine(
            answers=LINUX,
            files={
                "/usr/local/cuda-12.4/version.json": '{"cuda": {"name": "CUDA SDK", "version": "12.4.1"}}',
                "/usr/local/cuda-12.4/bin/nvcc": "",
                "/usr/local/cuda-9.0/version.txt": "CUDA Version 9.0.176\n",
                "/usr/local/share/readme": "",
                "/home/me/.venv/lib/python3.11/site-packages/nvidia/cudnn/lib/libcudnn.so.9": "",
                "/home/me/.venv/lib/python3.11/site-packages/nvidia_cudnn_cu12-9.10.2.21.dist-info/METADATA": "",
            },
            programs={"nvcc": "/usr/local/cuda-12.4/bin/nvcc", "gcc": "/usr/bin/gcc"},
            runs={
                "nvcc --version": Completed(
                    outcome="ok", exit_code=0, stdout="Cuda compilation tools, release 12.4, V12"
                ),
                "gcc -dumpfullversion -dumpversion": Completed(outcome="ok", exit_code=0, stdout="12.2.0\n"),
            },
        ),
        INTERPRETER,
        5,
        quick=False,
    )
    assert [(toolkit.path, toolkit.version, toolkit.has_nvcc) for toolkit in found.toolkits or []] == [
        ("/usr/local/cuda-12.4", "12.4.1", True),
        ("/usr/local/cuda-9.0", "9.0.176", False),
    ]
    assert (found.nvcc_version, found.host_compiler) == ("12.4", "gcc 12.2.0")
    assert [library.version for library in found.cudnn or []] == ["9.10.2.21"]


def test_no_compiler_is_asked_where_there_is_no_toolkit() -> None:
    found = toolkits(machine(answers=LINUX, programs={"gcc": "/usr/bin/gcc"}), INTERPRETER, 5, quick=False)
    assert (found.toolkits, found.nvcc_path, found.host_compiler) == ([], "", None)


def test_an_amd_gpu_is_known_by_its_name_and_gfx_target() -> None:
    found = accelerators(
        machine(
            answers=LINUX,
            files={
                **device("0000:03:00.0", "1002:744C", driver_="amdgpu"),
                "/proc/modules": "amdgpu 1 0 - Live 0x0\n",
                "/sys/class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 16\ngfx_target_version 0\n",
                "/sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 192\ngfx_target_version 110000\n",
                "/opt/rocm/.info/version": "6.4.1-83\n",
            },
            more={
                "entries /dev/dri": ["card0", "renderD128"],
                **node("/dev/kfd", accessible=False),
                **node("/dev/dri/renderD128"),
            },
        )
    )
    assert found.amd_targets == ["gfx1100"]
    assert found.amd_kernel_driver
    assert found.rocm_version == "6.4.1"
    assert found.amd_kfd is not None
    assert found.amd_kfd.accessible is False
    assert found.amd_devices == ["Radeon RX 7900 XTX"]


def test_an_apple_chip_is_recognised_under_rosetta_too() -> None:
    chip = Completed(outcome="ok", exit_code=0, stdout="Apple M2 Pro\n")
    found = accelerators(
        machine(
            answers={"uname": {"system": "Darwin", "release": "23", "version": "", "machine": "x86_64"}},
            runs={"sysctl -n machdep.cpu.brand_string": chip},
        )
    )
    assert (found.apple_chip, found.metal) == ("Apple M2 Pro", True)


LOG = """\
[    3.114911] nvidia: loading out-of-tree module taints kernel.
[  912.000001] NVRM: Xid (PCI:0000:0a:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
[  913.500000] nothing of interest here
"""


def test_lines_of_the_kernel_log_are_kept_with_time_device_and_number() -> None:
    log = kernel_log(
        machine(answers=LINUX, runs={"kernel log from dmesg": Completed(outcome="ok", exit_code=0, stdout=LOG)}),
        4,
        quick=True,
    )
    assert log.readable
    line = (log.messages or [])[-1]
    assert (line.kind, line.number, line.device, line.time) == ("xid", 79, "0000:0a:00.0", "912.000001")


@pytest.mark.parametrize(
    "completed",
    [
        Completed(outcome="ok", exit_code=0, stdout=f"{FAILED} 1\n", stderr="dmesg: read kernel buffer failed"),
        Completed(outcome="ok", exit_code=1, stderr="No journal files were opened due to insufficient permissions."),
        Completed(outcome="absent"),
        Completed(outcome="timeout"),
    ],
)
def test_a_log_that_may_not_be_read_is_never_called_clean(completed: Completed) -> None:
    runs = {"kernel log from dmesg": completed, "kernel log from journalctl -k": completed}
    log = kernel_log(machine(answers=LINUX, runs=runs), 4, quick=False)
    assert log.readable is False
    assert log.messages is None


def test_a_restricted_log_is_not_even_asked_for() -> None:
    runs = {"kernel log from dmesg": Completed(outcome="ok", exit_code=0, stdout=LOG)}
    restricted = machine(answers=LINUX, runs=runs, files={"/proc/sys/kernel/dmesg_restrict": "1\n"})
    assert kernel_log(restricted, 4, quick=True).readable is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PCI:0000:61:00", "0000:61:00.0"),
        ("0000:01:00.0", "0000:01:00.0"),
        ("00000000:0A:00.0", "0000:0a:00.0"),
        ("none", ""),
    ],
)
def test_addresses_of_the_log_take_the_kernels_form(text: str, expected: str) -> None:
    assert pci_address(text) == expected


def test_a_long_log_keeps_its_newest_lines() -> None:
    text = "".join(f"[{number}.000000] NVRM: Xid (PCI:0000:0a:00): 31, pid=1, name=x, Ch 1\n" for number in range(3000))
    found = messages(text, "dmesg")
    assert len(found) == 2000
    assert found[-1].time == "2999.000000"
