"""`envcheck doctor --container`, with real containers and images. GPUs are a mock: see `nvidia_hook.py`."""

from __future__ import annotations

import json
import pathlib
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import container_engines as engines
import pytest

from envcheck.container import engine
from envcheck.system import Completed

FAKE = "-e FAKE_NVML=/etc/fake-nvml.txt --network none --shm-size 1g"


def report(docker: engines.Docker, *args: str, **variables: str) -> tuple[int, dict[str, Any]]:
    done = docker.envcheck("doctor", "--json", "--container", *args, **variables)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def refused(docker: engines.Docker, *args: str, **variables: str) -> str:
    """Return the one line with which nothing could be examined."""
    done = docker.envcheck("doctor", "--container", *args, **variables)
    assert (done.returncode, done.stdout) == (3, ""), done.stdout
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="module")
def running(docker: engines.Docker, torch_image: str) -> Iterator[str]:
    name = "envcheck-running"
    options = ("--network", "none", "--shm-size", "1g", "--memory", "700m", "-e", "ENVCHECK_REQUIRE=memory>=600MiB")
    docker.run("run", "--detach", "--name", name, *options, torch_image, "sleep", "600", check=True)
    yield name
    docker.run("rm", "--force", name)


def test_a_running_container_is_seen_as_what_runs_in_it_sees_it(docker: engines.Docker, running: str) -> None:
    code, found = report(docker, running, "--require", "torch")
    facts = found["facts"]
    assert code == 0, found["findings"]
    assert facts["memory"]["cgroup_limit_bytes"] == 700 << 20
    assert facts["python"]["prefix"] == "/opt/stack"
    assert facts["torch"]["version"] == "2.13.0+cpu"
    assert [item["state"] for item in found["requirements"]] == ["holds", "holds"]
    assert docker.run("exec", running, "sh", "-c", "ls -d /tmp/envcheck-* /dev/shm/envcheck-* 2>/dev/null").stdout == ""
    assert "container_door" not in docker.run("exec", running, "sh", "-c", "cat /proc/[0-9]*/cmdline").stdout


def test_an_image_is_examined_in_a_container_that_is_gone_afterwards(docker: engines.Docker, torch_image: str) -> None:
    before = docker.run("ps", "-aq").stdout
    code, found = report(docker, torch_image, "--quick", "--container-options", "--shm-size 1g --network none")
    assert code == 0, found["findings"]
    assert found["options"]["kind"] == "image"
    assert docker.run("ps", "-aq").stdout == before


def test_too_little_shared_memory_is_the_fault_of_the_start(docker: engines.Docker, torch_image: str) -> None:
    code, found = report(
        docker, torch_image, "--quick", "--require", "shm>=1GiB", "--container-options", "--network none"
    )
    assert code == 1
    assert (found["findings"][0]["cause"], found["findings"][0]["at_fault"]) == ("shm-too-small", "start")
    assert found["summary"].startswith("the way in which the container was started is at fault: ")


def test_a_framework_that_is_missing_is_the_fault_of_the_image(docker: engines.Docker, torch_image: str) -> None:
    code, found = report(
        docker, torch_image, "--quick", "--require", "tensorflow", "--container-options", "--shm-size 1g"
    )
    assert code == 1
    assert (found["findings"][0]["cause"], found["findings"][0]["at_fault"]) == ("package-not-installed", "image")


def test_a_host_without_a_gpu_is_said_to_have_none_to_give(docker: engines.Docker, torch_image: str) -> None:
    code, found = report(docker, torch_image, "--quick", "--require", "gpus>=1", "--container-options", "--shm-size 1g")
    assert code == 1
    assert (found["findings"][0]["cause"], found["findings"][0]["at_fault"]) == ("no-gpu-present", "host")


@pytest.fixture
def host_gpu(nvidia: pathlib.Path, gpu: Any) -> dict[str, str]:
    """A host whose driver is the same mock as the container's."""
    gpu()
    return {"LD_LIBRARY_PATH": str(nvidia), "FAKE_NVML": str(nvidia / "gpu.txt")}


def test_on_a_host_whose_gpu_works_a_container_without_it_was_started_wrongly(
    docker: engines.Docker, torch_image: str, host_gpu: dict[str, str]
) -> None:
    options = ("--quick", "--require", "gpus>=1", "--container-options", "--shm-size 1g --network none")
    code, found = report(docker, torch_image, *options, **host_gpu)
    assert code == 1
    assert (found["findings"][0]["cause"], found["findings"][0]["at_fault"]) == ("container-gpu-not-requested", "start")


def test_an_image_is_given_the_host_s_gpus_where_it_has_some(
    docker: engines.Docker, cuda_image: str, host_gpu: dict[str, str]
) -> None:
    _, found = report(docker, cuda_image, "--quick", "--require", "driver>=580", **host_gpu)
    assert found["facts"]["driver"]["device_nodes"]


def test_an_image_for_a_newer_cuda_than_the_driver_runs_is_at_fault_itself(
    docker: engines.Docker, cuda_image: str, host_gpu: dict[str, str], gpu: Any
) -> None:
    gpu({"driver": "470.223.02", "cuda": "11040"})
    code, found = report(
        docker, cuda_image, "--quick", "--container-options", f"--gpus all -e CUDA_VERSION=13.0.1 {FAKE}", **host_gpu
    )
    assert code == 1
    assert (found["findings"][0]["cause"], found["findings"][0]["at_fault"]) == (
        "container-image-cuda-too-new",
        "image",
    )


