"""Judging PyTorch, TensorFlow and Keras: their imports, their companions, and whether they compute."""

from __future__ import annotations

from typing import Any

import pytest

from envcheck.checks.imports import keras_imports, tensorflow_imports, torch_imports
from envcheck.checks.keras import keras_backend_is_there, keras_fits_tensorflow, legacy_keras_is_there
from envcheck.checks.tensorflow import (
    tensorflow_companions_match,
    tensorflow_computes,
    tensorflow_finds_cuda_libraries,
    tensorflow_fits_numpy,
    tensorflow_fits_protobuf,
)
from envcheck.checks.torch import torch_companions_match, torch_computes, torch_fits_numpy
from envcheck.facts import ComputeDevice, Framework, Gpu, Nvml, Package, Packages, Platform, Python, Variables
from envcheck.report import CheckOutcome, Confidence, Severity
from envcheck.testing import run_check

PYTHON = Python(path="/env/bin/python", version="3.12.1", environment_kind="venv", pip_version="25.0")
LINUX = Platform(system="Linux", machine="x86_64", distribution="ubuntu", libc="glibc", libc_version="2.35")
NO_FILE = "cannot open shared object file: No such file or directory"


def installed(**versions: str) -> Packages:
    found = [Package(name=name.replace("_", "-"), version=version) for name, version in versions.items()]
    return Packages(installed=found, hidden=[], damaged=[], markers={"python_version": "3.12", "sys_platform": "linux"})


def failed(error: str, error_type: str = "ImportError", **fields: Any) -> Framework:
    return Framework(
        **{"name": "torch", "state": "failed", "stage": "import", "error": error, "error_type": error_type} | fields
    )


def commands(finding: Any) -> list[str]:
    return [command for remedy in finding.remedies for command in remedy.commands]


def test_a_framework_that_imports_passes_and_one_that_was_not_tried_is_skipped() -> None:
    assert run_check(torch_imports, torch=Framework(state="ok"))[0] is CheckOutcome.PASS
    assert run_check(torch_imports, torch=Framework(state="not-imported"))[0] is CheckOutcome.SKIP
    assert run_check(torch_imports)[0] is CheckOutcome.SKIP


def test_a_failed_import_is_an_error_with_its_text_and_what_it_explains() -> None:
    _, (finding,) = run_check(torch_imports, torch=failed(f"libcudnn.so.9: {NO_FILE}"), python=PYTHON)
    assert finding.severity is Severity.ERROR
    assert finding.title == "PyTorch cannot be imported: libcudnn.so.9 is not found by the loader"
    assert finding.evidence[0].text.startswith("ImportError: libcudnn.so.9")
    assert "torch-sees-gpu" in finding.explains


def test_a_library_of_the_system_is_installed_with_the_distribution_s_own_command() -> None:
    torch = failed(f"libGL.so.1: {NO_FILE}")
    _, (finding,) = run_check(torch_imports, torch=torch, python=PYTHON, platform=LINUX)
    assert finding.cause == "missing-system-library"
    assert commands(finding) == ["sudo apt-get update", "sudo apt-get install libgl1"]
    assert not finding.remedies[0].safe
    fedora = Platform(system="Linux", distribution="fedora")
    _, (finding,) = run_check(torch_imports, torch=torch, python=PYTHON, platform=fedora)
    assert commands(finding) == ["sudo dnf install mesa-libGL"]


def test_a_system_whose_c_library_is_too_old_is_offered_the_newest_release_that_runs_on_it() -> None:
    old = Platform(system="Linux", machine="x86_64", libc="glibc", libc_version="2.17")
    torch = failed("/lib64/libc.so.6: version `GLIBC_2.28' not found")
    python = Python(path="/env/bin/python", version="3.11.5", environment_kind="venv", pip_version="25.0")
    _, (finding,) = run_check(torch_imports, torch=torch, python=python, platform=old)
    assert finding.cause == "glibc-too-old"
    assert commands(finding)[0].startswith("/env/bin/python -m pip install torch==2.")


