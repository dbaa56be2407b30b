"""The last gate of every remedy: what cannot work on this machine is replaced, or said to be impossible and why.

A check knows its fault; this knows the machine.  Commands are adapted to the user (no `sudo` for root), to the shell
(PowerShell on Windows) and to the environment under test; those for another distribution, for a driver that is not
here to be changed, or for a build that would not run here, give way.  What is unknown of the machine is not judged.

Sources: os-release(5) for names of distributions; NVIDIA's CUDA on WSL User Guide (the driver is that of Windows);
NVIDIA Container Toolkit documentation (the driver is that of the host); PEP 668; the tables of builds.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

import msgspec

from envcheck import cures
from envcheck.facts import Facts, Framework, Platform
from envcheck.report import Remedy

APT = frozenset(
    {"debian", "ubuntu", "linuxmint", "pop", "raspbian", "kali", "elementary", "zorin", "neon", "devuan", "parrot"}
)
DNF = frozenset({"fedora", "rhel", "centos", "rocky", "almalinux", "amzn", "ol", "nobara"})
ZYPPER = frozenset({"opensuse-leap", "opensuse-tumbleweed", "opensuse", "sles", "sled"})
PACMAN = frozenset({"arch", "manjaro", "endeavouros", "cachyos"})

PACKAGE_MANAGERS = {
    "apt": APT,
    "apt-get": APT,
    "dpkg": APT,
    "ubuntu-drivers": APT,
    "update-initramfs": APT,
    "dnf": DNF,
    "yum": DNF,
    "akmods": DNF,
    "zypper": ZYPPER,
    "pacman": PACMAN,
    "mkinitcpio": PACMAN,
    "apk": frozenset({"alpine"}),
    "brew": frozenset({"macos"}),
    "winget": frozenset({"windows"}),
    "wsl": frozenset({"windows"}),
}
"""Program → the distributions (`ID` of os-release) that have it."""

DRIVER_PACKAGES = re.compile(
    r"\b(?:nvidia-(?!container|smi|cu|nccl|nv|ml-py|ctk)[a-z]|akmod-nvidia|kmod-nvidia|cuda-drivers|libnvidia-(?!container)"
    r"|xorg-x11-drv-nvidia|ubuntu-drivers|linux-headers|kernel-devel)"
)
"""Packages of NVIDIA's driver, and what its kernel module is built with."""

KERNEL_PROGRAMS = frozenset(
    {
        "modprobe",
        "nvidia-modprobe",
        "rmmod",
        "insmod",
        "dkms",
        "akmods",
        "mokutil",
        "update-initramfs",
        "dracut",
        "mkinitcpio",
        "depmod",
    }
)
RESTARTS = frozenset({"reboot", "poweroff", "shutdown"})
SERVICES = frozenset({"systemctl"})
NOT_ON_WINDOWS = frozenset(
    {"sudo", "ulimit", "mv", "rm", "ls", "mkdir", "dmesg", "df", "du", "ldd", "ldconfig", "kill", "printf", "type"}
)

FRAMEWORKS = {
    "torch": "torch",
    "tensorflow": "tensorflow",
    "tensorflow-cpu": "tensorflow",
}
"""Distribution → the framework whose table of builds judges it."""

NUMPY_SINCE_PYTHON_3_13 = ("2.1.0", "2.2.0", "2.3.0", "2.4.0", "2.5.0", "2.9.0", "3.0.0")
"""NumPy's wheels for Python 3.13 begin with 2.1.0 (NumPy 2.1.0 release notes); NumPy 1 has none."""


def fitting(remedies: Sequence[Remedy], facts: Facts) -> list[Remedy]:
    """Return remedies that can work on this machine, best first.

    Where none of them can, each is a sentence that says why, without commands.
    """
    possible: list[Remedy] = []
    refused: list[Remedy] = []
    for remedy in remedies:
        adapted, works = _adapted(remedy, facts)
        (possible if works else refused).append(adapted)
    return _unique(possible or refused)


