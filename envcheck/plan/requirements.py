"""What is handed to the installer for a choice of builds."""

from __future__ import annotations

from packaging.version import Version

from envcheck.compat import tensorflow, torch
from envcheck.compat.build import Build
from envcheck.compat.versions import public
from envcheck.machine import Machine
from envcheck.plan.builds import distribution_of, installed_version
from envcheck.plan.model import DISTRIBUTIONS, TITLES, Candidate, Suite, Wanted, parse_version
from envcheck.wish import Wish, named

EXTRA_REQUIREMENTS: dict[str, tuple[str, ...]] = {
    "jupyter": ("jupyterlab", "ipykernel", "ipywidgets"),
    "vision": ("pillow", "opencv-python-headless"),
    "audio": ("soundfile", "librosa"),
    "nlp": ("transformers", "datasets", "sentencepiece"),
}


NUMPY_2_SINCE_TENSORFLOW = Version("2.18")
"""Before it the metadata of TensorFlow says numpy<2, or says nothing because there was no NumPy 2 yet (table
tensorflow: 2.17.1 requires numpy<2.0.0, 2.18.0 allows 2.0)."""


def framework_requirements(candidate: Candidate, wish: Wish, machine: Machine, pytorch_index: str) -> list[Wanted]:
    """Return what is to be installed for a build, its framework first."""
    build = candidate.build
    title = TITLES[candidate.framework]
    if candidate.framework == "tensorflow":
        asked = tuple(found.name.lower() for found, _ in named(wish.required, *DISTRIBUTIONS["tensorflow"]))
        name = distribution_of("tensorflow", build, asked)
        extra = "[and-cuda]" if build.accelerator == "cuda" else ""
        pins = tensorflow.extra_pins(build, machine.target)
        return [
            Wanted(text=f"{name}{extra}=={build.version}", why=title),
            *(Wanted(text=pin, why=f"{title} on your cards (cuDNN)") for pin in pins),
        ]
    return [
        Wanted(
            text=f"torch=={installed_version(build)}{_not_held(build, machine)}",
            why=title,
            index=index_of(candidate, pytorch_index),
        ),
        # torch does not require it, and without it tensors cannot become arrays nor arrays tensors.
        Wanted(text="numpy", why="arrays for PyTorch"),
    ]


def _not_held(build: Build, machine: Machine) -> str:
    """Exclude wheels of the same release for something else that lie in the user's folders: `==` accepts them."""
    if build.index is not None:
        return ""
    others = {wheel.version for wheel in machine.held if wheel.name == "torch" and parse_version(wheel.version).local}
    return "".join(f",!={version}" for version in sorted(others) if public(version) == parse_version(build.version))


def index_of(candidate: Candidate, pytorch_index: str) -> str:
    """Return the one index that may answer; empty where the user's own places have the build."""
    if candidate.held is not None or candidate.build.index is None:
        return ""
    return candidate.build.index.replace(torch.WHEEL_INDEX, pytorch_index.rstrip("/"))


def extras_of(suite: Suite, wish: Wish, machine: Machine, pytorch_index: str) -> tuple[list[Wanted], list[str]]:
    """Return what the extras bring, and what the user should know of them."""
    wanted = [Wanted(text=text, why=extra) for extra in wish.extras for text in EXTRA_REQUIREMENTS[extra]]
    notes = []
    for candidate in suite.candidates:
        companions = torch.companions(candidate.build.version) if candidate.framework == "torch" else None
        if companions is None:
            continue
        offered = {"vision": ("torchvision", companions.torchvision), "audio": ("torchaudio", companions.torchaudio)}
        for extra in wish.extras:
            name, version = offered.get(extra, ("", ""))
            if name and version:
                wanted.append(_companion(name, version, candidate, machine, pytorch_index))
            elif name:
                last = next(row for row in torch.releases() if row.torchaudio)
                notes.append(
                    f"{name} ended with {last.torchaudio}, for torch {last.series} (--framework torch=={last.series}); "
                    "soundfile and librosa are installed"
                )
    return wanted, notes


def _companion(name: str, version: str, candidate: Candidate, machine: Machine, pytorch_index: str) -> Wanted:
    """Return a companion from where torch comes from: one for another CUDA version fails at import."""
    local = parse_version(installed_version(candidate.build)).local
    pinned = f"{version}+{local}" if local else version
    kept = any(wheel.name == name and parse_version(wheel.version) == parse_version(pinned) for wheel in machine.held)
    where = "" if kept or candidate.build.index is None else candidate.build.index
    return Wanted(
        text=f"{name}=={pinned}",
        why=f"belongs to torch {candidate.build.version}",
        index=where.replace(torch.WHEEL_INDEX, pytorch_index.rstrip("/")),
    )


def numpy_limits(suite: Suite, machine: Machine) -> tuple[Wanted, ...]:
    """Return numpy<2 where a framework was built with NumPy 1 and its metadata does not say so."""
    system = "macos" if machine.target.system == "darwin" else machine.target.system
    for candidate in suite.candidates:
        version = candidate.build.version
        if candidate.framework == "torch" and torch.numpy_major(version, system) == 1:
            return (Wanted(text="numpy<2", why=f"torch {version} was built with NumPy 1"),)
        if candidate.framework == "tensorflow" and parse_version(version) < NUMPY_2_SINCE_TENSORFLOW:
            return (Wanted(text="numpy<2", why=f"TensorFlow {version} was built with NumPy 1"),)
    return ()
