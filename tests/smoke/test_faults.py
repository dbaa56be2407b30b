"""Frameworks, interpreters and terminals that misbehave: the right sentence, the right exit code, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SEGFAULT = "import ctypes\nctypes.string_at(0)\n"
HANG = "import time\ntime.sleep(600)\n"
WITH_GRANDCHILD = "import subprocess, time\nsubprocess.Popen(['sleep', '600'])\ntime.sleep(600)\n"


def test_a_framework_that_segfaults_when_imported_is_named_with_its_signal_and_its_stack(smoke, stub):
    ran = smoke("--framework", "torch", "--json", stubs=stub(SEGFAULT))
    failure = ran.result()["failure"]
    assert ran.code == 1
    assert (failure["step"], failure["kind"], failure["signal"]) == ("import", "signal", "SIGSEGV")
    assert "torch/__init__.py" in failure["python_stack"]
    assert "Traceback" not in ran.stderr


def test_a_segfault_is_one_clear_sentence_on_the_page(smoke, stub):
    ran = smoke("--framework", "torch", stubs=stub(SEGFAULT))
    assert ran.code == 1
    assert ran.stdout.count("the step 'import' ended in SIGSEGV") == 1
    assert "torch/__init__.py" in ran.stdout


def test_a_framework_that_hangs_ends_at_the_deadline_and_says_where_it_hung(smoke, stub, nothing_is_left):
    began = time.monotonic()
    ran = smoke("--framework", "torch", "--timeout", "1.5", "--json", stubs=stub(WITH_GRANDCHILD))
    assert time.monotonic() - began < 6
    failure = ran.result()["failure"]
    assert ran.code == 1
    assert (failure["step"], failure["kind"]) == ("import", "timeout")
    assert "torch/__init__.py" in failure["python_stack"]
    nothing_is_left(1.0)


def test_a_framework_that_leaves_the_interpreter_is_told_from_one_that_trains(smoke, stub):
    ran = smoke("--framework", "torch", "--json", stubs=stub("import os\nos._exit(0)\n"))
    failure = ran.result()["failure"]
    assert ran.code == 1
    assert (failure["step"], failure["kind"], failure["exit_code"]) == ("import", "exit", 0)


def test_a_framework_that_calls_exit_is_told_too(smoke, stub):
    ran = smoke("--framework", "torch", "--json", stubs=stub("raise SystemExit('no licence')\n"))
    failure = ran.result()["failure"]
    assert ran.code == 1
    assert (failure["type"], failure["message"]) == ("SystemExit", "no licence")


def test_a_framework_that_prints_a_megabyte_and_no_text_does_no_harm(smoke, stub):
    source = (
        "import os\nprint('x' * 1000000)\nos.write(1, b'\\xff\\xfe\\x1b[31m')\nos.write(2, b'\\xff' * 1000000)\n"
        "raise ImportError('libcudnn.so.9: cannot open shared object file: No such file or directory')\n"
    )
    ran = smoke("--framework", "torch", "--json", stubs=stub(source))
    failure = ran.result()["failure"]
    assert ran.code == 1
    assert "libcudnn.so.9" in failure["message"]
    assert len(failure["stderr"]) <= 4000
    assert "\x1b" not in ran.stdout


def test_a_failure_is_handed_to_the_checks_of_doctor_which_name_its_cause(smoke, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    (site,) = environment.glob("[Ll]ib/**/site-packages")
    (site / "torch").mkdir()
    (site / "torch" / "__init__.py").write_text(
        "raise ImportError('libcudnn.so.9: cannot open shared object file: No such file or directory')\n"
    )
    (site / "torch-2.9.0.dist-info").mkdir()
    (site / "torch-2.9.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.9.0\n")
    findings = smoke("--framework", "torch", "--json", "--python", str(environment)).result()["findings"]
    assert findings[0]["cause"] == "cuda-libraries-missing"


def test_terminal_escapes_and_markup_of_an_error_reach_the_page_as_text(smoke, stub):
    ran = smoke("--framework", "torch", stubs=stub("raise ImportError('\\x1b]0;owned\\x07 [red]stop[/red]')\n"))
    assert ran.code == 1
    assert "\x1b" not in ran.stdout
    assert "[red]stop[/red]" in ran.stdout


def test_a_file_of_the_working_directory_that_shadows_the_framework_is_the_cause(smoke, tmp_path):
    (tmp_path / "here" / "torch.py").write_text("print('mine')\n")
    ran = smoke("--framework", "torch", "--json")
    result = ran.result()
    assert ran.code == 1
    assert result["failure"]["cause"] == "shadowed-module"
    assert result["framework_file"] == str(tmp_path / "here" / "torch.py")
    assert result["findings"][0]["cause"] == "shadowed-module"


def test_a_shadowing_file_that_fails_is_still_the_cause(smoke, tmp_path):
    (tmp_path / "here" / "torch.py").write_text("import torch\nmodel = torch.nn.Linear(1, 1)\n")
    failure = smoke("--framework", "torch", "--json").result()["failure"]
    assert (failure["kind"], failure["cause"], failure["type"]) == ("shadowed", "shadowed-module", "AttributeError")


def test_a_file_that_shadows_the_standard_library_does_not_stop_the_examination(smoke, stub, tmp_path):
    (tmp_path / "here" / "json.py").write_text("raise RuntimeError('mine')\n")
    failure = smoke("--framework", "torch", "--json", stubs=stub("raise ImportError('theirs')\n")).result()["failure"]
    assert failure["message"] == "theirs"


def test_what_is_left_of_an_installation_is_called_broken(smoke, tmp_path, bare_python):
    (tmp_path / "stubs" / "torch" / "lib").mkdir(parents=True)
    arguments = ("--framework", "torch", "--python", bare_python, "--json")
    assert smoke(*arguments, stubs=tmp_path / "stubs").result()["failure"]["cause"] == "broken-install"


def test_a_framework_asked_for_by_name_that_is_not_installed_is_an_error_with_a_cure(smoke, bare_python):
    ran = smoke("--framework", "torch", "--python", bare_python, "--json")
    result = ran.result()
    assert ran.code == 1
    assert result["failure"]["cause"] == "package-not-installed"
    assert result["findings"][0]["remedies"][0]["commands"] == [f"{bare_python} -m pip install torch"]


def test_of_all_frameworks_none_at_all_is_an_error(smoke, bare_python):
    ran = smoke("--python", bare_python, "--json")
    assert ran.code == 1
    assert [result["failure"]["kind"] for result in ran.json()["results"]] == ["not-installed", "not-installed"]


def test_of_all_frameworks_one_that_is_absent_is_left_out_and_said_so(smoke, stub, bare_python):
    ran = smoke("--python", bare_python, "--json", stubs=stub("raise ImportError('broken')\n"))
    assert {result["framework"]: result["status"] for result in ran.json()["results"]} == {
        "tensorflow": "absent",
        "torch": "failed",
    }
    assert "TensorFlow is not installed: left out." in ran.json()["summary"]


def test_every_python_gets_an_answer(smoke, any_python):
    ran = smoke("--framework", "torch", "--python", any_python, "--epochs", "1", "--samples", "20", "--json")
    result = ran.result()
    assert "Traceback" not in ran.stderr
    if (result["failure"] or {}).get("kind") == "start":
        assert ran.code == 3
        assert "is Python 2.7" in result["failure"]["reason"]
    else:
        assert ran.code in {0, 1}
        assert result["python_version"]
        assert result["failure"] is None or result["failure"]["kind"] == "not-installed"


@pytest.mark.parametrize("program", ["/bin/true", "/bin/echo", "/etc/passwd", "/bin/yes"])
def test_what_is_no_python_is_said_to_be_none(smoke, program, nothing_is_left):
    if not Path(program).exists() and not Path("/usr" + program).exists():
        pytest.skip(f"no {program}")
    ran = smoke("--framework", "torch", "--python", program, "--timeout", "10", "--json")
    assert ran.code == 3
    assert ran.json()["verdict"] == "unknown"
    assert program in ran.result()["failure"]["reason"]
    nothing_is_left(1.0)


def test_an_interpreter_that_has_gone_is_said_to_have_gone(smoke, tmp_path):
    (tmp_path / "python").symlink_to(tmp_path / "gone")
    ran = smoke("--framework", "torch", "--python", str(tmp_path / "python"), "--json")
    assert ran.code == 3
    assert "cannot be started" in ran.result()["failure"]["reason"]


def test_an_interpreter_that_was_never_there_is_wrong_usage(smoke, tmp_path):
    ran = smoke("--python", str(tmp_path / "python"))
    assert ran.code == 2
    assert "There is no interpreter" in ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--device", "gpu"), ("--epochs", "0"), ("--samples", "5"), ("--framework", "caffe"), ("--data", "/nowhere")],
)
def test_wrong_usage_is_one_line(smoke, arguments):
    ran = smoke(*arguments)
    assert (ran.code, ran.stdout) == (2, "")
    assert len(ran.stderr.splitlines()) == 1


@pytest.mark.parametrize("moment", [0.05, 0.15, 0.25, 0.4, 0.8])
def test_an_interrupt_at_any_moment_leaves_nothing_running_after_a_second(start, stub, nothing_is_left, moment):
    with start("--framework", "torch", stubs=stub(WITH_GRANDCHILD)) as process:
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        nothing_is_left(1.0)
        _, stderr = process.communicate(timeout=5)
    # So early that Python itself is only starting, its own words are shown.
    assert process.returncode in {130, -signal.SIGINT, 1}
    if process.returncode == 130:
        assert "Traceback" not in stderr.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_while_it_trains_ends_all_and_says_so(start, stub, nothing_is_left, number):
    with start("--framework", "torch", stubs=stub(WITH_GRANDCHILD)) as process:
        assert b"importing" in process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(number)
        nothing_is_left(1.0)
        _, stderr = process.communicate(timeout=5)
    assert process.returncode == 130
    assert stderr.decode().split("\n")[-2:] == ["envcheck: interrupted; nothing is left running", ""]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's death")
def test_even_a_killed_envcheck_leaves_no_training_behind(start, stub, nothing_is_left):
    with start("--framework", "torch", stubs=stub(HANG)) as process:
        process.stdout.readline()
        time.sleep(0.3)
        process.kill()
        nothing_is_left(1.0)


def test_a_reader_that_has_gone_does_not_change_the_verdict(start, stub):
    with start("--framework", "torch", stubs=stub("raise ImportError('broken')\n")) as process:
        process.stdout.close()
        stderr = process.stderr.read().decode()
        code = process.wait(30)
    assert code == 1
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "variables",
    [{"TERM": "dumb"}, {"LANG": "C", "LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"HOME": "/nowhere"}, {"PATH": ""}],
)
def test_a_poor_terminal_or_a_poor_environment_shows_the_same_page(smoke, stub, variables):
    ran = smoke("--framework", "torch", stubs=stub("raise ImportError('k\\u00e4se')\n"), variables=variables)
    assert ran.code == 1
    assert "the step 'import' ended in ImportError: k" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_a_terminal_gets_a_bar_and_its_cursor_back(start, stub):
    terminal, side = pytest.importorskip("pty").openpty()
    variables = {"TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    with start(
        "--framework",
        "torch",
        stubs=stub("import time\ntime.sleep(0.6)\nraise ImportError('broken')\n"),
        stdout=side,
        stderr=subprocess.DEVNULL,
        variables=variables,
    ) as process:
        os.close(side)
        shown = b""
        while True:
            try:
                chunk = os.read(terminal, 65536)
            except OSError:
                break
            if not chunk:
                break
            shown += chunk
        assert process.wait(30) == 1
    os.close(terminal)
    assert b"importing" in shown
    assert shown.rindex(b"\x1b[?25h") < shown.rindex(b"ended in ImportError")


def test_quiet_says_the_verdict_alone(smoke, stub):
    ran = smoke("--framework", "torch", "-q", stubs=stub("raise ImportError('broken')\n"))
    assert ran.stdout.splitlines() == ["ERROR    this environment does not train as it must"]


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    """An environment that has no package at all."""
    import venv

    venv.create(tmp_path / "bare", with_pip=False, symlinks=os.name == "posix")
    return str(tmp_path / "bare" / "bin" / "python")
