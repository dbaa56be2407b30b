"""A fake NVIDIA driver for tests: a libnvidia-ml.so.1 made from fake_nvml.c, and a fake nvidia-smi."""

from __future__ import annotations

import atexit
import functools
import os
import pathlib
import shutil
import subprocess
import tempfile
from collections.abc import Mapping

import pytest

SOURCE = pathlib.Path(__file__).parent / "fake_nvml" / "fake_nvml.c"

HEALTHY = {
    "driver": "580.95.05",
    "cuda": "13000",
    "gpus": "1",
    "*.name": "NVIDIA H100 80GB HBM3",
    "0.uuid": "GPU-11111111-2222-3333-4444-555555555555",
    "1.uuid": "GPU-66666666-7777-8888-9999-000000000000",
    "0.pci": "0000:0f:00",
    "1.pci": "0000:10:00",
    "*.capability": "9.0",
    "0.minor": "0",
    "1.minor": "1",
    "*.memory_total": str(80 * 2**30),
    "*.memory_used": str(2**29),
    "*.utilization": "0",
    "*.temperature.0": "35",
    "*.temperature_threshold.1": "92",
    "*.power_milliwatts": "70000",
    "*.power_limit_milliwatts": "700000",
    "*.power_limit_default_milliwatts": "700000",
    "*.clock.1": "345",
    "*.clock_max.1": "1980",
    "*.ecc": "1",
    "*.ecc_errors.0.0": "0",
    "*.ecc_errors.1.0": "0",
    "*.ecc_errors.1.1": "0",
    "*.sram_exceeded": "0",
    "*.remapped": "0 0 0 0",
    "*.throttle_mask": "1",
    "*.persistence": "1",
    "*.compute_mode": "0",
    "*.mig": "0",
    "*.pcie_generation": "1",
    "*.pcie_generation_max": "5",
    "*.pcie_width": "16",
    "*.pcie_width_max": "16",
    "*.nvlinks": "18",
    "*.nvlink_errors": "0",
    "*.field.230": "0",
    "*.inforom": "1",
}
"""A GPU on which nothing is wrong, idle, its link asleep."""

TABLE = """\
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 580.95.05              Driver Version: 580.95.05      CUDA Version: 13.0     |
+-----------------------------------------+------------------------+----------------------+
"""


@functools.cache
def library() -> pathlib.Path:
    """Compile the fake library once; skip the test where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to build the fake libnvidia-ml with")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="fake-nvml-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(target), str(SOURCE)], check=True, timeout=60)
    return target


def variables(
    folder: pathlib.Path, answers: Mapping[str, str] | None = None, smi: str | None = None
) -> dict[str, str | None]:
    """Return the variables with which programs find the fake driver.

    Args:
        folder: where its files are put.
        answers: lines that are added to those of a healthy GPU, see fake_nvml.c.
        smi: shell script that stands for nvidia-smi; None = there is none.
    """
    described = folder / "fake-nvml.txt"
    described.write_text("".join(f"{key} {value}\n" for key, value in {**HEALTHY, **(answers or {})}.items()))
    found = {"LD_LIBRARY_PATH": str(library().parent), "FAKE_NVML": str(described)}
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    if smi is not None:
        program = programs / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{smi}\n")
        program.chmod(0o755)
    return {**found, "PATH": f"{programs}:{os.environ.get('PATH', '/usr/bin:/bin')}"}
