"""Judging the interpreter and its environment."""

from __future__ import annotations

from envcheck.checks.python import (
    environment_can_be_installed_into,
    environment_comes_first,
    environment_fits_its_interpreter,
    interpreter_runs,
    modules_are_not_shadowed,
    python_is_supported,
)
from envcheck.facts import Framework, Package, Packages, Python, Shadow, Variables
from envcheck.intent import Intent
from envcheck.report import CheckOutcome, Requirement, Severity
from envcheck.testing import run_check

VENV = Python(
    path="/env/bin/python",
    state="ok",
    version="3.12.1",
    environment_kind="venv",
    made_for_version="3.12.1",
    search_path=["", "/env/lib/python3.12/site-packages"],
    shadows=[],
    pip_version="25.0",
    free_threaded=False,
    site_packages_writable=True,
    externally_managed=False,
    user_site="/home/me/.local/lib/python3.12/site-packages",
    user_site_enabled=False,
    python_path=[],
)


def changed(**fields: object) -> Python:
    import msgspec

    return msgspec.structs.replace(VENV, **fields)


def test_a_healthy_environment_passes_every_check() -> None:
    packages = Packages(installed=[Package(name="pip", version="25.0")], hidden=[], damaged=[], conda_managed=[])
    for check in (interpreter_runs, environment_fits_its_interpreter, modules_are_not_shadowed):
        assert run_check(check, python=VENV)[0] is CheckOutcome.PASS
    for check in (environment_comes_first, python_is_supported, environment_can_be_installed_into):
        assert run_check(check, python=VENV, packages=packages)[0] is CheckOutcome.PASS


def test_an_interpreter_of_which_nothing_is_known_is_not_judged() -> None:
    assert run_check(interpreter_runs, python=Python(version="3.12.1"))[0] is CheckOutcome.SKIP
    assert run_check(modules_are_not_shadowed, python=Python(version="3.12.1"))[0] is CheckOutcome.SKIP


def test_a_broken_link_is_a_broken_environment() -> None:
    dead = Python(path="/env/bin/python", state="broken-link", detail="a link to nothing", base_missing="/opt/py/bin")
    _, (finding,) = run_check(interpreter_runs, python=dead)
    assert finding.cause == "virtualenv-broken"
    assert any("/opt/py/bin" in evidence.text for evidence in finding.evidence)


def test_a_python_that_crashes_under_pythonhome_is_the_variable_s_fault() -> None:
    _, (finding,) = run_check(
        interpreter_runs,
        python=Python(path="python", state="crash", detail="Fatal Python error", base_missing=""),
        variables=Variables(values={"PYTHONHOME": "/opt/python"}),
    )
    assert finding.remedies[0].commands == ["unset PYTHONHOME"]


def test_a_python_without_a_release_is_only_worth_a_note_where_nothing_is_asked() -> None:
    _, findings = run_check(python_is_supported, python=changed(version="3.99.0", made_for_version="3.99.0"))
    assert [finding.severity for finding in findings] == [Severity.NOTE]


def test_a_python_without_a_release_is_an_error_where_the_framework_is_required() -> None:
    intent = Intent(requirements=[Requirement(text="tensorflow>=2"), Requirement(text="torch.cuda")])
    _, findings = run_check(python_is_supported, python=changed(version="3.99.0"), intent=intent)
    assert {finding.severity for finding in findings} == {Severity.ERROR}
    assert len(findings) == 2


def test_an_environment_made_for_another_version_has_lost_its_packages() -> None:
    _, (finding,) = run_check(environment_fits_its_interpreter, python=changed(made_for_version="3.11.4"))
    assert finding.severity is Severity.ERROR
    assert run_check(environment_fits_its_interpreter, python=changed(made_for_version="3.12.0"))[1] == []


