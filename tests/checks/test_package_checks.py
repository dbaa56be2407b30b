"""Judging installed distributions."""

from __future__ import annotations

from typing import Any

import pytest

from envcheck.checks.packages import (
    conda_packages_are_condas,
    each_package_is_there_once,
    framework_files_are_there,
    metadata_is_whole,
    package_names_are_meant,
    packages_do_not_overwrite_each_other,
    requirements_hold,
    wheels_fit_this_machine,
)
from envcheck.facts import DamagedPackage, Framework, Package, Packages, Platform, Python
from envcheck.report import CheckOutcome, Severity
from envcheck.testing import run_check

MARKERS = {
    "implementation_name": "cpython",
    "implementation_version": "3.12.1",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "6.1",
    "platform_system": "Linux",
    "platform_version": "1",
    "python_full_version": "3.12.1",
    "python_version": "3.12",
    "sys_platform": "linux",
}
PYTHON = Python(path="/env/bin/python", version="3.12.1", environment_kind="venv", pip_version="25.0")


def package(name: str, version: str, *requires: str, **fields: Any) -> Package:
    return Package(name=name, version=version, requires=list(requires), **{"location": "/env/site-packages"} | fields)


def installed(*found: Package, **fields: Any) -> Packages:
    return Packages(
        **{"installed": list(found), "hidden": [], "damaged": [], "conda_managed": [], "markers": MARKERS} | fields
    )


def commands(finding: Any) -> list[str]:
    return [command for remedy in finding.remedies for command in remedy.commands]


def test_requirements_that_hold_are_not_mentioned() -> None:
    packages = installed(
        package("a", "1", "b>=2,<3", "Typing_Extensions>=4"), package("b", "2.5"), package("typing-extensions", "4.9")
    )
    assert run_check(requirements_hold, packages=packages, python=PYTHON) == (CheckOutcome.PASS, [])


def test_a_version_that_a_package_does_not_accept_is_a_conflict() -> None:
    packages = installed(package("a", "1", "b>=2,<3"), package("b", "3.1"))
    _, (finding,) = run_check(requirements_hold, packages=packages, python=PYTHON)
    assert finding.cause == "dependency-conflict"
    assert finding.title == "a 1 needs b>=2,<3, installed is 3.1"
    assert commands(finding) == ["/env/bin/python -m pip install 'b>=2,<3'"]
    assert finding.remedies[0].safe


def test_what_several_packages_ask_of_one_is_asked_for_at_once() -> None:
    packages = installed(package("a", "1", "B.c>=2"), package("d", "1", "b_c!=3,>=1.5"), package("b-c", "1.0"))
    _, (finding,) = run_check(requirements_hold, packages=packages, python=PYTHON)
    assert commands(finding) == ["/env/bin/python -m pip install 'b-c>=2,!=3,>=1.5'"]


def test_a_package_that_is_required_and_missing_is_named() -> None:
    _, (finding,) = run_check(requirements_hold, packages=installed(package("a", "1", "b>=2")), python=PYTHON)
    assert finding.cause == "package-not-installed"


def test_in_a_part_of_a_list_nothing_is_called_missing() -> None:
    packages = installed(package("a", "1", "b>=2"), complete=False)
    assert run_check(requirements_hold, packages=packages, python=PYTHON)[1] == []


@pytest.mark.parametrize(
    "requirement",
    [
        "b>=2; python_version < '3.8'",
        "b>=2; sys_platform == 'win32'",
        "b>=2; extra == 'all'",
        "b (>dev)",
        "not a requirement at all ((",
    ],
)
def test_what_does_not_count_here_is_not_required(requirement: str) -> None:
    assert run_check(requirements_hold, packages=installed(package("a", "1", requirement)), python=PYTHON)[1] == []


