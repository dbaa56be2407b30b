"""What the operating system, the driver, containers and limits print becomes facts."""

from __future__ import annotations

import pytest

from envcheck.facts import Facts, NvidiaDriver, Platform
from envcheck.triage import facts_from


def facts(text: str) -> Facts:
    """Return the facts of a paste."""
    return facts_from([("paste", text.encode())])


def platform(text: str) -> Platform:
    """Return the platform that a paste tells of."""
    known = facts(text).platform
    assert known is not None
    return known


def driver(text: str) -> NvidiaDriver:
    """Return the driver that a paste tells of."""
    known = facts(text).driver
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "Linux node 6.8.0-45-generic #45-Ubuntu SMP PREEMPT_DYNAMIC Fri Aug 30 x86_64 x86_64 x86_64 GNU/Linux",
            {"system": "Linux", "kernel_release": "6.8.0-45-generic", "machine": "x86_64"},
        ),
        ("$ uname -r\n5.15.167.4-microsoft-standard-WSL2", {"wsl": 2, "system": "Linux"}),
        ("$ uname -r\n4.4.0-22621-Microsoft", {"wsl": 1}),
        (
            'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nID=debian',
            {"distribution": "debian", "distribution_version": "12"},
        ),
        ("Description:\tUbuntu 20.04.6 LTS", {"distribution": "ubuntu", "distribution_version": "20.04"}),
        (
            "CentOS Linux release 7.9.2009 (Core)",
            {"distribution": "centos", "distribution_version": "7.9.2009", "system": "Linux"},
        ),
        ("ldd (GNU libc) 2.17", {"libc": "glibc", "libc_version": "2.17"}),
        ("musl libc (x86_64)\nVersion 1.2.4", {"libc": "musl"}),
        ("SecureBoot enabled", {"secure_boot": True}),
        (
            "uid=1001(u) gid=1001(u) groups=1001(u),27(sudo),44(video)",
            {"user_id": 1001, "user_groups": ["u", "sudo", "video"]},
        ),
        ("OS Name:                   Microsoft Windows 11 Pro", {"system": "Windows", "distribution": "windows"}),
        (
            "ProductName:\t\tmacOS\nProductVersion:\t\t14.5\nBuildVersion:\t\t23F79",
            {"system": "Darwin", "distribution": "macos", "distribution_version": "14.5"},
        ),
        ("     __glibc=2.31=0", {"libc_version": "2.31"}),
        ("root@4f2a9c81d3be:/workspace# ls", {"container": "docker"}),
    ],
)
def test_systems_tell_what_they_are(text: str, fields: dict[str, object]) -> None:
    known = platform(text)
    assert {name: getattr(known, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024",
            {"module_loaded": True, "module_version": "550.54.15", "module_flavour": "proprietary"},
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35.03  Release Build",
            {"module_version": "560.35.03", "module_flavour": "open"},
        ),
        (
            (
                "NVRM: API mismatch: the client has the version 550.90.07, but\n"
                "NVRM: this kernel module has the version 550.54.15.  Please make sure"
            ),
            {"library_version": "550.90.07", "module_version": "550.54.15"},
        ),
        (
            "nvidia_uvm 1540096 0\nnvidia 56446976 2 nvidia_uvm,nvidia_modeset",
            {"module_loaded": True, "uvm_loaded": True},
        ),
        (
            "$ lsmod | grep nvidia\n$ lsmod | grep nouveau\nnouveau 2334720 4\n",
            {"module_loaded": False, "nouveau_loaded": True},
        ),
        ("modinfo: ERROR: Module nvidia not found.", {"module_on_disk": ""}),
        (
            "$ uname -r\n6.8.0-47-generic\n$ dkms status\nnvidia/550.107.02, 6.8.0-45-generic, x86_64: installed\n",
            {"module_on_disk": "", "packages_version": "550.107.02"},
        ),
        (
            "$ uname -r\n6.8.0-45-generic\n$ dkms status\nnvidia/550.107.02, 6.8.0-45-generic, x86_64: installed\n",
            {"module_on_disk": "550.107.02"},
        ),
        (
            "ii  nvidia-driver-550  550.107.02-0ubuntu0.22.04.1  amd64  NVIDIA driver metapackage",
            {"packages_version": "550.107.02"},
        ),
        ("ls: cannot access '/dev/nvidia*': No such file or directory", {"device_nodes": []}),
        ("bash: nvidia-smi: command not found", {"smi_path": "", "smi_state": "absent"}),
        (
            (
                "● nvidia-fabricmanager.service - NVIDIA fabric manager service\n     Loaded: loaded\n"
                "     Active: failed (Result: exit-code)"
            ),
            {"fabric_manager": "failed"},
        ),
    ],
)
def test_the_driver_is_known_from_what_its_tools_print(text: str, fields: dict[str, object]) -> None:
    known = driver(text)
    assert {name: getattr(known, name) for name in fields} == fields


def test_an_unanswered_last_command_is_no_answer() -> None:
    assert facts("$ lsmod | grep nvidia\n").driver is None


def test_device_nodes_are_read_with_mode_and_group() -> None:
    nodes = driver("crw-rw---- 1 root vglusers 195, 0 Mar  1 09:00 /dev/nvidia0\n").device_nodes
    assert nodes is not None
    assert (nodes[0].path, nodes[0].mode, nodes[0].group) == ("/dev/nvidia0", "0660", "vglusers")


def test_a_stub_of_libcuda_is_known_for_a_stub() -> None:
    libraries = driver("\tlibcuda.so.1 => /usr/local/cuda/lib64/stubs/libcuda.so.1 (0x00007f)\n").libraries
    assert libraries is not None
    assert libraries[0].stub


