"""What package managers, Python and frameworks print becomes facts."""

from __future__ import annotations

import pytest

from envcheck.facts import Facts, Package
from envcheck.triage import facts_from


def facts(text: str) -> Facts:
    """Return the facts of a paste."""
    return facts_from([("paste", text.encode())])


def installed(text: str) -> dict[str, Package]:
    """Return the packages of a paste by name."""
    packages = facts(text).packages
    return {package.name: package for package in packages.installed or []} if packages else {}


COLLECT_ENV = """\
Collecting environment information...
PyTorch version: 2.4.1+cu124
Is debug build: False
CUDA used to build PyTorch: 12.4
ROCM used to build PyTorch: N/A

OS: Rocky Linux 9.4 (Blue Onyx) (x86_64)
GCC version: (GCC) 11.4.1 20231218
Libc version: glibc-2.34

Python version: 3.11.9 (main, Apr 19 2024, 16:48:06) [GCC 11.2.0] (64-bit runtime)
Python platform: Linux-5.14.0-427.el9.x86_64-x86_64-with-glibc2.34
Is CUDA available: False
CUDA runtime version: 12.4.131
GPU models and configuration:
GPU 0: NVIDIA A30
GPU 1: NVIDIA A30

Nvidia driver version: 525.60.13
cuDNN version: Could not collect

CPU:
Architecture:                       x86_64
CPU(s):                             32
Model name:                         AMD EPYC 7313 16-Core Processor
Flags:                              fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca avx avx2 fma

Versions of relevant libraries:
[pip3] numpy==1.26.4
[pip3] torch==2.4.1+cu124
[conda] mkl 2023.1.0 h213fc3f_46344
"""


def test_torch_s_own_report_gives_versions_system_driver_cards_and_processor() -> None:
    known = facts(COLLECT_ENV)
    torch, platform, nvml = known.torch, known.platform, known.nvml
    assert torch is not None
    assert (torch.version, torch.cuda, torch.sees_gpu, torch.accelerator) == ("2.4.1+cu124", "12.4", False, "cuda")
    assert platform is not None
    assert (platform.distribution, platform.distribution_version, platform.libc_version) == ("rocky", "9.4", "2.34")
    assert known.python is not None
    assert known.python.version == "3.11.9"
    assert nvml is not None
    assert [gpu.name for gpu in nvml.gpus or []] == ["NVIDIA A30", "NVIDIA A30"]
    assert nvml.driver_version == "525.60.13"
    assert known.toolkits is not None
    assert known.toolkits.nvcc_version == "12.4.131"
    assert known.cpu is not None
    assert (known.cpu.logical_cores, "avx2" in (known.cpu.instructions or [])) == (32, True)
    assert installed(COLLECT_ENV)["numpy"].version == "1.26.4"


def test_a_driver_that_is_too_old_for_the_build_is_named_from_torch_s_report_alone() -> None:
    from envcheck.check import all_checks
    from envcheck.doctor import diagnose, with_metadata
    from envcheck.intent import Intent

    text = COLLECT_ENV.replace("525.60.13", "450.80.02")
    report = diagnose(with_metadata(facts(text)), [], all_checks(), Intent())
    assert report.findings[0].cause == "driver-too-old"


PIP_LIST = """\
Package                 Version
----------------------- ------------
absl-py                 2.1.0
nvidia-cudnn-cu12       9.1.0.70
tensorflow              2.17.0
typing_extensions       4.12.2
"""


def test_pip_s_list_is_read_and_names_are_normalised() -> None:
    packages = installed(PIP_LIST)
    assert packages["typing-extensions"].version == "4.12.2"
    assert packages["nvidia-cudnn-cu12"].version == "9.1.0.70"


@pytest.mark.parametrize(
    "text",
    [
        "$ pip list | grep -i torch\ntorch    2.1.0\ntorchvision    0.16.0\n",
        "$ pip freeze\ntorch==2.1.0\ntorchvision==0.16.0\n",
        "$ pip show torch\nName: torch\nVersion: 2.1.0\nSummary: Tensors\n---\nName: torchvision\nVersion: 0.16.0\n",
        "Successfully installed torch-2.1.0 torchvision-0.16.0\n",
        "$ uv pip install torch torchvision\n + torch==2.1.0\n + torchvision==0.16.0\n",
        "!pip list\nPackage Version\n------- -------\ntorch 2.1.0\ntorchvision 0.16.0\n",
        (
            "# packages in environment at /opt/conda/envs/x:\n#\n# Name  Version  Build  Channel\n"
            "torch      2.1.0     pypi_0    pypi\ntorchvision   0.16.0   pypi_0   pypi\n"
        ),
    ],
)
def test_every_way_of_listing_packages_gives_the_same_packages(text: str) -> None:
    packages = installed(text)
    assert {name: packages[name].version for name in ("torch", "torchvision")} == {
        "torch": "2.1.0",
        "torchvision": "0.16.0",
    }


