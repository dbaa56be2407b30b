"""Containers on this host, and how this container was started; no engine is called."""

from __future__ import annotations

from typing import Any

from envcheck.facts import ContainerRuntime
from envcheck.probe import probe
from envcheck.system import System

TOOLKIT_PROGRAMS = ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-runtime-hook", "nvidia-container-cli")

FIXED = {
    "visible_devices": "NVIDIA_VISIBLE_DEVICES",
    "driver_capabilities": "NVIDIA_DRIVER_CAPABILITIES",
    "required_cuda": "NVIDIA_REQUIRE_CUDA",
    "image_cuda": "CUDA_VERSION",
}
"""Field → the variable that an image or the command line sets."""


@probe(fills=["containers"], deadline=2)
def containers(system: System) -> ContainerRuntime:
    """Look for clients on PATH, the daemon's socket and configuration, and NVIDIA's variables."""
    docker = system.which("docker") or ""
    socket, accessible = docker_socket(system, docker)
    configuration, path, problem = _daemon_configuration(system)
    toolkit = next((found for program in TOOLKIT_PROGRAMS if (found := system.which(program))), "")
    runtimes = configuration.get("runtimes")
    settings: dict[str, Any] = {field: system.getenv(variable) or "" for field, variable in FIXED.items()}
    return ContainerRuntime(
        docker_path=docker,
        docker_socket=socket,
        docker_socket_accessible=accessible,
        toolkit_path=toolkit,
        runtimes=sorted(runtimes) if isinstance(runtimes, dict) else [],
        default_runtime=str(configuration.get("default-runtime", "")),
        daemon_configuration_problem=problem,
        podman_path=system.which("podman") or "",
        **settings,
        sources={
            "docker_path": "PATH",
            "docker_socket": "DOCKER_HOST" if system.getenv("DOCKER_HOST") else "file system",
            "docker_socket_accessible": socket or "file system",
            "toolkit_path": "PATH",
            "runtimes": path,
            "default_runtime": path,
            "daemon_configuration_problem": path,
            "podman_path": "PATH",
            **{field: f"variable {variable}" for field, variable in FIXED.items()},
        },
    )


def docker_socket(system: System, docker: str) -> tuple[str | None, bool | None]:
    """Return the socket of the daemon that the client would talk to, and whether this user may; None is not known.

    Source: documentation of Docker, "docker context" and "Run the Docker daemon as a non-root user (rootless mode)".
    """
    chosen = system.getenv("DOCKER_HOST")
    if chosen and not chosen.startswith("unix://"):
        return chosen, None
    home = system.ask("home") or ""
    if chosen:
        candidates = [chosen.removeprefix("unix://")]
    else:
        context = _json(system, f"{home}/.docker/config.json")[0].get("currentContext", "default")
        if context not in {"default", "", "rootless", "desktop-linux"}:
            # The context's file names its end point under a hash of its name.
            return None, None
        runtime_folder = system.getenv("XDG_RUNTIME_DIR")
        candidates = [f"{runtime_folder}/docker.sock"] if runtime_folder else []
        candidates += ["/var/run/docker.sock", f"{home}/.docker/run/docker.sock", f"{home}/.docker/desktop/docker.sock"]
    if (system.ask("uname") or {}).get("system") == "Windows":
        # A named pipe, which is no file.
        return None, None
    for path in candidates:
        status = system.status(path)
        if status.kind == "socket":
            return path, status.readable and status.writable
        if status.outcome == "denied":
            return path, False
    return "", False if docker else None


def _daemon_configuration(system: System) -> tuple[dict[str, Any], str, str]:
    """Return what daemon.json says, where it stands, and what is wrong with it."""
    home = system.ask("home") or ""
    paths = ["/etc/docker/daemon.json", f"{home}/.config/docker/daemon.json", f"{home}/.docker/daemon.json"]
    for path in paths:
        found, problem = _json(system, path)
        if found or problem:
            return found, path, problem
    return {}, paths[0], ""


def _json(system: System, path: str) -> tuple[dict[str, Any], str]:
    reading = system.read(path)
    if reading.outcome != "ok" or not reading.text.strip():
        return {}, ""
    import json  # noqa: PLC0415 - most machines have no such file

    try:
        found = json.loads(reading.text)
    except ValueError as error:
        return {}, str(error)
    return (found, "") if isinstance(found, dict) else ({}, "it holds no JSON object")
