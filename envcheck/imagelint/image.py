"""A stage as rules want it: its base, what is copied, what is installed, its Python, and the builds that this gives."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

import msgspec
from packaging.version import Version

from envcheck.compat import cuda
from envcheck.compat.target import Target
from envcheck.imagelint import base_image, installs
from envcheck.imagelint.base_image import BaseImage
from envcheck.imagelint.copies import Copied, copied_by, reader_of, value_of
from envcheck.imagelint.dockerfile import Dockerfile, Instruction, Stage, Variable
from envcheck.imagelint.framework_build import (
    FrameworkBuild,
    called,
    conda_torch_build,
    keeps,
    says_cuda,
    tensorflow_build,
    torch_build,
)
from envcheck.imagelint.installs import Install, Package
from envcheck.imagelint.shell import Command, commands_of
from envcheck.imagelint.source import Folder, Place

TORCH_FAMILY = frozenset(
    [
        "torch",
        "torchvision",
        "torchaudio",
        "torchtext",
        "pytorch-lightning",
        "lightning",
        "accelerate",
        "deepspeed",
        "transformers",
        "fastai",
        "timm",
        "ultralytics",
        "vllm",
        "sentence-transformers",
        "diffusers",
        "peft",
        "trl",
        "xformers",
        "flash-attn",
        "torchdata",
        "torchrl",
        "pytorch",
        "pytorch-cuda",
    ]
)
"""Packages that are PyTorch, or that need it or are commonly run on it."""
NEEDS_TORCH = TORCH_FAMILY - {"transformers"}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction of the image: with its number, its commands (RUN), and what was known before it."""

    order: int
    stage: Stage
    instruction: Instruction
    variables: dict[str, Variable]
    commands: list[Command]
    folder: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """A stage of a Dockerfile with all that it is built from.

    Attributes:
        path: of the Dockerfile.
        stage: the stage.
        final: whether it is the image that is built: the last stage, or the chosen target.
        base: the image that its lineage starts from.
        base_place: of the FROM that names that image.
        steps: every instruction, those of the stages that it is built from first.
        copied: what comes from the build context.
        from_stages: names of stages and images that files are copied from, with the place and the words.
        stage_bases: the image that each named or numbered stage of the file starts from.
        stage_platforms: what `--platform` says of each of them.
        installs: every command that installs.
        context: the build context.
        machine: "x86_64" or "aarch64" as far as the file says it.
    """

    path: str
    stage: Stage
    final: bool
    base: BaseImage
    base_place: Place
    steps: list[Step]
    copied: list[Copied]
    from_stages: list[tuple[str, Place, list[str]]]
    stage_bases: dict[str, str]
    stage_platforms: dict[str, str]
    installs: list[Install]
    context: Folder
    machine: str | None

    def place_of(self, variable: str) -> Place:
        """Return where ENV sets a variable; the FROM where it does not."""
        line = self.stage.environment[variable].line if variable in self.stage.environment else self.base_place.line
        return Place(self.path, line, line)

    def commands(self) -> Iterator[tuple[Step, Command]]:
        """Go through all commands of RUN instructions."""
        for step in self.steps:
            if step.instruction.name == "RUN":
                for command in step.commands:
                    yield step, command

    def system_packages(self) -> list[Package]:
        """Return the packages that the system's package manager installs."""
        return [package for install in self.installs if install.tool == "system" for package in install.packages]

    def uses_conda(self) -> bool:
        """Tell whether conda has a part in it."""
        return self.base.conda or any(
            command.program in {"conda", "mamba", "micromamba"} or "conda" in command.text.lower()
            for _, command in self.commands()
        )

    def configures_pip(self) -> bool:
        """Tell whether a configuration file of pip is put into it or written in it."""
        written = any("pip config" in command.text or "pip.conf" in command.text for _, command in self.commands())
        return written or any("pip.conf" in (item.source, posixpath.basename(item.target)) for item in self.copied)

    @property
    def python(self) -> str | None:
        """The series of Python that a plain `pip` belongs to; None where it is not sure."""
        base = self.base
        manager = any(word in {"pyenv", "uv", "update-alternatives"} for word in self._programs())
        named = {
            match[1]
            for package in self.system_packages()
            if (match := re.fullmatch(r"python(\d\.\d+)(?:-.*)?", package.name))
        }
        if base.python and not manager and not self.uses_conda():
            return base.python
        default = base.distribution.python3 if base.distribution else None
        if base.python or manager or self.uses_conda() or (named - {default}):
            return None
        return default

    def _programs(self) -> set[str]:
        return {command.program for _, command in self.commands()}

    def python_of(self, install: Install) -> str | None:
        """Return the series of Python that an installation is for."""
        if install.interpreter == "system":
            return None if install.uv and "--system" not in install.options else self.python
        return install.interpreter or None

    def target(self, install: Install | None = None) -> Target:
        """Return what is known of the machine that the image is, for the tables of builds."""
        return Target(
            system="linux",
            machine=self.machine or "x86_64",
            python=self.python_of(install) if install else self.python,
            libc="musl" if self.base.libc == "musl" else "glibc" if self.base.libc == "glibc" else None,
            glibc=self.base.distribution.glibc if self.base.distribution else None,
        )

    def torch_builds(self) -> list[FrameworkBuild]:
        """Return what PyTorch each installation gives; one that finds it there already gives none."""
        found: list[FrameworkBuild] = []
        for install in self.installs:
            package = install.named("torch")
            if install.tool == "pip" and package:
                if keeps(install, package) and (found or self.base.holds_torch):
                    continue
                found.append(torch_build(install, package, self.target(install)))
            elif install.tool == "conda" and (package := install.named("pytorch", "pytorch-gpu")):
                found.append(conda_torch_build(install, package))
        return found

    def tensorflow_builds(self) -> list[FrameworkBuild]:
        """Return what TensorFlow each installation gives; one that finds it there already gives none."""
        found: list[FrameworkBuild] = []
        for install in self.installs:
            package = install.named("tensorflow") or install.named("tensorflow-gpu")
            if package and keeps(install, package) and (found or self.base.tensorflow):
                continue
            if install.tool == "pip" and package:
                found.append(tensorflow_build(install, package, self.target(install)))
        return found

    def holds_torch(self) -> bool:
        """Tell whether PyTorch is in it: in its base, or installed by name or as something that needs it."""
        return self.base.holds_torch or any(
            package.name in NEEDS_TORCH for install in self.installs for package in install.packages
        )

    def for_nvidia(self) -> bool:
        """Tell whether its programs are built for NVIDIA GPUs: by its base, or by a CUDA build that is asked for."""
        builds = [*self.torch_builds(), *self.tensorflow_builds()]
        return self.base.for_nvidia or any(build.accelerator == "cuda" and says_cuda(build) for build in builds)

    def cuda_needs(self) -> list[tuple[str, str, Place]]:
        """Return the CUDA versions that its programs are built for: (version, what it is, place)."""
        found = []
        if self.base.cuda and self.base.flavour != "base":
            found.append((self.base.cuda, self.base.reference, self.base_place))
        found += [
            (build.cuda, called(build), build.package.place)
            for build in [*self.torch_builds(), *self.tensorflow_builds()]
            if build.cuda and build.accelerator == "cuda"
        ]
        return found

    def minimum_driver(self) -> Version | None:
        """Return the least NVIDIA driver (Linux) on which all of it runs; None where that is not known."""
        least = [cuda.minimum_driver(version, "linux") for version, _, _ in self.cuda_needs()]
        known = [version for version in least if version is not None]
        return max(known) if known else None

    def default_commands(self) -> list[Command]:
        """Return the commands that the container starts: ENTRYPOINT, then CMD."""
        found: list[Command] = []
        for name in ("ENTRYPOINT", "CMD"):
            last = [step for step in self.steps if step.instruction.name == name]
            if last:
                found += commands_of(last[-1].instruction, last[-1].variables)
        return found


