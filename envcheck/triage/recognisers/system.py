"""The operating system: uname, os-release, lsb_release, ldd --version, systeminfo, sw_vers, WSL, Secure Boot, users."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, Values, always, apply, taking

MACHINES = r"x86_64|aarch64|arm64|armv7l|i[3-6]86|ppc64le|s390x|riscv64|AMD64"


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what lines and commands say of the operating system."""
    yield from apply(RULES, paste)
    for command in paste.commands:
        output = next((line for line in command.output if line.text.strip()), None)
        if output is None:
            continue
        text = output.text.strip()
        if command.text == "uname -r" and re.fullmatch(r"\d+\.\d+[\w.+-]*", text):
            yield Piece("platform", kernel(text), output.source)
        elif re.fullmatch(r"(?:uname -m|arch)", command.text) and re.fullmatch(MACHINES, text):
            yield Piece("platform", {"machine": text}, output.source)
        elif re.fullmatch(r"uname -(?:sm|ms|srm|mrs)", command.text) and (
            named := re.fullmatch(rf"(?P<system>Linux|Darwin) (?:(?P<release>\S+) )?(?P<machine>{MACHINES})", text)
        ):
            yield Piece("platform", {"system": named["system"], "machine": named["machine"]}, output.source)
        elif re.fullmatch(r"(?:id -nG|groups)(?: \S+)?", command.text):
            names = text.rpartition(" : ")[2].split()
            yield Piece("platform", {"user_groups": names}, output.source)
    for command in paste.commands:
        if command.text.startswith("wsl"):
            yield from _wsl(command.output)


def _uname(found: re.Match[str]) -> Values:
    values = kernel(found["release"])
    values |= {"system": found["system"], "machine": found["machine"], "kernel_version": found["version"].strip()}
    return values


def kernel(release: str) -> Values:
    """Return what a kernel's release says: WSL's kernels carry Microsoft's name."""
    values: Values = {"kernel_release": release}
    if "microsoft" in release.lower():
        # WSL 1 translates calls and reports `4.4.0-19041-Microsoft`; WSL 2 runs a kernel of its own.
        values["wsl"] = 1 if release.endswith("-Microsoft") else 2
    if re.match(r"\d+\.\d+\.\d+-\d+-(?:generic|lowlatency|cloud-amd64|amd64)|.*\.(?:el\d|fc\d|amzn\d)|.*WSL2", release):
        values["system"] = "Linux"
    return values


DISTRIBUTIONS = {
    "ubuntu": "ubuntu",
    "debian": "debian",
    "fedora": "fedora",
    "centos": "centos",
    "red hat": "rhel",
    "rhel": "rhel",
    "rocky": "rocky",
    "almalinux": "almalinux",
    "amazon linux": "amzn",
    "alpine": "alpine",
    "arch linux": "arch",
    "manjaro": "manjaro",
    "opensuse": "opensuse",
    "suse linux": "sles",
    "linux mint": "linuxmint",
    "pop!_os": "pop",
    "kali": "kali",
    "nixos": "nixos",
    "gentoo": "gentoo",
}


def named_system(text: str) -> Values:
    """Return what a name such as `Ubuntu 22.04.3 LTS (x86_64)` or `Microsoft Windows 11 Pro` says."""
    values: Values = {}
    lower = text.lower()
    version = re.search(r"(?<![\w.])(\d{1,4}(?:\.\d{1,4}){0,2})\b", text)
    machine = re.search(rf"\b({MACHINES})\b", text)
    if machine:
        values["machine"] = machine[1]
    for name, identity in DISTRIBUTIONS.items():
        if name in lower:
            values |= {"system": "Linux", "distribution": identity, "distribution_name": text.strip()[:80]}
            if version:
                parts = version[1].split(".")
                values["distribution_version"] = ".".join(parts[:2]) if identity == "ubuntu" else version[1]
            break
    else:
        if "windows" in lower:
            values |= {"system": "Windows", "distribution": "windows"}
        elif re.search(r"\bmac ?os|\bos x\b", lower):
            values |= {"system": "Darwin", "distribution": "macos"}
            if version:
                values["distribution_version"] = version[1]
        elif re.search(r"\blinux\b", lower):
            values["system"] = "Linux"
    if "wsl2" in lower.replace(" ", ""):
        values = {field: value for field, value in values.items() if value != "windows"}
        values |= {"wsl": 2, "system": "Linux"}
    return values


