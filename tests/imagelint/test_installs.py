"""What commands install."""

from __future__ import annotations

import pytest

from envcheck.imagelint.installs import Install, Reader, install_of
from envcheck.imagelint.shell import commands


def installed(
    line: str, *, environment: dict[str, str | None] | None = None, reader: Reader = lambda _: None
) -> Install | None:
    (command,) = commands(line, lambda _: 7, {})
    return install_of(command, "Dockerfile", environment or {}, "/app", reader)


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("pip install torch==2.6.0 'numpy<2'", ["torch", "numpy"]),
        ("python3.11 -m pip install --no-cache-dir torch", ["torch"]),
        ("/opt/venv/bin/pip3 install -U torch", ["torch"]),
        ("sudo -E pip install torch", ["torch"]),
        ("uv pip install --system torch", ["torch"]),
        ("conda run -n base pip install torch", ["torch"]),
        ("pip --no-input install -t /x torch", ["torch"]),
        ("pip install -e . torch", ["torch"]),
        ("pip install git+https://example.com/x.git torch", ["torch"]),
        ("pip install torch > /dev/null", ["torch"]),
        ("pip install 'tensorflow[and-cuda]==2.16.1'", ["tensorflow"]),
        ("pip install torch==${VERSION}", ["torch"]),
        ("mamba install -y -c pytorch pytorch=2.3 pytorch-cuda=12.1", ["pytorch", "pytorch-cuda"]),
        ("conda install nvidia/label/cuda-12.1.0::cuda-toolkit", []),
        ("apt-get install -y --no-install-recommends python3-pip=23.0", ["python3-pip"]),
        ("apk add --no-cache py3-pip", ["py3-pip"]),
    ],
)
def test_the_packages_of_a_command_are_seen(line: str, names: list[str]) -> None:
    found = installed(line)
    assert found is not None
    assert [package.name for package in found.packages] == names


@pytest.mark.parametrize("line", ["pip list", "pip uninstall -y torch", "python train.py", "apt-get update", "uv sync"])
def test_other_commands_install_nothing(line: str) -> None:
    assert installed(line) is None


def test_indexes_come_from_options_and_variables() -> None:
    found = installed("pip install torch -i https://a/simple --extra-index-url=https://b")
    assert found is not None
    assert (found.index, found.extra_indexes) == ("https://a/simple", ["https://b"])
    found = installed("PIP_EXTRA_INDEX_URL=https://c pip install torch", environment={"PIP_INDEX_URL": "https://d"})
    assert found is not None
    assert (found.index, found.extra_indexes) == ("https://d", ["https://c"])


def test_a_torch_backend_of_uv_is_pytorch_s_own_index() -> None:
    found = installed("uv pip install --torch-backend cu126 torch")
    assert found is not None
    assert found.index == "https://download.pytorch.org/whl/cu126"


def test_requirements_files_are_read_with_those_that_they_name() -> None:
    files = {
        "requirements.txt": "-r base.txt\n--extra-index-url https://x\ntorch==2.6.0 # why\n"
        "winreg; sys_platform == 'win32'\n",
        "base.txt": "numpy \\\n  <2\n",
    }
    found = installed("pip install -r requirements.txt", reader=lambda name: (name, files[name]))
    assert found is not None
    assert [(p.name, p.specifier, p.place.path, p.place.line) for p in found.packages] == [
        ("numpy", "<2", "base.txt", 1),
        ("torch", "==2.6.0", "requirements.txt", 3),
    ]
    assert found.extra_indexes == ["https://x"]


def test_requirements_files_that_name_each_other_come_to_an_end() -> None:
    found = installed("pip install -r a.txt", reader=lambda name: (name, "-r a.txt\ntorch\n"))
    assert found is not None
    assert {package.name for package in found.packages} == {"torch"}


def test_the_file_of_a_wheel_says_what_it_is_for() -> None:
    found = installed("pip install https://x/cu121/torch-2.3.0%2Bcu121-cp310-cp310-linux_x86_64.whl")
    assert found is not None
    wheel = found.packages[0].wheel
    assert wheel is not None
    assert (wheel.version, wheel.python, wheel.platform) == ("2.3.0+cu121", "cp310", "linux_x86_64")


def test_a_version_from_a_variable_without_value_is_not_known() -> None:
    found = installed("pip install torch==${VERSION}")
    assert found is not None
    assert found.packages[0].variable
    assert found.packages[0].pinned is None
