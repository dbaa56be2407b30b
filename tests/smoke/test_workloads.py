"""The workloads: what each file promises, one start in all frameworks, six steps, and faults caught by their names."""

from __future__ import annotations

import ast
import importlib.util
import math
import os
import struct
import subprocess
import sys
import tarfile
import zlib

import pytest

from envcheck.smoke import backends, workload_judge, workloads
from envcheck.smoke.child import INSIDE, Ending
from envcheck.smoke.choice import Choice
from envcheck.smoke.proof import Measure, Proof
from envcheck.smoke.result import Status

np = pytest.importorskip("numpy")

NAMES = [name for name in workloads.names() if name != workloads.REFERENCE]
FILES = sorted([*INSIDE.glob("workload_*.py"), *(INSIDE / "workloads").glob("*.py")])
STEPS = ["preprocess", "build", "initialise", "train", "validate", "test"]


def load_sibling(name):
    path = INSIDE.joinpath(*name.split("/")).with_suffix(".py")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def data_of(name):
    module = load_sibling(f"workloads/{name.replace('-', '_')}_data")
    module.load_sibling = load_sibling
    return module


def prepared(name, seed=0):
    data = data_of(name)
    size = dict(data.SIZES["quick"])
    parts = data.prepare("", size, seed)
    size.update(parts.pop("size", {}))
    return data, size, parts


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    # More threads on a machine that is busy with other tests would measure those.
    for variable in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")


def proofs_of(python, framework, *names, **more):
    choice = Choice(
        interpreter=python,
        parts=("workload",),
        frameworks=(framework,),
        by_name=True,
        workloads=names,
        **{"size": "quick", "device": "cpu", "timeout_seconds": 100.0, **more},
    )
    return workloads.prove(choice, lambda *_: None)


def broken(proof):
    return [condition.name for condition in proof.conditions if not condition.holds]


# Builds each workload at size `standard` in one framework and keeps what it answers before any training.
UNTRAINED = """
import importlib, os, sys
import numpy as np
folder, engine_name, package, kept, names = *sys.argv[1:5], sys.argv[5:]
def load(name):
    path = os.path.join(folder, *name.split("/")) + ".py"
    specification = importlib.util.spec_from_file_location(name.rpartition("/")[2], path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
import importlib.util
walk, engine = load("workload_walk"), load(engine_name)
settings = {"package": package, "precision": "float32", "adam_epsilon": 1e-7, "threads": 1, "size": "standard"}
settings.update(evaluation_batch=256, device="cpu", seed=0)
engine.prepare(load, settings, RuntimeError)
__import__(package)
engine.load(settings)
engine.choose_device("cpu")
answers = {}
for name in names:
    stem = "workloads/" + name.replace("-", "_")
    data, network = load(stem + "_data"), load(stem + "_" + engine.FAMILY)
    data.load_sibling, network.data = load, data
    size = dict(data.SIZES["standard"])
    parts = data.prepare("", size, 0)
    size.update(parts.pop("size", {}))
    engine.build(network, size)
    listed = data.parameters(size)
    walk._put(engine, np, listed, walk.draw(np, listed, 0))
    answers[name] = engine.predict({key: values[:64] for key, values in parts["validation"]["inputs"].items()})
np.savez(kept, **answers)
"""


# What the files promise.


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_of_a_workload_can_be_read_by_python_3_6(path):
    ast.parse(path.read_text(), feature_version=(3, 6))


def test_each_workload_is_one_file_of_data_and_one_for_each_framework():
    for name in NAMES:
        for kind in ("data", "torch", "keras"):
            assert (INSIDE / "workloads" / f"{name.replace('-', '_')}_{kind}.py").is_file()


