"""The arithmetic part: references and tolerances by themselves, then frameworks, healthy and with planted faults."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from smoke.conftest import SPOILED

from envcheck.smoke import arithmetic
from envcheck.smoke import arithmetic_judge as judge
from envcheck.smoke.arithmetic_judge import Attempt
from envcheck.smoke.backends import Target
from envcheck.smoke.child import Ending
from envcheck.smoke.choice import Choice
from envcheck.smoke.proof import Proof
from envcheck.smoke.result import Status

np = pytest.importorskip("numpy")

INSIDE = Path(__file__).parents[2] / "envcheck" / "inside"
SCRIPTS = sorted(INSIDE.glob("arithmetic_*.py"))


def load(name: str) -> Any:
    specification = importlib.util.spec_from_file_location(name, INSIDE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


bounds, reference, cases, walk = (load(f"arithmetic_{name}") for name in ("bounds", "reference", "cases", "walk"))
ALL_CASES = [(name, case) for name, _ in cases.OPERATIONS for case in cases.cases_of(name, "quick", 3)]


def expected(case: dict[str, Any], inputs: dict[str, Any], dtype: str = "float64") -> dict[str, Any]:
    parameters = {**case["parameters"], **({"convention": "inside"} if "convention" in case["parameters"] else {})}
    rounding = bounds.rounding_of(dtype)
    given = {
        name: bounds.exact(array, rounding) if array.dtype.kind == "f" else array for name, array in inputs.items()
    }
    with np.errstate(all="ignore"):
        return getattr(reference, case["reference"])(bounds, given, parameters)


def with_gradients() -> list[Any]:
    chosen = {}
    for name, case in ALL_CASES:
        if name != "special-values" and len(expected(case, case["inputs"])) > 1:
            key = case["parameters"].get("function", case["reference"]) + str(case["parameters"].get("causal", ""))
            if (
                key not in chosen
                or case["inputs"][min(case["inputs"])].size < chosen[key]["inputs"][min(case["inputs"])].size
            ):
                chosen[key] = case
    chosen["grouped"] = next(case for name, case in ALL_CASES if case["parameters"].get("groups") == 2)
    return [pytest.param(case, id=key) for key, case in chosen.items()]


@pytest.mark.parametrize("case", with_gradients())
def test_each_gradient_of_a_reference_is_what_central_differences_give(case):
    inputs, step = case["inputs"], 1e-6
    found = expected(case, inputs)
    random = np.random.RandomState(0)

    def objective(changed: dict[str, Any]) -> float:
        result = expected(case, changed)["result"].value
        return float(np.sum(result * inputs["upstream"])) if "upstream" in inputs else float(result)

    for output in found:
        if output == "result":
            continue
        name = output.removeprefix("gradient of ")
        # Along a few directions that touch a number each, and along one that touches all.
        flat = random.choice(inputs[name].size, min(inputs[name].size, 4), replace=False)
        directions = [np.eye(1, inputs[name].size, place).reshape(inputs[name].shape) for place in flat]
        for direction in [*directions, random.randn(*inputs[name].shape)]:
            up, down = ({**inputs, name: inputs[name] + sign * step * direction} for sign in (1, -1))
            slope = (objective(up) - objective(down)) / (2 * step)
            by_hand = float(np.sum(found[output].value * direction))
            assert slope == pytest.approx(by_hand, rel=1e-5, abs=1e-6), output


def test_numbers_are_rounded_to_nearest_with_ties_to_even():
    one, step = 1.0, 2.0**-7
    assert bounds.rounded([one + step / 2, one + 1.5 * step, one + 0.49 * step], "bfloat16").tolist() == [
        1.0,
        1.0 + 2 * step,
        1.0,
    ]
    assert bounds.rounded([1 + 2.0**-11, 1 + 3 * 2.0**-11, np.inf], "tf32").tolist() == [1.0, 1 + 2.0**-9, np.inf]
    assert bounds.rounded([1 + 2.0**-24], "float32").tolist() == [1.0]
    assert np.isnan(bounds.rounded([np.nan], "bfloat16")).all()


@pytest.mark.parametrize("terms", [3, 129, 4099])
def test_a_sum_in_float32_stays_within_what_is_allowed_and_one_in_float16_does_not(terms):
    random = np.random.RandomState(1)
    x, weight = (random.randn(1, terms).astype(np.float32) for _ in range(2))
    rounding = bounds.rounding_of("float32")
    found = bounds.contract("bi,oi->bo", bounds.exact(x, rounding), bounds.exact(weight, rounding), terms)
    in_single, in_half = np.float32(0), np.float16(0)
    for a, b in zip(x[0], weight[0], strict=True):
        in_single += a * b
        in_half += np.float16(a * b)
    assert abs(float(in_single) - found.value[0, 0]) <= found.error[0, 0]
    assert abs(float(in_half) - found.value[0, 0]) > found.error[0, 0]


class Framework:
    """A stub of a framework that promises what torch does."""

    CONSTANT_UNIT, CONVENTION = 0.0, "outside"

    @staticmethod
    def wide_sums(*_: str) -> bool:
        return True


def lstm_with(tanh: Any, inputs: dict[str, Any]) -> Any:
    hidden = cell = np.zeros((len(inputs["x"]), len(inputs["recurrent"])))
    states = []
    for time in range(inputs["x"].shape[1]):
        raw = inputs["x"][:, time] @ inputs["weight"] + hidden @ inputs["recurrent"] + inputs["bias"]
        enter, forget, candidate, leave = np.split(raw, 4, axis=1)
        cell = bounds.logistic(forget) * cell + bounds.logistic(enter) * tanh(candidate)
        hidden = bounds.logistic(leave) * tanh(cell)
        states.append(hidden)
    return np.stack(states, axis=1)


@pytest.mark.parametrize(("device", "right"), [("cuda:0", True), ("cpu", False)])
def test_the_tanh_of_cudnns_cells_is_no_fault_on_a_gpu_and_would_be_one_on_a_processor(device, right):
    tools = walk.Tools(Framework, {}, None, None, lambda name: globals()[name.removeprefix("arithmetic_")])
    for case in cases.cases_of("lstm", "standard", 0):
        rounded, wanted = walk.prepared(tools, device, "float32", case)
        # As an H100 with cuDNN 9.19 was found to be: up to 175 roundoffs of the value.
        found = lstm_with(lambda value: np.tanh(value) * (1 + 175 * 2.0**-24 * np.sign(value)), rounded["inputs"])
        assert ("message" not in walk.compare(tools, found, wanted["result"], "float32")) is right
        exact = lstm_with(np.tanh, rounded["inputs"])
        assert "message" not in walk.compare(tools, exact, wanted["result"], "float32")
        swapped = lstm_with(lambda value: np.tanh(value) * (1 + 2.0**-11), rounded["inputs"])
        assert "message" in walk.compare(tools, swapped, wanted["result"], "float32")


def compared(found: Any, right: Any, error: float = 1e-6) -> dict[str, Any]:
    class Tools:
        numpy, bounds = np, globals()["bounds"]

    one = bounds.Bounded(np.asarray(right, float), np.full(np.shape(right), error), bounds.rounding_of("float32"))
    return walk.compare(Tools, np.asarray(found, float), one, "float32")


def test_a_missing_last_column_is_described_as_such():
    right = np.random.RandomState(0).randn(5, 7)
    found = right.copy()
    found[:, -1] = 0
    assert compared(found, right)["message"] == (
        "5 of 35 numbers are wrong, all at index 6 of 7 (the last) along axis 1; each is 0"
    )


def test_a_gradient_of_twice_the_size_is_described_as_such():
    right = np.random.RandomState(0).randn(5, 7)
    assert compared(2 * right, right)["message"] == "all 35 numbers are wrong; each is 2 times what it must be"


def test_a_nan_that_was_swallowed_is_wrong_and_one_that_was_kept_is_not():
    assert "message" in compared([1.0, 0.0], [1.0, np.nan])
    assert "message" in compared([np.nan, 0.0], [1.0, 0.0])
    assert "message" not in compared([1.0, np.nan, np.inf], [1.0, np.nan, np.inf])


def test_a_result_of_another_shape_is_wrong():
    assert compared([1.0], [1.0, 2.0])["message"] == "its shape is (1,), not (2,)"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_written_in_the_language_of_python_3_6(script):
    ast.parse(script.read_text(), feature_version=(3, 6))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_the_standard_library_and_what_it_is_about(script):
    imported = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add(node.module.split(".")[0])
    assert imported <= set(sys.stdlib_module_names) | {"numpy", "torch", "tensorflow", "jax"}


@pytest.fixture
def prove(interpreter_with, monkeypatch, tmp_path):
    """Run the part as the command does, in an empty directory, with what stands before the framework on PYTHONPATH."""

    def run(framework: str = "torch", stubs: Path | None = None, threads: str = "1", **choice: Any) -> dict[str, Proof]:
        package = framework.partition("-")[0]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
        if stubs:
            monkeypatch.setenv("PYTHONPATH", str(stubs))
        told = {"frameworks": (framework,), "by_name": True, "size": "quick", **choice}
        asked = Choice(interpreter=interpreter_with(package), **told)
        return {proof.name: proof for proof in arithmetic.prove(asked, lambda *_: None)}

    return run


def broken(proof: Proof) -> list[str]:
    return [condition.name for condition in proof.conditions if not condition.holds]


def test_a_healthy_torch_computes_rightly_and_trains_the_same_bits_twice(prove):
    proofs = prove()
    assert {name: proof.summary for name, proof in proofs.items() if proof.status is not Status.PASSED} == {}
    assert list(proofs) == ["yardstick", *arithmetic.OPERATIONS, "determinism", "batch-order"]
    linear = proofs["linear"]
    assert [condition.name for condition in linear.conditions] == [
        "float64 forward",
        "float64 gradient",
        "float32 forward",
        "float32 gradient",
    ]
    assert all(0 <= measure.value <= 1 for measure in linear.measures)


FAULTS = """
import torch
functional = torch.nn.functional

