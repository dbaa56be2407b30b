"""Where Jupyter looks for kernels, and in which order.

Source: jupyter_core 5, `paths.py` (jupyter_path, jupyter_data_dir, prefer_environment_over_user) and "Common
directories and file locations" in its documentation; jupyter_client 8, `kernelspec.py` (kernel_dirs);
nb_conda_kernels, `manager.py`.
"""

from __future__ import annotations

from envcheck.facts import Python
from envcheck.jupyter.model import Folder
from envcheck.system import System

FALSE = {"no", "n", "false", "off", "0", "0.0"}
"""Values of a variable that jupyter_core takes for no."""


def user_folder(system: System) -> str:
    """Return the user's own data folder of Jupyter: where kernels are registered."""
    home = system.ask("home") or "."
    kind = _kind(system)
    named = system.getenv("JUPYTER_DATA_DIR")
    if named:
        return named
    if kind == "Windows":
        data = system.getenv("APPDATA")
        return f"{data}/jupyter" if data else f"{system.getenv('JUPYTER_CONFIG_DIR') or f'{home}/.jupyter'}/data"
    if kind == "Darwin":
        return f"{home}/Library/Jupyter"
    return f"{system.getenv('XDG_DATA_HOME') or f'{home}/.local/share'}/jupyter"


def kernel_folders(system: System, server: Python | None, *, conda_kernels: bool = False) -> list[Folder]:
    """Return the folders in which a server finds kernels, in its order.

    Args:
        system: the machine.
        server: the interpreter that runs the server; None where there is none, which leaves out its environment.
        conda_kernels: whether nb_conda_kernels adds what conda's environments hold.
    """
    windows = _kind(system) == "Windows"
    named = [part for part in (system.getenv("JUPYTER_PATH") or "").split(";" if windows else ":") if part]
    found = [Folder(path=part.rstrip("/\\"), kind="variable") for part in named]
    prefix = (server.prefix or "").rstrip("/\\") if server else ""
    personal = [user_folder(system)]
    base = _user_base(server)
    if base and f"{base}/share/jupyter" not in personal:
        personal.append(f"{base}/share/jupyter")
    user = [Folder(path=part, kind="user") for part in personal]
    general = _system_folders(system, windows=windows)
    own = f"{prefix}/share/jupyter" if prefix else ""
    environment = [Folder(path=own, kind="environment")] if own and own not in general else []
    found += [*environment, *user] if prefers_environment(system, server) else [*user, *environment]
    found += [Folder(path=part, kind="system") for part in general]
    folders = [Folder(path=f"{one.path}/kernels", kind=one.kind) for one in found]
    ipython = system.getenv("IPYTHONDIR") or f"{system.ask('home') or '.'}/.ipython"
    folders.append(Folder(path=f"{ipython}/kernels", kind="ipython"))
    if conda_kernels:
        folders += [
            Folder(path=f"{place}/share/jupyter/kernels", kind="conda", environment=place)
            for place in conda_environments(system)
            if place.rstrip("/\\") != prefix
        ]
    return list({folder.path: folder for folder in reversed(folders)}.values())[::-1]


def prefers_environment(system: System, server: Python | None) -> bool:
    """Tell whether the server looks into its environment before it looks into the user's folder."""
    said = system.getenv("JUPYTER_PREFER_ENV_PATH")
    if said is not None:
        return said.lower() not in FALSE
    if server is None or not server.prefix:
        return False
    if not system.status(server.prefix).writable:
        return False
    if server.base_prefix and server.prefix != server.base_prefix:
        return True
    conda = system.getenv("CONDA_PREFIX")
    return bool(conda and server.prefix.startswith(conda) and (system.getenv("CONDA_DEFAULT_ENV") or "base") != "base")


def conda_environments(system: System) -> list[str]:
    """Return the folders of the environments that conda knows of, as far as its own list tells."""
    listed = system.read(f"{system.ask('home') or '.'}/.conda/environments.txt").text.split("\n")
    root = system.getenv("CONDA_ROOT") or _root_of(system.getenv("CONDA_EXE"))
    places = [root] if root else []
    places += [f"{root}/envs/{name}" for name in (system.entries(f"{root}/envs") or []) if root]
    places += [line.strip() for line in listed if line.strip()]
    return [place for place in dict.fromkeys(places) if system.status(f"{place}/conda-meta").kind == "folder"]


def _root_of(program: str | None) -> str:
    """Return conda's base environment: the folder above the one that holds its program."""
    parts = (program or "").replace("\\", "/").split("/")
    return "/".join(parts[:-2]) if len(parts) > 2 else ""  # noqa: PLR2004 - FOLDER/bin/conda


def _kind(system: System) -> str:
    return str((system.ask("uname") or {}).get("system", ""))


def _system_folders(system: System, *, windows: bool) -> list[str]:
    if not windows:
        return ["/usr/local/share/jupyter", "/usr/share/jupyter"]
    data = system.getenv("PROGRAMDATA")
    wanted = (system.getenv("JUPYTER_USE_PROGRAMDATA") or "no").lower() not in FALSE
    return [f"{data}/jupyter"] if data and wanted else []


def _user_base(server: Python | None) -> str:
    """Return the folder under which the user's own packages lie, where the server's interpreter imports them."""
    if server is None or not server.user_site or not server.user_site_enabled:
        return ""
    folder = server.user_site.replace("\\", "/")
    return folder.partition("/lib/python")[0] if "/lib/python" in folder else ""