def test_workloads_run_from_the_oldest_family_to_the_youngest():
    assert workloads.names()[:4] == ["reference-cnn", "residual", "recurrent", "text-classifier"]


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_says_what_it_proves_and_has_a_bar_where_it_trains_long_enough(name):
    data = data_of(name)
    assert data.TITLE
    assert data.PROVES
    assert set(data.SIZES) == {"quick", "standard", "full"}
    assert data.SIZES["standard"]["bar"] is not None
    better = data.SIZES["full"]["bar"] >= data.SIZES["standard"]["bar"]
    assert better == data.HIGHER_IS_BETTER or data.SIZES["full"]["bar"] == data.SIZES["standard"]["bar"]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_data_and_no_sample_is_in_two_parts(name):
    _, size, parts = prepared(name)
    again = prepared(name)[2]
    seen = set()
    for part, values in parts.items():
        assert len(values["target"]) >= (size["batch_size"] if part == "train" else 1)
        for key, array in values["inputs"].items():
            assert np.array_equal(array, again[part]["inputs"][key])
            assert array.dtype in (np.float32, np.int32)
        arrays = [*values["inputs"].values(), values["target"]]
        rows = {
            b"".join(np.ascontiguousarray(array[row]).tobytes() for array in arrays)
            for row in range(len(values["target"]))
        }
        assert len(rows) == len(values["target"])
        assert not rows & seen
        seen |= rows
    other = prepared(name, seed=1)[2]
    assert not np.array_equal(parts["train"]["target"], other["train"]["target"])


@pytest.mark.parametrize("name", NAMES)
def test_initial_parameters_have_the_shapes_that_the_workload_lists(name):
    data, size, _ = prepared(name)
    walk = load_sibling("workload_walk")
    listed = data.parameters(size)
    drawn = walk.draw(np, listed, 0)
    assert [array.shape for array in drawn] == [tuple(shape) for _, shape, _ in listed]
    assert all(np.isfinite(array).all() and array.dtype == np.float32 for array in drawn)
    assert len({parameter for parameter, _, _ in listed}) == len(listed)


def test_an_orthogonal_kernel_is_orthogonal_and_the_forget_gate_is_open():
    walk = load_sibling("workload_walk")
    kernel, bias = walk.draw(np, [("a/kernel", (8, 32), "orthogonal"), ("a/bias", (32,), "forget")], 0)
    assert np.allclose(kernel @ kernel.T, np.eye(8), atol=1e-6)
    assert bias.sum() == 8
    assert (bias[8:16] == 1).all()


def test_who_counts_words_stays_below_the_bar_of_the_text_classifier():
    data = data_of("text-classifier")
    parts = data.prepare("", data.SIZES["standard"], 0)
    parts.pop("size")
    assert data.counting(parts) < 0.7 < data.SIZES["standard"]["bar"]


def test_perfect_outputs_score_one_and_constant_ones_stay_below_the_bar():
    for name in ("residual", "recurrent", "text-classifier"):
        data, size, parts = prepared(name)
        part = parts["test"]
        classes = size.get("classes", getattr(data, "CLASSES", None))
        right = np.eye(classes, dtype=np.float32)[part["target"]]
        assert data.score(right, part) == {"accuracy": 1.0}
        guess = np.tile(np.eye(classes, dtype=np.float32)[0], (len(right), 1))
        assert data.score(guess, part)["accuracy"] < data.SIZES["standard"]["bar"]
        shown = data.show(guess, part, {})
        assert sum(map(sum, shown["matrices"][0]["values"])) == len(right)


# The real thing, small.


@pytest.fixture(scope="module")
def quick():
    """Every workload at its quick size, once in each framework."""
    found = {}

    def run(python, framework):
        if framework not in found:
            found[framework] = proofs_of(python, framework, "all", timeout_seconds=200.0)
        return found[framework]

    return run


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("framework", "package"), [("torch", "torch"), ("tensorflow", "tensorflow")])
def test_every_workload_walks_its_six_steps_and_passes(quick, interpreter_with, framework, package):
    proofs = quick(interpreter_with(package), framework)
    assert [proof.name for proof in proofs] == workloads.names()
    for proof in proofs:
        assert proof.status is Status.PASSED, proof.summary
        assert (proof.part, proof.framework, proof.device) == ("workload", framework, "cpu")
        assert proof.proves
        assert proof.title
        assert {"loss-finite", "loss-falls", "parameters-moved", "device"} <= {one.name for one in proof.conditions}
        assert {"training rate", "loss before the training"} <= {one.name for one in proof.measures}
        assert (proof.peak_memory_bytes or 0) > 50e6
        assert proof.curves
        if proof.name != workloads.REFERENCE:
            assert [step for step in proof.step_seconds if step in STEPS] == STEPS


