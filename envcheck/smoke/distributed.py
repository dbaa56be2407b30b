"""The part `distributed`: several processes find each other, sum rightly, and train as one process does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from envcheck.report import Evidence, Finding, Remedy, Severity
from envcheck.smoke import child, judge
from envcheck.smoke.child import Ending
from envcheck.smoke.choice import Choice, Listener
from envcheck.smoke.proof import Curve, Measure, Proof
from envcheck.smoke.result import Condition, Failure, Status
from envcheck.system import signal_name

TITLES = {
    "torch": "DistributedDataParallel under torchrun",
    "tensorflow": "MultiWorkerMirroredStrategy",
}
"""Framework → how it trains in several processes; Keras does it through one of these two."""

PROVES = "ranks find each other, sum rightly, and several processes train as one"

STALL_SECONDS = 30.0
"""Silence of all ranks after which those that have not come to where the others wait are said to hang."""

GIVE_UP_SECONDS = 6.0
"""Before the deadline: time to name who hangs, and to end what runs."""

SAME_LOSS = 1e-3
"""How far the loss of all ranks together may lie from one process's, relative.

Each gradient is a sum of a batch's terms in another order: 64 terms in float32 differ by at most 64 x 2**-24 = 4e-6 of
their sum of magnitudes (Higham, Accuracy and Stability, 2002, section 4.2), and so do the steps that follow; measured
after 40 steps: below 1e-6.  A sum where the mean belongs, or a rank left out, is off by more than 1e-2 in a few steps.
"""

CAUSES = (
    (r"libnccl|NCCL.*(?:unhandled system error|internal error|Net|IB|P2P)", "nccl-transport-failed"),
    (r"Unable to find address for|no such device|interface .* not found", "network-interface-wrong"),
    (r"client socket has (?:failed|timed out)|server socket has failed|DistNetworkError", "rendezvous-unreachable"),
    (r"Connection refused|Name or service not known|Temporary failure in name resolution", "rendezvous-unreachable"),
)
"""What the frameworks say when ranks cannot talk → its cause; the sentences of PyTorch's c10d and of NCCL 2."""


def prove(choice: Choice, listen: Listener) -> list[Proof]:
    """Train in several processes of each framework, one framework after the other.

    Raises:
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP; nothing is left running.
    """
    proofs = [_prove_in(framework, choice, listen) for framework in choice.frameworks if framework in TITLES]
    absent = [_is_absent(proof) for proof in proofs]
    if choice.by_name or all(absent):
        return proofs
    return [
        replace(proof, status=Status.ABSENT, findings=[]) if gone else proof
        for proof, gone in zip(proofs, absent, strict=True)
    ]


def _is_absent(proof: Proof) -> bool:
    return proof.failure is not None and proof.failure.kind == "not-installed"


