"""The interpreter under test and its environment."""

from __future__ import annotations

from collections.abc import Iterator

from envcheck import cures
from envcheck.check import check
from envcheck.checks.packages import conflicts_of
from envcheck.facts import Facts, Framework, Package, Packages, Python, Shadow, Variables, need
from envcheck.intent import Intent
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity, seen

OLDEST = (3, 6)
"""The oldest Python that the scripts in `inside/` run on."""

FRAMEWORK_MODULES = frozenset({"torch", "tensorflow", "keras"})

DEPENDENCIES = frozenset(
    {
        "absl",
        "google",
        "grpc",
        "h5py",
        "jinja2",
        "ml_dtypes",
        "networkx",
        "numpy",
        "optree",
        "packaging",
        "requests",
        "six",
        "sympy",
        "termcolor",
        "torchaudio",
        "torchvision",
        "typing_extensions",
        "wrapt",
    }
)
"""Modules that importing PyTorch or TensorFlow imports. Source: Requires-Dist of torch 2.13 and tensorflow 2.21."""


@check(
    area="python",
    causes=["virtualenv-broken", "wrong-interpreter", "broken-install", "install-permission", "missing-system-library"],
)
def interpreter_runs(python: Python, variables: Variables | None) -> Iterator[Finding]:
    """The interpreter under test is there and is a Python that starts.

    Why: everything else is asked of it. A virtual environment holds links to the interpreter that it was made from;
    when that one is removed or upgraded, the environment is dead though all its packages are still there.
    If not: nothing can be installed or run in this environment.
    Source: PEP 405 (pyvenv.cfg, `home`); the Python documentation, "venv".
    """
    state = need(python.state, "python.state")
    if state == "ok":
        return
    path = python.path or "the interpreter"
    evidence = seen(python, "state", "detail")
    if python.base_missing:
        evidence.append(Evidence(f"pyvenv.cfg names {python.base_missing}, which is gone", f"pyvenv.cfg beside {path}"))
    if state == "broken-link" or python.base_missing:
        yield Finding(
            cause="virtualenv-broken",
            severity=Severity.ERROR,
            title=f"The environment is dead: {path} leads to a Python that is gone",
            evidence=evidence,
            remedies=[cures.new_environment()],
            links=["https://docs.python.org/3/library/venv.html"],
            explains=["*-imports"],
        )
        return
    home = (variables.values or {}).get("PYTHONHOME") if variables else None
    if state == "crash" and home:
        yield Finding(
            cause="wrong-interpreter",
            severity=Severity.ERROR,
            confidence=Confidence.LIKELY,
            title="Python does not start: PYTHONHOME sends it to another installation's library",
            evidence=[*evidence, Evidence(f"PYTHONHOME={home}", "environment")],
            remedies=[Remedy(action="Unset PYTHONHOME", commands=["unset PYTHONHOME"], safe=True)],
            links=["https://docs.python.org/3/using/cmdline.html#envvar-PYTHONHOME"],
            explains=["*-imports"],
        )
        return
    if state == "crash" and "cannot open shared object" in (python.detail or ""):
        state = "library-missing"
    cause, confidence, title = {
        "missing": ("virtualenv-broken", Confidence.LIKELY, f"There is no interpreter at {path}"),
        "not-executable": ("wrong-interpreter", Confidence.LIKELY, f"{path} may not be run: it is no program"),
        "not-python": ("wrong-interpreter", Confidence.CERTAIN, f"{path} is not a Python"),
        "timeout": ("broken-install", Confidence.POSSIBLE, f"{path} started and did not answer in time"),
        "library-missing": ("missing-system-library", Confidence.LIKELY, f"{path} lacks a shared library to start"),
    }.get(state, ("broken-install", Confidence.LIKELY, f"{path} does not start"))
    yield Finding(
        cause=cause,
        severity=Severity.ERROR,
        confidence=confidence,
        title=title,
        evidence=evidence,
        remedies=[
            Remedy(action="Name a Python, or the folder of an environment", commands=["envcheck doctor --python PATH"]),
            cures.new_environment(),
        ],
        explains=["*-imports"],
    )