def test_lspci_gives_cards_their_driver_and_their_link() -> None:
    text = (
        "0000:65:00.0 3D controller [0302]: NVIDIA Corporation GA100 [A100 PCIe 40GB] [10de:20f1] (rev a1)\n"
        "\tLnkCap:\tPort #0, Speed 16GT/s, Width x16, ASPM not supported\n"
        "\tLnkSta:\tSpeed 8GT/s (downgraded), Width x8 (downgraded)\n\tKernel driver in use: vfio-pci\n"
    )
    pci = facts(text).pci
    assert pci is not None
    assert pci.devices is not None
    (device,) = pci.devices
    assert (device.vendor_id, device.device_id, device.class_code, device.driver) == (
        "10de",
        "20f1",
        "0302",
        "vfio-pci",
    )
    assert (device.link_speed, device.link_width, device.link_width_max) == ("8.0 GT/s PCIe", 8, 16)


def test_an_xid_is_found_in_dmesg_journal_and_syslog_with_its_time_and_device() -> None:
    line = "NVRM: Xid (PCI:0000:3b:00): 48, pid=1, name=python, DBE (double bit error)"
    for stamp, time in (
        ("[12345.678901] ", "12345.678901"),
        ("2025-03-01T10:00:00+0100 gpu1 kernel: ", "2025-03-01T10:00:00+0100"),
        ("Mar  1 10:00:00 gpu1 kernel: [12345.678901] ", "Mar  1 10:00:00"),
    ):
        log = facts(stamp + line).kernel_log
        assert log is not None
        assert log.messages is not None
        assert [(message.number, message.device) for message in log.messages] == [(48, "0000:3b:00.0")]
        assert log.messages[0].time.strip() == time


def test_a_container_without_a_gpu_request_is_told_from_one_with_it() -> None:
    without = facts(
        "$ docker run -it --rm \\\n  -v /data:/data \\\n  nvidia/cuda:12.6.2-base-ubuntu24.04 nvidia-smi\n"
    ).containers
    assert without is not None
    assert (without.gpu_requested, without.image_cuda) == (False, "12.6")
    with_gpu = facts("$ docker run --gpus all pytorch/pytorch:2.4.0-cuda12.4-cudnn9-runtime python x.py\n").containers
    assert with_gpu is not None
    assert (with_gpu.gpu_requested, with_gpu.image_cuda) == (True, "12.4")
    compose = facts(
        "services:\n  a:\n    image: x/y:1\n    deploy:\n      resources:\n        reservations:\n          devices:\n"
        "            - driver: nvidia\n              capabilities: [gpu]\n"
    ).containers
    assert compose is not None
    assert compose.gpu_requested is True


def test_variables_are_read_where_they_are_set_and_secrets_are_masked() -> None:
    known = facts(
        "$ CUDA_VISIBLE_DEVICES=3 python train.py\nexport LD_LIBRARY_PATH=/opt/cuda/lib64\n"
        "$ echo $CUDA_HOME\n/opt/cuda\n"
        "ENV PIP_EXTRA_INDEX_URL=https://user:pa55word@example.org/simple\nUNRELATED=1\n"
    )
    assert known.variables is not None
    values = known.variables.values or {}
    assert (values["CUDA_VISIBLE_DEVICES"], values["LD_LIBRARY_PATH"]) == ("3", "/opt/cuda/lib64")
    assert "UNRELATED" not in values
    assert "pa55word" not in str(values)
    assert known.toolkits is not None
    assert known.toolkits.cuda_home == "/opt/cuda"


def test_disks_memory_and_limits_are_read_in_the_units_that_were_printed() -> None:
    known = facts(
        "$ df -h\nFilesystem      Size  Used Avail Use% Mounted on\noverlay          50G   50G   20M 100% /\n"
        "shm              64M     0   64M   0% /dev/shm\n\n$ free -m\n"
        "               total        used        free      shared  buff/cache   available\n"
        "Mem:           15843       15000         300          10         500         512\n"
        "Swap:              0           0           0\n\n$ ulimit -n\n1024\n$ ulimit -l\n64\n$ nproc\n4\n"
    )
    assert known.storage is not None
    rooms = {place.purpose: place.free_bytes for place in known.storage.places or []}
    assert rooms == {"environment": 20 * 2**20, "shared memory": 64 * 2**20}
    assert known.memory is not None
    assert (known.memory.total_bytes, known.memory.swap_total_bytes) == (15843 * 2**20, 0)
    assert known.limits is not None
    assert (known.limits.open_files_soft, known.limits.locked_memory_soft_bytes) == (1024, 65536)
    assert known.cpu is not None
    assert known.cpu.allowed_cores == 4


def test_toolkits_compilers_and_cudnn_are_read() -> None:
    toolkits = facts(
        "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.4, V12.4.131\n"
        "gcc (Ubuntu 13.2.0-4ubuntu3) 13.2.0\n/usr/lib/x86_64-linux-gnu/libcudnn.so.8.9.7\n"
    ).toolkits
    assert toolkits is not None
    assert (toolkits.nvcc_version, toolkits.host_compiler) == ("12.4", "gcc 13.2.0")
    assert [library.version for library in toolkits.cudnn or []] == ["8.9.7"]


def test_amd_and_apple_are_recognised() -> None:
    known = facts("  Name:                    gfx1101\n  Marketing Name:          AMD Radeon RX 7800 XT\n").accelerators
    assert known is not None
    assert known.amd_targets == ["gfx1101"]
    mac = facts("      Chip: Apple M3 Max\n").accelerators
    assert mac is not None
    assert mac.apple_chip == "Apple M3 Max"
