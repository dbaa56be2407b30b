"""What the platform probe says of machines, containers and emulators."""

from __future__ import annotations

import pytest

from envcheck.probes.platform import platform
from envcheck.system import Completed
from envcheck.testing import machine

X86_CPU = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel\nflags\t\t: fpu sse avx avx2\n\n"
X86_GUEST_CPU = X86_CPU.replace("avx2", "avx2 hypervisor")
ARM_CPU = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n\n"


def uname(release="6.8.0-45-generic", machine_name="x86_64", system="Linux"):
    return {"system": system, "release": release, "version": "#1 SMP", "machine": machine_name}


def linux(files=None, answers=None, **more):
    given = {"/proc/cpuinfo": X86_CPU, "/proc/1/comm": "systemd\n", **(files or {})}
    return machine(
        files={path: text for path, text in given.items() if text is not None},
        answers={
            "uname": uname(),
            "libc": ["glibc", "2.39"],
            "user_id": 1000,
            "user_groups": ["video"],
            **(answers or {}),
        },
        **more,
    )


def test_a_desktop_is_described_by_its_own_files():
    seen = platform(linux({"/etc/os-release": 'ID=ubuntu\nVERSION_ID="24.04"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n'}))
    assert (seen.distribution, seen.distribution_version) == ("ubuntu", "24.04")
    assert seen.distribution_name == "Ubuntu 24.04.1 LTS"
    assert (seen.libc, seen.libc_version) == ("glibc", "2.39")
    assert (seen.container, seen.wsl, seen.virtual_machine, seen.emulation) == ("", 0, "", "")
    assert seen.init == "systemd"
    assert seen.sources["distribution"] == "/etc/os-release"


def test_an_empty_machine_leaves_everything_unknown():
    seen = platform(machine())
    assert seen.system is None
    assert seen.container is None
    assert seen.distribution is None


@pytest.mark.parametrize(
    ("release", "variables", "folders", "expected"),
    [
        ("4.4.0-19041-Microsoft", {}, {}, 1),
        ("5.15.167.4-microsoft-standard-WSL2", {}, {}, 2),
        ("6.1.0-custom", {"WSL_DISTRO_NAME": "Ubuntu"}, {"/usr/lib/wsl/lib/libcuda.so.1": ""}, 2),
        ("6.1.0-custom", {}, {}, 0),
    ],
)
def test_wsl_is_told_apart_by_its_kernel(release, variables, folders, expected):
    seen = platform(linux(folders, answers={"uname": uname(release)}, variables=variables))
    assert seen.wsl == expected


