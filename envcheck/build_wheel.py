"""What a wheel holds beside the package's own files; setuptools calls this when it builds one (pyproject.toml).

In a checkout the stacks and the Dockerfile stand beside the package, where people look for them.  An installed envcheck
needs them too: `envcheck setup --stack`, and `--installer docker`, whose build context is a checkout in small.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools.command.build_py import build_py  # type: ignore[import-untyped,unused-ignore]

BESIDE = ("environments", "docker")
"""Folders that go into the package under the same name."""

PROJECT = ("pyproject.toml", "README.md")
"""Files that go into the package's folder `project`: an image builds envcheck from them."""


class BuildPy(build_py):  # type: ignore[misc,unused-ignore]
    """Copies the package's files, and what stands beside it; setuptools asks for a subclass."""

    def run(self) -> None:
        """Copy; an editable installation reads the checkout itself."""
        super().run()
        if self.editable_mode:
            return
        package, checkout = Path(self.build_lib) / "envcheck", Path.cwd()
        for name in BESIDE:
            if (checkout / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.whl")
                shutil.copytree(checkout / name, package / name, dirs_exist_ok=True, ignore=ignored)
        for name in PROJECT:
            (package / "project").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / name, package / "project" / name)