def test_a_copy_in_the_user_s_folder_that_hides_the_environment_s_is_named_with_both_versions() -> None:
    python = changed(environment_kind="conda", user_site_enabled=True)
    packages = Packages(
        installed=[Package(name="numpy", version="1.26.4", location=VENV.user_site or "")],
        hidden=[Package(name="numpy", version="2.1.0", location="/env/lib/python3.12/site-packages")],
    )
    _, (finding,) = run_check(environment_comes_first, python=python, packages=packages)
    assert finding.cause == "user-site-leak"
    assert "1.26.4" in finding.title
    assert "2.1.0" in finding.title
    assert run_check(environment_comes_first, python=VENV, packages=packages)[1] == []


def test_a_folder_on_pythonpath_that_hides_the_environment_s_copy_is_named() -> None:
    packages = Packages(
        installed=[Package(name="torch", version="1.13.0", location="/shared/site")],
        hidden=[Package(name="torch", version="2.9.0", location="/env/lib/python3.12/site-packages")],
    )
    _, (finding,) = run_check(environment_comes_first, python=changed(python_path=["/shared/site"]), packages=packages)
    assert finding.remedies[0].commands == ["unset PYTHONPATH"]


def test_a_leak_explains_the_import_that_names_it_and_no_other() -> None:
    packages = Packages(
        installed=[Package(name="protobuf", version="3.20.3", location="/shared/site")],
        hidden=[Package(name="protobuf", version="6.32.0", location="/env/lib/python3.12/site-packages")],
    )
    named = Framework(name="tensorflow", state="failed", error="cannot import name 'x' from 'google.protobuf'")
    other = Framework(name="torch", state="failed", error="libcudnn.so.9: cannot open shared object file")
    _, (finding,) = run_check(
        environment_comes_first,
        python=changed(python_path=["/shared/site"]),
        packages=packages,
        tensorflow=named,
        torch=other,
    )
    assert "tensorflow-imports" in finding.explains
    assert "torch-imports" not in finding.explains


def test_a_shadowed_framework_is_an_error_and_a_shadowed_module_that_nobody_blames_a_warning() -> None:
    shadows = [
        Shadow(module="torch", path="/w/torch.py", hides="installed package"),
        Shadow(module="random", path="/w/random.py", hides="standard library"),
        Shadow(module="mypackage", path="/w/mypackage", hides="installed package"),
    ]
    tensorflow = Framework(name="tensorflow", state="not-imported")
    _, findings = run_check(modules_are_not_shadowed, python=changed(shadows=shadows), tensorflow=tensorflow)
    assert [(finding.severity, "random" in finding.title) for finding in findings] == [
        (Severity.ERROR, False),
        (Severity.WARNING, True),
    ]


def test_a_shadow_beside_which_the_framework_imports_is_only_worth_a_note() -> None:
    shadows = [
        Shadow(module="calendar", path="/w/calendar.py", hides="standard library"),
        Shadow(module="numpy", path="/w/numpy.py", hides="installed package"),
    ]
    torch = Framework(name="torch", state="ok")
    _, findings = run_check(modules_are_not_shadowed, python=changed(shadows=shadows), torch=torch)
    assert [finding.severity for finding in findings] == [Severity.NOTE, Severity.WARNING]


def test_a_shadow_that_the_error_names_is_the_cause_of_the_failed_import() -> None:
    torch = Framework(
        name="torch",
        state="failed",
        error="cannot import name 'Random' from partially initialized module 'random' (/w/random.py)",
        traceback='File "/w/random.py", line 1',
    )
    shadows = [Shadow(module="random", path="/w/random.py", hides="standard library")]
    _, (finding,) = run_check(modules_are_not_shadowed, python=changed(shadows=shadows), torch=torch)
    assert finding.severity is Severity.ERROR
    assert finding.explains == ["torch-imports"]


def test_a_system_python_is_worth_a_note_and_no_more() -> None:
    system = changed(environment_kind="system", externally_managed=True)
    _, (finding,) = run_check(environment_can_be_installed_into, python=system)
    assert finding.severity is Severity.NOTE
