"""What is wrong with Jupyter here, why, and what cures it: pure, over what was seen."""

from __future__ import annotations

import os
import posixpath
import re

import msgspec

import envcheck
from envcheck import cures
from envcheck.causes import depth
from envcheck.facts import Python
from envcheck.jupyter import names, specifications
from envcheck.jupyter.examine import Examined
from envcheck.jupyter.installation import installation
from envcheck.jupyter.model import SCHEMA_VERSION, JupyterReport, Kernel, frameworks_of, version_of
from envcheck.redact import mask_secrets
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, Verdict

OUTPUT_LINES = 3
"""Of what a kernel printed before it ended: the last so many are evidence."""

CAUSE = "jupyter-kernel-mismatch"

NOISE = re.compile(r"without encryption|frozen modules|PYDEVD_DISABLE_FILE_VALIDATION|Debugger warning|^\s*$")
"""Lines that healthy kernels print: ipykernel 7 on TCP, debugpy on Python 3.11 and later."""

KERNELS_SHOWN = 4

DISTRIBUTIONS = {
    "IPython": "ipython",
    "comm": "comm",
    "dateutil": "python-dateutil",
    "debugpy": "debugpy",
    "decorator": "decorator",
    "ipykernel": "ipykernel",
    "ipykernel_launcher": "ipykernel",
    "jedi": "jedi",
    "jupyter_client": "jupyter-client",
    "jupyter_core": "jupyter-core",
    "matplotlib_inline": "matplotlib-inline",
    "nest_asyncio": "nest-asyncio",
    "packaging": "packaging",
    "pexpect": "pexpect",
    "platformdirs": "platformdirs",
    "prompt_toolkit": "prompt-toolkit",
    "psutil": "psutil",
    "pygments": "pygments",
    "stack_data": "stack-data",
    "tornado": "tornado",
    "traitlets": "traitlets",
    "zmq": "pyzmq",
}
"""Module → distribution, of what ipykernel and IPython import.

Source: the requirements in the metadata of ipykernel 6.29 and 7.1, and of IPython 8 and 9.
"""


def judge(seen: Examined) -> JupyterReport:
    """Return the report."""
    seen = msgspec.structs.replace(seen, kernels=[_without_secrets(kernel) for kernel in seen.kernels])
    findings = sorted(
        [*_server(seen), *_environment(seen), *_kernels(seen), *_notes(seen)],
        key=lambda finding: (list(Severity).index(finding.severity), depth(finding.cause)),
    )
    verdict = _verdict(seen, findings)
    return JupyterReport(
        schema_version=SCHEMA_VERSION,
        envcheck_version=envcheck.__version__,
        verdict=verdict,
        summary=_summary(seen, findings, verdict),
        findings=findings,
        environment=seen.environment.python.path or "",
        chosen_because=seen.environment.python.chosen_because or "",
        server=seen.server,
        folders=seen.folders,
        kernels=seen.kernels,
        magic=_magic(seen) if usable(seen) else "",
    )


def _without_secrets(kernel: Kernel) -> Kernel:
    """Return a kernel whose command and output name no password, key or token."""
    argv = [mask_secrets(word) for word in kernel.specification.argv]
    return msgspec.structs.replace(
        kernel,
        specification=msgspec.structs.replace(kernel.specification, argv=argv),
        start=msgspec.structs.replace(kernel.start, output=mask_secrets(kernel.start.output)),
    )


def _magic(seen: Examined) -> str:
    """Return what loads `%envcheck` in a notebook: an extension where envcheck is installed, else a script to run."""
    if version_of(seen.environment.packages, "envcheck-ml"):
        return "%load_ext envcheck"
    path = os.path.join(os.path.dirname(envcheck.__file__), "notebook.py")  # noqa: PTH118, PTH120 - a text
    return f'%run "{path}"' if " " in path else f"%run {path}"


def usable(seen: Examined) -> list[Kernel]:
    """Return the kernels through which a notebook can use the environment under test."""
    return [kernel for kernel in seen.kernels if kernel.under_test and kernel.works]


def _server(seen: Examined) -> list[Finding]:
    server = seen.server
    if server is None or not server.interpreter or server.prefix:
        return []
    known = seen.pythons.get(server.interpreter)
    state = known[0].state if known else None
    if state in {None, "ok"}:
        return []
    return [
        Finding(
            check="jupyter-server-runs",
            cause="virtualenv-broken",
            severity=Severity.ERROR,
            title=f"`{posixpath.basename(server.program)}` cannot start: the interpreter that runs it does not work",
            evidence=[
                Evidence(f"its first line names {server.interpreter} ({state})", server.program),
                *([Evidence(known[0].detail, server.interpreter)] if known and known[0].detail else []),
            ],
            remedies=[
                Remedy(
                    action="Install JupyterLab again, with the program that installed it; for a copy of its own",
                    commands=["uv tool install --force jupyterlab"],
                    changes="the user's tools: the folder of uv's tools and ~/.local/bin",
                )
            ],
        )
    ]


