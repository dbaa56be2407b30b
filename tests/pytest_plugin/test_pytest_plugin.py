"""The plug-in as users of pytest meet it, on recorded machines."""

from __future__ import annotations

import pathlib

import pytest

import envcheck.render.terminal  # noqa: F401 - a run inside this one forgets what it imports first
from envcheck import pytest_plugin, recording
from envcheck.check import all_checks
from envcheck.doctor import Examined, examine
from envcheck.probe import all_probes

pytest_plugins = ["pytester"]

all_checks()
MACHINES = pathlib.Path(__file__).parent.parent / "machines"
WITH_GPU = MACHINES / "vm-h200.json"
WITHOUT_GPU = MACHINES / "laptop-conda-without-gpu.json"

QUIET = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:timeout"]
"""Plug-ins that cost time in each run and have no part in it."""
TESTS = """
import pytest

@pytest.mark.requires("gpus>=1")
def test_on_a_gpu(): pass

@pytest.mark.requires("python>=3.6", "cores>=1")
def test_anywhere(): pass

def test_unmarked(): pass
"""


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of machines that an examination goes through; each examination is noted behind them."""
    played: list[str] = []

    def play(*, quick: bool) -> Examined:
        recorded = recording.load(played[0])
        played.append("quick" if quick else "whole")
        return examine(recorded.system, recorded.interpreter, all_probes(), quick=quick)

    monkeypatch.setattr(pytest_plugin, "_examine", play)
    return played


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*QUIET, "-p", "no:xdist", "-rsfE", *arguments)


def test_a_test_whose_requirement_holds_runs(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITH_GPU))
    pytester.makepyfile(TESTS)
    run(pytester).assert_outcomes(passed=3)
    assert on[1:] == ["quick"]


def test_a_test_whose_requirement_fails_is_skipped_with_the_cause(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITHOUT_GPU))
    path = pytester.makepyfile(TESTS)
    result = run(pytester)
    result.assert_outcomes(passed=2, skipped=1)
    result.stdout.re_match_lines([rf"SKIPPED \[1\] {path.name}:\d+: requires gpus>=1: .+ \[[a-z-]+\].*"])


def test_it_fails_where_the_environment_must_be_right(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITHOUT_GPU))
    pytester.makepyfile(TESTS)
    result = run(pytester, "--strict-env")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["requires gpus>=1: *"])
    assert result.ret == 1


def test_the_verdict_stands_in_the_header(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITH_GPU))
    pytester.makepyfile(TESTS)
    result = run(pytester, "--envcheck")
    result.stdout.fnmatch_lines(["envcheck: OK  PyTorch 2.11.0+cu130 computes on cpu and cuda; 1 × NVIDIA H200"])
    assert on[1:] == ["whole"]


def test_the_run_ends_before_its_tests_where_what_is_declared_fails(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITHOUT_GPU))
    pytester.makepyfile(TESTS)
    pytester.makepyprojecttoml('[tool.envcheck]\nrequire = ["gpus>=1"]\n')
    result = run(pytester, "--envcheck", "--strict-env")
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*envcheck: ERROR *envcheck doctor says more*"])
    result.stdout.no_fnmatch_line("*passed*")


def test_what_is_required_of_a_framework_needs_its_import_once(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITH_GPU))
    pytester.makepyfile(TESTS + '\n@pytest.mark.requires("torch.cuda")\ndef test_torch(): pass\n')
    run(pytester).assert_outcomes(passed=4)
    assert on[1:] == ["whole"]


def test_a_run_without_markers_examines_nothing(pytester: pytest.Pytester, on: list[str]) -> None:
    pytester.makepyfile("def test_a(): pass\n")
    run(pytester, "--strict-env").assert_outcomes(passed=1)
    assert on == []


def test_fixtures_give_the_report_the_facts_and_the_gpus(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITH_GPU))
    pytester.makepyprojecttoml('[tool.envcheck]\nrequire = ["gpus>=2"]\n')
    pytester.makepyfile(
        """
        def test_report(envcheck_report):
            assert envcheck_report.verdict.value == "error"
            assert [requirement.text for requirement in envcheck_report.requirements] == ["gpus>=2"]

        def test_facts(envcheck_facts):
            assert envcheck_facts.driver.module_version

        def test_gpus(envcheck_gpus):
            assert [gpu.name for gpu in envcheck_gpus] == ["NVIDIA H200"]
        """
    )
    run(pytester).assert_outcomes(passed=3)
    assert on[1:] == ["whole"]


class Marked:
    """A test with one marker, as far as the plug-in looks at it."""

    nodeid = "test_a.py::test_it"

    def __init__(self, *arguments: object, **keywords: object) -> None:
        self.marker = pytest.mark.requires(*arguments, **keywords).mark

    def iter_markers(self, name: str) -> list[pytest.Mark]:
        return [self.marker] if name == "requires" else []


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (Marked("gpu"), "@pytest.mark.requires: 'gpu' is no requirement; known are "),
        (Marked("gpus=1"), "@pytest.mark.requires: gpus=1 is no comparison; try gpus>=1"),
        (Marked(1), "@pytest.mark.requires takes requirements as text: "),
        (Marked("gpus>=1", reason="x"), "@pytest.mark.requires takes requirements as text: "),
    ],
)
def test_a_wrong_requirement_is_named_with_its_test(item: Marked, sentence: str) -> None:
    with pytest.raises(pytest.UsageError) as error:
        pytest_plugin.required_by(item)  # type: ignore[arg-type]
    assert str(error.value).startswith(f"test_a.py::test_it: {sentence}")
    assert "\n" not in str(error.value)


def test_a_wrong_requirement_ends_the_run_in_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_a='import pytest\n@pytest.mark.requires("gpu")\ndef test_it(): pass\n')
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.stderr.lines if line.startswith("ERROR")]
    assert line.startswith("ERROR: test_a.py::test_it: @pytest.mark.requires: 'gpu' is no requirement")


def test_a_wrong_configuration_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml("[tool.envcheck]\nneed = []\n")
    pytester.makepyfile("def test_a(): pass\n")
    result = run(pytester, "--envcheck")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: envcheck: *has no key 'need'*"])


def test_a_requirement_of_a_class_counts_for_its_tests_and_adds_to_theirs(
    pytester: pytest.Pytester, on: list[str]
) -> None:
    on.append(str(WITHOUT_GPU))
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.requires("cores>=1")
        class TestAll:
            def test_a(self): pass

            @pytest.mark.requires("gpus>=1")
            def test_b(self): pass
        """
    )
    run(pytester).assert_outcomes(passed=1, skipped=1)


