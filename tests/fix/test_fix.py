"""`envcheck fix`, as a user runs it, on environments that are really broken."""

from __future__ import annotations

import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from fix.conftest import make_slow_source
from running import ROOT, left_running, run_cli, start_cli, variables_for

CONFLICT = ("beta<2",)


def break_versions(bench) -> None:
    """Install two packages of which one does not accept the other, and offer what would do."""
    bench.install("alpha", "1.0", requires=CONFLICT)
    bench.install("beta", "2.0")
    bench.offer("beta", "1.5")


def test_a_healthy_environment_has_nothing_to_mend(bench) -> None:
    bench.install("alpha", "1.0")
    ran = bench.fix()
    assert ran.code == 0
    assert "Nothing to mend" in ran.stdout


def test_without_apply_the_plan_is_printed_and_nothing_is_changed(bench) -> None:
    break_versions(bench)
    before = bench.snapshot()
    ran = bench.fix("--dry-run")
    assert ran.code == 1
    assert f"{bench.python} -m pip install 'beta<2'" in ran.stdout
    assert "Nothing was changed" in ran.stdout
    assert bench.snapshot() == before
    assert list(bench.state.rglob("*.json")) == []


def test_apply_mends_a_version_conflict_and_undo_brings_the_former_version_back(bench) -> None:
    break_versions(bench)
    ran = bench.fix("--apply")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert bench.versions() == {"alpha": "1.0", "beta": "1.5"}
    assert "[done]" in ran.stdout
    assert "envcheck fix --undo" in ran.stdout
    (record,) = bench.state.rglob("*.json")
    assert "beta==2.0" in json.loads(record.read_text())["before"]
    undone = bench.fix("--undo")
    assert undone.code == 0, undone.stdout + undone.stderr
    assert "brought back  beta==2.0" in undone.stdout
    assert bench.versions() == {"alpha": "1.0", "beta": "2.0"}
    assert bench.fix("--undo").code == 2


def test_undo_leaves_alone_what_the_user_has_installed_since(bench) -> None:
    break_versions(bench)
    assert bench.fix("--apply").code == 0
    bench.install("omega", "1.0")
    assert bench.fix("--undo").code == 0
    assert bench.versions() == {"alpha": "1.0", "beta": "2.0", "omega": "1.0"}


def test_an_environment_without_pip_is_mended_with_uv(bench_without_pip) -> None:
    bench = bench_without_pip
    break_versions(bench)
    plan = bench.fix()
    assert f"uv pip install --python {bench.python} 'beta<2'" in plan.stdout
    ran = bench.fix("--apply")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert bench.versions() == {"alpha": "1.0", "beta": "1.5"}
    assert bench.fix("--undo").code == 0
    assert bench.versions() == {"alpha": "1.0", "beta": "2.0"}


def test_what_an_added_package_brought_is_removed_by_undo(bench) -> None:
    bench.install("alpha", "1.0", requires=("gamma",))
    bench.offer("gamma", "1.0", requires=("delta",))
    bench.offer("delta", "3.0")
    ran = bench.fix("--apply")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert bench.versions() == {"alpha": "1.0", "gamma": "1.0", "delta": "3.0"}
    undone = bench.fix("--undo")
    assert "removed" in undone.stdout
    assert bench.versions() == {"alpha": "1.0"}


def test_a_step_that_the_index_cannot_serve_fails_with_its_words_and_leaves_every_file_as_it_was(bench) -> None:
    bench.install("alpha", "1.0", requires=CONFLICT)
    bench.install("beta", "2.0")
    before = bench.snapshot()
    ran = bench.fix("--apply")
    assert ran.code == 1
    assert "[failed]" in ran.stdout
    assert "No matching distribution found for beta<2" in ran.stdout
    assert "The environment is as it was before." in ran.stdout
    assert bench.snapshot() == before
    assert list(bench.state.rglob("*.json")) == []


def test_online_leaves_out_what_the_index_cannot_serve_before_anything_is_changed(bench) -> None:
    bench.install("alpha", "1.0", requires=CONFLICT)
    bench.install("beta", "2.0")
    ran = bench.fix("--online")
    assert ran.code == 1
    assert "the package index cannot serve it" in ran.stdout
    assert "What envcheck can mend" not in ran.stdout


def test_a_step_that_does_not_mend_is_taken_back(bench) -> None:
    # The wheel that is offered says one version and its metadata needs what brings the conflict back.
    bench.install("alpha", "1.0", requires=("beta<2", "gamma"))
    bench.install("beta", "2.0")
    bench.install("gamma", "1.0", requires=("beta>=2",))
    bench.offer("beta", "1.5")
    before = bench.versions()
    ran = bench.fix("--apply")
    assert ran.code == 1
    assert bench.versions() == before


def test_a_step_that_breaks_a_framework_is_taken_back_and_the_error_is_named(bench) -> None:
    source = (
        "import beta\nif beta.__version__ == '1.5':\n    raise ImportError('beta is too old')\n__version__ = '2.9.0'\n"
    )
    break_versions(bench)
    bench.install("torch", "2.9.0", source=source)
    before = bench.versions()
    ran = bench.fix("--apply")
    assert ran.code == 1
    assert "made something else worse" in ran.stdout
    assert "beta is too old" in ran.stdout
    assert bench.versions() == before


def test_numpy_2_beside_a_torch_for_numpy_1_is_replaced(bench) -> None:
    bench.install("torch", "2.1.0", source="__version__ = '2.1.0'\n", requires=("numpy",))
    bench.install("numpy", "2.1.0")
    bench.offer("numpy", "1.26.4")
    ran = bench.fix("--apply", "--only", "torch-fits-numpy")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert bench.versions()["numpy"] == "1.26.4"


