"""nvidia-smi in a paste says what NVML says on a machine, whatever its version, its form and its troubles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from envcheck.facts import Facts, Gpu
from envcheck.triage import facts_from

MEBIBYTE = 1024 * 1024


def facts(text: str) -> Facts:
    """Return the facts of a paste."""
    return facts_from([("paste", text.encode())])


def gpus(text: str) -> list[Gpu]:
    """Return the GPUs of a paste."""
    nvml = facts(text).nvml
    assert nvml is not None
    assert nvml.gpus is not None
    return nvml.gpus


WIDE = """\
Mon Mar  3 10:00:00 2025
+-----------------------------------------------------------------------------------------+
| NVIDIA-SMI 570.86.10              Driver Version: 570.86.10      CUDA Version: 12.8     |
|-----------------------------------------+------------------------+----------------------+
| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |
| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |
|                                         |                        |               MIG M. |
|=========================================+========================+======================|
|   0  NVIDIA L40S                    On  |   00000000:17:00.0 Off |                    3 |
| N/A   41C    P0             82W /  350W |   40000MiB /  46068MiB |     97%      Default |
|                                         |                        |                  N/A |
+-----------------------------------------+------------------------+----------------------+
|   1  NVIDIA H100 80GB HBM3          Off |   00000000:B7:00.0 Off |                    0 |
| N/A   30C    P0            ERR! /  700W |       1MiB /  81559MiB |      0%   E. Process |
|                                         |                        |              Enabled |
+-----------------------------------------+------------------------+----------------------+

+-----------------------------------------------------------------------------------------+
| Processes:                                                                              |
|  GPU   GI   CI              PID   Type   Process name                        GPU Memory |
|        ID   ID                                                               Usage      |
|=========================================================================================|
|    0   N/A  N/A           48121      C   python3                               39980MiB |
+-----------------------------------------------------------------------------------------+
"""

OLD = """\
+-----------------------------------------------------------------------------+
| NVIDIA-SMI 390.157                Driver Version: 390.157                   |
|-------------------------------+----------------------+----------------------+
| GPU  Name        Persistence-M| Bus-Id        Disp.A | Volatile Uncorr. ECC |
| Fan  Temp  Perf  Pwr:Usage/Cap|         Memory-Usage | GPU-Util  Compute M. |
|===============================+======================+======================|
|   0  Tesla V100-SXM2...  Off  | 00000000:04:00.0 Off |                  Off |
| 23%   36C    P8    11W / 250W |    120MiB / 11178MiB |      4%      Default |
+-------------------------------+----------------------+----------------------+
|  No running processes found                                                 |
"""


def test_the_table_of_a_new_driver_gives_driver_cards_memory_modes_and_processes() -> None:
    known = facts(WIDE)
    assert known.driver is not None
    assert (known.driver.smi_driver_version, known.driver.smi_cuda_version) == ("570.86.10", "12.8")
    first, second = gpus(WIDE)
    assert (first.name, first.pci_address, first.persistence_mode) == ("NVIDIA L40S", "0000:17:00.0", True)
    assert (first.memory_used_bytes, first.memory_total_bytes) == (40000 * MEBIBYTE, 46068 * MEBIBYTE)
    assert (first.ecc_uncorrected, first.utilization_percent, first.compute_mode) == (3, 97, "Default")
    assert first.processes is not None
    assert (first.processes[0].process_id, first.processes[0].memory_bytes) == (48121, 39980 * MEBIBYTE)
    assert (second.compute_mode, second.mig_enabled) == ("Exclusive_Process", True)
    assert second.unreadable == {"power_watts": "NVML_ERROR_UNKNOWN"}


def test_a_name_that_an_old_table_cut_short_is_not_taken_for_a_name() -> None:
    (gpu,) = gpus(OLD)
    assert gpu.name is None
    assert (gpu.ecc_enabled, gpu.temperature_celsius, gpu.power_limit_watts) == (False, 36, 250)
    known = facts(OLD)
    assert known.driver is not None
    assert (known.driver.smi_driver_version, known.driver.smi_cuda_version) == ("390.157", None)


def test_the_newest_driver_that_says_kmd_and_umd_is_understood() -> None:
    known = facts("| NVIDIA-SMI 610.57.04              KMD Version: 610.57.04     CUDA UMD Version: 13.3     |")
    assert known.nvml is not None
    assert (known.nvml.driver_version, known.nvml.cuda_version) == ("610.57.04", "13.3")


def test_in_wsl_the_driver_is_that_of_windows_not_that_of_the_program() -> None:
    known = facts("| NVIDIA-SMI 580.82.02              Driver Version: 581.15         CUDA Version: 13.0     |")
    assert known.nvml is not None
    assert known.nvml.driver_version == "581.15"


def test_a_table_that_breaks_off_gives_the_cards_that_it_shows_and_does_not_claim_to_be_whole() -> None:
    known = facts(WIDE.partition("|   1  NVIDIA H100")[0])
    assert known.nvml is not None
    assert known.nvml.gpus is not None
    assert (len(known.nvml.gpus), known.nvml.gpus_complete) == (1, False)


def test_the_list_gives_names_and_mig_devices_and_completes_the_table() -> None:
    text = (
        OLD
        + """
