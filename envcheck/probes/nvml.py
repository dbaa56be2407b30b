"""NVIDIA's management library, asked in a child that envcheck's own interpreter runs."""

from __future__ import annotations

from typing import Any

import msgspec

from envcheck.facts import Gpu, Nvml
from envcheck.interpreter import Answer, Interpreter, ask_inside
from envcheck.probe import Ended, probe
from envcheck.probes.driver import hinted
from envcheck.report import Outcome
from envcheck.system import System


@probe(fills=["nvml"], deadline=16)
def nvml(system: System, interpreter: Interpreter, deadline: float) -> Nvml:
    """Ask NVML about the driver and every GPU; a machine without a trace of NVIDIA is not asked."""
    if (system.ask("uname") or {}).get("system") == "Darwin" or not hinted(system):
        raise Ended(Outcome.ABSENT, "no NVIDIA driver, library or device is here")
    own = system.ask("own_interpreter")
    if not own:
        raise Ended(Outcome.GARBLED, "envcheck's own interpreter is not known")
    return understood(ask_inside(system, interpreter, "nvml_probe", max(deadline - 1, 0.5), program=own))


def understood(answer: Answer) -> Nvml:
    """Return what the child said, also where it was ended in the middle of it.

    Raises:
        Ended: the child could not ask at all.
    """
    missing = answer.last("binding-missing")
    if missing is not None:
        raise Ended(Outcome.CRASH, f"the package nvidia-ml-py cannot be imported: {missing.get('reason', '')}")
    completed, stage = answer.completed, answer.last("stage")
    driver, end = answer.last("driver") or {}, answer.last("nvml") or {}
    if completed.outcome in {"absent", "denied", "garbled"}:
        raise Ended(Outcome.CRASH, f"the child could not be started: {completed.reason or completed.outcome}")
    if end:
        state = "library-missing" if end.get("state") == "NVML_ERROR_LIBRARY_NOT_FOUND" else str(end.get("state"))
        message = str(end.get("message") or "")
    elif completed.outcome == "timeout":
        state, message = "timeout", f"no answer within {completed.seconds:.0f} s"
    elif stage is None:
        raise Ended(Outcome.GARBLED, f"the child said nothing: {completed.stderr[-300:].strip() or completed.outcome}")
    else:
        state = "crash"
        message = f"ended by {completed.signal}" if completed.signal else f"exit status {completed.exit_code}"
    return Nvml(
        state=state,
        message=message or None,
        stage=None if end or stage is None else _call(stage),
        library_path=driver.get("library_path") or end.get("library_path") or None,
        driver_version=driver.get("driver_version"),
        cuda_version=driver.get("cuda_version"),
        gpus=[_gpu(said) for said in answer.said if said.get("kind") == "gpu"] if driver else None,
        gpus_complete=state == "ok",
        sources=dict.fromkeys(("state", "message", "driver_version", "cuda_version", "gpus", "stage"), "NVML"),
    )


def _call(stage: dict[str, Any]) -> str:
    gpu = stage.get("gpu")
    return f"{stage.get('call')}" if gpu is None else f"{stage.get('call')} of GPU {gpu}"


def _gpu(said: dict[str, Any]) -> Gpu:
    """Return a GPU as a fact; what the child said in another form than expected is left unknown."""
    mask, action = said.pop("throttle_mask", None), said.pop("recovery_value", None)
    if mask is not None:
        from envcheck.compat import nvml as codes  # noqa: PLC0415 - only where a GPU answers

        said["throttle_reasons"] = [reason.short for reason in codes.throttle_reasons(mask)]
    if action is not None:
        from envcheck.compat import xid  # noqa: PLC0415

        row = xid.recovery_action(action)
        said["recovery_action"] = row.name if row else f"unknown action {action}"
    # Some drivers answer with a capability or a generation of 0 where they do not know.
    said = {
        name: value
        for name, value in said.items()
        if not (name.startswith("pcie_") and value == 0 and "replays" not in name)
    }
    try:
        return msgspec.convert(said, Gpu)
    except msgspec.ValidationError as error:
        return Gpu(index=said.get("index"), state=str(said.get("state", "ok")), unreadable={"all": str(error)})
