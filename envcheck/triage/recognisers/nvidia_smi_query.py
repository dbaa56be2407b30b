"""`nvidia-smi -q`, as text or as XML, whole or a part of it, and `nvidia-smi --query-gpu=… --format=csv`.

Text and XML are one tree under two spellings, read line by line: a paste may begin or end anywhere in it.
Source: nvidia-smi(1); outputs of drivers 340 to 595.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from envcheck.facts import Gpu, GpuProcess, MigInstance
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.text import Line

MEBIBYTE = 1024 * 1024

GPU_TEXT = r"GPU (?P<address>[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])\s*$"
GPU_XML = r"\s*<gpu id=\"(?P<address>[0-9A-Fa-f:.]{5,20})\">"
PAIR = r"(?P<indent> *)(?P<key>[A-Za-z][\w /.()-]{1,60}?)\s*:(?: (?P<value>\S.{0,200}))?$"
SECTION = r"(?P<indent> +)(?P<key>[A-Za-z][\w /.()-]{1,60})$"
LEAF = r"\s*<(?P<tag>[a-z_0-9]{1,60})>(?P<value>[^<]{0,200})</(?P=tag)>\s*$"
OPEN = r"\s*<(?P<tag>[a-z_0-9]{1,60})(?: [^>]{0,80})?>\s*$"
CLOSE = r"\s*</(?P<tag>[a-z_0-9]{1,60})>\s*$"

Tree = dict[str, list[str]]
"""Path → its values in order, such as `fb_memory_usage/total` → `["81920 MiB"]`."""

LARGEST_TREE = 3000

# field, how its value is read, and its paths: of the text, then of the XML, newer drivers' before older ones'
FIELDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("name", "text", ("product_name",)),
    ("uuid", "text", ("gpu_uuid", "uuid")),
    ("minor_number", "whole", ("minor_number",)),
    ("vbios", "text", ("vbios_version",)),
    ("persistence_mode", "switch", ("persistence_mode",)),
    ("mig_enabled", "switch", ("mig_mode/current", "mig_mode/current_mig")),
    ("compute_mode", "text", ("compute_mode",)),
    ("performance_state", "text", ("performance_state",)),
    ("memory_total_bytes", "mebibytes", ("fb_memory_usage/total",)),
    ("memory_used_bytes", "mebibytes", ("fb_memory_usage/used",)),
    ("memory_free_bytes", "mebibytes", ("fb_memory_usage/free",)),
    ("bar1_total_bytes", "mebibytes", ("bar1_memory_usage/total",)),
    ("utilization_percent", "whole", ("utilization/gpu", "utilization/gpu_util")),
    ("temperature_celsius", "whole", ("temperature/gpu_current_temp", "temperature/gpu_temp", "temperature/gpu")),
    (
        "temperature_slowdown_celsius",
        "whole",
        ("temperature/gpu_slowdown_temp", "temperature/gpu_temp_slow_threshold"),
    ),
    ("memory_temperature_celsius", "whole", ("temperature/memory_current_temp", "temperature/memory_temp")),
    (
        "memory_temperature_max_celsius",
        "whole",
        ("temperature/memory_max_operating_temp", "temperature/gpu_temp_max_mem_threshold"),
    ),
    (
        "power_watts",
        "number",
        (
            "gpu_power_readings/average_power_draw",
            "gpu_power_readings/power_draw",
            "gpu_power_readings/instantaneous_power_draw",
            "gpu_power_readings/instant_power_draw",
            "power_readings/power_draw",
        ),
    ),
    (
        "power_limit_watts",
        "number",
        (
            "gpu_power_readings/current_power_limit",
            "power_readings/enforced_power_limit",
            "power_readings/power_limit",
        ),
    ),
    (
        "power_limit_default_watts",
        "number",
        ("gpu_power_readings/default_power_limit", "power_readings/default_power_limit"),
    ),
    ("clock_megahertz", "whole", ("clocks/sm", "clocks/sm_clock")),
    ("clock_max_megahertz", "whole", ("max_clocks/sm", "max_clocks/sm_clock")),
    ("memory_clock_megahertz", "whole", ("clocks/memory", "clocks/mem_clock")),
    ("memory_clock_max_megahertz", "whole", ("max_clocks/memory", "max_clocks/mem_clock")),
    ("ecc_enabled", "switch", ("ecc_mode/current", "ecc_mode/current_ecc")),
    ("ecc_enabled_pending", "switch", ("ecc_mode/pending", "ecc_mode/pending_ecc")),
    ("remapped_rows_corrected", "whole", ("remapped_rows/correctable_error", "remapped_rows/remapped_row_corr")),
    ("remapped_rows_uncorrected", "whole", ("remapped_rows/uncorrectable_error", "remapped_rows/remapped_row_unc")),
    ("remap_pending", "yes", ("remapped_rows/pending", "remapped_rows/remapped_row_pending")),
    ("remap_failed", "yes", ("remapped_rows/remapping_failure_occurred", "remapped_rows/remapped_row_failure")),
    (
        "retired_pages_pending",
        "yes",
        (
            "retired_pages/pending_page_blacklist",
            "retired_pages/pending_page_retirement",
            "retired_pages/pending_retirement",
            "retired_pages/pending_blacklist",
        ),
    ),
    (
        "sram_threshold_exceeded",
        "yes",
        ("ecc_errors/aggregate/sram_threshold_exceeded", "ecc_errors/sram_threshold_exceeded"),
    ),
    ("recovery_action", "text", ("gpu_recovery_action",)),
    (
        "pcie_generation",
        "whole",
        ("pci/gpu_link_info/pcie_generation/current", "pci/pci_gpu_link_info/pcie_gen/current_link_gen"),
    ),
    (
        "pcie_generation_max",
        "whole",
        ("pci/gpu_link_info/pcie_generation/max", "pci/pci_gpu_link_info/pcie_gen/max_link_gen"),
    ),
    (
        "pcie_width",
        "whole",
        ("pci/gpu_link_info/link_width/current", "pci/pci_gpu_link_info/link_widths/current_link_width"),
    ),
    (
        "pcie_width_max",
        "whole",
        ("pci/gpu_link_info/link_width/max", "pci/pci_gpu_link_info/link_widths/max_link_width"),
    ),
    ("pcie_replays", "whole", ("pci/replays_since_reset", "pci/replay_counter")),
    ("fabric_state", "text", ("fabric/state",)),
    ("fabric_status", "text", ("fabric/status",)),
)

COUNTS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("ecc_corrected", re.compile(r"ecc_errors/volatile/(?:[sd]ram_correctable|single_bit/total)$")),
    ("ecc_uncorrected", re.compile(r"ecc_errors/volatile/(?:[sd]ram_uncorrectable\w*|double_bit/total)$")),
    ("ecc_uncorrected_lifetime", re.compile(r"ecc_errors/aggregate/(?:[sd]ram_uncorrectable\w*|double_bit/total)$")),
    ("retired_pages", re.compile(r"retired_pages/(?:(?:single|double)_bit_ecc|\w+_retirement/retired_count)$")),
)
"""Fields that are sums over the kinds of memory."""

REASON = r"clocks_(?:event|throttle)_reasons/(?:hw_slowdown/)?(?:clocks_(?:event|throttle)_reason_)?(?P<name>\w+)$"

MEANINGLESS = re.compile(r"\[?(?:N/A|Not Supported|Requested functionality|Insufficient|\s*$)", re.IGNORECASE)
FAILED = r"\[?(?P<text>Unknown Error|GPU is lost|GPU requires reset|GPU access blocked[^\]]*)\]?$"


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield the GPUs of `-q`, and the rows of a query."""
    lines = paste.lines
    starts = [
        (index, found["address"])
        for index, line in enumerate(lines)
        if "GPU " in line.text or "<gpu " in line.text
        if (found := re.match(GPU_TEXT, line.text) or re.match(GPU_XML, line.text))
    ]
    for place, (index, address) in enumerate(starts):
        end = starts[place + 1][0] if place + 1 < len(starts) else len(lines)
        part = lines[index + 1 : min(end, index + 1 + LARGEST_TREE)]
        tree = _markup_tree(part) if "<" in lines[index].text else _text_tree(part)
        if tree:
            yield Piece("nvml", {"gpus": [_gpu(tree, place, address)], "state": "ok"}, lines[index].source)
    if starts or "<nvidia_smi_log>" in paste.whole or "NVSMI LOG" in paste.whole:
        yield from _head(lines)
    yield from _rows(lines)
    yield from _links(lines)