def image_of(
    path: str, parsed: Dockerfile, stage: Stage, context: Folder, *, final: bool, platform: str | None = None
) -> Image:
    """Put together what is known of a stage.

    Args:
        path: of the Dockerfile.
        parsed: the whole file.
        stage: the stage.
        context: the build context.
        final: whether this stage is the image.
        platform: "linux/arm64" where the user said for what it is built.
    """
    first = stage.lineage[0]
    base = base_image.read(stage.base)
    steps = _steps(stage)
    copied, from_stages = copied_by(
        path, [(step.order, step.instruction, step.variables, step.folder) for step in steps], context
    )
    # TARGETPLATFORM is what is built for; BUILDPLATFORM is the builder's own and not known.
    for_target = not first.platform or "TARGET" in first.platform
    machine = machine_of_platform(platform or "" if for_target else first.platform) or base.machine
    found: list[Install] = []
    for step in steps:
        if step.instruction.name != "RUN":
            continue
        environment = {name: variable.value for name, variable in step.variables.items()}
        folder = step.folder
        for command in step.commands:
            if command.program == "cd" and len(command.words) > 1:
                folder = posixpath.join(folder, command.words[1].text)
            elif command.words:
                mounts = step.instruction.flags.get("mount", "")
                reader = reader_of(copied, context, folder, step.order, mounts)
                install = installs.install_of(command, path, environment, folder, reader)
                found += [install] if install else []
    return Image(
        path=path,
        stage=stage,
        final=final,
        base=base,
        base_place=Place(path, first.line, first.line),
        steps=steps,
        copied=copied,
        from_stages=from_stages,
        stage_platforms={
            key: other.lineage[0].platform for other in parsed.stages for key in (other.name, str(other.index)) if key
        },
        stage_bases={key: other.base for other in parsed.stages for key in (other.name, str(other.index)) if key},
        installs=found,
        context=context,
        machine=machine,
    )


def machine_of_platform(platform: str) -> str | None:
    """Return "x86_64" of "linux/amd64"; None where it names none that is known."""
    architecture = platform.split("/")[1] if "/" in platform else platform
    return {"amd64": "x86_64", "x86_64": "x86_64", "arm64": "aarch64", "aarch64": "aarch64"}.get(architecture)


def _steps(stage: Stage) -> list[Step]:
    found = []
    folder = "/"
    for order, (of_stage, instruction, variables) in enumerate(stage.walk()):
        if instruction.name == "WORKDIR":
            named = value_of(instruction.text.strip(), variables)
            folder = posixpath.normpath(posixpath.join(folder, named))
        runs = commands_of(instruction, variables) if instruction.name == "RUN" else []
        found.append(
            Step(
                order=order,
                stage=of_stage,
                instruction=instruction,
                variables=variables,
                commands=runs,
                folder=folder,
            )
        )
    return found
