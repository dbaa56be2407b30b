"""A set-up that kills itself: `python killed_set_up.py PLAN_FILE FOLDER POINT`, its events counted from 1.

An event is the start and the end of each program that is run, of each write of a record, of the write-back to disk and
of the swap, and one moment in the middle of each program.  With POINT 0 it runs to its end and prints their number.
"""

from __future__ import annotations

import itertools
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from envcheck.install import build, child, generations
from envcheck.install.pip_configuration import read
from envcheck.install.uv import Places
from envcheck.plan import Plan
from envcheck.system import Live

PLAN_FILE, FOLDER, POINT = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
EVENTS = itertools.count(1)


def event() -> None:
    if next(EVENTS) == POINT:
        os.kill(os.getpid(), signal.SIGKILL)


def with_events(function: Callable[..., Any], *, middle: bool = False) -> Callable[..., Any]:
    def call(*arguments: Any, **more: Any) -> Any:
        event()
        timer = threading.Timer(0.03, event)
        if middle:
            timer.start()
        result = function(*arguments, **more)
        if middle:
            timer.join()
        event()
        return result

    return call


child.run = with_events(child.run, middle=True)
for name in ("write", "write_back", "swap", "_point"):
    setattr(generations, name, with_events(getattr(generations, name)))

request = build.Request(
    plan=msgspec.json.decode(PLAN_FILE.read_bytes(), type=Plan),
    place=generations.Place(FOLDER),
    places=Places(configuration=read(Live())),
    train=False,
    upgrade=True,
)
build.build(request, Live(), lambda *_: None)
sys.stdout.write(f"{next(EVENTS) - 1}\n")