HEAD = (
    r"\s*(?:<(?P<tag>driver_version|cuda_version|attached_gpus)>|(?P<key>Driver Version|CUDA Version"
    r"|Attached GPUs)\s*: )"
    r"(?P<value>[\d.]+)"
)


def _head(lines: Sequence[Line]) -> Iterator[Piece]:
    for line in lines:
        if found := re.match(HEAD, line.text):
            key = (found["tag"] or found["key"]).lower().replace(" ", "_")
            if key == "driver_version":
                yield Piece("driver", {"smi_driver_version": found["value"], "smi_state": "ok"}, line.source)
            if key != "attached_gpus":
                yield Piece("nvml", {key: found["value"], "state": "ok"}, line.source)


def _markup_tree(lines: Sequence[Line]) -> Tree:
    tree: Tree = {}
    above: list[str] = []
    for line in lines:
        if found := re.match(LEAF, line.text):
            tree.setdefault("/".join([*above, found["tag"]]), []).append(found["value"].strip())
        elif found := re.match(OPEN, line.text):
            above.append(found["tag"])
        elif found := re.match(CLOSE, line.text):
            if found["tag"] == "gpu":
                break
            while above and above.pop() != found["tag"]:
                pass
    return tree


def _text_tree(lines: Sequence[Line]) -> Tree:
    tree: Tree = {}
    above: list[tuple[int, str]] = []
    for line in lines:
        if line.text[:1].strip():
            break
        found = re.match(PAIR, line.text) or re.match(SECTION, line.text)
        if not found:
            continue
        indent = len(found["indent"])
        while above and above[-1][0] >= indent:
            above.pop()
        above.append((indent, re.sub(r"[ ./()-]+", "_", found["key"].strip().lower()).strip("_")))
        value = found.groupdict().get("value")
        if value is not None:
            tree.setdefault("/".join(key for _, key in above), []).append(value.strip())
    return tree


