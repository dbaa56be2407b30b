"""The command line as users type it, rightly and wrongly."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest


def envcheck(*arguments: str, cwd: pathlib.Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "envcheck", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd)


def shell(line: str) -> subprocess.CompletedProcess[str]:
    command = ["/bin/sh", "-c", f"{sys.executable} -m envcheck {line}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_lists_every_command_without_importing_more_than_click() -> None:
    from envcheck.commands import COMMANDS

    done = envcheck("--help")
    assert done.returncode == 0
    for name in COMMANDS:
        assert f"  {name} " in done.stdout
    heavy = ("rich", "msgspec", "psutil", "packaging")
    code = f"import sys, envcheck.commands; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert envcheck("--version").stdout == f"envcheck {version('envcheck-ml')}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["dcotor"], "Did you mean 'doctor'?"),
        (["doctor", "--pyhton", "x"], "--python"),
        (["doctor", "--python", "/nowhere/python"], "no interpreter at /nowhere/python"),
        (["doctor", "--require", "gpsu>=1"], "no requirement"),
        (["doctor", "--only", "no-such-check"], "envcheck checks"),
        (["doctor", "--replay", "/nowhere.json"], "/nowhere.json"),
        (["doctor", "--timeout", "soon"], "soon"),
        (["explain", "nothing-like-it-at-all"], "no check and no cause"),
        (["explain", "driver-too-odl"], "driver-too-old"),
    ],
)
def test_wrong_usage_is_one_line_on_standard_error_and_exit_code_two(arguments: list[str], words: str) -> None:
    done = envcheck(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert words in done.stderr


def test_a_wrong_configuration_file_is_named(tmp_path: pathlib.Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.envcheck]\nrequire = 3\n")
    done = envcheck("doctor", "--quick", cwd=tmp_path)
    assert done.returncode == 2
    assert "pyproject.toml" in done.stderr


def test_the_json_report_is_valid_by_the_printed_schema() -> None:
    import jsonschema

    schema = json.loads(envcheck("schema").stdout)
    done = envcheck("doctor", "--quick", "--json")
    report = json.loads(done.stdout)
    jsonschema.validate(report, schema)
    assert {"schema_version", "verdict", "findings", "facts", "probes", "checks"} <= report.keys()
    assert done.stderr == ""


def test_explain_prints_the_manual_of_a_check_and_the_checks_of_a_cause() -> None:
    checks = json.loads(envcheck("checks", "--json").stdout)
    first = checks[0]
    page = envcheck("explain", first["check"]).stdout
    assert first["requires"] in page
    assert first["check"] in envcheck("explain", first["causes"][0]).stdout


def test_there_are_at_least_forty_checks_and_each_is_a_manual() -> None:
    from envcheck.causes import meaning

    checks = json.loads(envcheck("checks", "--json").stdout)
    assert len(checks) >= 40
    assert len({check["check"] for check in checks}) == len(checks)
    for check in checks:
        assert check["requires"].endswith("."), check["check"]
        assert check["causes"], check["check"]
        assert all(meaning(cause) for cause in check["causes"]), check["check"]


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell")
def test_a_reader_that_has_gone_is_no_error() -> None:
    done = shell("doctor --quick -v | head -1")
    assert "Traceback" not in done.stderr
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="a POSIX shell")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", ">&- 2>&- <&-"])
def test_closed_standard_streams_are_no_error(closed: str) -> None:
    done = shell(f"doctor --quick {closed}")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


def test_a_defect_of_our_own_is_one_line_that_says_where_and_what_to_do(tmp_path: pathlib.Path) -> None:
    code = (
        "import envcheck.check, envcheck.commands\n"
        "envcheck.check.all_checks = lambda: 1 // 0\n"
        "import sys; sys.argv = ['envcheck', 'checks']; envcheck.commands.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    assert "ZeroDivisionError" in done.stderr
    assert "ENVCHECK_TRACEBACK=1" in done.stderr


@pytest.mark.parametrize("form", [[], ["-v"], ["--json"]])
def test_a_report_on_a_paste_names_no_person_no_machine_and_no_secret(form: list[str], tmp_path: pathlib.Path) -> None:
    paste = tmp_path / "paste.txt"
    paste.write_text(
        "(env) alice@rosenberg:~/spine$ nvidia-smi\n"
        "Failed to initialize NVML: Driver/library version mismatch\n"
        "$ env\nMASTER_ADDR=10.3.4.5\nHF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz123456\n"
        "$ pip install torch --index-url https://bob:geheim@wheels.example.com/simple\n"
        '  File "/home/alice/spine/train.py", line 3, in <module>\n'
        "ImportError: /home/alice/spine/env/lib/libcudnn.so.8: cannot open shared object file\n"
    )
    done = envcheck("doctor", "--from", str(paste), *form)
    assert done.returncode == 1
    for planted in ("alice", "rosenberg", "10.3.4.5", "hf_abc", "geheim"):
        assert planted not in done.stdout


def test_a_finding_of_smoke_can_be_explained() -> None:
    page = envcheck("explain", "smoke").stdout
    assert "--distributed" in page
    assert "float64" in page
