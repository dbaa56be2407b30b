"""Stands in for docker: keeps names of images in a file, and fails as the file `fault` beside it says.

FAKE_DOCKER/images.json   name → id and labels
FAKE_DOCKER/asked         one line a call
FAKE_DOCKER/fault         `down`, `forbidden`, `build`, `disk`, `base`, `slow`, `slow run`, `crash`, `gpu`
"""

from __future__ import annotations

import json
import os
import pathlib
import sys
import time

FOLDER = pathlib.Path(os.environ["FAKE_DOCKER"])
ARGUMENTS = sys.argv[1:]


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def end(text: str, code: int = 1) -> None:
    sys.stderr.write(f"{text}\n")
    sys.exit(code)


def images() -> dict[str, dict[str, object]]:
    path = FOLDER / "images.json"
    return json.loads(path.read_text()) if path.exists() else {}


def keep(found: dict[str, dict[str, object]]) -> None:
    (FOLDER / "images.json").write_text(json.dumps(found))


def option(name: str) -> str:
    return ARGUMENTS[ARGUMENTS.index(name) + 1]


def build(fault: str) -> None:
    say("#1 [internal] load build definition from Dockerfile")
    if fault == "base":
        end(
            "ERROR: failed to solve: nowhere.example/python:3.11: failed to resolve source metadata for "
            "nowhere.example/python:3.11: failed to do request: dial tcp: lookup nowhere.example: no such host"
        )
    say("#9 [stack 1/1] RUN sh /tmp/install-stack.sh")
    say("#9 1.234 Collecting torch==2.13.0+cpu")
    if fault == "slow":
        time.sleep(60)
    if fault == "build":
        say("#9 2.345 ERROR: No matching distribution found for filelock==3.20.0")
        end('ERROR: failed to solve: process "/bin/sh -eu -c sh /tmp/install-stack.sh" did not complete: exit code: 1')
    if fault == "disk":
        end("ERROR: failed to solve: write /var/lib/docker/overlay2/x: no space left on device")
    label = dict(item.split("=", 1) for item in [option("--label")])
    found = images()
    found[option("--tag")] = {"id": str(time.monotonic_ns()), "labels": label}
    keep(found)


def run(fault: str) -> None:
    if fault == "gpu":
        end('docker: Error response from daemon: could not select device driver "" with capabilities: [[gpu]].', 125)
    if fault == "crash":
        end("Segmentation fault (core dumped)", 139)
    if fault == "slow run":
        say("envcheck: requirements hold")
        time.sleep(60)
    say("envcheck: requirements hold")
    if "smoke" in ARGUMENTS:
        result = {
            "framework": "torch",
            "status": "passed",
            "settings": {},
            "framework_version": "2.13.0+cpu",
            "device_used": "cpu",
            "test_accuracy": 0.97,
            "samples_per_second": 2000.0,
        }
        say(json.dumps({"results": [result]}, indent=2))
    else:
        say(json.dumps({"version": "2.13.0+cpu"}))


def main() -> None:
    with (FOLDER / "asked").open("a") as file:
        file.write(" ".join(ARGUMENTS) + "\n")
    fault = (FOLDER / "fault").read_text() if (FOLDER / "fault").exists() else ""
    if fault == "down":
        end("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
    if fault == "forbidden":
        end("permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock")
    kind = " ".join(ARGUMENTS[: 2 if ARGUMENTS[0] == "image" else 1])
    {
        "build": build,
        "run": run,
        "image inspect": inspect,
        "image rm": remove,
        "tag": tag,
        "version": version,
        "rm": lambda _: None,
    }[kind](fault)


def inspect(_: str) -> None:
    found = images()
    if ARGUMENTS[-1] not in found:
        end(f"Error response from daemon: No such image: {ARGUMENTS[-1]}")
    say(next(iter(found[ARGUMENTS[-1]]["labels"].values()), "<no value>"))


def remove(_: str) -> None:
    found = images()
    if found.pop(ARGUMENTS[2], None) is None:
        end(f"Error response from daemon: No such image: {ARGUMENTS[2]}")
    keep(found)


def tag(_: str) -> None:
    found = images()
    if ARGUMENTS[1] not in found:
        end(f"Error response from daemon: No such image: {ARGUMENTS[1]}")
    found[ARGUMENTS[2]] = found[ARGUMENTS[1]]
    keep(found)


def version(_: str) -> None:
    say("28.2.2")


main()
