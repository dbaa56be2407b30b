"""Start a Jupyter kernel as a notebook would, ask it who it is, and end it.

Standard input holds one JSON object: `argv` (with `{connection_file}` where the kernel wants that path), `variables`
(to be set beside the present ones) and `seconds` (how long the kernel may take to answer).

The kernel is spoken to over ZeroMQ, whose wire protocol is spoken here with plain sockets: so a kernel of any language
can be asked, and nothing has to be installed for it.  Runs on Python 3.6 or later.

Sources: ZMTP 3.0 (RFC 23 of ZeroMQ: greeting, NULL mechanism, framing); "Messaging in Jupyter" in the documentation of
jupyter_client (wire protocol, connection files, kernel_info, execute with user_expressions, shutdown).

It says one object of kind `kernel`; its `state` is `answers`, `ended` (by itself, before it answered), `silent` (it
runs and does not answer) or `not-started` (there is no such program).
"""

import hashlib
import hmac
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid

import envcheck_channel as channel

OUTPUT_BYTES = 8192
"""Of what the kernel prints: the last so many."""

PAUSE_SECONDS = 0.05
"""Between two looks whether the kernel listens."""

GOODBYE_SECONDS = 3.0
"""How long a kernel may take to leave when it is asked to."""

ROLES = ("shell", "iopub", "stdin", "control", "hb")
DELIMITER = b"<IDS|MSG>"
MORE, LONG, COMMAND = 1, 2, 4

EXPRESSIONS = {
    "executable": "__import__('sys').executable",
    "prefix": "__import__('sys').prefix",
}
"""What a kernel of Python is asked about itself."""

EXPRESSIONS_SECONDS = 5.0
"""How long it may take to answer that: it has answered who it is, and so it works."""


class GoneError(Exception):
    """The other end has closed the connection."""


class Peer:
    """One connection to a socket of the kernel's, as ZeroMQ's DEALER socket makes it."""

    def __init__(self, port, until):
        """Connect and shake hands; an OSError or GoneError where nobody listens yet."""
        self.until = until
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=1)
        self.socket.sendall(b"\xff" + b"\0" * 7 + b"\x01\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32)
        greeting = self._take(64)
        if greeting[0:1] != b"\xff" or greeting[10] < 3:
            raise GoneError("it does not speak ZMTP 3")
        ready = b"\x05READY" + pair(b"Socket-Type", b"DEALER") + pair(b"Identity", b"")
        self.socket.sendall(bytes([COMMAND, len(ready)]) + ready)
        flags, body = self._frame()
        if not flags & COMMAND or not body.startswith(b"\x05READY"):
            raise GoneError("it refused the connection: %r" % body[:100])

    def _take(self, count):
        """Return so many bytes; wait until the deadline for them."""
        found = b""
        while len(found) < count:
            left = self.until - time.monotonic()
            if left <= 0:
                raise socket.timeout("no answer in time")
            self.socket.settimeout(left)
            piece = self.socket.recv(count - len(found))
            if not piece:
                raise GoneError("it closed the connection")
            found += piece
        return found

    def _frame(self):
        """Return the flags and the body of one frame."""
        flags = self._take(1)[0]
        length = struct.unpack(">Q", self._take(8))[0] if flags & LONG else self._take(1)[0]
        return flags, self._take(length)

    def send(self, frames):
        """Send one message."""
        data = b""
        for number, frame in enumerate(frames):
            more = MORE if number < len(frames) - 1 else 0
            if len(frame) > 255:
                data += bytes([more | LONG]) + struct.pack(">Q", len(frame)) + frame
            else:
                data += bytes([more, len(frame)]) + frame
        self.socket.sendall(data)

    def receive(self):
        """Return the frames of one message."""
        frames = []
        while True:
            flags, body = self._frame()
            if flags & COMMAND:
                continue
            frames.append(body)
            if not flags & MORE:
                return frames

    def close(self):
        """Close the connection."""
        self.socket.close()


def pair(name, value):
    """Return a name and a value as a READY command carries them."""
    return bytes([len(name)]) + name + struct.pack(">I", len(value)) + value


def signature(key, parts):
    """Return the signature of a message's four parts."""
    made = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        made.update(part)
    return made.hexdigest().encode()


def ask(peer, key, session, kind, content):
    """Send a request and return the content of its reply; None where the reply was not signed with our key."""
    name = uuid.uuid4().hex
    header = {
        "msg_id": name,
        "session": session,
        "username": "envcheck",
        "date": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()),
        "msg_type": kind,
        "version": "5.3",
    }
    parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
    peer.send([DELIMITER, signature(key, parts), *parts])
    while True:
        frames = peer.receive()
        if DELIMITER not in frames:
            continue
        signed, answer = frames[frames.index(DELIMITER) + 1], frames[frames.index(DELIMITER) + 2 :][:4]
        if len(answer) < 4 or not hmac.compare_digest(signed, signature(key, answer)):
            continue
        if json.loads(answer[1].decode()).get("msg_id") == name:
            return json.loads(answer[3].decode("utf-8", "replace"))