def _gpu(tree: Tree, place: int, address: str) -> Gpu:
    domain, _, rest = address.lower().partition(":")
    values: dict[str, Any] = {"index": place, "pci_address": f"{domain[-4:]}:{rest}"}
    unreadable: dict[str, str] = {}
    for field, kind, paths in FIELDS:
        for path in paths:
            if path in tree:
                value = _read(kind, tree[path][0])
                if value is None and (failed := re.match(FAILED, tree[path][0])):
                    unreadable[field] = _code(failed["text"])
                if value is not None:
                    values.setdefault(field, value)
    for field, pattern in COUNTS:
        numbers = [_read("whole", value) for path, found in tree.items() if pattern.match(path) for value in found]
        known = [number for number in numbers if isinstance(number, int)]
        if known:
            values[field] = sum(known)
    reasons = [found for path, said in tree.items() if (found := re.match(REASON, path)) and said[0] == "Active"]
    if any(re.match(REASON, path) for path in tree):
        values["throttle_reasons"] = [reason for found in reasons if (reason := _reason(found["name"]))]
    state = "ok"
    if tree.get("gpu_reset_status/reset_required", [""])[0] == "Yes":
        state = "NVML_ERROR_RESET_REQUIRED"
    processes = _processes(tree)
    return Gpu(**values, processes=processes, mig_instances=_mig(tree), state=state, unreadable=unreadable)


def _reason(name: str) -> str:
    from envcheck.compat import nvml  # noqa: PLC0415 - a table

    row = nvml.throttle_reason({"idle": "gpu_idle"}.get(name, name))
    return row.short if row else ""


def _code(text: str) -> str:
    from envcheck.compat import nvml  # noqa: PLC0415 - a table

    row = nvml.nvml_return(text)
    return row.name if row else "NVML_ERROR_UNKNOWN"


