"""What comes from the build context: which of its files lies where in the image."""

from __future__ import annotations

import posixpath

import msgspec

from envcheck.imagelint.dockerfile import Instruction, Variable, replaced, unquoted
from envcheck.imagelint.installs import Reader
from envcheck.imagelint.source import Folder, Place


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder that COPY or ADD takes from the build context.

    Attributes:
        source: in the context.
        target: in the image, absolute.
        into: whether the target is a folder that the file is put into.
        unseen: whether there is no such file and no such folder in the context, so that it may be either.
        place: of the instruction.
        order: number of the instruction in the walk of the stage.
        mode: of `--chmod`.
    """

    source: str
    target: str
    into: bool
    unseen: bool
    place: Place
    order: int
    mode: str = ""


def copied_by(
    path: str, instructions: list[tuple[int, Instruction, dict[str, Variable], str]], context: Folder
) -> tuple[list[Copied], list[tuple[str, Place, list[str]]]]:
    """Return what COPY and ADD take from the build context, and what they take from stages and images.

    Args:
        path: of the Dockerfile.
        instructions: each with its number, the variables before it and the working directory.
        context: the build context.
    """
    copied: list[Copied] = []
    from_stages = []
    for order, instruction, variables, folder in instructions:
        if instruction.name not in {"COPY", "ADD"}:
            continue
        words = instruction.words or [word for word in instruction.text.split() if not word.startswith("<<")]
        words = [value_of(word, variables) for word in words]
        place = Place(path, instruction.line, instruction.end_line)
        if "from" in instruction.flags:
            from_stages.append((instruction.flags["from"].lower(), place, words))
            continue
        if len(words) < 2:  # noqa: PLR2004 - a source and a target
            continue
        target = posixpath.normpath(posixpath.join(folder, words[-1]))
        into = len(words) > 2 or words[-1].endswith("/") or words[-1] in {".", "./"}  # noqa: PLR2004 - several sources
        for source in words[:-1]:
            whole = context.is_folder(source) or source in {".", "./"}
            copied.append(
                Copied(
                    source=posixpath.normpath(source.lstrip("/") or "."),
                    target=target,
                    into=into and not whole,
                    unseen=not whole and context.file(source) is None,
                    place=place,
                    order=order,
                    mode=instruction.flags.get("chmod", ""),
                )
            )
    return copied, from_stages


def source_of(copied: list[Copied], context: Folder, inside: str, before: int) -> tuple[str, Copied] | None:
    """Return the file of the build context that lies at a path of the image, and the COPY that put it there.

    Args:
        copied: what was copied.
        context: the build context; of several files that may lie there, one that is in it is preferred.
        inside: absolute path in the image.
        before: number of the instruction that looks there; what is copied later is not there yet.
    """
    found = [
        (source, item)
        for item in reversed(copied)
        if item.order < before and (source := _source_within(item, inside)) is not None
    ]
    there = ((source, item) for source, item in found if context.file(source))
    return next(there, found[0] if found else None)


def _source_within(item: Copied, inside: str) -> str | None:
    """Return which file a COPY puts at a path of the image; None where it puts none there."""
    name = posixpath.basename(inside)
    folder = item.target.rstrip("/") + "/"
    if item.unseen and inside.startswith(folder):
        return posixpath.normpath(posixpath.join(item.source, name))
    if item.into:
        if posixpath.join(item.target, posixpath.basename(item.source)) == inside:
            return item.source
        glob = "*" in item.source and posixpath.dirname(inside) == item.target
        return posixpath.join(posixpath.dirname(item.source), name) if glob else None
    if item.target == inside:
        return item.source
    if inside.startswith(folder):
        return posixpath.normpath(posixpath.join(item.source, inside.removeprefix(folder)))
    return None


def value_of(text: str, variables: dict[str, Variable]) -> str:
    """Return a word of an instruction as the builder takes it: variables replaced, quotes gone."""
    return unquoted(replaced(text, variables))


def reader_of(copied: list[Copied], context: Folder, folder: str, order: int, mounts: str) -> Reader:
    """Return what reads the files that a command names.

    Args:
        copied: what was copied.
        context: the build context.
        folder: the working directory of the command.
        order: number of its instruction.
        mounts: its `--mount` flags: a bind mount shows a file of the context for that instruction alone.
    """

    def read(name: str) -> tuple[str, str] | None:
        inside = posixpath.normpath(posixpath.join(folder, name))
        found = source_of(copied, context, inside, order)
        source = found[0] if found else _mounted(mounts, inside, folder)
        text = context.text(source) if source else None
        return (context.named(source), text) if source and text is not None else None

    return read


def _mounted(mounts: str, inside: str, folder: str) -> str | None:
    for mount in mounts.split():
        fields = dict(field.partition("=")[::2] for field in mount.split(","))
        if fields.get("type", "bind") != "bind" or "from" in fields:
            continue
        source = fields.get("source", fields.get("src", "."))
        target = fields.get("target", fields.get("dst", fields.get("destination", "")))
        target = posixpath.normpath(posixpath.join(folder, target))
        if target == inside:
            return posixpath.normpath(source)
        if inside.startswith(target.rstrip("/") + "/"):
            return posixpath.normpath(posixpath.join(source, inside[len(target.rstrip("/")) + 1 :]))
    return None