def test_a_library_path_that_is_set_is_offered_to_be_unset_first() -> None:
    torch = failed("/a/libcusparse.so.12: undefined symbol: __nvJitLinkCreate_12_4, version libnvJitLink.so.12")
    variables = Variables(values={"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"})
    _, (finding,) = run_check(torch_imports, torch=torch, python=PYTHON, variables=variables)
    assert finding.cause == "cuda-library-conflict"
    assert commands(finding)[0] == "unset LD_LIBRARY_PATH"


def test_protobuf_is_put_back_to_what_tensorflow_asks_for() -> None:
    tensorflow = failed("Descriptors cannot be created directly.", "TypeError", distribution="tensorflow")
    packages = Packages(installed=[Package(name="tensorflow", version="2.9.1", requires=["protobuf<3.20,>=3.9.2"])])
    _, (finding,) = run_check(tensorflow_imports, tensorflow=tensorflow, packages=packages, python=PYTHON)
    assert commands(finding) == ["/env/bin/python -m pip install 'protobuf<3.20,>=3.9.2'"]


def test_a_missing_module_is_installed_under_the_name_of_its_distribution() -> None:
    torch = failed("No module named 'yaml'", "ModuleNotFoundError")
    _, (finding,) = run_check(torch_imports, torch=torch, python=PYTHON)
    assert finding.cause == "package-not-installed"
    assert commands(finding)[0].lower().endswith("install pyyaml")


def test_a_crash_is_told_with_its_signal_and_never_as_certain() -> None:
    torch = Framework(name="torch", state="crash", signal="SIGSEGV", stage="compute")
    _, (finding,) = run_check(torch_imports, torch=torch, python=PYTHON)
    assert finding.title.startswith("PyTorch crashes in a computation (SIGSEGV)")
    assert finding.confidence is Confidence.POSSIBLE


def test_other_candidates_are_named_in_the_detail() -> None:
    keras = failed("Unable to import backend : torhc", "ValueError", stderr="No module named 'jax'")
    _, (finding,) = run_check(keras_imports, keras=keras, python=PYTHON)
    assert finding.cause == "user-code"
    assert "package-not-installed" in finding.detail


@pytest.mark.parametrize(
    "versions",
    [
        {"torch": "2.6.0+cu124", "torchvision": "0.21.0+cu124", "torchaudio": "2.6.0+cu124"},
        {"torch": "2.6.0", "torchvision": "0.21.0"},
        {"torch": "2.6.0+cpu", "torchvision": "0.21.0+cpu"},
        {"torch": "2.6.0"},
        {"torchvision": "0.21.0"},
        {"torch": "99.0.0", "torchvision": "98.0.0"},
    ],
)
def test_companions_that_belong_together_or_are_unknown_are_not_mentioned(versions: dict[str, str]) -> None:
    assert run_check(torch_companions_match, packages=installed(**versions), python=PYTHON, platform=LINUX)[1] == []


def test_a_companion_of_another_release_is_named_with_the_right_version() -> None:
    packages = installed(torch="2.6.0+cu124", torchvision="0.17.0+cu121")
    _, (finding,) = run_check(torch_companions_match, packages=packages, python=PYTHON, platform=LINUX)
    assert finding.cause == "framework-companion-mismatch"
    assert "torchvision==0.21.0" in commands(finding)[0]
    assert "https://download.pytorch.org/whl/cu124" in commands(finding)[0]


def test_a_companion_of_another_accelerator_is_named() -> None:
    packages = installed(torch="2.6.0+cpu", torchvision="0.21.0")
    _, (finding,) = run_check(torch_companions_match, packages=packages, python=PYTHON, platform=LINUX)
    assert "built for cu124, torch for cpu" in finding.title


