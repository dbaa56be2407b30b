"""Start the ranks of a distributed training, hand on what they report, and name a rank that dies or hangs.

The driver of the part `distributed`; runs inside the interpreter under test, with the standard library alone. PyTorch's
ranks are started by torchrun (torch.distributed.run), as users start them; TensorFlow's by this file, with TF_CONFIG,
for TensorFlow has no launcher of its own. Every rank writes its events to one pipe, a line in one write, short enough
that the kernel does not mix two of them (PIPE_BUF, 4,096 bytes on Linux).
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time

POLL_SECONDS = 0.05
STACK_SECONDS = 0.5  # that a hung rank gets to print where it is
FAREWELL_SECONDS = 3.0  # that a launcher gets to end its ranks in its own way


class Rank:
    """What is known of one rank."""

    def __init__(self):
        """Begin before its first event."""
        self.pid = None
        self.at = None  # when it reported last
        self.number = -1  # of the collective operation that it reached last
        self.where = "start"
        self.inside = False  # whether it waits within that operation
        self.ended = False


def walk(_module, settings, descriptor, load_sibling):
    """Start the ranks and watch them until all have ended, one is lost or one hangs.

    Args:
        _module: None; the ranks have modules of their own.
        settings: framework (`torch` or `tensorflow`), ranks, folder (of these scripts), stall_seconds (without a word
            from any rank), give_up_seconds (for all of it), and what the ranks are told.
        descriptor: where events are written.
        load_sibling: loads another file of this folder by its name.
    """
    training = load_sibling("smoke_training")
    reporter = training.introduced(descriptor)
    reporter.begin("start ranks")
    reading, writing = os.pipe()
    try:
        training.find(settings["framework"])
        starters = {"torch": _start_torchrun, "tensorflow": _start_workers}
        processes = starters[settings["framework"]](settings, writing)
    except (training.RefusalError, OSError) as error:
        training.report_failure(reporter, error)
        os._exit(0)
    os.close(writing)
    try:
        _watch(settings, processes, reading, descriptor, reporter)
    finally:
        _end(processes)
    reporter.send("end")
    sys.stderr.flush()
    os._exit(0)


def _command(settings):
    script = os.path.join(settings["folder"], "distributed_rank.py")
    return [script, settings["framework"], json.dumps(settings)]


def _start_torchrun(settings, writing):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=0"]
    launcher.append("--nproc-per-node=%d" % settings["ranks"])
    return [_popen([sys.executable, *launcher, *_command(settings)], writing)]


def _start_workers(settings, writing):
    holders, ports = [], []
    for _ in range(settings["ranks"]):
        holder = socket.socket()
        holder.bind(("127.0.0.1", 0))
        holders.append(holder)
        ports.append(holder.getsockname()[1])
    for holder in holders:
        holder.close()
    cluster = {"worker": ["127.0.0.1:%d" % port for port in ports]}
    processes = []
    for rank in range(settings["ranks"]):
        task = {"cluster": cluster, "task": {"type": "worker", "index": rank}}
        variables = {"TF_CONFIG": json.dumps(task), "RANK": str(rank), "WORLD_SIZE": str(settings["ranks"])}
        processes.append(_popen([sys.executable, *_command(settings)], writing, variables))
    return processes


def _popen(command, writing, variables=None):
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=writing,
        stderr=None,
        env=dict(os.environ, **(variables or {})),
        # There is no other thread here that could hold a lock.
        preexec_fn=_die_with_the_launcher if sys.platform.startswith("linux") else None,  # noqa: PLW1509
    )


def _die_with_the_launcher():
    """Ask Linux to kill a started program when this one dies; it outlasts the exec that follows."""
    import ctypes

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, int(signal.SIGKILL), 0, 0, 0)


def _watch(settings, processes, reading, descriptor, reporter):
    ranks = [Rank() for _ in range(settings["ranks"])]
    buffered = b""
    began = time.monotonic()
    while True:
        ready = select.select([reading], [], [], POLL_SECONDS)[0]
        now = time.monotonic()
        if ready:
            chunk = os.read(reading, 65536)
            if not chunk:
                break
            lines = (buffered + chunk).split(b"\n")
            buffered = lines.pop()
            for line in lines:
                _hear(line, ranks, now, descriptor)
            continue
        if all(rank.ended for rank in ranks):
            _wait(processes)
            break
        lost = [number for number, rank in enumerate(ranks) if not rank.ended and rank.pid and _is_gone(rank.pid)]
        over = [process for process in processes if process.poll() is not None]
        if lost or over:
            _drain(reading, buffered, ranks, now, descriptor)
            still = [number for number in lost if not ranks[number].ended]
            if still or not all(rank.ended for rank in ranks):
                _report_lost(still, processes, ranks, reporter)
            break
        if _report_hung(ranks, now, now - began > settings["give_up_seconds"], settings["stall_seconds"], reporter):
            break


def _hear(line, ranks, now, descriptor):
    """Note what a rank says, and hand it on as it is."""
    try:
        event = json.loads(line.decode("ascii"))
        rank = ranks[event["rank"]]
    except (ValueError, KeyError, IndexError, TypeError):
        sys.stderr.write(line.decode("utf-8", "replace") + "\n")
        return
    rank.at = now
    rank.pid = event.get("pid", rank.pid)
    if event["event"] == "enter":
        rank.number, rank.where, rank.inside = event["number"], event["where"], True
    elif event["event"] == "leave":
        rank.inside = False
    elif event["event"] in ("rank-end", "failure"):
        rank.ended = True
    if event["event"] not in ("enter", "leave", "beat"):
        os.write(descriptor, line + b"\n")


def _drain(reading, buffered, ranks, now, descriptor):
    """Hear what was written before the end."""
    while select.select([reading], [], [], 0.2)[0]:
        chunk = os.read(reading, 65536)
        if not chunk:
            break
        lines = (buffered + chunk).split(b"\n")
        buffered = lines.pop()
        for line in lines:
            _hear(line, ranks, now, descriptor)


def _is_gone(pid):
    """Return whether a process has ended; one that its parent has not yet asked for (a zombie) has."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0] in ("Z", "X")
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except OSError:
        return True
    return False