GPU 0: Tesla V100-SXM2-32GB (UUID: GPU-1b2c3d4e-0000-1111-2222-333344445555)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-aa2c3d4e-0000-1111-2222-333344445555)
  MIG 1g.5gb      Device  0: (UUID: MIG-11111111-2222-3333-4444-555566667777)
  MIG 2g.10gb     Device  1: (UUID: MIG-21111111-2222-3333-4444-555566667777)
GPU 2: NVIDIA A100-SXM4-40GB (UUID: GPU is lost)
"""
    )
    first, second, third = gpus(text)
    assert (first.name, first.temperature_celsius) == ("Tesla V100-SXM2-32GB", 36)
    assert [instance.name for instance in second.mig_instances or []] == ["1g.5gb", "2g.10gb"]
    assert third.state == "NVML_ERROR_GPU_IS_LOST"


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("Failed to initialize NVML: Driver/library version mismatch", "NVML_ERROR_LIB_RM_VERSION_MISMATCH"),
        ("Failed to initialize NVML: Unknown Error", "NVML_ERROR_UNKNOWN"),
        ("Failed to initialize NVML: Insufficient Permissions", "NVML_ERROR_NO_PERMISSION"),
        ("Failed to initialize NVML: GPU access blocked by the operating system", "NVML_ERROR_OPERATING_SYSTEM"),
        (
            (
                "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the "
                "latest NVIDIA driver is installed and running."
            ),
            "NVML_ERROR_DRIVER_NOT_LOADED",
        ),
        ("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system.", "library-missing"),
    ],
)
def test_each_way_in_which_nvidia_smi_fails_is_the_state_that_nvml_would_give(text: str, state: str) -> None:
    known = facts(f"$ nvidia-smi\n{text}\n")
    assert known.nvml is not None
    assert known.nvml.state == state
    assert known.driver is not None
    assert known.driver.smi_state == "failed"


def test_of_two_tables_the_first_counts_whole() -> None:
    later = WIDE.replace("40000MiB", "    1MiB").replace("48121", "99999")
    first, _ = gpus(WIDE + later)
    assert first.memory_used_bytes == 40000 * MEBIBYTE
    assert [process.process_id for process in first.processes or []] == [48121]


def test_a_failure_counts_more_than_a_table_from_better_days_and_the_contradiction_is_shown() -> None:
    known = facts(f"{WIDE}\n$ nvidia-smi\nFailed to initialize NVML: Driver/library version mismatch\n")
    assert known.driver is not None
    assert known.driver.smi_state == "failed"
    assert known.pasted is not None
    assert [item.fact for item in known.pasted.contradictions or []] == ["driver.smi_state"]


def test_the_library_version_under_a_mismatch_is_that_of_user_space() -> None:
    known = facts("Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 535.261\n")
    assert known.driver is not None
    assert known.driver.library_version == "535.261"


def test_one_dead_gpu_is_named_by_its_address() -> None:
    (gpu,) = gpus("Unable to determine the device handle for GPU 0000:91:00.0: GPU is lost.  Reboot the system\n")
    assert (gpu.pci_address, gpu.state) == ("0000:91:00.0", "NVML_ERROR_GPU_IS_LOST")


def test_a_person_who_quotes_an_error_in_a_sentence_has_not_pasted_it() -> None:
    text = (
        "I once read somewhere on another site, for another machine of a friend, that "
        "Failed to initialize NVML: Unknown Error can be cured by a reboot."
    )
    known = facts(text)
    assert known.driver is None


QUERY = """\
==============NVSMI LOG==============

Timestamp                                 : Mon Mar  3 10:00:00 2025
Driver Version                            : 535.183.06
CUDA Version                              : 12.2

Attached GPUs                             : 1
GPU 00000000:3B:00.0
    Product Name                          : NVIDIA A40
    Persistence Mode                      : Enabled
    MIG Mode
        Current                           : N/A
    GPU UUID                              : GPU-0a0b0c0d-0000-1111-2222-333344445555
    PCI
        Bus Id                            : 00000000:3B:00.0
        GPU Link Info
            PCIe Generation
                Max                       : 4
                Current                   : 1
            Link Width
                Max                       : 16x
                Current                   : 8x
        Replays Since Reset               : 5
    Clocks Event Reasons
        Idle                              : Not Active
        SW Power Cap                      : Active
        HW Slowdown                       : Active
            HW Thermal Slowdown           : Active
            HW Power Brake Slowdown       : Not Active
    FB Memory Usage
        Total                             : 46068 MiB
        Reserved                          : 664 MiB
        Used                              : 1024 MiB
        Free                              : 44379 MiB
    ECC Errors
        Volatile
            SRAM Correctable              : 0
            SRAM Uncorrectable            : 1
            DRAM Correctable              : 2
            DRAM Uncorrectable            : 4
        Aggregate
            SRAM Uncorrectable            : 1
            DRAM Uncorrectable            : 9
    Retired Pages
        Single Bit ECC                    : N/A
    Remapped Rows
        Correctable Error                 : 3
        Uncorrectable Error               : 1
        Pending                           : Yes
        Remapping Failure Occurred        : No
    Temperature
        GPU Current Temp                  : 88 C
        GPU Slowdown Temp                 : 95 C
    Processes
        GPU instance ID                   : N/A
        Process ID                        : 777
            Type                          : C
            Name                          : python
            Used GPU Memory               : 900 MiB