def test_what_a_companion_s_own_metadata_asks_for_counts_where_no_table_knows_it() -> None:
    vision = Package(name="torchvision", version="98.0.0", requires=["torch==99.1.0"])
    packages = Packages(installed=[Package(name="torch", version="99.0.0"), vision])
    _, (finding,) = run_check(torch_companions_match, packages=packages, python=PYTHON, platform=LINUX)
    assert "needs torch==99.1.0" in finding.title


def test_an_old_torch_beside_numpy_2_is_named_before_anything_is_imported() -> None:
    torch = Framework(name="torch", state="not-imported", metadata_version="2.1.0")
    _, (finding,) = run_check(
        torch_fits_numpy, torch=torch, packages=installed(torch="2.1.0", numpy="2.1.0"), platform=LINUX
    )
    assert finding.cause == "numpy-abi-mismatch"
    assert "numpy<2" in commands(finding)[0]
    new = Framework(name="torch", state="not-imported", metadata_version="2.9.0")
    assert run_check(torch_fits_numpy, torch=new, packages=installed(numpy="2.1.0"), platform=LINUX)[1] == []


def test_torch_s_own_warning_about_numpy_counts_though_it_imports() -> None:
    stderr = "UserWarning: Failed to initialize NumPy: _ARRAY_API not found (Triggered internally)"
    torch = Framework(name="torch", state="ok", version="2.2.1", numpy="2.1.0", stderr=stderr)
    _, (finding,) = run_check(torch_fits_numpy, torch=torch, python=PYTHON, platform=LINUX)
    assert finding.severity is Severity.WARNING


def test_a_device_without_room_for_two_small_matrices_is_in_use_by_somebody_else() -> None:
    devices = [
        ComputeDevice(name="cpu", kind="cpu", computed=True),
        ComputeDevice(name="cuda:0", kind="cuda", computed=False, error="RuntimeError: CUDA error: out of memory"),
        ComputeDevice(name="cuda:1", kind="cuda"),
    ]
    _, (finding,) = run_check(torch_computes, torch=Framework(name="torch", state="ok", devices=devices))
    assert finding.cause == "gpu-in-use"
    assert "cuda:0" in finding.title


def test_a_device_that_does_not_compute_is_an_error_with_the_cause_that_cuda_names() -> None:
    error = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    devices = [ComputeDevice(name="cuda:0", kind="cuda", computed=False, error=error)]
    _, (finding,) = run_check(torch_computes, torch=Framework(name="torch", state="ok", devices=devices))
    assert finding.cause == "gpu-arch-not-in-build"


def test_devices_that_compute_pass() -> None:
    devices = [ComputeDevice(name="CPU:0", kind="cpu", computed=True)]
    found = run_check(tensorflow_computes, tensorflow=Framework(name="tensorflow", state="ok", devices=devices))
    assert found == (CheckOutcome.PASS, [])


def test_companions_of_another_series_of_tensorflow_are_named() -> None:
    packages = installed(tensorflow="2.16.1", tensorflow_text="2.15.0", tf_keras="2.16.0")
    _, (finding,) = run_check(tensorflow_companions_match, packages=packages, python=PYTHON)
    assert "tensorflow-text 2.15.0" in finding.title
    assert "tensorflow-text==2.16." in commands(finding)[0]


def tensorflow_with(requirement: str, **versions: str) -> Packages:
    tensorflow = Package(name="tensorflow", version="2.15.0", requires=[requirement])
    others = [Package(name=name, version=version) for name, version in versions.items()]
    return Packages(installed=[tensorflow, *others], markers={"python_version": "3.11"})


def test_numpy_2_beside_a_tensorflow_for_numpy_1_is_an_abi_mismatch_and_an_older_one_a_conflict() -> None:
    packages = tensorflow_with("numpy<2.0.0,>=1.23.5", numpy="2.1.0")
    _, (finding,) = run_check(tensorflow_fits_numpy, packages=packages, python=PYTHON)
    assert finding.cause == "numpy-abi-mismatch"
    packages = tensorflow_with("numpy<2.0.0,>=1.23.5", numpy="1.19.0")
    _, (finding,) = run_check(tensorflow_fits_numpy, packages=packages, python=PYTHON)
    assert finding.cause == "dependency-conflict"
    packages = tensorflow_with("numpy<2.2.0,>=1.26.0", numpy="2.3.0")
    _, (finding,) = run_check(tensorflow_fits_numpy, packages=packages, python=PYTHON)
    assert finding.cause == "dependency-conflict"


