"""No cure is named that cannot work: over made-up machines, every remedy of every check fits the machine."""

from __future__ import annotations

import itertools
import re
import shlex

import msgspec
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from envcheck import possible
from envcheck.check import all_checks
from envcheck.compat import torch as builds_of_torch
from envcheck.compat.target import Target
from envcheck.doctor import run_check, with_metadata
from envcheck.facts import (
    CudaToolkits,
    DamagedPackage,
    DeviceNode,
    Facts,
    Framework,
    Gpu,
    KernelLog,
    KernelMessage,
    Library,
    NvidiaDriver,
    Nvml,
    Package,
    Packages,
    Pci,
    PciDevice,
    Platform,
    Python,
    Shadow,
    Variables,
)
from envcheck.intent import Intent
from envcheck.report import CheckOutcome, Remedy

DISTRIBUTIONS = {
    "ubuntu": ("22.04", "2.35"),
    "debian": ("12", "2.36"),
    "fedora": ("41", "2.40"),
    "centos": ("7", "2.17"),
    "rocky": ("9", "2.34"),
    "opensuse-leap": ("15.6", "2.38"),
    "arch": ("rolling", "2.41"),
    "nixos": ("24.11", "2.40"),
    "macos": ("14.5", None),
    "windows": ("11", None),
}
OWNERS = {
    "apt": {"ubuntu", "debian"},
    "apt-get": {"ubuntu", "debian"},
    "ubuntu-drivers": {"ubuntu", "debian"},
    "dnf": {"fedora", "rocky"},
    "yum": {"fedora", "rocky", "centos"},
    "zypper": {"opensuse-leap"},
    "pacman": {"arch"},
    "winget": {"windows"},
}
SURROUNDINGS = ("bare", "wsl", "docker")
ENVIRONMENTS = ("venv", "uv", "conda", "system", "pyenv", "uv-project", "poetry", "read-only")
PYTHONS = ("3.8.18", "3.11.7", "3.13.0")
HARDWARE = {
    "no card": ("", ""),
    "Pascal, old driver": ("6.1", "450.80.02"),
    "Volta": ("7.0", "580.65.06"),
    "Ada": ("8.9", "535.183.01"),
    "Blackwell": ("12.0", "580.65.06"),
    "no driver": ("8.6", ""),
}


class Made(msgspec.Struct, frozen=True):
    """A machine by its traits."""

    distribution: str
    surroundings: str
    environment: str
    python: str
    hardware: str
    root: bool


def python_of(made: Made) -> Python:
    windows = made.distribution == "windows"
    prefix = r"C:\Users\A B\.venv" if windows else "/home/user/my project/.venv"
    kind = {"uv-project": "uv", "poetry": "venv", "read-only": "venv"}.get(made.environment, made.environment)
    return Python(
        path=prefix + (r"\Scripts\python.exe" if windows else "/bin/python"),
        state="ok",
        version=made.python,
        implementation="CPython",
        platform_tag="win-amd64" if windows else "linux-x86_64",
        prefix=prefix,
        environment_kind=kind,
        externally_managed=made.environment == "system",
        site_packages=prefix + "/lib/site-packages",
        site_packages_writable=made.environment not in {"system", "read-only"},
        pip_version="" if kind == "uv" else "24.0",
        project_tool={"uv-project": "uv", "poetry": "poetry"}.get(made.environment, ""),
        project="/home/user/my project" if made.environment in {"uv-project", "poetry"} else "",
        conda_program="mamba" if kind == "conda" else "",
        shadows=[Shadow(module="torch", path="/home/user/my project/torch.py", hides="installed package")],
        made_for_version=made.python,
        search_path=[],
        python_path=[],
    )


def facts_of(made: Made) -> Facts:
    version, glibc = DISTRIBUTIONS[made.distribution]
    capability, driver = HARDWARE[made.hardware]
    card = PciDevice(
        address="0000:01:00.0", vendor_id="10de", device_id="2684", driver="nvidia" if driver else "nouveau"
    )
    return Facts(
        platform=Platform(
            system={"macos": "Darwin", "windows": "Windows"}.get(made.distribution, "Linux"),
            distribution=made.distribution,
            distribution_version=version,
            distribution_name=made.distribution.title(),
            machine="arm64" if made.distribution == "macos" else "x86_64",
            libc="glibc" if glibc else "",
            libc_version=glibc,
            wsl=2 if made.surroundings == "wsl" else 0,
            container="docker" if made.surroundings == "docker" else "",
            init="python" if made.surroundings == "docker" else "systemd",
            user_id=None if made.distribution == "windows" else 0 if made.root else 1000,
            kernel_release="6.1.0-18-amd64",
            secure_boot=False,
        ),
        python=python_of(made),
        pci=Pci(devices=[card] if capability else []),
        nvml=Nvml(
            state="ok",
            driver_version=driver,
            gpus=[
                Gpu(index=0, name="NVIDIA card", compute_capability=capability, uuid="GPU-0", pci_address=card.address)
            ],
        )
        if capability and driver
        else Nvml(state="NVML_ERROR_DRIVER_NOT_LOADED"),
        driver=NvidiaDriver(
            module_loaded=bool(driver),
            module_version=driver,
            library_version=driver,
            packages_version=driver,
            module_on_disk="",
            nouveau_loaded=not driver,
            smi_path="",
            smi_state="absent",
            libraries=[],
            device_nodes=[],
        ),
        variables=Variables(values={}),
    )