def spoil(module, name):
    right = getattr(module, name)
    def decorate(wrong):
        setattr(module, name, lambda *given, **named: wrong(right, *given, **named))
    return decorate

@spoil(functional, "linear")
def last_column_not_written(right, *given):
    found = right(*given)
    with torch.no_grad():
        found[..., -1] = 0
    return found

@spoil(torch, "softmax")
def tail_of_the_sum_lost(right, x, axis):
    weights = torch.exp(x - x.amax(axis, keepdim=True))
    return weights / weights[..., :-1].sum(axis, keepdim=True)

written = {}

@spoil(functional, "silu")
def buffer_of_an_earlier_call(right, x):
    found = right(x)
    earlier = written.get(x.shape, found.detach())
    written[x.shape] = found.detach().clone()
    return found + (earlier - found.detach())[-1] + 1e-3

@spoil(functional, "embedding")
def gradient_of_twice_the_size(right, rows, table):
    found = right(rows, table)
    return found + (found - found.detach())

@spoil(functional, "conv2d")
def sums_in_float16(right, x, kernel, bias, **named):
    if x.dtype is torch.float64:
        return right(x, kernel, bias, **named)
    return right(x.half(), kernel.half(), bias.half(), **named).float()

@spoil(functional, "scaled_dot_product_attention")
def mask_forgotten(right, query, key, value, is_causal):
    return right(query, key, value)