@pytest.mark.slow
@pytest.mark.timeout(1100)
def test_both_frameworks_start_from_the_same_numbers_and_walk_the_same_way(quick, interpreter_with):
    torch = quick(interpreter_with("torch"), "torch")
    tensorflow = quick(interpreter_with("tensorflow"), "tensorflow")
    for proof in workload_judge.with_same_start([*torch, *tensorflow])[len(torch) :]:
        (same,) = [condition for condition in proof.conditions if condition.name == "same-start"]
        assert same.holds, f"{proof.name}: {same.seen}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_pictures_and_matrices_come_along(quick, interpreter_with):
    found = {proof.name: proof for proof in quick(interpreter_with("torch"), "torch")}
    assert found["residual"].matrices[0].name == "confusion"
    assert len(found["residual"].pictures[0].pixels) == 32 * 32
    attention = next(matrix for matrix in found["text-classifier"].matrices if matrix.name == "attention")
    assert attention.rows[0] == "[start]"
    assert all(math.isclose(sum(row), 1.0, abs_tol=1e-3) for row in attention.values)


# Planted faults.


def planted(spoiled, monkeypatch, spoil, package="torch"):
    monkeypatch.setenv("PYTHONPATH", str(spoiled(spoil, package)))


def test_at_full_depth_both_frameworks_answer_alike_before_they_are_trained(interpreter_with, tmp_path):
    # The quick networks have one layer of a kind: a mask that the first loses is missed by the second alone.
    answers = []
    for package, engine in (("torch", "workload_torch"), ("tensorflow", "workload_keras")):
        kept = tmp_path / f"{package}.npz"
        command = [interpreter_with(package), "-c", UNTRAINED, str(INSIDE), engine, package, str(kept), *NAMES]
        ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
        assert ran.returncode == 0, ran.stderr[-2000:]
        answers.append(np.load(kept))
    for name in NAMES:
        one, other = (found[name] for found in answers)
        assert float(abs(one - other).max()) <= 1e-4 * float(abs(one).max()), name


def test_a_layer_that_does_not_learn_is_named(monkeypatch, spoiled, interpreter_with):
    planted(
        spoiled,
        monkeypatch,
        "right = real.optim.Adam\nreal.optim.Adam = lambda given, **more: right(list(given)[1:], **more)",
    )
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent")
    assert proof.status is Status.FAILED
    assert broken(proof) == ["parameters-moved"]
    assert "these did not move: embedding/embeddings" in proof.summary


def test_a_number_that_is_none_is_named_with_its_step_and_its_layer(monkeypatch, spoiled, interpreter_with):
    spoil = (
        "right, calls = real.nn.LSTM.forward, []\n"
        "def forward(self, *given, **more):\n"
        "    found, state = right(self, *given, **more)\n"
        "    if self.training and found.requires_grad:\n        calls.append(1)\n"
        "    return (found * float('nan') if self.training and len(calls) % 9 in (4, 5) else found), state\n"
        "real.nn.LSTM.forward = forward"
    )
    planted(spoiled, monkeypatch, spoil)
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent")
    assert broken(proof)[0] == "loss-finite"
    assert "not finite from step" in proof.summary
    assert "first in the output of lstm" in proof.summary


@pytest.mark.smoke
def test_a_fault_of_numbers_that_does_not_come_again_is_said_to_come_and_go(monkeypatch, spoiled, interpreter_with):
    spoil = (
        "right, calls = real.nn.functional.cross_entropy, []\n"
        "def cross_entropy(*given, **more):\n"
        "    calls.append(1)\n"
        "    return right(*given, **more) * (float('nan') if len(calls) == 5 else 1.0)\n"
        "real.nn.functional.cross_entropy = cross_entropy"
    )
    planted(spoiled, monkeypatch, spoil)
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent")
    assert broken(proof)[0] == "loss-finite"
    assert "the fault comes and goes" in proof.summary


