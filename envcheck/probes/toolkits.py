"""CUDA for developers: toolkits on disk, nvcc, copies of cuDNN, the host compiler."""

from __future__ import annotations

import json
import re

from envcheck.facts import CudaToolkits, Library, Toolkit
from envcheck.interpreter import Interpreter
from envcheck.probe import Ended, probe
from envcheck.probes.driver import loader_folders
from envcheck.report import Outcome
from envcheck.system import System

WINDOWS_FOLDER = "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"

CUDNN_NAMES = ("libcudnn.so.9", "libcudnn.so.8", "libcudnn.so.7")


@probe(fills=["toolkits"], deadline=6)
def toolkits(system: System, interpreter: Interpreter, deadline: float, quick: bool) -> CudaToolkits:
    """Look where toolkits are installed; where there is one and there is time, ask nvcc and gcc for their versions."""
    name = (system.ask("uname") or {}).get("system")
    if name == "Darwin":
        raise Ended(Outcome.ABSENT, "CUDA does not exist for macOS")
    home = system.getenv("CUDA_HOME") or system.getenv("CUDA_PATH") or ""
    found = _toolkits(system, home)
    nvcc = system.which("nvcc")
    compiler = _host_compiler(system, deadline / 3) if (found or nvcc) and not quick else None
    return CudaToolkits(
        toolkits=found,
        cuda_home=home,
        nvcc_path=nvcc or "",
        nvcc_version=_nvcc_version(system, nvcc, found, deadline / 3, quick=quick) if nvcc else "",
        cudnn=_cudnn(system, interpreter, found),
        host_compiler=compiler,
        sources={
            "toolkits": "/usr/local, /opt, CUDA_HOME",
            "cuda_home": "CUDA_HOME" if system.getenv("CUDA_HOME") else "CUDA_PATH",
            "nvcc_path": "PATH",
            "nvcc_version": "nvcc --version",
            "cudnn": "the loader's folders, toolkits and the environment",
            "host_compiler": "gcc -dumpfullversion",
        },
    )


def _toolkits(system: System, home: str) -> list[Toolkit]:
    candidates = [f"/usr/local/{name}" for name in system.entries("/usr/local") or [] if re.match(r"cuda(-|$)", name)]
    candidates += [f"{WINDOWS_FOLDER}/{name}" for name in system.entries(WINDOWS_FOLDER) or []]
    candidates += ["/opt/cuda", "/usr/lib/cuda"]
    if home:
        candidates.append(home.rstrip("/"))
    found: dict[str, Toolkit] = {}
    for folder in candidates:
        status = system.status(folder)
        if status.outcome != "ok":
            continue
        path = status.real_path or folder
        compiler = any(system.status(f"{path}/bin/{name}").outcome == "ok" for name in ("nvcc", "nvcc.exe"))
        version = _version(system, path)
        if compiler or version:
            found[path] = Toolkit(path=path, version=version, has_nvcc=compiler)
    return list(found.values())


def _version(system: System, folder: str) -> str:
    """Return a toolkit's version: version.json from 11.1 on, version.txt before, else the folder's name."""
    described = system.read(f"{folder}/version.json")
    if described.outcome == "ok":
        try:
            return str(json.loads(described.text)["cuda"]["version"])
        except (ValueError, KeyError, TypeError):
            pass
    written = re.search(r"CUDA Version (\d+(?:\.\d+)+)", system.read(f"{folder}/version.txt").text)
    named = re.search(r"(?:cuda-|/v)(\d+(?:\.\d+)*)$", folder)
    return written[1] if written else named[1] if named else ""


def _nvcc_version(system: System, nvcc: str, found: list[Toolkit], deadline: float, *, quick: bool) -> str | None:
    """Return the release of the nvcc on PATH: from the toolkit that it lies in, else by its own words."""
    real = system.status(nvcc).real_path or nvcc
    for toolkit in found:
        series = re.match(r"\d+\.\d+", toolkit.version)
        if real.startswith(f"{toolkit.path}/") and series:
            return series[0]
    if quick:
        return None
    printed = re.search(r"release (\d+\.\d+)", system.run([nvcc, "--version"], deadline, key="nvcc --version").stdout)
    return printed[1] if printed else None


def _host_compiler(system: System, deadline: float) -> str | None:
    if system.which("gcc") is None:
        return "" if (system.ask("uname") or {}).get("system") == "Linux" else None
    completed = system.run(["gcc", "-dumpfullversion", "-dumpversion"], deadline)
    found = re.search(r"^\d+(?:\.\d+)*", completed.stdout)
    return f"gcc {found[0]}" if found else None


def _cudnn(system: System, interpreter: Interpreter, found: list[Toolkit]) -> list[Library]:
    folders = [*loader_folders(system), *(f"{toolkit.path}/lib64" for toolkit in found)]
    libraries: dict[str, Library] = {}
    for folder in folders:
        for name in CUDNN_NAMES:
            status = system.status(f"{folder}/{name}")
            if status.outcome == "ok":
                path = status.real_path or f"{folder}/{name}"
                version = re.search(r"\.so\.(\d+\.\d+(?:\.\d+)*)$", path)
                libraries[path] = Library(name=name, path=path, version=version[1] if version else "")
    for library in _cudnn_wheels(system, interpreter):
        libraries[library.path] = library
    return list(libraries.values())


def _cudnn_wheels(system: System, interpreter: Interpreter) -> list[Library]:
    """Return cuDNN as the environment's wheels have it; the version stands in the name of the wheel's metadata."""
    found = []
    root = f"{interpreter.folder}/lib"
    for python in system.entries(root) or [] if interpreter.folder else []:
        packages = f"{root}/{python}/site-packages"
        if not python.startswith("python") or system.status(f"{packages}/nvidia/cudnn/lib").outcome != "ok":
            continue
        names = "\n".join(system.entries(packages) or [])
        version = re.search(r"^nvidia_cudnn_cu\d+-(\d+(?:\.\d+)+)\.dist-info$", names, re.MULTILINE)
        for name in CUDNN_NAMES:
            path = f"{packages}/nvidia/cudnn/lib/{name}"
            if system.status(path).outcome == "ok":
                found.append(Library(name=name, path=path, version=version[1] if version else ""))
    return found
