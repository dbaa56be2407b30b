"""What can be known about a machine: the data dictionary.

A *fact group* is a frozen Struct; `Facts` has one field for each.  In a group, `None` means *unknown*: it was not
examined, or could not be.  What was examined and is not there has a value of its own: an empty list, an empty
string, `False` or 0.  `sources` says, field by field, where a value was read (a path, a command, `FILE:LINE` of a
paste); a field without an entry was read where the field's own description says.

Checks read facts and nothing else.  Units are part of a field's name (`_bytes`, `_seconds`, `_watts`, `_celsius`,
`_megahertz`).
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

Value = TypeVar("Value")


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """What every fact group has.

    Attributes:
        sources: field name → where its value was read.
    """

    sources: dict[str, str] = {}


class Platform(Group, frozen=True, kw_only=True):
    """The operating system and what it runs on.

    Attributes:
        system: `Linux`, `Darwin`, `Windows`; from `uname`.
        kernel_release: as `uname -r` prints it.
        kernel_version: as `uname -v` prints it.
        distribution: `ID` of os-release, such as `debian`; `macos`, `windows` elsewhere.
        distribution_version: `VERSION_ID` of os-release, such as `12`; the product version elsewhere.
        distribution_name: `PRETTY_NAME` of os-release.
        machine: the processor architecture as `uname -m` prints it, such as `x86_64`.
        emulation: what translates this architecture: `rosetta`, `qemu`; empty where it is native.
        libc: `glibc`, `musl`; empty on systems that have neither.
        libc_version: such as `2.36`.
        wsl: 0 outside WSL, 1 or 2 inside; from the kernel's release.
        virtual_machine: hypervisor, such as `kvm`; empty on bare metal.
        secure_boot: whether the firmware enforces signed kernel modules; from the SecureBoot EFI variable.
        container: `docker`, `podman`, `kubernetes`, `lxc`, `apptainer`, `systemd-nspawn`, `other`; empty outside.
        init: name of process 1.
        user_id: numeric id of the user; None on Windows.
        user_groups: names of the groups that the user is in.
        infiniband_devices: names under /sys/class/infiniband; empty where there are none.
    """

    system: str | None = None
    kernel_release: str | None = None
    kernel_version: str | None = None
    distribution: str | None = None
    distribution_version: str | None = None
    distribution_name: str | None = None
    machine: str | None = None
    emulation: str | None = None
    libc: str | None = None
    libc_version: str | None = None
    wsl: int | None = None
    virtual_machine: str | None = None
    secure_boot: bool | None = None
    container: str | None = None
    init: str | None = None
    user_id: int | None = None
    user_groups: list[str] | None = None
    infiniband_devices: list[str] | None = None


class Cpu(Group, frozen=True, kw_only=True):
    """The processor and how much of it this process may use.

    Attributes:
        model: name that the processor gives itself.
        vendor: such as `AuthenticAMD`.
        instructions: instruction sets as Linux names them (`avx`, `avx2`, `fma`, `avx512f`, `asimd` …).
        physical_cores: cores of the machine.
        logical_cores: hardware threads of the machine.
        affinity_cores: hardware threads on which the scheduler may put this process.
        quota_cores: CPU time per wall time that the cgroup allows, in cores; 0 where there is no quota.
        allowed_cores: the least of affinity and quota, rounded up: what a thread pool should count on.
        load_average: running processes, averaged over one minute.
    """

    model: str | None = None
    vendor: str | None = None
    instructions: list[str] | None = None
    physical_cores: int | None = None
    logical_cores: int | None = None
    affinity_cores: int | None = None
    quota_cores: float | None = None
    allowed_cores: int | None = None
    load_average: float | None = None


class Memory(Group, frozen=True, kw_only=True):
    """Memory of the machine and the limit of the cgroup.

    Attributes:
        total_bytes: RAM of the machine.
        available_bytes: RAM that can be had without swapping.
        swap_total_bytes: swap space; 0 where there is none.
        swap_free_bytes: swap space not in use.
        cgroup_version: 1 or 2; 0 where there is none.
        cgroup_limit_bytes: the cgroup's memory limit; 0 where there is none.
        cgroup_used_bytes: memory charged to the cgroup.
        cgroup_reclaimable_bytes: part of it that the kernel takes back when it is needed (`inactive_file`).
        cgroup_out_of_memory_kills: processes that the limit has ended (`oom_kill` of memory.events).
    """

    total_bytes: int | None = None
    available_bytes: int | None = None
    swap_total_bytes: int | None = None
    swap_free_bytes: int | None = None
    cgroup_version: int | None = None
    cgroup_limit_bytes: int | None = None
    cgroup_used_bytes: int | None = None
    cgroup_reclaimable_bytes: int | None = None
    cgroup_out_of_memory_kills: int | None = None


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that training writes to, and the room in it.

    Attributes:
        purpose: `environment`, `home`, `temporary`, `cache`, `working directory`, `shared memory`.
        path: the folder, or its nearest parent that exists.
        writable: whether this user may create files in it.
        total_bytes: size of the file system.
        free_bytes: room that this user may fill.
        total_inodes: files that the file system can hold; 0 where it does not count them.
        free_inodes: files that can still be made.
        filesystem: type, such as `ext4`, `overlay`, `nfs`.
    """

    purpose: str
    path: str
    writable: bool | None = None
    total_bytes: int | None = None
    free_bytes: int | None = None
    total_inodes: int | None = None
    free_inodes: int | None = None
    filesystem: str | None = None