def test_an_extra_counts_where_another_package_asks_for_it() -> None:
    packages = installed(package("a", "1", "b[fast]"), package("b", "2", "c>=9; extra == 'fast'"), package("c", "1"))
    _, (finding,) = run_check(requirements_hold, packages=packages, python=PYTHON)
    assert "needs c>=9" in finding.title


def test_an_extra_that_only_another_unasked_extra_asks_for_does_not_count() -> None:
    packages = installed(
        package("a", "1", "b; extra == 'test'", "a[test]; extra == 'dev'"), package("c", "1", "a[dev]; extra == 'all'")
    )
    assert run_check(requirements_hold, packages=packages, python=PYTHON)[1] == []


def test_an_extra_that_an_asked_extra_asks_for_counts() -> None:
    packages = installed(
        package("a", "1", "b; extra == 'test'", "a[test]; extra == 'dev'"), package("c", "1", "a[dev]")
    )
    _, (finding,) = run_check(requirements_hold, packages=packages, python=PYTHON)
    assert "needs b" in finding.title


def test_a_twin_that_provides_the_same_modules_counts_as_the_package() -> None:
    packages = installed(
        package("tool", "1", "tensorflow>=2.10", "opencv-python"),
        package("tensorflow-cpu", "2.21.0"),
        package("opencv-python-headless", "4.9"),
    )
    assert run_check(requirements_hold, packages=packages, python=PYTHON)[1] == []


def test_a_local_build_and_a_pre_release_fit_their_version() -> None:
    packages = installed(
        package("a", "1", "torch==2.9.0"),
        package("torch", "2.9.0+cu128"),
        package("b", "1", "c>=1"),
        package("c", "2.0rc1"),
    )
    assert run_check(requirements_hold, packages=packages, python=PYTHON)[1] == []


def test_a_package_for_another_python_is_named() -> None:
    packages = installed(package("old", "1", requires_python="<3.10"))
    _, (finding,) = run_check(requirements_hold, packages=packages, python=PYTHON)
    assert finding.cause == "python-version-unsupported"


def test_what_a_distribution_ships_without_a_dependency_is_its_own_business() -> None:
    system = Python(path="/usr/bin/python3", version="3.12.1", environment_kind="system", externally_managed=True)
    _, (finding,) = run_check(
        requirements_hold, packages=installed(package("pygobject", "3", "pycairo")), python=system
    )
    assert finding.severity is Severity.NOTE


def test_what_is_left_over_is_a_note_and_damage_a_warning() -> None:
    left = installed(damaged=[DamagedPackage(name="~orch", path="/s/~orch", reason="left over")])
    _, (finding,) = run_check(metadata_is_whole, packages=left, python=PYTHON)
    assert finding.severity is Severity.NOTE
    damaged = installed(damaged=[DamagedPackage(name="numpy", path="/s/numpy-2.dist-info", reason="METADATA is empty")])
    _, (finding,) = run_check(metadata_is_whole, packages=damaged, python=PYTHON)
    assert finding.severity is Severity.WARNING
    assert "rm -r /s/numpy-2.dist-info" in commands(finding)


def test_half_a_removed_framework_is_why_it_cannot_be_imported() -> None:
    left = installed(damaged=[DamagedPackage(name="~orch", path="/s/~orch", reason="left over")])
    torch = Framework(name="torch", state="failed", error="No module named 'torch._C'")
    _, (finding,) = run_check(metadata_is_whole, packages=left, python=PYTHON, torch=torch)
    assert finding.explains == ["torch-imports"]


def test_missing_libraries_of_a_framework_are_named_and_installed_again_from_its_own_index() -> None:
    packages = installed(package("torch", "2.9.0+cu128", missing_files=2, missing_examples=["torch/lib/libtorch.so"]))
    _, (finding,) = run_check(framework_files_are_there, packages=packages, python=PYTHON)
    assert finding.cause == "broken-install"
    assert "https://download.pytorch.org/whl/cu128" in commands(finding)[0]


