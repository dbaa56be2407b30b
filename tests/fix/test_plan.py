"""What is planned, and what is never carried out whatever a check says."""

from __future__ import annotations

import pytest

from envcheck.doctor import diagnose
from envcheck.facts import Facts, Python
from envcheck.fix import page
from envcheck.fix.carry_out import name_of
from envcheck.fix.plan import plan, runnable, why_not
from envcheck.intent import Intent
from envcheck.report import Confidence, Finding, Remedy, Severity

PYTHON = Python(path="/e/bin/python", prefix="/e", environment_kind="venv", pip_version="24.0", state="ok")


def report(*findings: Finding, python: Python = PYTHON):
    import msgspec

    empty = diagnose(Facts(python=python), [], [], Intent())
    return msgspec.structs.replace(empty, findings=list(findings))


def finding(*remedies: Remedy, **more: object) -> Finding:
    fields = {"severity": Severity.ERROR, "title": "it is broken", "check": "it-works"} | more
    return Finding(cause="dependency-conflict", remedies=list(remedies), **fields)


def safe(*commands: str) -> Remedy:
    return Remedy(action="Mend it", commands=list(commands), safe=True)


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /e",
        "/e/bin/python -c 'import os'",
        "/usr/bin/python3 -m pip install numpy",
        "/e/bin/python -m pip install --target /usr/lib numpy",
        "/e/bin/python -m pip install -r requirements.txt",
        "/e/bin/python -m pip install 'numpy @ https://example.org/numpy.whl'",
        "/e/bin/python -m pip install numpy; rm -rf /",
        "/e/bin/python -m pip install numpy && reboot",
        "/e/bin/python -m pip install $(reboot)",
        "/e/bin/python -m pip install",
        "/e/bin/python -m pip download numpy",
        "uv pip install numpy",
        "uv pip install --system numpy",
        "uv pip install --python /usr/bin/python3 numpy",
        "conda install --prefix /e numpy",
        "sudo /e/bin/python -m pip install numpy",
        "export A=1",
        "'",
    ],
)
def test_what_is_no_installation_into_this_environment_is_never_carried_out_though_a_check_calls_it_safe(
    command,
) -> None:
    assert runnable(command, PYTHON) is None
    assert why_not(safe(command), PYTHON)
    planned = plan(report(finding(safe(command))))
    assert planned.steps == []
    assert planned.left[0].why


@pytest.mark.parametrize(
    "command",
    [
        "/e/bin/python -m pip install 'numpy<2'",
        "/e/bin/python -m pip install --force-reinstall --no-deps torch==2.6.0 --index-url https://download.pytorch.org/whl/cpu",
        "/e/bin/python -m pip uninstall -y sklearn",
        "uv pip install --python /e/bin/python --reinstall-package torch torch==2.6.0",
        "uv pip uninstall --python /e/bin/python sklearn",
    ],
)
def test_installers_that_are_told_this_environment_are_carried_out(command) -> None:
    assert runnable(command, PYTHON)
    assert plan(report(finding(safe(command)))).steps[0].commands == [command]


def test_powershell_s_form_of_an_installer_is_carried_out_on_windows() -> None:
    path = r"C:\A B\.venv\Scripts\python.exe"
    python = Python(path=path, prefix=r"C:\A B\.venv", environment_kind="venv", pip_version="24.0")
    assert runnable(f"& '{path}' -m pip install 'numpy<2'", python).arguments == ["numpy<2"]


@pytest.mark.parametrize("kind", ["system", "pyenv", "store", None])
def test_an_interpreter_that_is_no_environment_of_its_own_is_left_alone(kind) -> None:
    python = Python(path="/e/bin/python", prefix="/e", environment_kind=kind)
    assert plan(report(finding(safe("/e/bin/python -m pip install numpy")), python=python)).steps == []


def test_notes_muted_findings_and_unsure_causes_change_nothing() -> None:
    cure = safe("/e/bin/python -m pip install numpy")
    assert plan(report(finding(cure, severity=Severity.NOTE))).steps == []
    assert plan(report(finding(cure, muted=True))).steps == []
    unsure = plan(report(finding(cure, confidence=Confidence.POSSIBLE)))
    assert unsure.steps == []
    assert "not sure enough" in unsure.left[0].why


def test_the_first_remedy_that_a_program_may_carry_out_is_planned() -> None:
    update = Remedy(action="Update the driver", commands=["sudo ubuntu-drivers install"], changes="the driver")
    cure = safe("/e/bin/python -m pip install torch==2.6.0")
    assert plan(report(finding(update, cure))).steps[0].commands == cure.commands
    assert "the system" in plan(report(finding(update))).left[0].why


def test_conda_is_left_to_its_own_history_and_a_project_to_its_lock_file() -> None:
    conda = Remedy(action="Install", commands=["conda install --prefix /e 'numpy<2'"], changes="packages")
    assert "--revision" in plan(report(finding(conda))).left[0].why
    project = Remedy(action="Install", commands=["uv add --project /p 'numpy<2'"], changes="the project's lock file")
    assert "the project's lock file" in plan(report(finding(project))).left[0].why


def test_what_was_tried_is_not_tried_again() -> None:
    first, second = safe("/e/bin/python -m pip install 'numpy<2'"), safe("/e/bin/python -m pip install torch")
    broken = report(finding(first, second))
    assert plan(broken, tried=first.commands).steps[0].commands == second.commands
    assert plan(broken, tried=[*first.commands, *second.commands]).steps == []


def test_terminal_escapes_of_a_machine_do_not_reach_the_page() -> None:
    nasty = finding(safe("/e/bin/python -m pip install numpy"), title="\x1b[31mred\x1b]0;t\x07 [bold]x[/bold]")
    other = finding(Remedy(action="a\x1b[2J", commands=["b\x1b[2J"]), title="\x9b31m")
    broken = report(nasty, other)
    text = page.of_plan(broken, plan(broken), foreign=False)
    assert "\x1b" not in text
    assert "\x9b" not in text
    assert "[bold]x[/bold]" in text


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("numpy==1.26.4", "numpy"),
        ("Typing_Extensions==4.0", "typing-extensions"),
        ("mine @ file:///home/user/mine", "mine"),
        ("-e git+https://example.org/x.git@abc#egg=My_Package", "my-package"),
    ],
)
def test_lines_of_pip_freeze_are_told_apart_by_the_distribution_s_name(line, name) -> None:
    assert name_of(line) == name
