"""A conda channel in a folder, with a Python that is the one running the tests, and pip."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path

from pythons import pip_wheel

SERIES = f"{sys.version_info[0]}.{sys.version_info[1]}"
VERSION = ".".join(map(str, sys.version_info[:3]))


def channel(folder: Path) -> Path:
    """Fill a folder with a channel and return it."""
    base = Path(sys.base_prefix) / "bin" / f"python{SERIES}"
    # The prefix becomes an environment of the Python that runs the tests: a real one would weigh 30 MB.
    configuration = f"home = {base.parent}\ninclude-system-site-packages = false\nversion = {VERSION}\n"
    python = {"pyvenv.cfg": configuration.encode(), f"lib/python{SERIES}/site-packages/README.txt": b"packages\n"}
    links = {"bin/python": str(base), "bin/python3": "python", f"bin/python{SERIES}": "python"}
    bundled = pip_wheel()
    with zipfile.ZipFile(bundled) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        pip = {f"lib/python{SERIES}/site-packages/{name}": archive.read(name) for name in names}
    packages = [
        package("python", VERSION, python, links, []),
        package("pip", bundled.name.split("-")[1], pip, {}, ["python"]),
    ]
    subfolder = folder / "linux-64"
    subfolder.mkdir(parents=True)
    (folder / "noarch").mkdir()
    index = {}
    for name, data, record in packages:
        (subfolder / name).write_bytes(data)
        index[name] = {
            **record,
            "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            "sha256": hashlib.sha256(data).hexdigest(),
            "size": len(data),
        }
    for subdir, content in (("linux-64", index), ("noarch", {})):
        repodata = {"info": {"subdir": subdir}, "packages": content, "packages.conda": {}, "repodata_version": 1}
        (folder / subdir / "repodata.json").write_text(json.dumps(repodata))
    return folder


def package(
    name: str, version: str, files: dict[str, bytes], links: dict[str, str], depends: list[str]
) -> tuple[str, bytes, dict[str, object]]:
    """Return a package's file name, its bytes and its record."""
    record = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": depends,
        "subdir": "linux-64",
        "arch": "x86_64",
        "platform": "linux",
    }
    paths = [
        {"_path": path, "path_type": "hardlink", "sha256": hashlib.sha256(data).hexdigest(), "size_in_bytes": len(data)}
        for path, data in files.items()
    ]
    paths += [{"_path": path, "path_type": "softlink", "sha256": "", "size_in_bytes": 0} for path in links]
    information = {
        "info/index.json": json.dumps(record).encode(),
        "info/files": "".join(f"{path}\n" for path in (*files, *links)).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:bz2", compresslevel=1) as archive:
        for path, data in {**information, **files}.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
        for path, target in links.items():
            entry = tarfile.TarInfo(path)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return f"{name}-{version}-0.tar.bz2", buffer.getvalue(), record
