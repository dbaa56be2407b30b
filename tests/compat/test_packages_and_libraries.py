"""Names of packages, wheels, distributions, compilers and binary compatibility."""

from __future__ import annotations

import pytest

from envcheck.compat import abi, host_compiler, packages, python_wheels
from envcheck.compat.python_wheels import Libc


@pytest.mark.parametrize(
    ("tag", "libc"),
    [
        ("manylinux_2_28_x86_64", Libc("glibc", "2.28")),
        ("manylinux2014_aarch64", Libc("glibc", "2.17")),
        ("manylinux1_x86_64", Libc("glibc", "2.5")),
        ("manylinux_2_17_x86_64.manylinux2014_x86_64", Libc("glibc", "2.17")),
        ("manylinux_2_27_x86_64.manylinux_2_28_x86_64", Libc("glibc", "2.27")),
        ("musllinux_1_2_x86_64", Libc("musl", "1.2")),
        ("linux_x86_64", None),
        ("win_amd64", None),
        ("any", None),
    ],
)
def test_a_wheels_tag_says_which_libc_it_needs(tag, libc):
    assert python_wheels.libc_of_tag(tag) == libc


@pytest.mark.parametrize(
    ("identifier", "version", "glibc"),
    [
        ("ubuntu", "22.04", "2.35"),
        ("rhel", "9.4", "2.34"),
        ("centos", "7", "2.17"),
        ("rocky", "8.10", "2.28"),
        ("arch", None, "2.44"),
        ("opensuse-leap", "15.6", "2.38"),
    ],
)
def test_a_distribution_is_found_by_what_os_release_says(identifier, version, glibc):
    row = python_wheels.distribution(identifier, version)
    assert row is not None
    assert row.glibc == glibc


@pytest.mark.parametrize(
    ("identifier", "version"), [("ubuntu", "21.04"), ("plan9", "4"), (None, "1"), ("debian", None)]
)
def test_a_distribution_that_no_row_has_is_unknown(identifier, version):
    assert python_wheels.distribution(identifier, version) is None


def test_the_distributions_with_a_symbol_include_newer_ones_and_exclude_older_ones():
    names = {(row.id, row.version) for row in python_wheels.distributions_with_symbol("GLIBCXX_3.4.30")}
    assert {("ubuntu", "22.04"), ("debian", "12")} <= names
    assert not {("ubuntu", "20.04"), ("alpine", "3.20")} & names
    assert python_wheels.distributions_with_symbol("GLIBC_2.28") == []


def test_the_distributions_with_a_glibc_are_found():
    names = {(row.id, row.version) for row in python_wheels.distributions_with_glibc("2.28")}
    assert ("debian", "10") in names
    assert ("ubuntu", "18.04") not in names


def test_an_old_pip_does_not_know_new_tags():
    assert python_wheels.minimum_pip("manylinux_2_28_x86_64") == "20.3"
    assert python_wheels.minimum_pip("manylinux2014_x86_64") == "19.3"
    assert python_wheels.minimum_pip("win_amd64") is None


@pytest.mark.parametrize(
    ("symbol", "gcc"),
    [
        ("GLIBCXX_3.4.30", "12.1.0"),
        ("GLIBCXX_3.4.29", "11.1.0"),
        ("CXXABI_1.3.13", "11.1.0"),
        ("GLIBCXX_3.4.9", "4.8.0"),
        ("GLIBCXX_3.4.99", None),
        ("GLIBC_2.34", None),
        ("rubbish", None),
    ],
)
def test_a_missing_symbol_names_the_gcc_that_has_it(symbol, gcc):
    row = abi.gcc_of_symbol(symbol)
    assert (row.gcc if row else None) == gcc