class Storage(Group, frozen=True, kw_only=True):
    """Room on disk and in shared memory.

    Attributes:
        places: one entry a purpose; see Place.
    """

    places: list[Place] | None = None


class Limits(Group, frozen=True, kw_only=True):
    """What the operating system lets one process have; -1 means unlimited.

    Attributes:
        open_files_soft: file descriptors (`ulimit -n`).
        open_files_hard: what `ulimit -n` may be raised to.
        locked_memory_soft_bytes: memory that may be pinned (`ulimit -l`).
        processes_soft: processes and threads of this user (`ulimit -u`).
        stack_soft_bytes: stack of the main thread (`ulimit -s`).
        address_space_soft_bytes: virtual memory (`ulimit -v`); CUDA needs it unlimited.
        file_size_soft_bytes: size of one file (`ulimit -f`).
        cgroup_processes_limit: `pids.max`; 0 where there is none.
        cgroup_processes_used: `pids.current`.
    """

    open_files_soft: int | None = None
    open_files_hard: int | None = None
    locked_memory_soft_bytes: int | None = None
    processes_soft: int | None = None
    stack_soft_bytes: int | None = None
    address_space_soft_bytes: int | None = None
    file_size_soft_bytes: int | None = None
    cgroup_processes_limit: int | None = None
    cgroup_processes_used: int | None = None


class Shadow(msgspec.Struct, frozen=True, kw_only=True):
    """A file that hides a module of the same name.

    Attributes:
        module: name that an import asks for.
        path: the file or folder that is found first.
        hides: what it hides: `installed package` or `standard library`.
    """

    module: str
    path: str
    hides: str


class Python(Group, frozen=True, kw_only=True):
    """The interpreter under test.

    Attributes:
        path: how it was called.
        chosen_because: why this interpreter is the one under test.
        state: `ok`, `missing`, `broken-link`, `not-executable`, `not-python`, `crash`, `timeout`.
        detail: what was seen where `state` is not `ok`.
        executable: the interpreter's own `sys.executable`, links resolved.
        version: such as `3.11.7`.
        implementation: `CPython`, `PyPy`.
        free_threaded: built without the global interpreter lock.
        bits: 32 or 64.
        machine: architecture of the interpreter as it sees itself.
        platform_tag: `sysconfig.get_platform()`, such as `linux-x86_64`.
        prefix: folder of the environment.
        base_prefix: folder of the installation that the environment was made from.
        environment_kind: `venv`, `virtualenv`, `uv`, `conda`, `system`, `pyenv`, `framework`, `store`.
        externally_managed: an EXTERNALLY-MANAGED marker forbids pip outside a virtual environment (PEP 668).
        site_packages: folder that pip would install into.
        site_packages_writable: whether this user may write there.
        search_path: `sys.path` in order.
        user_site: folder of the user's own packages (`~/.local/lib/…`).
        user_site_enabled: whether imports look there.
        python_path: entries of PYTHONPATH.
        shadows: files in the working directory or on PYTHONPATH that hide modules.
        pip_version: empty where the environment has no pip.
        base_missing: folder of the base interpreter that pyvenv.cfg names and that is gone; empty where it is there.
        made_for_version: Python version that pyvenv.cfg was written for; empty where there is no such file.
        project_tool: what keeps the environment in step with a project's lock file: `uv`, `poetry`, `pdm`, `pipenv`,
            `pixi`; empty where nothing does.
        project: folder of that project; empty where there is none.
        conda_program: what changes a conda environment here: `conda`, `mamba`, `micromamba`; empty elsewhere.
    """

    path: str | None = None
    chosen_because: str | None = None
    state: str | None = None
    detail: str | None = None
    executable: str | None = None
    version: str | None = None
    implementation: str | None = None
    free_threaded: bool | None = None
    bits: int | None = None
    machine: str | None = None
    platform_tag: str | None = None
    prefix: str | None = None
    base_prefix: str | None = None
    environment_kind: str | None = None
    externally_managed: bool | None = None
    site_packages: str | None = None
    site_packages_writable: bool | None = None
    search_path: list[str] | None = None
    user_site: str | None = None
    user_site_enabled: bool | None = None
    python_path: list[str] | None = None
    shadows: list[Shadow] | None = None
    pip_version: str | None = None
    base_missing: str | None = None
    made_for_version: str | None = None
    project_tool: str | None = None
    project: str | None = None
    conda_program: str | None = None


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """One installed distribution, as its metadata tells it.

    Attributes:
        name: normalised name (PEP 503).
        version: as written in the metadata.
        location: folder of `sys.path` that holds it.
        installer: `pip`, `uv`, `conda`, …; empty where nothing says.
        requires: `Requires-Dist` lines.
        requires_python: `Requires-Python`; empty where nothing is asked.
        editable: installed in place.
        missing_files: files that RECORD names and that are gone (only counted for frameworks); None = not looked.
        missing_examples: the first of them.
        extension_tags: ABI tags of the wheel, such as `cp311-cp311-manylinux_2_28_x86_64`.
    """

    name: str
    version: str
    location: str = ""
    installer: str = ""
    requires: list[str] = []
    requires_python: str = ""
    editable: bool = False
    missing_files: int | None = None
    missing_examples: list[str] = []
    extension_tags: list[str] = []


