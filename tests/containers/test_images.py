"""The images, really built."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import pathlib
import re
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import container_engines as engines
import pytest
import yaml


def inspected(docker: engines.Docker, image: str) -> dict[str, Any]:
    (found,) = json.loads(docker.run("image", "inspect", image, check=True).stdout)
    return dict(found["Config"])


def inside(docker: engines.Docker, image: str, *command: str, options: tuple[str, ...] = ()) -> str:
    return docker.run(
        "run", "--rm", "--network", "none", "-e", "ENVCHECK_MODE=off", *options, image, *command, check=True
    ).stdout


def test_the_image_computes_as_a_user_who_is_not_root(docker: engines.Docker, torch_image: str) -> None:
    code = "import os, torch; print(os.getuid(), os.getcwd(), int((torch.ones(2, 2) @ torch.ones(2, 2)).sum()))"
    assert inside(docker, torch_image, "python", "-c", code).split() == ["1000", "/workspace", "8"]
    assert inspected(docker, torch_image)["User"] == "1000:1000"


def test_the_image_says_what_it_is_how_it_is_gated_and_how_its_health_is_asked(
    docker: engines.Docker, torch_image: str
) -> None:
    configuration = inspected(docker, torch_image)
    assert configuration["Labels"]["org.opencontainers.image.version"] == "1.2.3"
    assert configuration["Labels"]["envcheck.stack"] == "torch-cpu"
    assert configuration["Entrypoint"] == ["envcheck", "entrypoint", "--"]
    assert configuration["Healthcheck"]["Test"][:3] == ["CMD", "envcheck", "doctor"]


INSTALLED = (
    "import importlib.metadata as m, json, re, sys; found = m.distributions(path=sys.argv[1:]); "
    "print(json.dumps({re.sub('[-_.]+', '-', d.metadata['Name']).lower(): d.version for d in found}))"
)


def pins(lock: str) -> dict[str, str]:
    """Return name → version of a lock in the project's folder."""
    return dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (engines.ROOT / lock).read_text("utf-8"), re.MULTILINE))


def agree_with_the_locks(docker: engines.Docker, image: str, stack: str) -> None:
    """Assert that both environments of an image hold what their locks name, in those versions, and nothing else."""
    folders = [f"/opt/{name}/lib/python3.11/site-packages" for name in ("stack", "envcheck")]
    of_stack, own = (json.loads(inside(docker, image, "python3", "-c", INSTALLED, folder)) for folder in folders)
    locked = pins(f"environments/{stack}/lock.linux-x86_64.txt")
    # Python's own venv brings these two.
    assert {name: version for name, version in of_stack.items() if name in locked or name not in BROUGHT} == locked
    locked = pins("docker/envcheck.lock.txt")
    # What builds envcheck is taken out again.
    assert {**own, "setuptools": locked["setuptools"]} == {**locked, "envcheck-ml": own["envcheck-ml"]}


BROUGHT = {"pip", "setuptools"}


def test_scanners_see_every_package_and_every_version_is_the_lock_s(docker: engines.Docker, torch_image: str) -> None:
    agree_with_the_locks(docker, torch_image, "torch-cpu")
    assert "python3" in inside(docker, torch_image, "dpkg-query", "--show")


def test_envcheck_adds_less_than_a_hundred_megabytes(docker: engines.Docker, torch_image: str) -> None:
    form = ("--no-trunc", "--human=false", "--format", "{{.Size}} {{.CreatedBy}}")
    layers = docker.run("history", *form, torch_image, check=True).stdout.splitlines()
    (size,) = [int(line.split()[0]) for line in layers if "COPY /opt/envcheck" in line]
    assert 20_000_000 < size < 100_000_000


@contextlib.contextmanager
def an_index_that_asks_for_a_password() -> Iterator[tuple[str, list[str]]]:
    """A package index that has nothing; yield its host and port, and what it is sent to prove who asks."""
    proofs: list[str] = []

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            proofs.append(self.headers.get("Authorization", ""))
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", proofs
        server.shutdown()
        thread.join()