def test_work_that_silently_runs_on_the_processor_fails(monkeypatch, spoiled, interpreter_with):
    planted(
        spoiled,
        monkeypatch,
        "real.cuda.is_available = lambda: True\nreal.cuda.device_count = lambda: 1\n"
        "real.cuda.get_device_name = lambda *_: 'A GPU'\nright = real.device\n"
        "class Device:\n    def __new__(cls, *given):\n        return right('cpu')\n"
        "real.device = Device",
    )
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent", device="cuda")
    assert broken(proof)[0] == "device"
    assert "the work ran on cpu, asked for was cuda" in proof.summary


def test_a_stuck_loader_is_named_with_its_batch_and_the_next_workload_still_runs(
    monkeypatch, spoiled, interpreter_with, mark, nothing_is_left
):
    monkeypatch.setenv("ENVCHECK_TEST_MARK", mark)
    spoil = (
        "import time, os\nright = real.utils.data.DataLoader.__iter__\n"
        "def batches(self):\n"
        "    for number, batch in enumerate(right(self)):\n"
        "        if number == 2 and 'symbols' in batch[0]:\n            time.sleep(600)\n"
        "        yield batch\n"
        "real.utils.data.DataLoader.__iter__ = batches"
    )
    planted(spoiled, monkeypatch, spoil)
    for seconds in (8.0, 60.0):
        # Where the machine is so busy that importing alone takes as long, more time is given.
        stuck, after = proofs_of(
            interpreter_with("torch"), "torch", "recurrent", "text-classifier", timeout_seconds=seconds
        )
        if stuck.failure.step == "train" and after.status is Status.PASSED:
            break
    assert (stuck.status, stuck.failure.kind, stuck.failure.step) == (Status.FAILED, "timeout", "train")
    assert "waited for the data loader to give batch 3 of epoch 1" in stuck.summary
    assert "torch/__init__.py" in stuck.failure.python_stack
    assert [finding.cause for finding in stuck.findings] == ["slow-data-path"]
    assert after.status is Status.PASSED, after.summary
    nothing_is_left(1.0)


def test_a_stuck_pipeline_of_tensorflow_is_named_with_its_batch(monkeypatch, spoiled, interpreter_with):
    spoil = (
        "import time\nright, numbers = real.data.Dataset.from_tensor_slices, iter(range(10**6))\n"
        "def wait(number):\n"
        "    if next(numbers) == 2 * 32:\n        time.sleep(600)\n"
        "    return number\n"
        "def slices(given):\n"
        "    return right(given).map(lambda one: real.ensure_shape(real.numpy_function(wait, [one], one.dtype), ()))\n"
        "real.data.Dataset.from_tensor_slices = staticmethod(slices)"
    )
    planted(spoiled, monkeypatch, spoil, "tensorflow")
    for seconds in (15.0, 90.0):
        (stuck,) = proofs_of(interpreter_with("tensorflow"), "tensorflow", "recurrent", timeout_seconds=seconds)
        if stuck.failure.step == "train":
            break
    assert (stuck.status, stuck.failure.kind, stuck.failure.step) == (Status.FAILED, "timeout", "train")
    assert "waited for the data loader to give batch 3 of epoch 1" in stuck.summary
    assert [finding.cause for finding in stuck.findings] == ["slow-data-path"]


def test_a_crash_in_one_workload_leaves_the_others_to_run(monkeypatch, spoiled, interpreter_with):
    planted(
        spoiled,
        monkeypatch,
        "import ctypes\nreal.nn.BatchNorm2d.forward = lambda *_: ctypes.string_at(0)",
    )
    crashed, after = proofs_of(interpreter_with("torch"), "torch", "residual", "recurrent")
    assert (crashed.failure.signal, crashed.failure.step) == ("SIGSEGV", "initialise")
    assert "residual_torch.py" in crashed.failure.python_stack
    assert after.status is Status.PASSED, after.summary