def test_a_conda_build_tells_for_which_cuda_it_was_made_and_who_manages_it() -> None:
    text = (
        "$ conda list torch\n# packages in environment at /opt/conda:\n#\n# Name  Version  Build  Channel\n"
        "pytorch      2.0.1     py3.10_cuda11.8_cudnn8.7.0_0    pytorch\n"
        "pytorch-mutex    1.0   cuda   pytorch\nnumpy   1.26.4   pypi_0   pypi\n"
    )
    known = facts(text)
    assert known.torch is not None
    assert (known.torch.accelerator, known.torch.cuda) == ("cuda", "11.8")
    assert known.packages is not None
    assert known.packages.conda_managed == ["torch", "pytorch-mutex"]


def test_what_a_requirements_file_asks_for_is_not_installed() -> None:
    text = "$ cat requirements.txt\nnumpy==1.19\nscipy==1.5\ntorch==1.7\npandas==1.1\n"
    assert installed(text) == {}


def test_after_an_installation_its_versions_count_not_those_listed_before() -> None:
    text = f"{PIP_LIST}\n$ pip install tensorflow==2.16.2\nSuccessfully installed tensorflow-2.16.2\n"
    assert installed(text)["tensorflow"].version == "2.16.2"
    pasted = facts(text).pasted
    assert pasted is not None
    assert [item.fact for item in pasted.contradictions or []] == ["packages.tensorflow"]


def test_a_session_is_read_answer_by_answer() -> None:
    text = """\
>>> import torch
>>> torch.__version__
'2.5.1+cpu'
>>> torch.cuda.is_available()
False
>>> print(torch.version.cuda)
None
"""
    torch = facts(text).torch
    assert torch is not None
    assert (torch.version, torch.accelerator, torch.cuda, torch.sees_gpu) == ("2.5.1+cpu", "cpu", "", False)


def test_a_command_that_prints_several_values_in_one_line_is_read() -> None:
    text = '$ python -c "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"\n'
    torch = facts(text + "2.5.1+cu121 12.1 True\n").torch
    assert torch is not None
    assert (torch.version, torch.cuda, torch.sees_gpu) == ("2.5.1+cu121", "12.1", True)


def test_a_session_that_ends_in_a_traceback_gives_no_answer() -> None:
    text = ">>> torch.cuda.is_available()\nTraceback (most recent call last):\nNameError: True is not False\n"
    assert facts(text).torch is None


def test_tensorflow_s_device_list_and_log_say_whether_it_sees_a_gpu() -> None:
    blind = facts(">>> tf.config.list_physical_devices('GPU')\n[]\n").tensorflow
    assert blind is not None
    assert blind.sees_gpu is False
    log = (
        "2025-01-01 00:00:00.000001: I tensorflow/core/common_runtime/gpu/gpu_device.cc:2019] Created device "
        "/job:localhost/replica:0/task:0/device:GPU:0 with 14000 MB memory:  -> device: 0, name: Tesla T4, "
        "pci bus id: 0000:00:04.0, compute capability: 7.5\n"
    )
    known = facts(log)
    assert known.tensorflow is not None
    assert known.tensorflow.sees_gpu is True
    assert known.nvml is not None
    assert [gpu.compute_capability for gpu in known.nvml.gpus or []] == ["7.5"]


@pytest.mark.parametrize(
    ("path", "version", "kind"),
    [
        ("/home/u/miniconda3/envs/tf/lib/python3.9/site-packages/tensorflow/__init__.py", "3.9", "conda"),
        ("/srv/project/.venv/lib/python3.12/site-packages/torch/__init__.py", "3.12", "venv"),
        ("/usr/local/lib/python3.10/dist-packages/torch/__init__.py", "3.10", "system"),
        ("/home/u/.pyenv/versions/3.8.18/lib/python3.8/site-packages/torch/__init__.py", "3.8", "pyenv"),
        (r"C:\Users\u\AppData\Local\Programs\Python\Python311\Lib\site-packages\torch\__init__.py", "3.11", "system"),
        (r"C:\Users\u\anaconda3\envs\x\lib\site-packages\torch\__init__.py", None, "conda"),
    ],
)
def test_a_traceback_tells_the_python_and_the_kind_of_environment(path: str, version: str | None, kind: str) -> None:
    text = f'Traceback (most recent call last):\n  File "{path}", line 10, in <module>\nImportError: x\n'
    python = facts(text).python
    assert python is not None
    assert (python.version, python.environment_kind) == (version, kind)