"""


def test_the_long_form_gives_health_link_and_reasons_for_low_clocks() -> None:
    (gpu,) = gpus(QUERY)
    assert (gpu.ecc_corrected, gpu.ecc_uncorrected, gpu.ecc_uncorrected_lifetime) == (2, 5, 10)
    assert (gpu.remap_pending, gpu.remap_failed, gpu.remapped_rows_uncorrected) == (True, False, 1)
    assert (gpu.pcie_generation, gpu.pcie_generation_max, gpu.pcie_width, gpu.pcie_width_max) == (1, 4, 8, 16)
    assert gpu.throttle_reasons == ["SwPowerCap", "HwSlowdown", "HwThermalSlowdown"]
    assert (gpu.memory_used_bytes, gpu.temperature_slowdown_celsius) == (1024 * MEBIBYTE, 95)
    assert gpu.retired_pages is None
    assert [process.process_id for process in gpu.processes or []] == [777]


XML = """\
<nvidia_smi_log>
\t<driver_version>595.10</driver_version>
\t<cuda_version>13.2</cuda_version>
\t<gpu id="00000000:01:00.0">
\t\t<product_name>NVIDIA B200</product_name>
\t\t<mig_devices>
\t\t\tNone
\t\t</mig_devices>
\t\t<gpu_recovery_action>Drain and Reset</gpu_recovery_action>
\t\t<clocks_event_reasons>
\t\t\t<clocks_event_reason_sw_thermal_slowdown>Active</clocks_event_reason_sw_thermal_slowdown>
\t\t</clocks_event_reasons>
\t\t<remapped_rows>
\t\t\t<remapped_row_failure>Yes</remapped_row_failure>
\t\t</remapped_rows>
\t\t<applications_clocks>
\t\t\t<graphics_clock>Requested functionality has been deprecated</graphics_clock>
"""


def test_xml_is_read_also_where_it_breaks_off() -> None:
    (gpu,) = gpus(XML)
    assert (gpu.name, gpu.recovery_action, gpu.remap_failed) == ("NVIDIA B200", "Drain and Reset", True)
    assert gpu.throttle_reasons == ["SwThermalSlowdown"]


def test_text_and_table_of_the_same_card_are_one_card() -> None:
    table = WIDE.replace("00000000:17:00.0", "00000000:3B:00.0").partition("|   1  NVIDIA")[0]
    assert len(gpus(f"{table}\n{QUERY}")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "index, name, memory.total [MiB], compute_cap\n0, NVIDIA T4, 15360 MiB, 7.5\n1, NVIDIA T4, 15360 MiB, 7.5\n",
        (
            "$ nvidia-smi --query-gpu=index,name,memory.total,compute_cap --format=csv,noheader,nounits\n"
            "0, NVIDIA T4, 15360, 7.5\n1, NVIDIA T4, 15360, 7.5\n"
        ),
    ],
)
def test_a_query_is_read_with_its_header_and_without(text: str) -> None:
    first, second = gpus(text)
    assert (first.name, first.memory_total_bytes, second.index) == ("NVIDIA T4", 15360 * MEBIBYTE, 1)
    assert second.compute_capability == "7.5"


def test_a_reading_that_failed_is_unknown_and_says_why() -> None:
    text = "index, name, memory.used [MiB], utilization.gpu [%]\n0, Tesla P4, [GPU is lost], [N/A]\n"
    (gpu,) = gpus(text)
    assert gpu.memory_used_bytes is None
    assert gpu.unreadable == {"memory_used_bytes": "NVML_ERROR_GPU_IS_LOST"}


FIXTURES = Path(__file__).parents[4] / "shared" / "gpu" / "fixtures"


@pytest.mark.skipif(not FIXTURES.is_dir(), reason="captured outputs are other people's and not part of the project")
def test_every_captured_xml_names_each_card_with_its_state() -> None:
    for path in sorted(FIXTURES.glob("*.xml")):
        content = path.read_bytes()
        nvml = facts_from([(path.name, content)]).nvml
        assert nvml is not None, path.name
        assert nvml.gpus is not None, path.name
        assert len(nvml.gpus) == content.count(b"<gpu id="), path.name
        assert all(gpu.name and gpu.memory_total_bytes and gpu.temperature_celsius for gpu in nvml.gpus), path.name


def test_facts_of_a_paste_are_valid_facts() -> None:
    for text in (WIDE, OLD, QUERY, XML):
        known = facts(text)
        assert msgspec.json.decode(msgspec.json.encode(known), type=Facts) == known
