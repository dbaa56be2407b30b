"""Frameworks that crash, hang, leave, print rubbish, or lack what they need: each gives a right answer."""

from __future__ import annotations

import pathlib

import pytest
from running import Ran, doctor, finding

VERSION = "__version__ = '2.9.0'\n"


def check_of(ran: Ran) -> dict[str, object]:
    """Return the fact group of torch."""
    group: dict[str, object] = ran.report["facts"]["torch"]
    return group


def test_a_framework_whose_import_segfaults_is_named_with_the_signal(environment, here) -> None:
    environment.install("torch", "import ctypes\nctypes.string_at(0)\n")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert ran.first["check"] == "torch-imports"
    assert "SIGSEGV" in ran.first["title"]
    assert any(
        "string_at" in evidence["text"] or "__init__.py:2" in evidence["text"] for evidence in ran.first["evidence"]
    )
    assert check_of(ran)["stage"] == "import"


def test_a_framework_whose_import_hangs_is_ended_and_the_line_that_waits_is_shown(environment, here) -> None:
    environment.install("torch", "import time\ndef wait_for_ever():\n    time.sleep(1000)\nwait_for_ever()\n")
    ran = doctor("--python", environment.python, "--timeout", "4", cwd=here)
    assert ran.code == 1
    assert ran.seconds < 12
    assert "hangs" in ran.first["title"]
    assert any("wait_for_ever" in evidence["text"] for evidence in ran.first["evidence"])


def test_a_framework_that_leaves_the_process_is_named_with_its_exit_status(environment, here) -> None:
    environment.install("torch", "import os\nos._exit(3)\n")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert "exit status 3" in ran.first["title"]


def test_a_framework_that_calls_sys_exit_is_named_too(environment, here) -> None:
    environment.install("torch", "import sys\nsys.exit('licence expired')\n")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert "ends the whole process" in ran.first["title"]


def test_a_megabyte_on_standard_output_is_no_answer_of_the_framework_s(environment, here) -> None:
    environment.install("torch", VERSION + 'print(\'{"kind": "absent"}\\n\' * 60000)\n')
    ran = doctor("--python", environment.python, cwd=here)
    assert check_of(ran)["version"] == "2.9.0"
    assert len(ran.stdout) < 200_000


def test_output_that_is_not_utf_8_is_shown_with_stand_ins(environment, here) -> None:
    source = "import os\nos.write(1, b'\\xff\\xfe\\x1b[31m caf\\xe9\\n')\nraise ImportError('caf\\xe9 \\udcff')\n"
    environment.install("torch", source)
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert "cannot be imported" in ran.first["title"]


def test_a_missing_libcudnn_is_named_and_the_wheel_that_brings_it(environment, here) -> None:
    error = "libcudnn.so.9: cannot open shared object file: No such file or directory"
    needs = ("nvidia-cudnn-cu12==9.10.2.21; platform_system == 'Linux'",)
    environment.install("torch", f"raise ImportError({error!r})\n", requires=needs)
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert ran.first["cause"] == "cuda-libraries-missing"
    assert "libcudnn.so.9" in ran.first["title"]
    assert any("nvidia-cudnn-cu12==9.10.2.21" in command for command in ran.first["remedies"][0]["commands"])


def test_a_library_that_the_loader_itself_does_not_find_is_told_apart_from_one_of_cuda(environment, here) -> None:
    environment.install("torch", "import ctypes\nctypes.CDLL('libGL.so.1.that.is.not.there')\n")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert ran.first["cause"] in {"missing-system-library", "broken-install"}


def test_numpy_s_abi_error_is_named_as_such(environment, here) -> None:
    source = (
        "import sys\n"
        "print('A module that was compiled using NumPy 1.x cannot be run in\\nNumPy 2.1.0 as it may crash.',"
        " file=sys.stderr)\n"
        "raise ImportError('numpy.core.multiarray failed to import')\n"
    )
    environment.install("torch", source, "2.1.0")
    environment.describe("numpy", "2.1.0")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert ran.first["cause"] == "numpy-abi-mismatch"
    assert any("numpy<2" in command for remedy in ran.first["remedies"] for command in remedy["commands"])


def test_a_torch_py_of_the_user_s_own_is_named_and_never_run(environment, here: pathlib.Path) -> None:
    environment.install("torch", VERSION)
    (here / "torch.py").write_text("open('it-ran', 'w').close()\n")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert ran.first["cause"] == "shadowed-module"
    assert str(here / "torch.py") in ran.first["title"]
    assert not (here / "it-ran").exists()


def test_a_random_py_of_the_user_s_own_is_the_cause_of_the_framework_s_failure(environment, here) -> None:
    environment.install("torch", "import random\nrandom.Random(3)\n" + VERSION)
    (here / "random.py").write_text("print('my own random numbers')\n")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert ran.first["cause"] == "shadowed-module"
    assert [consequence["check"] for consequence in ran.first["consequences"]] == [
        "torch-imports",
        "no-message-tells-of-a-fault-of-the-environment",
    ]


def test_a_virtual_environment_folder_or_a_test_folder_shadows_nothing(environment, here: pathlib.Path) -> None:
    for name in ("venv", "test", "email", "torch"):
        (here / name).mkdir()
    (here / "test" / "__init__.py").touch()
    environment.install("torch", VERSION)
    ran = doctor("--python", environment.python, "--only", "modules-are-not-shadowed", cwd=here)
    assert ran.report["findings"] == []


def test_an_own_keras_py_without_keras_is_not_run_and_not_called_keras(environment, here: pathlib.Path) -> None:
    (here / "keras.py").write_text("open('it-ran', 'w').close()\n")
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 0
    assert "keras" not in ran.report["facts"]
    assert not (here / "it-ran").exists()


def test_a_framework_that_computes_wrongly_is_an_error(environment, here) -> None:
    source = VERSION + (
        "class Tensor:\n"
        "    def matmul(self, other): return self\n"
        "    def tolist(self): return [[0.0] * 16] * 16\n"
        "def tensor(values, device): return Tensor()\n"
    )
    environment.install("torch", source)
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert "came out wrong" in ran.first["title"]


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "keras"])
def test_a_package_that_lost_its_init_file_is_a_broken_installation(environment, here, framework: str) -> None:
    package = environment.install(framework, VERSION)
    (package / "__init__.py").unlink()
    (package / "left.txt").touch()
    ran = doctor("--python", environment.python, cwd=here)
    assert ran.code == 1
    assert ran.first["cause"] == "broken-install"


def test_one_framework_that_crashes_does_not_hide_the_other(environment, here) -> None:
    environment.install("torch", "import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    environment.install("tensorflow", "raise ImportError('Descriptors cannot be created directly.')\n", "2.11.0")
    ran = doctor("--python", environment.python, cwd=here)
    causes = {finding["check"]: finding["cause"] for finding in ran.report["findings"]}
    assert causes["torch-imports"] == "cpu-instructions-missing"
    assert causes["tensorflow-imports"] == "protobuf-mismatch"


def test_a_keras_that_tensorflow_leaves_for_later_is_imported_beside_it(environment, here) -> None:
    source = "__version__ = '2.15.0'\nclass config:\n    list_physical_devices = staticmethod(lambda: [])\n"
    environment.install("tensorflow", source, "2.15.0")
    environment.install("keras", "raise ImportError(\"No module named 'keras.src.engine'\")\n", "2.15.0")
    ran = doctor("--python", environment.python, cwd=here)
    assert finding(ran, "keras-imports")["cause"] == "keras-2-3-mismatch"
    assert ran.report["facts"]["tensorflow"]["version"] == "2.15.0"