def _environment(seen: Examined) -> list[Finding]:
    """Judge whether a notebook can use the environment under test."""
    python = seen.environment.python
    if not seen.environment.chosen:
        return [] if seen.kernels or seen.server else [_nothing_here(seen)]
    if python.state != "ok":
        return [
            Finding(
                check="environment-has-a-kernel",
                cause="virtualenv-broken",
                severity=Severity.ERROR,
                title=f"The interpreter under test does not run: {python.path}",
                evidence=[Evidence(python.detail or python.state or "no answer", python.path or "")],
                remedies=[cures.new_environment()],
            )
        ]
    if usable(seen) or any(kernel.under_test and _offered(kernel) for kernel in seen.kernels):
        # One that is registered and does not work is a finding of its own.
        return []
    return [_not_registered(seen, python)]


def _not_registered(seen: Examined, python: Python) -> Finding:
    others = [kernel for kernel in seen.kernels if kernel.is_python and _offered(kernel)]
    server = seen.server
    evidence = [Evidence(f"environment under test: {python.prefix}", python.path or "")]
    if server:
        place = server.prefix or server.interpreter or "an environment that cannot be told"
        evidence.append(Evidence(f"`{posixpath.basename(server.program)}` runs in {place}", server.program))
    evidence += [
        Evidence(
            f"kernel {kernel.specification.name} runs {kernel.interpreter or kernel.wrapper or '?'}",
            kernel.specification.folder,
        )
        for kernel in others[:KERNELS_SHOWN]
    ]
    detail = "A notebook imports from its kernel's environment, whatever is active in the shell."
    lacking = sorted(
        set(frameworks_of(seen.environment.packages)) - {name for one in others for name in one.frameworks}
    )
    if lacking and others:
        detail += f" No kernel that it offers has {' or '.join(lacking)}, which this environment has."
    return Finding(
        check="environment-has-a-kernel",
        cause=CAUSE,
        severity=Severity.ERROR,
        title="No Jupyter kernel runs this environment: a notebook does not see what is installed here",
        detail=detail,
        evidence=evidence,
        remedies=[_registration(seen, python)],
    )


def _registration(seen: Examined, python: Python) -> Remedy:
    """Return the remedy that makes the environment under test a kernel."""
    taken = {kernel.specification.name for kernel in seen.kernels}
    name = names.kernel_name(python.prefix or "", taken)
    shown = names.display_name(python.prefix or "", python.version, frameworks_of(seen.environment.packages))
    word = cures.quoted(python.path or "python", python)
    program = f"& {word}" if word.startswith("'") and cures.on_windows(python) else word
    register = f"{program} -m ipykernel install --user --name {name} --display-name {cures.quoted(shown, python)}"
    if _has_ipykernel(seen):
        return Remedy(
            action=f"Register this environment, and choose “{shown}” in the notebook",
            commands=[register],
            changes=f"{seen.user_folder}/kernels/{name}",
            shell=cures.shell(python),
        )
    install = installation(python, seen.environment.packages, ["ipykernel"], "Install ipykernel")
    if cures.forbidden(python):
        # What may not be installed into gives way to an environment of its own, which is registered in its place.
        return msgspec.structs.replace(install, commands=[*install.commands, "envcheck jupyter --fix --python .venv"])
    return Remedy(
        action=f"{install.action}, register this environment, and choose “{shown}” in the notebook",
        commands=[*install.commands, register] if install.commands else [],
        changes=f"{install.changes or cures.CHANGES}; {seen.user_folder}/kernels/{name}",
        shell=cures.shell(python),
    )


def _has_ipykernel(seen: Examined) -> bool:
    return bool(version_of(seen.environment.packages, "ipykernel"))


def _nothing_here(seen: Examined) -> Finding:
    return Finding(
        check="environment-has-a-kernel",
        cause="package-not-installed",
        severity=Severity.ERROR,
        title="Jupyter is not here: PATH finds no server, and no kernel is registered",
        evidence=[Evidence(f"looked for kernels in {folder.path}") for folder in seen.folders[:KERNELS_SHOWN]],
        remedies=[
            Remedy(
                action="Install JupyterLab apart, then name the environment that notebooks are to run in",
                commands=["uv tool install jupyterlab", "envcheck jupyter --fix --python PATH"],
                changes="the user's tools; the user's Jupyter folder",
            )
        ],
    )


