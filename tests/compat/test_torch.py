"""Every build that is offered is checked against the rows of the tables, read here on their own."""

from __future__ import annotations

import itertools
import json
import random

import msgspec
import pytest
from packaging.version import Version

from envcheck.compat import torch
from envcheck.compat.build import pythons, why_not
from envcheck.compat.table import TABLES
from envcheck.compat.target import Target

DRIVERS = (
    "390.157",
    "418.40",
    "450.51",
    "470.256.02",
    "525.60.13",
    "535.54.03",
    "550.54.14",
    "570.86.15",
    "580.65.06",
    "595.45.04",
    "610.43.02",
)
CARDS = (
    "3.5",
    "3.7",
    "5.0",
    "5.2",
    "6.0",
    "6.1",
    "7.0",
    "7.5",
    "8.0",
    "8.6",
    "8.7",
    "8.9",
    "9.0",
    "10.0",
    "10.3",
    "11.0",
    "12.0",
    "12.1",
)
PYTHONS = ("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.15")
GLIBCS = ("2.17", "2.23", "2.27", "2.28", "2.31", "2.35", "2.41")
MACHINES = (("linux", "x86_64"), ("linux", "aarch64"), ("windows", "AMD64"), ("darwin", "arm64"), ("darwin", "x86_64"))

# Independent of envcheck.compat.cuda: least driver by major version, and by toolkit before CUDA 11.
LEAST_LINUX = {"13": "580", "12": "525.60.13", "11": "450.80.02", "10.2": "440.33", "10.1": "418.39"}
LEAST_WINDOWS = {"13": "580", "12": "528.33", "11": "452.39", "10.2": "441.22", "10.1": "418.96"}
LAST_BRANCH = {"3": 470, "5": 580, "6": 580, "7.0": 580, "7.2": 580}
JETSON = ("5.3", "6.2", "7.2", "8.7")


def table(name):
    return json.loads((TABLES / f"{name}.json").read_text(encoding="utf-8"))


RELEASES = {row["version"]: row for row in table("torch")["release"]}


def targets():
    """Yield the axes two by two in full, then a fixed sample of their whole product."""
    for (system, machine), driver, card in itertools.product(MACHINES, DRIVERS, CARDS):
        yield Target(system=system, machine=machine, driver=driver, compute_capabilities=(card,), python="3.11")
    for (system, machine), python, glibc in itertools.product(MACHINES, PYTHONS, GLIBCS):
        glibc_there = glibc if system == "linux" else None
        yield Target(system=system, machine=machine, python=python, glibc=glibc_there, driver="580.65.06")
    sample = random.Random(5)  # noqa: S311 - the sample is the same in every run
    for _ in range(400):
        system, machine = sample.choice(MACHINES)
        yield Target(
            system=system,
            machine=machine,
            python=sample.choice(PYTHONS),
            glibc=sample.choice(GLIBCS) if system == "linux" else None,
            driver=sample.choice(DRIVERS),
            compute_capabilities=tuple(sample.sample(CARDS, sample.randint(1, 3))),
        )


def least_driver(cuda, system):
    least = LEAST_WINDOWS if system == "windows" else LEAST_LINUX
    return Version(least.get(cuda.split(".")[0]) or least[cuda])


def has_code(build, card):
    architectures = build.architectures
    major, minor = map(int, card.split("."))
    for architecture in architectures:
        kind, _, digits = architecture.partition("_")
        code = int(digits[:-1]), int(digits[-1])
        unified = card in {"7.2", "8.7"} and Version(build.cuda) >= Version("13.2")
        exact = (card in JETSON and not unified) or ".".join(map(str, code)) in JETSON
        if kind == "sm" and (code == (major, minor) if exact else code[0] == major and code[1] <= minor):
            return True
        if kind == "compute" and code <= (major, minor):
            return True
        if {code, (major, minor)} == {(10, 1), (11, 0)}:
            return True
    return False


