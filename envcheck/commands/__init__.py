"""The command line: one file a command, loaded only when it is called.

`envcheck --help` may cost 60 ms, so this file imports click and nothing else of weight.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import sys
from types import FrameType

# Until `main` takes interrupts, one ends the process as the system does: without a traceback.
_usual = signal.getsignal(signal.SIGINT)
with contextlib.suppress(ValueError):
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import click  # noqa: E402

from envcheck import __version__  # noqa: E402

with contextlib.suppress(ValueError):
    signal.signal(signal.SIGINT, _usual)

COMMANDS = {
    "doctor": ("examine this machine: what is wrong, why, and what cures it", "envcheck.commands.doctor"),
    "smoke": ("train the reference network and say whether the machine is fit", "envcheck.commands.smoke"),
    "setup": (
        "make an environment that trains on this machine, beside the one that is there",
        "envcheck.commands.setup",
    ),
    "fix": ("print what mends this environment; with --apply, do it", "envcheck.commands.fix"),
    "entrypoint": (
        "judge what was declared for this container, then become its command",
        "envcheck.commands.entrypoint",
    ),
    "jupyter": (
        "list Jupyter's kernels: what each runs, whether it starts; with --fix, mend them",
        "envcheck.commands.jupyter",
    ),
    "image": ("find what is wrong in a Dockerfile, compose file or Kubernetes manifest", "envcheck.commands.image"),
    "explain": ("the manual page of a check or a cause", "envcheck.commands.explain"),
    "checks": ("list every check", "envcheck.commands.checks"),
    "schema": ("the JSON Schema of a report", "envcheck.commands.schema"),
}
"""Command → one line for the list, and its module; the function has the command's name."""


INTERRUPTED = "envcheck: interrupted; nothing is left running"


class Commands(click.Group):
    """A group whose commands are imported when they are called: click asks for a subclass."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][1])
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (line, _) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where one is not known."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Commands are {', '.join(COMMANDS)}."
            raise click.UsageError(f"There is no command {args[0]!r}.{hint}", ctx) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, "-V", "--version", message="envcheck %(version)s")
def envcheck() -> None:
    """Say what is wrong with a machine that should train neural networks, why, and what cures it."""


def main() -> None:
    """Run the command line; an interrupt, a closed pipe and bad input end in one line, never in a traceback."""
    _occupy_standard_streams()
    signal.signal(signal.SIGINT, interrupted)
    for name in ("SIGTERM", "SIGHUP"):
        # What `nohup` has switched off stays off.
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is not signal.SIG_IGN:
            signal.signal(getattr(signal, name), interrupted)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a character gets a stand-in for it, never a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")
    try:
        code = envcheck.main(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        _say(f"envcheck: {error.format_message()}")
        code = 2
    except (KeyboardInterrupt, click.Abort) as error:
        _say(INTERRUPTED)
        # click raises its own exception from the interrupt, or from the end of the input.
        status = next(iter((error.__cause__ or error).args), None)
        code = status if isinstance(status, int) else BROKEN_OFF
    except BrokenPipeError:
        code = 141
    except Exception as error:
        # A defect of ours: the sentence is for whoever runs this, the whole trace for whoever mends it.
        if os.environ.get("ENVCHECK_TRACEBACK"):
            raise
        _say(f"envcheck: {_defect(error)}")
        code = 3
    # Threads that hang in the kernel and a closed pipe must not hold the end back.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.flush()
    _leave(code if isinstance(code, int) else 0)


def _occupy_standard_streams() -> None:
    """Put the null device where a standard stream was closed, so that no pipe of ours gets its number."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # noqa: PERF203 - each may be closed
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - stays open


def _defect(error: Exception) -> str:
    """Return a sentence that names a defect of envcheck's own, where it is, and what to do."""
    frame = error.__traceback__
    while frame and frame.tb_next:
        frame = frame.tb_next
    place = f"{os.path.basename(frame.tb_frame.f_code.co_filename)}:{frame.tb_lineno}" if frame else "?"  # noqa: PTH119
    return (
        f"a defect of envcheck itself, {type(error).__name__} at {place}: {error}. "
        "Nothing can be said of this machine. Please report it with what ENVCHECK_TRACEBACK=1 prints, "
        "and with a recording (doctor --record FILE) where one can be made."
    )


def _say(sentence: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(sentence + "\n")


def _leave(code: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os._exit(code)


BROKEN_OFF = 130
"""Exit status of what a signal has ended; see `end_as_in_a_shell` for the one command that tells signals apart."""

PATIENCE_SECONDS = 0.5
"""How long an interrupt may take its ordinary way before everything is ended at once."""


def interrupted(number: int, frame: FrameType | None, status: int = BROKEN_OFF) -> None:  # noqa: ARG001 - a handler's
    """Take a signal as a person's interrupt: whatever runs is ended, soon in any case."""
    threading = sys.modules.get("threading")
    if threading is not None and hasattr(threading, "Timer"):
        # Python drops an exception that a signal raises within a destructor or a callback of the import system.
        timer = threading.Timer(PATIENCE_SECONDS, _end_at_once, [status])
        timer.daemon = True
        timer.start()
    raise KeyboardInterrupt(status)


def end_as_in_a_shell() -> None:
    """From here on, let a signal's exit status be 128 and its number, as whoever runs a container expects it."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        # What `nohup` has switched off stays off.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, functools.partial(interrupted, status=128 + number))


def _end_at_once(status: int) -> None:
    """Kill what is still running and leave, whatever the main thread is doing."""
    system = sys.modules.get("envcheck.system")
    for live in list(getattr(system, "LIVES", ())):
        live.close()
    _say(INTERRUPTED)
    os._exit(status)