def free_ports(count):
    """Return ports that nobody uses; as Jupyter does it, they are free again when this returns."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def connection_file(folder, key):
    """Write the file that tells the kernel where to listen; return its path and the ports by role."""
    ports = {role: port for role, port in zip(ROLES, free_ports(len(ROLES)))}  # noqa: B905, C416 - Python 3.6
    described = {"%s_port" % role: port for role, port in ports.items()}
    described.update(
        ip="127.0.0.1",
        transport="tcp",
        signature_scheme="hmac-sha256",
        key=key.decode(),
        kernel_name="",
        jupyter_session="",
    )
    path = os.path.join(folder, "kernel-%s.json" % uuid.uuid4())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(described, file)
    return path, ports


def conversation(process, ports, key, until):
    """Return what the kernel says of itself; None where it ended or stayed silent."""
    session = uuid.uuid4().hex
    while time.monotonic() < until and process.poll() is None:
        try:
            peer = Peer(ports["shell"], until)
        except (OSError, GoneError):
            time.sleep(PAUSE_SECONDS)
            continue
        try:
            info = ask(peer, key, session, "kernel_info_request", {})
            return {"info": info, "expressions": expressions_of(peer, key, session, info)}
        except (OSError, GoneError, ValueError):
            time.sleep(PAUSE_SECONDS)
        finally:
            peer.close()
    return None


def expressions_of(peer, key, session, info):
    """Return what a kernel of Python says of its interpreter; nothing where it is another one or does not tell."""
    if (info.get("language_info") or {}).get("name") != "python":
        return {}
    peer.until = min(peer.until, time.monotonic() + EXPRESSIONS_SECONDS)
    request = {"code": "", "silent": True, "store_history": False, "user_expressions": EXPRESSIONS}
    try:
        return ask(peer, key, session, "execute_request", request).get("user_expressions") or {}
    except (OSError, GoneError, ValueError):
        return {}


def goodbye(process, ports, key):
    """Ask the kernel to leave, and give it a while."""
    until = time.monotonic() + GOODBYE_SECONDS
    try:
        peer = Peer(ports["control"], until)
        ask(peer, key, uuid.uuid4().hex, "shutdown_request", {"restart": False})
        peer.close()
        process.wait(max(until - time.monotonic(), 0.1))
    except (OSError, GoneError, ValueError, subprocess.TimeoutExpired):
        pass


def text_of(expression):
    """Return the text that an expression came to; empty where it failed."""
    shown = ((expression or {}).get("data") or {}).get("text/plain", "")
    return shown[1:-1] if shown[:1] in "'\"" and shown[-1:] == shown[:1] else shown


def signal_name(number):
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def main():
    """Say one object."""
    asked = json.loads(sys.stdin.read())
    folder = tempfile.mkdtemp(prefix="envcheck-kernel-")
    key = uuid.uuid4().hex.encode()
    began = time.monotonic()
    try:
        path, ports = connection_file(folder, key)
        environment = dict(os.environ, **asked.get("variables") or {})
        # What jupyter_client does for every kernel: the kernel ends with whoever started it.
        environment.pop("PYTHONEXECUTABLE", None)
        if os.name == "posix":
            environment["JPY_PARENT_PID"] = str(os.getpid())
        argv = [word.replace("{connection_file}", path) for word in asked["argv"]]
        with open(os.path.join(folder, "output"), "w+b") as output:
            try:
                process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
                )
            except (OSError, ValueError) as error:
                channel.say("kernel", state="not-started", detail="%s: %s" % (argv[0], error), seconds=0.0)
                return
            said = conversation(process, ports, key, began + asked["seconds"])
            seconds = time.monotonic() - began
            code = process.poll()
            if said is not None:
                goodbye(process, ports, key)
            if process.poll() is None:
                process.kill()
                process.wait()
            output.seek(0, os.SEEK_END)
            output.seek(max(output.tell() - OUTPUT_BYTES, 0))
            printed = output.read().decode("utf-8", "replace")
        report(said, code, seconds, printed)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def report(said, code, seconds, printed):
    """Say how it went."""
    found = {"seconds": round(seconds, 3), "output": printed, "exit_code": code, "signal": ""}
    if code is not None and code < 0:
        found.update(exit_code=None, signal=signal_name(-code))
    if said is None:
        channel.say("kernel", state="silent" if code is None else "ended", **found)
        return
    info = said["info"]
    language = info.get("language_info") or {}
    expressions = said["expressions"]
    channel.say(
        "kernel",
        state="answers",
        implementation=str(info.get("implementation", "")),
        implementation_version=str(info.get("implementation_version", "")),
        language=str(language.get("name", "")),
        language_version=str(language.get("version", "")),
        executable=text_of(expressions.get("executable")),
        prefix=text_of(expressions.get("prefix")),
        **found,
    )


main()
channel.end()
