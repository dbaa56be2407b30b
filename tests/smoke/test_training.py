"""The real thing: the reference network trained in the frameworks that this machine has."""

from __future__ import annotations

import pytest

LITTLE = ("--samples", "200", "--epochs", "2")


@pytest.mark.slow
@pytest.mark.parametrize(("framework", "package"), [("torch", "torch"), ("tf", "tensorflow")])
def test_a_healthy_environment_passes_with_the_default_settings(smoke, interpreter_with, framework, package):
    ran = smoke("--framework", framework, "--python", interpreter_with(package), "--json")
    result = ran.result()
    assert ran.code == 0, ran.stdout
    assert result["status"] == "passed"
    assert (result["parameters"], result["training_samples"], result["validation_samples"]) == (225034, 1200, 300)
    assert len(result["epochs"]) == 10
    assert result["test_accuracy"] >= result["accuracy_bar"] == 0.90
    assert [condition["name"] for condition in result["conditions"]] == [
        "loss-finite",
        "loss-falls",
        "parameters-moved",
        "device",
        "test-accuracy",
    ]
    assert list(result["step_seconds"]) == [
        "import",
        "device",
        "preprocess",
        "build",
        "initialise",
        "train",
        "evaluate",
    ]
    assert result["device_used"]
    assert result["peak_memory_bytes"] > 100e6
    assert result["samples_per_second"] > 0


