"""Do notebooks run in the environment that was installed into?"""

from __future__ import annotations

from collections.abc import Iterator

from envcheck.check import check
from envcheck.facts import Jupyter, Kernel, Packages, Python, need
from envcheck.jupyter import names
from envcheck.report import Evidence, Finding, Remedy, Severity, seen


@check(area="jupyter", causes=["jupyter-kernel-mismatch"])
def kernels_can_start(jupyter: Jupyter) -> Iterator[Finding]:
    """Every registered Jupyter kernel names an interpreter that is there, in a file that can be read.

    Why: a kernel keeps the path of the interpreter that it was registered from; when that environment is moved or
    removed, a notebook says "Kernel died" or "Failed to start the kernel".
    If not: register the environment again under the same name, or remove the kernel.
    Source: documentation of jupyter_client, "Making kernels for Jupyter".
    """
    for kernel in need(jupyter.kernels, "jupyter.kernels"):
        if not kernel.problem and kernel.interpreter_found is not False:
            continue
        shown = kernel.display_name or kernel.name
        title = f"The Jupyter kernel “{shown}” runs an interpreter that is gone: {kernel.interpreter}"
        if kernel.problem:
            title = f"The Jupyter kernel “{shown}” has a damaged description: {kernel.problem}"
        yield Finding(
            cause="jupyter-kernel-mismatch",
            severity=Severity.WARNING,
            title=title,
            evidence=[Evidence(kernel.problem or f"argv begins with {kernel.interpreter}", kernel.path)],
            remedies=[
                Remedy(
                    action="Register the environment under test in its place",
                    commands=[_register(kernel)],
                    changes="the kernel's description in the user's Jupyter folder",
                ),
                Remedy(
                    action="Or remove the kernel",
                    commands=[f"jupyter kernelspec remove {_quoted(kernel.name)}"],
                    changes=f"{kernel.path.rpartition('/')[0]}, which is removed",
                ),
            ],
        )


@check(area="jupyter", causes=["jupyter-kernel-mismatch"])
def environment_has_a_kernel(jupyter: Jupyter, python: Python, packages: Packages | None = None) -> Iterator[Finding]:
    """A registered Jupyter kernel runs the interpreter under test.

    Why: a notebook imports from its kernel's environment, whatever is active in the shell; packages installed here
    are then "not found" in the notebook.
    If not: install ipykernel into this environment and register it, then choose that kernel in the notebook.
    Source: documentation of IPython, "Installing the IPython kernel".
    """
    kernels = [kernel for kernel in need(jupyter.kernels, "jupyter.kernels") if kernel.language in {"python", ""}]
    prefix = need(python.prefix, "python.prefix")
    if not kernels or any(_runs(kernel, prefix, python) for kernel in kernels):
        return
    installed = {package.name for package in packages.installed or []} if packages else set()
    # Without a framework nobody expects this environment in a notebook.
    if not installed & {"torch", "tensorflow", "tensorflow-cpu", "keras", "jax"}:
        return
    register = f"{_quoted(python.path or 'python')} -m ipykernel install --user --name {names.kernel_name(prefix)}"
    install = f"{_quoted(python.path or 'python')} -m pip install ipykernel"
    yield Finding(
        cause="jupyter-kernel-mismatch",
        severity=Severity.NOTE,
        title="No Jupyter kernel runs this environment: a notebook would not see what is installed here",
        evidence=[
            *seen(python, "prefix"),
            *[Evidence(f"kernel {kernel.name}: {kernel.interpreter or '?'}", kernel.path) for kernel in kernels[:5]],
        ],
        remedies=[
            Remedy(
                action="Register this environment, and choose it in the notebook",
                commands=[register] if "ipykernel" in installed else [install, register],
                changes="the user's Jupyter folder"
                + ("" if "ipykernel" in installed else " and the packages of this environment"),
            )
        ],
    )


def _runs(kernel: Kernel, prefix: str, python: Python) -> bool:
    program = kernel.interpreter.replace("\\", "/")
    if "/" not in program:
        # A bare `python` is the interpreter of the environment whose folder holds the description.
        return kernel.path.startswith(prefix.rstrip("/") + "/")
    return program.startswith(prefix.replace("\\", "/").rstrip("/") + "/") or program in {
        python.path,
        python.executable,
    }


def _register(kernel: Kernel) -> str:
    return f"python -m ipykernel install --user --name {_quoted(kernel.name)}"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