def test_a_network_that_is_wired_otherwise_in_one_framework_does_not_start_the_same(interpreter_with):
    del interpreter_with
    first = Proof(
        part="workload",
        name="residual",
        framework="torch",
        title="",
        status=Status.PASSED,
        summary="",
        dtype="float32",
        measures=[Measure(name="loss before the training", value=2.3)],
    )
    other = {"framework": "tensorflow", "measures": [Measure(name="loss before the training", value=2.301)]}
    from msgspec.structs import replace

    _, second = workload_judge.with_same_start([first, replace(first, **other)])
    assert (second.status, broken(second)) == (Status.FAILED, ["same-start"])


@pytest.mark.smoke
def test_weights_that_a_framework_does_not_keep_are_an_error_at_once(monkeypatch, spoiled, interpreter_with):
    planted(
        spoiled,
        monkeypatch,
        "right = real.Tensor.copy_\nreal.Tensor.copy_ = lambda self, given, *more: right(self, given * 1.0001, *more)",
    )
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent")
    assert proof.failure.step == "initialise"
    assert "does not hold the numbers that were put into its embedding/embeddings" in proof.failure.message


def test_a_model_that_is_saved_wrongly_is_named_with_its_format(monkeypatch, spoiled, interpreter_with):
    spoil = (
        "right = real.load\n"
        "def load(*given, **more):\n"
        "    found = right(*given, **more)\n"
        "    return {name: tensor * 1.01 for name, tensor in found.items()}\n"
        "real.load = load"
    )
    planted(spoiled, monkeypatch, spoil)
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent")
    assert broken(proof) == ["saved-and-loaded"]
    assert "state_dict" in proof.summary


def test_safetensors_that_are_read_wrongly_are_named_with_their_format(monkeypatch, spoiled, interpreter_with):
    if interpreter_with("torch") != interpreter_with("safetensors"):
        pytest.skip("the interpreter that has torch has no safetensors")
    spoil = (
        "import safetensors.torch\n"
        "right = safetensors.torch.load\n"
        "def load_file(path, *more):\n"
        "    with open(path, 'rb') as file:\n"
        "        return {name: tensor * 1.01 for name, tensor in right(file.read()).items()}\n"
        "safetensors.torch.load_file = load_file"
    )
    planted(spoiled, monkeypatch, spoil, "safetensors")
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent")
    assert broken(proof) == ["saved-and-loaded"]
    assert "safetensors" in proof.summary


# What does not come to the first workload.


def test_a_framework_that_is_not_there_is_absent_unless_it_was_named(tmp_path):
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name == "posix")
    python = str(tmp_path / "bare" / "bin" / "python")
    (named,) = proofs_of(python, "torch", "residual")
    assert named.status is Status.FAILED
    assert [finding.cause for finding in named.findings] == ["package-not-installed"]


def test_a_framework_that_hangs_when_it_is_imported_is_told_with_where_it_hung(monkeypatch, stub):
    monkeypatch.setenv("PYTHONPATH", str(stub("import time\ntime.sleep(600)\n")))
    first, second = proofs_of(sys.executable, "torch", "residual", "recurrent", timeout_seconds=3.0)
    assert (first.failure.kind, first.failure.step) == ("timeout", "import")
    assert "torch/__init__.py" in first.failure.python_stack
    assert second.failure == first.failure


def test_keras_stands_for_each_backend_that_is_there(tmp_path, monkeypatch):
    for package in ("torch", "jax"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name == "posix")
    python = str(tmp_path / "bare" / "bin" / "python")
    found = backends.targets(["keras"], python)
    assert [target.name for target in found] == ["keras-torch", "keras-jax"]
    assert found[0].variables == {"KERAS_BACKEND": "torch"}
    assert [target.name for target in backends.targets(["keras"], str(tmp_path / "none"))] == ["keras"]


# The compiler.

