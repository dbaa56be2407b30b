"""Remedies on machines where the plain one cannot work."""

from __future__ import annotations

import pytest

from envcheck import cures
from envcheck.facts import Facts, Gpu, Nvml, Packages, Platform, Python
from envcheck.possible import fitting
from envcheck.report import Remedy

DRIVER = Remedy(
    action="Install the NVIDIA driver, then restart",
    commands=["sudo apt install nvidia-driver-550", "sudo reboot"],
    changes="the system's kernel modules",
)


def linux(distribution: str = "ubuntu", **more: object) -> Platform:
    fields = {"user_id": 1000, "libc": "glibc", "libc_version": "2.35", "machine": "x86_64", "wsl": 0, "container": ""}
    return Platform(system="Linux", distribution=distribution, **(fields | more))


def venv(version: str = "3.11.7", **more: object) -> Python:
    fields = {"environment_kind": "venv", "prefix": "/e", "pip_version": "24.0", "platform_tag": "linux-x86_64"}
    return Python(path="/e/bin/python", version=version, **(fields | more))


def gpu(capability: str, driver: str) -> Nvml:
    return Nvml(state="ok", driver_version=driver, gpus=[Gpu(index=0, name="card", compute_capability=capability)])


def pip(*words: str) -> Remedy:
    return Remedy(action="Install it", commands=[f"/e/bin/python -m pip install {' '.join(words)}"], safe=True)


def test_inside_wsl_the_driver_is_that_of_windows() -> None:
    (remedy,) = fitting([DRIVER], Facts(platform=linux(wsl=2)))
    assert remedy.commands == []
    assert remedy.action.startswith("In Windows, not in WSL")


def test_inside_a_container_the_driver_is_the_host_s() -> None:
    (remedy,) = fitting([DRIVER], Facts(platform=linux(container="docker")))
    assert remedy.commands == []
    assert remedy.action == "On the host, not in this container: install the NVIDIA driver, then restart"


def test_a_restart_of_wsl_is_typed_in_windows() -> None:
    (remedy,) = fitting([Remedy(action="Restart", commands=["sudo reboot"])], Facts(platform=linux(wsl=2)))
    assert (remedy.commands, remedy.shell) == (["wsl --shutdown"], "powershell")


@pytest.mark.parametrize(
    ("distribution", "works"), [("ubuntu", True), ("linuxmint", True), ("fedora", False), ("nixos", False)]
)
def test_another_distribution_s_package_manager_is_never_named(distribution, works) -> None:
    library = Remedy(action="Install libGL", commands=["sudo apt-get install libgl1"])
    (remedy,) = fitting([library], Facts(platform=linux(distribution)))
    assert bool(remedy.commands) is works
    assert remedy.action.startswith("Install libGL")


def test_of_several_remedies_those_that_work_here_are_left() -> None:
    library = Remedy(action="Install libGL", commands=["sudo apt-get install libgl1"])
    headless = pip("opencv-python-headless")
    assert fitting([library, headless], Facts(platform=linux("arch"), python=venv())) == [headless]


def test_root_is_not_told_to_use_sudo_and_a_container_s_packages_belong_into_its_image() -> None:
    library = Remedy(action="Install libGL", commands=["sudo apt-get update", "sudo apt-get install libgl1"])
    (remedy,) = fitting([library], Facts(platform=linux("debian", user_id=0, container="docker")))
    assert remedy.commands == ["apt-get update", "apt-get install libgl1"]
    assert "image" in remedy.action


def test_where_there_is_no_dnf_yet_it_is_yum() -> None:
    library = Remedy(action="Install it", commands=["sudo dnf install libgomp"])
    (remedy,) = fitting([library], Facts(platform=linux("centos", distribution_version="7.9")))
    assert remedy.commands == ["sudo yum install libgomp"]


def test_variables_are_set_the_way_of_powershell_on_windows() -> None:
    remedies = [Remedy(action="Set", commands=["export A=1 B=2"]), Remedy(action="Unset", commands=["unset C"])]
    fitted = fitting(remedies, Facts(platform=Platform(system="Windows", distribution="windows")))
    assert [remedy.commands for remedy in fitted] == [["$env:A = '1'", "$env:B = '2'"], ["Remove-Item Env:C"]]
    assert {remedy.shell for remedy in fitted} == {"powershell"}


def test_environments_are_made_the_way_of_windows_there() -> None:
    (remedy,) = fitting([cures.new_environment()], Facts(platform=Platform(system="Windows", distribution="windows")))
    assert remedy.commands == ["py -m venv .venv", r".venv\Scripts\python -m pip install -r requirements.txt"]


def test_a_torch_that_the_driver_cannot_run_gives_way_to_one_that_it_can() -> None:
    facts = Facts(platform=linux(), python=venv(), nvml=gpu("8.0", "470.256.02"))
    (remedy,) = fitting([pip("torch==2.6.0")], facts)
    assert "cu118" in remedy.commands[0]
    assert remedy.safe