def test_the_markers_are_known_and_strict_markers_are_content(pytester: pytest.Pytester, on: list[str]) -> None:
    on.append(str(WITH_GPU))
    pytester.makepyfile(TESTS)
    run(pytester, "--strict-markers").assert_outcomes(passed=3)
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.requires(requirement, …): skip the test *"])


def test_a_run_that_does_not_ask_for_it_imports_nothing_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_what_is_imported():
            ours = sorted(name for name in sys.modules if name.split(".")[0] in {"envcheck", "msgspec", "psutil"})
            assert ours == ["envcheck", "envcheck.pytest_plugin"]
        """
    )
    result = pytester.runpytest_subprocess(*QUIET, "-p", "no:xdist", "-q")
    result.assert_outcomes(passed=1)


CONFTEST = """
import envcheck.pytest_plugin as plugin
from envcheck import recording
from envcheck.doctor import examine
from envcheck.probe import all_probes

def played(*, quick):
    with open({log!r}, "a") as file:
        file.write("examined\\n")
    recorded = recording.load({machine!r})
    return examine(recorded.system, recorded.interpreter, all_probes(), quick=quick)

plugin._examine = played
"""
MANY = "import pytest\n" + "".join(
    f'@pytest.mark.requires("gpus>=1")\ndef test_{number}(): pass\n' for number in range(6)
)


WRONG = '@pytest.mark.requires("gpu")\ndef test_wrong(): pass\n'


@pytest.mark.parametrize("option", [[], ["--envcheck"]])
def test_workers_share_one_examination_and_name_a_wrong_requirement(
    option: list[str], pytester: pytest.Pytester
) -> None:
    log = pytester.path / "log"
    pytester.makeconftest(CONFTEST.format(log=str(log), machine=str(WITHOUT_GPU)))
    pytester.makepyfile(test_a=MANY + WRONG)
    result = pytester.runpytest_subprocess(*QUIET, "-n2", "-rsE", *option)
    result.assert_outcomes(skipped=6, errors=1)
    assert log.read_text().splitlines() == ["examined"]
    result.stdout.re_match_lines([r"SKIPPED \[.*requires gpus>=1: .+"])
    result.stdout.fnmatch_lines(["*test_a.py::test_wrong: @pytest.mark.requires: 'gpu' is no requirement*"])


def test_this_very_environment_is_examined(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.requires("python>=3.10", "cores>=1")
        def test_it(): pass
        """
    )
    run(pytester).assert_outcomes(passed=1)