def _report_lost(lost, processes, ranks, reporter):
    """Tell which rank is gone; its signal where this process is its parent, else torchrun writes it down."""
    codes = {}
    deadline = time.monotonic() + FAREWELL_SECONDS
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        if len(processes) > 1 and any(process.poll() is not None for process in processes):
            break
        time.sleep(POLL_SECONDS)
    for process in processes:
        if process.poll() is not None:
            codes[process.pid] = process.returncode
    if not lost:
        # A worker of our own that ended before it said a word.
        lost = (
            [number for number, process in enumerate(processes) if process.pid in codes] if len(processes) > 1 else []
        )
    for number in lost[:1]:
        pid = ranks[number].pid or processes[number].pid
        reporter.send("lost", lost=number, pid=pid, where=ranks[number].where, code=codes.get(pid))
    if not lost:
        reporter.send("launcher", code=[process.returncode for process in processes])


def _report_hung(ranks, now, is_late, stall_seconds, reporter):
    """Tell which ranks hang, and since when; return whether any does.

    A rank that waits within a collective operation waits for the others: those that have not come to it hang. Until
    all have come to the first one, they import, which may take its time: only the deadline of the whole ends that.
    """
    last = max([rank.at for rank in ranks if rank.at is not None] or [now - stall_seconds])
    meeting = all(rank.number >= 0 for rank in ranks)
    if not is_late and not (meeting and now - last >= stall_seconds):
        return False
    least = min((rank.number, rank.inside) for rank in ranks if not rank.ended)
    hung = [number for number, rank in enumerate(ranks) if not rank.ended and (rank.number, rank.inside) == least]
    together = len(hung) == len(ranks) and ranks[hung[0]].inside
    for number in hung:
        if hasattr(signal, "SIGUSR1") and ranks[number].pid:
            sys.stderr.write("envcheck: rank %d is at\n" % number)
            sys.stderr.flush()
            try:
                os.kill(ranks[number].pid, signal.SIGUSR1)
            except OSError:
                continue
            time.sleep(STACK_SECONDS)
    reporter.send(
        "hung",
        hung=hung,
        together=together,
        where=ranks[hung[0]].where,
        seconds=now - last,
        pids=[ranks[number].pid for number in hung],
        waiting=[number for number, rank in enumerate(ranks) if number not in hung and rank.inside],
    )
    return True


def _wait(processes):
    """Wait until all have ended, or for as long as a farewell may take."""
    deadline = time.monotonic() + FAREWELL_SECONDS
    while time.monotonic() < deadline and any(process.poll() is None for process in processes):
        time.sleep(POLL_SECONDS)


def _end(processes):
    """End what was started: politely first, for torchrun ends its ranks itself; the kernel ends what is left."""
    for process in processes:
        if process.poll() is None:
            process.terminate()
    _wait(processes)
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait()
