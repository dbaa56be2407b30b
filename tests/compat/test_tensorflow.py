from __future__ import annotations

import itertools

import pytest
from packaging.version import Version

from envcheck.compat import keras, tensorflow
from envcheck.compat.build import why_not
from envcheck.compat.target import Target


def test_a_release_is_found_with_what_it_was_built_with():
    row = tensorflow.release("2.16.1")
    assert row is not None
    assert (row.cuda_built, row.cudnn_built_major) == ("12.3", "8")
    assert tensorflow.release("3.0") is None
    assert tensorflow.release("not a version") is None


def test_builds_fit_the_python_and_the_driver_and_come_newest_first():
    drivers = ("450.80.02", "470.256.02", "525.60.13", "550.54.14", "570.86.15", "580.65.06", "610.43.02")
    cards = ("3.5", "5.0", "6.1", "7.0", "7.5", "8.6", "9.0", "12.0")
    pythons = ("3.6", "3.8", "3.9", "3.12", "3.13", "3.14")
    for driver, card, python in itertools.product(drivers, cards, pythons):
        target = Target(driver=driver, compute_capabilities=(card,), python=python, glibc="2.31")
        builds = tensorflow.builds(target)
        versions = [Version(build.version) for build in builds]
        assert versions == sorted(versions, reverse=True)
        for build in builds:
            assert python in build.pythons
            assert build.minimum_glibc is None or Version(build.minimum_glibc) <= Version("2.31")
        for release in tensorflow.releases()[::9]:
            for build in tensorflow.published(release.version):
                assert bool(why_not(build, target)) != (build in builds)


def test_no_wheel_of_2_21_fits_a_glibc_older_than_2_27():
    newest = tensorflow.builds(Target(glibc="2.17", python="3.12"))[0]
    assert newest.version == "2.20.0"


def test_a_blackwell_card_is_reached_through_ptx_with_a_driver_that_knows_it():
    target = Target(driver="570.124.06", compute_capabilities=("12.0",), python="3.12", accelerator="cuda")
    newest = tensorflow.builds(target)[0]
    assert newest.version == "2.21.0"
    assert "compute_90" in newest.architectures


def test_a_volta_card_needs_an_older_cudnn_than_a_new_tensorflow_would_bring():
    target = Target(driver="580.65.06", compute_capabilities=("7.0",), python="3.12", accelerator="cuda")
    newest = tensorflow.builds(target)[0]
    assert tensorflow.extra_pins(newest, target) == ["nvidia-cudnn-cu12<9.11"]
    older = tensorflow.build("2.18.0", target)
    assert older is not None
    assert tensorflow.extra_pins(older, target) == []
    turing = Target(driver="580.65.06", compute_capabilities=("7.5",))
    assert tensorflow.extra_pins(newest, turing) == []


def test_native_windows_gets_a_gpu_build_up_to_2_10_only():
    target = Target(system="Windows", machine="AMD64", python="3.10", driver="537.13", accelerator="cuda")
    assert tensorflow.builds(target)[0].version == "2.10.1"
    assert tensorflow.windows_gpu("2.10.1") is not None
    assert tensorflow.windows_gpu("2.11.0") is None
    newer = tensorflow.build("2.16.1", Target(system="Windows", machine="AMD64"))
    assert newer is not None
    assert newer.accelerator == "cpu"


def test_a_linux_machine_with_arm_processor_computes_on_the_cpu():
    builds = tensorflow.builds(Target(machine="aarch64", python="3.12"))
    assert {build.accelerator for build in builds} == {"cpu"}


def test_an_apple_machine_of_2022_gets_the_package_of_that_time():
    build = tensorflow.build("2.10.0", Target(system="Darwin", machine="arm64"))
    assert build is not None
    assert build.package == "tensorflow-macos"
    newest = tensorflow.builds(Target(system="Darwin", machine="arm64", python="3.12", macos="14.0"))[0]
    assert (newest.package, newest.version) == ("tensorflow", "2.21.0")
    assert tensorflow.metal("3.12")[0].version == "1.2.0"


def test_the_gpu_build_of_tensorflow_1_was_a_package_of_its_own():
    build = tensorflow.build("1.15.5", Target())
    assert build is not None
    assert build.package == "tensorflow-gpu"


def test_companions_are_those_of_the_release():
    companions = tensorflow.companions("2.16.2")
    assert companions is not None
    assert (companions.keras, companions.tf_keras, companions.tensorflow_text) == (">=3.0.0", "2.16.0", "2.16.1")
    assert len(companions.numpy) == 2
    assert tensorflow.companions("9.9") is None


@pytest.mark.parametrize(
    ("package", "version", "tf", "fits"),
    [
        ("tensorflow-text", "2.16.1", "2.16.2", True),
        ("tensorflow_text", "2.15.0", "2.16.2", False),
        ("tf-keras", "2.18.0", "2.19.1", False),
        ("tf_keras", "2.19.0", "2.19.1", True),
        ("tensorboard", "2.19.0", "2.19.1", None),
        ("tf-keras", None, "2.19.1", None),
    ],
)
def test_text_and_tf_keras_must_be_of_tensorflows_series(package, version, tf, fits):
    assert tensorflow.companion_fits(package, version, tf) is fits


@pytest.mark.parametrize(("tf", "major"), [("2.15.1", 2), ("2.16.1", 3), ("1.15.0", 2), ("2.21.0", 3), ("x", None)])
def test_keras_3_came_with_tensorflow_2_16(tf, major):
    assert keras.major_of_tensorflow(tf) == major


@pytest.mark.parametrize(
    ("version", "backend", "least"),
    [
        ("3.13.0", "tensorflow", "2.16.1"),
        ("3.15.1", "torch", "2.1.0"),
        ("3.3.3", "torch", "2.1.0"),
        ("3.3.3", "openvino", None),
        ("2.15.0", "tensorflow", None),
        ("3.15.1", "mxnet", None),
    ],
)
def test_keras_3_states_the_least_version_of_its_backends(version, backend, least):
    assert keras.backend_minimum(version, backend) == least


def test_a_keras_release_is_found_by_its_version():
    row = keras.release("3.5.0")
    assert row is not None
    assert row.requires_python == ">=3.9"
    assert keras.release("2.15.0") is None
