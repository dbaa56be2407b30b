"""A real JupyterLab on the loopback interface and a real Chromium that shows it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

READY_SECONDS = 90
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1800",
    "--force-device-scale-factor=1",
)

CSS = "css selector"

EXECUTE = """
const [name, settings, done] = arguments;
window.jupyterapp.commands.execute(name, settings).then(() => done(), problem => done(String(problem)));
"""

CONNECTED = """
const context = window.jupyterapp?.shell?.currentWidget?.context;
const kernel = context?.path === arguments[0] ? context.sessionContext.session?.kernel : null;
return Boolean(kernel && kernel.connectionStatus === 'connected' && kernel.status === 'idle');
"""


class Lab:
    """A running server."""

    def __init__(self, folder: pathlib.Path, port: int, token: str) -> None:
        self.folder = folder
        self.port = port
        self.token = token

    def page_of(self, notebook: str) -> str:
        return f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?token={self.token}"


def settings(folder: pathlib.Path) -> None:
    """Write what a user would have answered by now: no news, and the kernel that the notebook names."""
    for extension, plugin, said in (
        ("apputils-extension", "notification", {"fetchNews": "false", "checkForUpdates": False}),
        ("notebook-extension", "tracker", {"autoStartDefaultKernel": True}),
    ):
        place = folder / "@jupyterlab" / extension
        place.mkdir(parents=True)
        (place / f"{plugin}.jupyterlab-settings").write_text(json.dumps(said))


def write_notebook(path: pathlib.Path, cells: list[str]) -> None:
    """Write a notebook of code cells that nobody has run."""
    described = [
        {"cell_type": "code", "id": f"cell-{n}", "metadata": {}, "execution_count": None, "outputs": [], "source": cell}
        for n, cell in enumerate(cells)
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    path.write_text(json.dumps({"cells": described, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))


@contextlib.contextmanager
def started(folder: pathlib.Path, variables: dict[str, str]) -> Iterator[Lab]:
    """Start JupyterLab in a folder; end it with every kernel."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    settings(folder / "settings")
    work = folder / "work"
    work.mkdir()
    argv = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"),
        *(f"--ServerApp.port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"),
        *(f"--ServerApp.root_dir={work}", "--LabApp.expose_app_in_browser=True", "--LabApp.news_url="),
    ]
    own = {
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
        "JUPYTER_RUNTIME_DIR": str(folder / "runtime"),
    }
    with (
        (folder / "lab.log").open("w") as log,
        subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **own, **variables},
            cwd=work,
            start_new_session=True,
        ) as process,
    ):
        lab = Lab(work, port, token)
        try:
            until(lambda: process.poll() is not None or answers(lab), READY_SECONDS, "JupyterLab answers")
            assert process.poll() is None, (folder / "lab.log").read_text()
            yield lab
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def answers(lab: Lab) -> bool:
    try:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", lab.port, timeout=2)) as connection:
            connection.request("GET", f"/api/status?token={lab.token}")
            return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False


def until(holds: Callable[[], Any], seconds: float, what: str) -> Any:
    """Wait until something holds and return what it is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Browser:
    """Chromium, driven as a user would."""

    def __init__(self, profile: pathlib.Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = str(shutil.which("chromium"))
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=str(shutil.which("chromedriver")))
        self.driver = webdriver.Chrome(options=options, service=service)
        self.driver.set_script_timeout(60)

    def open(self, lab: Lab, notebook: str) -> None:
        """Open a notebook and wait until its kernel is idle."""
        self.driver.get(lab.page_of(notebook))
        until(lambda: self.all(".jp-Notebook .jp-Cell"), READY_SECONDS, "the notebook is shown")
        until(lambda: self.driver.execute_script(CONNECTED, notebook), READY_SECONDS, "the kernel is idle")

    def run_all(self) -> None:
        """Begin to run every cell."""
        self.driver.execute_script("window.jupyterapp.commands.execute('notebook:run-all-cells')")

    def command(self, name: str, **arguments: Any) -> None:
        """Carry out one of JupyterLab's commands, as its menus do."""
        problem = self.driver.execute_async_script(EXECUTE, name, arguments)
        assert problem is None, problem

    def theme(self, name: str) -> None:
        self.command("apputils:change-theme", theme=name)
        light = "true" if "Light" in name else "false"
        until(lambda: self.all(f'body[data-jp-theme-light="{light}"]'), 30, f"the theme {name}")
        time.sleep(0.5)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(CSS, selector)

    def report(self, cell: int, seconds: float = 120) -> Any:
        """Wait for the report below a cell and return it."""
        selector = f'.jp-Notebook .jp-Cell[data-windowed-list-index="{cell}"] .envcheck'
        return until(lambda: (self.all(selector) or [None])[0], seconds, f"a report below cell {cell}")

    def picture(self, element: Any, path: pathlib.Path) -> None:
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", element)
        time.sleep(0.3)
        element.screenshot(str(path))

    def close(self) -> None:
        self.driver.quit()