@check(area="python", causes=["python-version-unsupported"])
def python_is_supported(
    python: Python, packages: Packages | None, torch: Framework | None, tensorflow: Framework | None, intent: Intent
) -> Iterator[Finding]:
    """A release of a framework exists for this Python.

    Why: PyTorch and TensorFlow are published for a few Python versions each; for another one pip says "No matching
    distribution found".
    If not: install a Python that has releases. Where no framework is asked for, this is only good to know.
    Source: tables `torch` and `tensorflow` (wheels of each release); Python 2 ended on 2020-01-01 (PEP 373).
    """
    text = need(python.version, "python.version")
    from envcheck.compat.versions import parse

    version = parse(text)
    if version is None:
        return
    if version.release[:2] < OLDEST:
        yield Finding(
            cause="python-version-unsupported",
            # What was pasted may be years old, and ran then with the releases of its time.
            severity=Severity.NOTE if python.state is None else Severity.ERROR,
            title=f"Python {text} is too old: no maintained release of PyTorch or TensorFlow runs on it",
            evidence=seen(python, "version", "path"),
            remedies=[_newer_python()],
            explains=["*-imports"],
        )
        return
    series = f"{version.major}.{version.minor}" + ("t" if python.free_threaded else "")
    frameworks = (("PyTorch", "torch", torch), ("TensorFlow", "tensorflow", tensorflow))
    for title, name, framework in frameworks:
        asked = next((item for item in intent.requirements if item.text.partition(".")[0].startswith(name)), None)
        if framework is not None or (asked is None and name == "tensorflow"):
            continue
        pythons = _pythons_with_a_release(name)
        if series in pythons:
            continue
        yield Finding(
            cause="python-version-unsupported",
            severity=Severity.ERROR if asked else Severity.NOTE,
            confidence=Confidence.LIKELY,
            title=f"No known release of {title} is for Python {series}",
            evidence=[
                *seen(python, "version", "path"),
                Evidence(f"releases are for Python {', '.join(pythons)}", f"table {name}"),
            ],
            remedies=[_newer_python(pythons[-1] if pythons else "3.12")],
            detail="" if packages is None else "The table may be older than the newest release.",
        )


def _newer_python(series: str = "3.12") -> Remedy:
    series = series.rstrip("t")
    return Remedy(
        action=f"Make an environment with Python {series}",
        commands=[f"uv venv --python {series} .venv"],
        changes="makes the folder .venv; uv fetches that Python where it is not installed",
    )


def _pythons_with_a_release(name: str) -> list[str]:
    """Return the Python versions for which a framework has wheels, oldest first."""
    from envcheck.compat import tensorflow, torch

    releases = torch.releases() if name == "torch" else tensorflow.releases()
    found = {
        python
        for release in releases
        for field in ("python_linux_x86_64", "python_linux_aarch64", "python_windows_x86_64", "python_macos_arm64")
        for python in getattr(release, field)
    }
    return sorted(found, key=lambda text: [int(part) for part in text.rstrip("t").split(".")] + [text.endswith("t")])


@check(area="python", causes=["virtualenv-broken"])
def environment_fits_its_interpreter(python: Python) -> Iterator[Finding]:
    """The virtual environment was made for the Python version that now runs it.

    Why: packages lie in a folder named after the version (`lib/python3.11/site-packages`). Where the interpreter that
    the environment links to was upgraded (3.11 to 3.12), it looks into another, empty folder.
    If not: every installed package seems to have gone.
    Source: PEP 405; the Python documentation, "venv".
    """
    made_for, version = need(python.made_for_version, "python.made_for_version"), need(python.version, "python.version")
    if not made_for or made_for.split(".")[:2] == version.split(".")[:2]:
        return
    yield Finding(
        cause="virtualenv-broken",
        severity=Severity.ERROR,
        title=f"The environment was made for Python {made_for} and is now run by {version}: its packages are not found",
        evidence=seen(python, "made_for_version", "version", "prefix", "base_prefix"),
        remedies=[cures.new_environment(cures.quoted(python.executable or "python3"))],
        links=["https://docs.python.org/3/library/venv.html"],
        explains=["*-imports", "requirements-hold"],
    )


