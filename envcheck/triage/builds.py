"""Names and versions of distributions, and for which accelerator a build was made."""

from __future__ import annotations

import re


def normalised(name: str) -> str:
    """Return a distribution's name as PEP 503 writes it."""
    return re.sub(r"[-_.]+", "-", name).lower()


BUILD_CUDA = r"(?:cuda_?|cu)(?P<version>\d{2,3}(?:\.\d{1,2})?)"


def build_of(local: str) -> dict[str, str]:
    """Return accelerator and version of a build from the local part of its version (`cu121`) or conda build."""
    lower = local.lower()
    if found := re.search(r"rocm(?P<version>\d\.\d+(?:\.\d+)?)?", lower):
        return {"accelerator": "rocm", **({"rocm": found["version"]} if found["version"] else {})}
    if found := re.search(BUILD_CUDA, lower):
        version = found["version"]
        # Three digits without a point are two of the major and one of the minor version: cu118 is 11.8.
        return {"accelerator": "cuda", "cuda": version if "." in version else f"{version[:-1]}.{version[-1]}"}
    if "cpu" in lower:
        return {"accelerator": "cpu"}
    return {"accelerator": "xpu"} if "xpu" in lower else {}
