"""Install stacks of this folder into the environment of the Python that runs this.

pip does the work, so that the user's own configuration holds: index, find-links, certificates, proxies, constraints.
A stack whose `index.txt` names another index gets that one only where the configured ones do not have what it asks
for: whoever keeps PyTorch's processor builds at home is not sent elsewhere.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).parent


def stacks() -> list[str]:
    """Return the names of the stacks in this folder."""
    return sorted(path.parent.name for path in HERE.glob("*/requirements.txt"))


def pip(arguments: list[str]) -> int:
    """Run pip in this environment, its progress shown, and return its exit status."""
    return subprocess.run([sys.executable, "-m", "pip", "install", *arguments], check=False).returncode


def install(stack: str) -> bool:
    """Install one stack; a second time it only looks whether everything is there."""
    requirements = HERE / stack / "requirements.txt"
    print(f"stack {stack}: {requirements}", flush=True)
    if pip(["--requirement", str(requirements)]) == 0:
        return True
    index = HERE / stack / "index.txt"
    if not index.is_file():
        return False
    address = index.read_text(encoding="utf-8").split()[-1]
    print(f"stack {stack}: not found where pip is configured to look; asking {address}", flush=True)
    return pip(["--requirement", str(requirements), "--extra-index-url", address]) == 0


def main() -> int:
    """Install the stacks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stack", nargs="+", choices=stacks(), metavar="STACK", help=", ".join(stacks()))
    for stack in parser.parse_args().stack:
        if not install(stack):
            print(
                f"envcheck: stack {stack} could not be installed; pip's words are above. "
                f"Where a mirror or a folder of wheels has it: pip config set global.find-links FOLDER",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
