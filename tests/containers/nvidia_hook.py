"""A mock of NVIDIA's container hook: Docker calls it, as `nvidia-container-runtime-hook prestart`, for `--gpus`.

It does to the container what the real one does, with a fake driver: device files, the management library where the
capability `utility` was asked for, and (for the fake library) what the GPU is to answer. MOCK_NVIDIA names the folder
with `libnvidia-ml.so.1` and `gpu.txt`; a file `fails` there holds what the hook is to fail with.

Docker's side of this: moby, daemon/nvidia_linux.go. NVIDIA's: Container Toolkit, "Specialized configurations".
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys

LIBRARIES = pathlib.Path("usr/lib/x86_64-linux-gnu")


def main() -> int:
    """Prepare the container whose state stands on standard input."""
    state = json.load(sys.stdin)
    configuration = json.loads(pathlib.Path(state["bundle"], "config.json").read_text())
    root = pathlib.Path(configuration["root"]["path"])
    variables = dict(item.partition("=")[::2] for item in configuration["process"]["env"])
    if variables.get("NVIDIA_VISIBLE_DEVICES", "") in {"", "void", "none"}:
        return 0
    folder = pathlib.Path(os.environ["MOCK_NVIDIA"])
    failure = folder / "fails"
    if failure.exists():
        sys.stderr.write(failure.read_text())
        return 1
    capabilities = set((variables.get("NVIDIA_DRIVER_CAPABILITIES") or "compute,utility").split(","))
    (root / LIBRARIES).mkdir(parents=True, exist_ok=True)
    if capabilities & {"utility", "all"}:
        shutil.copy(folder / "libnvidia-ml.so.1", root / LIBRARIES)
    shutil.copy(folder / "gpu.txt", root / "etc" / "fake-nvml.txt")
    # /dev is mounted in the container's own namespace; the numbers are those of /dev/null, which every rule allows.
    nodes = "; ".join(f"mknod -m 666 {root}/dev/{name} c 1 3" for name in ("nvidiactl", "nvidia-uvm", "nvidia0"))
    return subprocess.run(
        ["/usr/bin/nsenter", "--target", str(state["pid"]), "--mount", "/bin/sh", "-c", nodes], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