def test_a_companion_of_another_release_is_replaced_by_the_one_of_this_torch(bench) -> None:
    bench.install("torch", "2.6.0")
    bench.install("torchvision", "0.15.2")
    bench.offer("torchvision", "0.21.0")
    ran = bench.fix("--apply", "--only", "torch-companions-match")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert bench.versions() == {"torch": "2.6.0", "torchvision": "0.21.0"}


def test_two_versions_in_one_folder_become_one(bench) -> None:
    bench.install("alpha", "1.0")
    bench.install("alpha", "2.0")
    ran = bench.fix("--apply", "--only", "each-package-is-there-once")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert bench.versions() == {"alpha": "2.0"}


def test_the_environment_of_envcheck_itself_is_not_changed_unless_it_is_named(bench) -> None:
    break_versions(bench)
    # Nothing is active and there is no .venv here, so that envcheck examines the interpreter that runs it.
    start = f"import sys; sys.path += {[str(ROOT), *sys.path]!r}; from envcheck.commands import main; main()"
    command = [bench.python, "-c", start, "fix", "--apply"]
    done = subprocess.run(
        command,
        env=variables_for(bench.variables, "own"),
        cwd=bench.here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "name one with --python" in done.stderr
    assert bench.versions()["beta"] == "2.0"


def test_a_plan_for_a_recorded_machine_is_printed_and_never_carried_out() -> None:
    recording = str(ROOT / "tests" / "machines" / "server-driver-too-old.json")
    ran = run_cli(["fix", "--replay", recording])
    assert ran.code == 1
    assert "What would mend it there:" in ran.stdout
    assert "--index-url https://download.pytorch.org/whl/cu118" in ran.stdout
    assert "other machines" in run_cli(["fix", "--apply", "--replay", recording]).stderr


def test_a_plan_for_a_paste_names_what_is_left_to_the_user(tmp_path) -> None:
    paste = tmp_path / "paste.txt"
    paste.write_text("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 550.90\n")
    ran = run_cli(["fix", "--from", str(paste)])
    assert ran.code == 1
    assert "Left to you:" in ran.stdout


def test_a_file_of_the_user_s_that_hides_a_module_is_never_touched(bench) -> None:
    bench.install("torch", "2.9.0")
    mine = bench.here / "torch.py"
    mine.write_text("print('mine')\n")
    ran = bench.fix("--apply")
    assert ran.code == 1
    assert mine.read_text() == "print('mine')\n"
    assert "Left to you:" in ran.stdout
    assert "mv " in ran.stdout


def test_a_run_that_was_killed_in_the_middle_of_a_step_is_undone_to_the_last_byte(bench) -> None:
    from envcheck.facts import Python
    from envcheck.fix import environment, record

    bench.install("alpha", "1.0", requires=("gamma",))
    bench.offer("gamma", "1.0")
    before = bench.snapshot()
    python = Python(
        path=bench.python, prefix=str(bench.folder), site_packages=str(bench.site_packages), pip_version="24"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(bench.state))
        path, written = record.new(python, environment.installed(python))
    import msgspec

    gone = msgspec.structs.replace(written, copy=str(environment.copy(python)), process=0x7FFFFFFF)
    record.write(path, gone)
    (bench.site_packages / "alpha" / "__init__.py").unlink()
    (bench.site_packages / "~lpha").mkdir()
    refused = bench.fix("--apply", "--only", "requirements-hold", "--only", "metadata-is-whole")
    assert refused.code == 2
    assert "was broken off" in refused.stderr
    undone = bench.fix("--undo")
    assert undone.code == 0, undone.stdout + undone.stderr
    assert bench.snapshot() == before
    assert not (bench.folder / ".envcheck-undo").exists()


def test_ctrl_c_in_the_middle_of_a_step_leaves_the_environment_as_it_was_and_says_so(bench) -> None:
    bench.install("alpha", "1.0", requires=CONFLICT)
    bench.install("beta", "2.0")
    begun = bench.here.parent / "begun"
    make_slow_source(bench.wheels, "beta", "1.5", begun)
    before = bench.snapshot()
    arguments = ["fix", "--apply", "--python", bench.python, "--only", "requirements-hold"]
    with start_cli(arguments, env=bench.variables, cwd=bench.here, mark="ctrl-c") as process:
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr.decode()
    assert "broken off by you" in stdout.decode()
    assert "The environment is as it was before." in stdout.decode()
    assert bench.snapshot() == before
    assert not left_running("ctrl-c", 2.0)


def test_json_tells_what_was_done(bench) -> None:
    break_versions(bench)
    plan = json.loads(bench.fix("--json").stdout)
    assert [step["state"] for step in plan["steps"]] == ["planned"]
    answer = json.loads(bench.fix("--json", "--apply").stdout)
    assert [step["state"] for step in answer["steps"]] == ["done"]
    assert answer["left"] == []
    assert pathlib.Path(answer["record"]).is_file()
    assert json.loads(bench.fix("--json", "--undo").stdout)["restored"] == ["beta==2.0"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--apply", "--undo"], "give one of them"),
        (["--apply", "--from", "-"], "other machines"),
        (["something"], "fix takes no argument"),
        (["--undo", "--python", sys.executable], "changed nothing"),
    ],
)
def test_options_that_do_not_go_together_are_refused_in_one_line(tmp_path, arguments, words) -> None:
    ran = run_cli(["fix", *arguments], env={"XDG_STATE_HOME": str(tmp_path)}, cwd=tmp_path)
    assert ran.code == 2
    assert words in ran.stderr
    assert len(ran.stderr.splitlines()) == 1