def package(name: str, version: str, *requires: str, installer: str = "pip", **more: object) -> Package:
    return Package(name=name, version=version, requires=list(requires), installer=installer, location="/s", **more)


def failing(name: str, error: str, version: str = "2.9.0") -> Framework:
    return Framework(
        name=name,
        state="failed",
        stage="import",
        error_type="ImportError",
        error=error,
        metadata_version=version,
        distribution=name,
    )


def with_packages(facts: Facts, *packages: Package, **more: object) -> Facts:
    conda = facts.python is not None and facts.python.environment_kind == "conda"
    found = Packages(
        installed=list(packages),
        hidden=more.get("hidden", []),
        damaged=more.get("damaged", []),
        conda_managed=[package.name for package in packages if package.installer == "conda"] if conda else [],
        markers={"python_full_version": facts.python.version, "python_version": facts.python.version[:4]},
    )
    return with_metadata(msgspec.structs.replace(facts, packages=found))


IMPORT_ERRORS = (
    "libGL.so.1: cannot open shared object file: No such file or directory",
    "libcudnn.so.9: cannot open shared object file: No such file or directory",
    "/lib/x86_64-linux-gnu/libstdc++.so.6: version `GLIBCXX_3.4.32' not found",
    "/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.34' not found",
    "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.1.0 as it may crash.",
    "numpy.core.multiarray failed to import",
    "Descriptors cannot be created directly.",
    "No module named 'typing_extensions'",
    "undefined symbol: _ZN3c104cuda9SetDeviceEi",
    '[WinError 126] The specified module could not be found. Error loading "fbgemm.dll"',
    "libnvJitLink.so.12: undefined symbol: __nvJitLinkComplete_12_4",
)

