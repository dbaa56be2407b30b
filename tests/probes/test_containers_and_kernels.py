"""Docker, NVIDIA's container toolkit, Jupyter kernels and environment variables, as files and variables show them."""

from __future__ import annotations

import json

import msgspec
import pytest

from envcheck.interpreter import Interpreter
from envcheck.probe import Ended
from envcheck.probes.containers import containers
from envcheck.probes.jupyter import jupyter
from envcheck.probes.variables import variables
from envcheck.system import Status
from envcheck.testing import machine

SOCKET = "status /var/run/docker.sock"


def socket(*, usable):
    return msgspec.to_builtins(Status(outcome="ok", kind="socket", readable=usable, writable=usable))


def test_a_host_without_containers_has_empty_answers_not_unknown_ones():
    seen = containers(machine())
    assert (seen.docker_path, seen.docker_socket, seen.toolkit_path, seen.podman_path) == ("", "", "", "")
    assert seen.docker_socket_accessible is None
    assert (seen.visible_devices, seen.image_cuda) == ("", "")


def test_a_client_without_a_daemon_cannot_reach_one():
    seen = containers(machine(programs={"docker": "/usr/bin/docker"}))
    assert (seen.docker_socket, seen.docker_socket_accessible) == ("", False)


@pytest.mark.parametrize("usable", [True, False])
def test_the_sockets_rights_say_who_may_talk_to_the_daemon(usable):
    seen = containers(machine(programs={"docker": "/usr/bin/docker"}, more={SOCKET: socket(usable=usable)}))
    assert (seen.docker_socket, seen.docker_socket_accessible) == ("/var/run/docker.sock", usable)


def test_a_daemon_on_another_machine_is_not_judged():
    seen = containers(machine(programs={"docker": "/usr/bin/docker"}, variables={"DOCKER_HOST": "ssh://me@server"}))
    assert seen.docker_socket_accessible is None
    other = machine(
        programs={"docker": "/usr/bin/docker"},
        answers={"home": "/home/u"},
        files={"/home/u/.docker/config.json": '{"currentContext": "colima"}'},
    )
    assert containers(other).docker_socket_accessible is None


def test_runtimes_are_read_from_the_daemons_configuration():
    text = json.dumps({"runtimes": {"nvidia": {"path": "nvidia-container-runtime"}}, "default-runtime": "nvidia"})
    seen = containers(machine(files={"/etc/docker/daemon.json": text}, programs={"nvidia-ctk": "/usr/bin/nvidia-ctk"}))
    assert (seen.runtimes, seen.default_runtime, seen.toolkit_path) == (["nvidia"], "nvidia", "/usr/bin/nvidia-ctk")
    assert seen.daemon_configuration_problem == ""


@pytest.mark.parametrize("text", ["{,}", "[]", '"nvidia"'])
def test_a_damaged_configuration_is_said_and_harms_nothing(text):
    seen = containers(machine(files={"/etc/docker/daemon.json": text}))
    assert seen.daemon_configuration_problem
    assert seen.runtimes == []


def test_what_the_image_asks_for_is_read_from_its_variables():
    seen = containers(machine(variables={"NVIDIA_VISIBLE_DEVICES": "all", "CUDA_VERSION": "12.4.1"}))
    assert (seen.visible_devices, seen.image_cuda, seen.driver_capabilities) == ("all", "12.4.1", "")


def test_variables_that_matter_are_kept_and_secrets_masked():
    seen = variables(
        machine(
            variables={
                "OMP_NUM_THREADS": "4",
                "PIP_INDEX_URL": "https://me:hunter2@index.example.com/simple",
                "UV_INDEX_TOKEN": "hunter2",
                "EDITOR": "vi",
            }
        )
    )
    assert seen.values == {
        "OMP_NUM_THREADS": "4",
        "PIP_INDEX_URL": "https://***@index.example.com/simple",
        "UV_INDEX_TOKEN": "***",
    }


HERE = Interpreter("/env/bin/python", "given", folder="/env")


def kernel_file(program, name="Python 3"):
    return json.dumps({"argv": [program, "-m", "ipykernel_launcher"], "display_name": name, "language": "python"})


def test_kernels_are_found_in_the_order_in_which_jupyter_looks():
    seen = jupyter(
        machine(
            files={
                "/env/share/jupyter/kernels/python3/kernel.json": kernel_file("python"),
                "/home/u/.local/share/jupyter/kernels/old/kernel.json": kernel_file("/gone/bin/python", "Old"),
                "/home/u/.local/share/jupyter/kernels/Python3/kernel.json": kernel_file("/other/bin/python"),
                "/usr/local/share/jupyter/kernels/here/kernel.json": kernel_file("/env/bin/python"),
                "/env/bin/python": "",
            },
            answers={"home": "/home/u", "uname": {"system": "Linux"}},
        ),
        HERE,
    )
    found = {kernel.name: kernel for kernel in seen.kernels or []}
    assert list(found) == ["python3", "old", "here"]
    assert found["python3"].interpreter_found is None
    assert found["old"].interpreter_found is False
    assert found["here"].interpreter_found is True


@pytest.mark.parametrize("text", ["{", "[]", '{"argv": []}', '{"argv": "python"}', '{"argv": [1]}'])
def test_a_damaged_kernel_is_listed_with_what_is_wrong(text):
    seen = jupyter(machine(files={"/env/share/jupyter/kernels/bad/kernel.json": text}), HERE)
    assert seen.kernels
    assert seen.kernels[0].problem


@pytest.mark.parametrize(
    ("system", "variables", "folder"),
    [
        ("Darwin", {}, "/home/u/Library/Jupyter"),
        ("Windows", {"APPDATA": "C:/Users/u/AppData/Roaming"}, "C:/Users/u/AppData/Roaming/jupyter"),
        ("Linux", {"JUPYTER_PATH": "/extra/jupyter"}, "/extra/jupyter"),
        ("Linux", {"JUPYTER_DATA_DIR": "/data/jupyter"}, "/data/jupyter"),
        ("Linux", {"XDG_DATA_HOME": "/xdg"}, "/xdg/jupyter"),
    ],
)
def test_each_systems_own_folder_is_looked_into(system, variables, folder):
    seen = jupyter(
        machine(
            files={f"{folder}/kernels/k/kernel.json": kernel_file("/bin/python")},
            answers={"home": "/home/u", "uname": {"system": system}},
            variables=variables,
        ),
        HERE,
    )
    assert [kernel.name for kernel in seen.kernels or []] == ["k"]


def test_a_machine_without_kernels_has_nothing_to_judge():
    with pytest.raises(Ended):
        jupyter(machine(answers={"home": "/home/u"}), HERE)
