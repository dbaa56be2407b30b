"""The interpreter: what `python --version`, paths in tracebacks, wheel names and pip's own line say of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

from envcheck.facts import Shadow
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Rule, Values, always, apply

SITE = (
    r"(?P<prefix>(?:/|[A-Za-z]:[\\/]|~/|\.{1,2}[\\/])?(?:[^\s\"'()<>|:,\\/]{1,80}[\\/]){0,14}?)"
    r"(?:lib(?:64)?[\\/](?:python(?P<version>3\.\d{1,2}|2\.7|3)t?|pypy3\.\d{1,2})[\\/](?P<kind>site-packages|dist-packages)"
    r"|Lib[\\/]site-packages|lib[\\/]site-packages)"
)
STANDARD = (
    r"(?P<prefix>(?:/|[A-Za-z]:[\\/])(?:[^\s\"'()<>|:,\\/]{1,80}[\\/]){0,14}?)"
    r"lib(?:64)?[\\/]python(?P<version>3\.\d{1,2})[\\/]"
)
IN_PREFIX = r"[Pp]ython(?:-|@|\\|/versions/|/Versions/)?(?P<major>3)\.?(?P<minor>\d{1,2})(?:\.\d{1,2})?(?=[\\/-]|$)"
MOST_PATHS = 4000
"""Lines with a path of packages that are looked at."""


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield the interpreter's version and the kind of its environment."""
    for command in paste.commands:
        if re.fullmatch(r"(?:\S*[/\\])?python[\d.]* (?:-V|--version)", command.text):
            for line in command.output[:2]:
                if found := re.match(r"Python (?P<version>[23]\.\d{1,2}\.\d{1,2}\S{0,12})", line.text):
                    yield Piece("python", {"version": found["version"]}, line.source)
        elif re.fullmatch(r"which (?:-a )?python[\d.]*|where python", command.text) and command.output:
            path = command.output[0].text.strip()
            if re.fullmatch(r"(?:/|[A-Za-z]:\\)[^\s:]{1,200}python[\w.]*", path):
                values = {"path": path, "environment_kind": kind_of(re.sub(r"[^/\\]*$", "", path))}
                yield Piece("python", values, command.output[0].source)
        if command.environment == "base":
            yield Piece("python", {"environment_kind": "conda"}, command.source)
        elif command.environment in {"venv", ".venv"}:
            yield Piece("python", {"environment_kind": "venv"}, command.source)
    yield from apply(RULES, paste)
    yield from _paths(paste)
    yield from _shadows(paste)
    yield from _listed_shadows(paste)


def _paths(paste: Paste) -> Iterator[Piece]:
    """Yield what the paths in which packages lie say: those of the user's own and of build environments apart."""
    seen: set[str] = set()
    looked = 0
    for line in paste.lines:
        text = line.text
        if "-packages" not in text and "/lib/python3." not in text:
            continue
        looked += 1
        if looked > MOST_PATHS:
            return
        found = re.search(SITE, text[:1000]) or re.search(STANDARD, text[:1000])
        if not found or found[0] in seen:
            continue
        seen.add(found[0])
        prefix = found["prefix"]
        # An overlay of pip's isolated build is no environment of anybody's.
        if re.search(r"pip-build-env|pip-install-|/bazel-|_pip_", prefix):
            continue
        values: Values = {"version": _version(found, prefix)}
        if not re.search(r"(?:^|[\\/])\.local[\\/]$|AppData[\\/]Roaming", prefix):
            values["environment_kind"] = kind_of(prefix, found.groupdict().get("kind") or "")
            values["site_packages"] = found[0] if "-packages" in found[0] else None
        elif "-packages" in found[0]:
            values["user_site"] = found[0]
        yield Piece("python", values, line.source)


FRAME = r"^\s+File \"(?P<path>[^\"]{1,300})\", line \d+"
IMPORT = r"^\s+(?:from|import) (?P<module>\w{1,60})\b"
OFTEN_SHADOWED = frozenset(
    [
        "torch",
        "tensorflow",
        "keras",
        "numpy",
        "scipy",
        "pandas",
        "matplotlib",
        "sklearn",
        "cv2",
        "PIL",
        "transformers",
        "datasets",
        "accelerate",
        "yaml",
        "tqdm",
        "requests",
        "wandb",
        "tokenizers",
        "jax",
        "onnx",
        "ray",
        "gym",
        "mpi4py",
        "triton",
    ]
)
"""Modules of packages whose names people give to files of their own."""


def _shadows(paste: Paste) -> Iterator[Piece]:
    """Find imports that a traceback sees end in a file beside the program, though the name is another module's."""
    module, frame = "", ""
    for line in paste.lines:
        if found := re.match(FRAME, line.text):
            path = found["path"]
            name = re.split(r"[\\/]", path.removesuffix("__init__.py").rstrip("\\/"))[-1].removesuffix(".py")
            own = not re.search(r"-packages[\\/]|[\\/]lib(?:64)?[\\/]python3|[\\/]Lib[\\/]\w+|<frozen", path)
            known = module in OFTEN_SHADOWED or module in sys.stdlib_module_names
            if own and name == module and known and frame:
                hides = "standard library" if module in sys.stdlib_module_names else "installed package"
                yield Piece("python", {"shadows": [Shadow(module=module, path=path, hides=hides)]}, line.source)
            module, frame = "", path
        elif found := re.match(IMPORT, line.text):
            module = found["module"]


LISTING = r"(?:ls|dir|ll|la|tree|Get-ChildItem|gci)(?: (?:-\w+|/\w+|\.))*$"
"""A command that lists the working directory."""

LISTED_FILE = r"(?:^|[\s./])(?P<name>\w{1,60})\.pyc?(?=\s|$)"


