"""Requirements from ENVCHECK_REQUIRE, for whoever has no file to write to."""

from __future__ import annotations

import pytest

from envcheck import configuration
from envcheck.intent import UsageError
from envcheck.system import Recording


def required(text: str) -> list[str]:
    system = Recording({"getenv ENVCHECK_REQUIRE": text})
    return [item.text for item in configuration.read(system, ["docker"], []).requirements]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("gpus>=1", ["gpus>=1"]),
        ("gpus >= 1, gpu-memory >= 20 GiB", ["gpus >= 1", "gpu-memory >= 20 GiB"]),
        ("python>=3.10,<3.13,torch.cuda", ["python>=3.10,<3.13", "torch.cuda"]),
        ("gpus>=1; shm>=1GiB;\n torch ", ["gpus>=1", "shm>=1GiB", "torch"]),
        ("", []),
        (" ; ", []),
    ],
)
def test_several_requirements_can_be_written_into_one_variable(text: str, expected: list[str]) -> None:
    assert required(text) == [*expected, "docker"]


def test_a_requirement_that_is_none_is_named_with_its_variable() -> None:
    with pytest.raises(UsageError, match="ENVCHECK_REQUIRE: 'gpu>=1' is no requirement"):
        required("gpu>=1")