@spoil(torch, "amax")
def nan_swallowed(right, x, *given, **named):
    return right(torch.nan_to_num(x), *given, **named)

@spoil(functional, "layer_norm")
def other_epsilon(right, x, shape, scale, shift, epsilon):
    return right(x, shape, scale, shift, epsilon * 1.001)

calls = []

@spoil(functional, "max_pool2d")
def right_now_and_then(right, x, *given, **named):
    calls.append(1)
    found = right(x, *given, **named)
    return found if len(calls) % 3 else found + 1

class Adam(torch.optim.Adam):
    def __init__(self, parameters, lr, betas, eps):
        super().__init__(parameters, lr=lr, betas=betas, eps=eps / (1 - betas[1]) ** 0.5)

torch.optim.Adam = Adam
"""


@pytest.fixture(scope="module")
def faulty(interpreter_with, tmp_path_factory) -> dict[str, Proof]:
    """The proofs of a torch with a wrong kernel of its own kind in each of ten operations."""
    folder = tmp_path_factory.mktemp("stubs")
    (folder / "torch").mkdir()
    (folder / "torch" / "__init__.py").write_text(SPOILED.format(package="torch", spoil=FAULTS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        # What switches would heal is tested elsewhere; each costs an import.
        patch.setattr(arithmetic.judge, "suspects", lambda *_: [])
        patch.setattr(arithmetic, "TRAININGS", {})
        asked = Choice(interpreter=interpreter_with("torch"), frameworks=("torch",), by_name=True, size="quick")
        return {proof.name: proof for proof in arithmetic.prove(asked, lambda *_: None)}


@pytest.mark.parametrize(
    ("operation", "condition", "words"),
    [
        ("linear", "float32 forward", "index 128 of 129 (the last) along axis 1; each is 0"),
        ("softmax", "float32 forward", "softmax, 7 × 13"),
        ("activations", "float32 forward", "silu"),
        ("embedding", "float64 gradient", "each is 2 times what it must be"),
        ("convolution", "float32 forward", "is allowed"),
        ("dot-product-attention", "float32 gradient", "causal"),
        ("additive-attention", "float64 forward", "is allowed"),
        ("special-values", "float32 forward", "NaN passes through the maximum of a row"),
        ("layer-norm", "float64 forward", "is allowed"),
        ("adam", "float32 forward", "is allowed"),
        ("max-pooling", "float32 forward", "is allowed"),
    ],
)
def test_a_wrong_kernel_is_caught_by_the_name_of_its_operation(faulty, operation, condition, words):
    proof = faulty[operation]
    assert proof.status is Status.FAILED
    assert condition in broken(proof)
    (finding,) = proof.findings
    assert any(words in evidence.text for evidence in finding.evidence)
    assert finding.title.startswith(f"{proof.title} is wrong in ")
    assert finding.remedies


def test_operations_beside_a_wrong_one_stay_right(faulty):
    for operation in ("gradient-descent", "cross-entropy", "lstm", "gru"):
        assert faulty[operation].status is Status.PASSED, faulty[operation].summary


def test_sums_in_float16_where_float32_was_promised_are_told_from_other_errors(faulty):
    proof = faulty["convolution"]
    assert broken(proof) == ["float32 forward", "float32 gradient"]
    assert proof.findings[0].cause == "precision-lowered"
    assert any("rounding to the 11 bits of float16" in evidence.text for evidence in proof.findings[0].evidence)
    assert faulty["linear"].findings[0].cause == "kernel-computes-wrongly"


def test_a_result_that_is_wrong_now_and_then_points_at_the_hardware_and_says_how_sure_it_is(faulty):
    (finding,) = faulty["max-pooling"].findings
    assert (finding.cause, finding.confidence.value) == ("hardware-computes-wrongly", "possible")
    assert any("memtester" in command for remedy in finding.remedies for command in remedy.commands)


# A torch of which next to nothing works: a framework of another kind, an old version, a broken build.
CRASHES_AND_HANGS = """
import ctypes, time, types
__version__ = "1.0"
version = types.SimpleNamespace(cuda=None)
cuda = types.SimpleNamespace(is_available=lambda: False)
backends = types.SimpleNamespace()
float64, float32 = "float64", "float32"
class Tensor:
    shape = ()
    def to(self, *_):
        return self