def test_a_driver_that_is_broken_on_the_host_is_the_host_s_fault(
    docker: engines.Docker, cuda_image: str, host_gpu: dict[str, str], gpu: Any
) -> None:
    gpu({"return.nvmlInit_v2": "18", "return.nvmlInitWithFlags": "18"})
    code, found = report(docker, cuda_image, "--quick", "--container-options", f"--gpus all {FAKE}", **host_gpu)
    assert code == 1
    assert (found["findings"][0]["cause"], found["findings"][0]["at_fault"]) == ("driver-library-mismatch", "host")


def test_a_hook_that_fails_is_evidence_and_the_image_is_examined_all_the_same(
    docker: engines.Docker, cuda_image: str, gpu: Any
) -> None:
    gpu(fails="nvidia-container-cli: initialization error: nvml error: driver not loaded\n")
    code, found = report(docker, cuda_image, "--quick", "--container-options", f"--gpus all {FAKE}")
    assert code == 1
    assert (found["findings"][0]["cause"], found["findings"][0]["at_fault"]) == ("driver-not-loaded", "host")
    assert found["summary"].startswith("the host is at fault: ")
    assert found["facts"]["python"]["prefix"] == "/opt/stack"


@pytest.mark.usefixtures("docker")
def test_docker_without_nvidia_s_toolkit_is_the_host_s_fault(work: pathlib.Path) -> None:
    with engines.daemon() as plain:
        plain.load("busybox:test", work / "busybox.tar")
        _, found = report(plain, "busybox:test", "--container-options", "--gpus all")
    (finding,) = [finding for finding in found["findings"] if finding["cause"] == "container-toolkit-missing"]
    assert finding["at_fault"] == "host"


def test_an_image_without_python_is_examined_with_its_shell(docker: engines.Docker) -> None:
    code, found = report(
        docker, "busybox:test", "--require", "shm>=1GiB", "--container-options", "--shm-size 2g --memory 300m"
    )
    facts = found["facts"]
    assert code == 0, found["not_examined"]
    assert facts["memory"]["cgroup_limit_bytes"] == 300 << 20
    assert facts["platform"]["container"] == "docker"
    assert facts["platform"]["machine"] == "x86_64"
    assert [item["state"] for item in found["requirements"]] == ["holds"]
    assert docker.run("ps", "-aq", "--filter", "name=envcheck-[0-9]").stdout == ""


def test_what_needs_python_is_not_called_healthy_without_it(docker: engines.Docker) -> None:
    code, found = report(docker, "busybox:test", "--require", "torch")
    assert code == 3
    assert found["requirements"][0]["state"] == "unknown"


def test_an_image_with_neither_python_nor_a_shell_is_one_line(docker: engines.Docker, work: pathlib.Path) -> None:
    docker.load("bare:test", engines.bare_archive(work))
    assert "has neither Python nor a shell" in refused(docker, "bare:test")


def test_a_stopped_container_is_one_line_with_what_to_do(docker: engines.Docker, torch_image: str) -> None:
    name = "envcheck-exited"
    docker.run("run", "--name", name, "-e", "ENVCHECK_MODE=off", torch_image, "sh", "-c", "exit 5")
    said = refused(docker, name)
    docker.run("rm", name)
    assert "exited with status 5" in said
    assert f"envcheck doctor --container {torch_image}" in said


def test_a_paused_container_is_one_line_with_what_to_do(docker: engines.Docker, running: str) -> None:
    docker.run("pause", running, check=True)
    said = refused(docker, running)
    docker.run("unpause", running, check=True)
    assert f"docker unpause {running}" in said


def test_a_name_that_the_engine_does_not_know_is_one_line(docker: engines.Docker) -> None:
    assert "docker has no container and no image 'no-such-thing' here" in refused(docker, "no-such-thing")


def test_an_image_for_another_platform_is_named(docker: engines.Docker, work: pathlib.Path) -> None:
    root = work / "arm"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "sh").write_bytes(b"\x7fELF\x02\x01\x01" + b"\0" * 9 + b"\x02\0\xb7\0" + b"\0" * 44)
    (root / "bin" / "sh").chmod(0o755)
    for name in ("python3", "python"):
        (root / "bin" / name).symlink_to("sh")
    (root / "Dockerfile").write_text("FROM scratch\nCOPY bin /bin\nENV PATH=/bin\n")
    docker.run("build", "--platform", "linux/arm64", "--tag", "arm:test", str(root), check=True)
    said = refused(docker, "arm:test")
    assert "is for linux/arm64 and this host is x86_64: the image is at fault" in said


def test_no_daemon_is_one_line_with_its_cure(docker: engines.Docker, tmp_path: pathlib.Path) -> None:
    said = refused(docker, "anything", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert "daemon does not run here" in said
    assert "sudo systemctl start docker" in said


def test_a_daemon_that_refuses_this_user_is_one_line_with_its_cure(docker: engines.Docker) -> None:
    done = subprocess.run(
        ["/usr/bin/setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", docker.client, "version"],
        env=docker.variables,
        capture_output=True,
        text=True,
        check=False,
    )
    said = sentence_for(done)
    assert "refuses this user" in said
    assert "usermod -aG docker" in said


def sentence_for(done: subprocess.CompletedProcess[str]) -> str:
    ended = Completed(outcome="ok", exit_code=done.returncode, stderr=done.stderr)
    return engine.why_no_answer(engine.Engine("docker", "docker"), ended)


def test_a_daemon_that_hangs_is_given_up(docker: engines.Docker, tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "hung.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        said = refused(docker, "anything", DOCKER_HOST=f"unix://{path}")
    assert "its daemon hangs" in said