COMPILER_ERRORS = [
    ("InductorError", "RuntimeError: No working C++ compiler found in torch._inductor.config.cpp.cxx", "g++"),
    ("CppCompileError", "C++ compile error\nfatal error: Python.h: No such file or directory", "python3-dev"),
    ("RuntimeError", "Cannot find a working triton installation.", "pip install triton"),
    ("InternalError", "libdevice not found at ./libdevice.10.bc [Op:__inference]", "and-cuda"),
    ("RefusalError", "torch 1.13.1 has no compiler: torch.compile came with 2.0", "torch>=2"),
    ("RuntimeError", "Dynamo is not supported on Python 3.14+", "newer torch"),
]
CAUSES = [
    "host-compiler-unsupported",
    "missing-system-library",
    "package-not-installed",
    "cuda-toolkit-missing",
    "framework-too-old-for-code",
    "python-version-unsupported",
]


@pytest.mark.parametrize(("error", "cause"), list(zip(COMPILER_ERRORS, CAUSES, strict=True)))
def test_a_compiler_that_does_not_work_is_a_finding_with_its_cause_and_its_cure(error, cause):
    kind, message, cure = error
    finding = workload_judge.compiler_finding(
        {"type": kind, "message": message},
        backends.Target(name="torch", package="torch"),
    )
    assert finding.cause == cause
    assert any(cure in " ".join([remedy.action, *remedy.commands]) for remedy in finding.remedies)


def test_without_a_compiler_it_trains_all_the_same_and_says_what_is_missing(monkeypatch, spoiled, interpreter_with):
    spoil = (
        "def compile(*_, **__):\n"
        "    raise RuntimeError('No working C++ compiler found in torch._inductor.config.cpp.cxx: (None, g++)')\n"
        "real.compile = compile"
    )
    planted(spoiled, monkeypatch, spoil)
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent", compiled=True)
    assert broken(proof) == ["compiled-equals-eager"]
    assert [finding.cause for finding in proof.findings] == ["host-compiler-unsupported"]
    assert {"validate", "test"} <= set(proof.step_seconds)


def test_mixed_precision_that_the_processor_cannot_compute_is_a_finding(monkeypatch, spoiled, interpreter_with):
    spoil = (
        "def forward(*_, **__):\n"
        "    raise RuntimeError('could not create a primitive descriptor for the LSTM forward propagation primitive')\n"
        "real.nn.LSTM.forward = forward"
    )
    planted(spoiled, monkeypatch, spoil)
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "recurrent", precision="mixed")
    (finding,) = proof.findings
    assert finding.cause == "cpu-instructions-missing"
    assert "float32" in finding.remedies[0].action


@pytest.mark.smoke
@pytest.mark.parametrize(("framework", "package"), [("torch", "torch"), ("tensorflow", "tensorflow")])
def test_compiled_workloads_compute_what_others_do(interpreter_with, framework, package):
    for proof in proofs_of(interpreter_with(package), framework, *NAMES, compiled=True, timeout_seconds=800.0):
        assert proof.status is Status.PASSED, f"{proof.name}: {proof.summary}"


@pytest.mark.smoke
@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras-torch"])
def test_workloads_train_in_mixed_precision(interpreter_with, framework):
    python = interpreter_with(framework.rpartition("-")[2])
    for proof in proofs_of(python, framework, *NAMES, precision="mixed", timeout_seconds=400.0):
        if [finding.cause for finding in proof.findings] == ["cpu-instructions-missing"]:
            continue  # oneDNN has no recurrent layers in bfloat16 for a processor without AVX-512
        assert proof.status is Status.PASSED, f"{proof.name}: {proof.summary}"
        assert proof.dtype == "bfloat16"


@pytest.mark.smoke
@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras-torch"])
def test_every_workload_reaches_its_bar(interpreter_with, framework):
    python = interpreter_with(framework.rpartition("-")[2])
    for proof in proofs_of(python, framework, "all", size="standard", timeout_seconds=600.0):
        assert proof.status is Status.PASSED, f"{proof.name}: {proof.summary}"


# Judging what a child reported.


