"""Where Jupyter looks, what it finds there, and what its commands come to: on machines of every kind."""

from __future__ import annotations

import json

import pytest

from envcheck.facts import Python
from envcheck.jupyter import names, repairs
from envcheck.jupyter.examine import Environment
from envcheck.jupyter.folders import conda_environments, kernel_folders
from envcheck.jupyter.interpreters import resolve
from envcheck.jupyter.model import Folder, Kernel, Specification
from envcheck.jupyter.server import find
from envcheck.jupyter.specifications import command_of, conda_name, read_all
from envcheck.testing import machine

LINUX = {"home": "/home/ada", "uname": {"system": "Linux"}, "working_directory": "/home/ada"}
VENV = Python(path="/venv/bin/python", prefix="/venv", base_prefix="/usr", version="3.12.1")
SYSTEM = Python(path="/usr/bin/python3", prefix="/usr", base_prefix="/usr", version="3.11.2")
KERNEL = json.dumps({"argv": ["python", "-f", "{connection_file}"], "display_name": "P", "language": "python"})


def paths(system, server, **options):
    return [folder.path for folder in kernel_folders(system, server, **options)]


def test_in_an_environment_of_the_user_s_own_its_kernels_come_before_the_user_s():
    system = machine(files={"/venv/pyvenv.cfg": ""}, answers=LINUX)
    assert paths(system, VENV) == [
        "/venv/share/jupyter/kernels",
        "/home/ada/.local/share/jupyter/kernels",
        "/usr/local/share/jupyter/kernels",
        "/usr/share/jupyter/kernels",
        "/home/ada/.ipython/kernels",
    ]


def test_the_system_s_jupyter_looks_into_the_user_s_folder_first_and_into_none_twice():
    found = paths(machine(answers=LINUX), SYSTEM)
    assert found[0] == "/home/ada/.local/share/jupyter/kernels"
    assert found.count("/usr/share/jupyter/kernels") == 1


@pytest.mark.parametrize(("said", "first"), [("0", "/home/ada/.local"), ("no", "/home/ada/.local"), ("1", "/venv")])
def test_the_user_may_say_which_comes_first(said, first):
    system = machine(files={"/venv/pyvenv.cfg": ""}, answers=LINUX, variables={"JUPYTER_PREFER_ENV_PATH": said})
    assert paths(system, VENV)[0] == f"{first}/share/jupyter/kernels"


def test_folders_named_in_variables_are_searched():
    variables = {"JUPYTER_PATH": "/a/:/b", "JUPYTER_DATA_DIR": "/data", "IPYTHONDIR": "/ipython"}
    found = paths(machine(answers=LINUX, variables=variables), SYSTEM)
    assert found[:3] == ["/a/kernels", "/b/kernels", "/data/kernels"]
    assert found[-1] == "/ipython/kernels"


@pytest.mark.parametrize(
    ("system", "variables", "user"),
    [
        ("Darwin", {}, "/home/ada/Library/Jupyter/kernels"),
        ("Windows", {"APPDATA": "C:/Users/ada/AppData/Roaming"}, "C:/Users/ada/AppData/Roaming/jupyter/kernels"),
        ("Linux", {"XDG_DATA_HOME": "/data"}, "/data/jupyter/kernels"),
    ],
)
def test_each_platform_has_its_own_user_folder(system, variables, user):
    assert user in paths(machine(answers={**LINUX, "uname": {"system": system}}, variables=variables), SYSTEM)


def test_windows_trusts_programdata_only_where_it_is_told_to():
    answers = {**LINUX, "uname": {"system": "Windows"}}
    variables = {"PROGRAMDATA": "C:/ProgramData"}
    assert "C:/ProgramData/jupyter/kernels" not in paths(machine(answers=answers, variables=variables), None)
    variables["JUPYTER_USE_PROGRAMDATA"] = "yes"
    assert "C:/ProgramData/jupyter/kernels" in paths(machine(answers=answers, variables=variables), None)


def test_conda_s_environments_are_found_by_its_own_list_and_below_its_base():
    files = {f"{place}/conda-meta/history": "" for place in ("/conda", "/conda/envs/train", "/elsewhere/env")}
    files["/home/ada/.conda/environments.txt"] = "/elsewhere/env\n/removed/env\n"
    system = machine(files=files, answers=LINUX, variables={"CONDA_EXE": "/conda/bin/conda"})
    assert conda_environments(system) == ["/conda", "/conda/envs/train", "/elsewhere/env"]
    assert "/elsewhere/env/share/jupyter/kernels" in paths(system, SYSTEM, conda_kernels=True)
    assert "/elsewhere/env/share/jupyter/kernels" not in paths(system, SYSTEM)


