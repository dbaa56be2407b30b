"""Compare the compatibility tables with the package metadata of today, through pip and its configured index.

    python tools/refresh_tables.py            print what has changed
    python tools/refresh_tables.py --wheels   look also at which Python and platform has a wheel (about two minutes)
    python tools/refresh_tables.py --write    apply what metadata alone can tell, then compile the tables
    python tools/refresh_tables.py keras      look at this table alone (torch, tensorflow, keras, cudnn)

Metadata tells versions, wheels and requirements. It does not tell which cards a new release of torch or TensorFlow
has code for, or how a new cuDNN behaves: such releases are named, and their rows are for people to write.

Exit status: 0 nothing has changed, or all was written; 3 something has changed; 1 the index cannot be asked.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomllib
from compile_tables import TABLES, compiled
from packaging.version import Version

PYTHON = "3.12"
"""A Python for which all current releases of the packages below have wheels."""

PYTHONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15")

PLATFORM_TAGS = {
    "linux_x86_64": ("manylinux1_x86_64", "manylinux2014_x86_64", "manylinux_2_27_x86_64", "manylinux_2_28_x86_64"),
    "linux_aarch64": ("manylinux2014_aarch64", "manylinux_2_27_aarch64", "manylinux_2_28_aarch64"),
    "windows_x86_64": ("win_amd64",),
    "macos_arm64": ("macosx_11_0_arm64", "macosx_11_1_arm64", "macosx_12_0_arm64", "macosx_14_0_arm64"),
    "macos_x86_64": ("macosx_10_9_x86_64", "macosx_10_15_x86_64"),
}

REFRESHED = ("torch", "tensorflow", "keras", "cudnn")

CHANGED = 3


class IndexUnreachableError(Exception):
    """pip could not ask its index; the text is pip's own last line."""


@dataclass(frozen=True)
class Difference:
    """One thing that metadata and a table do not agree on, and the change that would mend it."""

    table: str
    text: str
    part: str = ""
    """Array of tables that holds the row; empty where a person has to write."""
    row: tuple[str, str] = ("", "")
    """Key and value that name the row."""
    values: tuple[tuple[str, Any], ...] = ()
    """Keys to set; on a row that is not there yet, the whole row."""


def published(package: str, python: str = PYTHON, platform: str = "linux_x86_64") -> set[str]:
    """Return the final releases of a package that have a wheel for a Python and a platform.

    Raises:
        IndexUnreachableError: pip found nothing at all.
    """
    asked = ["index", "versions", package, "--python-version", python, "--only-binary", ":all:"]
    tags = [word for tag in PLATFORM_TAGS[platform] for word in ("--platform", tag)]
    answer = _pip([*asked, *tags])
    match = re.search(r"^Available versions: (.*)$", answer.stdout, re.MULTILINE)
    if match is None:
        raise IndexUnreachableError(_last_line(answer.stderr))
    versions = [Version(text) for text in match[1].split(", ")]
    return {str(version) for version in versions if not version.is_prerelease and not version.local}


def metadata(package: str, version: str) -> dict[str, Any]:
    """Return the metadata of a release as pip reports it: requires_python, requires_dist and others.

    Raises:
        IndexUnreachableError: pip did not find the release.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        what = ["--dry-run", "--no-deps", "--ignore-installed", "--only-binary", ":all:", "--report", str(report)]
        where = ["--python-version", PYTHON, "--target", str(Path(folder) / "target")]
        answer = _pip(["install", "--quiet", *what, *where, f"{package}=={version}"])
        if answer.returncode:
            raise IndexUnreachableError(_last_line(answer.stderr))
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))["install"][0]["metadata"]
        return found


def _pip(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "pip said nothing"


def new_releases(package: str, table: str, rows: list[dict[str, Any]]) -> list[Difference]:
    """Return the releases of a framework that the table does not have; a person has to write their rows."""
    known = {Version(row["version"]) for row in rows}
    missing = sorted({Version(text) for text in published(package)} - known)
    return [
        Difference(table, f"{package} {version} has no row: read its wheels, then write one") for version in missing
    ]


def keras_releases(rows: list[dict[str, Any]]) -> list[Difference]:
    """Return the releases of Keras 3 that the table does not have, each with the row that metadata gives."""
    known = {Version(row["version"]) for row in rows}
    missing = sorted(version for text in published("keras") if (version := Version(text)) not in known)
    found = []
    for version in missing:
        if version < min(known):
            continue
        data = metadata("keras", str(version))
        required = [text for text in data.get("requires_dist", []) if "extra ==" not in text]
        values = {
            "version": str(version),
            "requires_python": data.get("requires_python", ""),
            "requires": required,
            "source": "package metadata of keras",
        }
        text = f"keras {version} has no row"
        found.append(Difference("keras", text, "release", ("version", str(version)), tuple(values.items())))
    return found


def companions_of_tensorflow(rows: list[dict[str, Any]]) -> list[Difference]:
    """Return where tensorflow-text or tf-keras has a newer release of a series than the table says."""
    found = []
    for package, key in (("tensorflow-text", "tensorflow_text"), ("tf-keras", "tf_keras")):
        newest: dict[str, Version] = {}
        for text in published(package):
            version = Version(text)
            series = f"{version.major}.{version.minor}"
            newest[series] = max(newest.get(series, version), version)
        for row in rows:
            there = newest.get(row["series"])
            if there is not None and there > Version(row.get(key, "0")):
                text = f"tensorflow {row['version']}: {key} is {there}, the table says {row.get(key)}"
                change = ((key, str(there)),)
                found.append(Difference("tensorflow", text, "release", ("version", row["version"]), change))
    return found


def cudnn_wheels(rows: list[dict[str, Any]]) -> list[Difference]:
    """Return where cuDNN wheels are published that the table does not list."""
    found = []
    for row in rows:
        missing = {Version(text) for text in published(row["package"])} - {Version(text) for text in row["versions"]}
        if missing:
            versions = sorted({*missing, *map(Version, row["versions"])})
            text = f"{row['package']}: {', '.join(map(str, sorted(missing)))} not listed"
            change = (("versions", [str(version) for version in versions]), ("last", str(versions[-1])))
            found.append(Difference("cudnn", text, "published", ("package", row["package"]), change))
    return found


def wheels(package: str, table: str, rows: list[dict[str, Any]]) -> list[Difference]:
    """Return where a release has wheels for other Pythons than the table says, platform by platform."""
    found = []
    for platform in PLATFORM_TAGS:
        key = f"python_{platform}"
        by_python = {python: _published_or_none(package, python, platform) for python in PYTHONS}
        for row in rows:
            # Pythons that are not asked for (older ones, and free-threaded builds) keep what the table says.
            kept = [python for python in row.get(key, []) if python not in PYTHONS]
            seen = [python for python in PYTHONS if str(Version(row["version"])) in by_python[python]]
            pythons = sorted([*kept, *seen], key=lambda text: (Version(text.rstrip("t")), text))
            if pythons != row.get(key, []):
                text = f"{package} {row['version']}: {key} is {pythons}, the table says {row.get(key, [])}"
                found.append(Difference(table, text, "release", ("version", row["version"]), ((key, pythons),)))
    return found


def _published_or_none(package: str, python: str, platform: str) -> set[str]:
    try:
        return published(package, python, platform)
    except IndexUnreachableError:
        # The index answered before, so there is no wheel for this pair.
        return set()


def applied(text: str, difference: Difference) -> str:
    """Return a table's TOML text with a difference written into it; comments and other rows stay as they are."""
    head = f"[[{difference.part}]]\n"
    blocks = re.split(r"(?m)^(?=\[\[)", text)
    name = f'{difference.row[0]} = "{difference.row[1]}"\n'
    for number, block in enumerate(blocks):
        if block.startswith(head) and name in block:
            blocks[number] = _with_values(block, difference.values)
            return "".join(blocks)
    last = max(number for number, block in enumerate(blocks) if block.startswith(head))
    row = head + "".join(f"{key} = {_toml(value)}\n" for key, value in difference.values) + "\n"
    separated = blocks[last] if blocks[last].endswith("\n\n") else blocks[last] + "\n"
    return "".join([*blocks[:last], separated, row, *blocks[last + 1 :]])


def _with_values(block: str, values: tuple[tuple[str, Any], ...]) -> str:
    for key, value in values:
        line = f"{key} = {_toml(value)}"
        lines = block.splitlines()
        at = next((n for n, text in enumerate(lines) if text.startswith(f"{key} = ")), None)
        if at is None:
            lines.insert(next(n for n, text in enumerate(lines) if text.startswith("source = ")), line)
        else:
            lines[at] = line
        block = "\n".join(lines) + block[len(block.rstrip("\n")) :]
    return block


def _toml(value: Any) -> str:  # noqa: ANN401 - text, or a list of texts
    # A JSON string or list of strings is the same in TOML.
    return json.dumps(value, ensure_ascii=False)


def differences(tables: Path, names: list[str], *, with_wheels: bool) -> list[Difference]:
    """Return everything on which metadata and the tables do not agree.

    Raises:
        IndexUnreachableError: pip cannot ask its index.
    """
    content = {name: tomllib.loads((tables / f"{name}.toml").read_text(encoding="utf-8")) for name in names}
    found = []
    for framework in ("torch", "tensorflow"):
        if framework in names:
            rows = content[framework]["release"]
            found += new_releases(framework, framework, rows)
            found += wheels(framework, framework, rows) if with_wheels else []
    if "tensorflow" in names:
        found += companions_of_tensorflow(content["tensorflow"]["release"])
    if "keras" in names:
        found += keras_releases(content["keras"]["release"])
    if "cudnn" in names:
        found += cudnn_wheels(content["cudnn"]["published"])
    return found


def main(arguments: list[str]) -> int:
    """Print the differences; with --write apply those that need no person."""
    parser = argparse.ArgumentParser(description="Compare the compatibility tables with today's package metadata.")
    parser.add_argument("names", nargs="*", metavar="TABLE", help=f"the tables to look at: {', '.join(REFRESHED)}")
    parser.add_argument("--write", action="store_true", help="apply what metadata alone can tell")
    parser.add_argument("--wheels", action="store_true", help="compare the wheels of every release too")
    parser.add_argument("--tables", type=Path, default=TABLES, help="folder of the tables")
    options = parser.parse_args(arguments)
    names = options.names or list(REFRESHED)
    if unknown := sorted(set(names) - set(REFRESHED)):
        parser.error(f"metadata tells nothing of {', '.join(unknown)}")
    try:
        found = differences(options.tables, names, with_wheels=options.wheels)
    except IndexUnreachableError as error:
        print(f"pip cannot ask its package index: {error}")
        return 1
    for difference in found:
        print(f"{difference.table}: {difference.text}")
    if not found:
        print("The tables are as current as package metadata can tell.")
    left = [difference for difference in found if not (options.write and difference.part)]
    if options.write:
        for difference in found:
            if difference.part:
                path = options.tables / f"{difference.table}.toml"
                path.write_text(applied(path.read_text(encoding="utf-8"), difference), encoding="utf-8")
                path.with_suffix(".json").write_text(compiled(path.read_text(encoding="utf-8")), encoding="utf-8")
    return CHANGED if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