def test_both_frameworks_walk_the_same_way(smoke, interpreter_with):
    torch = smoke("--framework", "torch", "--device", "cpu", "--python", interpreter_with("torch"), "--json", *LITTLE)
    tensorflow = smoke(
        "--framework", "tf", "--device", "cpu", "--python", interpreter_with("tensorflow"), "--json", *LITTLE
    )
    one, other = torch.result(), tensorflow.result()
    # The same data, weights and order: what differs is the rounding of sums.
    assert one["untrained_loss"] == pytest.approx(other["untrained_loss"], abs=1e-4)
    for mine, theirs in zip(one["epochs"], other["epochs"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-2)
        assert mine["validation_loss"] == pytest.approx(theirs["validation_loss"], abs=2e-2)


def test_keras_trains_with_the_backend_that_is_configured(smoke, interpreter_with):
    interpreter_with("torch")
    python = interpreter_with("keras")
    ran = smoke("--framework", "keras", "--python", python, "--json", *LITTLE, variables={"KERAS_BACKEND": "torch"})
    result = ran.result()
    assert ran.code == 0, ran.stdout
    assert result["build"]["backend"] == "torch"
    assert result["device_used"] == "cpu" or result["device_used"].startswith("cuda")


def test_a_loss_that_is_no_number_fails(smoke, interpreter_with, spoiled):
    spoil = (
        "right = real.nn.CrossEntropyLoss.forward\n"
        "real.nn.CrossEntropyLoss.forward = lambda *given: right(*given) * float('nan')"
    )
    ran = smoke("--framework", "torch", "--python", interpreter_with("torch"), *LITTLE, "--json", stubs=spoiled(spoil))
    assert ran.code == 1
    assert broken(ran) == ["loss-finite", "loss-falls"]
    assert len(ran.result()["epochs"]) == 1, "it makes no sense to go on"


def test_a_layer_that_does_not_learn_is_named(smoke, interpreter_with, spoiled):
    spoil = "right = real.optim.Adam\nreal.optim.Adam = lambda given, **more: right(list(given)[2:], **more)"
    ran = smoke("--framework", "torch", "--python", interpreter_with("torch"), *LITTLE, "--json", stubs=spoiled(spoil))
    assert ran.code == 1
    assert broken(ran) == ["parameters-moved"]
    assert "conv1" in ran.json()["summary"]


def test_work_that_silently_runs_on_the_processor_fails(smoke, interpreter_with, spoiled):
    spoil = (
        "real.cuda.is_available = lambda: True\nreal.cuda.device_count = lambda: 1\n"
        "real.cuda.get_device_name = lambda *_: 'A GPU'\nright = real.device\n"
        "class Device:\n    def __new__(cls, *given):\n        return right('cpu')\n"
        "real.device = Device"
    )
    arguments = ("--framework", "torch", "--device", "cuda", "--python", interpreter_with("torch"), *LITTLE, "--json")
    ran = smoke(*arguments, stubs=spoiled(spoil))
    assert ran.code == 1
    assert broken(ran) == ["device"]
    assert "the work ran on cpu, asked for was cuda" in ran.json()["summary"]


def test_a_network_of_another_size_is_not_trained(smoke, interpreter_with, spoiled):
    spoil = "right = real.nn.Linear\nreal.nn.Linear = lambda *given: right(*given, bias=given != (128, 10))"
    ran = smoke("--framework", "torch", "--python", interpreter_with("torch"), *LITTLE, "--json", stubs=spoiled(spoil))
    failure = ran.result()["failure"]
    assert (ran.code, failure["step"]) == (1, "build")
    assert "225024 parameters, 225034 were expected" in failure["message"]


def test_a_segfault_in_the_middle_of_training_is_told_with_its_step(smoke, interpreter_with, spoiled):
    spoil = "import ctypes\nreal.Tensor.backward = lambda *_: ctypes.string_at(0)"
    ran = smoke("--framework", "torch", "--python", interpreter_with("torch"), *LITTLE, "--json", stubs=spoiled(spoil))
    failure = ran.result()["failure"]
    assert ran.code == 1
    assert (failure["step"], failure["signal"]) == ("train", "SIGSEGV")
    assert "smoke_torch.py" in failure["python_stack"]


@pytest.mark.parametrize(("framework", "package"), [("torch", "torch"), ("tf", "tensorflow")])
def test_a_gpu_asked_of_a_build_for_the_processor_fails_with_its_cause(smoke, interpreter_with, framework, package):
    python = interpreter_with(package)
    ran = smoke("--framework", framework, "--device", "cuda", "--python", python, *LITTLE, "--json")
    if ran.code == 0:
        pytest.skip("this build runs on a GPU here")
    result = ran.result()
    assert result["failure"]["step"] == "device"
    if result["failure"]["cause"] != "cpu-only-build":
        pytest.skip("this build is one for GPUs")
    assert "build for the CPU alone" in result["failure"]["reason"]
    assert result["findings"][0]["remedies"]


def test_too_many_threads_are_measured_and_not_guessed(smoke, interpreter_with, spoiled):
    # Each thread more than one costs 20 ms a batch here, as it does where threads wait for each other's cores.
    spoil = (
        "import time\nreal.set_num_threads(3)\nright = real.optim.Adam.step\n"
        "def step(*given, **more):\n    time.sleep(0.02 * (real.get_num_threads() > 1))\n"
        "    return right(*given, **more)\n"
        "real.optim.Adam.step = step"
    )
    arguments = ("--framework", "torch", "--device", "cpu", "--python", interpreter_with("torch"), *LITTLE, "--json")
    ran = smoke(*arguments, stubs=spoiled(spoil))
    result = ran.result()
    assert ran.code == 0
    assert ran.json()["verdict"] == "warning"
    (finding,) = result["findings"]
    assert (finding["cause"], finding["severity"], finding["confidence"]) == (
        "thread-oversubscription",
        "warning",
        "certain",
    )
    assert result["samples_per_second_one_thread"] > 1.5 * result["samples_per_second"]
    assert "OMP_NUM_THREADS=1" in finding["remedies"][0]["commands"][0]


def test_people_see_a_line_an_epoch_and_a_page_that_begins_with_the_verdict(smoke, interpreter_with):
    ran = smoke("--framework", "torch", "--device", "cpu", "--python", interpreter_with("torch"), *LITTLE)
    lines = ran.stdout.splitlines()
    assert lines[0] == "PyTorch importing"
    assert [line.split("  ")[0] for line in lines[1:3]] == ["PyTorch epoch 1/2", "PyTorch epoch 2/2"]
    assert "samples/s" in lines[2]
    page = ran.stdout[ran.stdout.index("this environment trains") - 9 :]
    assert page.startswith(("OK ", "WARNING "))
    assert "held-back images" in page
    assert "peak memory" in page


def broken(ran):
    return [condition["name"] for condition in ran.result()["conditions"] if not condition["holds"]]