def test_two_versions_in_one_folder_are_an_interrupted_upgrade() -> None:
    packages = installed(package("numpy", "1.26.4"), hidden=[package("numpy", "2.1.0")])
    _, (finding,) = run_check(each_package_is_there_once, packages=packages, python=PYTHON)
    assert finding.cause == "broken-install"
    elsewhere = installed(package("numpy", "1.26.4"), hidden=[package("numpy", "2.1.0", location="/usr/lib/python3")])
    assert run_check(each_package_is_there_once, packages=elsewhere, python=PYTHON)[1] == []


def test_a_conda_package_that_pip_replaced_is_mixed() -> None:
    packages = installed(
        package("numpy", "2.1.0", installer="pip"),
        package("pip", "25", installer="conda"),
        conda_managed=["numpy", "pip"],
    )
    _, (finding,) = run_check(conda_packages_are_condas, packages=packages, python=PYTHON)
    assert finding.cause == "mixed-conda-pip"
    clean = installed(
        package("numpy", "2.1.0", installer="conda"), package("torch", "2.9", installer="pip"), conda_managed=["numpy"]
    )
    assert run_check(conda_packages_are_condas, packages=clean, python=PYTHON)[1] == []


def test_a_stand_in_is_named_with_the_package_that_is_meant() -> None:
    _, (finding,) = run_check(package_names_are_meant, packages=installed(package("sklearn", "0.0")), python=PYTHON)
    assert finding.cause == "wrong-package-name"
    assert "/env/bin/python -m pip install scikit-learn" in commands(finding)
    fine = installed(package("tensorflow-cpu", "2.21.0"), package("torch", "2.9.0"), package("pynvml", "12.0"))
    assert run_check(package_names_are_meant, packages=fine, python=PYTHON)[1] == []


def test_packages_that_write_the_same_folder_are_named_together() -> None:
    both = installed(package("tensorflow", "2.21.0"), package("tensorflow-cpu", "2.21.0"))
    _, (finding,) = run_check(packages_do_not_overwrite_each_other, packages=both, python=PYTHON)
    assert "tensorflow and tensorflow-cpu" in finding.title


def test_packages_of_one_folder_of_which_one_requires_the_other_belong_together() -> None:
    fine = installed(package("pynvml", "12.0.0", "nvidia-ml-py<13,>=12"), package("nvidia-ml-py", "12.575.51"))
    assert run_check(packages_do_not_overwrite_each_other, packages=fine, python=PYTHON)[1] == []


@pytest.mark.parametrize(
    "tag", ["cp312-cp312-manylinux_2_28_x86_64", "cp38-abi3-manylinux_2_17_x86_64", "py3-none-manylinux1_x86_64"]
)
def test_wheels_for_this_python_fit(tag: str) -> None:
    packages = installed(package("x", "1", extension_tags=[tag]))
    platform = Platform(libc="glibc", libc_version="2.36")
    assert run_check(wheels_fit_this_machine, packages=packages, python=PYTHON, platform=platform)[1] == []


def test_a_wheel_for_another_python_does_not_fit() -> None:
    packages = installed(package("numpy", "1", extension_tags=["cp310-cp310-manylinux_2_17_x86_64"]))
    _, (finding,) = run_check(wheels_fit_this_machine, packages=packages, python=PYTHON)
    assert "cp310" in finding.title


def test_a_wheel_for_a_newer_c_library_does_not_fit() -> None:
    packages = installed(package("torch", "2.9.0", extension_tags=["cp312-cp312-manylinux_2_28_x86_64"]))
    old = Platform(libc="glibc", libc_version="2.17")
    _, (finding,) = run_check(wheels_fit_this_machine, packages=packages, python=PYTHON, platform=old)
    assert finding.cause == "glibc-too-old"
    musl = Platform(libc="musl", libc_version="1.2")
    _, (finding,) = run_check(wheels_fit_this_machine, packages=packages, python=PYTHON, platform=musl)
    assert finding.cause == "platform-unsupported"