def _unique(remedies: list[Remedy]) -> list[Remedy]:
    kept: list[Remedy] = []
    for remedy in remedies:
        if not any((other.action, other.commands) == (remedy.action, remedy.commands) for other in kept):
            kept.append(remedy)
    return kept


def _adapted(remedy: Remedy, facts: Facts) -> tuple[Remedy, bool]:
    """Return a remedy for this machine, and whether it can work here."""
    if not remedy.commands or remedy.shell not in {"sh", "powershell"}:
        return remedy, True
    platform = facts.platform or Platform()
    for command in remedy.commands:
        for rule in RULES:
            refusal = rule(command, remedy, facts, platform)
            if refusal is not None:
                return refusal
    remedy = _for_this_environment(remedy, facts)
    return _for_this_user(remedy, platform), True


Refusal = tuple[Remedy, bool]
Rule = Callable[[str, Remedy, Facts, Platform], "Refusal | None"]


def words_of(command: str) -> list[str]:
    """Return a command's words; PowerShell's backslashes stay. What no shell could split has none."""
    windows = re.search(r"[A-Za-z]:\\|\\Scripts\\", command) is not None
    try:
        words = shlex.split(command, posix=not windows)
    except ValueError:
        return []
    return [word.strip("'") for word in words] if windows else words


