"""Every plan for every machine of a grid, judged again by the tables alone."""

from __future__ import annotations

import itertools

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from envcheck.compat import cuda, cudnn, tensorflow, torch
from envcheck.compat.build import why_not
from envcheck.compat.target import Target, platform_of
from envcheck.machine import Card, InstalledPython, Machine
from envcheck.plan import Plan, Refusal, plan
from envcheck.wish import Wish, framework

DRIVERS = {
    "linux": [
        "450.80.02",
        "470.256.02",
        "525.60.13",
        "535.274.02",
        "550.163.01",
        "570.195.03",
        "580.95.05",
        "595.58.03",
    ],
    "windows": ["452.39", "472.12", "528.33", "537.13", "553.62", "572.83", "581.80"],
}
CARDS = {
    "Kepler": "3.7",
    "Maxwell": "5.2",
    "Pascal": "6.1",
    "Volta": "7.0",
    "Turing": "7.5",
    "Ampere": "8.6",
    "Ada": "8.9",
    "Hopper": "9.0",
    "Blackwell": "12.0",
}
PYTHONS = ["3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]
SYSTEMS = [("linux", "x86_64"), ("linux", "aarch64"), ("windows", "AMD64"), ("wsl", "x86_64")]
FRAMEWORKS = ["torch", "tf"]


def machine(system: str, architecture: str, python: str, **more: object) -> Machine:
    cards = more.pop("cards", ())
    target = Target(system=system, machine=architecture, compute_capabilities=tuple(cards), **more)
    return Machine(
        target=target,
        cards=tuple(Card(name, capability) for name, capability in CARDS.items() if capability in cards),
        pythons=(InstalledPython(f"{python}.1", f"/usr/bin/python{python}"),),
        downloads_python=False,
    )


def planned(name: str, here: Machine) -> Plan | Refusal:
    return plan(Wish(frameworks=(framework(name),)), here)


def build_of(found: Plan, here: Machine):
    choice = found.choices[0]
    table = torch if choice.framework == "torch" else tensorflow
    builds = table.published(choice.version.split("+")[0])
    return next(
        build
        for build in builds
        if build.platform == here.platform
        and build.accelerator == choice.accelerator
        and build.local_version == choice.version
    )


def c_library(system: str, glibc: str) -> dict[str, str]:
    return {} if system == "windows" else {"glibc": glibc}


def machines_with_cards(glibc: str) -> list[Machine]:
    return [
        machine(
            system, architecture, python, driver=driver, cards=(card,), glibc=None if system == "windows" else glibc
        )
        for (system, architecture), card, python in itertools.product(SYSTEMS, CARDS.values(), PYTHONS)
        for driver in DRIVERS["linux" if system == "linux" else "windows"]
    ]


# One machine of seventeen, in an order that meets every value of every axis with many of the others.
GRID = [here for glibc in ("2.17", "2.27", "2.28", "2.31", "2.35", "2.39") for here in machines_with_cards(glibc)][::17]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_no_plan_contradicts_the_tables(name: str) -> None:
    plans = 0
    for here in GRID:
        found = planned(name, here)
        if isinstance(found, Refusal):
            assert found.sentence
            assert found.change
            continue
        plans += 1
        build = build_of(found, here)
        python = found.python.series
        assert why_not(build, Target(**{**to_fields(here.target), "python": python})) == [], (here.target, build)
        if build.accelerator == "cuda":
            assert cuda.driver_runs(build.cuda, here.target.driver, here.target.system) is not False
            for card in here.target.compute_capabilities:
                assert cuda.runs_on(build.architectures, card) is not False
                assert cudnn.works_on(build.cudnn, card) is not False
    assert plans > len(GRID) / 2


def to_fields(target: Target) -> dict[str, object]:
    return {name: getattr(target, name) for name in target.__struct_fields__}


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_no_newer_build_that_was_seen_published_would_have_run(name: str) -> None:
    table = torch if name == "torch" else tensorflow
    for here in GRID[::3]:
        found = planned(name, here)
        if isinstance(found, Refusal):
            continue
        choice = found.choices[0]
        target = Target(**{**to_fields(here.target), "python": found.python.series, "accelerator": choice.accelerator})
        best = [
            build
            for build in table.builds(target)
            if build.verified and (choice.framework == "torch" or choice.accelerator == "cpu" or brings_cuda(build))
        ]
        if best:
            assert Version(choice.version).release == Version(best[0].version).release, (here.target, best[0])


def brings_cuda(build) -> bool:
    row = tensorflow.release(build.version)
    return build.platform == "linux_x86_64" and bool(row and row.and_cuda)


@pytest.mark.parametrize("system", ["linux", "wsl"])
@pytest.mark.parametrize("card", ["5.2", "6.1", "7.0"])
def test_an_old_card_on_a_new_driver_gets_code_that_a_choice_by_driver_alone_would_not_have(
    system: str, card: str
) -> None:
    driver = "580.95.05" if system == "linux" else "581.80"
    here = machine(system, "x86_64", "3.12", driver=driver, cards=(card,), glibc="2.39")
    by_driver_alone = torch.newest_build(Target(system=system, python="3.12", driver=driver, glibc="2.39"))
    found = planned("torch", here)

    assert cuda.runs_on(by_driver_alone.architectures, card) is False
    assert isinstance(found, Plan)
    assert found.choices[0].accelerator == "cuda"
    assert cuda.runs_on(build_of(found, here).architectures, card) is True


def test_a_build_has_code_for_every_visible_card() -> None:
    here = machine("linux", "x86_64", "3.12", driver="580.95.05", cards=("6.1", "8.6"), glibc="2.39")
    found = planned("torch", here)
    assert found.choices[0].version.endswith("+cu126")
    assert all(cuda.runs_on(build_of(found, here).architectures, card) for card in ("6.1", "8.6"))


@pytest.mark.parametrize(
    ("system", "architecture", "more"),
    [
        ("darwin", "arm64", {"macos": "14.5"}),
        ("darwin", "arm64", {"macos": "11.0"}),
        ("darwin", "x86_64", {"macos": "13.6"}),
        ("linux", "x86_64", {"libc": "musl"}),
        ("linux", "ppc64le", {"glibc": "2.28"}),
        ("windows", "ARM64", {}),
        ("windows", "AMD64", {}),
    ],
)
@pytest.mark.parametrize("python", ["3.9", "3.11", "3.15"])
@pytest.mark.parametrize("name", [*FRAMEWORKS, "keras"])
def test_every_platform_gets_a_plan_that_runs_or_a_reason(system, architecture, more, python, name) -> None:
    here = machine(system, architecture, python, **more)
    found = planned(name, here)
    if isinstance(found, Refusal):
        assert found.sentence
        assert found.change
        if platform_of(system, architecture) is None:
            assert "no framework publishes builds" in found.sentence
        return
    for choice in found.choices:
        if choice.framework != "keras":
            assert choice.accelerator in {"cpu", "mps"}
    assert all(Requirement(wanted.text) for wanted in found.requirements)
