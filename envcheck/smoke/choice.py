"""What a run of the smoke suite is asked to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

Listener = Callable[[str, dict[str, Any]], None]
"""Called with the framework's name and each event of its child."""

Part = Literal["reference", "arithmetic", "workload", "pace", "endurance", "distributed"]

Size = Literal["quick", "standard", "full"]


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to try, where and how much of it.

    Attributes:
        interpreter: path of the interpreter under test.
        parts: what to try, in this order.
        frameworks: `tensorflow`, `torch` and `keras`; the last stands for each backend of Keras 3 that is there.
        by_name: whether the user named the frameworks; one that is not installed is an error then.
        workloads: names of workloads; `all` for all of them.
        size: how much of it.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        seed: of all that is random, from 0 to 2**31 - 1.
        data: path of real data; empty for generated data.
        precision: `float32`, or `mixed` for the framework's own mixed precision.
        compiled: whether to train through the framework's compiler (torch.compile, XLA).
        minutes: how long to keep the load on.
        record: file that keeps what was seen meanwhile; empty for none.
        ranks: processes of a distributed training.
        threads: of each framework; 0 leaves them as they are.
        timeout_seconds: wall time that one framework gets in one part, its import included; of the workloads each one.
    """

    interpreter: str
    parts: tuple[Part, ...] = ("reference",)
    frameworks: tuple[str, ...] = ("tensorflow", "torch")
    by_name: bool = False
    workloads: tuple[str, ...] = ("all",)
    size: Size = "standard"
    device: str = "auto"
    seed: int = 0
    data: str = ""
    precision: Literal["float32", "mixed"] = "float32"
    compiled: bool = False
    minutes: float = 0.0
    record: str = ""
    ranks: int = 2
    threads: int = 0
    timeout_seconds: float = 300.0