def programs_of(command: str) -> list[str]:
    """Return the programs that a line calls: the first word of each part, without `sudo` and settings of variables."""
    found = []
    for part in re.split(r"\|\|?|&&|;|\$\(", command):
        words = [word for word in words_of(part.strip()) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words[:1] == ["sudo"]:
            found.append("sudo")
            words = words[1:]
        found += words[:1]
    return found


def _sentence(remedy: Remedy, action: str, *, works: bool = False) -> Refusal:
    return Remedy(action=action, changes=remedy.changes), works


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def _driver_is_elsewhere(command: str, remedy: Remedy, _facts: Facts, platform: Platform) -> Refusal | None:
    """Refuse what changes a driver or restarts a machine from inside WSL or a container."""
    programs = set(programs_of(command))
    installs = bool(re.search(r"\b(?:install|upgrade|-Syu?)\b|pacman -S", command))
    changes_driver = bool(programs & KERNEL_PROGRAMS or "/etc/modprobe.d" in command) or (
        (installs or "ubuntu-drivers" in programs) and bool(DRIVER_PACKAGES.search(command)) and "pip" not in command
    )
    restarts = bool(programs & RESTARTS)
    if not changes_driver and not restarts:
        return None
    if platform.container:
        return _sentence(remedy, f"On the host, not in this container: {_lower(remedy.action)}", works=True)
    if platform.wsl and changes_driver:
        action = "In Windows, not in WSL: install NVIDIA's driver for Windows, then run `wsl --shutdown` in PowerShell"
        return Remedy(action=action, changes="the driver of Windows"), True
    if platform.wsl:
        action = "Restart WSL, in PowerShell on Windows"
        return Remedy(  # noqa: S604 - the shell that the command is written for; nothing is run
            action=action,
            commands=["wsl --shutdown"],
            shell="powershell",
            changes="running distributions end",
        ), True
    return None


def _other_distribution(command: str, remedy: Remedy, _facts: Facts, platform: Platform) -> Refusal | None:
    """Refuse the package manager of another distribution or system."""
    here = {"Darwin": "macos", "Windows": "windows"}.get(platform.system or "", platform.distribution or "")
    if not here:
        return None
    for program in programs_of(command):
        if program == "wsl" and platform.wsl:
            continue
        owners = PACKAGE_MANAGERS.get(program)
        if owners is not None and here not in owners:
            name = platform.distribution_name or here
            what = "the package manager" if program not in KERNEL_PROGRAMS else "the tools"
            return _sentence(remedy, f"{remedy.action.rstrip('.')} (with {what} of {name})")
    return None


def _other_system(command: str, remedy: Remedy, _facts: Facts, platform: Platform) -> Refusal | None:
    """Refuse programs that this operating system does not have."""
    programs = set(programs_of(command))
    windows = platform.system == "Windows"
    if windows and remedy.shell == "sh" and programs & NOT_ON_WINDOWS:
        return _sentence(remedy, f"{remedy.action.rstrip('.')} (the command for it is one of Linux)")
    if platform.system == "Darwin" and programs & (KERNEL_PROGRAMS | SERVICES):
        return _sentence(remedy, f"{remedy.action.rstrip('.')} (the command for it is one of Linux)")
    if programs & SERVICES and platform.init and platform.init not in {"systemd", "init"}:
        where = "On the host" if platform.container else "Here no systemd runs; by this system's own means"
        return _sentence(remedy, f"{where}: {_lower(remedy.action)}")
    return None


def _environment_of_the_system(command: str, remedy: Remedy, facts: Facts, _platform: Platform) -> Refusal | None:
    """Refuse to install into an interpreter that belongs to the system, or that this user may not change."""
    python = facts.python
    if python is None or not python.path or not cures.forbidden(python):
        return None
    words = words_of(command)
    plain = python.path in words and "pip" in words
    if not (plain or generic_pip(words)):
        return None
    requirements = requirements_of(words)
    if "install" in words and requirements and len(remedy.commands) == 1:
        return cures.install(python, requirements, remedy.action, index=_value(words, "--index-url")), True
    ours = python.environment_kind in cures.OWN_ENVIRONMENTS
    why = "you may not write into this one" if ours else "this interpreter belongs to the system"
    return Remedy(
        action=f"Make an environment of your own and work there ({why}); what is wrong here is then out of the way",
        commands=["py -m venv .venv" if cures.on_windows(python) else "python3 -m venv .venv"],
        changes="makes the folder .venv",
        shell=cures.shell(python),
    ), True


def generic_pip(words: list[str]) -> bool:
    """Tell whether a command is pip's without a word on whose pip."""
    return words[:1] in (["pip"], ["pip3"]) or (words[1:3] == ["-m", "pip"] and words[0] in {"python", "python3", "py"})


VALUE_OPTIONS = frozenset(
    {"--index-url", "--extra-index-url", "--index", "--python", "--project", "--directory", "--source", "--prefix"}
    | {"--manifest-path", "--reinstall-package", "--find-links", "-r", "-c", "-i", "-f"}
)


def requirements_of(words: list[str]) -> list[str]:
    """Return the requirements of an install command of pip, uv, Poetry, PDM, Pipenv or pixi."""
    start = next((number for number, word in enumerate(words) if word in {"install", "add"}), None)
    found: list[str] = []
    waiting = words[start + 1 :] if start is not None else []
    while waiting:
        word = waiting.pop(0)
        if word in VALUE_OPTIONS:
            waiting = waiting[1:]
        elif not word.startswith("-"):
            found.append(word.strip("'\""))
    return found


def _value(words: list[str], option: str) -> str | None:
    after = [words[number + 1] for number, word in enumerate(words[:-1]) if word == option]
    if option == "--index-url":
        # Of a uv project `NAME=ADDRESS`, of a Poetry project the name alone, which ends in the index's own folder.
        after += [word.partition("=")[2] for word in words if word.startswith("pytorch-") and "=http" in word]
        after += [
            f"/whl/{word.removeprefix('pytorch-').replace('-', '.')}" for word in words if word.startswith("pytorch-")
        ]
    return after[0] if after else None


def _build_that_does_not_run(command: str, remedy: Remedy, facts: Facts, platform: Platform) -> Refusal | None:
    """Refuse a build of a framework that driver, card, Python or C library do not allow; name one that they do."""
    words = words_of(command)
    if not platform.system or "conda" in words[0:1] or not any(word in {"install", "add"} for word in words):
        return None
    for requirement in requirements_of(words):
        name = FRAMEWORKS.get(cures.name_of(requirement))
        if name is None:
            continue
        reasons = reasons_against(name, requirement, _value(words, "--index-url"), facts)
        if reasons:
            other = _other_build(name, requirement, facts)
            if other is not None:
                return other, True
            return _sentence(remedy, f"{remedy.action.rstrip('.')}: not possible here, for {reasons[0]}")
    return None


def reasons_against(name: str, requirement: str, index: str | None, facts: Facts) -> list[str]:
    """Say why the build that an installer would take for a requirement does not run on this machine.

    Args:
        name: `torch` or `tensorflow`.
        requirement: such as `torch==2.6.0`.
        index: address of the index that is asked; None = the default one.
        facts: what is known of the machine.
    """
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - only where a framework is named

    from envcheck.checks.nvidia_context import target_of  # noqa: PLC0415
    from envcheck.compat import build as builds  # noqa: PLC0415
    from envcheck.compat import tensorflow, torch  # noqa: PLC0415

    try:
        asked = Requirement(requirement)
    except InvalidRequirement:
        return []
    target = target_of(facts)
    module = torch if name == "torch" else tensorflow
    local = re.search(r"/whl/(cpu|cu\d+|rocm[\d.]+)/?$", index or "")
    exact = re.search(r"==\s*([\w.]+(?:\+[\w.]+)?)\s*$", requirement)
    if exact and "*" not in requirement:
        versions = [exact[1]]
    else:
        versions = [row.version for row in module.releases() if asked.specifier.contains(row.version, prereleases=True)]
    somebodys = msgspec.structs.replace(target, driver=None, compute_capabilities=(), gfx=())
    for version in versions:
        full = f"{version}+{local[1]}" if local and "+" not in version and name == "torch" else version
        found = module.build(full, target)
        if found is None:
            if exact:
                # A release that the tables do not know, or an index that they do not list: nothing is known.
                return []
            continue
        if not exact and builds.why_not(found, somebodys):
            # An installer passes over releases without a wheel for this Python and C library.
            continue
        if name == "tensorflow" and found.accelerator == "cuda" and "[and-cuda]" not in requirement:
            # Without its CUDA libraries it runs on the CPU, whatever driver and card there are.
            return builds.why_not(found, somebodys)
        return builds.why_not(found, target)
    return [f"no release of {name} is for this machine"] if not exact and versions else []


def _other_build(name: str, requirement: str, facts: Facts) -> Remedy | None:
    """Return the remedy that installs a build which does run here; first one for the GPU, else for the CPU."""
    from envcheck.checks.nvidia_remedies import install_framework  # noqa: PLC0415

    present = getattr(facts, name) or Framework(name=name)
    cpu = "cpu" in requirement
    for accelerator in ("cpu",) if cpu else ("cuda", "rocm", "mps", "cpu"):
        if accelerator in {"rocm", "mps"} and not _has(accelerator, facts):
            continue
        remedy = install_framework(present, facts, accelerator=accelerator)
        if remedy is not None:
            return remedy
    return None


def _has(accelerator: str, facts: Facts) -> bool:
    found = facts.accelerators
    return found is not None and bool(found.amd_devices if accelerator == "rocm" else found.apple_chip)


def _numpy_that_python_lacks(command: str, remedy: Remedy, facts: Facts, _platform: Platform) -> Refusal | None:
    """Refuse NumPy 1 for a Python that has no release of it."""
    if "numpy" not in command or facts.python is None or not facts.python.version:
        return None
    from packaging.requirements import InvalidRequirement, Requirement  # noqa: PLC0415 - only where NumPy is named

    from envcheck.compat.versions import parse  # noqa: PLC0415

    python = parse(facts.python.version)
    words = words_of(command)
    if python is None or python.release[:2] < (3, 13) or not {"install", "add"} & set(words):
        return None
    for requirement in requirements_of(words):
        try:
            asked = Requirement(requirement)
        except InvalidRequirement:
            continue
        if asked.name == "numpy" and not any(asked.specifier.contains(one) for one in NUMPY_SINCE_PYTHON_3_13):
            series = f"{python.major}.{python.minor}"
            return _sentence(
                remedy,
                f"{remedy.action.rstrip('.')}: not possible with Python {series}, for which NumPy begins with 2.1; "
                "make an environment with Python 3.12, or install a release that was built for NumPy 2",
            )
    return None


def _conda_elsewhere(command: str, remedy: Remedy, facts: Facts, _platform: Platform) -> Refusal | None:
    """Refuse conda where the environment under test is none of its own."""
    python = facts.python
    if python is None or python.environment_kind in {None, "conda"}:
        return None
    changes = {"install", "remove", "uninstall", "update"} & set(words_of(command))
    if not changes or not {"conda", "mamba", "micromamba"} & set(programs_of(command)):
        return None
    return _sentence(remedy, f"{remedy.action.rstrip('.')} (conda cannot: this environment is not one of conda's)")


RULES: tuple[Rule, ...] = (
    _driver_is_elsewhere,
    _other_distribution,
    _other_system,
    _conda_elsewhere,
    _build_that_does_not_run,
    _numpy_that_python_lacks,
    _environment_of_the_system,
)
"""Asked in this order for each command; the first that refuses replaces the whole remedy."""


def _for_this_environment(remedy: Remedy, facts: Facts) -> Remedy:
    """Return a remedy whose plain `pip install` or `conda install` is that of the interpreter under test."""
    python = facts.python
    if python is None or not python.path or len(remedy.commands) != 1:
        return remedy
    words = words_of(remedy.commands[0])
    if words[:2] in (["conda", "install"], ["conda", "update"]) and python.prefix and "--prefix" not in words:
        told = f"{python.conda_program or 'conda'} {words[1]} --prefix {cures.quoted(python.prefix, python)}"
        rest = remedy.commands[0].partition(words[1])[2]
        return msgspec.structs.replace(remedy, commands=[f"{told}{rest}"])
    requirements = requirements_of(words)
    if not generic_pip(words) or "install" not in words or not requirements:
        return remedy
    index = _value(words, "--index-url")
    options = " ".join(word for word in words if word in {"--upgrade", "-U", "--force-reinstall", "--pre"})
    return cures.install(python, requirements, remedy.action, index=index, options=options, packages=facts.packages)


def _for_this_user(remedy: Remedy, platform: Platform) -> Remedy:
    """Return a remedy without `sudo` for root, in the shell of Windows there, and with yum where there is no dnf."""
    commands = remedy.commands
    if platform.user_id == 0:
        commands = [re.sub(r"\bsudo\s+", "", command) for command in commands]
    if _has_yum_alone(platform):
        commands = [re.sub(r"\bdnf\b", "yum", command) for command in commands]
    shell = remedy.shell
    if platform.system == "Windows" and shell == "sh":
        shell = "powershell"
        commands = [line for command in commands for line in in_powershell(command)]
    action = remedy.action
    if platform.container and {"apt", "apt-get", "dnf", "yum"} & {
        program for command in commands for program in programs_of(command)
    }:
        action = f"{action.rstrip('.')}; enter it into the image too, or it is gone with this container"
    return msgspec.structs.replace(remedy, action=action, commands=commands, shell=shell)


def _has_yum_alone(platform: Platform) -> bool:
    """Tell whether a system of the Fedora family is from before dnf (RHEL 8, Amazon Linux 2023)."""
    major = (platform.distribution_version or "").partition(".")[0]
    if not major.isdigit():
        return False
    if platform.distribution == "amzn":
        return int(major) == 2  # noqa: PLR2004 - Amazon Linux 2; the next one is 2023
    return platform.distribution in {"rhel", "centos", "ol"} and int(major) < 8  # noqa: PLR2004


def in_powershell(command: str) -> list[str]:
    """Return a POSIX shell's line as lines for PowerShell: variables and environments; others as they are."""
    words = words_of(command)
    if words[:1] == ["export"]:
        pairs = [word.partition("=") for word in words[1:]]
        return [f"$env:{name} = '{value}'" for name, _, value in pairs]
    if words[:1] == ["unset"]:
        return [f"Remove-Item Env:{name}" for name in words[1:]]
    if words[:1] in (
        [
            ".",
        ],
        ["source"],
    ) and words[1:2] == [".venv/bin/activate"]:
        return [r".venv\Scripts\Activate.ps1"]
    command = re.sub(r"^python3 -m venv\b", "py -m venv", command)
    return [re.sub(r"^(\S+)/bin/python\b", lambda found: found[1] + r"\Scripts\python", command)]
