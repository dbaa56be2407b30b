"""A file that is linted, the files beside it, and a place in one of them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

LARGEST_BYTES = 4 << 20
"""A larger file is no Dockerfile, manifest or script; it is not read."""


class Place(msgspec.Struct, frozen=True):
    """Where something stands.

    Attributes:
        path: the file as the user named it, or below the folder that the user named.
        line: first line, from 1.
        end_line: last line.
    """

    path: str
    line: int
    end_line: int


def place(path: str, line: int, end_line: int | None = None) -> Place:
    """Return a place; a single line where no end is given."""
    return Place(path, line, max(line, end_line or line))


class UnreadableError(Exception):
    """A file cannot be examined; the message is one line for the user."""


def read_text(path: str) -> str:
    """Read a file that the user named.

    Raises:
        UnreadableError: it is no text, too large, or cannot be opened.
    """
    try:
        if os.path.getsize(path) > LARGEST_BYTES:  # noqa: PTH202 - path stays text: a place is printed as it was named
            raise UnreadableError(f"larger than {LARGEST_BYTES >> 20} MiB: no Dockerfile, compose file or manifest")
        return decoded(Path(path).read_bytes())
    except OSError as error:
        raise UnreadableError(error.strerror or "cannot be read") from error


def decoded(content: bytes) -> str:
    """Return text from bytes as Docker and kubectl take them: UTF-8, a byte order mark passed over.

    Raises:
        UnreadableError: it is no text.
    """
    if b"\0" in content:
        raise UnreadableError("not a text file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8 (byte {error.start})") from error


class Folder(msgspec.Struct, frozen=True):
    """A build context, or the folder that a compose file stands in; None where the text came from standard input.

    Attributes:
        path: the folder as it is printed; empty for the working directory.
        known: whether there is such a folder to look into.
    """

    path: str
    known: bool = True

    def named(self, relative: str) -> str:
        """Return the name under which a file in it is printed."""
        joined = os.path.normpath(os.path.join(self.path, relative))  # noqa: PTH118 - printed as the user wrote it
        return joined.replace(os.sep, "/")

    def file(self, relative: str) -> str | None:
        """Return the name of a file in it, or None where there is none, or where it would lie outside."""
        if not self.known or os.path.isabs(relative) or os.path.normpath(relative).startswith(".."):  # noqa: PTH117
            return None
        found = self.named(relative)
        return found if os.path.isfile(found) else None  # noqa: PTH113 - see named

    def is_folder(self, relative: str) -> bool:
        """Tell whether it has a folder of that name."""
        return self.known and os.path.isdir(self.named(relative))  # noqa: PTH112 - see named

    def content(self, relative: str) -> bytes | None:
        """Return what a file in it holds, or None where it is not there or cannot be read."""
        found = self.file(relative)
        try:
            if found is None or os.path.getsize(found) > LARGEST_BYTES:  # noqa: PTH202 - see named
                return None
            return Path(found).read_bytes()
        except OSError:
            return None

    def text(self, relative: str) -> str | None:
        """Return a file's text, or None where it is not there or is no text."""
        content = self.content(relative)
        try:
            return None if content is None else decoded(content)
        except UnreadableError:
            return None


def folder_of(path: str) -> Folder:
    """Return the folder that a file stands in."""
    return Folder(os.path.dirname(path))  # noqa: PTH120 - see Folder.named