@pytest.mark.parametrize(
    ("environment", "kernel", "name"),
    [
        ("/conda/envs/train", "python3", "conda-env-train-py"),
        ("/conda/envs/My Env", "ir", "conda-env-my_env-r"),
        ("/conda", "python3", "conda-base-py"),
    ],
)
def test_kernels_of_conda_environments_have_the_names_that_nb_conda_kernels_gives(environment, kernel, name):
    assert conda_name(environment, kernel) == name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "empty"),
        ("{", "not valid JSON"),
        ("[]", "no JSON object"),
        ("{}", "no command"),
        ('{"argv": []}', "no command"),
        ('{"argv": "python -m x"}', "no command"),
        ('{"argv": [1]}', "no command"),
        ('{"argv": ["python"]}', "{connection_file}"),
        ('{"argv": ["python", "{connection_file}"], "display_name": "\ufffd"}', "UTF-8"),
    ],
)
def test_a_description_that_jupyter_cannot_use_is_told_with_the_reason(text, problem):
    system = machine(files={"/k/bad/kernel.json": text})
    (found,) = read_all(system, [Folder(path="/k", kind="user")])
    assert problem in found.problem


def test_a_kernel_that_something_else_starts_needs_no_connection_file():
    metadata = {"kernel_provisioner": {"provisioner_name": "yarn-provisioner"}}
    text = json.dumps({"argv": ["run"], "metadata": metadata})
    (found,) = read_all(machine(files={"/k/remote/kernel.json": text}), [Folder(path="/k", kind="user")])
    assert (found.problem, found.provisioner) == ("", "yarn-provisioner")


def test_of_two_kernels_of_one_name_the_first_hides_the_second():
    system = machine(files={"/a/Py/kernel.json": KERNEL, "/b/py/kernel.json": KERNEL})
    first, second = read_all(system, [Folder(path="/a", kind="user"), Folder(path="/b", kind="system")])
    assert (first.name, first.hidden_by) == ("py", "")
    assert second.hidden_by == "/a/Py"


def test_placeholders_are_filled_in_as_jupyter_does_it():
    one = Specification(name="k", folder="/k/k", found_in="user", argv=["{resource_dir}/run", "{prefix}", "{other}"])
    assert command_of(one, VENV) == ["/k/k/run", "/venv", "{other}"]


@pytest.mark.parametrize("word", ["python", "python3", "python3.12"])
def test_a_bare_python_is_the_one_that_runs_the_server(word):
    one = Specification(name="k", folder="/k/k", found_in="user", argv=[word, "-m", "ipykernel"])
    assert command_of(one, VENV)[0] == "/venv/bin/python"


def test_a_bare_python_of_another_series_is_looked_for_on_path():
    one = Specification(name="k", folder="/k/k", found_in="user", argv=["python3.9"])
    assert command_of(one, VENV) == ["python3.9"]


CONDA = machine(
    files={
        "/conda/envs/train/conda-meta/history": "",
        "/conda/envs/train/bin/python": "",
        "/usr/bin/env": "",
        "/usr/bin/python3": "",
    },
    answers=LINUX,
    variables={"CONDA_EXE": "/conda/bin/conda"},
    programs={"conda": "/conda/bin/conda", "python3": "/usr/bin/python3", "uv": "/usr/bin/uv"},
)


@pytest.mark.parametrize(
    ("argv", "interpreter", "wrapper"),
    [
        ("conda run -n train --no-capture-output python -m ipykernel", "/conda/envs/train/bin/python", "conda run"),
        ("conda run --prefix=/conda/envs/train python", "/conda/envs/train/bin/python", "conda run"),
        ("/usr/bin/env A=b python3 -m ipykernel", "/usr/bin/python3", "env"),
        ("python3 -m nb_conda_kernels.runner /conda /conda/envs/train python -m ipykernel",
         "/conda/envs/train/bin/python", "nb_conda_kernels"),
        ("uv run --project /p python -m ipykernel", "", "uv run"),
        ("python3 -m ipykernel", "/usr/bin/python3", ""),
    ],
)  # fmt: skip
def test_the_interpreter_behind_a_wrapper_is_found(argv, interpreter, wrapper):
    found = resolve(CONDA, argv.split())
    assert (found.interpreter, found.wrapper, found.missing) == (interpreter, wrapper, "")


