"""A minimal init: start a command, forward signals to it, reap what is orphaned, and end with its exit status.

Called as `python -I -S minimal_init.py READY WORDS PROGRAM ARGUMENT0 ...`; it replaces envcheck in the process, so that
nothing but this stays. READY is the readiness file, which goes again where the command cannot be run; WORDS are what is
said then of a program in a format that the kernel does not know.
"""

import errno
import os
import signal
import sys

NOT_EXECUTABLE = 126
PR_SET_CHILD_SUBREAPER = 36
"""From the kernel's include/uapi/linux/prctl.h."""

KEPT = {"SIGCHLD", "SIGKILL", "SIGSTOP", "SIGFPE", "SIGILL", "SIGSEGV", "SIGBUS", "SIGABRT", "SIGTRAP", "SIGSYS"}
"""Signals that are not forwarded: our own children's end, what nobody can catch, and our own faults."""

TERMINAL = {"SIGTTIN", "SIGTTOU"}
"""What the terminal sends to a process in the background that touches it."""


def adopt_orphans():
    """Be the one to whom orphaned descendants fall, also where this is not process 1."""
    if os.getpid() == 1:
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except Exception:
        sys.stderr.write("envcheck: orphaned processes cannot be adopted here; they go to process 1\n")


def start(program, argv, usual, ready, words):
    """Start the command in a process group of its own, in the foreground of the terminal if there is one."""
    # The second end is closed by the kernel when the child becomes the command.
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        if os.read(reading, 1):
            try:
                os.unlink(ready)
            except OSError:
                pass
        os.close(reading)
        return pid
    try:
        os.setpgid(0, 0)
        try:
            # Still blocked here: SIGTTOU, which the kernel sends for this call from the background.
            os.tcsetpgrp(0, os.getpgrp())
        except OSError:
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
        os.execv(program, argv)
    except OSError as error:
        os.write(writing, b"x")
        told = words if error.errno == errno.ENOEXEC else "%s: %s" % (program, error.strerror)
        sys.stderr.write("envcheck: %s\n" % told)
    finally:
        sys.stderr.flush()
        os._exit(NOT_EXECUTABLE)


def reap(command):
    """Collect every child that has ended; return the command's status as a shell gives it, None while it runs."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except OSError:
            return status
        if pid == 0:
            return status
        if pid == command:
            status = 128 + os.WTERMSIG(ended) if os.WIFSIGNALED(ended) else os.WEXITSTATUS(ended)


def main():
    """Start, forward, reap."""
    ready, words, program, argv = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
    # Python ignores these two, and what is ignored stays so in the command.
    for name in ("SIGPIPE", "SIGXFSZ"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    kept = {getattr(signal, name) for name in KEPT if hasattr(signal, name)}
    watched = set(range(1, signal.NSIG)) - {int(number) for number in kept} | {int(signal.SIGCHLD)}
    # 32 and 33 belong to the C library's threads.
    watched -= {32, 33}
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    terminal = {int(getattr(signal, name)) for name in TERMINAL}
    adopt_orphans()
    command = start(program, argv, usual, ready, words)
    while True:
        number = signal.sigwaitinfo(watched).si_signo
        if number == signal.SIGCHLD:
            status = reap(command)
            if status is not None:
                os._exit(status)
        elif number not in terminal:
            try:
                os.kill(command, number)
            except OSError:
                pass


main()
