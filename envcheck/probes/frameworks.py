"""PyTorch, TensorFlow and Keras from inside the interpreter under test: one child each, all at once.

Whatever happens to a child (it crashes, hangs, leaves, prints a megabyte) is what is known of the framework.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from envcheck.facts import ComputeDevice, Framework, Group
from envcheck.interpreter import Answer, Interpreter, ask_inside
from envcheck.probe import Ended, probe
from envcheck.report import Outcome
from envcheck.system import System

SCRIPT = "frameworks_probe"

DEADLINE_SECONDS = 60.0
"""A first import from a slow disk takes long; one that takes longer than this hangs."""

STDERR_LIMIT = 8000
"""Characters kept of what the child printed, from its end."""


@probe(fills=["torch"], deadline=DEADLINE_SECONDS, imports=True)
def torch(system: System, interpreter: Interpreter, deadline: float) -> dict[str, Group]:
    """Import PyTorch and compute with it."""
    return {"torch": framework_of("torch", ask(system, interpreter, "torch", deadline))}


@probe(fills=["tensorflow", "keras"], deadline=DEADLINE_SECONDS, imports=True)
def tensorflow(system: System, interpreter: Interpreter, deadline: float) -> dict[str, Group]:
    """Import TensorFlow, which brings Keras with it, and compute with it."""
    answer = ask(system, interpreter, "tensorflow", deadline)
    found: dict[str, Group] = {"tensorflow": framework_of("tensorflow", answer)}
    keras_seen = answer.last("keras")
    if keras_seen is not None:
        found["keras"] = keras_of(keras_seen)
    return found


@probe(fills=["keras"], deadline=DEADLINE_SECONDS, imports=True)
def keras(system: System, interpreter: Interpreter, deadline: float) -> dict[str, Group]:
    """Import Keras where TensorFlow's child does not do it: no TensorFlow is there, or the backend is another."""
    answer = ask(system, interpreter, "keras", deadline)
    if answer.last("with-tensorflow") is not None:
        raise Ended(Outcome.ABSENT, "TensorFlow's child says what Keras is")
    found = framework_of("keras", answer)
    seen = answer.last("keras")
    return {"keras": found if seen is None else msgspec.structs.replace(found, backend=seen.get("backend"))}


def ask(system: System, interpreter: Interpreter, name: str, deadline: float) -> Answer:
    """Run the child for one framework.

    Raises:
        Ended: the framework is not installed, or the interpreter cannot run the script at all.
    """
    answer = ask_inside(system, interpreter, SCRIPT, deadline, [name])
    if answer.last("absent") is not None:
        raise Ended(Outcome.ABSENT, f"{name} is not installed")
    too_old = answer.last("too-old")
    if too_old is not None:
        raise Ended(Outcome.ABSENT, f"Python {too_old.get('version')} is too old to be looked into")
    if not answer.said and answer.completed.outcome != "timeout":
        # Not the framework's fault: its script has not even begun. The python probe says what is wrong.
        raise Ended(Outcome.ABSENT, f"{interpreter.path} does not run")
    return answer


def framework_of(name: str, answer: Answer) -> Framework:
    """Return what a child said, and how it ended, as facts."""
    said: dict[str, Any] = {}
    for item in answer.said:
        if item.get("kind") in {"found", "imported", "build", "devices", "failed", "end"}:
            said.update(item)
    known = {field: said[field] for field in Framework.__struct_fields__ if said.get(field) is not None}
    known.pop("sources", None)
    stderr = answer.completed.stderr[-STDERR_LIMIT:]
    devices = [convert_device(item["device"]) for item in answer.said if item.get("kind") == "device"]
    last_stage = answer.last("stage")
    how = how_it_ended(answer)
    source = f"`import {name}` in the interpreter under test"
    found = Framework(
        **{
            **known,
            **how,
            "name": name,
            "stage": (last_stage or {}).get("name", ""),
            "stderr": stderr,
            "devices": devices if devices or "sees_gpu" in said else None,
            "sources": {field: source for field in Framework.__struct_fields__ if field != "sources"},
        }
    )
    cudnn_error = said.get("cudnn_error")
    if cudnn_error and not found.gpu_error:
        found = msgspec.structs.replace(found, gpu_error=cudnn_error)
    if name == "tensorflow" and found.sees_gpu is False and found.accelerator != "cpu":
        found = msgspec.structs.replace(found, gpu_error=why_tensorflow_sees_no_gpu(stderr))
    return found


def convert_device(item: dict[str, Any]) -> ComputeDevice:
    """Return a device as facts; what is not known keeps its default."""
    fields = {name: item[name] for name in ComputeDevice.__struct_fields__ if item.get(name) is not None}
    return msgspec.convert(fields, ComputeDevice)


def how_it_ended(answer: Answer) -> dict[str, Any]:
    """Return `state`, and what belongs to it."""
    completed = answer.completed
    left = answer.last("left")
    if left is not None:
        return {"state": "exit", "exit_code": left.get("exit_code"), "error": left.get("message") or ""}
    if completed.outcome == "timeout":
        return {"state": "timeout", "total_seconds": completed.seconds}
    if completed.outcome == "signal":
        return {"state": "crash", "signal": completed.signal, "total_seconds": completed.seconds}
    if answer.last("failed") is not None or (answer.last("end") is not None and answer.last("imported") is None):
        return {"state": "failed"}
    if answer.last("end") is None:
        crashed = windows_crash(completed.exit_code)
        if crashed:
            return {"state": "crash", "signal": crashed, "exit_code": completed.exit_code}
        return {"state": "exit", "exit_code": completed.exit_code}
    return {"state": "ok"}


WINDOWS_CRASHES = {0xC0000005: "access violation", 0xC000001D: "illegal instruction", 0xC0000135: "DLL not found"}
"""NTSTATUS values with which Windows ends a process. Source: Microsoft, [MS-ERREF] 2.3.1 NTSTATUS Values."""


def windows_crash(exit_code: int | None) -> str:
    """Return what Windows ended a process for; empty where it ended by itself."""
    return WINDOWS_CRASHES.get((exit_code or 0) & 0xFFFFFFFF, "")


WHY_NO_GPU = re.compile(
    r"Could not load dynamic library '[^']{1,200}'[^\n]{0,300}"
    r"|Cannot dlopen some GPU libraries[^\n]{0,300}"
    r"|failed call to cuInit[^\n]{0,300}"
    r"|Could not find cuda drivers[^\n]{0,200}"
)
"""TensorFlow's own words. Source: tensorflow/core/common_runtime/gpu/gpu_device.cc, stream_executor/cuda."""


def why_tensorflow_sees_no_gpu(stderr: str) -> str:
    """Return the lines in which TensorFlow says why it left the GPUs out; empty where it says nothing."""
    return "\n".join(dict.fromkeys(found[0].strip() for found in WHY_NO_GPU.finditer(stderr)))


def keras_of(said: dict[str, Any]) -> Framework:
    """Return Keras as TensorFlow's child found it."""
    source = "`import keras` beside TensorFlow, in the interpreter under test"
    known = ("version", "backend", "module_path", "error_type", "error")
    return Framework(
        name="keras",
        state="failed" if said.get("error_type") else "ok",
        stage="import",
        sources=dict.fromkeys(("state", *known), source),
        **{field: said.get(field) for field in known},
    )
