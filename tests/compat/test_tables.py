"""The tables agree with their own rules, with each other, and with the JSON that was compiled from them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from envcheck.causes import CAUSES
from envcheck.compat.table import TABLES

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in TABLES.glob("*.toml"))


def rows(table, part):
    return json.loads((TABLES / f"{table}.json").read_text(encoding="utf-8"))[part]


def parts(table):
    content = json.loads((TABLES / f"{table}.json").read_text(encoding="utf-8"))
    return {name: value for name, value in content.items() if isinstance(value, list) and isinstance(value[0], dict)}


def values(table, *keys):
    return [(row, row[key]) for part in parts(table).values() for row in part for key in keys if key in row]


def in_order(versions):
    parsed = [Version(text) for text in versions]
    return parsed == sorted(parsed)


def test_the_compiled_tables_are_those_that_people_edit():
    pytest.importorskip("tomllib", reason="the tables are compiled with Python 3.11 or newer")
    tool = [sys.executable, str(ROOT / "tools" / "compile_tables.py"), "--check"]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_row_names_its_source(name):
    for part, members in parts(name).items():
        for row in members:
            assert row.get("source"), f"{name}.{part}: {row}"


@pytest.mark.parametrize("name", NAMES)
def test_no_row_is_there_twice(name):
    for part, members in parts(name).items():
        texts = [json.dumps(row, sort_keys=True) for row in members]
        assert len(texts) == len(set(texts)), f"{name}.{part}"


@pytest.mark.parametrize("name", NAMES)
def test_a_table_names_no_host_of_a_package_registry(name):
    text = (TABLES / f"{name}.toml").read_text(encoding="utf-8")
    assert not re.search(r"pypi\.org|pythonhosted|debian\.org|npmjs|anaconda\.org", text)


@pytest.mark.parametrize(
    ("table", "part", "key"),
    [
        ("torch", "release", "version"),
        ("tensorflow", "release", "version"),
        ("keras", "release", "version"),
        ("cuda_driver", "toolkit", "release"),
        ("compute_capability", "capability", "compute_capability"),
        ("xid", "xid", "number"),
        ("sxid", "sxid", "number"),
        ("nvml_returns", "return", "value"),
        ("nvml_returns", "return", "name"),
        ("throttle_reasons", "reason", "bit"),
        ("cuda_errors", "error", "code"),
        ("kernel_messages", "message", "id"),
        ("gpus", "gpu", "name"),
        ("packages", "misleading", "name"),
        ("packages", "import", "import_name"),
        ("abi", "message", "id"),
    ],
)
def test_what_is_asked_for_by_name_is_there_once(table, part, key):
    names = [row[key] for row in rows(table, part)]
    assert len(names) == len(set(names))


def test_every_version_can_be_compared():
    keys = ("version", "release", "toolkit", "driver_linux", "driver_windows", "cuda", "cuda_default", "torchvision")
    for table in ("torch", "tensorflow", "keras", "cuda_driver"):
        for row, text in values(table, *keys):
            # The rows of conda-forge hold ranges.
            assert [Version(end) for end in text.split("-")], row
    for table in ("torch", "tensorflow", "keras"):
        for _, text in values(table, "requires_python"):
            SpecifierSet(text)


def test_releases_are_listed_in_the_order_of_their_versions():
    for table in ("torch", "tensorflow", "keras"):
        assert in_order(row["version"] for row in rows(table, "release")), table
    newest_first = [row["release"] for row in rows("cuda_driver", "toolkit")]
    assert in_order(reversed(newest_first))
    assert in_order(row["compute_capability"] for row in rows("compute_capability", "capability"))


def test_a_newer_toolkit_never_came_with_an_older_driver():
    for system in ("driver_linux", "driver_windows"):
        drivers = [row[system] for row in reversed(rows("cuda_driver", "toolkit")) if system in row]
        assert in_order(drivers), system


def test_the_least_driver_of_a_major_version_is_no_newer_than_that_of_its_second_toolkit():
    for row in rows("cuda_driver", "minor_version_compatibility"):
        for system in ("linux", "windows"):
            least = row.get(f"minimum_driver_{system}")
            later = [
                Version(toolkit[f"driver_{system}"])
                for toolkit in rows("cuda_driver", "toolkit")
                if toolkit["toolkit"].startswith(f"{row['cuda_major']}.")
                and not toolkit["toolkit"].endswith(".0")
                and f"driver_{system}" in toolkit
            ]
            assert least is None or not later or Version(least) <= min(later)


def test_every_cuda_that_a_framework_was_built_with_has_a_toolkit():
    known = {row["toolkit"] for row in rows("cuda_driver", "toolkit")}
    used = [text for _, text in values("torch", "cuda_default", "cuda") if "-" not in text]
    used += [text for row in rows("torch", "release") for text in row.get("cuda_variants", [])]
    used += [text for _, text in values("tensorflow", "cuda_built", "tested_cuda")]
    # "10" is how the page of TensorFlow for Windows writes 10.0.
    assert {".".join(text.split(".")[:2]) for text in used if text != "10"} <= known


def test_every_compute_capability_is_in_the_capability_table():
    known = {row["compute_capability"] for row in rows("compute_capability", "capability")}
    used = {text for row, texts in values("torch", "compute_capabilities") for text in texts}
    used |= {text for row, texts in values("cudnn", "compute_capabilities") for text in texts}
    used |= {text for _, text in values("gpus", "compute_capability")}
    used |= {text for row, texts in values("gpus", "compute_capabilities") for text in texts}
    codes = {text for row, texts in values("torch", "code_linux_x86_64", "code_linux_aarch64") for text in texts}
    codes |= {text for _, texts in values("tensorflow", "code", "ptx") for text in texts}
    used |= {re.sub(r"^(?:sm|compute)_(\d+)(\d)$", r"\1.\2", text) for text in codes}
    assert used <= known


def test_code_in_a_build_is_code_that_its_toolkit_can_make():
    first = {
        row["compute_capability"]: Version(row["first_toolkit"]) for row in rows("compute_capability", "capability")
    }
    last = {
        row["compute_capability"]: Version(row["last_toolkit"])
        for row in rows("compute_capability", "capability")
        if "last_toolkit" in row
    }
    for row in rows("torch", "variant"):
        for capability in row["compute_capabilities"]:
            assert first[capability] <= Version(row["cuda"]) <= last.get(capability, Version("99")), row


def test_the_default_cuda_build_of_torch_holds_the_code_of_its_variant():
    variants = {(row["series"], row["cuda"], row["platform"]): row for row in rows("torch", "variant")}
    for row in rows("torch", "release"):
        variant = variants.get((row["series"], row["cuda_default"], "linux_x86_64"))
        if variant is not None and Version(row["version"]) >= Version("2.1"):
            codes = {f"sm_{text.replace('.', '')}" for text in variant["compute_capabilities"]}
            assert set(row["code_linux_x86_64"]) == codes, row["version"]


def test_the_pins_of_the_default_build_name_its_cudnn_and_nccl():
    for row in rows("torch", "release"):
        pins = {
            Requirement(text.replace("cuda-toolkit[", "cuda-toolkit [")).name: text
            for text in row.get("nvidia_pins", [])
        }
        for package, key in (("nvidia-cudnn", "cudnn_default"), ("nvidia-nccl", "nccl_default")):
            pinned = [text for name, text in pins.items() if name.startswith(package)]
            assert not pinned or pinned[0].endswith(f"=={row[key]}"), row["version"]


def test_a_wheel_exists_only_for_a_python_that_the_metadata_allows():
    for table in ("torch", "tensorflow"):
        for row in rows(table, "release"):
            allowed = SpecifierSet(row.get("requires_python", ""))
            for key, pythons in row.items():
                if key.startswith("python_"):
                    assert all(f"{text.rstrip('t')}.20" in allowed for text in pythons), (table, row["version"], key)


def test_each_series_is_that_of_its_version():
    for table in ("torch", "tensorflow"):
        for row in rows(table, "release"):
            assert row["series"] == ".".join(row["version"].split(".")[:2])


def test_every_requirement_of_tensorflow_can_be_read():
    for row in rows("tensorflow", "release"):
        for key in ("keras", "tensorboard", "estimator", "protobuf", "h5py", "wrapt", "grpcio", "ml_dtypes"):
            SpecifierSet(row.get(key, ""))
        for text in row.get("and_cuda", []):
            Requirement(text)
        for text in [row["numpy"]] if isinstance(row["numpy"], str) else row["numpy"]:
            Requirement(f"numpy{text}")


def test_cards_agree_with_their_capability_about_the_last_driver():
    capabilities = {row["compute_capability"]: row for row in rows("compute_capability", "capability")}
    for row in rows("gpus", "gpu"):
        if "compute_capability" in row and not row.get("integrated") and not row.get("module"):
            expected = capabilities[row["compute_capability"]].get("last_driver_branch")
            assert row.get("last_branch") == expected, row["name"]


def test_cards_agree_with_their_generation_about_the_open_module():
    generations = {text: row for row in rows("gpus", "generation") for text in row["compute_capabilities"]}
    for row in rows("gpus", "gpu"):
        if "open_module" in row and "compute_capability" in row:
            # Grace Hopper needs the open module though Hopper does not.
            expected = {generations[row["compute_capability"]]["open_module"]}
            expected |= {"required"} if "GH200" in row["name"] else set()
            assert row["open_module"] in expected, row["name"]


def test_a_card_is_known_to_no_driver_after_its_last_branch():
    for row in rows("gpus", "gpu"):
        newest = max((Version(text).major for text in row.get("known_to", [])), default=0)
        assert "last_branch" not in row or newest <= row["last_branch"], row["name"]


def test_every_kernel_message_is_found_in_its_own_examples():
    for row in rows("kernel_messages", "message"):
        for line in [row["example"], *(example["line"] for example in row.get("more_examples", []))]:
            assert re.search(row["pattern"], line), row["id"]
            assert any(text in line for text in row["contains"]), row["id"]


def test_every_message_about_binaries_is_found_in_its_own_text():
    for row in rows("abi", "message"):
        text = re.sub(r"%s|\{\w+\}", "1.2.3", row["text"])
        assert re.search(row["regex"], text, re.MULTILINE), row["id"]


def test_causes_are_slugs_and_severities_are_three():
    for table in NAMES:
        for row, cause in values(table, "cause"):
            assert re.fullmatch(r"(?:[a-z0-9]+(?:-[a-z0-9]+)*)?", cause), row
        for row, causes in values(table, "causes"):
            assert all(re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", cause) for cause in causes), row
        for row, severity in values(table, "severity"):
            assert severity in {"info", "warning", "error"}, row


def test_causes_are_those_of_the_vocabulary():
    known = {cause for family in CAUSES.values() for cause in family}
    used = {cause for table in NAMES for _, cause in values(table, "cause") if cause}
    used |= {cause for table in NAMES for _, causes in values(table, "causes") for cause in causes}
    assert used <= known


def test_device_ids_are_four_hexadecimal_digits():
    for table in ("gpus", "amd_intel_apple"):
        for row, identifiers in values(table, "device_ids"):
            assert all(re.fullmatch(r"[0-9a-f]{4}", text) for text in identifiers), row
    for row, subsystems in values("gpus", "subsystems"):
        assert all(text.split(":")[0] in row["device_ids"] for text in subsystems), row["name"]


def test_torch_is_published_for_the_same_rocm_versions_in_both_tables():
    builds = {}
    for row in rows("rocm", "build"):
        builds.setdefault(".".join(row["torch"].split(".")[:2]), row["rocm"])
    for row in rows("torch", "release"):
        if "rocm_variants" in row:
            assert row["rocm_variants"] == builds[row["series"]], row["version"]
