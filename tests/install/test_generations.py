"""Swapping environments: at every moment the old one or the new one is whole, and never neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from envcheck.install import generations
from envcheck.install.generations import ADOPTED, NotOursError, Place, State


def generation(place: Place, number: int, state: str = "ready") -> None:
    """Make a folder that stands for an environment."""
    place.generation(number).mkdir(parents=True)
    (place.generation(number) / "which").write_text(str(number))
    generations.write_state(place, number, State(state=state, made=1.0, frameworks={"torch": "2.13.0"}, python="3.11"))


def foreign(place: Place) -> None:
    """Make an environment that envcheck did not make."""
    place.link.mkdir()
    (place.link / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (place.link / "which").write_text("foreign")


def used(place: Place) -> str:
    return (place.link / "which").read_text()


def test_a_swap_shows_at_the_place_of_the_environment(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in (1, 2):
        generation(place, number)
        generations.swap(place, number)
        assert used(place) == str(number)
    assert place.link == tmp_path / ".venv"
    assert [one.number for one in generations.listed(place) if one.current] == [2]


def test_environments_of_other_names_do_not_touch_dot_venv(tmp_path: Path) -> None:
    place = Place(tmp_path, "gpu")
    generation(place, 1)
    generations.swap(place, 1)
    assert used(place) == "1"
    assert not (tmp_path / ".venv").exists()


def test_rollback_goes_to_the_generation_before(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in (1, 2, 3):
        generation(place, number)
    generations.swap(place, 3)
    assert generations.previous(place).number == 2
    generations.swap(place, 2)
    assert used(place) == "2"
    assert generations.previous(place).number == 1


def test_an_environment_that_envcheck_did_not_make_is_not_touched(tmp_path: Path) -> None:
    place = Place(tmp_path)
    foreign(place)
    with pytest.raises(NotOursError, match="--adopt"):
        generations.check_link(place, adopt=False)
    assert used(place) == "foreign"


def test_an_adopted_environment_comes_back_to_its_place_on_rollback(tmp_path: Path) -> None:
    place = Place(tmp_path)
    foreign(place)
    generations.check_link(place, adopt=True)
    generation(place, 1)
    generations.swap(place, 1)
    assert used(place) == "1"
    assert generations.previous(place).state == ADOPTED
    generations.swap(place, 0)
    assert used(place) == "foreign"
    assert not place.link.is_symlink()
    assert [one.number for one in generations.listed(place)] == [1]


@pytest.mark.parametrize("fallback", [False, True])
@pytest.mark.parametrize("steps", range(10))
@pytest.mark.parametrize("back", [False, True])
def test_a_kill_at_any_step_of_adopting_leaves_an_environment_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int, *, back: bool, fallback: bool
) -> None:
    """Each operation on the file system may be the last one; then the next set-up clears up."""
    place = Place(tmp_path)
    foreign(place)
    generation(place, 1)
    if back:
        generations.swap(place, 1)
    if fallback:
        monkeypatch.setattr(generations.sys, "platform", "other")
    with monkeypatch.context() as dying, pytest.raises(Killed) if steps < 1 else suppress_killed():
        die_after(steps, dying)
        generations.swap(place, 0 if back else 1)
    with generations.locked(place):
        generations.clear_unfinished(place)
    assert used(place) in {"foreign", "1"}
    everything = {used(place)} | {(Path(one.path) / "which").read_text() for one in generations.listed(place)}
    assert everything == {"foreign", "1"}
    assert not list(tmp_path.glob(".venv.*"))


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it is done."""


class suppress_killed:  # noqa: N801 - read like contextlib.suppress
    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is Killed


def die_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the process die before the operation number `steps` that changes names."""
    done = 0

    def counted(original):
        def call(*arguments, **keywords):
            nonlocal done
            if done >= steps:
                raise Killed
            done += 1
            return original(*arguments, **keywords)

        return call

    for name in ("rename", "replace", "symlink_to", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))
    monkeypatch.setattr(generations, "_exchange", counted(generations._exchange))


def test_what_a_killed_set_up_left_is_cleared_away(tmp_path: Path) -> None:
    place = Place(tmp_path)
    generation(place, 1)
    generations.swap(place, 1)
    generation(place, 2, state="building")
    place.generation(3).mkdir()
    with generations.locked(place):
        assert generations.clear_unfinished(place) == [2, 3]
    assert used(place) == "1"


def test_numbers_are_not_used_twice_while_a_later_one_is_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    generation(place, 1)
    generation(place, 7)
    assert generations.next_number(place) == 8


def test_pruning_keeps_the_one_in_use_and_the_newest_others(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for number in range(1, 6):
        generation(place, number)
    generations.swap(place, 2)
    assert [one.number for one in generations.prunable(place, 1)] == [1, 3, 4]
    assert [one.number for one in generations.prunable(place, 0)] == [1, 3, 4, 5]


def test_the_lock_is_let_go_however_its_holder_ends(tmp_path: Path) -> None:
    place = Place(tmp_path)
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        with generations.locked(place):
            os.write(tell, b"x")
            os.read(ready, 0)
            os.pause() if hasattr(os, "pause") else __import__("time").sleep(60)
        os._exit(0)
    os.read(ready, 1)
    with pytest.raises(generations.HeldError, match=str(child)), generations.locked(place):
        pass
    os.kill(child, 9)
    os.waitpid(child, 0)
    with generations.locked(place):
        pass
    os.close(ready)
    os.close(tell)
