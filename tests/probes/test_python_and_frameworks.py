"""What children said, or left unsaid, becomes facts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envcheck.interpreter import Interpreter
from envcheck.probe import Ended
from envcheck.probes.frameworks import keras, tensorflow, torch
from envcheck.probes.python import python
from envcheck.report import Outcome
from envcheck.system import Completed
from envcheck.testing import machine

INTERPRETER = Interpreter("/env/bin/python", "given with --python", given=True)


def lines(*items: dict[str, Any]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def child(name: str, *items: dict[str, Any], **ended: Any) -> dict[str, Completed]:
    return {
        f"inside frameworks_probe {name}": Completed(
            **{"outcome": "ok", "exit_code": 0, "stdout": lines(*items)} | ended
        )
    }


IMPORTED = {"kind": "imported", "version": "2.9.0", "module_path": "/env/torch/__init__.py", "import_seconds": 1.0}
END = {"kind": "end", "total_seconds": 1.2}


def test_what_a_framework_said_becomes_its_facts() -> None:
    runs = child(
        "torch",
        {"kind": "stage", "name": "import"},
        IMPORTED,
        {"kind": "build", "cuda": "12.8", "accelerator": "cuda", "architectures": ["sm_90"]},
        {"kind": "devices", "sees_gpu": True, "gpu_error": ""},
        {"kind": "stage", "name": "compute"},
        {"kind": "device", "device": {"name": "cuda:0", "kind": "cuda", "computed": True, "new": "field"}},
        END,
    )
    found = torch(machine(runs=runs), INTERPRETER, 60)["torch"]
    assert (found.state, found.version, found.cuda, found.sees_gpu) == ("ok", "2.9.0", "12.8", True)
    assert [(device.name, device.computed) for device in found.devices] == [("cuda:0", True)]


def test_a_framework_that_is_not_installed_is_absent() -> None:
    with pytest.raises(Ended) as ended:
        torch(machine(runs=child("torch", {"kind": "absent"}, END)), INTERPRETER, 60)
    assert ended.value.outcome is Outcome.ABSENT


def test_an_interpreter_that_does_not_run_is_no_fault_of_the_framework() -> None:
    with pytest.raises(Ended) as ended:
        torch(machine(), INTERPRETER, 60)
    assert ended.value.outcome is Outcome.ABSENT


@pytest.mark.parametrize(
    ("ended", "state", "detail"),
    [
        ({"outcome": "signal", "exit_code": None, "signal": "SIGSEGV"}, "crash", "SIGSEGV"),
        ({"outcome": "timeout", "exit_code": None}, "timeout", None),
        ({"exit_code": 3}, "exit", None),
        ({"exit_code": 3221225477}, "crash", "access violation"),
        ({"exit_code": -1073741819}, "crash", "access violation"),
    ],
)
def test_a_child_that_did_not_end_by_itself_is_told_by_how_it_ended(
    ended: dict[str, Any], state: str, detail: str | None
) -> None:
    found = torch(machine(runs=child("torch", {"kind": "stage", "name": "import"}, **ended)), INTERPRETER, 60)["torch"]
    assert (found.state, found.signal, found.stage) == (state, detail, "import")


def test_a_device_that_came_before_the_crash_is_still_known() -> None:
    items = [
        IMPORTED,
        {"kind": "device", "device": {"name": "cpu", "kind": "cpu", "computed": True}},
        {"kind": "stage", "name": "compute", "device": "cuda:0"},
    ]
    found = torch(machine(runs=child("torch", *items, outcome="signal", signal="SIGABRT")), INTERPRETER, 60)["torch"]
    assert [device.name for device in found.devices] == ["cpu"]
    assert found.stage == "compute"


def test_keras_is_what_tensorflow_s_child_saw() -> None:
    runs = child("tensorflow", IMPORTED, {"kind": "keras", "version": "3.15.1", "backend": "tensorflow"}, END)
    runs |= child("keras", {"kind": "with-tensorflow"}, END)
    system = machine(runs=runs)
    assert tensorflow(system, INTERPRETER, 60)["keras"].version == "3.15.1"
    with pytest.raises(Ended):
        keras(system, INTERPRETER, 60)


def test_keras_that_fails_beside_tensorflow_is_a_failure_of_keras_alone() -> None:
    runs = child("tensorflow", IMPORTED, {"kind": "keras", "error_type": "ImportError", "error": "no"}, END)
    found = tensorflow(machine(runs=runs), INTERPRETER, 60)
    assert (found["tensorflow"].state, found["keras"].state, found["keras"].error) == ("ok", "failed", "no")


def test_why_tensorflow_leaves_a_gpu_out_is_read_from_its_own_lines() -> None:
    stderr = (
        "I tensorflow/core/platform/cpu_feature_guard.cc:210] This TensorFlow binary is optimized\n"
        "W tensorflow/core/common_runtime/gpu/gpu_device.cc:2343] Cannot dlopen some GPU libraries. Please make sure\n"
    )
    items = [IMPORTED, {"kind": "build", "accelerator": "cuda"}, {"kind": "devices", "sees_gpu": False}, END]
    found = tensorflow(machine(runs=child("tensorflow", *items, stderr=stderr)), INTERPRETER, 60)["tensorflow"]
    assert found.gpu_error == "Cannot dlopen some GPU libraries. Please make sure"


def interpreter(**completed: Any) -> dict[str, Completed]:
    return {"inside interpreter_probe": Completed(**{"outcome": "ok", "exit_code": 0} | completed)}


def test_an_interpreter_that_answers_fills_python_and_packages() -> None:
    said = lines(
        {"kind": "python", "version": "3.12.1", "prefix": "/env", "from_the_future": 1, "shadows": []},
        {"kind": "packages", "installed": [{"name": "torch", "version": "2.9.0"}], "hidden": [], "damaged": []},
    )
    found = python(machine(runs=interpreter(stdout=said)), INTERPRETER, 10)
    assert found["python"].state == "ok"
    assert found["python"].chosen_because == "given with --python"
    assert [package.name for package in found["packages"].installed] == ["torch"]


def test_a_dead_environment_names_the_base_that_has_gone() -> None:
    system = machine(
        files={"/env/pyvenv.cfg": "home = /opt/python3.10/bin\nversion = 3.10.4\n"},
        links={"/env/bin/python": "/opt/python3.10/bin/python3.10"},
        runs=interpreter(outcome="absent", exit_code=None, reason="No such file or directory"),
        more={"status /env/bin/python": {"outcome": "broken-link"}},
    )
    found = python(system, INTERPRETER, 10)["python"]
    assert found.state == "broken-link"
    assert found.base_missing == "/opt/python3.10/bin"
    assert "/opt/python3.10/bin/python3.10" in found.detail


def test_a_python_that_breaks_is_told_from_a_program_that_is_none() -> None:
    broken = interpreter(exit_code=1, stderr="Fatal Python error: init_fs_encoding: failed\nModuleNotFoundError: x\n")
    assert python(machine(runs=broken), INTERPRETER, 10)["python"].state == "crash"
    other = interpreter(exit_code=1, stderr="usage: other [options]\n")
    assert python(machine(runs=other), INTERPRETER, 10)["python"].state == "not-python"
    assert python(machine(runs=interpreter(outcome="timeout")), INTERPRETER, 10)["python"].state == "timeout"
