"""The Pythons that this machine has, found where people keep them."""

from __future__ import annotations

import functools
import os
import pathlib
import shutil
import subprocess


@functools.cache
def pythons() -> dict[str, str]:
    """Return series (`3.9`) → an interpreter of it: from PATH, and from the folders of pyenv and uv."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(6, 16)] + [shutil.which("python2.7")]
    home = pathlib.Path.home()
    roots = [os.environ.get("PYENV_ROOT", str(home / ".pyenv")), str(home / ".local/share/uv/python")]
    folders = ((pathlib.Path(roots[0]), "versions/*/bin/python"), (pathlib.Path(roots[1]), "*/bin/python3"))
    candidates += sorted(str(path) for folder, pattern in folders for path in folder.glob(pattern))
    found: dict[str, str] = {}
    for candidate in filter(None, candidates):
        series = _series(candidate)
        if series:
            found.setdefault(series, candidate)
    return dict(sorted(found.items(), key=lambda item: [int(part) for part in item[0].split(".")]))


def _series(interpreter: str) -> str:
    code = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([interpreter, "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def pip_wheel() -> pathlib.Path:
    """Return the wheel of pip that comes with the Python that runs the tests; Debian keeps it in a folder apart."""
    import ensurepip
    import sysconfig

    folders = [
        pathlib.Path(ensurepip.__file__).parent / "_bundled",
        pathlib.Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or "."),
    ]
    return next(wheel for folder in folders for wheel in sorted(folder.glob("pip-*.whl")))
