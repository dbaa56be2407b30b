"""How what a kernel needs is installed where the kernel runs: by the program that the environment belongs to."""

from __future__ import annotations

import msgspec

from envcheck import cures
from envcheck.facts import Packages, Python
from envcheck.fix.plan import runnable
from envcheck.report import Remedy

CONDA_NAMES = {"jupyter-client": "jupyter_client", "jupyter-core": "jupyter_core", "stack-data": "stack_data"}
"""Distribution → conda-forge's name of it, where the two differ, of what ipykernel needs. Source: conda-forge's
feedstocks of these names."""


def installation(
    python: Python, packages: Packages | None, wanted: list[str], action: str, *, again: bool = False
) -> Remedy:
    """Return the remedy that installs distributions; it is safe where `envcheck fix` could carry it out.

    Args:
        python: the interpreter of the environment.
        packages: what is installed there.
        wanted: names of distributions.
        action: what is done, as a sentence in the imperative.
        again: whether they are there, and broken.
    """
    if python.environment_kind == "conda" and not cures.forbidden(python):
        # Of what conda's own Python is started with, pip's copies would be unknown to conda.
        program, force = python.conda_program or "conda", ["--force-reinstall"] if again else []
        names = [CONDA_NAMES.get(name, name) for name in wanted]
        words = [program, "install", "--prefix", cures.quoted(python.prefix or "", python), *force, *names]
        return Remedy(action=action, commands=[" ".join(words)], changes=cures.CHANGES, shell=cures.shell(python))
    option = "--reinstall" if cures.installer(python).startswith("uv ") else "--force-reinstall"
    remedy = cures.install(python, wanted, action, options=option if again else "", packages=packages)
    safe = cures.is_safe(python) and bool(remedy.commands)
    return msgspec.structs.replace(
        remedy, safe=safe and all(runnable(command, python) is not None for command in remedy.commands)
    )
