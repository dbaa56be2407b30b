"""What the build and the start find in the image: files that were copied, scripts that can be run."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator

import msgspec

from envcheck.imagelint.copies import Copied, source_of
from envcheck.imagelint.faults import Fault
from envcheck.imagelint.image import TORCH_FAMILY, Image, Step
from envcheck.imagelint.rule import rule
from envcheck.imagelint.shell import SHELLS, commands_of
from envcheck.imagelint.source import Folder, Place
from envcheck.report import Evidence, Remedy, Severity

HEAVY = TORCH_FAMILY | {"tensorflow", "jax", "jaxlib"}
LAST = 1 << 30
"""Number of an instruction behind all others."""
_MENDS_LINE_ENDS = re.compile(r"dos2unix|fromdos|\\r|sed .*\^M|tr -d")


@rule(causes=["entrypoint-failed"])
def requirements_are_there_when_installed(image: Image) -> Iterator[Fault]:
    """A requirements file is copied into the image before pip is sent to it.

    Why: a RUN sees only what was copied before it: "Could not open requirements file: No such file or directory".
    If not: copy the file first.
    Source: Docker's documentation, "Dockerfile reference" (COPY, RUN).
    """
    brought = bool(image.from_stages) or any(
        re.search(r"\bgit\b|\bgit\+|curl|wget|tar |unzip|svn |hg clone", command.text)
        for _, command in image.commands()
    )
    onbuild = any(step.instruction.onbuild for step in image.steps)
    for step in image.steps:
        if step.instruction.name != "RUN" or "mount" in step.instruction.flags:
            continue
        for install in image.installs:
            if not step.instruction.line <= install.place.line <= step.instruction.end_line:
                continue
            for word in install.files:
                inside = posixpath.normpath(posixpath.join(install.folder, word.text))
                later = source_of(image.copied, image.context, inside, LAST)
                known = image.base.distribution_id is not None or image.base.repository in {"nvidia/cuda", "python"}
                written = any(
                    word.text in command.text and ">" in command.text
                    for _, command in image.commands()
                    if command.line <= word.line
                )
                if "$" in word.text or written or source_of(image.copied, image.context, inside, step.order):
                    continue
                elsewhere = brought or onbuild or not known or _heredoc_writes(image, word.text)
                if elsewhere and (later is None or later[1].unseen):
                    continue
                yield Fault(
                    cause="entrypoint-failed",
                    severity=Severity.ERROR,
                    place=Place(image.path, word.line, word.line),
                    title=f"{word.text} is installed from "
                    + (f"before line {later[1].place.line} copies it" if later else "but never copied into the image"),
                    evidence=[Evidence(install.command[:200], f"{image.path}:{install.place.line}")]
                    + ([Evidence(f"COPY {later[0]}", f"{image.path}:{later[1].place.line}")] if later else []),
                    remedies=[
                        Remedy(
                            action="Copy it first",
                            commands=[f"COPY {posixpath.basename(word.text)} {inside}"],
                            shell="dockerfile",
                        )
                    ],
                )


def _heredoc_writes(image: Image, name: str) -> bool:
    return any(step.instruction.heredocs and posixpath.basename(name) in step.instruction.text for step in image.steps)


@rule(causes=["slow-data-path"])
def frameworks_are_installed_before_the_code_is_copied(image: Image) -> Iterator[Fault]:
    """Frameworks are installed before the program's own files are copied.

    Why: each change of a file makes the builder run all later instructions anew; gigabytes of PyTorch or TensorFlow
    are then downloaded for every change of the program.
    If not: copy the requirements file alone, install, and copy the rest after that.
    Source: Docker's documentation, "Optimize cache usage in builds".
    """
    whole = [item for item in image.copied if item.source == "."]
    if not whole:
        return
    for install in image.installs:
        heavy = next((package for package in install.packages if package.name in HEAVY), None)
        if install.tool != "pip" or heavy is None or "-e" in install.options or "--editable" in install.options:
            continue
        before = [item for item in whole if item.place.line < install.place.line]
        mounted = any(
            step.instruction.line <= install.place.line <= step.instruction.end_line
            and "mount" in step.instruction.flags
            for step in image.steps
        )
        if before and not mounted:
            yield Fault(
                cause="slow-data-path",
                severity=Severity.NOTE,
                place=install.place,
                title=f"every change of the program installs {heavy.name} anew: all files are copied before it",
                evidence=[
                    Evidence("COPY . …", f"{image.path}:{before[0].place.line}"),
                    Evidence(install.command[:200], f"{image.path}:{install.place.line}"),
                ],
                remedies=[Remedy(action="Copy the requirements alone, install, then copy the rest")],
            )
            return


@rule(causes=["entrypoint-failed"])
def scripts_have_unix_line_ends(image: Image) -> Iterator[Fault]:
    r"""Scripts that the image runs do not end their lines with CR LF.

    Why: the kernel reads `#!/bin/sh\r` and looks for an interpreter of that name: "no such file or directory" or
    "exec format error", though the file is there; a shell reads `\r` as part of every last word.
    If not: save it with LF, and keep git from changing it (`*.sh text eol=lf` in .gitattributes).
    Source: execve(2), "Interpreter scripts"; git's documentation, gitattributes, `eol`.
    """
    if any(_MENDS_LINE_ENDS.search(command.text) for _, command in image.commands()):
        return
    for source, place, _ in _started_scripts(image):
        content = image.context.content(source)
        if content is None or b"\r\n" not in content:
            continue
        line = content[: content.index(b"\r\n")].count(b"\n") + 1
        name = image.context.named(source)
        yield Fault(
            cause="entrypoint-failed",
            severity=Severity.ERROR,
            place=place,
            title=f"{name} has CR LF line ends: it will not start",
            evidence=[Evidence("CR LF line ends", f"{name}:{line}")],
            remedies=[
                Remedy(action="Save it with LF line ends", commands=[f"sed -i 's/\\r$//' {name}"], safe=True),
                Remedy(
                    action="Keep git from changing it",
                    commands=["echo '*.sh text eol=lf' >> .gitattributes"],
                ),
            ],
        )


@rule(causes=["entrypoint-failed"])
def started_scripts_can_be_executed(image: Image) -> Iterator[Fault]:
    """A script that the container starts by its name may be executed and names its interpreter.

    Why: without the right to execute, the start ends in "permission denied"; without `#!` in its first line, in "exec
    format error".
    If not: `COPY --chmod=755`, or `chmod +x` in a RUN; write `#!/bin/sh` in the first line.
    Source: execve(2); Docker's documentation, "Dockerfile reference" (COPY --chmod).
    """
    for source, place, copied in _started_scripts(image):
        if copied is None:
            continue
        name = image.context.named(source)
        content = image.context.content(source)
        if content is None:
            continue
        base = posixpath.basename(source)
        if not content.startswith((b"#!", b"\x7fELF")) and base.endswith((".sh", ".bash", ".py")):
            yield Fault(
                cause="entrypoint-failed",
                severity=Severity.ERROR,
                place=place,
                title=f"{name} does not name its interpreter in the first line: exec format error",
                evidence=[Evidence(content[:60].split(b"\n")[0].decode("utf-8", "replace"), f"{name}:1")],
                remedies=[Remedy(action="Write #!/bin/sh, or #!/usr/bin/env python3, in its first line")],
            )
        given = copied.mode or any(
            command.program == "chmod" or re.search(r"\binstall\b.*-m", command.text) for _, command in image.commands()
        )
        if os.name == "posix" and not given and not os.access(name, os.X_OK):
            yield Fault(
                cause="entrypoint-failed",
                severity=Severity.ERROR,
                place=place,
                title=f"{name} may not be executed: the start ends in permission denied",
                evidence=[Evidence("no right to execute", name)],
                remedies=[
                    Remedy(
                        action="Give it the right",
                        commands=[f"COPY --chmod=755 {source} {copied.target}"],
                        shell="dockerfile",
                    ),
                    Remedy(action="Or in git", commands=[f"git update-index --chmod=+x {name}"]),
                ],
            )


def _started_scripts(image: Image) -> Iterator[tuple[str, Place, Copied | None]]:
    """Go through scripts of the build context that the image runs: source, place, and its COPY.

    The COPY is None where the script is not started by its own name but read by a shell.
    """
    for step, words, place in [*_run_words(image), *(_start_words(image) if image.final else ())]:
        found = _script(words)
        if found is None:
            continue
        path, direct = found
        if not posixpath.isabs(path) and direct and "/" not in path:
            path = posixpath.join("/usr/local/bin", path)
        inside = posixpath.normpath(posixpath.join(step.folder, path))
        source = source_of(image.copied, image.context, inside, step.order)
        if source and image.context.file(source[0]):
            yield source[0], place, source[1] if direct else None


Started = tuple[Step, list[str], Place]


def _run_words(image: Image) -> Iterator[Started]:
    for step, command in image.commands():
        yield step, [word.text for word in command.words], Place(image.path, command.line, command.end_line)


def _start_words(image: Image) -> Iterator[Started]:
    """Go through what ENTRYPOINT and CMD start; it sees all that was copied, whatever stands behind it."""
    for name in ("ENTRYPOINT", "CMD"):
        steps = [step for step in image.steps if step.instruction.name == name]
        for step in steps[-1:]:
            place = Place(image.path, step.instruction.line, step.instruction.end_line)
            for command in commands_of(step.instruction, step.variables):
                yield msgspec.structs.replace(step, order=LAST), [word.text for word in command.words], place


def _script(words: list[str]) -> tuple[str, bool] | None:
    """Return the script that a command starts, and whether by its own name; None where it starts a program."""
    if not words:
        return None
    program = words[0].rsplit("/", 1)[-1]
    if program in SHELLS | {"tini", "dumb-init", "exec", "gosu", "su-exec", "."} and len(words) > 1:
        rest = [word for word in words[1:] if not word.startswith("-")]
        if not rest or "-c" in words[1:2]:
            return None
        return rest[0], program not in SHELLS | {"."}
    return (words[0], True) if not words[0].startswith("-") else None


def line_ends_of(folder: Folder, source: str) -> int | None:
    """Return the first line of a file that ends with CR LF; None where none does, or there is no such file."""
    content = folder.content(source)
    if content is None or b"\r\n" not in content:
        return None
    return content[: content.index(b"\r\n")].count(b"\n") + 1
