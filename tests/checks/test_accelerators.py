"""What is said of GPUs of AMD, Intel and Apple."""

from __future__ import annotations

from msgspec.structs import replace
from nvidia_facts import TORCH, UBUNTU, first, report

from envcheck.facts import (
    ComputeDevice,
    DeviceNode,
    Framework,
    OtherAccelerators,
    Pci,
    PciDevice,
    Platform,
)
from envcheck.report import Severity

CARD = PciDevice(address="0000:03:00.0", vendor_id="1002", device_id="744c", class_code="0300", driver="amdgpu")
RADEON = OtherAccelerators(
    amd_devices=["Radeon RX 7900 XTX"],
    amd_kernel_driver=True,
    amd_kfd=DeviceNode(path="/dev/kfd", mode="0660", group="render", accessible=True),
    amd_targets=["gfx1100"],
    rocm_version="6.4.1",
    render_nodes=[DeviceNode(path="/dev/dri/renderD128", mode="0660", group="render", accessible=True)],
    intel_devices=[],
)
ROCM = Framework(
    name="torch",
    metadata_version="2.9.0+rocm6.4",
    state="ok",
    accelerator="rocm",
    rocm="6.4",
    sees_gpu=True,
    architectures=["gfx90a", "gfx1100"],
    devices=[ComputeDevice(name="cuda:0", kind="rocm", computed=True)],
)
AMD = {"pci": Pci(devices=[CARD]), "driver": None, "nvml": None, "accelerators": RADEON, "torch": ROCM}


def test_a_working_radeon_hears_nothing() -> None:
    assert report("torch.rocm", **AMD).findings == []


def test_a_user_who_may_not_open_kfd_is_told_which_groups_to_join() -> None:
    closed = replace(RADEON, amd_kfd=DeviceNode(path="/dev/kfd", mode="0660", group="render", accessible=False))
    blind = replace(ROCM, sees_gpu=False, devices=[])
    found = first(**{**AMD, "accelerators": closed, "torch": blind})
    assert found.cause == "rocm-permission"
    assert found.remedies[0].commands == ['sudo usermod -aG render,video "$USER"']
    assert [consequence.check for consequence in found.consequences] == ["torch-sees-its-accelerator"]


def test_a_missing_kfd_is_named_where_rocm_is_to_be_used() -> None:
    without = replace(RADEON, amd_kfd=None)
    found = first(**{**AMD, "accelerators": without, "torch": replace(ROCM, sees_gpu=False, devices=[])})
    assert (found.cause, found.check) == ("rocm-mismatch", "rocm-driver-is-there")
    assert "docker run" not in found.remedies[0].commands[0]


def test_a_container_is_told_the_devices_to_start_it_with() -> None:
    changed = {**AMD, "accelerators": replace(RADEON, amd_kfd=None), "torch": replace(ROCM, sees_gpu=False, devices=[])}
    found = first(**changed, platform=replace(UBUNTU, container="docker"))
    assert "--device /dev/kfd" in found.remedies[0].commands[0]


def test_a_radeon_for_which_the_build_has_no_code_is_named() -> None:
    old = replace(RADEON, amd_targets=["gfx803"])
    broken = replace(
        ROCM, devices=[ComputeDevice(name="cuda:0", kind="rocm", computed=False, error="invalid device function")]
    )
    found = first(**{**AMD, "accelerators": old, "torch": broken})
    assert found.cause == "gpu-arch-not-in-build"
    assert "gfx803" in found.title


def test_the_default_cuda_build_on_a_radeon_machine_is_a_note_and_an_error_where_rocm_is_required() -> None:
    changed = {**AMD, "torch": TORCH}
    assert first(**changed).severity is Severity.NOTE
    required = first("torch.rocm", **changed)
    assert (required.cause, required.severity) == ("wrong-accelerator-build", Severity.ERROR)
    assert "whl/rocm" in required.remedies[0].commands[0]


def test_a_desktop_with_amd_graphics_and_a_cpu_build_is_healthy() -> None:
    graphics = OtherAccelerators(amd_devices=["1002:164e"], amd_kernel_driver=True, amd_kfd=None, intel_devices=[])
    changed = {**AMD, "accelerators": graphics, "torch": replace(TORCH, metadata_version="2.9.0+cpu")}
    assert report(**changed).findings == []


def test_an_intel_gpu_without_its_runtime_is_named() -> None:
    arc = OtherAccelerators(amd_devices=[], intel_devices=["Intel Arc A770"], intel_runtime=False)
    torch = replace(ROCM, accelerator="xpu", rocm=None, metadata_version="2.9.0+xpu", sees_gpu=False, devices=[])
    found = first(**{**AMD, "accelerators": arc, "torch": torch, "pci": Pci(devices=[])})
    assert (found.cause, found.severity) == ("xpu-runtime-missing", Severity.ERROR)
    assert "libze" in found.remedies[0].commands[0]


MAC = Platform(system="Darwin", machine="arm64", distribution="macos", distribution_version="13.6", container="", wsl=0)
APPLE = OtherAccelerators(apple_chip="Apple M1", metal=True)


def test_a_mac_too_old_for_metal_is_told_the_version_that_is_needed() -> None:
    torch = replace(TORCH, metadata_version="2.12.0", state="ok", accelerator="mps", sees_gpu=False)
    changed = {**AMD, "accelerators": APPLE, "torch": torch, "platform": MAC, "pci": None}
    assert first(**changed).severity is Severity.NOTE
    found = first("torch.mps", **changed)
    assert (found.cause, found.severity) == ("mps-unsupported", Severity.ERROR)
    assert "14.0" in found.title


def test_a_current_mac_hears_nothing() -> None:
    torch = replace(
        TORCH,
        metadata_version="2.12.0",
        state="ok",
        accelerator="mps",
        sees_gpu=True,
        devices=[ComputeDevice(name="mps", kind="mps", computed=True)],
    )
    mac = replace(MAC, distribution_version="15.1")
    changed = {**AMD, "accelerators": APPLE, "torch": torch, "platform": mac, "pci": None}
    assert report("torch.mps", **changed).findings == []