class DamagedPackage(msgspec.Struct, frozen=True, kw_only=True):
    """An installed distribution whose metadata cannot be read, or the rest of one that was half removed.

    Attributes:
        name: name as far as it can be known.
        path: folder or file at fault.
        reason: what is wrong with it.
    """

    name: str
    path: str
    reason: str


class Packages(Group, frozen=True, kw_only=True):
    """Distributions installed in the environment under test, read from metadata without an import.

    Attributes:
        installed: every distribution that can be imported; where one name is there twice, the first wins.
        hidden: later copies of a name, which the first one hides.
        damaged: what cannot be read.
        complete: whether `installed` is the whole list (a paste may hold a part).
        conda_managed: names that conda's own records list.
        markers: environment markers (PEP 508) of the interpreter under test.
    """

    installed: list[Package] | None = None
    hidden: list[Package] | None = None
    damaged: list[DamagedPackage] | None = None
    complete: bool = True
    conda_managed: list[str] | None = None
    markers: dict[str, str] | None = None


class Variables(Group, frozen=True, kw_only=True):
    """Environment variables that matter to training; secrets are masked.

    Attributes:
        values: name → value, of those that are set.
    """

    values: dict[str, str] | None = None


class PciDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A display or 3D controller on the PCI bus.

    Attributes:
        address: such as `0000:01:00.0`.
        vendor_id: such as `10de` (NVIDIA), `1002` (AMD), `8086` (Intel).
        device_id: such as `2684`.
        class_code: such as `0300` (VGA), `0302` (3D), `0380` (display), `1200` (accelerator).
        driver: kernel driver bound to it, such as `nvidia`, `nouveau`, `vfio-pci`; empty where none is.
        name: model as a table or lspci names it; empty where it is not known.
        link_speed: current link speed as sysfs prints it, such as `16.0 GT/s PCIe`.
        link_width: lanes in use.
        link_speed_max: what the device can do.
        link_width_max: lanes that the device has.
    """

    address: str
    vendor_id: str
    device_id: str = ""
    class_code: str = ""
    driver: str | None = None
    name: str = ""
    link_speed: str | None = None
    link_width: int | None = None
    link_speed_max: str | None = None
    link_width_max: int | None = None


class Pci(Group, frozen=True, kw_only=True):
    """Graphics and accelerator devices on the PCI bus.

    Attributes:
        devices: display, 3D and accelerator controllers; from /sys/bus/pci/devices or `lspci`.
        complete: whether the list is the whole bus (a paste may hold a part).
        nvswitches: PCI addresses of NVSwitch bridges, which need a running fabric manager.
    """

    devices: list[PciDevice] | None = None
    complete: bool = True
    nvswitches: list[str] | None = None


class DeviceNode(msgspec.Struct, frozen=True, kw_only=True):
    """A device file.

    Attributes:
        path: such as `/dev/nvidia0`.
        mode: permission bits, octal, such as `0666`.
        group: name of the owning group.
        accessible: whether this user may read and write it.
    """

    path: str
    mode: str = ""
    group: str = ""
    accessible: bool | None = None


class Library(msgspec.Struct, frozen=True, kw_only=True):
    """A shared library that the loader finds, or would find.

    Attributes:
        name: soname, such as `libcuda.so.1`.
        path: file found, links resolved.
        version: version in the file's name; empty where it has none.
        stub: a stub for linking (`…/stubs/…`), which cannot run anything.
    """

    name: str
    path: str
    version: str = ""
    stub: bool = False


class NvidiaDriver(Group, frozen=True, kw_only=True):
    """NVIDIA's kernel driver and its libraries, seen from outside.

    Attributes:
        module_loaded: whether the kernel module `nvidia` is loaded; from /proc/modules.
        module_version: version of the loaded module; from /proc/driver/nvidia/version.
        module_flavour: `open` or `proprietary`.
        uvm_loaded: whether `nvidia_uvm`, which CUDA needs, is loaded.
        nouveau_loaded: whether the free module `nouveau` is loaded.
        module_on_disk: version of the module that the running kernel would load; empty where none is built for it.
        packages_version: version that the package manager has installed; empty where it has none.
        device_nodes: /dev/nvidia*, /dev/dxg.
        libraries: libcuda.so.1, libnvidia-ml.so.1 as the loader finds them, best first.
        library_version: version of the user-space libraries; empty where none is found.
        smi_path: where `nvidia-smi` is; empty where it is not on PATH.
        smi_state: `ok`, `failed`, `timeout`, `crash`, `garbled`, `absent`.
        smi_exit_code: its exit status.
        smi_message: what it said when it failed, one line.
        smi_driver_version: the driver version that it prints.
        smi_cuda_version: the CUDA version that it prints: the driver's highest.
        graphics_devices: devices under /proc/driver/nvidia/gpus.
        fabric_manager: what systemd says of `nvidia-fabricmanager`: `active`, `inactive`, `failed`, `not-found`; asked
            only where there is an NVSwitch.
        fabric_manager_version: version that its program prints; empty where it is not installed.
        module_parameters: what /proc/driver/nvidia/params holds, such as `{"ModifyDeviceFiles": "1"}`.
    """

    module_loaded: bool | None = None
    module_version: str | None = None
    module_flavour: str | None = None
    uvm_loaded: bool | None = None
    nouveau_loaded: bool | None = None
    module_on_disk: str | None = None
    packages_version: str | None = None
    device_nodes: list[DeviceNode] | None = None
    libraries: list[Library] | None = None
    library_version: str | None = None
    smi_path: str | None = None
    smi_state: str | None = None
    smi_exit_code: int | None = None
    smi_message: str | None = None
    smi_driver_version: str | None = None
    smi_cuda_version: str | None = None
    graphics_devices: list[str] | None = None
    fabric_manager: str | None = None
    fabric_manager_version: str | None = None
    module_parameters: dict[str, str] | None = None


class GpuProcess(msgspec.Struct, frozen=True, kw_only=True):
    """A process that holds memory on a GPU.

    Attributes:
        process_id: numeric id.
        name: program's name; empty where it may not be seen.
        memory_bytes: GPU memory that it holds; None where the driver does not tell.
        kind: `compute` or `graphics`.
        ours: whether envcheck started it.
    """

    process_id: int
    name: str = ""
    memory_bytes: int | None = None
    kind: str = "compute"
    ours: bool = False


class MigInstance(msgspec.Struct, frozen=True, kw_only=True):
    """A MIG compute instance.

    Attributes:
        uuid: such as `MIG-…`.
        name: profile, such as `1g.10gb`.
        memory_total_bytes: its memory.
    """

    uuid: str
    name: str = ""
    memory_total_bytes: int | None = None


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One NVIDIA GPU as the driver reports it.

    Attributes:
        index: number in the driver's order (PCI order).
        name: as NVML prints it.
        uuid: such as `GPU-…`.
        pci_address: such as `0000:01:00.0`.
        compute_capability: such as `8.9`.
        minor_number: N of its device node /dev/nvidiaN.
        memory_total_bytes: all of its memory.
        memory_used_bytes: memory in use, the driver's own included.
        memory_free_bytes: memory that can be had.
        utilization_percent: time in which a kernel ran.
        temperature_celsius: of the GPU.
        temperature_slowdown_celsius: where the hardware slows itself down.
        memory_temperature_celsius: of the card's memory; None where it has no such sensor.
        memory_temperature_max_celsius: highest that the memory may have in operation.
        power_watts: drawn now.
        power_limit_watts: enforced limit.
        power_limit_default_watts: limit as delivered.
        clock_megahertz: streaming multiprocessors, now.
        clock_max_megahertz: their highest.
        memory_clock_megahertz: memory, now.
        memory_clock_max_megahertz: its highest.
        ecc_enabled: current ECC mode; None where the card has none.
        ecc_enabled_pending: mode after the next reset.
        ecc_corrected: single-bit errors since the driver was loaded.
        ecc_uncorrected: double-bit errors since the driver was loaded.
        ecc_uncorrected_lifetime: over the card's life.
        sram_threshold_exceeded: the driver's own threshold for SRAM errors is passed.
        remapped_rows_corrected: rows replaced after correctable errors.
        remapped_rows_uncorrected: rows replaced after uncorrectable errors.
        remap_pending: a replacement waits for a reset.
        remap_failed: a replacement failed.
        retired_pages: pages retired (before Ampere).
        retired_pages_pending: retirement waits for a reset.
        repair_pending: a repair of a memory channel or of a processing cluster waits for a reset.
        inforom_valid: whether the board's own record passes its checksum.
        throttle_reasons: active clock event reasons, names as in NVML without prefix, such as `HwThermalSlowdown`.
        recovery_action: what the driver asks for: `None`, `GPU Reset`, `Node Reboot`, `Drain P2P`, `Drain and Reset`.
        persistence_mode: whether the driver stays loaded with no client.
        compute_mode: `Default`, `Exclusive_Process`, `Prohibited`.
        performance_state: such as `P0`.
        mig_enabled: current MIG mode; None where the card has none.
        mig_instances: instances, where MIG is on.
        pcie_generation: current link generation.
        pcie_generation_max: highest of card and slot.
        pcie_width: current lanes.
        pcie_width_max: highest of card and slot.
        pcie_replays: replay counter.
        nvlinks_active: links that are up.
        nvlinks_inactive: links that are down.
        nvlink_errors: replays, recoveries and CRC errors of all links since the driver was loaded.
        fabric_state: `Not Started`, `In Progress`, `Completed`; empty where there is no fabric.
        fabric_status: result of the fabric's registration, such as `Success`.
        bar1_total_bytes: window through which the CPU sees GPU memory.
        vbios: version of the card's firmware.
        processes: who holds memory on it.
        state: `ok`, or the NVML return code's name with which it failed, such as `NVML_ERROR_GPU_IS_LOST`.
        unreadable: field → the NVML return code's name with which it could not be read.
    """

    index: int | None = None
    name: str | None = None
    uuid: str | None = None
    pci_address: str | None = None
    compute_capability: str | None = None
    minor_number: int | None = None
    memory_total_bytes: int | None = None
    memory_used_bytes: int | None = None
    memory_free_bytes: int | None = None
    utilization_percent: int | None = None
    temperature_celsius: int | None = None
    temperature_slowdown_celsius: int | None = None
    memory_temperature_celsius: int | None = None
    memory_temperature_max_celsius: int | None = None
    power_watts: float | None = None
    power_limit_watts: float | None = None
    power_limit_default_watts: float | None = None
    clock_megahertz: int | None = None
    clock_max_megahertz: int | None = None
    memory_clock_megahertz: int | None = None
    memory_clock_max_megahertz: int | None = None
    ecc_enabled: bool | None = None
    ecc_enabled_pending: bool | None = None
    ecc_corrected: int | None = None
    ecc_uncorrected: int | None = None
    ecc_uncorrected_lifetime: int | None = None
    sram_threshold_exceeded: bool | None = None
    remapped_rows_corrected: int | None = None
    remapped_rows_uncorrected: int | None = None
    remap_pending: bool | None = None
    remap_failed: bool | None = None
    retired_pages: int | None = None
    retired_pages_pending: bool | None = None
    repair_pending: bool | None = None
    inforom_valid: bool | None = None
    throttle_reasons: list[str] | None = None
    recovery_action: str | None = None
    persistence_mode: bool | None = None
    compute_mode: str | None = None
    performance_state: str | None = None
    mig_enabled: bool | None = None
    mig_instances: list[MigInstance] | None = None
    pcie_generation: int | None = None
    pcie_generation_max: int | None = None
    pcie_width: int | None = None
    pcie_width_max: int | None = None
    pcie_replays: int | None = None
    nvlinks_active: int | None = None
    nvlinks_inactive: int | None = None
    nvlink_errors: int | None = None
    fabric_state: str | None = None
    fabric_status: str | None = None
    bar1_total_bytes: int | None = None
    vbios: str | None = None
    processes: list[GpuProcess] | None = None
    state: str = "ok"
    unreadable: dict[str, str] = {}


