"""Pieces of facts, put together; where two of them disagree, the first counts and the contradiction is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from envcheck import facts as dictionary
from envcheck.facts import Contradiction, Facts, Group, Pasted
from envcheck.triage.pieces import Piece

CLASSES: dict[str, type[Group]] = {
    name: getattr(dictionary, kind.partition(" ")[0])
    for name, kind in Facts.__annotations__.items()
    if name != "extensions"
}
"""Group → its class, as `Facts` declares it."""

KEYS = {
    "packages.installed": "name",
    "packages.damaged": "path",
    "nvml.gpus": "index uuid pci_address",
    "pci.devices": "address",
    "driver.libraries": "path",
    "driver.device_nodes": "path",
    "toolkits.toolkits": "path",
    "toolkits.cudnn": "path",
    "accelerators.render_nodes": "path",
    "storage.places": "purpose",
    "jupyter.kernels": "name",
    "torch.devices": "name",
    "tensorflow.devices": "name",
}
"""Lists whose rows are put together where they agree in one of these fields; to other lists, rows are added."""

COMPARED = {
    "platform.kernel_release",
    "platform.distribution_version",
    "platform.libc_version",
    "platform.machine",
    "python.version",
    "driver.module_version",
    "driver.smi_state",
    "driver.module_loaded",
    "nvml.driver_version",
    "nvml.cuda_version",
    "torch.version",
    "torch.cuda",
    "tensorflow.version",
    "keras.version",
    "toolkits.nvcc_version",
    "variables.CUDA_VISIBLE_DEVICES",
    "packages.torch",
    "packages.tensorflow",
    "packages.keras",
    "packages.numpy",
}
"""Facts of which a paste says one thing when all of it is from one machine at one time."""

GRAVER = {"driver.smi_state": ("ok",), "nvml.state": ("ok",), "torch.state": ("ok", "not-imported")}
"""States that any other state of the same paste replaces: what fails is what the paste is about."""

MOST_CONTRADICTIONS = 20


def merged(pieces: Sequence[Piece], reports: Sequence[Facts] = ()) -> Facts:
    """Return facts made of pieces.

    Args:
        pieces: what the recognisers brought, the most trusted first.
        reports: facts of saved reports; they count before pieces.
    """
    contradictions: list[Contradiction] = []
    groups: dict[str, dict[str, Any]] = {}
    sources: dict[str, dict[str, str]] = {}
    for report in reports:
        for group in Facts.__struct_fields__:
            known = getattr(report, group)
            if isinstance(known, Group):
                held = groups.setdefault(group, {})
                for field in known.__struct_fields__:
                    value = getattr(known, field)
                    if field != "sources" and value is not None:
                        held.setdefault(field, value)
                sources.setdefault(group, {}).update(
                    {field: where for field, where in known.sources.items() if field not in sources[group]}
                )
    for piece in pieces:
        held, where = groups.setdefault(piece.group, {}), sources.setdefault(piece.group, {})
        for field, value in piece.values.items():
            if value is not None:
                _add(piece, field, value, held, where, contradictions)
    filled: dict[str, Any] = {name: CLASSES[name](**values, sources=sources[name]) for name, values in groups.items()}
    if contradictions:
        filled["pasted"] = Pasted(contradictions=contradictions[:MOST_CONTRADICTIONS])
    return Facts(**filled)


def _add(
    piece: Piece,
    field: str,
    value: Any,  # noqa: ANN401
    held: dict[str, Any],
    where: dict[str, str],
    contradictions: list[Contradiction],
) -> None:
    fact = f"{piece.group}.{field}"
    if field not in held and fact in KEYS:
        held[field] = []
    if field not in held:
        held[field] = value.copy() if isinstance(value, (list, dict)) else value
        where[field] = piece.source
    elif isinstance(held[field], list):
        where.setdefault(field, piece.source)
        _add_rows(piece, fact, held[field], value, where, contradictions)
    elif isinstance(held[field], dict):
        for name, word in value.items():
            if held[field].setdefault(name, word) != word:
                _note(contradictions, f"{piece.group}.{name}", held[field][name], where[field], word, piece.source)
    elif _replaces(fact, value, held[field]):
        _note(contradictions, fact, value, piece.source, held[field], where[field])
        held[field], where[field] = value, piece.source
    else:
        _note(contradictions, fact, held[field], where[field], value, piece.source)


def _replaces(fact: str, new: object, old: object) -> bool:
    """Tell whether a later value counts more: it says more of the same, or it tells of a failure."""
    return old == "" or _says_more(new, old) or (old in GRAVER.get(fact, ()) and new not in GRAVER[fact])


def _says_more(long: object, short: object) -> bool:
    """Tell whether one version is the other with more of its parts: `12.4.131` and `12.4`."""
    return isinstance(long, str) and isinstance(short, str) and long.startswith((f"{short}.", f"{short}+"))


def _add_rows(
    piece: Piece,
    fact: str,
    old: list[Any],
    new: Sequence[Any],
    where: Mapping[str, str],
    contradictions: list[Contradiction],
) -> None:
    key = KEYS.get(fact)
    if key is None:
        # A set tells quickly what is there already; the rows of these lists are hashable or few.
        known = {repr(row) for row in old}
        for row in new:
            if repr(row) not in known:
                known.add(repr(row))
                old.append(row)
        return
    keys = key.split()
    places = {(key, getattr(row, key)): place for place, row in enumerate(old) for key in keys}
    for row in new:
        names = [(key, getattr(row, key)) for key in keys if getattr(row, key) is not None]
        place = next((places[name] for name in names if name in places), len(old))
        places.update(dict.fromkeys(names, place))
        if place == len(old):
            old.append(row)
            continue
        if fact == "packages.installed" and not _agree(old[place].version, row.version):
            field = fact.rpartition(".")[2]
            _note(contradictions, f"packages.{row.name}", old[place].version, where[field], row.version, piece.source)
        old[place] = _filled(old[place], row)


def _agree(one: str, other: str) -> bool:
    return one == other or _says_more(one, other) or _says_more(other, one)


def _filled(there: msgspec.Struct, row: msgspec.Struct) -> msgspec.Struct:
    """Return a row with what the other row knows and it does not."""
    changes = {}
    defaults = dict(
        zip(there.__struct_fields__[-len(there.__struct_defaults__) :], there.__struct_defaults__, strict=False)
    )
    for field in there.__struct_fields__:
        mine, other = getattr(there, field), getattr(row, field)
        empty = mine is None or mine in ("", []) or (field == "state" and mine == defaults.get(field))
        if empty and mine != other and other is not None:
            changes[field] = other
    return msgspec.structs.replace(there, **changes) if changes else there


def _note(
    contradictions: list[Contradiction],
    fact: str,
    value: object,
    source: str,
    other: object,
    other_source: str,
) -> None:
    agree = value in {other, ""} or other == "" or _says_more(value, other) or _says_more(other, value)
    if fact in COMPARED and not agree and len(contradictions) < MOST_CONTRADICTIONS:
        contradiction = Contradiction(
            fact=fact, value=str(value), source=source, other_value=str(other), other_source=other_source
        )
        if contradiction not in contradictions:
            contradictions.append(contradiction)
