"""`nvidia-smi`: its table, its list (`-L`), and the texts with which it fails.

Source of the layouts: the tables printed by drivers 340 to 610 and their manual page nvidia-smi(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from envcheck.facts import Gpu, GpuProcess, MigInstance
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.text import Line

MEBIBYTE = 1024 * 1024

HEADER = r"NVIDIA-SMI +(?:version *: *)?(?P<program>\d+\.[\d.]+)"
DRIVER = r"(?:Driver|KMD|DRIVER) [Vv]ersion *: *(?P<version>\d+\.[\d.]+)"
CUDA = r"CUDA(?: UMD)? [Vv]ersion *: *(?P<version>\d+\.\d+|N/A|ERR!)"
FIRST_ROW = (
    r"\|\s{1,4}(?P<index>\d{1,3})\s{1,4}(?P<name>\S[^|]{1,60}?)\s{1,60}"
    r"(?:(?P<persistence>On|Off|TCC|WDDM|MCDM|N/A)\s*)?\|"
    r"\s*(?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s+(?P<display>On|Off|N/A)?\s*\|"
    r"\s*(?P<ecc>\S+)?"
)
SECOND_ROW = (
    r"\|\s*(?P<fan>\d{1,3}%|N/A|ERR!)?\s*(?P<temperature>\d{1,3}C|N/A|ERR!)\s+(?P<state>P\d{1,2}|N/A|ERR!)\s+"
    r"(?P<power>\d{1,5}W|N/A|ERR!)?\s*/\s*(?P<limit>\d{1,5}W|N/A|ERR!)?\s*\|"
    r"\s*(?P<used>\d{1,9}|N/A)(?:MiB)? */ *(?P<total>\d{1,9}|N/A)(?:MiB)?\s*\|"
    r"\s*(?P<utilization>\d{1,3}%|N/A|ERR!)?\s*(?P<mode>Default|E\. ?\w+|Exclusive_\w+|Prohibited|N/A)?"
)
MIG_ROW = r"\|\s{20,}\|\s{10,}\|\s*(?P<mig>Enabled|Disabled|N/A)(?P<pending>\*?)\s*\|"
PROCESS = (
    r"\|\s{1,8}(?P<gpu>\d{1,3})\s+(?:(?P<gi>N/A|\d{1,3})\s+(?P<ci>N/A|\d{1,3})\s+)?(?P<pid>\d{1,10})\s+"
    r"(?P<type>C\+G|C|G|M\+C)\s+(?P<name>\S[^|]{0,80}?)\s+(?:(?P<memory>\d{1,9})MiB|N/A)\s*\|"
)
LISTED = r"^\s*GPU (?P<index>\d{1,3}): (?P<name>[^(\n]{2,80}?) \(UUID: (?P<uuid>[^)\n]{3,80})\)"
LISTED_MIG = r"^\s*MIG (?P<name>\d+[cg][\w.+]*)\s+Device\s+\d{1,3}: \((?P<kind>UUID|UUIDs?): (?P<uuid>[^)\n]{3,90})\)"

FAILURES = (
    r"(?:NVIDIA-SMI has failed because|NVIDIA-SMI couldn't find|Failed to initialize NVML: "
    r"|Failed to properly shut down"
    r"|No devices were found|Unable to determine the (?:device handle|number of|product name)|Internal NVML error"
    r"|Mismatch in versions between nvidia-smi and NVML|Problem with GPU \d)[^\n]{0,300}"
)
WORDED = r"Failed to initialize NVML: +(?P<text>[^\n]{2,100})"
STATES = {
    "NVIDIA-SMI has failed because": "NVML_ERROR_DRIVER_NOT_LOADED",
    "NVIDIA-SMI couldn't find": "library-missing",
}
LIBRARY_VERSION = r"NVML library version: (?P<version>\d+\.[\d.]+)"
HANDLE = (
    r"device handle for (?:gpu|GPU) ?(?:(?P<index>\d{1,3})(?=:)"
    r"|(?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.\d)): (?P<text>[^\n]{2,100})"
)


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what the table, the list and the failures say."""
    if "NVIDIA-SMI" in paste.whole:
        for line in paste.lines:
            if "ersion" in line.text:
                yield from _versions(line)
    yield from _table(paste.lines, _shown_whole(paste))
    yield from _listed(paste)
    yield from _failures(paste)