def assert_fits(build, target):
    row = RELEASES[build.version]
    assert target.python in row[f"python_{build.platform}"]
    assert build.platform.split("_")[0] == {"darwin": "macos"}.get(target.system, target.system)
    if build.platform == "linux_x86_64" and target.glibc:
        assert Version(target.glibc) >= Version(row["minimum_glibc_linux_x86_64"])
    if build.platform == "linux_aarch64" and target.glibc and any("_2_28_aarch64" in tag for tag in row["tags"]):
        assert Version(target.glibc) >= Version("2.28")
    if build.accelerator != "cuda":
        return
    assert not build.platform.startswith("macos")
    assert Version(target.driver) >= least_driver(build.cuda, target.system)
    for card in target.compute_capabilities:
        assert has_code(build, card)
        branch = LAST_BRANCH.get(card) or LAST_BRANCH.get(card.split(".")[0] if card != "7.5" else "")
        assert (
            branch is None or Version(target.driver).major <= branch or (target.system == "windows" and branch == 580)
        )
        assert build.cudnn is None or Version(build.cudnn) < Version("9.11") or Version(card) >= Version("7.5")


def test_no_build_is_offered_that_a_row_of_the_tables_contradicts():
    offered = 0
    for target in targets():
        for build in torch.builds(target):
            assert_fits(build, target)
            offered += 1
    assert offered > 10_000


def test_every_build_that_is_not_offered_is_explained_and_no_other_is():
    for target in itertools.islice(targets(), 0, None, 40):
        offered = set(torch.builds(target))
        for version in RELEASES:
            for build in torch.published(version):
                reasons = torch.why_not(build, target)
                assert bool(reasons) != (build in offered)
                assert all(reason == reason.strip() and len(reason) > 10 for reason in reasons)


def test_builds_come_newest_first_and_the_newest_alone_is_the_first_of_them():
    for target in itertools.islice(targets(), 0, None, 7):
        builds = torch.builds(target)
        versions = [Version(build.version) for build in builds]
        assert versions == sorted(versions, reverse=True)
        assert torch.newest_build(target) == (builds[0] if builds else None)


@pytest.mark.parametrize("system", ["linux", "windows"])
@pytest.mark.parametrize("card", CARDS)
def test_a_newer_driver_that_still_drives_the_card_offers_no_less(system, card):
    before = set()
    for driver in DRIVERS:
        target = Target(system=system, driver=driver, compute_capabilities=(card,), accelerator="cuda")
        if any("does not drive" in reason for b in torch.published("2.6.0") for reason in why_not(b, target)):
            continue
        now = set(torch.builds(target))
        assert before <= now
        before = now


def test_a_newer_glibc_offers_no_less():
    before = set()
    for glibc in GLIBCS:
        now = set(torch.builds(Target(glibc=glibc, python="3.11")))
        assert before <= now
        before = now


def test_a_second_card_offers_no_more():
    for first, second in itertools.permutations(CARDS, 2):
        both = set(torch.builds(Target(driver="580.65.06", compute_capabilities=(first, second))))
        assert both <= set(torch.builds(Target(driver="580.65.06", compute_capabilities=(first,))))


def test_a_pascal_card_on_a_580_driver_gets_the_newest_build_with_code_for_it():
    target = Target(driver="580.65.06", compute_capabilities=("6.1",), python="3.12", glibc="2.35", accelerator="cuda")
    build = torch.newest_build(target)
    assert build is not None
    assert torch.runs_on(build.architectures, "6.1") is True
    assert build.local_version == "2.14.1+cu126"
    assert build.index == "https://download.pytorch.org/whl/cu126"


def test_a_volta_card_gets_cu126_where_cu128_dropped_it():
    target = Target(driver="570.124.06", compute_capabilities=("7.0",), python="3.12", accelerator="cuda")
    offered = {build.local_version for build in torch.builds(target)}
    assert {"2.7.1+cu126", "2.8.0+cu128", "2.11.0+cu126"} <= offered
    assert not {"2.7.1+cu128", "2.11.0+cu128", "2.14.0+cu130"} & offered


