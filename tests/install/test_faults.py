"""Whatever goes wrong: one sentence that says what, what was there stays whole, nothing is left half-built."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from conftest import SERIES, Certificate, basic_wheels, plan_of, request_of
from package_index import Index, sdist, serving, wheel

from envcheck.install import generations
from envcheck.install.build import Report, build
from envcheck.install.faults import Fault, FaultError
from envcheck.install.generations import Place
from envcheck.plan import Plan, Wanted
from envcheck.system import Live

pytestmark = pytest.mark.usefixtures("index")


def made(project: Path, plan: Plan | None = None, **more: object) -> Report:
    return build(request_of(plan or plan_of(), project, **more), Live(), lambda *_: None)


def fault_of(project: Path, plan: Plan | None = None, **more: object) -> Fault:
    with pytest.raises(FaultError) as caught:
        made(project, plan, **more)
    fault = caught.value.fault
    assert fault.sentence
    assert fault.change
    assert_nothing_left(project)
    return fault


def assert_nothing_left(project: Path) -> None:
    """No generation is half-built, and no file of a swap is left."""
    for one in generations.listed(Place(project)):
        assert one.usable
    assert not list(project.rglob("*.new"))
    assert not list(project.rglob("*.aside"))


@pytest.fixture
def old(project: Path) -> Path:
    """A project with an environment that works."""
    made(project)
    return project


def assert_old_works(project: Path) -> None:
    ended = subprocess.run([project / ".venv/bin/python", "-c", "import torch"], check=False, capture_output=True)
    assert ended.returncode == 0


def test_an_index_that_cannot_be_reached_is_named(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    fault = fault_of(old)
    assert fault.kind == "index-unreachable"
    assert "http://127.0.0.1:9/simple" in fault.sentence
    assert "--wheelhouse" in fault.change
    assert_old_works(old)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        ("404", "not-found", "torch==2.13.0+cpu (PyTorch)"),
        ("403", "index-answers", "403"),
        ("500", "index-answers", "500"),
        ("garbage", "not-found", "torch==2.13.0+cpu (PyTorch)"),
        ("truncated", "wheel-damaged", "damaged or cut off"),
        ("wrong hash", "hash-mismatch", "checksum"),
    ],
)
def test_an_index_that_misbehaves_is_said_to_do_so(
    project: Path, index: Index, answer: str, kind: str, words: str
) -> None:
    index.fault = answer
    fault = fault_of(project)
    assert (fault.kind, words in fault.sentence) == (kind, True), fault
    assert not (project / ".venv").exists()


def test_an_index_that_only_drips_is_given_up(project: Path, index: Index) -> None:
    index.fault = "slow"
    fault = fault_of(project, deadline=4.0)
    assert fault.kind in {"too-slow", "index-slow"}


def test_a_certificate_that_nobody_knows_is_named_and_pips_own_setting_cures_it(
    project: Path, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(certificate.server) as secure:
        secure.add(*basic_wheels())
        monkeypatch.setenv("PIP_INDEX_URL", secure.url)
        fault = fault_of(project)
        assert fault.kind == "certificate-unknown"
        assert "global.cert" in fault.change
        monkeypatch.setenv("PIP_CERT", str(certificate.authority))
        assert made(project).generation == 1


def test_a_proxy_that_asks_who_you_are_is_named(project: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.invalid/simple")
    monkeypatch.setenv("PIP_PROXY", index.address)
    fault = fault_of(project)
    assert fault.kind == "proxy-required", fault
    assert any(line.startswith("CONNECT packages.invalid") for line in index.asked)


def test_passwords_in_addresses_are_not_shown(project: Path, index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.url.replace("://", "://somebody:geheim@"))
    index.fault = "500"
    fault = fault_of(project)
    assert "geheim" not in f"{fault.sentence} {fault.evidence}"
    assert any(index.authorizations)


@pytest.fixture
def mounted(tmp_path: Path):
    """Mount a small file system in memory; not everybody may."""
    folder = tmp_path / "mounted"
    umount = shutil.which("umount") or "umount"
    folder.mkdir()

    def mount(options: str) -> Path:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.name != "posix" or subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("only root may mount a small file system")
        return folder

    yield mount
    subprocess.run([umount, "-l", str(folder)], check=False, capture_output=True)


def test_a_disk_that_fills_up_in_the_middle_is_named(mounted) -> None:
    full = mounted("size=300k")
    fault = fault_of(full)
    assert fault.kind == "disk-full"


def test_a_read_only_target_is_named(mounted) -> None:
    target = mounted("size=300k,ro")
    fault = fault_of(target)
    assert fault.kind == "read-only"
    assert str(target) in fault.sentence


def test_a_target_without_permission_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever runs the tests may be root, for whom no permission is missing.
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(project / ".envs"))

    monkeypatch.setattr(Path, "mkdir", refuse)
    fault = fault_of(project)
    assert fault.kind == "no-permission"
    assert str(project / ".envs") in fault.sentence


def test_an_externally_managed_python_is_no_obstacle(project: Path) -> None:
    system_python = Path("/usr/bin/python3")
    marker = list(Path("/usr/lib").glob("python3.*/EXTERNALLY-MANAGED"))
    if not system_python.exists() or not marker:
        pytest.skip("this machine's own Python is not externally managed")
    series = subprocess.check_output(
        [system_python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    )
    plan = plan_of()
    python = type(plan.python)(series=series.strip(), path=str(system_python))
    assert made(project, type(plan)(**{**fields(plan), "python": python})).generation == 1


def fields(plan: Plan) -> dict[str, object]:
    return {name: getattr(plan, name) for name in plan.__struct_fields__}


def test_requirements_that_exclude_each_other_are_told_in_terms_of_the_wish(project: Path, index: Index) -> None:
    index.add(wheel("old-tool", "1", requires=("filelock<3",)))
    plan = plan_of(
        Wanted(text="torch==2.13.0+cpu", why="PyTorch"),
        Wanted(text="old-tool", why="pyproject.toml, project.dependencies"),
        Wanted(text="filelock>=3", why="requirements.txt, line 7"),
    )
    fault = fault_of(project, plan)
    assert fault.kind == "conflict"
    assert "old-tool (pyproject.toml, project.dependencies)" in fault.sentence
    assert "filelock>=3 (requirements.txt, line 7)" in fault.sentence


def test_a_package_without_a_wheel_for_this_python_is_named(project: Path, index: Index) -> None:
    index.add(wheel("only-old", "1.0", tag="cp36-cp36m-manylinux_2_17_x86_64"))
    fault = fault_of(project, plan_of(Wanted(text="only-old", why="requirements.txt, line 1")))
    assert "only-old" in fault.sentence
    assert "no wheel" in fault.sentence
    assert "--python" in fault.change


def test_a_package_that_needs_another_python_is_named(project: Path, index: Index) -> None:
    index.add(wheel("too-new", "1.0", requires_python=">=3.99"))
    fault = fault_of(project, plan_of(Wanted(text="too-new", why="requirements.txt, line 1")))
    assert fault.kind == "python-too-old"
    assert "3.99" in fault.sentence


def test_source_code_without_a_compiler_is_named(project: Path, index: Index) -> None:
    index.add(
        sdist("needs-compiler", "1.0", "raise SystemExit(\"error: command 'gcc' failed: No such file or directory\")")
    )
    fault = fault_of(project, plan_of(Wanted(text="needs-compiler", why="requirements.txt, line 1")))
    assert fault.kind == "build-failed"
    assert "needs-compiler" in fault.sentence
    assert "gcc" in fault.sentence


def test_a_framework_that_cannot_be_imported_is_not_swapped_in(old: Path, index: Index) -> None:
    index.add(wheel("torch", "2.14.0", content="raise ImportError('libcudart.so.12: cannot open shared object file')"))
    plan = plan_of(Wanted(text="torch==2.14.0", why="PyTorch"), version="2.14.0")
    fault = fault_of(old, plan)
    assert fault.kind == "does-not-import"
    assert any("libcudart.so.12" in line for line in fault.evidence)
    assert_old_works(old)
    assert [one.number for one in generations.listed(Place(old)) if one.current] == [1]


def test_a_version_other_than_the_planned_one_is_not_swapped_in(project: Path, index: Index) -> None:
    index.add(wheel("torch", "2.14.0", requires=("filelock",)))
    plan = plan_of(Wanted(text="torch==2.14.0", why="PyTorch"), version="2.15.0")
    fault = fault_of(project, plan)
    assert fault.kind == "wrong-version"


def test_two_set_ups_at_once_do_not_meet(project: Path) -> None:
    with generations.locked(Place(project)):
        fault = fault_of(project)
    assert fault.kind == "held"
    assert str(os.getpid()) in fault.sentence
    assert made(project).generation == 1


def test_a_missing_home_is_no_obstacle(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("UV_CACHE_DIR")
    assert made(project).generation == 1


def test_a_folder_with_blanks_and_letters_beyond_ascii_works(project: Path) -> None:
    report = made(project)
    assert " " in report.environment
    assert_old_works(project)
    scripts = [path for path in (project / ".venv/bin").iterdir() if path.is_file() and not path.is_symlink()]
    assert scripts
    assert (project / ".venv/pyvenv.cfg").read_text().count(SERIES)


def killed(plan_file: Path, project: Path, point: int) -> subprocess.CompletedProcess[str]:
    script = Path(__file__).with_name("killed_set_up.py")
    command = [sys.executable, str(script), str(plan_file), str(project), str(point)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX")
def test_killed_with_sigkill_at_ten_points_the_old_environment_is_whole_and_the_next_set_up_clears_up(
    old: Path, tmp_path: Path
) -> None:
    plan_file = tmp_path / "plan.json"
    plan_file.write_bytes(msgspec.json.encode(plan_of()))
    ended = killed(plan_file, old, 0)
    assert ended.returncode == 0, ended.stderr
    events = int(ended.stdout)
    points = [round(1 + number * (events - 1) / 9) for number in range(10)]
    assert len(set(points)) == 10
    for point in points:
        assert killed(plan_file, old, point).returncode == -signal.SIGKILL, point
        assert_old_works(old)
    report = made(old)
    assert_nothing_left(old)
    assert_old_works(old)
    assert [one.number for one in generations.listed(Place(old)) if one.current] == [report.generation]


def test_half_written_records_after_a_power_cut_are_cleared_away(old: Path) -> None:
    place = Place(old)
    place.generation(2).mkdir()
    place.record(2).mkdir()
    (place.record(2) / "state.json").write_bytes(b'{"state": "rea')
    place.generation(3).mkdir()
    (place.folder / "current.new").symlink_to("gen-3")
    report = made(old)
    assert report.removed == [2, 3]
    assert [one.number for one in generations.listed(place)] == [1, report.generation]
    assert_old_works(old)
