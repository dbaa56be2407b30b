"""Docker or Podman, through their client: what a name means, and how something is run in a container.

Every way in which an engine can fail to answer ends in `EngineError`, whose text is one sentence with its cure.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from envcheck.system import Completed, System

DEADLINE_SECONDS = 15.0
"""What an engine may take to say what a name means; a healthy one takes a tenth of a second."""


class EngineError(Exception):
    """The engine does not answer, or not as is needed; the text is the sentence for the user."""


class Engine(msgspec.Struct, frozen=True):
    """A container engine.

    Attributes:
        program: path of its client.
        name: `docker` or `podman`.
    """

    program: str
    name: str


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What a name on the command line means.

    Attributes:
        kind: `container` or `image`.
        identity: the engine's id of it.
        name: as the user wrote it.
        image: name of the image; of a container, the one that it was made from.
        platform: such as `linux/amd64`.
        user: that a container's processes run as; empty is root.
    """

    kind: str
    identity: str
    name: str
    image: str = ""
    platform: str = ""
    user: str = ""


def engines(system: System) -> list[Engine]:
    """Return the engines whose client is here, Docker first.

    Raises:
        EngineError: neither is there.
    """
    found = [Engine(program, name) for name in ("docker", "podman") if (program := system.which(name))]
    if not found:
        raise EngineError("--container needs docker or podman on PATH; neither is here")
    return found


def find(system: System, name: str) -> tuple[Engine, Target]:
    """Return the first engine that knows a name, and what it means there.

    Raises:
        EngineError: no engine answers, none knows the name, or nothing can be run in what it names; where two engines
            are here, the first one's reason.
    """
    reasons = []
    for engine in engines(system):
        try:
            return engine, target(system, engine, name)
        except EngineError as error:  # noqa: PERF203 - two at most
            reasons.append(error)
    raise reasons[0]


def target(system: System, engine: Engine, name: str) -> Target:
    """Return what a name means: a running container first, then an image.

    Raises:
        EngineError: the engine does not answer, it knows no such name, or nothing can be run in what it names.
    """
    containers = inspect(system, engine, "container", name)
    if containers:
        return _of_container(engine, name, containers)
    images = inspect(system, engine, "image", name)
    if not images:
        raise EngineError(
            f"{engine.name} has no container and no image {name!r} here; {engine.name} ps -a and {engine.name} images "
            f"list what it has, {engine.name} pull {name} fetches an image"
        )
    platform = f"{images.get('Os') or 'linux'}/{images.get('Architecture') or '?'}"
    return Target(kind="image", identity=str(images.get("Id") or name), name=name, image=name, platform=platform)


def _of_container(engine: Engine, name: str, said: dict[str, Any]) -> Target:
    state = said.get("State") or {}
    configuration = said.get("Config") or {}
    image = str(configuration.get("Image") or said.get("ImageName") or "")
    if not state.get("Running"):
        how = state.get("Status") or "not running"
        if how == "exited":
            how += f" with status {state.get('ExitCode')}"
        if state.get("OOMKilled"):
            how += ", ended by the kernel since the container's memory was used up"
        if state.get("Error"):
            how += f" ({state['Error']})"
        raise EngineError(
            f"container {name} does not run, so that nothing can be asked in it: {how}; {engine.name} start {name} "
            f"starts it, envcheck doctor --container {image or 'IMAGE'} examines its image"
        )
    if state.get("Paused"):
        raise EngineError(f"container {name} is paused; {engine.name} unpause {name} lets it go on")
    return Target(
        kind="container",
        identity=str(said.get("Id") or name),
        name=name,
        image=image,
        user=str(configuration.get("User") or ""),
    )


def inspect(system: System, engine: Engine, kind: str, name: str) -> dict[str, Any]:
    """Return what the engine knows of a container or an image; empty where it knows none of that name.

    Raises:
        EngineError: the engine does not answer.
    """
    if name.startswith("-"):
        raise EngineError(f"{name!r} is no name of a container or an image")
    ended = system.run([engine.program, kind, "inspect", name], DEADLINE_SECONDS)
    if ended.outcome == "ok" and ended.exit_code == 0:
        try:
            found = msgspec.json.decode(ended.stdout, type=list[dict[str, Any]])
        except msgspec.DecodeError as error:
            raise EngineError(f"{engine.name} answers what is no JSON: {ended.stdout[:80]!r}") from error
        return found[0] if found else {}
    if ended.outcome == "ok" and re.search(
        r"no such (?:container|image|object)|not known|not found|no container with", ended.stderr, re.IGNORECASE
    ):
        return {}
    raise EngineError(why_no_answer(engine, ended))


def why_no_answer(engine: Engine, ended: Completed) -> str:
    """Return why the engine does not answer, and what cures it, as one sentence."""
    said = " ".join(ended.stderr.split())[:300]
    if ended.outcome == "timeout":
        return (
            f"{engine.name} did not answer within {DEADLINE_SECONDS:.0f} s: its daemon hangs; "
            f"sudo systemctl restart docker starts it anew (running containers end)"
        )
    if "permission denied" in said.lower():
        return (
            f"{engine.name} refuses this user: {said}; sudo usermod -aG docker $USER, then log in again "
            f"(members of that group can become root)"
        )
    if re.search(r"cannot connect|is the docker daemon running|connection refused|no such file", said, re.IGNORECASE):
        return f"{engine.name}'s daemon does not run here: {said}; sudo systemctl start docker starts it"
    if ended.outcome != "ok":
        return f"{engine.program} could not be run: {ended.reason or ended.signal or ended.outcome}"
    return f"{engine.name} answers: {said or f'exit status {ended.exit_code}'}"