def test_a_protobuf_that_tensorflow_does_not_accept_is_a_mismatch() -> None:
    packages = tensorflow_with("protobuf!=4.21.0,<5.0.0dev,>=3.20.3", protobuf="5.28.3")
    _, (finding,) = run_check(tensorflow_fits_protobuf, packages=packages, python=PYTHON)
    assert finding.cause == "protobuf-mismatch"


def test_a_gpu_that_tensorflow_leaves_out_for_want_of_libraries_is_explained() -> None:
    tensorflow = Framework(
        name="tensorflow",
        state="ok",
        version="2.15.0",
        accelerator="cuda",
        sees_gpu=False,
        gpu_error="Cannot dlopen some GPU libraries. Please make sure",
    )
    nvml = Nvml(state="ok", gpus=[Gpu(index=0, name="A")])
    _, (finding,) = run_check(tensorflow_finds_cuda_libraries, tensorflow=tensorflow, nvml=nvml, python=PYTHON)
    assert finding.cause == "cuda-libraries-missing"
    assert "tensorflow[and-cuda]==2.15.0" in commands(finding)[0]
    assert finding.explains == ["tensorflow-sees-gpu"]
    without = Nvml(state="ok", gpus=[])
    assert run_check(tensorflow_finds_cuda_libraries, tensorflow=tensorflow, nvml=without)[1] == []


@pytest.mark.parametrize(
    ("tensorflow", "keras", "mismatch"),
    [("2.15.0", "3.3.0", True), ("2.15.0", "2.15.0", False), ("2.16.1", "2.15.0", True), ("2.21.0", "3.15.1", False)],
)
def test_keras_must_be_of_tensorflow_s_generation(tensorflow: str, keras: str, mismatch: bool) -> None:
    packages = installed(tensorflow=tensorflow, keras=keras)
    _, findings = run_check(keras_fits_tensorflow, packages=packages, python=PYTHON)
    assert [finding.cause for finding in findings] == (["keras-2-3-mismatch"] if mismatch else [])


def test_a_backend_that_is_not_installed_is_named() -> None:
    variables = Variables(values={"KERAS_BACKEND": "jax"})
    packages = installed(keras="3.15.1", tensorflow_cpu="2.21.0")
    _, (finding,) = run_check(keras_backend_is_there, packages=packages, variables=variables, python=PYTHON)
    assert finding.cause == "package-not-installed"
    assert commands(finding) == ["/env/bin/python -m pip install jax"]
    variables = Variables(values={"KERAS_BACKEND": "tensorflow"})
    assert run_check(keras_backend_is_there, packages=packages, variables=variables)[1] == []


def test_a_backend_that_keras_does_not_know_is_the_user_s_setting() -> None:
    variables = Variables(values={"KERAS_BACKEND": "theano"})
    _, (finding,) = run_check(keras_backend_is_there, packages=installed(keras="3.0.0"), variables=variables)
    assert finding.cause == "user-code"


def test_legacy_keras_needs_its_package() -> None:
    variables = Variables(values={"TF_USE_LEGACY_KERAS": "1"})
    packages = installed(tensorflow="2.17.0", keras="3.5.0")
    _, (finding,) = run_check(legacy_keras_is_there, packages=packages, variables=variables, python=PYTHON)
    assert "'tf-keras==2.17.*'" in commands(finding)[0]
    packages = installed(tensorflow="2.17.0", keras="3.5.0", tf_keras="2.17.0")
    assert run_check(legacy_keras_is_there, packages=packages, variables=variables)[1] == []