class Nvml(Group, frozen=True, kw_only=True):
    """What NVIDIA's management library answers, asked in a child process.

    Attributes:
        state: `ok`; `library-missing`; `NVML_ERROR_…`, the return code of `nvmlInit`; `timeout`, `crash`.
        message: what was said or seen where `state` is not `ok`.
        stage: last call that was begun, where the child did not come back.
        library_path: file that was opened.
        driver_version: such as `580.95.05`.
        cuda_version: the highest that the driver runs, such as `13.0`.
        gpus: GPUs in the driver's order.
        gpus_complete: whether `gpus` is the whole list (a paste may hold a part).
    """

    state: str | None = None
    message: str | None = None
    stage: str | None = None
    library_path: str | None = None
    driver_version: str | None = None
    cuda_version: str | None = None
    gpus: list[Gpu] | None = None
    gpus_complete: bool = True


class Toolkit(msgspec.Struct, frozen=True, kw_only=True):
    """A CUDA toolkit on disk.

    Attributes:
        path: its folder.
        version: such as `12.4`; from version.json, version.txt or the folder's name.
        has_nvcc: whether its compiler is there.
    """

    path: str
    version: str = ""
    has_nvcc: bool | None = None


class CudaToolkits(Group, frozen=True, kw_only=True):
    """CUDA for developers: toolkits, compiler, cuDNN copies.

    Attributes:
        toolkits: those found under /usr/local, /opt and CUDA_HOME.
        cuda_home: CUDA_HOME or CUDA_PATH; empty where neither is set.
        nvcc_path: the `nvcc` that PATH finds; empty where there is none.
        nvcc_version: the CUDA release that it prints.
        cudnn: cuDNN libraries on the loader's path, in toolkits and in wheels.
        host_compiler: `gcc` or `cl` with version, as PATH finds it; empty where there is none.
    """

    toolkits: list[Toolkit] | None = None
    cuda_home: str | None = None
    nvcc_path: str | None = None
    nvcc_version: str | None = None
    cudnn: list[Library] | None = None
    host_compiler: str | None = None