@pytest.mark.parametrize(
    ("files", "variables", "expected"),
    [
        ({"/.dockerenv": ""}, {}, "docker"),
        ({"/run/.containerenv": ""}, {}, "podman"),
        ({"/.dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"/.singularity.d/env.sh": ""}, {}, "apptainer"),
        ({"/run/systemd/container": "systemd-nspawn\n"}, {}, "systemd-nspawn"),
        ({}, {"container": "lxc"}, "lxc"),
        ({}, {"container": "oci"}, "other"),
        ({"/proc/1/cgroup": "0::/kubepods/burstable/pod1\n"}, {}, "kubernetes"),
        ({"/proc/1/cgroup": "12:memory:/docker/abc\n"}, {}, "docker"),
        (
            {"/proc/1/comm": "bash\n", "/proc/self/mountinfo": "1 0 0:50 / / rw - overlay overlay rw,lowerdir=/x\n"},
            {},
            "other",
        ),
        ({"/proc/self/mountinfo": "1 0 0:50 / / rw - overlay overlay rw,lowerdir=/x\n"}, {}, ""),
        ({}, {}, ""),
    ],
)
def test_each_kind_of_container_is_recognised_by_its_traces(files, variables, expected):
    assert platform(linux(files, variables=variables)).container == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/sys/class/dmi/id/sys_vendor": "QEMU\n", "/proc/cpuinfo": X86_GUEST_CPU}, "kvm"),
        ({"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "g5.xlarge\n"}, "amazon"),
        ({"/sys/class/dmi/id/sys_vendor": "Amazon EC2\n", "/sys/class/dmi/id/product_name": "p4d.metal\n"}, ""),
        (
            {
                "/sys/class/dmi/id/sys_vendor": "Microsoft Corporation\n",
                "/sys/class/dmi/id/product_name": "Virtual Machine\n",
            },
            "hyperv",
        ),
        (
            {
                "/sys/class/dmi/id/sys_vendor": "Microsoft Corporation\n",
                "/sys/class/dmi/id/product_name": "Surface Book\n",
            },
            "",
        ),
        ({"/sys/hypervisor/type": "xen\n"}, "xen"),
        ({"/proc/cpuinfo": X86_GUEST_CPU}, "unnamed"),
        ({"/proc/cpuinfo": ARM_CPU}, None),
        ({"/sys/class/dmi/id/sys_vendor": "Dell Inc.\n"}, ""),
    ],
)
def test_virtual_machines_are_told_from_bare_metal(files, expected):
    assert platform(linux(files)).virtual_machine == expected


@pytest.mark.parametrize(
    ("machine_name", "cpu", "expected"),
    [
        ("x86_64", ARM_CPU, "qemu"),
        ("aarch64", X86_CPU, "qemu"),
        ("x86_64", X86_CPU.replace("GenuineIntel", "VirtualApple"), "rosetta"),
        ("x86_64", X86_CPU, ""),
        ("aarch64", ARM_CPU, ""),
    ],
)
def test_a_translated_program_is_told_by_the_processor_that_is_there(machine_name, cpu, expected):
    seen = platform(linux({"/proc/cpuinfo": cpu}, answers={"uname": uname(machine_name=machine_name)}))
    assert seen.emulation == expected


def test_secure_boot_is_the_variables_last_byte():
    path = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
    assert platform(linux({path: "\x06\x00\x00\x00\x01"})).secure_boot is True
    assert platform(linux({path: "\x06\x00\x00\x00\x00"})).secure_boot is False
    assert platform(linux({"/sys/firmware/acpi/tables/DSDT": ""})).secure_boot is False
    assert platform(linux()).secure_boot is None
    hidden = linux({"/sys/firmware/acpi/tables/DSDT": "", "/.dockerenv": ""})
    assert platform(hidden).secure_boot is None


def test_alpine_has_musl():
    seen = platform(linux({"/lib/ld-musl-x86_64.so.1": ""}, answers={"libc": ["", ""]}))
    assert (seen.libc, seen.libc_version) == ("musl", None)


def test_infiniband_devices_are_listed_and_their_absence_is_known():
    assert platform(linux({"/sys/class/infiniband/mlx5_0/ports/1/state": ""})).infiniband_devices == ["mlx5_0"]
    assert platform(linux({"/sys/class/net/lo/mtu": ""})).infiniband_devices == []
    assert platform(linux()).infiniband_devices is None


def test_a_mac_tells_whether_rosetta_translates():
    key = "sysctl -i sysctl.proc_translated kern.hv_vmm_present"
    answers = {"uname": uname("23.6.0", "x86_64", "Darwin"), "macos_version": "14.6.1"}
    translated = machine(
        answers=answers,
        runs={key: Completed(outcome="ok", exit_code=0, stdout="sysctl.proc_translated: 1\nkern.hv_vmm_present: 0\n")},
    )
    seen = platform(translated)
    assert (seen.emulation, seen.distribution, seen.distribution_version) == ("rosetta", "macos", "14.6.1")
    assert platform(machine(answers=answers)).emulation is None


def test_windows_is_neither_a_container_nor_wsl():
    seen = platform(
        machine(
            answers={
                "uname": uname("11", "AMD64", "Windows"),
                "windows_version": ["11", "10.0.26100", "SP0", "Multiprocessor Free"],
            }
        )
    )
    assert (seen.distribution, seen.distribution_name, seen.distribution_version) == (
        "windows",
        "Windows 11",
        "10.0.26100",
    )
    assert (seen.wsl, seen.container) == (0, "")
