"""A package index on 127.0.0.1 with tiny made-up wheels, and every fault that an index can have."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import io
import ssl
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path


def wheel(
    name: str,
    version: str,
    *,
    requires: tuple[str, ...] = (),
    tag: str = "py3-none-any",
    content: str = "",
    size: int = 0,
    requires_python: str = "",
) -> tuple[str, bytes]:
    """Return a wheel's file name and bytes; its one module has the distribution's name and its version."""
    module = name.replace("-", "_")
    source = content or f"__version__ = {version!r}\n"
    info = f"{module}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    metadata += f"Requires-Python: {requires_python}\n" if requires_python else ""
    files = {
        f"{module}/__init__.py": source.encode(),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    if size:
        # Not compressible: the wheel's size on disk is its size.
        files[f"{module}/data.bin"] = hashlib.shake_128(name.encode()).digest(size)
    record = "".join(f"{path},sha256={_digest(data)},{len(data)}\n" for path, data in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return f"{module}-{version}-{tag}.whl", buffer.getvalue()


def sdist(name: str, version: str, setup: str) -> tuple[str, bytes]:
    """Return a source distribution whose setup.py is given."""
    import tarfile

    buffer = io.BytesIO()
    stem = f"{name.replace('-', '_')}-{version}"
    files = {
        "PKG-INFO": f"Metadata-Version: 1.0\nName: {name}\nVersion: {version}\n",
        "setup.py": setup,
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": setup,
    }
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(f"{stem}/{path}")
            entry.size = len(text.encode())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return f"{stem}.tar.gz", buffer.getvalue()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


class Index:
    """What the server offers, how it misbehaves, and what it was asked."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, bytes] = {}
        self.fault = ""
        self.asked: list[str] = []
        self.authorizations: list[str] = []

    def add(self, *wheels: tuple[str, bytes]) -> None:
        self.files |= dict(wheels)

    @property
    def pytorch(self) -> str:
        """What stands in for PyTorch's own index."""
        return f"{self.address}/whl"

    @property
    def url(self) -> str:
        return f"{self.address}/simple/"

    def page(self, project: str) -> bytes | None:
        found = [name for name in self.files if name.split("-")[0].replace("_", "-").lower() == project]
        if not found:
            return None
        digests = {name: hashlib.sha256(self.files[name]).hexdigest() for name in found}
        if self.fault == "wrong hash":
            digests = dict.fromkeys(digests, "0" * 64)
        links = "".join(f'<a href="/files/{name}#sha256={digests[name]}">{name}</a>' for name in found)
        return f"<!DOCTYPE html><html><body>{links}</body></html>".encode()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    index: Index

    def do_GET(self) -> None:
        index = self.index
        index.asked.append(self.path)
        index.authorizations.append(self.headers.get("Authorization", ""))
        _, kind, *rest = urllib.parse.unquote(self.path.split("?")[0]).split("/")
        name = rest[0] if rest else ""
        if index.fault.isdigit():
            self.answer(int(index.fault), b"no", "text/plain")
        elif index.fault == "garbage":
            self.answer(200, b"\x00\xff<<<not a page", "text/html")
        elif kind == "whl":
            # PyTorch's index has a folder for each kind of build, and pages in it.
            page = index.page(rest[1] if len(rest) > 1 else "")
            self.answer(404 if page is None else 200, page or b"", "text/html")
        elif kind == "simple":
            page = index.page(name)
            self.answer(404 if page is None else 200, page or b"", "text/html")
        elif kind == "files" and name in index.files:
            self.file(index.files[name])
        else:
            self.answer(404, b"", "text/plain")

    def file(self, data: bytes) -> None:
        if self.index.fault == "truncated":
            self.answer(200, data[: len(data) // 2], "application/octet-stream")
        elif self.index.fault == "slow":
            self.start(200, len(data), "application/octet-stream")
            with contextlib.suppress(OSError):
                for byte in data:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(0.2)
        else:
            self.answer(200, data, "application/octet-stream")

    def start(self, status: int, length: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def answer(self, status: int, data: bytes, kind: str) -> None:
        with contextlib.suppress(OSError):
            self.start(status, len(data), kind)
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.answer(405, b"", "text/plain")

    def do_CONNECT(self) -> None:
        self.index.asked.append(f"CONNECT {self.path}")
        self.answer(407, b"", "text/plain")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(certificate: Path | None = None) -> Iterator[Index]:
    """Serve an empty index; with a certificate, over TLS."""
    handler = type("Handler", (_Handler,), {})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    # A client that hangs up in the middle is what several tests are about.
    server.handle_error = lambda *_: None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    scheme = "http" if certificate is None else "https"
    index = Index(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    handler.index = index
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield index
    finally:
        server.shutdown()
        server.server_close()
