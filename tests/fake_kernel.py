"""A kernel for tests, of the standard library alone: it stands where ipykernel's launcher stands.

It answers what envcheck asks, over the wire protocol of ZeroMQ (ZMTP 3.0) and with Jupyter's signatures. What is wrong
with it says the environment variable FAKE_KERNEL: `silent` (it listens and does not answer), `deaf` (it does not even
listen), `dies`, `crashes` (by a signal), `lingers` (it leaves a child behind).
"""

import hashlib
import hmac
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid

FAULT = os.environ.get("FAKE_KERNEL", "")
DELIMITER = b"<IDS|MSG>"


def take(peer, count):
    data = b""
    while len(data) < count:
        piece = peer.recv(count - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def frame(peer):
    flags = take(peer, 1)[0]
    length = struct.unpack(">Q", take(peer, 8))[0] if flags & 2 else take(peer, 1)[0]
    return flags, take(peer, length)


def message(peer):
    frames = []
    while True:
        flags, body = frame(peer)
        if flags & 4:
            continue
        frames.append(body)
        if not flags & 1:
            return frames


def send(peer, frames):
    for number, body in enumerate(frames):
        more = 1 if number < len(frames) - 1 else 0
        # As long frames, which a peer must take whatever their length.
        peer.sendall(bytes([more | 2]) + struct.pack(">Q", len(body)) + body)


def signed(key, parts):
    made = hmac.new(key, digestmod=hashlib.sha256)
    for part in parts:
        made.update(part)
    return made.hexdigest().encode()


def content_for(kind, asked):
    if kind == "kernel_info_request":
        version = ".".join(map(str, sys.version_info[:3]))
        language = {"name": os.environ.get("FAKE_LANGUAGE", "python"), "version": version}
        return {"implementation": "fake", "implementation_version": "1.0", "language_info": language, "status": "ok"}
    if kind == "execute_request":
        shown = {}
        for name, code in asked["user_expressions"].items():
            shown[name] = {"data": {"text/plain": repr(eval(code))}}  # noqa: S307 - what envcheck asks
        return {"status": "ok", "user_expressions": shown}
    return {"status": "ok", "restart": False}


def serve(peer, key):
    try:
        take(peer, 64)
        peer.sendall(b"\xff" + b"\0" * 7 + b"\x01\x7f\x03\x01" + b"NULL".ljust(20, b"\0") + b"\0" * 32)
        frame(peer)
        kind = b"\x0bSocket-Type" + struct.pack(">I", 6) + b"ROUTER"
        peer.sendall(bytes([4, 6 + len(kind)]) + b"\x05READY" + kind)
        while True:
            frames = message(peer)
            parts = frames[frames.index(DELIMITER) + 2 :]
            if FAULT == "silent" or frames[frames.index(DELIMITER) + 1] != signed(key, parts[:4]):
                continue
            header = json.loads(parts[0])
            reply = {"msg_id": uuid.uuid4().hex, "msg_type": header["msg_type"].replace("request", "reply")}
            answer = [reply, header, {}, content_for(header["msg_type"], json.loads(parts[3]))]
            encoded = [json.dumps(part).encode() for part in answer]
            # First one that somebody else has signed: it must be passed over.
            send(peer, [DELIMITER, signed(b"another key", encoded), *encoded])
            send(peer, [DELIMITER, signed(key, encoded), *encoded])
            if header["msg_type"] == "shutdown_request":
                os._exit(0)
    except (EOFError, OSError, ValueError):
        peer.close()


def listen(port, key):
    door = socket.socket()
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    door.bind(("127.0.0.1", port))
    door.listen(8)
    while True:
        peer, _ = door.accept()
        threading.Thread(target=serve, args=(peer, key), daemon=True).start()


def main():
    if FAULT == "dies":
        sys.exit("ImportError: libzmq.so.5: cannot open shared object file: No such file or directory")
    if FAULT == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    if FAULT == "lingers":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    connection = json.loads(pathlib.Path(sys.argv[-1]).read_text())
    if FAULT != "deaf":
        for role in ("shell", "control"):
            port = connection[f"{role}_port"]
            threading.Thread(target=listen, args=(port, connection["key"].encode()), daemon=True).start()
    time.sleep(600)


if __name__ == "__main__":
    main()
