"""AMD, Intel and Apple: rocminfo, rocm-smi, hipcc, paths of ROCm, chips of Macs."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, always, apply, taking


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what lines say of accelerators that are not NVIDIA's."""
    yield from apply(RULES, paste)


RULES = (
    Rule(
        "gfx",
        r"^\s*Name:\s+(?P<target>gfx[0-9a-f]{3,5})\s*$",
        "accelerators",
        lambda found: {"amd_targets": [found["target"]]},
    ),
    Rule(
        "amdgcn-amd-amdhsa--gfx",
        r"amdgcn-amd-amdhsa--(?P<target>gfx[0-9a-f]{3,5})",
        "accelerators",
        lambda found: {"amd_targets": [found["target"]]},
    ),
    Rule(
        "Marketing Name:",
        r"^\s*Marketing Name:\s+(?P<name>(?:AMD )?(?:Radeon|Instinct)[^\n]{2,60}?)\s*$",
        "accelerators",
        lambda found: {"amd_devices": [found["name"]]},
    ),
    Rule("/opt/rocm-", r"/opt/rocm-(?P<version>\d\.\d+(?:\.\d+)?)", "accelerators", taking(rocm_version="version")),
    Rule("HIP version", r"^HIP version ?: ?(?P<version>\d\.\d+)", "accelerators", taking(rocm_version="version")),
    Rule(
        "ROCm",
        r"^(?:ROCm version|ROCM version): ?(?P<version>\d\.\d+(?:\.\d+)?)",
        "accelerators",
        taking(rocm_version="version"),
    ),
    Rule("Chip: ", r"^\s*Chip: (?P<name>Apple M\d[\w ]{0,12})", "accelerators", taking(apple_chip="name")),
    Rule("Apple M", r"\b(?P<name>Apple M\d(?: (?:Pro|Max|Ultra))?)\b", "accelerators", taking(apple_chip="name")),
    Rule(
        "Metal Support: ",
        r"^\s*Metal(?: Support)?: (?P<name>Metal \d|Supported)",
        "accelerators",
        lambda _: {"metal": True},
    ),
    Rule(
        "sysctl.proc_translated",
        r"sysctl\.proc_translated: 1",
        "platform",
        always(emulation="rosetta", system="Darwin"),
    ),
    Rule("qemu", r"^qemu(?:-\w+)?: uncaught target signal", "platform", always(emulation="qemu")),
)