def _shown_whole(paste: Paste) -> bool:
    """Tell whether a prompt follows the table of GPUs and its closing line: newer drivers may print no processes."""
    for command in paste.commands[:-1]:
        if re.fullmatch(r"(?:watch .{0,20})?nvidia-smi(?:\.exe)?", command.text):
            shown = [line.text.strip() for line in command.output if line.text.strip()]
            if any(re.search(FIRST_ROW, text) for text in shown):
                return re.fullmatch(r"\+[-+=]+\+", shown[-1]) is not None
    return False


def _table(lines: Sequence[Line], whole: bool) -> Iterator[Piece]:
    gpus: dict[int, Gpu] = {}
    processes: dict[int, list[GpuProcess]] = {}
    source, ended = "", False
    current = -1
    for line in lines:
        text = line.text
        if "|" not in text:
            continue
        if found := re.search(FIRST_ROW, text):
            index, source = int(found["index"]), source or line.source
            # Of two tables the first counts, whole.
            current = index if index not in gpus else -1
            gpus.setdefault(index, _first(found))
        elif current in gpus and (found := re.search(SECOND_ROW, text)):
            gpus[current] = _second(gpus[current], found)
        elif current in gpus and (found := re.search(MIG_ROW, text)):
            mig = {"Enabled": True, "Disabled": False}.get(found["mig"])
            gpus[current] = msgspec.structs.replace(gpus[current], mig_enabled=mig)
        elif current >= 0 and (found := re.search(PROCESS, text)):
            processes.setdefault(int(found["gpu"]), []).append(_process(found))
        elif "rocesses" in text:
            ended = bool(gpus)
    rows = [msgspec.structs.replace(gpu, processes=processes.get(index)) for index, gpu in gpus.items()]
    if rows:
        yield Piece("nvml", {"gpus": rows, "gpus_complete": ended or whole, "state": "ok"}, source)


def _versions(line: Line) -> Iterator[Piece]:
    header = re.search(HEADER, line.text)
    driver, cuda = re.search(DRIVER, line.text), re.search(CUDA, line.text)
    if driver and header:
        version, highest = driver["version"].rstrip("."), cuda["version"] if cuda else None
        known = highest if highest and highest[0].isdigit() else None
        yield Piece(
            "driver",
            {"smi_driver_version": version, "smi_cuda_version": highest, "smi_state": "ok", "smi_exit_code": 0},
            line.source,
        )
        yield Piece("nvml", {"driver_version": version, "cuda_version": known, "state": "ok"}, line.source)
    elif driver and re.match(r"\s*DRIVER version", line.text):
        # As `nvidia-smi --version` prints it.
        yield Piece("nvml", {"driver_version": driver["version"], "state": "ok"}, line.source)
    elif cuda and re.match(r"\s*CUDA [Vv]ersion\s+:", line.text) and cuda["version"][0].isdigit():
        yield Piece("nvml", {"cuda_version": cuda["version"]}, line.source)


def _first(found: re.Match[str]) -> Gpu:
    name = found["name"].strip()
    ecc = found["ecc"] or ""
    domain, _, rest = found["address"].lower().partition(":")
    return Gpu(
        index=int(found["index"]),
        # The table cuts long names at the column.
        name=None if name.endswith("...") else name,
        pci_address=f"{domain[-4:]}:{rest}",
        persistence_mode={"On": True, "Off": False}.get(found["persistence"] or ""),
        ecc_enabled={"Off": False}.get(ecc, True if ecc.isdigit() else None),
        ecc_uncorrected=int(ecc) if ecc.isdigit() else None,
    )


MODES = {"Default": "Default", "Prohibited": "Prohibited"}