def _named(found: re.Match[str]) -> Values:
    return named_system(found["name"].strip("\"'"))


def _platform(found: re.Match[str]) -> Values:
    """Read Python's own name of a platform, such as `Linux-5.15.0-91-generic-x86_64-with-glibc2.35`."""
    text = found["name"]
    if text.startswith("Linux"):
        values = kernel(re.sub(rf"-(?:{MACHINES}).*$", "", text[6:]))
        values["system"] = "Linux"
        if libc := re.search(r"with-(?P<libc>glibc|musl)-?(?P<version>\d+\.\d+)", text):
            values |= {"libc": libc["libc"], "libc_version": libc["version"]}
    elif text.startswith("Windows"):
        values = {"system": "Windows", "distribution": "windows"}
    else:
        values = {"system": "Darwin", "distribution": "macos"}
    if machine := re.search(rf"-({MACHINES})\b", text):
        values["machine"] = machine[1]
    return values


def _groups(found: re.Match[str]) -> Values:
    return {
        "user_id": int(found["id"]),
        "user_groups": re.findall(r"\(([^()]{1,60})\)", found["groups"]),
    }


def _wsl(output: object) -> Iterator[Piece]:
    """Read `wsl -l -v`: name, state, version."""
    for line in output:  # type: ignore[attr-defined]
        if found := re.match(r"\s*\*\s+\S+\s+(?:Running|Stopped|\S+)\s+(?P<version>[12])\s*$", line.text):
            yield Piece("platform", {"wsl": int(found["version"])}, line.source)