def test_a_password_that_a_build_was_given_is_in_no_layer_and_in_no_history(
    docker: engines.Docker, work: pathlib.Path
) -> None:
    mark = f"marked-{uuid.uuid4().hex}"
    with an_index_that_asks_for_a_password() as (address, proofs):
        image = engines.build(
            *(docker, work, "envcheck/secret:test", "torch-cpu", "cpu"),
            # One of the arguments that Docker keeps out of an image by itself; layers that are kept ask no index.
            *("--no-cache", "--build-arg", f"FTP_PROXY=http://someone:{mark}@{address}"),
            pip={"extra-index-url": f"http://someone:{mark}@{address}/simple/"},
        )
    shown = base64.b64encode(f"someone:{mark}".encode())
    assert f"Basic {shown.decode()}" in proofs, "the secret was not used, so that nothing is proved"
    history = docker.run("history", "--no-trunc", image, check=True).stdout
    assert mark not in history + docker.run("image", "inspect", image, check=True).stdout
    # The first is in a file of a layer, the second in the history: both are looked through.
    there = (b"envcheck: the locks are made for Python 3.11", b"envcheck.stack")
    assert engines.held(docker, image, (*there, mark.encode(), shown)) == set(there)
    files = inside(docker, image, "sh", "-c", "ls /run/secrets /etc/pip.conf /wheelhouse 2>&1 || true")
    assert "ca-certificates" not in files


def test_only_the_stack_is_on_path_and_envcheck_examines_it(docker: engines.Docker, torch_image: str) -> None:
    report = json.loads(inside(docker, torch_image, "envcheck", "doctor", "--quick", "--json", "--skip", "*shared*"))
    assert report["facts"]["python"]["prefix"] == "/opt/stack"
    assert report["facts"]["torch"]["metadata_version"] == "2.13.0+cpu"
    assert inside(docker, torch_image, "sh", "-c", "command -v click || echo none").strip() == "none"


@pytest.mark.parametrize(
    ("stack", "target", "command", "words"),
    [
        ("tf-cpu", "cpu", ("python", "-c", "import tensorflow as tf; print(int(tf.ones([2, 2]).numpy().sum()))"), "4"),
        (
            "tf-torch",
            "cpu",
            (
                *("python", "-c"),
                "import tensorflow as tf, torch; print(int(tf.ones([2, 2]).numpy().sum() + torch.ones(2, 2).sum()))",
            ),
            "8",
        ),
    ],
)
def test_the_other_images_are_built_and_do_what_they_are_for(
    docker: engines.Docker, work: pathlib.Path, stack: str, target: str, command: tuple[str, ...], words: str
) -> None:
    image = engines.build(docker, work, f"envcheck/{stack}:test", stack, target)
    assert words in inside(docker, image, *command)
    agree_with_the_locks(docker, image, stack)


def test_jupyter_answers_under_the_minimal_init_and_ends_in_time_when_docker_stops_it(
    docker: engines.Docker, work: pathlib.Path
) -> None:
    """Started as it is: its own entrypoint and command."""
    image = engines.build(docker, work, "envcheck/jupyter:test", "jupyter", "jupyter")
    agree_with_the_locks(docker, image, "jupyter")
    name, token = "envcheck-jupyter", "a-token-of-the-test"
    options = ("--network", "none", "--shm-size", "1g", "-e", f"JUPYTER_TOKEN={token}")
    docker.run("run", "--detach", "--name", name, *options, image, check=True)
    ask = (
        "import json, urllib.request as u; r = u.Request('http://127.0.0.1:8888/api/status', "
        f"headers={{'Authorization': 'token {token}'}}); print(json.load(u.urlopen(r, timeout=5))['kernels'])"
    )
    try:
        until = time.monotonic() + 60
        while (said := docker.run("exec", name, "python", "-c", ask)).returncode and time.monotonic() < until:
            time.sleep(0.5)
        assert said.stdout == "0\n", said.stderr + docker.run("logs", name).stderr
        first = docker.run("exec", name, "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline", check=True).stdout
        assert "minimal_init.py" in first
        assert "jupyter lab --ip=0.0.0.0 --port=8888 --no-browser" in first
        memory = docker.run("exec", name, "sed", "-n", "s/VmRSS: *//p", "/proc/1/status", check=True).stdout
        assert int(memory.split()[0]) < 15_000, "the init that stays is said to have 10 MB"
        began = time.monotonic()
        docker.run("stop", "--time", "10", name, check=True)
        took = time.monotonic() - began
        (state,) = json.loads(docker.run("inspect", name).stdout)
    finally:
        docker.run("rm", "--force", name)
    assert took < 9
    assert state["State"]["ExitCode"] == 0