def test_a_blackwell_card_needs_a_build_of_cuda_12_8_or_newer():
    target = Target(driver="570.124.06", compute_capabilities=("12.0",), python="3.12", accelerator="cuda")
    offered = torch.builds(target)
    assert offered
    assert all(build.cuda in {"12.8", "12.9"} for build in offered)
    assert Version(offered[0].version) == Version("2.11.0")


def test_a_machine_with_an_old_and_a_new_card_gets_a_build_for_both():
    target = Target(driver="570.124.06", compute_capabilities=("7.5", "12.0"), python="3.12", accelerator="cuda")
    newest = torch.newest_build(target)
    assert newest is not None
    assert {"sm_75", "sm_120"} <= set(newest.architectures)
    nothing = Target(driver="580.65.06", compute_capabilities=("6.1", "12.0"), accelerator="cuda")
    assert torch.builds(nothing) == []


def test_the_reason_names_the_driver_that_is_needed():
    build = torch.build("2.13.0", Target())
    assert build is not None
    (reason,) = torch.why_not(build, Target(driver="570.124.06", compute_capabilities=("8.6",)))
    assert reason == "CUDA 13.0 needs driver 580, the machine has 570.124.06"


def test_the_reason_names_the_code_that_is_missing():
    build = torch.build("2.7.0+cu128", Target())
    assert build is not None
    reasons = torch.why_not(build, Target(driver="570.124.06", compute_capabilities=("7.0",)))
    assert any("no code for compute capability 7.0" in reason for reason in reasons)


def test_ptx_counts_only_with_a_driver_that_can_translate_it():
    build = torch.build("2.6.0+cu126", Target())
    assert build is not None
    only_ptx = msgspec.structs.replace(build, architectures=("sm_70", "compute_80"))
    (reason,) = torch.why_not(only_ptx, Target(driver="535.54.03", compute_capabilities=("8.9",)))
    assert "only through PTX of CUDA 12.6" in reason
    assert "needs 560.28.03" in reason
    assert torch.why_not(only_ptx, Target(driver="560.28.03", compute_capabilities=("8.9",))) == []


def test_a_build_whose_cudnn_dropped_the_card_is_refused_though_it_has_code_for_it():
    build = torch.build("2.14.0+cu126", Target())
    assert build is not None
    newer_cudnn = msgspec.structs.replace(build, cudnn="9.20.0.48")
    (reason,) = torch.why_not(newer_cudnn, Target(driver="580.65.06", compute_capabilities=("6.1",)))
    assert reason == "cuDNN 9.20.0.48 in the build does not work on compute capability 6.1"


def test_a_variant_that_a_release_does_not_list_is_not_offered():
    names = {build.local_version for build in torch.published("2.11.0")}
    assert {"2.11.0+cu126", "2.11.0+cu128", "2.11.0+cu130"} <= names
    assert "2.11.0+cu129" not in names


def test_somebody_with_a_python_that_is_too_new_is_told_which_ones_would_do():
    assert torch.builds(Target(python="3.16")) == []
    assert pythons(torch.builds(Target(glibc="2.17")))[:2] == ["3.13", "3.12"]
    assert "3.13t" not in pythons(torch.builds(Target()))
    assert pythons([]) == []


def test_alpine_gets_nothing_and_is_told_why():
    target = Target(libc="musl", python="3.12")
    assert torch.builds(target) == []
    build = torch.build("2.6.0", target)
    assert build is not None
    assert any("musl" in reason for reason in torch.why_not(build, target))


@pytest.mark.parametrize(
    ("system", "machine"), [("linux", "i686"), ("linux", "ppc64le"), ("freebsd", "amd64"), ("windows", "ARM64")]
)
def test_a_platform_without_wheels_gets_nothing_and_is_told_why(system, machine):
    target = Target(system=system, machine=machine)
    assert torch.builds(target) == []
    build = torch.published("2.6.0")[0]
    assert why_not(build, target) == [f"no builds are published for {system} on {machine}"]


