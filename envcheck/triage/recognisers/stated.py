"""`Key: value` lines: torch's collect_env, transformers-cli env, mmcv, Lightning, and the forms of issue templates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from envcheck.facts import Gpu
from envcheck.triage.builds import build_of
from envcheck.triage.paste import Paste
from envcheck.triage.pieces import Piece
from envcheck.triage.recognisers.system import kernel, named_system
from envcheck.triage.rules import Values

PAIR = re.compile(
    r"^[\s\-*•#|>`]{0,8}(?P<key>[A-Za-z][\w ./?()`'-]{1,60}?)[`*]{0,3}\s*(?::\s|=|\|)\s*[`*]{0,3}"
    r"(?P<value>\S.{0,300}?)[`*|\s]{0,6}$"
)
VERSION = re.compile(r"v?(?P<version>\d+\.\d+(?:\.\d+)?(?:\.?(?:a|b|rc|dev|post)\d*)*(?:\+[\w.]{1,30})?)")
YES = {"true": True, "yes": True, "false": False, "no": False}
KEYWORDS = (
    "torch",
    "tensorflow",
    "tf",
    "keras",
    "python",
    "cuda",
    "driver",
    "libc",
    "os",
    "operating",
    "platform",
    "system",
    "gpu",
    "cpu",
    "graphics",
    "model name",
    "processor",
    "flags",
    "architecture",
    "machine",
    "nvcc",
    "linux distro",
)
"""One of these stands in every key that is known."""


def recognise(paste: Paste) -> Iterator[Piece]:
    """Yield what pairs of a known key say."""
    for line in paste.lines:
        text = line.text
        lower = text[:80].lower()
        if not any(word in lower for word in KEYWORDS):
            continue
        found = PAIR.match(text)
        if not found:
            continue
        key = re.sub(r"[`'*]", "", found["key"].strip().lower())
        for pattern, group, values in PAIRS:
            if re.fullmatch(pattern, key):
                known = values(found["value"].strip())
                if known:
                    yield Piece(group, known, line.source)
                break
    yield from _listed_gpus(paste)


LISTED = re.compile(
    r"^(?:GPU models and configuration: )?\s*GPU (?P<index>\d{1,2}(?:,\d{1,2}){0,15}): (?P<name>[A-Z][^(:]{3,60})$"
)


def _listed_gpus(paste: Paste) -> Iterator[Piece]:
    gpus: list[Gpu] = []
    source = ""
    for line in paste.lines:
        if "GPU " in line.text and (found := LISTED.match(line.text)):
            source = source or line.source
            gpus += [Gpu(index=int(index), name=found["name"].strip()) for index in found["index"].split(",")]
    if gpus:
        yield Piece("nvml", {"gpus": gpus, "gpus_complete": False}, source)


def _torch(text: str) -> Values:
    found = VERSION.match(text)
    if not found:
        return {}
    version = found["version"]
    values: Values = {"name": "torch", "version": version, **build_of(version.partition("+")[2])}
    # `PyTorch version (GPU?): 2.1.0+cu121 (True)`, as transformers-cli prints it
    if told := re.search(r"\((True|False)\)", text):
        values |= {"sees_gpu": told[1] == "True", "state": "ok"}
    return values


def _tensorflow(text: str) -> Values:
    found = VERSION.search(text)
    return {"name": "tensorflow", "version": found["version"]} if found else {}


def _version_of(group_field: str) -> Callable[[str], Values]:
    def read(text: str) -> Values:
        found = VERSION.search(text)
        return {group_field: found["version"]} if found else {}

    return read


def _build_cuda(text: str) -> Values:
    if found := re.match(r"(\d+\.\d+)", text):
        return {"name": "torch", "cuda": found[1], "accelerator": "cuda"}
    # PyTorch prints "Could not collect" or None for a build without CUDA; ROCm's line follows and decides.
    return {"name": "torch", "cuda": ""} if text in {"None", "Could not collect"} else {}


def _build_rocm(text: str) -> Values:
    return {"name": "torch", "rocm": text, "accelerator": "rocm"} if re.match(r"\d+\.\d+", text) else {}


def _available(text: str) -> Values:
    told = YES.get(text.split(maxsplit=1)[0].lower().rstrip(",."))
    return {} if told is None else {"name": "torch", "sees_gpu": told, "state": "ok"}


def _driver(text: str) -> Values:
    found = re.match(r"(?:NVIDIA )?v?(?P<version>\d{3}\.\d{1,3}(?:\.\d{1,2})?)\b", text)
    return {"driver_version": found["version"]} if found else {}


def _python(text: str) -> Values:
    found = re.match(r"(?:[Pp]ython )?v?(?P<version>3\.\d{1,2}(?:\.\d{1,2})?|2\.7(?:\.\d{1,2})?)", text)
    values: Values = {"version": found["version"]} if found else {}
    if "(32-bit runtime)" in text:
        values["bits"] = 32
    return values


def _libc(text: str) -> Values:
    found = re.match(r"glibc[- ]?(?P<version>\d+\.\d+)", text)
    return {"libc": "glibc", "libc_version": found["version"], "system": "Linux"} if found else {}


def _os(text: str) -> Values:
    if found := re.match(r"Linux-(?P<release>\d+\.\d+[\w.+~-]*?)-(?:x86_64|aarch64)", text):
        return {**kernel(found["release"]), "system": "Linux"}
    return named_system(text)


def _one_gpu(text: str) -> Values:
    """Read the model that a form names; a count before it, and the memory behind it, are left out."""
    text = re.sub(r"^(?:\d{1,2} ?[x*] ?)", "", text)
    if not re.match(
        r"(?:NVIDIA|Nvidia|nvidia|GeForce|Tesla|Quadro|RTX|GTX|A100|H100|H200|V100|T4\b|P100|L4|L40|A10|Titan|TITAN)",
        text,
    ):
        return {}
    name = re.split(r"[,(/;]| with | - ", text, maxsplit=1)[0].strip()
    return {"gpus": [Gpu(index=0, name=name)], "gpus_complete": False}


def _flags(text: str) -> Values:
    names = text.split()
    return {"instructions": names} if len(names) > 10 else {}  # noqa: PLR2004 - one or two words are no list


PAIRS: tuple[tuple[str, str, Callable[[str], Values]], ...] = (
    (r"(?:py)?torch(?: version)?(?: \(gpu\?\))?|torch\.__version__|- torch", "torch", _torch),
    (r"cuda used to build pytorch|torch\.version\.cuda|torch cuda(?: version)?", "torch", _build_cuda),
    (r"rocm used to build pytorch", "torch", _build_rocm),
    (
        r"(?:is |torch )?cuda available(?: \(pytorch\))?|torch\.cuda\.is_available\(\)|gpu available",
        "torch",
        _available,
    ),
    (
        (
            r"tensorflow(?: version)?(?: \(gpu\?\))?(?: \(use command below\))?|tf(?: version)?"
            r"|tf\.__version__|tf\.version\.version"
        ),
        "tensorflow",
        _tensorflow,
    ),
    (r"keras(?: version)?|keras\.__version__", "keras", _version_of("version")),
    (r"python(?: version)?|sys\.version", "python", _python),
    (
        r"os|os platform and distribution.{0,40}|operating system|platform|system|python platform|linux distro",
        "platform",
        _os,
    ),
    (r"libc version|glibc(?: version)?", "platform", _libc),
    (r"(?:nvidia |gpu |cuda )?driver(?: version)?|gpu driver", "nvml", _driver),
    (
        r"cuda runtime version|cuda/cudnn version|cuda toolkit(?: version)?|nvcc(?: version)?",
        "toolkits",
        _version_of("nvcc_version"),
    ),
    (
        r"gpu(?: model| models?| type| name)?(?: and memory| and configuration)?|gpu model\(s\)|graphics card",
        "nvml",
        _one_gpu,
    ),
    (
        r"model name|cpu(?: model)?|processor",
        "cpu",
        lambda text: {"model": text} if re.search(r"Intel|AMD|Xeon|Ryzen|EPYC|Apple|ARM|Neoverse", text) else {},
    ),
    (r"flags", "cpu", _flags),
    (
        r"architecture|machine",
        "platform",
        lambda text: {"machine": text.split()[0]} if re.match(r"x86_64|aarch64|arm64|AMD64|i686", text) else {},
    ),
    (r"cpu\(s\)", "cpu", lambda text: {"logical_cores": int(text)} if text.isdigit() and len(text) < 6 else {}),  # noqa: PLR2004
)
"""Key (in lower case, whole) → the group that it fills and how its value is read."""