@pytest.mark.parametrize(
    ("runtime", "gencode", "accepted"),
    [
        ("3.20.3", "3.19.0", True),
        ("4.25.3", "3.18.0", False),
        ("4.25.3", "3.20.3", True),
        ("5.27.1", "6.30.0", False),
        ("5.28.3", "6.30.0", False),
        ("6.30.1", "5.28.0", True),
        ("6.31.1", "6.31.1", True),
        ("6.33.0", "5.28.0", True),
        ("7.34.2", "5.28.0", True),
        ("5.27.0", None, None),
        ("4.0", "3.19.0", None),
    ],
)
def test_a_protobuf_runtime_accepts_what_its_generation_does(runtime, gencode, accepted):
    assert abi.protobuf_accepts(runtime, gencode) is accepted


@pytest.mark.parametrize(
    ("built", "installed", "fits"),
    [
        ("1.26", "2.1.0", False),
        ("1", "1.24", True),
        ("2.0.1", "2.3", True),
        ("2.0.1", "1.26", None),
        (None, "2.0", None),
    ],
)
def test_a_module_built_with_numpy_1_does_not_run_on_numpy_2(built, installed, fits):
    assert abi.numpy_fits(built, installed) is fits


def test_tensorflow_2_4_0_alone_needs_avx2():
    assert [row.needs for row in abi.cpu_needs("tensorflow", "2.4.0")] == ["AVX", "AVX2"]
    assert [row.needs for row in abi.cpu_needs("tensorflow", "2.4.1")] == ["AVX"]
    assert abi.cpu_needs("tensorflow", "1.5") == []
    assert abi.cpu_needs("torch", "2.1.0") == []
    assert len(abi.cpu_needs("torch", "2.1.0", include_unverified=True)) == 2


def test_what_torchs_wheels_ask_of_the_system_changed_with_2_7():
    old, new = abi.need("torch", "2.6.0"), abi.need("torch", "2.7.0")
    assert old is not None
    assert new is not None
    assert (old.glibc, old.cxx11_abi, new.glibc, new.cxx11_abi) == ("2.17", False, "2.28", True)


def test_a_message_is_recognised_with_its_parts():
    text = "ImportError: /opt/conda/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by _core.so)"
    ((message, parts),) = abi.recognise(text)
    assert message.id == "glibcxx-not-found"
    assert parts == {"lib": "/opt/conda/lib/libstdc++.so.6", "symbol": "GLIBCXX_3.4.32"}
    assert abi.recognise("all is well") == []


@pytest.mark.parametrize(
    ("name", "meant"), [("sklearn", "scikit-learn"), ("PyTorch", "torch"), ("tensorflow_gpu", "tensorflow")]
)
def test_a_name_that_people_type_by_mistake_leads_to_what_they_mean(name, meant):
    row = packages.misleading(name)
    assert row is not None
    assert any(text.startswith(meant) for text in row.install)


def test_nothing_is_held_against_an_ordinary_name():
    assert packages.misleading("numpy") is None


@pytest.mark.parametrize(
    ("module", "distribution"),
    [
        ("cv2", "opencv-python"),
        ("google.protobuf.message", "protobuf"),
        ("sklearn.svm", "scikit-learn"),
        ("numpy", None),
    ],
)
def test_a_module_leads_to_the_distribution_that_has_it(module, distribution):
    row = packages.distribution_of_import(module)
    assert (row.distribution if row else None) == distribution


def test_two_packages_that_write_one_folder_are_found():
    ((group, together),) = packages.exclusive_groups(["numpy", "opencv_python", "OpenCV-Python-Headless"])
    assert group.folder == "cv2"
    assert together == ["opencv-python", "opencv-python-headless"]
    assert packages.exclusive_groups(["opencv-python"]) == []


def test_a_toolkit_names_its_newest_gcc():
    row = host_compiler.host_compiler("12.4.1")
    assert row is not None
    assert row.gcc_max == 13
    assert host_compiler.host_compiler("5.0") is None
    assert host_compiler.toolkit_for_gcc(13) == "12.4"
    assert host_compiler.toolkit_for_gcc(99) is None


def test_a_toolkit_on_windows_finds_rows_of_its_range_and_major_version():
    assert {row.toolkit for row in host_compiler.visual_studio("12.2")} == {"12.0 to 12.3", "12.x"}
    assert host_compiler.visual_studio("7.5") == []