def _second(gpu: Gpu, found: re.Match[str]) -> Gpu:
    used, total = _mebibytes(found["used"]), _mebibytes(found["total"])
    mode = found["mode"] or ""
    values: dict[str, Any] = {
        "temperature_celsius": _number(found["temperature"]),
        "performance_state": found["state"] if found["state"].startswith("P") else None,
        "power_watts": _number(found["power"]),
        "power_limit_watts": _number(found["limit"]),
        "memory_used_bytes": used,
        "memory_total_bytes": total,
        "memory_free_bytes": total - used if used is not None and total is not None else None,
        "utilization_percent": _number(found["utilization"]),
        "compute_mode": MODES.get(mode, "Exclusive_Process" if mode.startswith("E") else None),
    }
    failed = {"fan": found["fan"], "power_watts": found["power"]}
    unreadable = {field: "NVML_ERROR_UNKNOWN" for field, value in failed.items() if value == "ERR!"}
    kept = {field: value for field, value in values.items() if value is not None}
    return msgspec.structs.replace(gpu, **kept, unreadable=unreadable)


def _number(text: str | None) -> int | None:
    found = re.match(r"\d+", text or "")
    return int(found[0]) if found else None


def _mebibytes(text: str | None) -> int | None:
    number = _number(text)
    return None if number is None else number * MEBIBYTE


def _process(found: re.Match[str]) -> GpuProcess:
    return GpuProcess(
        process_id=int(found["pid"]),
        name=found["name"],
        memory_bytes=_mebibytes(found["memory"]),
        kind="graphics" if found["type"] == "G" else "compute",
    )


def _listed(paste: Paste) -> Iterator[Piece]:
    """Yield the GPUs of `nvidia-smi -L`, each with its MIG devices."""
    rows: list[Gpu] = []
    source = ""
    for line in paste.lines:
        if "GPU " in line.text and (found := re.match(LISTED, line.text)):
            source = source or line.source
            lost = not re.match(r"GPU-[0-9a-fA-F*xX]", found["uuid"])
            rows.append(
                Gpu(
                    index=int(found["index"]),
                    name=found["name"].strip(),
                    uuid=None if lost else found["uuid"],
                    state=_state(found["uuid"]) if lost else "ok",
                )
            )
        elif rows and (found := re.match(LISTED_MIG, line.text)):
            instances = [*(rows[-1].mig_instances or []), MigInstance(uuid=found["uuid"], name=found["name"])]
            rows[-1] = msgspec.structs.replace(rows[-1], mig_enabled=True, mig_instances=instances)
    if rows:
        yield Piece("nvml", {"gpus": rows, "gpus_complete": True, "state": "ok"}, source)


def _state(text: str) -> str:
    from envcheck.compat import nvml  # noqa: PLC0415 - a table

    row = nvml.nvml_return(re.split(r"\.? {2}|\.$", text.strip(), maxsplit=1)[0])
    return row.name if row else "NVML_ERROR_UNKNOWN"


def _failures(paste: Paste) -> Iterator[Piece]:
    """Yield how nvidia-smi failed; its words are the driver's and NVML's state in one."""
    for number, line in enumerate(paste.lines):
        found = re.search(FAILURES, line.text)
        if not found or _is_prose(line.text, found.start()):
            continue
        words = found[0].strip()
        yield Piece("driver", {"smi_state": "failed", "smi_message": words[:300]}, line.source)
        if handle := re.search(HANDLE, line.text):
            place = {"index": int(handle["index"])} if handle["index"] else {"pci_address": _address(handle["address"])}
            yield Piece("nvml", {"gpus": [Gpu(**place, state=_state(handle["text"]))]}, line.source)
            continue
        state = next((code for start, code in STATES.items() if words.startswith(start)), None)
        if state is None and (worded := re.search(WORDED, words)):
            state = _state(worded["text"])
        if state is not None:
            yield Piece("nvml", {"state": state, "message": words[:300]}, line.source)
        elif words.startswith("No devices were found"):
            yield Piece("nvml", {"state": "ok", "gpus": [], "gpus_complete": True}, line.source)
        for later in paste.lines[number + 1 : number + 3]:
            if version := re.search(LIBRARY_VERSION, later.text):
                yield Piece("driver", {"library_version": version["version"]}, later.source)


def _address(text: str) -> str:
    domain, _, rest = text.lower().partition(":")
    return f"{domain[-4:]}:{rest}"


def _is_prose(text: str, start: int) -> bool:
    """Tell whether a person quotes the words in a sentence; a program begins its line with them."""
    return start > 60 and not text[:start].rstrip().endswith((":", "]", "-"))  # noqa: PLR2004
