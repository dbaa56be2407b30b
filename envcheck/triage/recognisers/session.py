"""Python sessions: `>>> torch.__version__` or `python -c "print(…)"`, and what they printed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from envcheck.facts import ComputeDevice, Gpu
from envcheck.triage.builds import build_of
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.rules import Values
from envcheck.triage.text import Line

PROMPT = re.compile(r"^(?:>>>|In \[\d{0,6}\]:|\.\.\.) ?(?P<code>\S.{0,2000})?")
INLINE = re.compile(r"python[\w.]*(?:\.exe)? (?:-\w+ )*-c ['\"](?P<code>.{3,2000})")
OUT = re.compile(r"^Out ?\[\d{0,6}\]: ?")
VERSION = r"['\"]?(?P<value>\d+\.\d+[\w.+]{0,40})['\"]?"
BOOLEAN = r"\b(?P<value>True|False)\b"
MOST_OUTPUT = 40


def _true(text: str) -> bool:
    return text == "True"


def _torch_version(text: str) -> Values:
    return {"name": "torch", "version": text, "state": "ok", **build_of(text.partition("+")[2])}


def _torch_cuda(text: str) -> Values:
    if text == "None":
        return {"name": "torch", "cuda": "", "state": "ok"}
    return {"name": "torch", "cuda": text, "accelerator": "cuda", "state": "ok"}


def _cudnn(text: str) -> Values:
    number = int(text)
    # 8907 is 8.9.7; from cuDNN 9 on, 91002 is 9.10.2
    if number >= 90000:  # noqa: PLR2004
        return {"name": "torch", "cudnn": f"{number // 10000}.{number // 100 % 100}.{number % 100}"}
    return {"name": "torch", "cudnn": f"{number // 1000}.{number // 100 % 10}.{number % 100}"}


def _architectures(text: str) -> Values:
    names = re.findall(r"(?:sm|compute)_\d{2,3}[af]?|gfx[0-9a-f]{3,5}", text)
    return {"name": "torch", "architectures": names, "state": "ok"} if names else {}


def _tensorflow_gpus(text: str) -> Values:
    names = re.findall(r"name='(/physical_device:\w+:\d+)'", text)
    devices = [ComputeDevice(name=name, kind="cuda" if "GPU" in name else "cpu") for name in names]
    seen = any("GPU" in name for name in names)
    return {"name": "tensorflow", "state": "ok", "sees_gpu": seen, "devices": devices or None}


def _capability(text: str) -> Values:
    major, minor = re.findall(r"\d+", text)[:2]
    return {"gpus": [Gpu(index=0, compute_capability=f"{major}.{minor}")], "gpus_complete": False}


Reader = Callable[[str], Values]

EXPRESSIONS: tuple[tuple[str, str, str, Reader], ...] = (
    ("torch.__version__ torch.version.__version__", VERSION, "torch", _torch_version),
    ("torch.version.cuda", r"['\"]?(?P<value>\d+\.\d+|None)\b", "torch", _torch_cuda),
    (
        "torch.version.hip",
        r"['\"]?(?P<value>\d+\.\d+[\w.-]{0,20}|None)",
        "torch",
        lambda text: {"name": "torch", "rocm": text, "accelerator": "rocm"} if text != "None" else {},
    ),
    (
        "torch.cuda.is_available",
        BOOLEAN,
        "torch",
        lambda text: {"name": "torch", "sees_gpu": _true(text), "state": "ok"},
    ),
    (
        "torch.cuda.device_count",
        r"\b(?P<value>\d{1,3})\b",
        "torch",
        lambda text: {"name": "torch", "sees_gpu": text != "0", "state": "ok"},
    ),
    ("torch.backends.cudnn.version", r"\b(?P<value>\d{4,6})\b", "torch", _cudnn),
    ("torch.cuda.get_arch_list", r"(?P<value>\[[^\]]{0,400}\])", "torch", _architectures),
    ("torch.cuda.get_device_capability", r"(?P<value>\(\d{1,2}, ?\d{1,2}\))", "nvml", _capability),
    (
        "torch.cuda.get_device_name",
        r"['\"]?(?P<value>[A-Z][\w .-]{3,60})",
        "nvml",
        lambda text: {"gpus": [Gpu(index=0, name=text.strip())], "gpus_complete": False},
    ),
    (
        "torch.backends.mps.is_available",
        BOOLEAN,
        "torch",
        lambda text: {"name": "torch", "accelerator": "mps", "sees_gpu": _true(text), "state": "ok"},
    ),
    (
        "tensorflow.__version__ tensorflow.version.VERSION",
        VERSION,
        "tensorflow",
        lambda text: {"name": "tensorflow", "version": text, "state": "ok"},
    ),
    (
        "tensorflow.config.list_physical_devices tensorflow.config.experimental.list_physical_devices",
        r"(?P<value>\[[^\]]{0,2000}\])",
        "tensorflow",
        _tensorflow_gpus,
    ),
    (
        "tensorflow.test.is_gpu_available",
        BOOLEAN,
        "tensorflow",
        lambda text: {"name": "tensorflow", "sees_gpu": _true(text), "state": "ok"},
    ),
    (
        "tensorflow.test.is_built_with_cuda",
        BOOLEAN,
        "tensorflow",
        lambda text: {"name": "tensorflow", "accelerator": "cuda" if _true(text) else "cpu", "state": "ok"},
    ),
    (
        "keras.__version__",
        VERSION,
        "keras",
        lambda text: {"name": "keras", "version": text, "state": "ok"},
    ),
    (
        "sys.version platform.python_version",
        r"['\"]?(?P<value>3\.\d{1,2}\.\d{1,2})",
        "python",
        lambda text: {"version": text},
    ),
    (
        "sys.executable",
        r"['\"]?(?P<value>(?:/|[A-Za-z]:\\)[^\s'\"]{3,200})",
        "python",
        lambda text: {"path": text, "executable": text},
    ),
    (
        "platform.machine",
        r"['\"]?(?P<value>x86_64|arm64|aarch64|AMD64|i[3-6]86)",
        "python",
        lambda text: {"machine": text},
    ),
)
"""Names of an expression, what it prints, the group that it fills, and how it is read."""

NAMED = re.compile(r"\b(?:torch|tf|tensorflow|keras|sys|platform)(?:\.\w{1,40}){1,5}")
QUESTIONS = {name: row for row in EXPRESSIONS for name in row[0].split()}


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what sessions printed, expression by expression in their order."""
    place = 0
    lines = paste.lines
    while place < len(lines):
        code = _code(lines[place].text)
        place += 1
        if code is None:
            continue
        names = [re.sub(r"^tf\.", "tensorflow.", name) for name in NAMED.findall(code)]
        asked = [QUESTIONS[name] for name in names if name in QUESTIONS]
        end = place
        while end < len(lines) and end < place + MOST_OUTPUT and not _is_input(lines[end].text):
            end += 1
        if asked:
            yield from _answers(asked, lines[place:end])


