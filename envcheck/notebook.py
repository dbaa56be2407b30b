"""The magic `%envcheck`: the examination of a notebook's own environment, as a report in the notebook.

    %load_ext envcheck
    %envcheck                            # envcheck doctor, for the interpreter of this notebook
    %envcheck --require torch.cuda
    %envcheck smoke --framework torch

This module runs in the notebook's kernel, where the user's work lies in memory: it imports the standard library alone,
leaves all work to a child, and is written for every Python that a kernel may have (3.7 and later).  Where envcheck
is installed elsewhere, `%run PATH/envcheck/notebook.py` loads the magic all the same, and the child is run by the
interpreter that envcheck is installed for.

Source of the interface: "IPython extensions" and "Defining custom magics" in the documentation of IPython; "Rich
display" for MIME bundles.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shlex
import signal
import subprocess
import sys
from typing import Any

MAGIC = "envcheck"

NEEDED = ("click", "msgspec", "packaging", "rich", "psutil")
"""What envcheck needs; where one of them cannot be imported here, it is installed elsewhere."""

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "numpy", "torchvision", "torchaudio", "transformers")
"""Modules of which it matters that they have been imported: they keep their version until the kernel is restarted."""

FAREWELL_SECONDS = 3.0
"""How long an examination that is interrupted may take to end what it has started."""

CHILD = "import sys; sys.path.insert(0, {home!r}); from envcheck.jupyter.answer import main; main()"


def load_ipython_extension(ipython: Any) -> None:  # noqa: ANN401 - IPython's shell, which is not imported
    """Give a notebook the magic `%envcheck`."""
    ipython.register_magic_function(run, "line", MAGIC)


def unload_ipython_extension(ipython: Any) -> None:  # noqa: ANN401 - IPython's shell, which is not imported
    """Take the magic away."""
    ipython.magics_manager.magics["line"].pop(MAGIC, None)


def run(line: str) -> None:
    """Examine this notebook's environment: `%envcheck [COMMAND] [OPTIONS]`, as on the command line.

    Without a command it is `doctor`. What is examined is the interpreter of this notebook, with the environment
    variables that are set in it now.
    """
    shown = _Shown()
    try:
        words = shlex.split(line, posix=os.name != "nt")
    except ValueError as error:
        shown.replace(_plain(f"envcheck: {error}: {line}"))
        return
    shown.replace(_plain(f"envcheck examines {sys.executable} … (an interrupt of the kernel ends it)"))
    shown.replace(answer(words))


def answer(words: list[str]) -> dict[str, str]:
    """Return what a command line has to say, as a MIME bundle.

    Args:
        words: the command line after `%envcheck`.
    """
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - for every kernel
    interpreter = _interpreter(home)
    if not interpreter:
        return _plain(
            f"envcheck cannot run: what it needs is not importable in {sys.executable}, and the interpreter that it "
            f"was installed for was not found near {home}. Install it here: %pip install envcheck-ml"
        )
    order = {"words": words, "kernel": state()}
    try:
        said, error = _child([interpreter, "-c", CHILD.format(home=home)], json.dumps(order))
    except KeyboardInterrupt:
        return _plain("envcheck: interrupted; nothing is left running")
    except OSError as problem:
        return _plain(f"envcheck cannot run {interpreter}: {problem}")
    try:
        bundle = json.loads(said.splitlines()[-1])
        return {"text/html": bundle["html"], "text/plain": bundle["text"]}
    except (ValueError, LookupError, TypeError):
        return _plain(f"envcheck did not come back with a report.\n{error.strip()[-2000:] or said[-2000:]}")


def state() -> dict[str, Any]:
    """Return what the examination cannot see from outside: what this process holds and has imported."""
    return {
        "process": os.getpid(),
        "python": sys.executable,
        "imported": {name: _version(name) for name in FRAMEWORKS if name in sys.modules},
        "torch": _torch(),
        "tensorflow": _tensorflow(),
        "changed": _changed(),
    }


def _version(name: str) -> str:
    version = getattr(sys.modules.get(name), "__version__", "")
    return version if isinstance(version, str) else str(version)


def _torch() -> dict[str, Any] | None:
    """Return the GPUs that PyTorch has opened in this process; nothing is opened for the answer."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    try:
        if cuda is None or not cuda.is_initialized():
            return None
        counted = range(cuda.device_count())
        return {"devices": [{"used": cuda.memory_allocated(n), "held": cuda.memory_reserved(n)} for n in counted]}
    except Exception:  # noqa: BLE001 - a framework that breaks is no reason to say nothing
        return None


def _tensorflow() -> dict[str, Any] | None:
    """Return how many GPUs TensorFlow has opened in this process; None where it has not looked for devices yet."""
    context = getattr(sys.modules.get("tensorflow.python.eager.context"), "_context", None)
    try:
        if context is None or not context._initialized:  # noqa: SLF001 - the public question would initialise it
            return None
        return {"gpus": int(context.num_gpus())}
    except Exception:  # noqa: BLE001 - as above
        return None


def _changed() -> dict[str, str]:
    """Return environment variables that were set, or unset (empty), since this process began; Linux alone tells."""
    try:
        with open("/proc/self/environ", "rb") as file:  # noqa: PTH123 - for every kernel
            entries = [entry.partition(b"=") for entry in file.read().split(b"\0")]
    except OSError:
        return {}
    began = {os.fsdecode(name): os.fsdecode(value) for name, _, value in entries}
    names = [name for name in set(began) | set(os.environ) if began.get(name) != os.environ.get(name)]
    return {name: os.environ.get(name, "") for name in sorted(names)}


def _interpreter(home: str) -> str:
    """Return the interpreter that envcheck can run in: this one, or the one in whose environment it lies."""
    if sys.version_info >= (3, 10) and all(importlib.util.find_spec(name) for name in NEEDED):
        return sys.executable
    place = home
    while os.path.dirname(place) != place:  # noqa: PTH120 - for every kernel
        for name in ("bin/python", "bin/python3", "Scripts/python.exe", ".venv/bin/python"):
            program = os.path.join(place, *name.split("/"))  # noqa: PTH118 - for every kernel
            if os.access(program, os.X_OK):
                return program
        place = os.path.dirname(place)  # noqa: PTH120 - for every kernel
    return ""


def _child(argv: list[str], order: str) -> tuple[str, str]:
    """Run a program in a session of its own and return what it printed; an interrupt ends it with all it started."""
    with subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=os.name == "posix",
    ) as process:
        try:
            said, error = process.communicate(order.encode())
        except BaseException:
            _end(process)
            raise
    return said.decode("utf-8", "replace"), error.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a child: it is asked first, for what it has started lies in sessions of their own that it alone knows."""
    try:
        process.terminate()
        process.wait(FAREWELL_SECONDS)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()


def _plain(text: str) -> dict[str, str]:
    return {"text/plain": text}


class _Shown:
    """One output of the cell, replaced by the next; where nothing can be replaced, printed."""

    def __init__(self) -> None:
        self._handle: Any = None

    def replace(self, bundle: dict[str, str]) -> None:
        """Show a MIME bundle in the place of the one before."""
        try:
            from IPython.display import display  # noqa: PLC0415 - only in a notebook
        except ImportError:
            print(bundle["text/plain"])  # noqa: T201 - the only way to say it
            return
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


if __name__ == "__main__":
    # `%run PATH/envcheck/notebook.py`, in a notebook whose environment has no envcheck.
    from IPython import get_ipython

    load_ipython_extension(get_ipython())