def _listed_shadows(paste: Paste) -> Iterator[Piece]:
    """Find files in a listing of the working directory named as the module that an import complains of."""
    for command in paste.commands:
        if not re.match(LISTING, command.text):
            continue
        for line in command.output:
            for found in re.finditer(LISTED_FILE, line.text):
                name = found["name"]
                known = name in OFTEN_SHADOWED or name in sys.stdlib_module_names
                if known and re.search(COMPLAINT.format(name=name), paste.whole):
                    hides = "standard library" if name in sys.stdlib_module_names else "installed package"
                    shadow = Shadow(module=name, path=f"{name}.py", hides=hides)
                    yield Piece("python", {"shadows": [shadow]}, line.source)


COMPLAINT = (
    r"(?:ImportError|AttributeError): [^\n]{{0,120}}(?<!import name )['\"]{name}['\".]"
    r"|ModuleNotFoundError: [^\n]{{0,40}}['\"]{name}\."
    r"|partially initialized module '{name}'"
)
"""Of a module that a file hides nothing says that it is missing: what it should hold is."""


def _version(found: re.Match[str], prefix: str) -> str | None:
    version = found.groupdict().get("version")
    if version and "." in version:
        return version
    named = re.search(IN_PREFIX, prefix.rstrip("\\/"))
    return f"3.{int(named['minor'])}" if named else None


KINDS = (
    (r"\.pyenv[\\/]versions|pyenv-win", "pyenv"),
    (r"WindowsApps|PythonSoftwareFoundation", "store"),
    (r"Python\.framework", "framework"),
    (r"conda|mamba|miniforge", "conda"),
    (r"[\\/]envs[\\/][^\\/]+[\\/]$", "conda"),
    (r"[\\/]?\.?v?env[\\/](?:bin[\\/]|Scripts[\\/])?$|virtualenvs|[\\/]\.?venv|venv[\\/]|pipx[\\/]", "venv"),
    (
        r"^/usr/local/$|^/usr/$|^/usr/local/bin/$|^/usr/bin/$|AppData[\\/]Local[\\/]Programs[\\/]Python|^[A-Za-z]:[\\/]Python",
        "system",
    ),
)


def kind_of(prefix: str, kind: str = "") -> str | None:
    """Return the kind of environment that lies in a folder, as the folder's name tells it; None where it does not."""
    if kind == "dist-packages":
        return "system"
    return next((name for pattern, name in KINDS if re.search(pattern, prefix)), None)


def _wheel(found: re.Match[str]) -> Values:
    return {"version": f"3.{found['minor']}"}


RULES = (
    Rule(
        "Python",
        r"^\W{0,3}Python (?P<version>3\.\d{1,2}\.\d{1,2}[a-z0-9+]{0,6})(?: \||\s*$| \((?:main|default"
        r"|tags|v3|conda|heads))",
        "python",
        lambda found: {"version": found["version"]},
    ),
    Rule("conda-forge", r"^Python \S+ \| packaged by conda-forge", "python", always(environment_kind="conda")),
    Rule(
        "Anaconda, Inc.",
        r"^Python \S+ .{0,20}\| ?(?:packaged by )?Anaconda, Inc\.",
        "python",
        always(environment_kind="conda"),
    ),
    Rule(
        "pip ",
        r"^pip (?P<pip>\d+[\d.]*) from (?P<path>.{3,200}) \(python (?P<version>3\.\d{1,2})\)",
        "python",
        lambda found: {"pip_version": found["pip"], "version": found["version"]},
    ),
    Rule(
        "python version : ",
        r"^\s*python version : (?P<version>3\.\d{1,2}\.\d{1,2})",
        "python",
        lambda found: {"version": found["version"], "environment_kind": "conda"},
    ),
    Rule(
        "Using Python 3",
        r"Using (?:C?Python) (?P<version>3\.\d{1,2}(?:\.\d{1,2})?)",
        "python",
        lambda found: {"version": found["version"]},
    ),
    Rule(
        "base interpreter",
        r"Using CPython (?P<version>3\.\d{1,2}\.\d{1,2})",
        "python",
        lambda found: {"version": found["version"]},
    ),
    Rule(".cpython-3", r"\.cpython-3(?P<minor>\d{1,2})-[\w-]{3,40}\.so", "python", _wheel),
    Rule(
        "Downloading ",
        r"Downloading \S{1,200}-cp3(?P<minor>\d{1,2})-(?:cp3\d{1,2}|abi3)-",
        "python",
        lambda found: _wheel(found) if "abi3" not in found[0] else {},
    ),
    Rule(
        "FROM python:",
        r"^FROM python:(?P<version>3\.\d{1,2}(?:\.\d{1,2})?)",
        "python",
        lambda found: {"version": found["version"]},
    ),
    Rule(
        "externally-managed-environment",
        r"^error: externally-managed-environment",
        "python",
        always(externally_managed=True),
    ),
    Rule(
        "[MSC v.",
        r"\[MSC v\.\d{4} (?P<bits>32|64) bit \((?P<machine>AMD64|Intel|ARM64)\)",
        "python",
        lambda found: {
            "bits": int(found["bits"]),
            "machine": "x86" if found["machine"] == "Intel" else found["machine"],
        },
    ),
    Rule("[MSC v.", r"\[MSC v\.\d{4} ", "platform", always(system="Windows", distribution="windows")),
    # The installer of python.org names the folder of its 32-bit edition so.
    Rule("-32", r"[Pp]ython[\\/]?[Pp]ython3\d{1,2}-32[\\/]", "python", always(bits=32)),
    Rule("PyPy", r"^\[PyPy \d", "python", always(implementation="PyPy")),
)