RULES = (
    Rule(
        "Linux ",
        rf"\b(?P<system>Linux) \S+ (?P<release>\d+\.\d+[\w.+~-]*) (?P<version>#.{{1,120}}?) (?P<machine>{MACHINES})\b",
        "platform",
        _uname,
    ),
    Rule(
        "Darwin ",
        rf"\b(?P<system>Darwin) \S+ (?P<release>\d+\.\d+[\w.]*) "
        rf"(?P<version>Darwin Kernel .{{1,160}}?) (?P<machine>{MACHINES})\b",
        "platform",
        _uname,
    ),
    Rule(
        "ersion",
        r"\b(?:Linux version|Linux) (?P<release>\d+\.\d+\.\d+[\w.+~-]*) \(",
        "platform",
        lambda found: kernel(found["release"]),
    ),
    Rule(
        "Kernel: ",
        r"^\W*Kernel: (?:Linux )?(?P<release>\d+\.\d+\.\d+[\w.+~-]*)",
        "platform",
        lambda found: kernel(found["release"]),
    ),
    Rule(
        "Kernel Version: ",
        r"^\s*Kernel Version: (?P<release>\d+\.\d+\.\d+[\w.+~-]*)",
        "platform",
        lambda found: kernel(found["release"]),
    ),
    Rule("PRETTY_NAME=", r"^PRETTY_NAME=(?P<name>.{3,100})", "platform", _named),
    Rule("VERSION_ID=", r"^VERSION_ID=\"?(?P<version>[\d.]{1,12})", "platform", taking(distribution_version="version")),
    Rule("ID=", r"^ID=\"?(?P<id>[a-z][\w.-]{1,30})\"?$", "platform", taking(distribution="id")),
    Rule("Description:", r"^Description:\s+(?P<name>\S.{3,100})", "platform", _named),
    Rule(
        "release ",
        r"^(?P<name>(?:CentOS|Red Hat|Rocky|AlmaLinux|Fedora|Amazon) .{0,60}release \d[\d.]*.{0,40})$",
        "platform",
        _named,
    ),
    Rule("Operating System:", r"^\W*Operating System:\s*(?P<name>\S.{3,100})", "platform", _named),
    Rule("OS Name:", r"^OS Name:\s+(?P<name>\S.{3,100})", "platform", _named),
    Rule(
        "Microsoft Windows [",
        r"^Microsoft Windows \[Version (?P<version>[\d.]{5,20})",
        "platform",
        always(system="Windows", distribution="windows"),
    ),
    Rule(
        "System Type:",
        r"^System Type:\s+(?P<bits>x64|ARM64)",
        "platform",
        lambda found: {"machine": {"x64": "AMD64"}.get(found["bits"], "ARM64")},
    ),
    Rule(
        "ProductVersion:",
        r"^ProductVersion:\s+(?P<version>\d+[\d.]*)",
        "platform",
        lambda found: {"system": "Darwin", "distribution": "macos", "distribution_version": found["version"]},
    ),
    Rule("System Version:", r"System Version: (?P<name>(?:macOS|OS X) .{2,60})", "platform", _named),
    Rule(
        "-",
        r"\b(?P<name>Linux-\d+\.\d+[\w.+~-]{1,120}-with-[\w.-]{4,40}|Windows-(?:10|11|\d+)-[\w.-]{3,40}|macOS-\d+[\w.-]{3,60}(?:-64bit)?)",
        "platform",
        _platform,
    ),
    Rule(
        "ldd (",
        r"^ldd \([^)]{1,80}\) (?P<version>\d+\.\d+)",
        "platform",
        lambda found: {"libc": "glibc", "libc_version": found["version"], "system": "Linux"},
    ),
    Rule(
        "GNU C Library",
        r"GNU C Library .{0,60}(?:release|stable release) version (?P<version>\d+\.\d+)",
        "platform",
        lambda found: {"libc": "glibc", "libc_version": found["version"]},
    ),
    Rule(
        "libc",
        r"^(?:\W*Libc version: ?)?glibc[- ](?P<version>\d+\.\d+)",
        "platform",
        lambda found: {"libc": "glibc", "libc_version": found["version"], "system": "Linux"},
    ),
    Rule(
        "musl libc (",
        r"^musl libc \((?P<machine>[\w.-]{2,20})\)",
        "platform",
        lambda found: {"libc": "musl", "system": "Linux", "machine": found["machine"]},
    ),
    Rule(
        "__glibc=",
        r"__glibc=(?P<version>\d+\.\d+)",
        "platform",
        lambda found: {"libc": "glibc", "libc_version": found["version"], "system": "Linux"},
    ),
    Rule(
        "SecureBoot ",
        r"^\s*SecureBoot (?P<state>enabled|disabled)",
        "platform",
        lambda found: {"secure_boot": found["state"] == "enabled"},
    ),
    Rule("Secure boot enabled", r"Secure boot enabled", "platform", always(secure_boot=True)),
    Rule("Secure boot disabled", r"Secure boot disabled", "platform", always(secure_boot=False)),
    Rule("uid=", r"\buid=(?P<id>\d{1,10})\S{0,80} gid=\S{1,80}(?: groups=(?P<groups>.{0,1000}))", "platform", _groups),
    Rule(
        "Hypervisor vendor:",
        r"^Hypervisor vendor:\s+(?P<name>\S+)",
        "platform",
        lambda found: {"virtual_machine": found["name"].lower()},
    ),
    Rule(
        "Virtualization:",
        r"^\W*Virtualization: (?P<name>kvm|vmware|microsoft|xen|qemu|oracle|amazon)\s*$",
        "platform",
        taking(virtual_machine="name"),
    ),
)