FAULTS = {
    "a version conflict": lambda facts: with_packages(
        facts, package("alpha", "1.0", "numpy<2", "gamma"), package("numpy", "2.1.0", installer="conda")
    ),
    "damaged metadata": lambda facts: with_packages(
        facts,
        package("alpha", "1.0"),
        damaged=[DamagedPackage(name="beta", path="/s/beta 1.dist-info", reason="no METADATA")],
    ),
    "two versions": lambda facts: with_packages(facts, package("alpha", "1.0"), hidden=[package("alpha", "2.0")]),
    "files gone": lambda facts: with_packages(facts, package("torch", "2.6.0+cu124", missing_files=3)),
    "files of a release for CUDA 13 gone": lambda facts: with_packages(
        facts, package("torch", "2.9.1", missing_files=3)
    ),
    "companions": lambda facts: with_packages(
        facts, package("torch", "2.6.0"), package("torchvision", "0.15.2"), package("numpy", "2.1.0")
    ),
    "twins": lambda facts: with_packages(
        facts,
        package("tensorflow", "2.15.0", "numpy<2", "keras<2.16"),
        package("tensorflow-cpu", "2.15.0"),
        package("numpy", "2.1.0"),
        package("keras", "3.4.0"),
        package("protobuf", "6.0.0"),
    ),
    "wrong names": lambda facts: with_packages(facts, package("sklearn", "0.0"), package("pytorch", "1.0.2")),
    "foreign wheels": lambda facts: with_packages(
        facts, package("numpy", "1.24.0", extension_tags=["cp37-cp37m-manylinux_2_28_x86_64"])
    ),
    "NumPy 2 beside an old torch": lambda facts: msgspec.structs.replace(
        with_packages(facts, package("torch", "2.1.0", "numpy"), package("numpy", "2.1.0")),
    ),
    "conda and pip": lambda facts: with_packages(
        facts, package("numpy", "1.26.0", installer="pip"), package("torch", "2.6.0", installer="conda")
    ),
    "a backend that is not there": lambda facts: with_packages(
        msgspec.structs.replace(
            facts, variables=Variables(values={"KERAS_BACKEND": "torch", "TF_USE_LEGACY_KERAS": "1"})
        ),
        package("keras", "3.4.0"),
        package("tensorflow", "2.17.0"),
    ),
    "an old cuDNN": lambda facts: with_packages(
        facts, package("torch", "2.6.0+cu124"), package("nvidia-cudnn-cu12", "9.11.0.98")
    ),
    "a CPU build": lambda facts: with_packages(
        facts, package("torch", "2.6.0+cpu"), package("tensorflow-cpu", "2.17.0")
    ),
    "builds for a new CUDA": lambda facts: with_packages(
        facts, package("torch", "2.11.0"), package("tensorflow", "2.20.0")
    ),
    "module and library differ": lambda facts: msgspec.structs.replace(
        facts,
        nvml=Nvml(state="NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
        driver=msgspec.structs.replace(
            facts.driver,
            module_version="550.54.14",
            library_version="550.90.07",
            module_loaded=True,
            smi_state="failed",
            smi_message="Failed to initialize NVML: Driver/library version mismatch",
            smi_exit_code=18,
        ),
    ),
    "a module that is refused": lambda facts: msgspec.structs.replace(
        facts,
        platform=msgspec.structs.replace(facts.platform, secure_boot=True),
        kernel_log=KernelLog(
            readable=True,
            messages=[
                KernelMessage(kind="module-rejected", text="Loading of module with unavailable key is rejected"),
                KernelMessage(
                    kind="xid", text="NVRM: Xid (PCI:0000:01:00): 79, GPU has fallen off the bus.", number=79
                ),
            ],
        ),
    ),
    "a driver that hangs": lambda facts: msgspec.structs.replace(facts, nvml=Nvml(state="timeout", stage="nvmlInit")),
    "a Linux driver in WSL": lambda facts: msgspec.structs.replace(
        facts,
        driver=msgspec.structs.replace(
            facts.driver,
            device_nodes=[DeviceNode(path="/dev/dxg")],
            libraries=[
                Library(name="libcuda.so.1", path="/usr/lib/x86_64-linux-gnu/libcuda.so.535.1", version="535.1")
            ],
        ),
    ),
    "a mask and an old toolkit": lambda facts: with_packages(
        msgspec.structs.replace(
            facts,
            variables=Variables(
                values={"CUDA_VISIBLE_DEVICES": "7", "CUDA_LAUNCH_BLOCKING": "1", "LD_LIBRARY_PATH": "/x"}
            ),
            toolkits=CudaToolkits(
                toolkits=[],
                cuda_home="",
                nvcc_path="/usr/bin/nvcc",
                nvcc_version="11.5",
                host_compiler="gcc 13.2",
                cudnn=[],
            ),
        ),
        package("torch", "2.6.0+cu124"),
    ),
    **{
        f"{name}: {error[:40]}": (
            lambda facts, name=name, error=error: with_packages(
                msgspec.structs.replace(
                    facts, **{name: failing(name, error, "2.6.0" if name == "torch" else "2.17.0")}
                ),
                package(name, "2.6.0" if name == "torch" else "2.17.0", "nvidia-cudnn-cu12==9.1.0.70"),
            )
        )
        for name, error in itertools.product(("torch", "tensorflow"), IMPORT_ERRORS)
    },
}


def remedies_on(facts: Facts) -> list[tuple[str, Remedy]]:
    """Return every remedy of every finding of every check, with the check's id."""
    found = []
    for check in all_checks():
        result, findings = run_check(check, facts, [], Intent())
        assert result.outcome is not CheckOutcome.CRASH, result
        found += [(check.id, remedy) for finding in findings for remedy in finding.remedies]
    return found


def words(command: str, shell: str) -> list[str]:
    return shlex.split(command, posix=shell == "sh")


def assert_fits(remedy: Remedy, made: Made, facts: Facts) -> None:
    python = facts.python
    linux = made.distribution not in {"windows", "macos"}
    inside = made.surroundings != "bare" and linux
    for command in remedy.commands if remedy.shell in {"sh", "powershell"} else []:
        line = words(command, remedy.shell)
        assert line, command
        called = {word for part in re.split(r"\|\|?|&&|;", command) for word in part.split()[:2]}
        for program, owners in OWNERS.items():
            assert program not in called or made.distribution in owners, (program, made.distribution)
        if inside:
            assert not called & {
                "reboot",
                "poweroff",
                "modprobe",
                "rmmod",
                "dkms",
                "akmods",
                "mokutil",
                "update-initramfs",
            }
            assert not re.search(r"install\b.*\b(?:nvidia-driver|akmod-nvidia|cuda-drivers|linux-headers)", command), (
                command
            )
        if made.root:
            assert "sudo" not in line
        if made.distribution == "windows":
            assert not called & {"sudo", "export", "unset", "ulimit", "mv", "rm", "ls"}, command
        if made.environment in {"system", "read-only"}:
            assert python.path not in command or " install" not in command, command
        if made.environment in {"uv-project", "poetry"} and "pip install" in command and ".venv/bin" not in line[0]:
            assert "--no-deps" in line or len(remedy.commands) > 1 or "--ignore-installed" in line, command
        if made.python.startswith("3.13") and "numpy<2" in line:
            raise AssertionError(command)
        assert_build_runs(line, facts)
    if remedy.safe:
        assert made.environment not in {"system", "read-only", "pyenv"} or all(
            command.startswith(("export", "unset", "$env:", "Remove-Item", "ulimit", "mkdir", "nvidia-smi -L"))
            for command in remedy.commands
        ), remedy
        assert not any("sudo" in command for command in remedy.commands)


def assert_build_runs(line: list[str], facts: Facts) -> None:
    """Fail where torch is installed in a build that the table refuses."""
    exact = next((match[1] for word in line if (match := re.fullmatch(r"'?torch==([\d.]+(?:\+\w+)?)'?", word))), None)
    index = next(
        (match[1] for word in line if (match := re.search(r"(?:whl/|pytorch-)(cpu|cu\d+|rocm[\d.]+)", word))), None
    )
    if exact is None or facts.platform is None or "conda" in line[0]:
        return
    made_for = Target(
        system="wsl" if facts.platform.wsl else facts.platform.system.lower(),
        machine=facts.platform.machine,
        python=facts.python.version,
        glibc=facts.platform.libc_version,
        macos=facts.platform.distribution_version if facts.platform.system == "Darwin" else None,
        driver=facts.nvml.driver_version,
        compute_capabilities=tuple(gpu.compute_capability for gpu in facts.nvml.gpus or []),
    )
    build = builds_of_torch.build(f"{exact}+{index}" if index and "+" not in exact else exact, made_for)
    if build is not None and ".venv/bin/python" not in line[0]:
        assert builds_of_torch.why_not(build, made_for) == [], line


def made_machines() -> st.SearchStrategy[Made]:
    return st.builds(
        Made,
        st.sampled_from(sorted(DISTRIBUTIONS)),
        st.sampled_from(SURROUNDINGS),
        st.sampled_from(ENVIRONMENTS),
        st.sampled_from(PYTHONS),
        st.sampled_from(sorted(HARDWARE)),
        st.booleans(),
    )


@pytest.mark.parametrize("fault", sorted(FAULTS))
@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=made_machines())
def test_every_remedy_that_is_named_can_work_on_the_machine_that_it_is_named_for(fault: str, made: Made) -> None:
    if made.surroundings == "wsl" and made.distribution in {"windows", "macos"}:
        made = msgspec.structs.replace(made, surroundings="bare")
    facts = FAULTS[fault](facts_of(made))
    for check, remedy in remedies_on(facts):
        note(f"{check}: {remedy}")
        assert_fits(remedy, made, facts)