def test_a_mac_gets_the_newest_build_for_its_macos():
    newest = torch.newest_build(Target(system="Darwin", machine="arm64", python="3.13", macos="13.2"))
    assert newest is not None
    assert (newest.version, newest.accelerator) == ("2.11.0", "mps")
    intel = torch.newest_build(Target(system="Darwin", machine="x86_64", python="3.11"))
    assert intel is not None
    assert intel.version == "2.2.2"


def test_centos_7_gets_the_last_build_for_its_glibc():
    newest = torch.newest_build(Target(glibc="2.17", python="3.11"))
    assert newest is not None
    assert newest.version == "2.6.0"


def test_an_amd_card_gets_a_rocm_build_with_its_target():
    newest = torch.newest_build(Target(gfx=("gfx1100",), accelerator="rocm", python="3.12"))
    assert newest is not None
    assert newest.rocm is not None
    assert "gfx1100" in newest.architectures
    assert newest.index == f"https://download.pytorch.org/whl/rocm{newest.rocm}"
    assert torch.builds(Target(gfx=("gfx1010",), accelerator="rocm")) == []


def test_a_windows_machine_needs_pytorchs_own_index_for_cuda():
    target = Target(system="Windows", machine="AMD64", python="3.12", driver="566.36", compute_capabilities=("8.9",))
    cuda = [build for build in torch.builds(target) if build.accelerator == "cuda"]
    assert cuda
    assert all(build.index is not None for build in cuda)
    default = torch.build("2.9.1", target)
    assert default is not None
    assert default.accelerator == "cpu"


@pytest.mark.parametrize(
    ("name", "cuda", "accelerator"),
    [
        ("2.6.0+cu126", "12.6", "cuda"),
        ("2.6.0+cpu", None, "cpu"),
        ("2.6.0", "12.4", "cuda"),
        ("2.6.0+cu124", "12.4", "cuda"),
    ],
)
def test_a_build_is_found_by_the_version_that_torch_prints(name, cuda, accelerator):
    build = torch.build(name, Target())
    assert build is not None
    assert (build.version, build.cuda, build.accelerator) == ("2.6.0", cuda, accelerator)


@pytest.mark.parametrize("name", ["2.6.0+cu999", "0.4.1", "99.0", "nightly", None])
def test_a_build_that_no_row_has_is_unknown(name):
    assert torch.build(name, Target()) is None


def test_companions_are_those_of_the_release_whatever_its_build():
    companions = torch.companions("2.6.0+cu124")
    assert companions is not None
    assert (companions.torchvision, companions.torchaudio, companions.torchtext) == ("0.21.0", "2.6.0", None)
    assert torch.companions("99.0") is None


def test_a_companion_leads_back_to_its_torch():
    owner = torch.release_with_companion("torchvision", "0.21.0+cpu")
    assert owner is not None
    assert owner.version == "2.6.0"
    assert torch.release_with_companion("torchvision", "99.0") is None
    assert torch.release_with_companion("torchdata", "0.7") is None


@pytest.mark.parametrize(
    ("version", "system", "major"),
    [
        ("2.2.2", "linux", 1),
        ("2.3.0", "linux", 2),
        ("2.3.0", "darwin", 2),
        ("2.3.1", "windows", 1),
        ("2.4.1", "windows", 2),
        ("1.13.1", "linux", 1),
        ("2.13.0+cpu", "linux", 2),
        (None, "linux", None),
        ("2.6", "plan9", None),
    ],
)
def test_the_numpy_that_a_release_was_built_with_is_known(version, system, major):
    assert torch.numpy_major(version, system) == major


def test_what_is_unknown_of_the_machine_is_not_held_against_a_build():
    everything = torch.builds(Target())
    assert {build.accelerator for build in everything} == {"cpu", "cuda", "rocm"}
    assert len(everything) == sum(b.platform == "linux_x86_64" for v in RELEASES for b in torch.published(v))


def test_unchecked_builds_come_after_checked_ones_of_the_same_release():
    for release in torch.releases():
        flags = [b.verified for b in torch.builds(Target(accelerator="cuda")) if b.version == release.version]
        assert flags == sorted(flags, reverse=True)