def test_where_a_training_hangs_is_counted_from_one_and_a_loader_that_works_ahead_is_not_accused():
    place = load_sibling("workload_walk").Place("train")
    place.batches, place.given, place.trained = 10, 25, 23
    assert place.told() == {"step": "train", "epoch": 3, "batch": 4, "waits_for_loader": False, "validates": False}
    place.given = 23
    assert place.told()["waits_for_loader"]
    place.given, place.trained, place.validates = 20, 20, True
    assert (place.told()["epoch"], place.told()["waits_for_loader"]) == (2, False)


def test_native_code_that_hangs_with_the_interpreter_in_its_hand_is_a_timeout_too():
    events = [
        {"event": "python", "version": "3.11.7", "at": 0.0},
        {"event": "workload", "workload": "residual", "at": 2.0},
        {"event": "step", "step": "train", "workload": "residual", "at": 3.0},
    ]
    stack = 'Timeout (0:00:31)!\nThread 0x1 (most recent call first):\n  File "workload_torch.py", line 1 in _step\n'
    ending = Ending(outcome="ok", exit_code=1, stderr=stack, seconds=33.0)
    failure = workload_judge.failure_of("python", events, ending)
    assert (failure.kind, failure.step) == ("timeout", "train")
    assert "native code" in failure.reason


# Real data.


def png(path, pixels):
    """Write a PNG of unsigned bytes (height, width, 3), as RFC 2083 has it."""
    height, width = pixels.shape[:2]

    def chunk(kind, content):
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\x00" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def images(tmp_path):
    """A folder of images in ImageNet's layout: red ones and blue ones, of unequal sizes."""
    random = np.random.RandomState(0)
    for part, count in (("train", 60), ("val", 20)):
        for channel, name in enumerate(("n01440764", "n02102040")):
            folder = tmp_path / "imagenet" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = random.randint(0, 60, (40 + number, 50, 3)).astype(np.uint8)
                pixels[:, :, 2 * channel] += 180
                png(folder / f"{name}_{number}.PNG", pixels)
    return tmp_path / "imagenet"


def test_a_folder_of_images_in_imagenets_layout_is_read_and_trained_with(images, interpreter_with):
    python = interpreter_with("tensorflow")
    (proof,) = proofs_of(python, "tensorflow", "residual", data=str(images))
    assert proof.status is Status.PASSED, proof.summary
    assert proof.settings["data"] == str(images)
    assert proof.settings["samples"] == 120
    assert proof.matrices[0].rows == ["n01440764", "n02102040"]


def reader_of_images():
    reader = load_sibling("workloads/read_images")
    size = {"samples": 100, "test_samples": 20, "batch_size": 16}
    return reader, size


def test_images_are_cut_to_their_middle_and_averaged(images, monkeypatch):
    reader, size = reader_of_images()
    monkeypatch.setattr(reader, "_decoder", lambda: lambda content: np.full((40, 60, 3), len(content) % 2 * 255.0))
    parts = reader.prepare(str(images), size, 0, 32)
    assert parts["size"]["classes"] == 2
    assert parts["train"]["inputs"]["images"].shape == (80, 32, 32, 3)
    assert set(np.unique(parts["train"]["inputs"]["images"])) <= {-1.0, 1.0}
    ramp = np.tile(np.arange(64, dtype=np.float32)[None, :, None], (64, 1, 3)) * 2
    small = reader._small(ramp, 32)
    assert np.allclose((small[0, :, 0] + 1) * 127.5, np.arange(32) * 4 + 1, atol=1e-3)
    assert reader._small(np.zeros((8, 8, 3), np.float32), 32).shape == (32, 32, 3)


def test_a_damaged_image_is_named(images, interpreter_with):
    damaged = sorted((images / "train" / "n02102040").iterdir())[7]
    damaged.write_bytes(damaged.read_bytes()[:60])
    (proof,) = proofs_of(interpreter_with("tensorflow"), "tensorflow", "residual", data=str(images))
    assert proof.status is Status.UNUSABLE_DATA
    assert str(damaged) in proof.summary


