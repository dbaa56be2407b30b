"""The fault matrix of the gate in real containers. GPUs are a mock: Docker's `--gpus` calls `nvidia_hook.py`."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import container_engines as engines
import pytest

NO_NETWORK = ("--network", "none")
FAKE = ("-e", "FAKE_NVML=/etc/fake-nvml.txt")


def run(docker: engines.Docker, image: str, *options: str, command: tuple[str, ...] = ("echo", "started")) -> Any:
    return docker.run("run", "--rm", *NO_NETWORK, *FAKE, "--shm-size", "1g", *options, image, *command)


def require(text: str) -> tuple[str, str]:
    return ("-e", f"ENVCHECK_REQUIRE={text}")


def test_a_container_whose_requirements_hold_starts_without_a_word(docker: engines.Docker, torch_image: str) -> None:
    done = run(docker, torch_image, *require("memory>=64MiB, shm>=512MiB, python~=3.11, torch>=2"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "started\n", "")


def test_a_gpu_that_a_mock_hook_gives_is_seen(docker: engines.Docker, cuda_image: str, gpu: Any) -> None:
    gpu()
    done = run(docker, cuda_image, "--gpus", "all", *require("gpus>=1, gpu-memory>=70GiB, compute-capability>=8.0"))
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr


@pytest.mark.parametrize(
    ("options", "answers", "cause", "words"),
    [
        pytest.param((), {}, "container-gpu-not-requested", "docker run --gpus all", id="started without --gpus"),
        pytest.param(
            ("--gpus", "all", "-e", "CUDA_VERSION=13.0.1"),
            {"driver": "470.223.02", "cuda": "11040"},
            "container-image-cuda-too-new",
            "The image's CUDA 13.0 needs a newer driver than the host's 470.223.02",
            id="driver too old for the image (mock)",
        ),
        pytest.param(
            ("--gpus", "all", "-e", "NVIDIA_DRIVER_CAPABILITIES=graphics"),
            {},
            "container-capabilities-missing",
            "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
            id="capabilities lacking (mock)",
        ),
        pytest.param(
            ("--gpus", "all"),
            {"return.nvmlInit_v2": "999", "return.nvmlInitWithFlags": "999"},
            "container-lost-gpu",
            "docker restart",
            id="lost GPU (mock)",
        ),
        pytest.param(
            ("--gpus", "all"),
            {"0.return.nvmlDeviceGetHandleByIndex_v2": "15"},
            "gpu-fell-off-bus",
            "",
            id="GPU fell off the bus (mock)",
        ),
        pytest.param(
            (*require("memory>=1GiB"), "--memory", "512m"), {}, "cgroup-limit", "memory", id="memory limit too low"
        ),
        pytest.param(
            (*require("shm>=4GiB"),), {}, "shm-too-small", "docker run --shm-size=8g", id="shared memory too small"
        ),
        pytest.param(
            (*require("cores>=2"), "--cpus", "1"), {}, "cgroup-limit", "cores", id="fewer cores than declared"
        ),
        pytest.param(
            (*require("torch>=99"),),
            {},
            "framework-too-old-for-code",
            "torch>=99",
            id="an older framework in the image",
        ),
        pytest.param(
            (*require("tensorflow"),), {}, "package-not-installed", "tensorflow", id="a framework that is not there"
        ),
    ],
)
def test_what_is_missing_is_named_with_its_cure_and_nothing_starts(
    docker: engines.Docker,
    cuda_image: str,
    gpu: Any,
    options: tuple[str, ...],
    answers: dict[str, str],
    cause: str,
    words: str,
) -> None:
    gpu(answers)
    done = run(docker, cuda_image, *options)
    assert (done.returncode, done.stdout) == (78, "")
    first = next(line for line in done.stderr.splitlines() if line.startswith("  cause"))
    assert cause in first, done.stderr
    assert words in done.stderr
    assert "cure " in done.stderr


OLD = {"driver": "470.223.02", "cuda": "11040"}


@pytest.mark.parametrize(
    ("version", "requires", "cuda"),
    [
        pytest.param("2.14.1+cu130", (), "13.0", id="its name says for which CUDA it is"),
        pytest.param("2.14.1", (), "13.0", id="a release of the default index, which the table has"),
        # As the metadata of torch 2.8.0 has it.
        pytest.param(
            "2.99.0",
            ('nvidia-cuda-runtime-cu12==12.8.90; platform_system == "Linux" and platform_machine == "x86_64"',),
            "12.8",
            id="a release that no table has, by the runtime that its metadata pins",
        ),
    ],
)
def test_a_mock_driver_too_old_for_the_image_s_torch_is_named_with_its_cures(
    docker: engines.Docker,
    torch_named: Callable[..., str],
    gpu: Any,
    version: str,
    requires: tuple[str, ...],
    cuda: str,
) -> None:
    gpu(OLD)
    done = run(docker, torch_named(version, *requires), "--gpus", "all")
    assert (done.returncode, done.stdout) == (78, "")
    first = next(line for line in done.stderr.splitlines() if line.startswith("  cause"))
    assert "driver-too-old" in first, done.stderr
    said = " ".join(done.stderr.split())
    assert f"Driver 470.223.02 is too old for PyTorch {version}" in said
    assert f"(CUDA {cuda})" in said
    assert "On the host, not in this container: update the NVIDIA driver to" in said


def test_a_mock_driver_that_is_new_enough_for_the_image_s_torch_lets_the_command_start(
    docker: engines.Docker, torch_named: Callable[..., str], gpu: Any
) -> None:
    gpu()
    done = run(docker, torch_named("2.14.1+cu130"), "--gpus", "all")
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr


def test_a_driver_that_hangs_is_given_up_and_said(docker: engines.Docker, cuda_image: str, gpu: Any) -> None:
    gpu({"hang.nvmlDeviceGetCount_v2": "1"})
    began = time.monotonic()
    done = docker.run(
        *(
            "run",
            "--rm",
            *NO_NETWORK,
            *FAKE,
            "--gpus",
            "all",
            "--shm-size",
            "1g",
            "--entrypoint",
            "envcheck",
            cuda_image,
        ),
        *("entrypoint", "--timeout", "3", "--", "echo", "started"),
    )
    assert done.returncode == 78
    assert "driver-hung" in done.stderr
    assert time.monotonic() - began < 20


def test_a_mounted_pyproject_declares_what_must_hold(docker: engines.Docker, torch_image: str, tmp_path: Any) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.envcheck]\nrequire = ["gpus>=1"]\n')
    tmp_path.chmod(0o755)
    done = run(docker, torch_image, "--volume", f"{tmp_path}:/workspace:ro")
    assert done.returncode == 78
    assert "required     gpus>=1: fails" in done.stderr


def test_a_read_only_container_of_another_user_starts(docker: engines.Docker, torch_image: str) -> None:
    done = run(docker, torch_image, "--read-only", "--user", "4242:4242", "--cap-drop", "ALL")
    assert (done.returncode, done.stdout) == (0, "started\n")
    assert "ENVCHECK_READY_FILE names another place" in done.stderr


def test_the_command_is_process_1_with_its_signals_and_its_status(docker: engines.Docker, torch_image: str) -> None:
    script = "trap 'exit 23' TERM; echo $$ $(ls /proc | grep -c '^[0-9]'); while :; do sleep 0.1; done"
    name = "envcheck-process-1"
    docker.run("run", "--detach", "--name", name, *NO_NETWORK, torch_image, "sh", "-c", script, check=True)
    until = time.monotonic() + 20
    while not (said := docker.run("logs", name).stdout) and time.monotonic() < until:
        time.sleep(0.1)
    # The shell itself, ls and grep in a pipeline, and the subshell around them.
    process, number = said.split()
    assert process == "1"
    assert int(number) <= 4
    docker.run("stop", "--time", "10", name, check=True)
    (state,) = json.loads(docker.run("inspect", name).stdout)
    docker.run("rm", "--force", name)
    assert state["State"]["ExitCode"] == 23


def test_with_init_orphans_are_reaped_and_signals_forwarded(docker: engines.Docker, torch_image: str) -> None:
    script = (
        "trap 'exit 24' TERM; for i in 1 2 3; do (sleep 0.1 &); done; sleep 1; "
        "echo $$ $(cat /proc/[0-9]*/stat | grep -c ' Z '); while :; do sleep 0.1; done"
    )
    name = "envcheck-init"
    entry = ("--entrypoint", "envcheck", torch_image, "entrypoint", "--init", "--", "sh", "-c", script)
    docker.run("run", "--detach", "--name", name, *NO_NETWORK, *entry, check=True)
    until = time.monotonic() + 20
    while not (said := docker.run("logs", name).stdout) and time.monotonic() < until:
        time.sleep(0.1)
    process, zombies = said.split()
    assert process != "1"
    assert zombies == "0"
    docker.run("stop", "--time", "10", name, check=True)
    (state,) = json.loads(docker.run("inspect", name).stdout)
    docker.run("rm", "--force", name)
    assert state["State"]["ExitCode"] == 24


def test_the_health_check_turns_healthy_from_a_cached_answer_and_unhealthy_when_the_gpu_is_lost(
    docker: engines.Docker, cuda_image: str, gpu: Any
) -> None:
    gpu()
    name = "envcheck-health"
    options = ("--health-interval", "1s", "--health-start-period", "0s", "--health-retries", "1", "--gpus", "all")
    docker.run(
        *("run", "--detach", "--name", name, *NO_NETWORK, *FAKE, "--shm-size", "1g", *options, cuda_image),
        *("sleep", "120"),
        check=True,
    )

    def health() -> dict[str, Any]:
        (state,) = json.loads(docker.run("inspect", name, check=True).stdout)
        return dict(state["State"]["Health"])

    def wait_for(status: str, words: str) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            seen = health()
            if seen["Status"] == status and any(words in entry["Output"] for entry in seen["Log"]):
                return
            time.sleep(0.5)
        pytest.fail(f"{status} with {words!r} was not seen: {json.dumps(health())[:2000]}")

    wait_for("healthy", "(examined ")
    broken = (
        "echo return.nvmlInit_v2 999 >> /etc/fake-nvml.txt; echo return.nvmlInitWithFlags 999 >> /etc/fake-nvml.txt"
    )
    docker.run("exec", "--user", "root", name, "sh", "-c", broken, check=True)
    # Nothing is kept for longer than it holds; here the kept answer is taken away instead of waiting five minutes.
    docker.run("exec", name, "sh", "-c", "rm -r ~/.cache/envcheck", check=True)
    wait_for("unhealthy", "lost its GPU")
    docker.run("rm", "--force", name, check=True)


def test_nothing_is_left_of_a_gate_that_docker_stops_while_it_examines(
    docker: engines.Docker, cuda_image: str, gpu: Any
) -> None:
    gpu({"hang.nvmlDeviceGetCount_v2": "1"})
    name = "envcheck-stopped"
    docker.run("run", "--detach", "--name", name, *NO_NETWORK, *FAKE, "--gpus", "all", cuda_image, check=True)
    time.sleep(1.5)
    began = time.monotonic()
    docker.run("stop", "--time", "20", name, check=True)
    assert time.monotonic() - began < 10
    (state,) = json.loads(docker.run("inspect", name).stdout)
    docker.run("rm", "--force", name)
    assert state["State"]["ExitCode"] == 143


def test_podman_runs_the_gate_without_root_and_is_examined_from_outside(
    docker: engines.Docker, torch_image: str, work: pathlib.Path, podman: engines.Podman
) -> None:
    assert torch_image
    engines.build(docker, work, "envcheck/gate:test", "torch-cpu", "envcheck")
    archive = podman.folder / "image.tar"
    # As one layer: without root, Podman may have to keep every layer as a copy of all below it.
    docker.run("create", "--name", "envcheck-gate", "envcheck/gate:test", "true", check=True)
    docker.run("export", "--output", str(archive), "envcheck-gate", check=True)
    docker.run("rm", "envcheck-gate", check=True)
    archive.chmod(0o644)
    podman.run("import", str(archive), "envcheck/gate:test", check=True)
    done = podman.run(
        *("run", "--rm", "--shm-size", "1g", "-e", "ENVCHECK_REQUIRE=gpus>=1"),
        *("--entrypoint", "/opt/envcheck/bin/envcheck", "envcheck/gate:test", "entrypoint", "--", "echo", "started"),
    )
    assert (done.returncode, done.stdout) == (78, ""), done.stderr
    assert "container-gpu-not-requested" in done.stderr
    assert "container: podman" in done.stderr
    outside = docker.envcheck(
        *("doctor", "--json", "--quick", "--container", "envcheck/gate:test", "--container-options", "--shm-size 1g"),
        DOCKER_HOST="unix:///nowhere.sock",
        PATH=f"{podman.client.parent}:{docker.variables['PATH']}",
    )
    found = json.loads(outside.stdout)
    assert found["options"]["engine"] == "podman"
    assert found["facts"]["platform"]["container"] == "podman"
    assert found["facts"]["python"]["version"].startswith("3.11.")