def _offered(kernel: Kernel) -> bool:
    return kernel.specification.offered and not kernel.specification.hidden_by


def _kernels(seen: Examined) -> list[Finding]:
    findings = []
    for kernel in seen.kernels:
        if kernel.works or not kernel.specification.offered or kernel.specification.denied:
            continue
        finding = _fault(kernel, seen)
        if finding is None:
            continue
        if kernel.specification.hidden_by:
            title = f"{finding.title} (another kernel of this name hides it)"
            finding = msgspec.structs.replace(finding, severity=Severity.NOTE, title=title)
        elif kernel.under_test and not usable(seen) and seen.environment.chosen:
            finding = msgspec.structs.replace(finding, severity=Severity.ERROR)
        findings.append(finding)
    return findings


def _fault(kernel: Kernel, seen: Examined) -> Finding | None:
    """Return what is wrong with one kernel; None where nothing is known to be."""
    one = kernel.specification
    if one.problem:
        return _finding(
            kernel,
            f"has a damaged description: {one.problem}",
            [Evidence(one.problem, f"{one.folder}/kernel.json")],
            seen,
        )
    if kernel.state not in {None, "ok"}:
        cause = "virtualenv-broken" if kernel.state in {"broken-link", "crash"} else CAUSE
        program = kernel.interpreter or (one.argv[0] if one.argv else "")
        what = "is gone" if kernel.state in {"missing", "broken-link"} else f"does not run ({kernel.state})"
        evidence = [Evidence(f"argv: {' '.join(one.argv)}", f"{one.folder}/kernel.json")]
        if kernel.detail:
            evidence.append(Evidence(kernel.detail, program))
        if kernel.wrapper:
            return _finding(
                kernel, f"starts through {kernel.wrapper}, and {kernel.detail}", evidence, seen, cause=cause
            )
        return _finding(kernel, f"runs an interpreter that {what}: {program}", evidence, seen, cause=cause)
    if kernel.is_python and specifications.uses_ipykernel(one) and kernel.ipykernel == "":
        evidence = [Evidence(f"{kernel.prefix} holds no ipykernel", kernel.interpreter)]
        return _finding(kernel, f"needs ipykernel, which is not installed in {kernel.prefix}", evidence, seen)
    if kernel.start.state in {"ended", "silent", "not-started"}:
        return _not_answering(kernel, seen)
    return None


def _not_answering(kernel: Kernel, seen: Examined) -> Finding:
    """Return the finding of a kernel that was started in vain."""
    start = kernel.start
    lines = [line.rstrip() for line in start.output.splitlines() if not NOISE.search(line)]
    last = lines[-1].strip() if lines else start.detail
    evidence = [Evidence("\n".join(lines[-OUTPUT_LINES:]), "what it printed")] if lines else []
    if start.detail:
        evidence.append(Evidence(start.detail, "the start"))
    if start.state == "silent":
        return _finding(
            kernel,
            f"starts and does not answer within {start.seconds:.0f} s",
            evidence,
            seen,
            cause="broken-install",
            confidence=Confidence.POSSIBLE,
        )
    module = _missing_module(kernel)
    if module:
        cause = CAUSE if module in {"ipykernel", "ipykernel_launcher"} else "package-not-installed"
        return _finding(kernel, f"ends as it starts: there is no module {module}", evidence, seen, cause=cause)
    if start.state == "not-started":
        return _finding(kernel, f"cannot be started: {start.detail}", evidence, seen)
    said = f": {last}" if last else ""
    return _finding(
        kernel,
        f"ends as it starts ({kernel.ending}){said}",
        evidence,
        seen,
        cause="broken-install",
        confidence=Confidence.LIKELY,
    )


def _finding(
    kernel: Kernel,
    what: str,
    evidence: list[Evidence],
    seen: Examined,
    *,
    cause: str = CAUSE,
    confidence: Confidence = Confidence.CERTAIN,
) -> Finding:
    return Finding(
        check="kernels-can-start",
        cause=cause,
        severity=Severity.WARNING,
        confidence=confidence,
        title=f"The Jupyter kernel “{kernel.title}” {what}",
        evidence=evidence,
        remedies=[_remedy(kernel, seen)],
    )