def test_a_stack_that_is_not_there_is_named_with_those_that_are(docker: engines.Docker, work: pathlib.Path) -> None:
    with pytest.raises(AssertionError, match=r"there is no stack tf-gpu; there are: .*torch-cpu"):
        engines.build(docker, work, "envcheck/none:test", "tf-gpu", "cpu")


def test_a_base_with_another_python_is_refused_with_what_to_take(docker: engines.Docker, work: pathlib.Path) -> None:
    folder = work / "other-python"
    folder.mkdir()
    (folder / "python3").write_text('#!/bin/sh\ncase "$1" in --version) echo Python 3.9.2;; *venv*) ;; esac\nexit 0\n')
    (folder / "Dockerfile").write_text(
        f'FROM {engines.BASE}\nCOPY --chmod=755 python3 /usr/local/bin/python3\nRUN sed -i \'s/^exit 0/case "$*" in '
        f"*version_info*) exit 1;; esac/' /usr/local/bin/python3\n"
    )
    docker.run("build", "--network", "none", "--tag", "other-python:test", str(folder), check=True)
    done = docker.run(
        *("build", "--network", "host", "--file", "docker/Dockerfile", "--build-arg", "BASE_IMAGE=other-python:test"),
        str(engines.context(work)),
    )
    assert done.returncode != 0
    assert "the locks are made for Python 3.11, and BASE_IMAGE has Python 3.9.2" in done.stderr


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = engines.CACHE / "tools" / "bin" / "hadolint"
    if not hadolint.exists():
        pytest.skip("THE DOCKERFILE WAS NOT LINTED: hadolint is missing; `make containers` installs it")
    done = subprocess.run(
        [str(hadolint), str(engines.ROOT / "docker" / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_starts_a_service_behind_the_gate_and_leaves_nothing(
    docker: engines.Docker, torch_image: str, tmp_path: pathlib.Path
) -> None:
    compose = shutil.which("docker-compose")
    if compose is None:
        pytest.skip("COMPOSE WAS NOT TESTED: docker-compose is missing; `make containers` installs it")
    docker.run("tag", torch_image, "envcheck/torch-cpu", check=True)
    file = engines.ROOT / "docker" / "compose.yaml"
    # Compose would make a network for the project, and with it a bridge on this machine.
    services = yaml.safe_load(file.read_text("utf-8"))["services"]
    without = tmp_path / "no-network.yaml"
    without.write_text(json.dumps({"services": {name: {"network_mode": "none"} for name in services}}))

    def composed(*args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [compose, "--file", str(file), "--file", str(without), "--project-name", "envcheck-test", *args],
            env={**docker.variables, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def there() -> list[object]:
        listed = (("ps", "--all", "--quiet"), ("network", "ls", "--quiet"), ("volume", "ls", "--quiet"))
        return [engines.network(), *(sorted(docker.run(*words, check=True).stdout.split()) for words in listed)]

    before = there()
    shown = composed("config")
    assert shown.returncode == 0, shown.stderr
    assert "capabilities:\n          - gpu" in shown.stdout.replace("            - gpu", "          - gpu")
    try:
        done = composed(
            "run", "--rm", "-T", "torch-cpu", "sh", "-c", "df -k /dev/shm | tail -1; cat /tmp/envcheck/ready.json"
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout.split()[1]) >= 2 * 2**20
        assert '"verdict":"ok"' in done.stdout
        other = composed("run", "--rm", "-T", "torch-cpu", "id", "-u", ENVCHECK_USER="4242:4242")
        assert (other.returncode, other.stdout.strip()) == (0, "4242"), other.stderr
    finally:
        down = composed("down", "--volumes", "--remove-orphans")
        docker.run("rmi", "envcheck/torch-cpu", check=True)
    assert down.returncode == 0, down.stderr
    assert there() == before
