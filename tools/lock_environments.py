"""Lock the stacks of environments/ anew where their requirements have changed, or check that no lock is stale.

    python tools/lock_environments.py [--check] [STACK ...]

uv solves for each platform from this machine, with what the user's pip is configured with. A stack whose packages
cannot be had from here keeps the locks that it has; `--check` fails on a lock that is stale, and lists what has none.
"""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile

from envcheck import stacks
from envcheck.install import pip_configuration, uv
from envcheck.system import Live

ENVIRONMENTS = pathlib.Path(__file__).parent.parent / "environments"


def solve(stack: stacks.Stack, platform: str) -> str | None:
    """Return the lock of a stack for a platform; None where it cannot be solved from here.

    As with environments/install.py, PyTorch's index is asked only where the configured places do not have a package.
    """
    text = None
    for extra in ([], ["--extra-index-url", stack.index]) if stack.index else ([],):
        text = text or solve_with(stack, platform, extra)
    return text


def solve_with(stack: stacks.Stack, platform: str, extra: list[str]) -> str | None:
    """Return the lock of a stack with some options; None where it cannot be solved so."""
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "lock.txt"
        ended = subprocess.run(
            [
                *(uv.program() or "uv", "pip", "compile", "--quiet", "--generate-hashes", "--no-header"),
                *("--no-annotate", "--only-binary", ":all:", "--index-strategy", "unsafe-best-match"),
                *("--python-platform", stacks.PLATFORMS[platform], "--python-version", stacks.PYTHON),
                *extra,
                *("--output-file", str(output), str(stack.requirements)),
            ],
            env=environment(platform),
            check=False,
            capture_output=True,
            text=True,
        )
        if ended.returncode:
            print(f"{stack.name}, {platform}: {ended.stderr.strip().splitlines()[-1].strip()}", file=sys.stderr)
            return None
        return stacks.header(stack, platform) + output.read_text("utf-8")


def environment(platform: str) -> dict[str, str]:
    """Return the variables that make uv look where pip looks.

    Folders of wheels are for this machine's platform: a `+cpu` wheel for Linux in one of them would hide the plain
    wheels of other platforms, since its version counts as newer.
    """
    system = Live()
    found = pip_configuration.uv_variables(pip_configuration.read(system), system)
    # Limits are this machine's; a lock is everybody's.
    found.pop("UV_CONSTRAINT", None)
    if not platform.startswith("linux"):
        found.pop("UV_FIND_LINKS", None)
    # torch's wheels for macOS need 14 (table torch, tags of 2.13.0).
    return {**system.variables(), **found, "UV_HTTP_RETRIES": "0", "MACOSX_DEPLOYMENT_TARGET": "14.0"}


def lock(names: list[str]) -> int:
    """Write the locks that are missing or stale."""
    for stack in stacks.read(ENVIRONMENTS):
        if names and stack.name not in names:
            continue
        there = {found.platform: found for found in stack.locks}
        for platform in stack.platforms:
            if platform in there and there[platform].inputs == stack.inputs:
                continue
            text = solve(stack, platform)
            if text is not None:
                path = ENVIRONMENTS / stack.name / f"lock.{platform}.txt"
                path.write_text(text, "utf-8")
                print(f"{stack.name}, {platform}: {path.name}")
    return 0


def check() -> int:
    """Say which locks are stale, and which are missing."""
    found = stacks.read(ENVIRONMENTS)
    for stack in found:
        missing = set(stack.platforms) - {one.platform for one in stack.locks}
        if missing:
            print(f"{stack.name}: no lock for {', '.join(sorted(missing))}")
    stale = [str(one.path) for stack in found for one in stacks.stale(stack)]
    for path in stale:
        print(f"{path} is stale: python tools/lock_environments.py", file=sys.stderr)
    return 1 if stale else 0


def main() -> int:
    """Lock, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where a lock is stale")
    parser.add_argument("stack", nargs="*")
    given = parser.parse_args()
    return check() if given.check else lock(given.stack)


if __name__ == "__main__":
    sys.exit(main())
