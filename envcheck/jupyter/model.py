"""What is known of Jupyter on a machine: plain data, and the JSON of `envcheck jupyter --json`.

A field is added with a default; a field that changes its meaning or goes away raises `SCHEMA_VERSION`.  `None` means
unknown.
"""

from __future__ import annotations

import msgspec

from envcheck.doctor import DISTRIBUTIONS
from envcheck.facts import Packages, Python
from envcheck.report import Finding, Verdict

SCHEMA_VERSION = 1

FRAMEWORKS = {**DISTRIBUTIONS, "jax": "jax"}
"""Distribution → the framework that a notebook imports from it."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder in which Jupyter looks for kernels.

    Attributes:
        path: the folder that holds one folder a kernel.
        kind: `variable` (JUPYTER_PATH), `environment` (of the server), `user`, `system`, `ipython` (IPython's own),
            `conda` (an environment that nb_conda_kernels adds), `own` (the environment under test, where the server is
            another one and does not look).
        environment: folder of the conda environment; empty for other kinds.
    """

    path: str
    kind: str
    environment: str = ""


class Specification(msgspec.Struct, frozen=True, kw_only=True):
    """What a kernel.json says.

    Attributes:
        name: by which Jupyter knows the kernel: the folder's name in lower case.
        folder: folder that holds kernel.json.
        found_in: kind of the folder above it: see `Folder`; `built-in` where ipykernel brings it along unregistered.
        display_name: what the notebook's menu shows.
        language: such as `python`, `R`, `julia`; empty where it is not said.
        argv: the command, as it is written.
        variables: names of the environment variables that it sets.
        provisioner: what starts it in Jupyter's place, such as a cluster's; empty where Jupyter itself does.
        problem: why Jupyter cannot use it; empty where it can.
        denied: whether it may not be read by this user.
        hidden_by: folder of the kernel of this name that Jupyter finds first; empty where this is the first.
        offered: whether the server offers it: it lies in a folder in which the server looks.
        writable: whether this user may change and remove it.
    """

    name: str
    folder: str
    found_in: str
    display_name: str = ""
    language: str = ""
    argv: list[str] = []
    variables: list[str] = []
    provisioner: str = ""
    problem: str = ""
    denied: bool = False
    hidden_by: str = ""
    offered: bool = True
    writable: bool = False


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """How starting a kernel went.

    Attributes:
        state: `answers`, `ended` (by itself, before it answered), `silent` (it runs and does not answer in time),
            `not-started` (its program cannot be run), `not-tried`, `unknown` (what was to start it did not come back).
        seconds: until it answered, ended or was given up.
        detail: why it was not tried or could not be started.
        exit_code: its exit status where it ended.
        signal: name of the signal that ended it.
        output: the end of what it printed.
        implementation: the kernel's program as it names itself, such as `ipython 9.1`.
        language: language and version as it names them, such as `python 3.12.3`.
        executable: `sys.executable` as a kernel of Python answers; empty for other languages.
        prefix: `sys.prefix` likewise.
    """

    state: str
    seconds: float = 0.0
    detail: str = ""
    exit_code: int | None = None
    signal: str = ""
    output: str = ""
    implementation: str = ""
    language: str = ""
    executable: str = ""
    prefix: str = ""


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel, examined.

    Attributes:
        specification: what its kernel.json says.
        is_python: whether it is one of Python.
        program: the program that the command begins with, as it is found here; empty where it is not.
        interpreter: the interpreter that it runs, through a wrapper too; empty where it is not known or not Python.
        wrapper: what starts the interpreter, such as `conda run`; empty where the command names it.
        state: of the interpreter: `ok`, or as `Python.state` says; None where it is not known.
        detail: what was seen of an interpreter that does not work.
        python_version: such as `3.11.7`; None where it is not known.
        prefix: folder of its environment; empty where it is not known.
        ipykernel: version of ipykernel there; empty where it is not installed; None where it is not known.
        frameworks: framework → version as metadata tells it.
        under_test: whether it runs the environment under test.
        repair: the interpreter that it should run, where the one it names is gone and the right one is beyond doubt.
        kept: why it may not be removed by a program, where it does not work; empty where it may.
        start: how starting it went.
    """

    specification: Specification
    is_python: bool = True
    program: str = ""
    interpreter: str = ""
    wrapper: str = ""
    state: str | None = None
    detail: str = ""
    python_version: str | None = None
    prefix: str = ""
    ipykernel: str | None = None
    frameworks: dict[str, str] = {}
    under_test: bool = False
    repair: str = ""
    kept: str = ""
    start: Start = Start(state="not-tried")

    @property
    def ending(self) -> str:
        """How it ended, where it was started in vain."""
        start = self.start
        return start.signal or (start.detail if start.exit_code is None else f"exit status {start.exit_code}")

    @property
    def title(self) -> str:
        """The name that people know it by."""
        return self.specification.display_name or self.specification.name

    @property
    def works(self) -> bool:
        """Whether a notebook can use it: it answered, or was not started and nothing speaks against it."""
        if self.specification.problem or self.specification.hidden_by or not self.specification.offered:
            return False
        if self.start.state == "not-tried":
            return self.state == "ok" and (not self.is_python or self.ipykernel != "")
        return self.start.state == "answers"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The Jupyter that the user starts.

    Attributes:
        program: its path, such as `/home/user/.local/bin/jupyter-lab`.
        reason: why this one.
        interpreter: the interpreter that runs it; empty where it is not known.
        prefix: folder of its environment; empty where it is not known.
        versions: distribution → version: `jupyterlab`, `notebook`, `jupyter-server`, `jupyter-client`, `ipykernel`,
            `nb-conda-kernels`, of those that are installed.
        under_test: whether it runs in the environment under test.
    """

    program: str
    reason: str
    interpreter: str = ""
    prefix: str = ""
    versions: dict[str, str] = {}
    under_test: bool = False


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """The environment under test, as far as Jupyter is concerned.

    Attributes:
        python: its interpreter.
        packages: what is installed; None where it is not known.
        chosen: whether the user chose it: by an option, by activating it or by standing beside it.
    """

    python: Python
    packages: Packages | None = None
    chosen: bool = True


class JupyterReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer.

    Attributes:
        schema_version: version of this form.
        envcheck_version: version of the program that wrote it.
        verdict: the answer.
        summary: the answer as a sentence.
        findings: in order of importance.
        environment: interpreter under test.
        chosen_because: why this one.
        server: the Jupyter that the user starts; None where there is none.
        folders: where Jupyter looks for kernels, in its order.
        kernels: in the order in which they are found.
        magic: what loads `%envcheck` in a notebook of the environment under test.
    """

    schema_version: int
    envcheck_version: str
    verdict: Verdict
    summary: str
    findings: list[Finding]
    environment: str
    chosen_because: str
    server: Server | None
    folders: list[Folder]
    kernels: list[Kernel]
    magic: str = ""


def frameworks_of(packages: Packages | None) -> dict[str, str]:
    """Return framework → version of what is installed."""
    found: dict[str, str] = {}
    for package in packages.installed or [] if packages else []:
        if package.name in FRAMEWORKS:
            found.setdefault(FRAMEWORKS[package.name], package.version)
    return found


def version_of(packages: Packages | None, name: str) -> str | None:
    """Return the version of a distribution; empty where it is not installed, None where that is not known."""
    if packages is None or packages.installed is None:
        return None
    return next((package.version for package in packages.installed if package.name == name), "")