def remedies_of_messages() -> list[Remedy]:
    """Return every remedy that a message can lead to, with a name in each gap."""
    from envcheck.messages import table
    from envcheck.messages.weigh import filled

    rows = [*table.cures().values(), *table.families().values(), *table.rules()]
    values = dict.fromkeys(("module", "package", "name", "version", "path", "library", "device"), "flash-attn")
    return [
        Remedy(
            action=cure.action, commands=[filled(command, values) for command in cure.commands], changes=cure.changes
        )
        for row in rows
        for cure in row.cures
        if cure.commands
    ]


@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(made=made_machines())
def test_every_cure_that_a_message_leads_to_can_work_on_the_machine_that_it_is_named_for(made: Made) -> None:
    if made.surroundings == "wsl" and made.distribution in {"windows", "macos"}:
        made = msgspec.structs.replace(made, surroundings="bare")
    facts = facts_of(made)
    for remedy in remedies_of_messages():
        for fitted in possible.fitting([remedy], facts):
            note(str(fitted))
            assert_fits(fitted, made, facts)


def machine(**changes: object) -> Facts:
    made = Made("ubuntu", "bare", "venv", "3.11.7", "Ada", root=False)
    return facts_of(msgspec.structs.replace(made, **changes))


def test_every_made_up_fault_makes_some_check_name_a_cure() -> None:
    for fault, breaks in FAULTS.items():
        hardware = {"an old cuDNN": "Volta", "a Linux driver in WSL": "Ada"}.get(fault, "Ada")
        where = "wsl" if "WSL" in fault else "bare"
        kind = "conda" if "conda" in fault else "venv"
        facts = breaks(machine(hardware=hardware, surroundings=where, environment=kind))
        assert remedies_on(facts), fault
