"""Where the suite's parts try things: a framework, and for Keras 3 each of its backends that is installed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence

import msgspec

BACKENDS = ("tensorflow", "torch", "jax")
"""Keras 3's backends that train (it has two more, numpy and openvino, that do not)."""

PACKAGES = {"tensorflow": "tensorflow", "torch": "torch"}

JAX_MEMORY = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}

FIND_SECONDS = 20.0

# Finds without importing; the working directory stays on the path, as it does for a user's own script.
FIND = """
import importlib.util, json, sys
def there(name):
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:
        return False
print(json.dumps([name for name in sys.argv[1:] if there(name)]))
"""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where something is tried.

    Attributes:
        name: as `Proof.framework` has it: `torch`, `tensorflow`, `keras-torch`; `keras` where no backend is there.
        package: what is imported.
        variables: environment variables that choose it.
    """

    name: str
    package: str
    variables: dict[str, str] = {}


def targets(frameworks: Sequence[str], interpreter: str) -> list[Target]:
    """Return where to try, in the order of `frameworks`; `keras` becomes one target for each backend.

    Args:
        frameworks: `tensorflow`, `torch`, `keras`, or a target's own name such as `keras-torch`.
        interpreter: path of the interpreter under test.
    """
    found: list[Target] = []
    for name in frameworks:
        if name == "keras":
            backends = [backend for backend in BACKENDS if backend in _installed(interpreter, BACKENDS)]
            found += [_keras(backend) for backend in backends] or [Target(name="keras", package="keras")]
        elif name.startswith("keras-"):
            found.append(_keras(name.removeprefix("keras-")))
        else:
            # tf.keras follows KERAS_BACKEND too; it is TensorFlow that was asked for.
            variables = {"KERAS_BACKEND": "tensorflow"} if name == "tensorflow" else {}
            found.append(Target(name=name, package=PACKAGES[name], variables=variables))
    return found


def _keras(backend: str) -> Target:
    variables = {"KERAS_BACKEND": backend}
    if backend == "jax":
        # A share of the GPU's memory may be another's; the default takes three quarters of it (JAX, GPU memory
        # allocation).
        variables |= {name: os.environ.get(name, value) for name, value in JAX_MEMORY.items()}
    return Target(name=f"keras-{backend}", package="keras", variables=variables)


def _installed(interpreter: str, packages: Sequence[str]) -> list[str]:
    """Return which packages an interpreter finds; none where it cannot be asked."""
    try:
        ran = subprocess.run(
            [interpreter, "-c", FIND, *packages], capture_output=True, timeout=FIND_SECONDS, check=False, text=True
        )
        names = json.loads(ran.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []
