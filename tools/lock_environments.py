"""Lock the stacks of environments/ anew where their requirements have changed, or check that no lock is stale.

    python tools/lock_environments.py [--check] [STACK ...]

uv solves for each platform from this machine, with what the user's pip is configured with. Where PyTorch's own index
does not answer, tools/pytorch_index.toml stands in for it: what those wheels require, and their checksums. A stack
whose packages cannot be had from here keeps the locks that it has; `--check` fails on a lock that is stale, and lists
what has none.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

import msgspec
import tomllib

from envcheck import stacks
from envcheck.install import pip_configuration, uv
from envcheck.system import Live

ENVIRONMENTS = pathlib.Path(__file__).parent.parent / "environments"
RECORD = pathlib.Path(__file__).parent / "pytorch_index.toml"


class Wheel(msgspec.Struct, frozen=True):
    """A wheel that only PyTorch's own index has.

    Attributes:
        name: of the distribution.
        version: with its local part.
        requires: requirements on Linux (PEP 508).
        source: where the requirements come from; the head of the file says it of the checksums.
        checksums: SHA-256 of each file of that version, in hexadecimal digits.
    """

    name: str
    version: str
    requires: list[str]
    source: str
    checksums: list[str]

    @property
    def pin(self) -> str:
        """The requirement that only this wheel answers."""
        return f"{self.name}=={self.version}"


def recorded() -> list[Wheel]:
    """Return the wheels of tools/pytorch_index.toml."""
    return msgspec.convert(tomllib.loads(RECORD.read_text("utf-8"))["wheel"], list[Wheel])


def stand_in(wheel: Wheel, folder: pathlib.Path) -> None:
    """Write a wheel that holds nothing but what it requires, for the solver to read."""
    info = f"{wheel.name}-{wheel.version}.dist-info"
    head = ["Metadata-Version: 2.1", f"Name: {wheel.name}", f"Version: {wheel.version}"]
    files = {
        "METADATA": "\n".join(head + [f"Requires-Dist: {one}" for one in wheel.requires]) + "\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: envcheck\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{wheel.name}-{wheel.version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(f"{info}/{name}", text)


def with_checksums(text: str, wheels: list[Wheel]) -> str:
    """Return a lock in which the recorded wheels have all their checksums, instead of the stand-ins'."""
    for wheel in wheels:
        listed = "".join(f" \\\n    --hash=sha256:{checksum}" for checksum in sorted(wheel.checksums))
        block = re.compile(rf"^{re.escape(wheel.pin)}(?: \\\n    --hash=sha256:[0-9a-f]{{64}})+$", re.MULTILINE)
        text = block.sub(lambda _, pin=wheel.pin, listed=listed: pin + listed, text)
    return text


def solve(stack: stacks.Stack, platform: str) -> str | None:
    """Return the lock of a stack for a platform; None where it cannot be solved from here.

    As with environments/install.py, PyTorch's index is asked only where the configured places do not have a package.
    """
    if not stack.index:
        return solve_with(stack, platform, [])
    wheels = recorded()
    with tempfile.TemporaryDirectory() as folder:
        for wheel in wheels:
            stand_in(wheel, pathlib.Path(folder))
        ways = [[], ["--extra-index-url", stack.index]]
        if platform.startswith("linux"):
            ways.append(["--find-links", folder])
        text = next((found for extra in ways if (found := solve_with(stack, platform, extra))), None)
    return text and with_checksums(text, wheels)


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
