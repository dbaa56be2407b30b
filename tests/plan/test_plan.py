from __future__ import annotations

from envcheck.compat.target import Target
from envcheck.machine import Card, InstalledPython, Machine, held_wheels
from envcheck.plan import Plan, Refusal, plan
from envcheck.wish import Line, Wish, framework

PYTHON_311 = InstalledPython("3.11.7", "/usr/bin/python3.11", preferred=True)
PYTHON_313 = InstalledPython("3.13.1", "/usr/bin/python3.13")
HELD = held_wheels("/srv/wheels", ["torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"])


def linux(*cards: Card, driver: str | None = None, **more: object) -> Machine:
    capabilities = tuple(card.compute_capability for card in cards)
    target = Target(system="linux", machine="x86_64", glibc="2.35", driver=driver, compute_capabilities=capabilities)
    given = {"target": target, "cards": cards, "pythons": (PYTHON_311,), "downloads_python": False, **more}
    return Machine(**given)


GTX_1080 = Card("GTX 1080", "6.1")
RTX_3090 = Card("RTX 3090", "8.6")
RTX_5090 = Card("RTX 5090", "12.0")


def wish(*names: str, **more: object) -> Wish:
    return Wish(frameworks=tuple(map(framework, names)), **more)


def texts(found: Plan) -> list[str]:
    return [wanted.text for wanted in found.requirements]


def test_a_user_with_an_old_card_is_told_why_the_newest_cuda_is_not_for_it() -> None:
    found = plan(wish("torch==2.13"), linux(GTX_1080, driver="580.95.05"))
    choice = found.choices[0]
    assert choice.version == "2.13.0+cu126"
    assert "has code for your GTX 1080 (sm_61), and driver 580.95.05 runs CUDA 12.6" in choice.why
    refused = {version: one.reason for one in choice.refused for version in one.builds}
    assert refused["2.13.0+cu130"] == "it has no code for your GTX 1080 (sm_61)"


def test_a_user_with_an_old_driver_is_told_which_driver_a_newer_build_needs() -> None:
    found = plan(wish("torch"), linux(RTX_3090, driver="535.274.02"))
    assert "+cu12" in found.choices[0].version
    assert any(
        "needs driver 580" in one.reason and "yours is 535.274.02" in one.reason for one in found.choices[0].refused
    )


def test_a_machine_without_a_gpu_gets_builds_for_the_processor() -> None:
    found = plan(wish("tf", "torch"), linux())
    assert [choice.accelerator for choice in found.choices] == ["cpu", "cpu"]
    assert any(text.startswith("tensorflow-cpu==") for text in texts(found))
    assert any(text.endswith("+cpu") for text in texts(found))


def test_companions_come_from_the_index_of_torch_and_are_of_its_build() -> None:
    found = plan(wish("torch==2.13", extras=("vision",)), linux(GTX_1080, driver="580.95.05"))
    by_name = {wanted.text: wanted.index for wanted in found.requirements}
    index = by_name["torch==2.13.0+cu126"]
    assert index.endswith("/cu126")
    assert by_name["torchvision==0.28.0+cu126"] == index


def test_a_mirror_of_pytorchs_index_is_asked_instead_of_it() -> None:
    found = plan(wish("torch==2.13"), linux(), "https://mirror.example/pytorch/")
    assert next(one.index for one in found.requirements if one.text == "torch==2.13.0+cpu") == (
        "https://mirror.example/pytorch/cpu"
    )


def test_whoever_keeps_the_wheel_at_home_is_not_sent_elsewhere() -> None:
    found = plan(wish("torch"), linux(held=HELD, pythons=(PYTHON_313, PYTHON_311)))
    assert found.choices[0].version == "2.13.0+cpu"
    assert found.python.series == "3.11"
    assert all(wanted.index == "" for wanted in found.requirements)
    assert "/srv/wheels" in found.choices[0].why