class OtherAccelerators(Group, frozen=True, kw_only=True):
    """GPUs of AMD, Intel and Apple, as far as they are recognised without their tools.

    Attributes:
        amd_devices: names or PCI ids.
        amd_kernel_driver: `amdgpu` module loaded.
        amd_kfd: /dev/kfd; None where it is not there.
        amd_targets: `gfx` targets that the kernel driver reports, such as `gfx1100`.
        rocm_version: from /opt/rocm/.info/version; empty where it is not installed.
        render_nodes: /dev/dri/renderD*.
        intel_devices: names or PCI ids of Intel GPUs that can compute.
        intel_runtime: whether the level-zero loader is found.
        apple_chip: such as `Apple M2`; empty elsewhere.
        metal: whether the Mac can run Metal.
    """

    amd_devices: list[str] | None = None
    amd_kernel_driver: bool | None = None
    amd_kfd: DeviceNode | None = None
    amd_targets: list[str] | None = None
    rocm_version: str | None = None
    render_nodes: list[DeviceNode] | None = None
    intel_devices: list[str] | None = None
    intel_runtime: bool | None = None
    apple_chip: str | None = None
    metal: bool | None = None


class ComputeDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that a framework sees, and whether it computes.

    Attributes:
        name: as the framework names it, such as `cuda:0`, `/physical_device:GPU:0`.
        kind: `cpu`, `cuda`, `rocm`, `mps`, `xpu`.
        model: name of the hardware.
        compute_capability: of a CUDA device.
        memory_total_bytes: of the device.
        computed: whether one small matrix product came out right on it; None where it was not tried.
        error: type and text of the failure.
        seconds: time of that product, start of the device included.
    """

    name: str
    kind: str
    model: str = ""
    compute_capability: str = ""
    memory_total_bytes: int | None = None
    computed: bool | None = None
    error: str = ""
    seconds: float | None = None


class Framework(Group, frozen=True, kw_only=True):
    """PyTorch, TensorFlow or Keras, seen from inside the interpreter under test.

    Attributes:
        name: `torch`, `tensorflow`, `keras`.
        distribution: the distribution that provides it, such as `tensorflow-cpu`; empty where metadata has none.
        metadata_version: version that metadata gives.
        state: `ok`; `failed` (an exception); `crash` (a signal ended the child); `exit` (the child left by itself);
            `timeout`; `not-imported` (examined from metadata alone).
        stage: `import`, `build`, `devices`, `compute`: the last stage that was begun.
        error_type: class of the exception.
        error: text of the exception, at most 4000 characters.
        traceback: last frames, innermost last, at most 8000 characters.
        signal: name of the signal that ended the child, such as `SIGSEGV`.
        exit_code: exit status of a child that left by itself.
        stderr: the last lines that the child wrote, at most 8000 characters.
        version: version that the imported module gives.
        module_path: file that was imported.
        accelerator: what the build is for: `cpu`, `cuda`, `rocm`, `xpu`, `mps`.
        cuda: CUDA version of the build.
        cudnn: cuDNN version of the build, or loaded by it, such as `9.10.2`.
        nccl: NCCL version of the build.
        rocm: ROCm/HIP version of the build.
        architectures: code in the build, such as `sm_90`, `compute_90`.
        devices: what it sees, CPU included.
        sees_gpu: whether it sees at least one accelerator.
        gpu_error: what the framework says about a GPU that it does not see.
        backend: Keras: the backend in use.
        numpy: version of NumPy that it found; empty where there is none.
        import_seconds: time of the import.
        total_seconds: time of the whole child.
        threads: threads that it would use for one operation.
    """

    name: str | None = None
    distribution: str | None = None
    metadata_version: str | None = None
    state: str | None = None
    stage: str | None = None
    error_type: str | None = None
    error: str | None = None
    traceback: str | None = None
    signal: str | None = None
    exit_code: int | None = None
    stderr: str | None = None
    version: str | None = None
    module_path: str | None = None
    accelerator: str | None = None
    cuda: str | None = None
    cudnn: str | None = None
    nccl: str | None = None
    rocm: str | None = None
    architectures: list[str] | None = None
    devices: list[ComputeDevice] | None = None
    sees_gpu: bool | None = None
    gpu_error: str | None = None
    backend: str | None = None
    numpy: str | None = None
    import_seconds: float | None = None
    total_seconds: float | None = None
    threads: int | None = None


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """A Jupyter kernel that is registered.

    Attributes:
        name: folder name under `kernels/`.
        display_name: what the notebook shows.
        path: its kernel.json.
        interpreter: first word of its command.
        language: such as `python`.
        interpreter_found: whether that program is there.
        problem: what is wrong with kernel.json; empty where it can be read.
    """

    name: str
    display_name: str = ""
    path: str = ""
    interpreter: str = ""
    language: str = ""
    interpreter_found: bool | None = None
    problem: str = ""


class Jupyter(Group, frozen=True, kw_only=True):
    """Jupyter kernels that a notebook would offer.

    Attributes:
        kernels: in the order in which Jupyter looks.
    """

    kernels: list[Kernel] | None = None


class KernelMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the kernel log that says something about a GPU or about memory.

    Attributes:
        kind: family, such as `xid`, `out-of-memory-killer`, `module-rejected`.
        text: the line.
        source: where it was read.
        time: time stamp as it stands in the log; empty where there is none.
        device: PCI address; empty where the line names none.
        number: Xid or SXid number.
    """

    kind: str
    text: str
    source: str = ""
    time: str = ""
    device: str = ""
    number: int | None = None