def test_without_a_decoder_one_line_says_what_to_install(images, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    reader, size = reader_of_images()
    with pytest.raises(reader.DataError, match="install Pillow"):
        reader.prepare(str(images), size, 0, 32)


@pytest.mark.parametrize("spoil", ["no_classes", "one_class", "too_few"])
def test_a_folder_without_enough_classes_or_images_is_said_to_be_so(tmp_path, spoil):
    reader, size = reader_of_images()
    for name in {"no_classes": [], "one_class": ["a"], "too_few": ["a", "b"]}[spoil]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
    with pytest.raises(reader.DataError, match=str(tmp_path)):
        reader.prepare(str(tmp_path), size, 0, 32)


PRAISING = "A great film.<br /><br />I loved it, truly great!"
BLAMING = "A dull film. I didn't like it."


@pytest.fixture
def reviews(tmp_path):
    root = tmp_path / "aclImdb"
    for part in ("train", "test"):
        for kind, rating, text in (("pos", 9, PRAISING), ("neg", 2, BLAMING)):
            folder = root / part / kind
            folder.mkdir(parents=True)
            for number in range(60 if part == "train" else 20):
                (folder / f"{number}_{rating}.txt").write_text(f"{text} {part} {number}")
    (root / "train" / "unsup").mkdir()
    (root / "train" / "unsup" / "0_0.txt").write_text("Who knows.")
    return root


@pytest.fixture
def archive(reviews, tmp_path):
    path = tmp_path / "aclImdb_v1.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(reviews, "aclImdb")
    return path


def test_the_imdb_archive_and_its_folder_hold_the_same_reviews(reviews, archive):
    reader = load_sibling("workloads/read_reviews")
    assert reader.recognises(str(archive))
    assert reader.recognises(str(reviews.parent))
    (words, labels), (test, _) = from_folder = reader.read(str(reviews), 100, 30, 0)
    assert (len(words), len(test)) == (100, 30)
    assert "br" not in words[0]
    praise = words[list(labels).index(1)]
    assert praise[:4] == ["a", "great", "film", "."]
    assert "didn't" in words[list(labels).index(0)]
    for mine, theirs in zip(from_folder, reader.read(str(archive), 100, 30, 0), strict=True):
        assert mine[0] == theirs[0]
        assert np.array_equal(mine[1], theirs[1])


def test_the_text_classifier_learns_the_reviews_of_the_imdb_archive(archive, interpreter_with):
    (proof,) = proofs_of(interpreter_with("torch"), "torch", "text-classifier", data=str(archive))
    assert proof.status is Status.PASSED, proof.summary
    assert proof.settings["samples"] == 120


def test_damaged_reviews_are_named(reviews, archive):
    reader = load_sibling("workloads/read_reviews")
    cut = archive.with_name("cut.tar.gz")
    cut.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(reader.DataError, match=r"cut\.tar\.gz: is damaged"):
        reader.read(str(cut), 100, 30, 0)
    (reviews / "train" / "pos" / "7_9.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(reader.DataError, match=r"7_9\.txt: is no text in UTF-8"):
        reader.read(str(reviews), 100, 30, 0)
    (reviews / "train" / "pos" / "7_9.txt").rename(reviews / "train" / "pos" / "7_2.txt")
    with pytest.raises(reader.DataError, match=r"7_2\.txt: a rating of 2 does not belong in pos"):
        reader.read(str(reviews), 100, 30, 0)
    with pytest.raises(reader.DataError, match="has no train/pos"):
        reader.read(str(reviews / "test"), 100, 30, 0)


def test_data_goes_to_the_workload_that_reads_it_and_the_others_draw_their_own(archive, tmp_path):
    walk = load_sibling("workload_walk")
    several = {"data": str(archive), "alone": False}
    assert walk.own_data(data_of("text-classifier"), several) == str(archive)
    assert walk.own_data(data_of("residual"), several) == ""
    assert walk.own_data(data_of("recurrent"), several) == ""
    with pytest.raises(walk.DataError, match="draws its own data"):
        walk.own_data(data_of("recurrent"), {"data": str(tmp_path), "alone": True})