def test_a_kept_wheel_for_the_processor_does_not_answer_for_the_gpu_build() -> None:
    held = held_wheels("/srv/wheels", ["torch-2.15.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl"])
    found = plan(wish("torch==2.15"), linux(RTX_3090, driver="580.95.05", held=held))
    assert "torch==2.15.0,!=2.15.0+cpu" in texts(found)


def test_offline_only_what_is_here_is_planned() -> None:
    assert plan(wish("torch"), linux(held=HELD, held_only=True)).choices[0].version == "2.13.0+cpu"
    refusal = plan(wish("tf"), linux(held=HELD, held_only=True))
    assert isinstance(refusal, Refusal)
    assert "not among the wheels that can be had offline" in refusal.sentence


def test_both_frameworks_in_one_environment_share_no_cuda_package_in_two_versions() -> None:
    # TensorFlow 2.19 pins CUDA 12.5 packages, and so do torch's builds for CUDA 12: builds for CUDA 13 do not clash.
    found = plan(wish("tf==2.19", "torch==2.9"), linux(RTX_3090, driver="580.95.05"))
    assert isinstance(found, Plan)
    assert found.choices[1].version != "2.9.1+cu128"


def test_tensorflow_on_an_old_card_gets_a_cudnn_that_works_on_it() -> None:
    assert "nvidia-cudnn-cu12<9.11" in texts(plan(wish("tf"), linux(GTX_1080, driver="580.95.05")))
    assert "nvidia-cudnn-cu12<9.11" not in texts(plan(wish("tf"), linux(RTX_3090, driver="580.95.05")))


def test_keras_computes_with_the_framework_beside_it() -> None:
    found = plan(wish("keras", "torch"), linux())
    assert {choice.framework for choice in found.choices} == {"keras", "torch"}
    assert found.variables == {"KERAS_BACKEND": "torch"}


def test_keras_alone_computes_with_tensorflow() -> None:
    found = plan(wish("keras"), linux())
    assert {choice.framework for choice in found.choices} == {"keras", "tensorflow"}


def test_what_the_project_pins_is_honoured_and_named() -> None:
    pinned = (Line("torch<2.7", "pyproject.toml, project.dependencies"),)
    found = plan(wish("torch", requirements=pinned), linux())
    assert found.choices[0].version.startswith("2.6.")
    assert any("torch<2.7 is asked for (pyproject.toml" in one.reason for one in found.choices[0].refused)
    assert "torch<2.7" in texts(found)


def test_a_project_that_requires_tensorflow_by_name_gets_that_distribution_alone() -> None:
    found = plan(wish("tf", requirements=(Line("tensorflow>=2.15", "requirements.txt, line 1"),)), linux())
    assert not any(text.startswith("tensorflow-cpu") for text in texts(found))


def test_a_framework_built_with_numpy_1_gets_numpy_1() -> None:
    found = plan(wish("torch==2.2"), linux())
    assert "numpy<2" in texts(found)


def test_a_gpu_whose_driver_does_not_answer_gets_a_processor_build_and_a_note() -> None:
    here = linux(GTX_1080, gpu_problem="NVIDIA's driver does not answer (library-missing)")
    found = plan(wish("torch"), here)
    assert found.choices[0].accelerator == "cpu"
    assert any("GTX 1080 is here, but NVIDIA's driver does not answer" in note for note in found.notes)
    refusal = plan(wish("torch", accelerator="cuda"), here)
    assert "envcheck doctor" in refusal.change


def test_cards_that_no_build_serves_together_are_said_to_be_so() -> None:
    found = plan(wish("torch"), linux(GTX_1080, RTX_5090, driver="580.95.05"))
    assert found.choices[0].accelerator == "cpu"
    assert any("CUDA_VISIBLE_DEVICES" in note for note in found.notes)


def test_asking_for_cuda_without_a_gpu_says_what_would_change_that() -> None:
    refusal = plan(wish("torch", accelerator="cuda"), linux())
    assert refusal.sentence == "no NVIDIA GPU is visible here"
    assert "--accelerator cpu" in refusal.change


