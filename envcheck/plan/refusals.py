"""Why there is no plan, and what would change that."""

from __future__ import annotations

import msgspec

from envcheck.compat import keras
from envcheck.machine import Machine
from envcheck.plan.builds import (
    against,
    candidates_of,
    frameworks_with_builds,
    ordered_builds,
    outside_of_what_is_asked,
    published_for,
)
from envcheck.plan.model import TITLES, Refusal, Refused, Suite, listed_names, specifier_set
from envcheck.plan.reasons import grouped
from envcheck.plan.suites import best_suite, keras_version
from envcheck.wish import Wish


def impossible(wish: Wish, machine: Machine) -> Refusal | None:
    """Return what rules a wish out before any build is looked at; None where nothing does."""
    target = machine.target
    where = f"{target.system} on {target.machine}"
    if machine.platform is None:
        return Refusal(
            sentence=f"no framework publishes builds for {where}",
            change="a 64-bit x86-64 or ARM machine with Linux, macOS or Windows",
        )
    if wish.accelerator == "cuda":
        if machine.gpu_problem:
            return Refusal(
                sentence=f"{listed_names(card.name for card in machine.cards)} is here, but {machine.gpu_problem}",
                change="`envcheck doctor` says how to mend it; --accelerator cpu trains meanwhile",
            )
        if target.system == "darwin":
            apple = machine.platform == "macos_arm64"
            return Refusal(
                sentence=f"no framework has builds for CUDA on macOS any more, and this is {where}",
                change="--accelerator mps for the GPU of this Mac, or cpu" if apple else "--accelerator cpu",
            )
        if not target.driver and not target.compute_capabilities:
            return Refusal(
                sentence="no NVIDIA GPU is visible here",
                change="--accelerator cpu; or --driver VERSION and --card CAPABILITY to plan for another machine",
            )
    if wish.accelerator == "rocm" and not target.gfx and not machine.amd_cards:
        return Refusal(sentence="no AMD GPU is visible here", change="--accelerator cpu")
    if wish.accelerator == "mps" and machine.platform != "macos_arm64":
        return Refusal(
            sentence=f"MPS is Apple's GPU on Macs with Apple silicon; this is {where}", change="--accelerator auto"
        )
    return None


def no_python(wish: Wish, machine: Machine) -> Refusal:
    """Return why no interpreter may be used."""
    there = ", ".join(python.version for python in machine.pythons) or "none"
    fetched = "" if machine.downloads_python else "; none may be fetched offline"
    return Refusal(
        sentence=f"no Python fits {wish.python} ({wish.python_source}); installed: {there}{fetched}",
        change="another --python, or an interpreter of that version installed here",
    )


def nothing_fits(wish: Wish, machine: Machine, pythons: list[str]) -> Refusal:
    """Say which framework has nothing, or that two do not live together, with what spoke against each build."""
    for item in frameworks_with_builds(wish):
        if not any(candidates_of(item, wish, machine, series, 1) for series in pythons):
            every = ordered_builds(item.name, machine, wish, pythons[0])
            asked_for = [build for build in every if not outside_of_what_is_asked(build, item.name, wish)]
            refused = grouped(
                (build, against(build, item.name, wish, machine, pythons[0])) for build in asked_for or every
            )
            asked = f" {item.specifier}" if item.specifier else ""
            kind = "" if wish.accelerator == "auto" else f" for {wish.accelerator}"
            first = refused[0].reason if refused else "the tables know no build for this platform"
            change = _what_would_help(refused, wish, machine)
            if item.name == "tensorflow" and _torch_has_more(wish, machine):
                change = f"--framework torch, which has builds for {wish.accelerator} here; {change}"
            return Refusal(
                sentence=f"no build of {TITLES[item.name]}{asked}{kind} runs here: {first}",
                change=change,
                refused=refused,
            )
    if any(item.name == "keras" for item in wish.frameworks) and not any(
        keras_version(wish, _suite_without_keras(wish, machine, series)) for series in pythons
    ):
        return Refusal(
            sentence=f"no release of Keras 3 fits: {_keras_reason(wish, machine, pythons)}",
            change="another --python, or another version of Keras or of its backend",
        )
    titles = " and ".join(TITLES[item.name] for item in frameworks_with_builds(wish))
    return Refusal(
        sentence=f"no builds of {titles} live in one environment here",
        change="two environments: one `envcheck setup --name NAME` for each",
    )


def _suite_without_keras(wish: Wish, machine: Machine, series: str) -> Suite | None:
    frameworks = tuple(item for item in wish.frameworks if item.name != "keras")
    return best_suite(msgspec.structs.replace(wish, frameworks=frameworks), machine, series, None)


def _keras_reason(wish: Wish, machine: Machine, pythons: list[str]) -> str:
    item = next(item for item in wish.frameworks if item.name == "keras")
    if item.specifier and not any(specifier_set(item.specifier).contains(row.version) for row in keras.releases()):
        return f"the table has no release {item.specifier}; Keras 2 comes with TensorFlow up to 2.15 (--framework tf)"
    return f"none takes Python {', '.join(pythons)} and the backends that run on {machine.target.system}"


def _torch_has_more(wish: Wish, machine: Machine) -> bool:
    """Tell whether PyTorch publishes builds for the accelerator on this platform, where TensorFlow has none at all."""
    kind = wish.accelerator
    has_torch = any(build.accelerator == kind for build in published_for("torch", machine))
    return has_torch and not any(build.accelerator == kind for build in published_for("tensorflow", machine))


def _what_would_help(refused: tuple[Refused, ...], wish: Wish, machine: Machine) -> str:
    text = " ".join(item.reason for item in refused)
    ways = []
    if any("no wheel for Python" in item.reason and "musl" not in item.reason for item in refused):
        ways.append("another --python")
    if "needs driver" in text or "needs a newer" in text:
        ways.append("a newer NVIDIA driver")
    if "published for musl" in text:
        ways.append("a distribution with glibc (Debian, Ubuntu, Fedora), or a container of one")
    if "needs glibc" in text:
        ways.append("a newer distribution, or a container with one")
    if "not among the wheels" in text:
        ways.append(f"the wheel in {machine.held[0].folder}" if machine.held else "a wheelhouse that holds it")
    if wish.accelerator in {"cuda", "rocm", "mps"}:
        ways.append("--accelerator cpu")
    if "asked for" in text or "limit" in text:
        ways.append("a wider range of versions")
    return "; ".join(ways) or "another platform"