def _prove_in(framework: str, choice: Choice, listen: Listener) -> Proof:
    events: list[dict[str, Any]] = []

    def receive(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "step":
            listen(framework, event)

    told = {
        "framework": framework,
        "ranks": choice.ranks,
        "folder": str(child.INSIDE),
        "stall_seconds": min(STALL_SECONDS, choice.timeout_seconds / 4),
        "give_up_seconds": max(choice.timeout_seconds - GIVE_UP_SECONDS, choice.timeout_seconds / 2),
        "size": choice.size,
        "seed": choice.seed,
        "device": choice.device,
    }
    ending = child.run(choice.interpreter, "", told, choice.timeout_seconds, receive, driver="distributed_launch")
    proof = proof_of(framework, choice, events, ending)
    listen(framework, {"event": "proof", "name": proof.name, "done": 1, "total": 1})
    return proof


def proof_of(framework: str, choice: Choice, events: Sequence[dict[str, Any]], ending: Ending) -> Proof:
    """Return the proof of one framework: what the ranks reported, and how they ended.

    Args:
        framework: `torch` or `tensorflow`.
        choice: what was asked for.
        events: of the launcher and of all ranks (`rank` says which), as they came.
        ending: how the launcher ended.
    """
    group = next((event for event in events if event["event"] == "framework"), {})
    steps = [event for event in events if event["event"] == "step"]
    ends = [event for event in events if event["event"] == "rank-end"]
    device = str(group.get("device", ""))
    proof = Proof(
        part="distributed",
        name=f"{choice.ranks}-ranks",
        framework=framework,
        title=TITLES[framework],
        proves=PROVES,
        status=Status.FAILED,
        summary="",
        settings={"ranks": choice.ranks, "backend": group.get("backend", ""), "size": choice.size, "seed": choice.seed},
        framework_version=group.get("version", ""),
        device=device.partition(":")[0],
        device_name=group.get("name", ""),
        dtype="float32",
        seconds=round(ending.seconds, 3),
        step_seconds={
            step["step"]: round(max(following - step["at"], 0.0), 3)
            for step, following in zip(steps, [step["at"] for step in steps[1:]] + [ending.seconds], strict=True)
        },
        peak_memory_bytes=_sum_of(ends, "peak_bytes"),
        device_peak_bytes=_sum_of(ends, "device_peak_bytes"),
        measures=_measures(events, choice.ranks),
        curves=_curves(events),
    )
    failure = failure_of(choice, events, ending)
    if failure is not None:
        findings = _findings(failure, framework, choice, events)
        reason = f"{failure.reason.rstrip('.')}."
        return replace(proof, status=judge.status_of(failure), failure=failure, findings=findings, summary=reason)
    conditions = _conditions(choice, events)
    broken = [condition for condition in conditions if not condition.holds]
    if broken:
        summary = f"Its ranks do not train as one: {'; '.join(condition.seen for condition in broken)}."
        return replace(proof, conditions=conditions, summary=summary)
    summary = f"{choice.ranks} ranks on {proof.device} over {group.get('backend', '')} train as one process does."
    return replace(proof, status=Status.PASSED, conditions=conditions, summary=summary)


def _sum_of(events: Sequence[dict[str, Any]], name: str) -> int | None:
    values = [event[name] for event in events if event.get(name) is not None]
    return sum(values) if values else None


def _of(events: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == name]


def _measures(events: Sequence[dict[str, Any]], ranks: int) -> list[Measure]:
    """Return the bus bandwidth of each message size, and the training rate of all ranks together.

    Bus bandwidth is what the slowest link carried, whatever the number of ranks: 2 (n - 1) / n of the message over the
    time (source: NVIDIA's nccl-tests, doc/PERFORMANCE.md).
    """
    measures = []
    told = [event for event in _of(events, "bandwidth") if event["rank"] == 0]
    for event in told:
        moved = 2 * (ranks - 1) / ranks * event["bytes"]
        rates = sorted(moved / seconds / 1e6 for seconds in event["seconds"] if seconds > 0)
        if rates:
            measures.append(
                Measure(
                    name=f"all-reduce of {_size(event['bytes'])}",
                    value=rates[len(rates) // 2],
                    unit="MB/s",
                    low=rates[0],
                    high=rates[-1],
                    repeats=len(rates),
                    note=f"bus bandwidth; {1000 * sorted(event['seconds'])[len(rates) // 2]:.2f} ms each",
                )
            )
    together = [event for event in _of(events, "together") if event["rank"] == 0 and event["seconds"] > 0]
    if together:
        rate = together[0]["images"] / together[0]["seconds"]
        measures.append(Measure(name="rate of all ranks", value=rate, unit="samples/s", note="its first step included"))
    return measures


def _size(count: int) -> str:
    return f"{count // 2**20} MiB" if count >= 2**20 else f"{count // 2**10} KiB" if count >= 2**10 else f"{count} B"


def _curves(events: Sequence[dict[str, Any]]) -> list[Curve]:
    courses = [("loss of one process", "alone"), ("loss of all ranks", "together")]
    curves = []
    for name, kind in courses:
        told = [event for event in _of(events, kind) if event["rank"] == 0]
        if told:
            losses = told[0]["losses"]
            numbers = [float(step) for step in range(1, len(losses) + 1)]
            curves.append(Curve(name=name, x_label="step", y_label="nats", x=numbers, y=losses))
    return curves


def failure_of(choice: Choice, events: Sequence[dict[str, Any]], ending: Ending) -> Failure | None:
    """Return which rank died, hung or failed, and where; None where all came to their ends."""
    # What other ranks say when one is gone is its consequence, though they may say it first.
    for event in _of(events, "lost"):
        return _lost(event, events, ending)
    for event in _of(events, "failure"):
        told = judge.told_failure(event, ending)
        return replace(told, reason=f"rank {event['rank']}: {told.reason}") if "rank" in event else told
    for event in _of(events, "hung"):
        return _hung(event, events, ending)
    last = {event["event"]: event for event in events}
    if len(_of(events, "rank-end")) == choice.ranks:
        return None
    failure = judge.failure_of(choice.interpreter, last, ending)
    if failure is not None:
        return failure
    code = last.get("launcher", {}).get("code", [])
    reason = f"torchrun ended with {code[0]} before its ranks did" if code else "the ranks ended without a word"
    if "No module named torch.distributed.run" in ending.stderr:
        reason = "this PyTorch has no torchrun (torch.distributed.run): it is older than 1.9, or not whole"
    return Failure(step=_step(events), kind="exit", reason=reason, stderr=ending.stderr[-judge.TAIL_CHARACTERS :])


def _step(events: Sequence[dict[str, Any]]) -> str:
    steps = [event["step"] for event in events if event["event"] == "step"]
    return steps[-1] if steps else "start"


def _hung(event: dict[str, Any], events: Sequence[dict[str, Any]], ending: Ending) -> Failure:
    names = _ranks(event["hung"])
    place = "before the first collective operation" if event["where"] == "start" else f"after {event['where']}"
    if event["together"]:
        reason = f"all ranks wait in {event['where']} and none goes on: what they send does not arrive"
    else:
        waiting = f" while {_ranks(event['waiting'])} waited for it" if event["waiting"] else ""
        reason = f"{names} hung {place}, for {event['seconds']:.0f} s{waiting}"
    stack = _stacks(ending.stderr)
    return Failure(step=_step(events), kind="timeout", reason=reason, python_stack=stack, stderr=ending.stderr[-4000:])


def _ranks(numbers: Sequence[int]) -> str:
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


STACK = re.compile(r"^envcheck: rank \d+ is at\n(?:(?:Current t|T)hread 0x.*\n(?:  .*\n)+\n?)+", re.MULTILINE)


def _stacks(stderr: str) -> str:
    """Return where the Python of each hung rank was, as faulthandler printed it when it was asked."""
    return "\n".join(found.removeprefix("envcheck: ").strip() for found in STACK.findall(f"{stderr}\n"))


def _lost(event: dict[str, Any], events: Sequence[dict[str, Any]], ending: Ending) -> Failure:
    code: int | None = event["code"] if event["code"] is not None else _code_by_torchrun(ending.stderr, event["pid"])
    name = signal_name(-code) if code is not None and code < 0 else ""
    how = f"was ended by {name}" if name else "ended" + ("" if code is None else f" with exit code {code}")
    place = "before the first collective operation" if event["where"] == "start" else f"at {event['where']}"
    return Failure(
        step=_step(events),
        kind="signal" if name else "exit",
        reason=f"rank {event['lost']} (process {event['pid']}) {how}, {place}",
        signal=name,
        exit_code=None if name else code,
        stderr=ending.stderr[-judge.TAIL_CHARACTERS :],
        cause="rank-died",
    )


def _code_by_torchrun(stderr: str, pid: int) -> int | None:
    """Return a rank's exit code as torchrun's closing table gives it: `exitcode  : -9 (pid: 123)`."""
    found = re.search(rf"exitcode\s*:\s*(-?\d+) \(pid: {pid}\)", stderr)
    return int(found[1]) if found else None


def _conditions(choice: Choice, events: Sequence[dict[str, Any]]) -> list[Condition]:
    met = {event["rank"]: event for event in _of(events, "met")}
    counted = sorted({event["world"] for event in met.values()})
    named = all(event["found_rank"] == rank for rank, event in met.items())
    wrong = [event for event in _of(events, "sum") if not event["right"]]
    gathered = _of(events, "gather")
    mixed = [event["rank"] for event in gathered if not event["right"]]
    spread = max((event["spread"] for event in _of(events, "together")), default=None)
    return [
        Condition(
            name="ranks-meet",
            holds=counted == [choice.ranks] and named and len(met) == choice.ranks,
            seen=f"{len(met)} ranks counted {', '.join(map(str, counted)) or 'nobody'}, {choice.ranks} were started",
        ),
        Condition(
            name="all-reduce",
            holds=not wrong and bool(_of(events, "sum")),
            seen=_wrong_sum(wrong[0]) if wrong else "sums over the ranks are exact in every number format",
        ),
        Condition(
            name="all-gather",
            holds=not mixed and len(gathered) == choice.ranks,
            seen=f"{_ranks(mixed)} gathered other values than were sent" if mixed else "every rank gathered all values",
        ),
        Condition(
            name="same-weights",
            holds=spread == 0,
            seen="all ranks hold the same weights after the training"
            if spread == 0
            else f"the ranks' weights differ by up to {'an unknown amount' if spread is None else f'{spread:.3g}'}",
        ),
        _same_loss(events),
    ]


def _wrong_sum(event: dict[str, Any]) -> str:
    return (
        f"rank {event['rank']} has {event['found']:.9g} where the sum is {event['wanted']:.9g} (place {event['place']} "
        f"of {event['count']}, {event['dtype']})"
    )


def _same_loss(events: Sequence[dict[str, Any]]) -> Condition:
    alone: list[float] = next((event["losses"] for event in _of(events, "alone")), [])
    together: list[float] = next((event["losses"] for event in _of(events, "together") if event["rank"] == 0), [])
    if not alone or len(alone) != len(together):
        return Condition(name="same-loss", holds=False, seen="the losses of one process and of all ranks are not there")
    apart = [abs(one - other) / max(abs(one), 1e-12) for one, other in zip(alone, together, strict=True)]
    worst = max(range(len(apart)), key=lambda index: apart[index] if apart[index] == apart[index] else float("inf"))
    return Condition(
        name="same-loss",
        holds=all(distance <= SAME_LOSS for distance in apart),
        seen=f"at step {worst + 1} the loss of all ranks together is {together[worst]:.6f}, of one process "
        f"{alone[worst]:.6f} ({apart[worst]:.1e} apart, {SAME_LOSS:.0e} is allowed)",
    )


def _findings(failure: Failure, framework: str, choice: Choice, events: Sequence[dict[str, Any]]) -> list[Finding]:
    if failure.cause == "rank-died":
        return [_died(failure)]
    known = judge.finding_of(failure, framework, choice.interpreter)
    if known is not None:
        return [known]
    text = f"{failure.message}\n{failure.stderr}" if failure.kind != "timeout" else ""
    meeting = not _of(events, "met")
    for pattern, cause in CAUSES:
        found = re.search(pattern, text) if meeting or cause == "nccl-transport-failed" else None
        if found:
            return [_unreachable(cause, failure, found[0])]
    return []


def _died(failure: Failure) -> Finding:
    remedies = [Remedy(action="Read why that rank ended; what the others say follows from it")]
    if failure.signal == "SIGKILL":
        remedies = [
            Remedy(
                action="See whether the kernel ended it for want of memory; then give each rank less to hold",
                commands=["sudo dmesg --ctime | grep -i -E 'killed process|out of memory'"],
            ),
            Remedy(action="Or start fewer ranks", commands=["envcheck smoke --distributed --ranks 2"], safe=True),
        ]
    return Finding(
        check="smoke",
        cause="rank-died",
        severity=Severity.ERROR,
        title=failure.reason,
        evidence=[Evidence(failure.reason, "the launcher of the ranks")],
        remedies=remedies,
    )


REMEDIES = {
    "rendezvous-unreachable": [
        Remedy(
            action="See that this machine's own name leads to an address of it",
            commands=["getent hosts $(hostname)", "python -c 'import socket; print(socket.getfqdn())'"],
        ),
        Remedy(action="Open the port of the rendezvous between the ranks (MASTER_ADDR, MASTER_PORT)"),
    ],
    "network-interface-wrong": [
        Remedy(
            action="Name the interface that leads to the other ranks",
            commands=["ip -brief address", "export GLOO_SOCKET_IFNAME=eth0 NCCL_SOCKET_IFNAME=eth0"],
            changes="this shell",
        )
    ],
    "nccl-transport-failed": [
        Remedy(
            action="See what NCCL says, and which transport fails",
            commands=["export NCCL_DEBUG=INFO", "envcheck smoke --distributed --framework torch"],
        ),
        Remedy(action="Try without peer-to-peer, then without InfiniBand", commands=["export NCCL_P2P_DISABLE=1"]),
    ],
}


def _unreachable(cause: str, failure: Failure, said: str) -> Finding:
    return Finding(
        check="smoke",
        cause=cause,
        severity=Severity.ERROR,
        title=f"The ranks do not find each other: {failure.reason}",
        evidence=[Evidence(said, f"step {failure.step}")],
        remedies=REMEDIES[cause],
    )