@check(area="python", causes=["user-site-leak"])
def environment_comes_first(python: Python, packages: Packages, facts: Facts) -> Iterator[Finding]:
    """Packages of the environment are found before those of the user's home folder and of PYTHONPATH.

    Why: `~/.local` (user site) comes before a conda environment's own packages, and PYTHONPATH before everything. A
    copy that lies there hides the environment's, whatever pip or conda say is installed.
    If not: the version that is imported is another than the one that was installed.
    Source: the Python documentation, "site" (ENABLE_USER_SITE) and PYTHONPATH.
    """
    hidden = need(packages.hidden, "packages.hidden")
    outside = _outside_folders(python)
    leaks = []
    for copy in hidden:
        first = next((package for package in packages.installed or [] if package.name == copy.name), None)
        if first is None or first.location not in outside or copy.location in outside:
            continue
        if first.version != copy.version:
            leaks.append((first, copy))
    if not leaks:
        return
    kinds = sorted({outside[first.location] for first, _ in leaks})
    names = ", ".join(f"{first.name} {first.version} (the environment has {copy.version})" for first, copy in leaks[:8])
    by_path = "PYTHONPATH" in kinds
    yield Finding(
        cause="user-site-leak",
        severity=Severity.WARNING,
        title=f"Packages from {' and '.join(kinds)} hide the environment's own: {names}",
        evidence=[
            Evidence(f"{first.name} {first.version} in {first.location} hides {copy.version} in {copy.location}", "")
            for first, copy in leaks[:8]
        ],
        remedies=[
            Remedy(
                action="Leave PYTHONPATH out" if by_path else "Tell Python to leave the user's own packages out",
                commands=["unset PYTHONPATH" if by_path else "export PYTHONNOUSERSITE=1"],
                safe=True,
                changes="this shell alone",
            )
        ],
        explains=[
            *(name for name in _failing(facts) if _is_named(name, facts, [first for first, _ in leaks])),
            *(f"*-fits-{first.name}" for first, _ in leaks),
            *_conflicts_that_leaks_explain(packages, {first.name for first, _ in leaks}),
        ],
        links=["https://docs.python.org/3/library/site.html"],
    )


def _conflicts_that_leaks_explain(packages: Packages, leaked: set[str]) -> list[str]:
    """Return the check of requirements, where every version that does not fit is one that leaked."""
    clashing = {conflict.required for conflict in conflicts_of(packages) if conflict.present}
    return ["requirements-hold"] if clashing <= leaked else []


def _is_named(import_check: str, facts: Facts, leaked: list[Package]) -> bool:
    """Tell whether the error of a failed import names a package that leaked, or the folder that it lies in."""
    framework: Framework = getattr(facts, import_check.partition("-")[0])
    text = "\n".join(filter(None, (framework.error, framework.traceback, framework.stderr)))
    return any(package.location in text or package.name.replace("-", "_") in text for package in leaked)


def _outside_folders(python: Python) -> dict[str, str]:
    """Return folders that are not the environment's, with what puts them on the path."""
    folders = dict.fromkeys(python.python_path or [], "PYTHONPATH")
    if python.user_site and python.user_site_enabled and python.environment_kind in cures.OWN_ENVIRONMENTS:
        folders[python.user_site] = "the user site (~/.local)"
    return folders


def _failing(facts: Facts) -> list[str]:
    """Return the checks that judge the import of a framework whose import failed."""
    frameworks = {name: getattr(facts, name) for name in ("torch", "tensorflow", "keras")}
    return [
        f"{name}-imports"
        for name, framework in frameworks.items()
        if framework is not None and framework.state not in {None, "ok", "not-imported"}
    ]


