"""Files that are taken for true only where nobody else can have written them."""

from __future__ import annotations

import os
import stat
from collections.abc import Set as AbstractSet

from envcheck.system import READ_LIMIT


def read(path: str, others: AbstractSet[int] = frozenset()) -> bytes | None:
    """Return the content of a plain file of this user's that nobody else may write; None where it is anything else.

    Args:
        path: of the file; a link or a pipe that somebody has put there is not followed and not waited for.
        others: user ids whose files are trusted too.
    """
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | flags), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > READ_LIMIT or not _trusted(found, others):
                return None
            return file.read(READ_LIMIT)
    except OSError:
        return None


def _trusted(found: os.stat_result, others: AbstractSet[int]) -> bool:
    if not hasattr(os, "getuid"):
        return True
    return found.st_uid in {os.getuid(), *others} and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
