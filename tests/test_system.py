"""The door to the machine: programs that hang, crash, flood or are no programs; files that are not there."""

from __future__ import annotations

import os
import pathlib
import sys
import threading
import time

import pytest

from envcheck.system import OUTPUT_LIMIT, Live, Recorder, Recording

posix = pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")


def python(code: str, deadline: float = 20, **options: object) -> object:
    return Live().run([sys.executable, "-c", code], deadline, **options)  # type: ignore[arg-type]


def alive(process_id: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{process_id}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_a_program_that_ends_gives_its_exit_code_and_both_streams() -> None:
    done = python("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")
    assert (done.outcome, done.exit_code, done.stdout, done.stderr) == ("ok", 3, "out\n", "err\n")


@posix
def test_a_program_that_hangs_is_killed_at_its_deadline_with_all_that_it_started(tmp_path: pathlib.Path) -> None:
    note = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, time, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid))\n"
        "print('begun', flush=True); time.sleep(60)"
    )
    began = time.monotonic()
    done = python(code, 1.5)
    assert time.monotonic() - began < 10
    assert (done.outcome, done.exit_code, done.stdout) == ("timeout", None, "begun\n")
    time.sleep(0.1)
    assert not alive(int(note.read_text()))


@posix
def test_a_grandchild_that_holds_the_output_open_does_not_hold_us_back(tmp_path: pathlib.Path) -> None:
    note = tmp_path / "grandchild"
    code = (
        "import subprocess, sys, pathlib\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(note)!r}).write_text(str(child.pid)); print('done')"
    )
    began = time.monotonic()
    done = python(code)
    assert time.monotonic() - began < 10
    assert (done.outcome, done.stdout) == ("ok", "done\n")
    time.sleep(0.1)
    assert not alive(int(note.read_text()))


@posix
def test_a_program_that_crashes_names_its_signal() -> None:
    done = python("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert (done.outcome, done.signal, done.exit_code) == ("signal", "SIGSEGV", None)


def test_a_program_that_floods_is_read_to_its_end_and_kept_in_part() -> None:
    done = python("print('a' * 3_000_000 + 'the end')")
    assert done.outcome == "ok"
    assert len(done.stdout) < OUTPUT_LIMIT + 100
    assert done.stdout.endswith("the end\n")
    assert "bytes left out" in done.stdout


def test_output_that_is_no_text_is_kept_with_stand_ins() -> None:
    done = python("import sys; sys.stdout.buffer.write(b'caf\\xe9\\n')")
    assert done.stdout == "caf�\n"


def test_standard_input_reaches_the_program_and_one_that_does_not_read_does_not_stop_us() -> None:
    assert python("print(input())", stdin="hello\n").stdout == "hello\n"
    assert python("print('deaf')", stdin="x" * 1_000_000).stdout == "deaf\n"


def test_what_is_not_a_program_is_an_answer(tmp_path: pathlib.Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    (tmp_path / "closed").write_text("#!/bin/sh\n")
    (tmp_path / "closed").chmod(0o644)
    assert Live().run([str(tmp_path / "nothing")], 1).outcome == "absent"
    assert Live().run([str(tmp_path / "text")], 1).outcome == "garbled"
    assert Live().run([str(tmp_path / "closed")], 1).outcome == "denied"


def test_closing_kills_what_is_still_running() -> None:
    live = Live()
    answers: list[object] = []
    thread = threading.Thread(
        target=lambda: answers.append(live.run([sys.executable, "-c", "import time; time.sleep(60)"], 60))
    )
    thread.start()
    time.sleep(0.5)
    live.close()
    thread.join(5)
    assert not thread.is_alive()


def test_files_that_are_not_there_or_no_text_are_answers(tmp_path: pathlib.Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\x00a")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    live = Live()
    assert live.read(str(tmp_path / "gone")).outcome == "absent"
    assert live.read(str(tmp_path)).outcome == "absent"
    assert live.read("with\0null").outcome == "garbled"
    assert live.read(str(tmp_path / "binary")).text == "�\x00a"
    assert live.status(str(tmp_path / "dangling")).outcome == "broken-link"
    assert live.entries(str(tmp_path)) == ["binary", "dangling"]
    assert live.entries(str(tmp_path / "gone")) is None


def test_a_recording_gives_the_same_answers_as_the_machine_did(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("content")
    recorder = Recorder(Live(), lambda value: value)

    def ask(system: object) -> list[object]:
        return [
            system.read(str(tmp_path / "file")),  # type: ignore[attr-defined]
            system.read(str(tmp_path / "gone")),  # type: ignore[attr-defined]
            system.entries(str(tmp_path)),  # type: ignore[attr-defined]
            system.status(str(tmp_path)),  # type: ignore[attr-defined]
            system.run([sys.executable, "-c", "print(1)"], 20, key="one").stdout,  # type: ignore[attr-defined]
            system.ask("logical_cores"),  # type: ignore[attr-defined]
            system.getenv("PATH"),  # type: ignore[attr-defined]
            system.which("python3"),  # type: ignore[attr-defined]
        ]

    assert ask(recorder) == ask(Recording(recorder.observations))


def test_what_was_not_recorded_is_not_invented() -> None:
    empty = Recording({})
    assert empty.read("/etc/os-release").outcome == "absent"
    assert empty.run(["nvidia-smi"], 1).outcome == "absent"
    assert empty.ask("memory") is None