def _read(kind: str, text: str) -> Any:  # noqa: ANN401
    """Return a value as its field wants it; None where the driver gave a text in its place."""
    if MEANINGLESS.match(text) or re.match(FAILED, text):
        return None
    if kind == "text":
        return text
    if kind == "switch":
        return {"Enabled": True, "On": True, "Disabled": False, "Off": False}.get(text.rstrip("*"))
    if kind == "yes":
        return {"Yes": True, "No": False, "True": True, "False": False}.get(text)
    found = re.match(r"(\d{1,12})(\.\d{1,6})?", text)
    if not found:
        return None
    if kind == "number":
        return float(found[0])
    return int(found[1]) * (MEBIBYTE if kind == "mebibytes" else 1)


def _processes(tree: Tree) -> list[GpuProcess] | None:
    identities = tree.get("processes/process_id") or tree.get("processes/process_info/pid") or []
    if not identities:
        return [] if tree.get("processes") == ["None"] else None
    names = tree.get("processes/process_id/name") or tree.get("processes/process_info/process_name") or []
    memory = tree.get("processes/process_id/used_gpu_memory") or tree.get("processes/process_info/used_memory") or []
    kinds = tree.get("processes/process_id/type") or tree.get("processes/process_info/type") or []
    return [
        GpuProcess(
            process_id=int(identity),
            name=names[place] if place < len(names) else "",
            memory_bytes=_read("mebibytes", memory[place]) if place < len(memory) else None,
            kind="graphics" if place < len(kinds) and kinds[place] == "G" else "compute",
        )
        for place, identity in enumerate(identities)
        if identity.isdigit()
    ]


def _mig(tree: Tree) -> list[MigInstance] | None:
    totals = tree.get("mig_devices/mig_device/fb_memory_usage/total") or tree.get("mig_device/fb_memory_usage/total")
    if not totals:
        return None
    return [
        MigInstance(uuid=f"MIG {place}", memory_total_bytes=_read("mebibytes", total))
        for place, total in enumerate(totals)
    ]


COLUMNS: dict[str, tuple[str, str]] = {
    "index": ("index", "whole"),
    "name": ("name", "text"),
    "gpu_name": ("name", "text"),
    "uuid": ("uuid", "text"),
    "gpu_uuid": ("uuid", "text"),
    "pci.bus_id": ("pci_address", "address"),
    "gpu_bus_id": ("pci_address", "address"),
    "compute_cap": ("compute_capability", "text"),
    "memory.total": ("memory_total_bytes", "mebibytes"),
    "memory.used": ("memory_used_bytes", "mebibytes"),
    "memory.free": ("memory_free_bytes", "mebibytes"),
    "utilization.gpu": ("utilization_percent", "whole"),
    "temperature.gpu": ("temperature_celsius", "whole"),
    "temperature.memory": ("memory_temperature_celsius", "whole"),
    "power.draw": ("power_watts", "number"),
    "power.limit": ("power_limit_watts", "number"),
    "enforced.power.limit": ("power_limit_watts", "number"),
    "power.default_limit": ("power_limit_default_watts", "number"),
    "clocks.sm": ("clock_megahertz", "whole"),
    "clocks.current.sm": ("clock_megahertz", "whole"),
    "clocks.max.sm": ("clock_max_megahertz", "whole"),
    "clocks.mem": ("memory_clock_megahertz", "whole"),
    "clocks.max.mem": ("memory_clock_max_megahertz", "whole"),
    "pcie.link.gen.current": ("pcie_generation", "whole"),
    "pcie.link.gen.gpucurrent": ("pcie_generation", "whole"),
    "pcie.link.gen.max": ("pcie_generation_max", "whole"),
    "pcie.link.width.current": ("pcie_width", "whole"),
    "pcie.link.width.max": ("pcie_width_max", "whole"),
    "ecc.mode.current": ("ecc_enabled", "switch"),
    "ecc.errors.corrected.volatile.total": ("ecc_corrected", "whole"),
    "ecc.errors.uncorrected.volatile.total": ("ecc_uncorrected", "whole"),
    "ecc.errors.uncorrected.aggregate.total": ("ecc_uncorrected_lifetime", "whole"),
    "retired_pages.pending": ("retired_pages_pending", "yes"),
    "mig.mode.current": ("mig_enabled", "switch"),
    "compute_mode": ("compute_mode", "text"),
    "pstate": ("performance_state", "text"),
    "persistence_mode": ("persistence_mode", "switch"),
    "vbios_version": ("vbios", "text"),
}
"""Fields of `--query-gpu` → the fact's field and how it is read."""

