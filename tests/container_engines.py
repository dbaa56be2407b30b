"""A Docker daemon of the tests' own, and what is built and run with it."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence

from envcheck.install import pip_configuration
from envcheck.system import Live

ROOT = pathlib.Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "containers"
BASE = "envcheck-base:bookworm"

START_SECONDS = 60


class Docker:
    """A daemon, by its socket."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.host = f"unix://{folder}/docker.sock"
        # Debian's client builds with BuildKit by itself; later ones need a plug-in that Debian 12 does not have.
        self.client = "/usr/bin/docker" if pathlib.Path("/usr/bin/docker").exists() else "docker"

    @property
    def variables(self) -> dict[str, str]:
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_BUILDKIT": "1"}

    def run(
        self, *args: str, stdin: pathlib.Path | None = None, timeout: float = 120, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run the client; on failure with `check`, show what it printed."""
        with pathlib.Path(stdin or os.devnull).open("rb") as file:
            done = subprocess.run(
                [self.client, *args],
                env=self.variables,
                stdin=file,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        if check:
            assert done.returncode == 0, f"docker {' '.join(args)}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return done

    def envcheck(self, *args: str, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run envcheck on the host, as a user of this daemon."""
        env = {name: value for name, value in self.variables.items() if name != "VIRTUAL_ENV"}
        return subprocess.run(
            [sys.executable, "-m", "envcheck", *args],
            env={**env, "PYTHONPATH": str(ROOT), **variables},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def load(self, tag: str, archive: pathlib.Path, *options: str) -> str:
        """Make an image of an archive of a root folder."""
        self.run("import", *options, "-", tag, stdin=archive, check=True)
        return tag


KEPT_DATA = "ENVCHECK_TEST_DOCKER_DATA"
"""Variable with a folder for a daemon's data that is kept from run to run, for whoever works on these tests."""


@contextlib.contextmanager
def daemon(variables: Mapping[str, str] | None = None, *, kept: bool = False) -> Iterator[Docker]:
    """Start a daemon with data, socket and state in a folder of its own; take everything away at the end."""
    # Data of overlay file systems cannot lie on the tmpfs that /tmp may be.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="envcheck-docker-", dir="/var/tmp"))
    docker = Docker(folder)
    data = os.environ.get(KEPT_DATA) if kept else None
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "/usr/sbin/dockerd",
                *(
                    "--host",
                    docker.host,
                    "--data-root",
                    data or str(folder / "data"),
                    "--exec-root",
                    str(folder / "state"),
                ),
                *("--pidfile", str(folder / "pid"), "--exec-opt", "native.cgroupdriver=cgroupfs"),
                # Nothing of this machine's network is touched: containers get the host's or none.
                *("--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false"),
            ],
            env={**os.environ, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        until = time.monotonic() + START_SECONDS
        while docker.run("info").returncode != 0:
            if process.poll() is not None or time.monotonic() > until:
                raise StartError((folder / "log").read_text(errors="replace")[-2000:])
            time.sleep(0.2)
        yield docker
    finally:
        if process.poll() is None:
            left = docker.run("ps", "-aq").stdout.split()
            if left:
                docker.run("rm", "--force", *left)
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        _remove(folder)


def network() -> dict[str, object]:
    """Return what of this machine's network an engine might change: its interfaces, and whether it forwards."""
    forwards = (pathlib.Path("/proc/sys/net", name) for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"))
    return {
        "interfaces": sorted(path.name for path in pathlib.Path("/sys/class/net").iterdir()),
        **{str(path): path.read_text().strip() for path in forwards if path.exists()},
    }


class StartError(Exception):
    """The daemon could not be started; the text is the end of its log."""


def _remove(folder: pathlib.Path) -> None:
    """Remove a folder in which things may still be mounted."""
    mounted = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
    for point in sorted((point for point in mounted if point.startswith(str(folder))), reverse=True):
        subprocess.run(["/bin/umount", "--lazy", point], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


class Podman:
    """Podman, run by a user of the tests' own who is not root."""

    USER = "envcheck-test"

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder

        self.client = folder / "programs" / "podman"
        self.client.parent.mkdir()
        self.client.write_text(
            f"#!/bin/sh\ncd {folder} && exec env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin HOME={folder} "
            f"XDG_RUNTIME_DIR={folder} CONTAINERS_CONF={folder}/containers.conf /usr/sbin/runuser -u {self.USER} -- "
            f'/usr/bin/podman --root {folder}/storage --runroot {folder}/state "$@"\n'
        )
        self.client.chmod(0o755)

    def run(self, *args: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run it; on failure with `check`, show what it printed."""
        done = subprocess.run(
            [str(self.client), *args],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check:
            assert done.returncode == 0, f"podman {' '.join(args)}\n{done.stderr[-3000:]}"
        return done


@contextlib.contextmanager
def podman() -> Iterator[Podman]:
    """Make the user and a folder for Podman's storage; take both away at the end."""
    if subprocess.run(["/usr/bin/id", Podman.USER], capture_output=True, check=False).returncode:
        subprocess.run(["/usr/sbin/useradd", "--create-home", Podman.USER], check=True)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="envcheck-podman-", dir="/var/tmp"))
    # runc, for crun refuses a kernel with both versions of control groups; limits, for root may be confined.
    (folder / "containers.conf").write_text(
        '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\nnetns = "none"\n'
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\n'
    )
    started = Podman(folder)
    shutil.chown(folder, Podman.USER, Podman.USER)
    try:
        yield started
    finally:
        started.run("system", "reset", "--force")
        _remove(folder)
        subprocess.run(["/usr/sbin/userdel", "--remove", Podman.USER], capture_output=True, check=False)


def base_archive() -> pathlib.Path:
    """Return the root folder of Debian 12 with Python, made from Debian's packages once, as an archive."""
    archive = CACHE / "bookworm.tar"
    if not archive.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            root = pathlib.Path(folder, "root")
            include = "--include=python3,python3-venv,ca-certificates"
            _shown(["/usr/sbin/debootstrap", "--variant=minbase", include, "bookworm", str(root)])
            for path in [*(root / "var/cache/apt/archives").glob("*.deb"), *(root / "var/lib/apt/lists").glob("*_*")]:
                path.unlink()
            unfinished = archive.with_suffix(".part")
            _shown(["/bin/tar", "--create", "--file", str(unfinished), "--directory", str(root), "."])
            unfinished.rename(archive)
    return archive


def _shown(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def busybox_archive(folder: pathlib.Path) -> pathlib.Path:
    """Return a root folder that has a shell and no Python, as an archive."""
    programs = folder / "busybox" / "bin"
    programs.mkdir(parents=True)
    shutil.copy("/bin/busybox", programs / "busybox")
    names = subprocess.run(["/bin/busybox", "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in names:
        if name != "busybox":
            (programs / name).symlink_to("busybox")
    return _packed(folder / "busybox")


def bare_archive(folder: pathlib.Path) -> pathlib.Path:
    """Return a root folder that holds one program and neither a shell nor Python, as an archive."""
    root = folder / "bare"
    root.mkdir()
    source = folder / "wait.c"
    source.write_text("#include <unistd.h>\nint main(void) { pause(); return 0; }\n")
    _shown(["/usr/bin/gcc", "-static", "-o", str(root / "wait"), str(source)])
    return _packed(root)


def _packed(root: pathlib.Path) -> pathlib.Path:
    archive = root.with_suffix(".tar")
    _shown(["/bin/tar", "--create", "--file", str(archive), "--directory", str(root), "."])
    return archive


def context(folder: pathlib.Path) -> pathlib.Path:
    """Return the project as a build's context, with the wheels that the user's pip finds in folders."""
    target = folder / "context"
    if not target.exists():
        target.mkdir()
        for name in ("envcheck", "environments", "docker"):
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, target)
        for place in pip_configuration.local_folders(pip_configuration.read(Live())):
            for wheel in pathlib.Path(place).glob("*.whl"):
                shutil.copy(wheel, target / "docker" / "wheelhouse")
    return target


def build(
    docker: Docker,
    folder: pathlib.Path,
    tag: str,
    stack: str,
    target: str,
    *options: str,
    pip: Mapping[str, str] | None = None,
) -> str:
    """Build an image of a stack on the base that the tests have made, as a user behind a mirror does.

    Args:
        docker: the daemon.
        folder: where the build's context and secrets are put.
        tag: name of the image.
        stack: a folder of environments/.
        target: of the Dockerfile.
        options: further options of `docker build`.
        pip: further settings of pip, given as the build secret.
    """
    configured = pip_configuration.read(Live())
    secrets = []
    if configured.cert:
        secrets += ["--secret", f"id=ca-certificates,src={configured.cert}"]
    lines = {"index-url": configured.index_url, "proxy": configured.proxy, **(pip or {})}
    if any(lines.values()):
        settings = folder / "pip.conf"
        settings.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items() if value))
        secrets += ["--secret", f"id=pip.conf,src={settings}"]
    docker.run(
        *("build", "--network", "host", "--file", "docker/Dockerfile", "--target", target, "--tag", tag),
        *("--build-arg", f"BASE_IMAGE={BASE}", "--build-arg", f"STACK={stack}", "--build-arg", "VERSION=1.2.3"),
        *secrets,
        *options,
        str(context(folder)),
        timeout=900,
        check=True,
    )
    return tag


def held(docker: Docker, image: str, words: Sequence[bytes]) -> set[bytes]:
    """Return which of some words stand anywhere in an image as `docker save` gives it: layers, history, settings."""
    found: set[bytes] = set()
    longest = max(len(word) for word in words)
    with (
        subprocess.Popen([docker.client, "save", image], env=docker.variables, stdout=subprocess.PIPE) as process,
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            file = archive.extractfile(member)
            before = b""
            unpack = None
            while file and (chunk := file.read(1 << 20)):
                if not before and chunk.startswith(b"\x1f\x8b"):
                    # Later daemons keep layers as they came, compressed.
                    unpack = zlib.decompressobj(wbits=31)
                window = before + (unpack.decompress(chunk) if unpack else chunk)
                found |= {word for word in words if word in window}
                before = window[-longest:]
    assert process.returncode == 0
    return found
