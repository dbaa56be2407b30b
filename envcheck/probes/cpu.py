"""The processor and how much of it this process may use."""

from __future__ import annotations

import math
import re

from envcheck.cgroups import control_group
from envcheck.facts import Cpu
from envcheck.probe import probe
from envcheck.system import System

CPU_INFORMATION = "/proc/cpuinfo"

MAC_INSTRUCTIONS = {"avx1.0": "avx", "avx2": "avx2", "fma": "fma", "sse4.1": "sse4_1", "sse4.2": "sse4_2"}
"""Name that macOS gives an instruction set → the one that Linux gives it."""


@probe(fills=["cpu"], deadline=2)
def cpu(system: System) -> Cpu:
    """Read /proc/cpuinfo (on a Mac: sysctl), the affinity and the cgroup's quota."""
    logical = system.ask("logical_cores")
    affinity = system.ask("affinity_cores")
    quota = cgroup_quota_cores(system)
    limits = [limit for limit in (affinity or logical, quota) if limit]
    text = system.read(CPU_INFORMATION).text
    if text:
        model = _field(text, "model name|Model|cpu model|Hardware")
        vendor = _field(text, "vendor_id|CPU implementer")
        instructions: list[str] | None = (_field(text, "flags|Features") or "").split() or None
        physical = _cores_in(text)
        source = CPU_INFORMATION
    elif (system.ask("uname") or {}).get("system") == "Darwin":
        model, vendor, instructions = _of_mac(system)
        physical, source = None, "sysctl"
    else:
        model, vendor, instructions = system.getenv("PROCESSOR_IDENTIFIER"), None, None
        physical, source = None, "PROCESSOR_IDENTIFIER"
    return Cpu(
        model=model,
        vendor=vendor,
        instructions=instructions,
        physical_cores=physical or system.ask("physical_cores"),
        logical_cores=logical,
        affinity_cores=affinity,
        quota_cores=quota,
        allowed_cores=math.ceil(min(limits)) if limits else None,
        load_average=system.ask("load_average"),
        sources={
            "model": source,
            "vendor": source,
            "instructions": source,
            "physical_cores": source,
            "logical_cores": "operating system",
            "affinity_cores": "sched_getaffinity",
            "quota_cores": "cgroup cpu.max or cpu.cfs_quota_us",
            "allowed_cores": "affinity and cgroup quota",
            "load_average": "/proc/loadavg",
        },
    )


def _field(text: str, names: str) -> str | None:
    found = re.search(rf"^(?:{names})\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else None


def _cores_in(text: str) -> int | None:
    """Return the number of cores: pairs of `physical id` and `core id`; None where the kernel does not number them."""
    cores = set()
    for block in text.split("\n\n"):
        package, core = _field(block, "physical id"), _field(block, "core id")
        if package is not None and core is not None:
            cores.add((package, core))
    return len(cores) or None


def _of_mac(system: System) -> tuple[str | None, str | None, list[str] | None]:
    names = ["machdep.cpu.brand_string", "machdep.cpu.vendor", "machdep.cpu.features", "machdep.cpu.leaf7_features"]
    # -i: an Apple chip has no features to name.
    text = system.run(["sysctl", "-i", *names], 1.0).stdout
    words = " ".join(_field(text, re.escape(name)) or "" for name in names[2:]).lower().split()
    return _field(text, names[0]), _field(text, names[1]), [MAC_INSTRUCTIONS.get(word, word) for word in words] or None


def cgroup_quota_cores(system: System) -> float | None:
    """Return the CPU quota of this process's cgroup in cores; 0 without a quota, None where there is no cgroup.

    Source: Linux kernel documentation, "Control Group v2" (`cpu.max`) and "CFS Bandwidth Control" (`cpu.cfs_quota_us`).
    """
    group = control_group(system, "cpu")
    if group is None:
        return None
    quota_of = _quota_first_version if group.version == 1 else _quota_second_version
    known = [quota for quota in (quota_of(system, folder) for folder in group.folders) if quota]
    return min(known) if known else 0.0


def _quota_second_version(system: System, folder: str) -> float | None:
    found = re.match(r"(\d+) (\d+)", system.read(f"{folder}/cpu.max").text)
    return int(found[1]) / int(found[2]) if found and int(found[2]) else None


def _quota_first_version(system: System, folder: str) -> float | None:
    quota, period = (system.read(f"{folder}/cpu.cfs_{name}_us").text.strip() for name in ("quota", "period"))
    if quota.isdigit() and period.isdigit() and int(period):
        return int(quota) / int(period)
    return None