def _remedy(kernel: Kernel, seen: Examined) -> Remedy:
    """Return the one cure of a kernel that does not work."""
    one = kernel.specification
    if kernel.repair and not one.problem:
        return Remedy(
            action=f"Let it run {kernel.repair}, which is where its environment is now",
            commands=["envcheck jupyter --fix"],
            safe=True,
            changes=f"{one.folder}/kernel.json",
        )
    if kernel.state == "ok" and kernel.is_python and kernel.interpreter in seen.pythons:
        return _installation(kernel, seen)
    if kernel.state in {"broken-link", "crash"} and not one.problem:
        return Remedy(
            action=f"Make the environment of {kernel.interpreter or one.argv[0]} anew, under the same path",
            changes="that environment",
        )
    if kernel.kept:
        return Remedy(
            action=f"Bring it back, or remove the kernel yourself ({kernel.kept})",
            commands=[f"rm -r {cures.quoted(one.folder)}"],
            changes=f"{one.folder}, which is removed",
        )
    if not one.writable:
        return Remedy(
            action="Remove the kernel",
            commands=[f"sudo rm -r {cures.quoted(one.folder)}"],
            changes=f"{one.folder}, which is removed",
        )
    return Remedy(
        action="Remove the kernel (`envcheck jupyter --undo` brings it back)",
        commands=["envcheck jupyter --fix"],
        safe=True,
        changes=f"{one.folder}, which is removed",
    )


def _installation(kernel: Kernel, seen: Examined) -> Remedy:
    """Return the cure of a kernel whose interpreter works and which does not."""
    python, packages = seen.pythons[kernel.interpreter]
    module = _missing_module(kernel)
    wanted = "ipykernel" if kernel.ipykernel == "" and not module else DISTRIBUTIONS.get(module, "")
    if module and not wanted:
        return Remedy(action=f"Install what provides the module {module} in {kernel.prefix}, where the kernel runs")
    if wanted:
        return installation(python, packages, [wanted], f"Install {wanted} where the kernel runs")
    action = "Install ipykernel and what it needs again where the kernel runs"
    return installation(python, packages, ["ipykernel", "pyzmq"], action, again=True)


def _missing_module(kernel: Kernel) -> str:
    """Return the module that a kernel did not find as it started; empty where that was not its trouble."""
    found = re.search(r"No module named '?([\w.]+)", kernel.start.output)
    return found[1].partition(".")[0] if found else ""


def _notes(seen: Examined) -> list[Finding]:
    notes = []
    default = next(
        (one for one in seen.kernels if one.specification.name == specifications.NATIVE and _offered(one)), None
    )
    own = frameworks_of(seen.environment.packages)
    good = usable(seen)
    if default and good and not default.under_test and default.works:
        lacking = sorted(set(own) - set(default.frameworks))
        what = f", which has no {' and no '.join(lacking)}" if lacking else ""
        title = f"A new notebook opens with “{default.title}”{what}: for this environment choose “{good[0].title}”"
        notes.append(
            Finding(
                check="environment-has-a-kernel",
                cause=CAUSE,
                severity=Severity.NOTE,
                title=title,
                evidence=[Evidence(f"kernel python3 runs {default.interpreter}", default.specification.folder)],
            )
        )
    if seen.server is None and (seen.kernels or seen.environment.chosen):
        notes.append(
            Finding(
                check="jupyter-server-runs",
                cause="package-not-installed",
                severity=Severity.NOTE,
                title="No Jupyter server is here (PATH has none, nor has the environment): "
                "editors that bring their own can still use the kernels",
            )
        )
    notes += [
        Finding(
            check="kernels-can-start",
            cause="install-permission",
            severity=Severity.NOTE,
            title=f"The kernel in {kernel.specification.folder} may not be read by this user",
            evidence=[Evidence(kernel.specification.problem, kernel.specification.folder)],
        )
        for kernel in seen.kernels
        if kernel.specification.denied
    ]
    return notes


def _verdict(seen: Examined, findings: list[Finding]) -> Verdict:
    severities = {finding.severity for finding in findings}
    if Severity.ERROR in severities:
        return Verdict.ERROR
    if any(kernel.start.state == "unknown" for kernel in seen.kernels):
        return Verdict.UNKNOWN
    return Verdict.WARNING if Severity.WARNING in severities else Verdict.OK


def _summary(seen: Examined, findings: list[Finding], verdict: Verdict) -> str:
    if verdict is Verdict.ERROR:
        return findings[0].title
    offered = [kernel for kernel in seen.kernels if _offered(kernel)]
    good = sum(kernel.works for kernel in offered)
    how = "answer" if seen.started else "can be started, as far as their files tell"
    counted = f"{good} of {len(offered)} kernels {how}"
    own = usable(seen)
    if own:
        counted += f"; this environment is “{own[0].title}”"
    if verdict is Verdict.WARNING:
        return f"works, with something to mend: {counted}"
    return counted