def _code(text: str) -> str | None:
    if found := PROMPT.match(text):
        return found["code"] or ""
    if "-c" in text and (found := INLINE.search(text)):
        return found["code"]
    return None


PASTED_PROMPT = re.compile(r"^(?:\([\w.-]+\) ?)?[\w.-]+@[\w.-]+[:~].{0,100}[$#] |^\$ |^PS [A-Z]:\\|^[A-Z]:\\.{0,100}>")


def _is_input(text: str) -> bool:
    return _code(text) is not None or PASTED_PROMPT.match(text) is not None


def _answers(asked: Sequence[tuple[str, str, str, Reader]], output: Sequence[Line]) -> Iterator[Piece]:
    """Match each question with the first fitting answer behind the one before; a traceback ends the answers."""
    number, column = 0, 0
    for _, pattern, group, read in asked:
        while number < len(output):
            text: Any = OUT.sub("", output[number].text)
            if text.startswith("Traceback"):
                return
            noise = re.match(r"[IWEF] |WARNING|.{0,200}Warning:|/", text) and group != "python"
            found = None if noise else re.compile(pattern).search(text, column)
            if found:
                values = read(found["value"])
                if values:
                    yield Piece(group, values, output[number].source)
                column = found.end()
                break
            number, column = number + 1, 0