from_numpy = lambda array: Tensor()
device = lambda name: name
set_num_threads = manual_seed = lambda number: None
functional = types.ModuleType("functional")
functional.layer_norm = lambda *_: time.sleep(600)
functional.embedding = lambda *_: 1 / 0
functional.linear = lambda *_: ctypes.string_at(0)
nn = types.SimpleNamespace(Parameter=lambda tensor: tensor, functional=functional)
"""


def test_a_crash_and_a_hang_are_named_and_the_operations_behind_them_are_tried(prove, stub):
    proofs = prove(stubs=stub(CRASHES_AND_HANGS), timeout_seconds=16.0)
    failures = {name: proof.failure.kind for name, proof in proofs.items() if proof.failure}
    assert failures["linear"] == "signal"
    assert proofs["linear"].summary == "the step 'linear' ended in SIGSEGV (in float64 on cpu)."
    assert failures["layer-norm"] == "timeout"
    assert "in <lambda>" in proofs["layer-norm"].failure.python_stack
    assert "ZeroDivisionError" in proofs["embedding"].conditions[0].seen
    assert proofs["softmax"].status is Status.UNEXAMINED
    assert "not available" in proofs["softmax"].summary


def test_a_framework_that_is_not_installed_is_one_proof_that_says_so(tmp_path):
    import venv

    venv.create(tmp_path / "bare", with_pip=False)
    bare = str(tmp_path / "bare" / "bin" / "python")
    asked = Choice(interpreter=bare, frameworks=("torch",), by_name=True, size="quick")
    (proof,) = arithmetic.prove(asked, lambda *_: None)
    assert proof.findings[0].cause == "package-not-installed"


WRONG_BY_ONEDNN = """
import torch
right = torch.nn.functional.conv2d
def wrong(*given, **named):
    found = right(*given, **named)
    return found * 1.01 if torch.backends.mkldnn.enabled else found