@check(area="python", causes=["shadowed-module"])
def modules_are_not_shadowed(python: Python, facts: Facts) -> Iterator[Finding]:
    """No file of yours has the name of a module that a framework or its imports need.

    Why: Python looks into the working directory (for a script: into the script's folder) and PYTHONPATH before it looks
    among installed packages and, mostly, the standard library. `./torch.py` is then what `import torch` runs.
    If not: errors such as "module has no attribute", "partially initialized module", or your own file running twice.
    Source: the Python documentation, "The initialization of the sys.path module search path".
    """
    shadows = need(python.shadows, "python.shadows")
    failing = _failing(facts)
    for shadow in shadows:
        grave = shadow.module in FRAMEWORK_MODULES
        blamed = _is_blamed(shadow, facts)
        if not (grave or blamed) and not (shadow.hides == "standard library" or shadow.module in DEPENDENCIES):
            continue
        what = "PyTorch" if shadow.module == "torch" else f"the module {shadow.module!r}"
        where = "of the standard library" if shadow.hides == "standard library" else "that is installed"
        yield Finding(
            cause="shadowed-module",
            severity=Severity.ERROR if grave or blamed else _unblamed(shadow, facts),
            confidence=Confidence.CERTAIN if grave or blamed else Confidence.LIKELY,
            title=f"{shadow.path} hides {what} {where}: `import {shadow.module}` runs your file",
            evidence=[Evidence(f"{shadow.path} is found before the {shadow.hides} {shadow.module}", "sys.path")],
            remedies=[_rename(shadow)],
            explains=failing if grave or blamed else [],
            links=["https://docs.python.org/3/library/sys_path_init.html"],
        )


def _unblamed(shadow: Shadow, facts: Facts) -> Severity:
    """Return how grave a shadow is that no error names: one beside which every framework imports does no harm yet."""
    frameworks: list[Framework | None] = [getattr(facts, name) for name in FRAMEWORK_MODULES]
    states = {framework.state for framework in frameworks if framework is not None}
    if shadow.hides == "standard library" and states <= {"ok"}:
        return Severity.NOTE
    return Severity.WARNING


def _is_blamed(shadow: Shadow, facts: Facts) -> bool:
    """Tell whether the error of a failed import names the file, or the module while it was half imported."""
    for name in FRAMEWORK_MODULES:
        framework: Framework | None = getattr(facts, name)
        if framework is None or framework.state in {None, "ok", "not-imported"}:
            continue
        text = "\n".join(filter(None, (framework.error, framework.traceback, framework.stderr)))
        if shadow.path in text or f"'{shadow.module}'" in (framework.error or ""):
            return True
    return False


def _rename(shadow: Shadow) -> Remedy:
    folder, separator, name = shadow.path.rpartition("/")
    renamed = f"{folder}{separator}my_{name}"
    return Remedy(
        action="Give your file another name, and remove what was compiled from it",
        commands=[f"mv {cures.quoted(shadow.path)} {cures.quoted(renamed)}"],
        changes="your own file, and whatever imports it by its old name",
    )


@check(area="python", causes=["install-permission"])
def environment_can_be_installed_into(python: Python) -> Iterator[Finding]:
    """Packages can be installed into this environment by this user.

    Why: a system's own Python is marked as externally managed, and pip refuses to change it; a folder that belongs to
    another user cannot be written to.
    If not: make an environment of your own. It is only good to know as long as nothing has to be installed.
    Source: PEP 668.
    """
    if python.externally_managed and python.environment_kind == "system":
        title = "This Python belongs to the system: pip refuses to install into it"
    elif python.site_packages_writable is False:
        title = f"This user may not install into {python.site_packages}"
    else:
        need(python.site_packages_writable, "python.site_packages_writable")
        return
    yield Finding(
        cause="install-permission",
        severity=Severity.NOTE,
        title=title,
        evidence=seen(python, "externally_managed", "site_packages", "site_packages_writable"),
        remedies=[
            Remedy(
                action="Make an environment of your own",
                commands=["python3 -m venv .venv", ". .venv/bin/activate"],
                changes="makes the folder .venv",
            )
        ],
        links=["https://peps.python.org/pep-0668/"],
    )
