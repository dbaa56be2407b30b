"""The Jupyter kernel of an environment: registered for the user, removed with the environment.

Source: jupyter_client's documentation, "Kernel specs", and jupyter_core's "Data files".
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import msgspec

from envcheck.install.generations import DEFAULT_NAME, Place
from envcheck.install.uv import interpreter_of
from envcheck.jupyter.folders import user_folder
from envcheck.plan import TITLES, Plan
from envcheck.system import System


def folder(place: Place, system: System) -> Path:
    """Return where the kernel of a name is registered."""
    # Projects of one name in different folders have kernels of their own.
    digest = hashlib.sha256(os.fsencode(place.directory.resolve())).hexdigest()[:8]
    return Path(user_folder(system)) / "kernels" / f"envcheck-{place.name.lower()}-{digest}"


def display_name(place: Place, plan: Plan) -> str:
    """Return the name that a notebook's menu shows: `myproject (PyTorch 2.13.0+cpu)`."""
    project = place.directory.resolve().name
    name = project if place.name == DEFAULT_NAME else f"{project}/{place.name}"
    return f"{name} ({', '.join(f'{TITLES[choice.framework]} {choice.version}' for choice in plan.choices)})"


def register(place: Place, plan: Plan, system: System) -> Path:
    """Register the kernel; it starts the environment in use, whichever generation that is.

    Raises:
        OSError: the folder cannot be written.
    """
    target = folder(place, system)
    target.mkdir(parents=True, exist_ok=True)
    # Not resolved: through the link it follows swaps and rollbacks.
    interpreter = interpreter_of(place.directory.resolve() / place.link.relative_to(place.directory))
    specification = {
        "argv": [str(interpreter), "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": display_name(place, plan),
        "language": "python",
        "metadata": {"debugger": True},
    }
    (target / "kernel.json").write_bytes(msgspec.json.format(msgspec.json.encode(specification)))
    return target


def unregister(place: Place, system: System) -> None:
    """Remove the kernel; one that is not there is no error."""
    shutil.rmtree(folder(place, system), ignore_errors=True)