torch.nn.functional.conv2d = wrong
"""

WRONG_BY_THREADS = """
import os, torch
right = torch.nn.functional.layer_norm
def wrong(*given):
    return right(*given) * (1.0 if os.environ.get("OMP_NUM_THREADS") == "1" else 1.01)
torch.nn.functional.layer_norm = wrong
"""


def attempt(*events: dict[str, Any]) -> Attempt:
    """What a child reported that came to its end."""
    begun = [{"event": "devices", "devices": ["cpu"]}, {"event": "framework", "version": "2.0"}]
    return Attempt(
        events=[{"at": 0.0, **event} for event in (*begun, *events, {"event": "end"})], ending=Ending(outcome="ok")
    )


def trained(bits: str, weights: str = "same") -> Attempt:
    events = [
        {
            "event": "evaluated",
            "how": how,
            "loss": loss,
            "ratio": abs(loss - 2.0) / 1e-4,
            "error": abs(loss - 2.0),
            "allowed": 1e-4,
            "message": "" if abs(loss - 2.0) <= 1e-4 else "1 of 1 numbers are wrong",
        }
        for how, loss in (("in one batch", 2.00001), ("in another order", 2.00002 if bits == "a" else 2.1))
    ]
    ended = {"event": "trained", "device": "cpu", "threads": 2, "losses": [2.0], "bits": [bits], "weights": weights}
    return attempt(*events, ended)


TORCH = Target(name="torch", package="torch")
ASKED = Choice(interpreter="python", frameworks=("torch",), size="quick")


def test_two_trainings_that_differ_in_one_bit_are_not_deterministic():
    same, _ = judge.training_proofs(TORCH, ASKED, {"first": trained("a"), "second": trained("a")})
    losses, _ = judge.training_proofs(TORCH, ASKED, {"first": trained("a"), "second": trained("b")})
    weights, _ = judge.training_proofs(TORCH, ASKED, {"first": trained("a"), "second": trained("a", "other")})
    assert same.status is Status.PASSED
    assert (losses.status, broken(losses)) == (Status.FAILED, ["same losses"])
    assert (weights.status, broken(weights)) == (Status.FAILED, ["same weights"])
    assert weights.findings[0].cause == "hardware-computes-wrongly"


def test_a_loss_that_depends_on_the_order_of_the_batch_is_wrong_and_one_that_differs_by_roundoffs_is_not():
    _, right = judge.training_proofs(TORCH, ASKED, {"first": trained("a"), "second": trained("a")})
    _, wrong = judge.training_proofs(TORCH, ASKED, {"first": trained("b"), "second": trained("b")})
    assert right.status is Status.PASSED
    assert {measure.name: measure.value for measure in right.measures}["same bits each way"] == 0.0
    assert (wrong.status, broken(wrong)) == (Status.FAILED, ["in another order"])


def test_a_time_that_did_not_reach_for_the_second_training_leaves_determinism_unexamined():
    proof, _ = judge.training_proofs(TORCH, ASKED, {"first": trained("a")})
    assert proof.status is Status.UNEXAMINED
    assert "--timeout" in proof.summary


def wrong(**more: Any) -> dict[str, Any]:
    event = {
        "event": "wrong",
        "operation": "linear",
        "device": "cpu",
        "dtype": "float32",
        "direction": "forward",
        "case": "7 × 13 × 129",
        "output": "result",
        "kind": "numbers",
        "index": [1, 2],
        "found": 1.0,
        "expected": 2.0,
        "error": 1.0,
        "allowed": 1e-6,
        "message": "1 of 903 numbers are wrong",
    }
    return {**event, **more}


LINEAR = ({"event": "operation", "name": "linear"}, {"event": "operation-end", "name": "linear", "seconds": 0.1})


def test_a_switch_that_leaves_nothing_to_compare_heals_nothing():
    begun, ended = LINEAR
    checked = {"event": "checked", "operation": "linear", "device": "cpu", "dtype": "float32", "direction": "forward"}
    assert judge.right_operations(attempt(begun, checked, ended)) == ["linear"]
    assert judge.right_operations(attempt(begun, ended)) == []
    assert judge.right_operations(attempt(begun, checked, wrong(kind="exception"), ended)) == []


def test_what_is_wrong_now_and_then_is_not_laid_to_a_switch_that_had_luck():
    begun, ended = LINEAR
    switch = judge.suspects(TORCH, [attempt(*LINEAR, wrong())], {}, "x86_64")[0]
    tried = [judge.Tried(switch=switch, healed=["linear"], failed=[])]
    for right_again, cause in ((0, "kernel-computes-wrongly"), (2, "hardware-computes-wrongly")):
        child = attempt(begun, wrong(right_again=right_again), ended)
        proof = next(one for one in judge.proofs_of(TORCH, ASKED, [child], tried) if one.name == "linear")
        assert proof.findings[0].cause == cause
        assert any("mkldnn" in remedy.action for remedy in proof.findings[0].remedies)


def test_what_computes_on_the_processor_though_the_gpu_was_asked_for_is_wrong():
    begun, ended = LINEAR
    on_gpu = wrong(device="cuda:0", kind="device", message="the result lies on cpu, not on cuda:0")
    child = attempt(begun, on_gpu, ended)
    child.events[0]["devices"] = ["cpu", "cuda:0"]
    proof = next(one for one in judge.proofs_of(TORCH, ASKED, [child], []) if one.name == "linear")
    assert (proof.device, proof.status, broken(proof)) == ("cuda:0", Status.FAILED, ["float32 forward"])
    assert "the result lies on cpu, not on cuda:0" in proof.summary


def test_a_crash_on_the_second_device_is_not_laid_to_the_first():
    begun, _ = LINEAR
    trying = [
        {"event": "trying", "operation": "linear", "device": device, "dtype": "float32"} for device in ("cpu", "cuda:0")
    ]
    child = attempt(begun, *trying)
    child.events[0]["devices"] = ["cpu", "cuda:0"]
    del child.events[-1]
    ending = Ending(outcome="signal", signal="SIGSEGV")
    proofs = judge.proofs_of(TORCH, ASKED, [Attempt(events=[{"event": "python"}, *child.events], ending=ending)], [])
    assert {proof.device: proof.failure is None for proof in proofs if proof.name == "linear"} == {
        "cpu": True,
        "cuda:0": False,
    }


def test_a_gradient_that_this_version_cannot_give_leaves_the_operation_unexamined_and_not_passed():
    begun, ended = LINEAR
    checked = {
        "event": "checked",
        "operation": "linear",
        "device": "cpu",
        "dtype": "float32",
        "direction": "forward",
        "cases": 1,
        "numbers": 903,
        "ratio": 0.1,
        "case": "7 × 13 × 129",
        "output": "result",
    }
    missing = {**checked, "event": "unavailable", "direction": "gradient", "reason": "TypeError: no such argument"}
    for events, status in (((checked,), Status.PASSED), ((checked, missing), Status.UNEXAMINED)):
        proofs = judge.proofs_of(TORCH, ASKED, [attempt(begun, *events, ended)], [])
        assert next(one for one in proofs if one.name == "linear").status is status


def test_a_gpu_that_is_wrong_now_and_then_is_to_be_tested_as_a_gpu():
    begun, ended = LINEAR
    child = attempt(begun, wrong(device="cuda:0", right_again=2), ended)
    child.events[0]["devices"] = ["cuda:0"]
    proof = next(one for one in judge.proofs_of(TORCH, ASKED, [child], []) if one.name == "linear")
    assert any("dcgmi" in command for command in proof.findings[0].remedies[0].commands)


@pytest.mark.parametrize(
    ("variables", "machine", "device", "first", "some"),
    [
        ({"ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}, "x86_64", "cpu", "ONEDNN_DEFAULT_FPMATH_MODE", "MKL_CBWR"),
        ({}, "x86_64", "cpu", "", "OPENBLAS_CORETYPE"),
        ({}, "aarch64", "cpu", "", "OPENBLAS_CORETYPE"),
        ({}, "x86_64", "cuda:0", "", "NVIDIA_TF32_OVERRIDE"),
    ],
)
def test_what_fits_the_machine_is_switched_off_and_what_lowers_the_precision_comes_first(
    variables, machine, device, first, some
):
    switches = judge.suspects(TORCH, [attempt(*LINEAR, wrong(device=device))], variables, machine)
    assert not first or list(switches[0].variables) == [first]
    assert any(some in switch.variables for switch in switches)
    assert ("MKL_CBWR" in {name for switch in switches for name in switch.variables}) is (
        machine == "x86_64" and device == "cpu"
    )
    assert all(switch.commands or switch.settings for switch in switches)


def test_a_blas_that_multiplies_wrongly_is_told_and_not_the_frameworks():
    seen = {
        "event": "yardstick",
        **{name: wrong()[name] for name in ("index", "found", "expected", "error", "allowed")},
    }
    child = attempt({**seen, "ratio": 1e6, "message": "1 of 15 numbers are wrong"}, *LINEAR)
    proof = judge.proofs_of(TORCH, ASKED, [child], [])[0]
    assert (proof.name, proof.framework, proof.status) == ("yardstick", "", Status.FAILED)
    assert "OPENBLAS_CORETYPE" in proof.findings[0].remedies[0].commands[0]


@pytest.mark.smoke
def test_the_switch_that_makes_it_right_names_what_is_wrong(prove, spoiled):
    (finding,) = prove(stubs=spoiled(WRONG_BY_ONEDNN))["convolution"].findings
    assert (finding.cause, finding.detail) == ("kernel-computes-wrongly", "oneDNN computes it wrongly here")
    assert "torch.backends.mkldnn.enabled = False" in finding.remedies[0].action


@pytest.mark.smoke
def test_what_one_thread_makes_right_is_blamed_on_threads(prove, spoiled):
    (finding,) = prove(stubs=spoiled(WRONG_BY_THREADS), threads="2")["layer-norm"].findings
    assert "export OMP_NUM_THREADS=1" in finding.remedies[0].commands[0]
    assert any("it is wrong as well computing without oneDNN" in evidence.text for evidence in finding.evidence)


GPU_IN_NAME_ALONE = """
import torch
torch.cuda.is_available = lambda: True
torch.cuda.device_count = lambda: 1
torch.cuda.get_device_name = lambda *_: "made up"
torch.cuda.get_device_capability = lambda *_: (8, 0)
right = torch.Tensor.to
torch.Tensor.to = lambda tensor, where: tensor if str(where).startswith("cuda") else right(tensor, where)
"""


@pytest.mark.smoke
def test_a_framework_that_says_gpu_and_computes_on_the_processor_is_caught_in_every_format(prove, spoiled, monkeypatch):
    monkeypatch.setattr(arithmetic.judge, "suspects", lambda *_: [])
    monkeypatch.setattr(arithmetic, "TRAININGS", {})
    proof = prove(stubs=spoiled(GPU_IN_NAME_ALONE), size="standard", device="cuda")["layer-norm"]
    assert (proof.device, proof.status) == ("cuda:0", Status.FAILED)
    formats = ("float64", "float32", "tf32", "bfloat16", "float16")
    assert broken(proof) == [f"{dtype} forward" for dtype in formats]
    assert "the result lies on cpu, not on cuda:0" in proof.findings[0].evidence[0].text


@pytest.mark.smoke
@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras-tensorflow", "keras-torch"])
def test_every_healthy_framework_computes_rightly_in_every_format(prove, framework):
    proofs = prove(framework, size="standard", timeout_seconds=600.0)
    assert {name: proof.summary for name, proof in proofs.items() if proof.status is not Status.PASSED} == {}
    assert any(condition.name == "float16 forward" for condition in proofs["linear"].conditions)
    assert any(condition.name == "in one batch with one thread" for condition in proofs["batch-order"].conditions)
