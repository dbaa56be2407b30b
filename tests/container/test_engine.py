"""What a name on the command line means, and what is said where the engine cannot tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from envcheck.container import engine
from envcheck.system import Completed, Recording

DOCKER = engine.Engine("/usr/bin/docker", "docker")


def asked(**answers: Completed | dict[str, Any]) -> Recording:
    """A machine whose engine answers: keyword `container` or `image` → what it says of the name `it`."""
    observations: dict[str, Any] = {}
    for kind in ("container", "image"):
        answer = answers.get(kind)
        if isinstance(answer, dict):
            answer = Completed(outcome="ok", exit_code=0, stdout=json.dumps([answer]))
        missing = Completed(outcome="ok", exit_code=1, stderr=f"Error: No such {kind}: it")
        key = f"run /usr/bin/docker {kind} inspect it"
        observations[key] = {name: getattr(answer or missing, name) for name in Completed.__struct_fields__}
    return Recording(observations)


def state(**fields: Any) -> dict[str, Any]:
    return {"Id": "abc", "State": {"Running": False, **fields}, "Config": {"Image": "an/image", "User": "1000"}}


def test_a_running_container_comes_before_an_image_of_the_same_name() -> None:
    system = asked(container=state(Running=True), image={"Id": "def"})
    assert engine.target(system, DOCKER, "it").kind == "container"


def test_an_image_tells_its_platform() -> None:
    found = engine.target(asked(image={"Id": "def", "Os": "linux", "Architecture": "arm64"}), DOCKER, "it")
    assert (found.kind, found.platform) == ("image", "linux/arm64")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (state(Status="exited", ExitCode=1), "exited with status 1; docker start it starts it"),
        (state(Status="exited", ExitCode=137, OOMKilled=True), "since the container's memory was used up"),
        (state(Status="created", Error="no such hook"), "created (no such hook)"),
        (state(Running=True, Paused=True), "docker unpause it"),
    ],
)
def test_a_container_in_which_nothing_can_run_is_named_with_what_to_do(said: dict[str, Any], words: str) -> None:
    with pytest.raises(engine.EngineError) as caught:
        engine.target(asked(container=said), DOCKER, "it")
    assert words in str(caught.value)


def test_a_name_that_is_not_known_is_said_with_how_to_get_it() -> None:
    with pytest.raises(engine.EngineError, match=r"no container and no image 'it' here; .*docker pull it"):
        engine.target(asked(), DOCKER, "it")


def test_a_name_that_would_be_an_option_is_refused() -> None:
    with pytest.raises(engine.EngineError, match="is no name"):
        engine.target(asked(), DOCKER, "--help")


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (Completed(outcome="timeout"), "its daemon hangs"),
        (
            Completed(outcome="ok", exit_code=1, stderr="permission denied while trying to connect to the socket"),
            "sudo usermod -aG docker $USER",
        ),
        (
            Completed(outcome="ok", exit_code=1, stderr="Cannot connect to the Docker daemon at unix:///x."),
            "sudo systemctl start docker",
        ),
        (Completed(outcome="denied", reason="Permission denied"), "could not be run: Permission denied"),
        (Completed(outcome="ok", exit_code=2, stderr="what nobody expects"), "docker answers: what nobody expects"),
        (Completed(outcome="ok", exit_code=0, stdout="<html>"), "answers what is no JSON"),
    ],
)
def test_an_engine_that_does_not_answer_is_one_sentence_with_its_cure(ended: Completed, words: str) -> None:
    with pytest.raises(engine.EngineError) as caught:
        engine.target(asked(container=ended), DOCKER, "it")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_podman_is_asked_where_docker_is_not_there_or_does_not_answer() -> None:
    image = Completed(outcome="ok", exit_code=0, stdout='[{"Id": "abc"}]')
    silent = Completed(outcome="ok", exit_code=1, stderr="Cannot connect to the Docker daemon at unix:///x.")
    absent = Completed(outcome="ok", exit_code=125, stderr="Error: no such container it")
    answers = {
        "run /usr/bin/docker container inspect it": silent,
        "run /usr/bin/podman container inspect it": absent,
        "run /usr/bin/podman image inspect it": image,
    }
    told = {key: {name: getattr(value, name) for name in Completed.__struct_fields__} for key, value in answers.items()}
    podman = {"which podman": "/usr/bin/podman"}
    for clients in (podman, {**podman, "which docker": "/usr/bin/docker"}):
        found, target = engine.find(Recording({**told, **clients}), "it")
        assert (found.name, target.identity) == ("podman", "abc")


def test_where_no_engine_answers_the_first_one_s_reason_is_said() -> None:
    with pytest.raises(engine.EngineError, match="docker"):
        engine.find(Recording({"which docker": "/usr/bin/docker", "which podman": "/usr/bin/podman"}), "it")
    with pytest.raises(engine.EngineError, match="neither is here"):
        engine.find(Recording({}), "it")