ROW_REASON = r"clocks_(?:event|throttle)_reasons\.(?P<name>\w+)"
QUERY = r"--query-gpu[= ](?P<fields>[\w.,]{3,500})"


def _rows(lines: Sequence[Line]) -> Iterator[Piece]:
    fields: list[str] = []
    titled = False
    place = 0
    for line in lines:
        text = line.text
        if "--query-gpu" in text and (asked := re.search(QUERY, text)):
            fields, place, titled = asked["fields"].split(","), 0, "noheader" not in text
            continue
        if "," not in text and len(fields) != 1:
            if place:
                fields = []
            continue
        cells = [cell.strip() for cell in text.split(",")]
        plain = [re.sub(r" \[[^\]]*\]$", "", cell) for cell in cells]
        if len(plain) > 1 and sum(map(_is_column, plain)) * 2 > len(plain):
            fields, place, titled = plain, 0, False
            continue
        if titled or not fields or len(cells) != len(fields):
            continue
        yield from _row(fields, cells, place, line)
        place += 1


def _is_column(name: str) -> bool:
    return name in COLUMNS or name == "driver_version" or re.match(ROW_REASON, name) is not None


def _row(fields: Sequence[str], cells: Sequence[str], place: int, line: Line) -> Iterator[Piece]:
    values: dict[str, Any] = {}
    reasons: list[str] | None = None
    unreadable: dict[str, str] = {}
    for name, cell in zip(fields, cells, strict=True):
        if name == "driver_version" and cell[:1].isdigit():
            yield Piece("driver", {"smi_driver_version": cell, "smi_state": "ok"}, line.source)
            yield Piece("nvml", {"driver_version": cell, "state": "ok"}, line.source)
        elif name in COLUMNS:
            field, kind = COLUMNS[name]
            if kind == "address":
                domain, _, rest = cell.lower().partition(":")
                value = f"{domain[-4:]}:{rest}" if rest else None
            else:
                value = _read(kind, cell)
            if value is None and (failed := re.match(FAILED, cell)):
                unreadable[field] = _code(failed["text"])
            values[field] = value
        elif found := re.match(ROW_REASON, name):
            reasons = reasons if reasons is not None else []
            if cell == "Active" and (reason := _reason(found["name"])):
                reasons.append(reason)
    known = {field: value for field, value in values.items() if value is not None}
    if known or reasons or unreadable:
        known.setdefault("index", place)
        gpu = Gpu(**known, throttle_reasons=reasons, unreadable=unreadable)
        yield Piece("nvml", {"gpus": [gpu], "state": "ok"}, line.source)


LINK = re.compile(r"\s+Link (?P<number>\d{1,2}): (?:(?P<speed>[\d.]+) GB/s|(?P<off><?inactive>?))", re.IGNORECASE)
LINK_GPU = r"GPU (?P<index>\d{1,3}): "


def _links(lines: Sequence[Line]) -> Iterator[Piece]:
    """Yield the links of `nvidia-smi nvlink --status`."""
    index, source = None, ""
    counts: dict[int, list[int]] = {}
    for line in lines:
        if found := re.match(LINK_GPU, line.text):
            index = int(found["index"])
        elif index is not None and "Link " in line.text and (found := LINK.match(line.text)):
            source = source or line.source
            counts.setdefault(index, [0, 0])[0 if found["speed"] else 1] += 1
    if counts:
        gpus = [Gpu(index=gpu, nvlinks_active=on, nvlinks_inactive=off) for gpu, (on, off) in counts.items()]
        yield Piece("nvml", {"gpus": gpus}, source)