class KernelLog(Group, frozen=True, kw_only=True):
    """The kernel's log since boot.

    Attributes:
        readable: whether it could be read; where it could not, nothing is known about its lines.
        messages: lines that matter, oldest first.
    """

    readable: bool | None = None
    messages: list[KernelMessage] | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A text of a known family, recognised in what a program printed.

    Attributes:
        family: id of the family in the table of messages.
        text: the line or lines as they were printed, at most 500 characters.
        source: where: `FILE:LINE` of a paste, or the program that printed it.
        values: what the text names, such as `{"library": "libcudnn.so.8"}`.
    """

    family: str
    text: str
    source: str = ""
    values: dict[str, str] = {}


class Messages(Group, frozen=True, kw_only=True):
    """Messages recognised in what was printed: by frameworks that were imported, or in a paste.

    Attributes:
        found: in order of appearance.
    """

    found: list[Message] | None = None


class Contradiction(msgspec.Struct, frozen=True, kw_only=True):
    """Two places of a paste that say different things of one fact; the first was taken.

    Attributes:
        fact: such as `nvml.driver_version`.
        value: what was taken.
        source: where it stands.
        other_value: what was left out.
        other_source: where that stands.
    """

    fact: str
    value: str
    source: str
    other_value: str
    other_source: str


class Pasted(Group, frozen=True, kw_only=True):
    """What was recognised in pasted text, and where it is at odds with itself; None on a machine that was examined.

    Attributes:
        formats: recognisers that found something, such as `nvidia_smi`, the most trusted first.
        contradictions: facts of which the paste says two things.
    """

    formats: list[str] | None = None
    contradictions: list[Contradiction] | None = None


class ContainerRuntime(Group, frozen=True, kw_only=True):
    """Containers on this host: client, daemon, NVIDIA's toolkit; inside a container, how it was started.

    Attributes:
        docker_path: client on PATH; empty where there is none.
        docker_socket: the daemon's socket, where it is there.
        docker_socket_accessible: whether this user may talk to it.
        toolkit_path: `nvidia-ctk` or `nvidia-container-runtime`; empty where there is none.
        runtimes: names of runtimes that /etc/docker/daemon.json registers.
        daemon_configuration_problem: why that file cannot be read as JSON; empty where it can.
        default_runtime: from the same file; empty where nothing is said.
        podman_path: empty where there is none.
        visible_devices: NVIDIA_VISIBLE_DEVICES as the image or the command set it.
        driver_capabilities: NVIDIA_DRIVER_CAPABILITIES.
        required_cuda: NVIDIA_REQUIRE_CUDA.
        image_cuda: CUDA_VERSION of the image.
        image: image that a pasted `docker run`, compose file or Dockerfile names.
        gpu_requested: whether that command or file asks for a GPU (`--gpus`, `--device nvidia.com/gpu=…`, `--runtime
            nvidia`, a device reservation); None where none was seen.
    """

    docker_path: str | None = None
    docker_socket: str | None = None
    docker_socket_accessible: bool | None = None
    toolkit_path: str | None = None
    runtimes: list[str] | None = None
    daemon_configuration_problem: str | None = None
    default_runtime: str | None = None
    podman_path: str | None = None
    visible_devices: str | None = None
    driver_capabilities: str | None = None
    required_cuda: str | None = None
    image_cuda: str | None = None
    image: str | None = None
    gpu_requested: bool | None = None


class TrainingRun(msgspec.Struct, frozen=True, kw_only=True):
    """How the reference network trained in one framework.

    Attributes:
        framework: `torch`, `tensorflow`, `keras`.
        passed: whether every condition held.
        failed_step: `import`, `preprocess`, `build`, `initialise`, `train`, `evaluate`, `device`; empty where none.
        reason: one sentence where it did not pass.
        error_type: class of an exception.
        error: its text.
        stderr: last lines that the child wrote.
        signal: name of the signal that ended the child.
        device: where the work ran.
        device_asked: where it was asked to run.
        test_accuracy: fraction right on the held-back set.
        samples_per_second: training throughput.
        samples_per_second_one_thread: the same with one thread, where that was measured.
        threads: threads in use.
        allowed_cores: cores that the process may use.
        peak_memory_bytes: highest resident memory of the child.
    """

    framework: str
    passed: bool | None = None
    failed_step: str = ""
    reason: str = ""
    error_type: str = ""
    error: str = ""
    stderr: str = ""
    signal: str = ""
    device: str = ""
    device_asked: str = ""
    test_accuracy: float | None = None
    samples_per_second: float | None = None
    samples_per_second_one_thread: float | None = None
    threads: int | None = None
    allowed_cores: int | None = None
    peak_memory_bytes: int | None = None


class Training(Group, frozen=True, kw_only=True):
    """What `envcheck smoke` saw.

    Attributes:
        runs: one entry a framework.
    """

    runs: list[TrainingRun] | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All that is known; a group that is None was not examined or could not be.

    Attributes:
        extensions: groups that third-party probes fill, by name.
    """

    platform: Platform | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    storage: Storage | None = None
    limits: Limits | None = None
    variables: Variables | None = None
    python: Python | None = None
    packages: Packages | None = None
    jupyter: Jupyter | None = None
    pci: Pci | None = None
    driver: NvidiaDriver | None = None
    nvml: Nvml | None = None
    toolkits: CudaToolkits | None = None
    accelerators: OtherAccelerators | None = None
    containers: ContainerRuntime | None = None
    kernel_log: KernelLog | None = None
    torch: Framework | None = None
    tensorflow: Framework | None = None
    keras: Framework | None = None
    messages: Messages | None = None
    pasted: Pasted | None = None
    training: Training | None = None
    extensions: dict[str, Any] = {}


class UnknownFactError(Exception):
    """A check asked for a value that is not known; the engine reports the check as skipped."""


def need(value: Value | None, name: str) -> Value:
    """Return the value of a fact, or end the check as *skipped* where it is not known.

    Args:
        value: the field's value.
        name: the fact's name for people, such as `driver.module_version`.

    Raises:
        UnknownFactError: the value is None.
    """
    if value is None:
        raise UnknownFactError(name)
    return value
