"""The arithmetic part: references and tolerances by themselves, then frameworks, healthy and with planted faults."""

from __future__ import annotations

import ast
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from envcheck.smoke import arithmetic
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

    def run(framework: str = "torch", stubs: Path | None = None, **choice: Any) -> dict[str, Proof]:
        package = framework.partition("-")[0]
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
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


FORGETS_THE_LAST_COLUMN = """
import torch
right = torch.nn.functional.linear
def wrong(x, weight, bias=None):
    found = right(x, weight, bias)
    with torch.no_grad():
        found[..., -1] = 0
    return found
torch.nn.functional.linear = wrong
"""


def test_a_kernel_that_does_not_write_the_last_column_is_caught_by_name(prove, spoiled):
    proofs = prove(stubs=spoiled(FORGETS_THE_LAST_COLUMN))
    proof = proofs["linear"]
    assert proof.status is Status.FAILED
    assert "float32 forward" in broken(proof)
    (finding,) = proof.findings
    assert finding.cause == "kernel-computes-wrongly"
    assert "linear map is wrong in float64 on cpu (torch)" in finding.title
    assert "index 128 of 129 (the last) along axis 1" in finding.evidence[0].text
    assert proofs["softmax"].status is Status.PASSED
