"""Every recorded machine gets the report that was reviewed."""

from __future__ import annotations

import importlib.util
import json
import pathlib

import pytest

from envcheck.redact import Redactor

HERE = pathlib.Path(__file__).parent
RECORDINGS = sorted(HERE.glob("*.json"))


ANSWERS = {
    "address-space-limited": "cgroup-limit",
    "vm-h200-masked": "visible-devices-masked",
    "vm-h200-memory-taken": "gpu-in-use",
    "base-interpreter-gone": "virtualenv-broken",
    "cpu-quota-half-a-core": "thread-oversubscription",
    "cudnn-files-gone": "broken-install",
    "damaged-metadata": "broken-install",
    "desktop-driver-updated-without-reboot": "driver-library-mismatch",
    "desktop-gtx-1080-ti": "gpu-arch-not-in-build",
    "desktop-nouveau": "nouveau-loaded",
    "desktop-radeon-closed-to-user": "rocm-permission",
    "desktop-without-driver": "driver-missing",
    "docker-gpu-not-requested": "container-gpu-not-requested",
    "docker-lost-gpu": "container-lost-gpu",
    "docker-shm-64m": "shm-too-small",
    "jupyter-kernel-gone": "jupyter-kernel-mismatch",
    "kubernetes-pod-without-gpu": "kubernetes-device-plugin",
    "laptop-secure-boot": "secure-boot-blocks-driver",
    "mac-m2-intel-python": "cpu-arch-emulated",
    "node-8-h100-memory-fault": "gpu-memory-fault",
    "omp-num-threads-64": "thread-oversubscription",
    "open-files-64": "open-files-limit",
    "pids-limit-60": "cgroup-limit",
    "python-2.7": "python-version-unsupported",
    "pythonpath-before-environment": "shadowed-module",
    "server-driver-too-old": "driver-too-old",
    "slurm-job-without-gpu": "scheduler-allocation",
    "tensorflow-in-200m": "cgroup-limit",
    "tmp-full": "disk-full",
    "torch-py-in-the-folder": "shadowed-module",
    "workstation-gpu-off-the-bus": "gpu-fell-off-bus",
    "wsl2-linux-driver": "wsl-driver-misinstalled",
}
"""Machine → what is wrong with it.  All others are well: nothing graver than a note may be said of them.

These stand beside the pages because a page can be refreshed without being read.
"""


def program(name):
    description = importlib.util.spec_from_file_location(f"machines_{name}", HERE / f"{name}.py")
    assert description is not None
    assert description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def refresh():
    return program("refresh")


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_machine_gets_the_report_that_was_reviewed(recording, refresh):
    assert refresh.page_of(recording) == recording.with_suffix(".txt").read_text(encoding="utf-8"), (
        "the report of this machine changed: review it with `make machines` and git diff"
    )


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_the_first_thing_that_is_said_of_a_machine_is_what_is_wrong_with_it(recording, refresh):
    grave = [finding for finding in refresh.report_on(recording).findings if finding.severity.value != "note"]
    answer = ANSWERS.get(recording.stem)
    assert [finding.cause for finding in grave[:1]] == ([answer] if answer else [])


def test_there_are_twenty_machines_and_each_has_its_page():
    assert len(RECORDINGS) >= 20
    assert [path.with_suffix(".txt") for path in RECORDINGS] == sorted(HERE.glob("*.txt"))


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.stem)
def test_a_recorded_machine_says_where_it_comes_from_and_names_nobody(recording):
    text = recording.read_text(encoding="utf-8")
    described = json.loads(text)
    assert described["note"].startswith(("Recorded", "Composed"))
    assert Redactor()(described) == described
    assert len(text) < 60_000


def test_composed_machines_are_what_the_composer_makes():
    compose = program("compose")
    for name, described in compose.machines().items():
        assert json.loads((HERE / f"{name}.json").read_text(encoding="utf-8")) == described, f"{name}: make machines"
