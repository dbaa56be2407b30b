"""Several children at once, where no rate is judged: the quick suite on a processor, a core for each of them.

A quick proof spends its time importing a framework and tracing graphs, which takes one core however many there are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

from envcheck.facts import Cpu, Memory
from envcheck.probes.cpu import cpu
from envcheck.probes.memory import memory
from envcheck.smoke import child
from envcheck.smoke.choice import Choice, Listener
from envcheck.system import System

CHILD_BYTES = 2 * 2**30
"""Memory that a child may take, generously: TensorFlow's peak with the quick workloads is 0.7 GiB."""

ACCELERATORS = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
"""Where Linux has a GPU that `auto` may choose there is one of these: NVIDIA's, WSL's, AMD's."""

TOGETHER = {"arithmetic", "workload"}
"""Parts whose verdict does not depend on how fast anything is."""

Outcome = TypeVar("Outcome")


def children_at_once(choice: Choice, system: System) -> int:
    """Return how many children may run at once; one where rates count, a GPU would be shared or memory is short."""
    if choice.size != "quick" or not set(choice.parts) <= TOGETHER or not _on_a_processor(choice, system):
        return 1
    processor, left = cpu(system), _free_bytes(memory(system))
    cores = processor.allowed_cores if isinstance(processor, Cpu) else None
    return max(1, min(cores or 1, left // CHILD_BYTES))


def _free_bytes(seen: object) -> int:
    """Return the memory that can be had, within the control group's limit too; 0 where it is not known."""
    if not isinstance(seen, Memory) or seen.available_bytes is None:
        return 0
    if not seen.cgroup_limit_bytes or seen.cgroup_used_bytes is None:
        return seen.available_bytes
    taken = seen.cgroup_used_bytes - (seen.cgroup_reclaimable_bytes or 0)
    return min(seen.available_bytes, seen.cgroup_limit_bytes - taken)


def _on_a_processor(choice: Choice, system: System) -> bool:
    if choice.device != "auto":
        return choice.device == "cpu"
    on_linux = (system.ask("uname") or {}).get("system") == "Linux"
    return on_linux and all(system.status(path).outcome == "absent" for path in ACCELERATORS)


def all_of(jobs: Sequence[Callable[[], Outcome]], at_once: int) -> list[Outcome]:
    """Do all jobs, so many at once and in their order; return what each returned, in the same order.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; the jobs' children are gone by then.
    """
    with child.signals_interrupt(), ThreadPoolExecutor(at_once) as threads:
        waiting: list[Future[Outcome]] = [threads.submit(job) for job in jobs]
        try:
            left = set(waiting)
            while left:
                done, left = wait(left, return_when=FIRST_COMPLETED)
                for one in done:
                    one.result()
        except BaseException:
            with child.halted():
                threads.shutdown(cancel_futures=True)
            raise
    return [one.result() for one in waiting]


def one_at_a_time(listen: Listener, part: str) -> Listener:
    """Return a listener that children in several threads may call; each event says of which part it is."""

    def pass_on(framework: str, event: dict[str, Any]) -> None:
        with LISTENING:
            listen(framework, {**event, "part": part})

    return pass_on


LISTENING = threading.Lock()