def test_a_python_that_is_not_here_and_cannot_be_fetched_ends_in_a_sentence() -> None:
    refusal = plan(wish("torch", python="==3.12.*"), linux())
    assert "installed: 3.11.7" in refusal.sentence


def test_a_python_without_wheels_is_named() -> None:
    refusal = plan(wish("tf==2.12"), linux(pythons=(PYTHON_313,)))
    assert "no wheel for Python 3.13" in refusal.sentence
    assert "another --python" in refusal.change


def test_a_python_is_fetched_where_none_that_is_installed_fits() -> None:
    found = plan(wish("tf==2.12"), linux(pythons=(PYTHON_313,), downloads_python=True))
    assert found.python.series == "3.11"
    assert found.python.path == ""


def test_a_free_threaded_python_is_taken_only_where_it_is_asked_for() -> None:
    free = InstalledPython("3.14.1t", "/usr/bin/python3.14t")
    assert plan(wish("torch"), linux(pythons=(PYTHON_311, free))).python.series == "3.11"
    assert plan(wish("torch", python="3.14t"), linux(pythons=(PYTHON_311, free))).python.series == "3.14t"


def test_sound_without_torchaudio_is_explained() -> None:
    found = plan(wish("torch", extras=("audio",)), linux())
    assert any("torchaudio ended with 2.11.0" in note for note in found.notes)
    older = plan(wish("torch==2.11", extras=("audio",)), linux())
    assert "torchaudio==2.11.0+cpu" in texts(older)


def with_amd(*gfx: str, **more: object) -> Machine:
    target = Target(system="linux", machine="x86_64", glibc="2.35", gfx=gfx)
    return linux(target=target, amd_cards=("Radeon RX 7900 XTX",), **more)


def test_an_amd_card_with_a_known_target_gets_a_build_with_code_for_it() -> None:
    choice = plan(wish("torch"), with_amd("gfx1100")).choices[0]
    assert choice.accelerator == "rocm"
    assert "has code for gfx1100" in choice.why


def test_an_amd_card_that_is_not_used_is_named_with_what_would_change_that() -> None:
    (torch,) = plan(wish("torch"), with_amd()).notes
    assert "PyTorch will not use your Radeon RX 7900 XTX" in torch
    assert "--accelerator rocm" in torch
    chosen = plan(wish("torch", accelerator="rocm"), with_amd()).choices[0]
    assert chosen.accelerator == "rocm"
    assert "whether it has code for Radeon RX 7900 XTX is not known" in chosen.why
    (tensorflow,) = plan(wish("tf"), with_amd("gfx1100")).notes
    assert "no build of it for ROCm is known here" in tensorflow


def test_tensorflow_for_an_amd_card_points_to_the_framework_that_has_builds() -> None:
    refusal = plan(wish("tf", accelerator="rocm"), with_amd("gfx1100"))
    assert isinstance(refusal, Refusal)
    assert refusal.change.startswith("--framework torch, which has builds for rocm here")


def test_cuda_on_a_mac_is_refused_by_name() -> None:
    apple = linux(target=Target(system="darwin", machine="arm64", macos="15.0"))
    refusal = plan(wish("torch", accelerator="cuda"), apple)
    assert isinstance(refusal, Refusal)
    assert "on macOS" in refusal.sentence
    assert "--accelerator mps" in refusal.change
    intel = linux(target=Target(system="darwin", machine="x86_64", macos="13.0"))
    assert plan(wish("torch", accelerator="cuda"), intel).change == "--accelerator cpu"


def test_a_musl_distribution_is_told_that_no_other_python_would_help() -> None:
    refusal = plan(wish("torch"), linux(target=Target(system="linux", machine="x86_64", libc="musl")))
    assert isinstance(refusal, Refusal)
    assert "a distribution with glibc" in refusal.change
    assert "--python" not in refusal.change