def test_packages_of_the_user_alone_are_told_from_those_of_the_environment() -> None:
    python = facts('  File "/home/u/.local/lib/python3.9/site-packages/numpy/__init__.py", line 1\n').python
    assert python is not None
    assert (python.user_site, python.site_packages) == ("/home/u/.local/lib/python3.9/site-packages", None)


def test_a_form_that_a_person_filled_in_is_read() -> None:
    known = facts(
        "**Environment**\n- OS: Windows 11\n- Python version: 3.12.1\n- PyTorch version (GPU?): 2.2.0+cpu (False)\n"
    )
    assert known.platform is not None
    assert known.platform.system == "Windows"
    assert known.python is not None
    assert known.python.version == "3.12.1"
    assert known.torch is not None
    assert (known.torch.version, known.torch.sees_gpu) == ("2.2.0+cpu", False)


def test_pip_check_brings_the_requirement_that_does_not_hold() -> None:
    packages = installed("torchaudio 2.1.0 has requirement torch==2.1.0, but you have torch 2.2.0.\n")
    assert packages["torchaudio"].requires == ["torch==2.1.0"]
    assert packages["torch"].version == "2.2.0"


def test_a_card_for_which_the_build_has_no_code_is_known_from_torch_s_warning_alone() -> None:
    known = facts(
        "NVIDIA GeForce RTX 5070 with CUDA capability sm_120 is not compatible with the current PyTorch installation.\n"
        "The current PyTorch install supports CUDA capabilities sm_70 sm_80 sm_90.\n"
    )
    assert known.nvml is not None
    assert [gpu.compute_capability for gpu in known.nvml.gpus or []] == ["12.0"]
    assert known.torch is not None
    assert known.torch.architectures == ["sm_70", "sm_80", "sm_90"]


def test_torch_s_words_on_an_old_driver_give_the_cuda_version_that_the_driver_runs() -> None:
    nvml = facts("RuntimeError: The NVIDIA driver on your system is too old (found version 11040).\n").nvml
    assert nvml is not None
    assert nvml.cuda_version == "11.4"


def test_kernels_of_jupyter_are_listed() -> None:
    jupyter = facts("Available kernels:\n  python3    /home/u/.local/share/jupyter/kernels/python3\n").jupyter
    assert jupyter is not None
    assert [kernel.name for kernel in jupyter.kernels or []] == ["python3"]


@pytest.mark.parametrize(
    ("text", "system"),
    [
        (r"FileNotFoundError: C:\Users\u\x.dll", "Windows"),
        ("dlopen(/Users/u/x/_lib.dylib): not found", "Darwin"),
        ("cannot open /home/u/data", "Linux"),
    ],
)
def test_the_form_of_paths_tells_the_system_where_nothing_else_does(text: str, system: str) -> None:
    platform = facts(f"Python 3.11.4\n{text}").platform
    assert platform is not None
    assert platform.system == system


def test_a_file_beside_the_program_that_hides_a_module_is_found_in_the_traceback() -> None:
    python = facts(
        'Traceback (most recent call last):\n  File "/home/u/work/train.py", line 1, in <module>\n    import torch\n'
        '  File "/home/u/work/torch.py", line 3, in <module>\n    x = torch.zeros(1)\nAttributeError: no zeros\n'
    ).python
    assert python is not None
    assert [(item.module, item.hides) for item in python.shadows or []] == [("torch", "installed package")]


def test_an_import_that_ends_where_it_should_hides_nothing() -> None:
    python = facts(
        'Traceback (most recent call last):\n  File "/home/u/work/train.py", line 1, in <module>\n    import torch\n'
        '  File "/home/u/v/lib/python3.11/site-packages/torch/__init__.py", line 3, in <module>\n    import queue\n'
        '  File "/usr/lib/python3.11/queue.py", line 3, in <module>\n    raise ImportError\nImportError\n'
    ).python
    assert python is not None
    assert python.shadows is None


def test_the_banner_of_a_32_bit_python_tells_that_it_is_one() -> None:
    known = facts("Python 3.9.13 (tags/v3.9.13:6de2ca5, May 17 2022) [MSC v.1929 32 bit (Intel)] on win32\n")
    assert known.python is not None
    assert (known.python.version, known.python.bits) == ("3.9.13", 32)
    assert known.platform is not None
    assert known.platform.system == "Windows"
