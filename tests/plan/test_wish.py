from __future__ import annotations

import pytest

from envcheck import wish
from envcheck.intent import UsageError
from envcheck.testing import machine


@pytest.mark.parametrize(
    ("text", "name", "specifier"),
    [
        ("tf", "tensorflow", ""),
        ("TensorFlow", "tensorflow", ""),
        ("torch==2.6", "torch", "==2.6.*"),
        ("torch==2.6.0", "torch", "==2.6.0"),
        ("pytorch >= 2.4, < 2.7", "torch", "<2.7,>=2.4"),
        ("keras~=3.5", "keras", "~=3.5"),
    ],
)
def test_a_framework_is_understood_as_people_write_it(text: str, name: str, specifier: str) -> None:
    assert wish.framework(text) == wish.FrameworkWish(name, specifier)


@pytest.mark.parametrize("text", ["jax", "torch 2.6", "torch==new", "", "=="])
def test_what_is_no_framework_is_said_to_be_none(text: str) -> None:
    with pytest.raises(UsageError, match="--framework"):
        wish.framework(text)


@pytest.mark.parametrize(
    ("text", "specifier"),
    [("3.12", "==3.12.*"), ("3.12.4", "==3.12.4"), (">=3.10,<3.13", "<3.13,>=3.10"), ("3.14t", "3.14t")],
)
def test_a_python_is_understood_as_people_write_it(text: str, specifier: str) -> None:
    assert wish.python(text) == specifier


def test_what_a_project_requires_is_read_with_where_it_was_written() -> None:
    required = "# first\nnumpy<2 ; python_version < '3.13'\n-r more/base.txt\n-c limits.txt\n--pre\n./local\n"
    system = machine(
        files={
            "/p/pyproject.toml": '[project]\nname = "x"\nrequires-python = ">=3.11"\ndependencies = ["torch<2.7"]\n',
            "/p/requirements.txt": required,
            "/p/more/base.txt": "pandas==2.2.3 \\\n    --hash=sha256:00\n",
            "/p/limits.txt": "protobuf<6\n",
        }
    )
    found = wish.project(system, "/p")
    assert found.requires_python == ">=3.11"
    assert [(line.text, line.source) for line in found.requirements] == [
        ("torch<2.7", "pyproject.toml, project.dependencies")
    ]
    assert [(line.text, line.source) for line in found.listed] == [
        ("numpy<2 ; python_version < '3.13'", "requirements.txt, line 2"),
        ("pandas==2.2.3", "base.txt, line 1"),
    ]
    assert [line.text for line in found.constraints] == ["protobuf<6"]
    assert found.files == ("/p/requirements.txt",)


def test_what_a_project_requires_on_other_platforms_does_not_count_here() -> None:
    text = "torch<2 ; sys_platform == 'os2'\nnumpy<2 ; python_version < '3.9'\n"
    found = wish.project(machine(files={"/p/requirements.txt": text}), "/p")
    assert [line.text for line in found.listed] == ["numpy<2 ; python_version < '3.9'"]


def test_a_folder_without_a_project_requires_nothing() -> None:
    assert wish.project(machine(), "/p") == wish.Project()


@pytest.mark.parametrize(
    "files",
    [
        {"/p/pyproject.toml": "[project"},
        {"/p/pyproject.toml": '[project]\nname = "x"\ndependencies = "torch"\n'},
        {"/p/pyproject.toml": '[project]\nname = "x"\ndependencies = ["torch =="]\n'},
        {"/p/requirements.txt": "-r nowhere.txt\n"},
        {"/p/requirements.txt": "-r requirements.txt\n"},
    ],
)
def test_a_damaged_project_file_is_named(files: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"/p/"):
        wish.project(machine(files=files), "/p")