@pytest.mark.parametrize(
    ("argv", "missing"),
    [
        ("/gone/bin/python -m ipykernel", "/gone/bin/python"),
        ("R --slave", "R"),
        ("conda run -n other python", "the conda environment other"),
        ("conda run -p /gone python", "the environment /gone"),
    ],
)
def test_what_is_gone_is_named(argv, missing):
    assert resolve(CONDA, argv.split()).missing == missing


@pytest.mark.parametrize(
    ("script", "interpreter"),
    [
        ("#!/venv/bin/python\n", "/venv/bin/python"),
        ("#!/usr/bin/env python3\n", "/usr/bin/python3"),
        ("#!/bin/sh\n'''exec' \"/a b/bin/python\" \"$0\" \"$@\"\n' '''\n", "/a b/bin/python"),
        ("\x7fELF", ""),
    ],
)
def test_the_server_s_interpreter_is_read_from_its_program(script, interpreter):
    system = machine(
        files={"/bin/jupyter-lab": script}, programs={"jupyter-lab": "/bin/jupyter-lab", "python3": "/usr/bin/python3"}
    )
    server = find(system, "/venv")
    assert server is not None
    assert server.interpreter == interpreter


def test_where_path_has_no_server_the_environment_s_own_counts():
    system = machine(files={"/venv/bin/jupyter": "", "/venv/bin/python": ""})
    server = find(system, "/venv")
    assert server is not None
    assert (server.program, server.interpreter) == ("/venv/bin/jupyter", "/venv/bin/python")
    assert find(machine(), "/venv") is None


def dead(program, folder="/home/ada/.local/share/jupyter/kernels/k"):
    one = Specification(name="k", folder=folder, found_in="user", argv=[program, "-f", "{connection_file}"])
    return Kernel(specification=one, state="missing")


HERE = Environment(python=Python(path="/new/project/.venv/bin/python", prefix="/new/project/.venv", state="ok"))


@pytest.mark.parametrize(
    ("files", "kernel", "right"),
    [
        (["/e/bin/python"], dead("/e/bin/python3.9"), "/e/bin/python"),
        (["/moved/env/pyvenv.cfg", "/moved/env/bin/python"],
         dead("/old/env/bin/python", "/moved/env/share/jupyter/kernels/python3"), "/moved/env/bin/python"),
        (["/new/project/.venv/bin/python"], dead("/old/project/.venv/bin/python"), "/new/project/.venv/bin/python"),
        (["/new/project/.venv/bin/python"], dead("/old/other/.venv/bin/python"), ""),
        ([], dead("/old/project/.venv/bin/python"), ""),
        (["/usr/bin/python3"], dead("/opt/x/bin/python", "/usr/share/jupyter/kernels/k"), ""),
    ],
)  # fmt: skip
def test_a_dead_kernel_is_repaired_only_where_the_right_interpreter_is_beyond_doubt(files, kernel, right):
    system = machine(files=dict.fromkeys(files, ""), answers=LINUX)
    assert repairs.right_interpreter(system, kernel, HERE) == right


@pytest.mark.parametrize(
    ("files", "kernel", "why"),
    [
        ([], dead("/mnt/disk/env/bin/python"), "/mnt/disk, which is not there now"),
        (["/env/pyvenv.cfg"], dead("/env/bin/python"), "without an interpreter"),
        ([], dead("R"), "not on PATH"),
        ([], dead("/gone/bin/python"), ""),
    ],
)
def test_what_may_come_back_is_not_removed(files, kernel, why):
    kept = repairs.why_kept(machine(files=dict.fromkeys(files, ""), answers=LINUX), kernel)
    assert why in kept
    assert bool(why) == bool(kept)


@pytest.mark.parametrize(
    ("prefix", "taken", "name"),
    [
        ("/home/ada/My Project/.venv", (), "my-project"),
        ("/conda/envs/train", ("train", "train-2"), "train-3"),
        ("/opt/python3", (), "python3-kernel"),
        ("/srv/ü/.venv", (), "python-kernel"),
    ],
)
def test_a_kernel_is_named_after_the_project_and_like_no_other(prefix, taken, name):
    assert names.kernel_name(prefix, taken) == name


def test_the_menu_shows_project_python_and_frameworks():
    shown = names.display_name("/p/x/.venv", "3.12.1", {"tensorflow": "2.21.0", "keras": "3.11.0"})
    assert shown == "x (Python 3.12, TensorFlow 2.21.0)"