def test_a_torch_without_a_version_is_the_one_that_an_installer_would_take() -> None:
    facts = Facts(platform=linux(), python=venv(), nvml=gpu("8.0", "470.256.02"))
    assert "cu118" in fitting([pip("torch")], facts)[0].commands[0]
    newer = Facts(platform=linux(), python=venv(), nvml=gpu("8.0", "580.95.05"))
    assert fitting([pip("torch")], newer) == [pip("torch")]


def test_a_torch_without_a_wheel_for_this_python_gives_way() -> None:
    (remedy,) = fitting([pip("torch==2.0.1")], Facts(platform=linux(), python=venv("3.13.0")))
    assert "torch==2.0.1" not in remedy.commands[0]


def test_where_no_build_runs_it_is_said_why() -> None:
    (remedy,) = fitting([pip("torch==2.6.0")], Facts(platform=linux(libc="musl", libc_version="1.2.4"), python=venv()))
    assert remedy.commands == []
    assert "musl" in remedy.action


def test_numpy_1_is_not_offered_for_a_python_that_has_none() -> None:
    (remedy,) = fitting([pip("'numpy<2'")], Facts(platform=linux(), python=venv("3.13.1")))
    assert remedy.commands == []
    assert "3.13" in remedy.action
    assert fitting([pip("'numpy<2'")], Facts(platform=linux(), python=venv("3.12.1"))) == [pip("'numpy<2'")]


def test_a_plain_pip_install_becomes_that_of_the_environment_and_what_a_message_named_is_quoted() -> None:
    remedies = [Remedy(action="Install it", commands=["python -m pip install 'x; reboot'"])]
    (remedy,) = fitting(remedies, Facts(platform=linux(), python=venv()))
    assert remedy.commands == ["/e/bin/python -m pip install 'x; reboot'"]


def test_conda_is_named_for_conda_s_environments_alone_and_told_which_one() -> None:
    library = Remedy(action="Install a newer libstdc++", commands=["conda install -c conda-forge libstdcxx-ng"])
    (remedy,) = fitting(
        [library], Facts(platform=linux(), python=venv(environment_kind="conda", conda_program="mamba"))
    )
    assert remedy.commands == ["mamba install --prefix /e -c conda-forge libstdcxx-ng"]
    assert fitting([library], Facts(platform=linux(), python=venv()))[0].commands == []


def test_nothing_is_judged_of_a_machine_of_which_nothing_is_known() -> None:
    remedies = [DRIVER, pip("torch==2.6.0"), pip("'numpy<2'")]
    assert fitting(remedies, Facts()) == remedies


def test_files_to_be_edited_pass_as_they_are() -> None:
    compose = Remedy(  # noqa: S604 - what the lines are written for
        action="Write", commands=["deploy:", "  resources: {"], shell="yaml"
    )
    assert fitting([compose], Facts(platform=linux("fedora"))) == [compose]


@pytest.mark.parametrize(
    ("python", "command"),
    [
        (venv(), "/e/bin/python -m pip install 'numpy<2'"),
        (venv(environment_kind="uv", pip_version=""), "uv pip install --python /e/bin/python 'numpy<2'"),
        (venv(project_tool="uv", project="/p"), "uv add --project /p 'numpy<2'"),
        (venv(project_tool="poetry", project="/p q"), "poetry --directory '/p q' add 'numpy<2'"),
        (venv(project_tool="pdm", project="/p"), "pdm add --project /p 'numpy<2'"),
        (venv(project_tool="pixi", project="/p"), "pixi add --manifest-path /p --pypi 'numpy<2'"),
        (venv(environment_kind="conda", conda_program="mamba"), "mamba install --prefix /e 'numpy<2'"),
        (venv(environment_kind="system", externally_managed=True), "python3 -m venv .venv"),
    ],
)
def test_the_program_that_owns_an_environment_installs_into_it(python, command) -> None:
    remedy = cures.install(python, ["numpy<2"], "Install NumPy 1", packages=Packages(conda_managed=["numpy"]))
    assert remedy.commands[0] == command
    assert remedy.safe is (python.project_tool is None and python.environment_kind in {"venv", "uv"})


def test_what_conda_does_not_manage_is_pip_s_in_a_conda_environment() -> None:
    python = venv(environment_kind="conda", conda_program="conda")
    remedy = cures.install(python, ["numpy<2"], "Install NumPy 1", packages=Packages(conda_managed=["python"]))
    assert remedy.commands == ["/e/bin/python -m pip install 'numpy<2'"]


def test_a_powershell_command_calls_a_program_in_a_folder_with_blanks() -> None:
    python = Python(path=r"C:\A B\python.exe", platform_tag="win-amd64", environment_kind="venv", pip_version="24")
    remedy = cures.install(python, ["numpy<2"], "Install NumPy 1")
    assert remedy.commands == [r"& 'C:\A B\python.exe' -m pip install 'numpy<2'"]
    assert remedy.shell == "powershell"
