"""What the text of a failed import means: error text and standard error → causes, surest first.

Pure functions over text.  Each rule's words are those that the loader, CPython, NumPy, protobuf or the framework print;
the source of each family stands beside it.  A text that no rule knows gives an empty list, never a guess.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import msgspec

from envcheck.facts import Framework
from envcheck.report import Confidence

TEXT_LIMIT = 60_000
"""Characters of text that are searched, from its end."""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A cause that a text speaks for.

    Attributes:
        cause: slug of the vocabulary.
        confidence: how surely the text alone decides.
        meaning: what the text says, one sentence.
        line: the line in which it says so.
        values: what the text names, such as `{"library": "libcudnn.so.9"}`.
    """

    cause: str
    confidence: Confidence
    meaning: str
    line: str = ""
    values: dict[str, str] = {}


class Rule(NamedTuple):
    """A family of messages; `hint` is a part of every text that `pattern` matches."""

    hint: str
    pattern: str
    cause: str
    confidence: Confidence
    meaning: str


CERTAIN, LIKELY, POSSIBLE = Confidence.CERTAIN, Confidence.LIKELY, Confidence.POSSIBLE

CUDA_LIBRARY = (
    r"lib(?:cudart|cublas|cublasLt|cudnn\w*|cufft|cufftw|curand|cusolver|cusolverMg|cusparse|cusparseLt|nccl|nvrtc"
    r"|nvrtc-builtins|nvJitLink|nvToolsExt|cufile|nvshmem\w*|nvinfer\w*|cudss)"
)
CANNOT_OPEN = r"cannot open shared object file"

# The dynamic loader's words: glibc, elf/dl-load.c and elf/dl-lookup.c; names of CUDA, ROCm and oneAPI libraries: their
# manuals.
LOADER = [
    Rule(
        "cannot open",
        rf"(?P<library>{CUDA_LIBRARY}\.so[\d.]*): {CANNOT_OPEN}",
        "cuda-libraries-missing",
        CERTAIN,
        "{library} is not found by the loader",
    ),
    Rule(
        "Could not load dynamic library",
        rf"Could not load dynamic library '(?P<library>{CUDA_LIBRARY}\.so[\d.]*)'",
        "cuda-libraries-missing",
        LIKELY,
        "{library} is not found by the loader",
    ),
    Rule(
        "cannot open",
        rf"(?P<library>lib(?:amdhip64|hsa-runtime64|rocm\w*|MIOpen|hip\w+|rccl|roc\w+|amd_comgr)\.so[\d.]*): "
        rf"{CANNOT_OPEN}",
        "rocm-mismatch",
        LIKELY,
        "{library} of ROCm is not found by the loader",
    ),
    Rule(
        "cannot open",
        rf"(?P<library>lib(?:sycl|ze_loader|pi_level_zero|ur_\w+|OpenCL|mkl_sycl\w*)\.so[\d.]*): {CANNOT_OPEN}",
        "xpu-runtime-missing",
        LIKELY,
        "{library} of Intel's GPU runtime is not found by the loader",
    ),
    Rule(
        "cannot open",
        rf"(?P<library>lib(?:cuda|nvidia-ml)\.so[\d.]*): {CANNOT_OPEN}",
        "driver-missing",
        LIKELY,
        "{library}, which comes with the NVIDIA driver, is not found by the loader",
    ),
    Rule(
        "cannot open",
        rf"(?P<library>(?:lib(?:torch\w*|c10\w*|shm|tensorflow\w*|caffe2\w*)|_pywrap_\w+)\.so[\d.]*): {CANNOT_OPEN}",
        "broken-install",
        LIKELY,
        "{library}, a part of the framework itself, is gone",
    ),
    Rule(
        "cannot open",
        rf"(?P<library>[\w.+-]+\.so[\d.]*): {CANNOT_OPEN}",
        "missing-system-library",
        LIKELY,
        "the system library {library} is not found by the loader",
    ),
    Rule(
        "file too short",
        r"(?P<library>[\w./+-]{1,300}): file too short",
        "broken-install",
        CERTAIN,
        "{library} is truncated",
    ),
    Rule(
        "invalid ELF header",
        r"(?P<library>[\w./+-]{1,300}): invalid ELF header",
        "broken-install",
        CERTAIN,
        "{library} is damaged",
    ),
    Rule(
        "wrong ELF class",
        r"(?P<library>[\w./+-]{1,300}): wrong ELF class",
        "cpu-arch-emulated",
        LIKELY,
        "{library} and the interpreter are built for different processors",
    ),
    Rule(
        "Cannot allocate memory",
        r"Cannot allocate memory",
        "host-out-of-memory",
        LIKELY,
        "memory ran out while a library was loaded",
    ),
    Rule(
        "static TLS block",
        r"(?P<library>[\w./+-]{1,300}): cannot allocate memory in static TLS block",
        "frameworks-clash",
        POSSIBLE,
        "{library} was loaded after others had used up the room for thread-local data",
    ),
    Rule(
        "not found",
        r"version [`'](?P<symbol>GLIBC_[\d.]+)' not found",
        "glibc-too-old",
        CERTAIN,
        "a library needs {symbol}, a newer C library than this system has",
    ),
    Rule(
        "not found",
        r"version [`'](?P<symbol>(?:GLIBCXX|CXXABI)_[\d.]+)' not found",
        "libstdcxx-too-old",
        CERTAIN,
        "a library needs {symbol}, which the libstdc++ that is found first does not have",
    ),
    Rule(
        "not found",
        rf"(?P<library>{CUDA_LIBRARY}\.so[\d.]*): version [`'][^']{{1,80}}' not found",
        "cuda-library-conflict",
        LIKELY,
        "another version of {library} than the one asked for is found first",
    ),
    Rule(
        "undefined symbol",
        rf"undefined symbol: (?P<symbol>\S+), version (?P<library>{CUDA_LIBRARY}\.so[\d.]*)",
        "cuda-library-conflict",
        CERTAIN,
        "{library} that is found first lacks {symbol}: it is of another version than the build needs",
    ),
    Rule(
        "undefined symbol",
        r"undefined symbol: (?P<symbol>(?:cu(?:blas|dnn|fft|rand|solver|sparse|da)|nccl|nvrtc|__nvJitLink|__cuda)\w*)",
        "cuda-library-conflict",
        LIKELY,
        "the CUDA library that is found first lacks {symbol}: it is of another version than the build needs",
    ),
    Rule(
        "iJIT_NotifyEvent",
        r"undefined symbol: (?P<symbol>iJIT_NotifyEvent)",
        "dependency-conflict",
        LIKELY,
        "the installed MKL no longer has {symbol}, which this build of PyTorch calls (MKL below 2024.1 has it)",
    ),
    Rule(
        "undefined symbol",
        r"(?P<library>[\w./+-]{0,300}(?:torch|libc10)[\w./+-]{0,100}\.so[\d.]*): undefined symbol: (?P<symbol>\S+)",
        "broken-install",
        POSSIBLE,
        "{library} lacks {symbol}: files of two releases are mixed",
    ),
    Rule(
        "undefined symbol",
        r"undefined symbol: (?P<symbol>_?Py\w+)",
        "broken-install",
        LIKELY,
        "a module was built for another Python: {symbol} is not in this one",
    ),
    Rule(
        "undefined symbol",
        r"undefined symbol: (?P<symbol>_ZN?K?(?:3c10|2at|5torch|10tensorflow|4absl)\w*)",
        "framework-companion-mismatch",
        LIKELY,
        "an extension was built for another release of the framework: {symbol} is missing",
    ),
    Rule(
        "failed to map segment",
        r"(?P<library>[\w./+-]{1,300}): failed to map segment from shared object",
        "install-permission",
        POSSIBLE,
        "{library} may not be mapped: its file system forbids running programs (noexec), or memory ran out",
    ),
    Rule(
        "executable stack",
        r"(?P<library>[\w./+-]{1,300}): cannot enable executable stack",
        "framework-version-bug",
        LIKELY,
        "{library} asks for an executable stack, which this system refuses",
    ),
]

# macOS: dyld's words. Windows: LoadLibrary's, through CPython (Python/dynload_win.c), with the number of the error.
OTHER_SYSTEMS = [
    Rule(
        "incompatible architecture",
        r"incompatible architecture \(have '(?P<have>[^']+)', need '(?P<need>[^']+)'\)",
        "cpu-arch-emulated",
        CERTAIN,
        "a library is built for {have}, the interpreter runs as {need}",
    ),
    Rule(
        "Library not loaded",
        r"Library not loaded: (?P<library>\S+)",
        "missing-system-library",
        LIKELY,
        "{library} is not found by the loader",
    ),
    Rule(
        "WinError 1455",
        r"WinError 1455",
        "host-out-of-memory",
        CERTAIN,
        "Windows' paging file is too small for the import",
    ),
    Rule("WinError 206", r"WinError 206", "windows-long-path", CERTAIN, "a path is longer than Windows allows"),
    Rule(
        "WinError 193",
        r"WinError 193",
        "cpu-arch-emulated",
        LIKELY,
        "a library is built for another processor than the interpreter",
    ),
    Rule(
        "Could not find",
        r"Could not find '(?P<library>(?:cudart|cudnn|cublas|cufft|curand|cusolver|cusparse)64_\d+\.dll)'",
        "cuda-libraries-missing",
        CERTAIN,
        "{library} is not found",
    ),
    Rule(
        "WinError 126",
        r"WinError 126\][^\n]{0,300}?Error loading \"(?P<library>[^\"]+)\"",
        "vc-redist-missing",
        LIKELY,
        "{library}, or a library that it needs, is not found; the Visual C++ runtime is what most often is not there",
    ),
    Rule(
        "DLL load failed",
        r"DLL load failed(?: while importing (?P<module>\w+))?",
        "vc-redist-missing",
        LIKELY,
        "a DLL that a module needs is not found; the Visual C++ runtime is what most often is not there",
    ),
]

# NumPy: numpy/_core/_multiarray_umath.py, numpy/__init__.pxd and the C API's import; table `abi` has the exact texts.
NUMPY = [
    Rule(
        "compiled using NumPy 1.x",
        r"A module that was compiled using NumPy 1\.x cannot be run in\s+NumPy (?P<version>[\d.]+)",
        "numpy-abi-mismatch",
        CERTAIN,
        "a module that was built for NumPy 1 is loaded by NumPy {version}",
    ),
    Rule(
        "_ARRAY_API not found",
        r"_ARRAY_API not found",
        "numpy-abi-mismatch",
        CERTAIN,
        "a module that was built for NumPy 1 is loaded by NumPy 2",
    ),
    Rule(
        "size changed, may indicate binary",
        r"numpy\.(?P<type>\w+) size changed, may indicate binary incompatibility",
        "numpy-abi-mismatch",
        CERTAIN,
        "a module was built for another NumPy than the one installed (numpy.{type} differs)",
    ),
    Rule(
        "compiled against A",
        r"module compiled against (?:API|ABI) version (?P<built>0x[0-9a-f]+) but this version of numpy is "
        r"(?P<have>0x[0-9a-f]+)",
        "numpy-abi-mismatch",
        CERTAIN,
        "a module was built for a newer NumPy (API {built}) than the one installed (API {have})",
    ),
    Rule(
        " failed to import",
        r"numpy\.(?:_?core)\.(?:multiarray|umath) failed to import",
        "numpy-abi-mismatch",
        LIKELY,
        "a module cannot use the installed NumPy",
    ),
    Rule(
        "NumPy 2.0 release",
        r"`?np\.(?P<name>\w+)`? was removed in the NumPy 2\.0 release",
        "numpy-abi-mismatch",
        LIKELY,
        "a package uses np.{name}, which NumPy 2 no longer has",
    ),
    Rule(
        "module 'numpy' has no attribute",
        r"module 'numpy' has no attribute '(?P<name>\w+)'",
        "numpy-abi-mismatch",
        LIKELY,
        "a package uses numpy.{name}, which the installed NumPy does not have",
    ),
]

# protobuf: google/protobuf/descriptor.py and runtime_version.py; table `abi`.
PROTOBUF = [
    Rule(
        "Descriptors cannot",
        r"Descriptors cannot (?:not )?be created directly",
        "protobuf-mismatch",
        CERTAIN,
        "generated code is older than the installed protobuf accepts",
    ),
    Rule(
        "Gencode/Runtime",
        r"Protobuf Gencode/Runtime (?:major )?versions when loading (?P<location>\S+): gencode (?P<gencode>\S+) "
        r"runtime (?P<runtime>\d[\w.]*\w)",
        "protobuf-mismatch",
        CERTAIN,
        "code generated by protobuf {gencode} is loaded by protobuf {runtime}",
    ),
    Rule(
        "google.protobuf",
        r"cannot import name '(?P<name>\w+)' from 'google\.protobuf[\w.]*'",
        "protobuf-mismatch",
        LIKELY,
        "generated code needs {name}, which the installed protobuf does not have",
    ),
    Rule(
        "GetPrototype",
        r"'?MessageFactory'? object has no attribute 'GetPrototype'",
        "protobuf-mismatch",
        LIKELY,
        "the installed protobuf is newer than the framework knows",
    ),
]

# CPython's own sentences: Python/import.c, Objects/moduleobject.c, Lib/importlib/_bootstrap.py.
PYTHON = [
    Rule(
        "consider renaming",
        r"consider renaming '(?P<path>[^'\n]+)'",
        "shadowed-module",
        CERTAIN,
        "{path} has the name of a module that the import needs",
    ),
    Rule(
        "partially initialized module",
        r"partially initialized module '(?P<module>[\w.]+)'",
        "shadowed-module",
        POSSIBLE,
        "{module} was imported while it was being imported: a file of the same name is found first, or the "
        "installation is not whole",
    ),
    Rule(
        "finds",
        r"`import (?P<module>\w+)` finds (?P<path>\S+) before the installed package",
        "shadowed-module",
        CERTAIN,
        "{path} has the name of the package and is found first",
    ),
    Rule(
        "has no __version__",
        r"(?P<module>\w+) was imported from (?P<path>\S+) and has no __version__",
        "broken-install",
        LIKELY,
        "what lies at {path} is not a whole {module}",
    ),
    Rule(
        "No module named",
        r"No module named '(?P<module>(?:distutils|imp|asynchat|asyncore|smtpd)(?:\.[\w.]+)?)'",
        "python-version-unsupported",
        LIKELY,
        "the package needs {module}, which Python removed in 3.12",
    ),
    Rule(
        "No module named",
        r"No module named '(?P<module>_(?:ctypes|lzma|bz2|sqlite3|ssl|hashlib|curses|tkinter))'",
        "missing-system-library",
        LIKELY,
        "this Python was built without {module}: the library's headers were not there",
    ),
    Rule(
        "No module named",
        r"No module named '(?P<module>keras\.(?:src\.engine|engine|api\._v\d|api|utils\.generic_utils)[\w.]*)'",
        "keras-2-3-mismatch",
        LIKELY,
        "{module} is a part of another generation of Keras than the one installed",
    ),
    Rule(
        "No module named",
        r"No module named '(?P<module>(?:torch|tensorflow|keras|numpy)\.[\w.]+)'",
        "broken-install",
        LIKELY,
        "{module} is gone from the installed package",
    ),
    Rule(
        "_pywrap_tensorflow_internal",
        r"No module named '?_pywrap_tensorflow_internal'?",
        "broken-install",
        POSSIBLE,
        "TensorFlow's own library is gone",
    ),
    Rule(
        "No module named",
        r"No module named '(?P<module>[\w.]+)'",
        "package-not-installed",
        CERTAIN,
        "{module} is not installed",
    ),
    Rule(
        "bad marshal data",
        r"bad marshal data|bad magic number in",
        "broken-install",
        CERTAIN,
        "a compiled Python file is damaged",
    ),
    Rule(
        "null bytes",
        r"source code (?:string )?cannot contain null bytes",
        "broken-install",
        CERTAIN,
        "a Python file of the installation is damaged",
    ),
    Rule(
        "unsupported operand type(s) for |",
        r"unsupported operand type\(s\) for \|: '(?:type|_GenericAlias)'",
        "python-version-unsupported",
        LIKELY,
        "a package is written for Python 3.10 or newer",
    ),
    Rule(
        "typing_extensions",
        r"cannot import name '(?P<name>\w+)' from 'typing_extensions'",
        "dependency-conflict",
        LIKELY,
        "the installed typing_extensions is too old: it has no {name}",
    ),
    Rule(
        "cannot import name",
        r"cannot import name '(?P<name>\w+)' from '(?P<module>[\w.]+)'",
        "dependency-conflict",
        POSSIBLE,
        "the installed {module} has no {name}: it is of another version than its user needs",
    ),
]

# Keras: keras/src/backend/__init__.py; torchvision: torch/library.py; oneAPI's OpenMP: kmp_i18n (message 15);
# TensorFlow: tensorflow/core/platform/cpu_feature_guard.cc; errno texts: glibc.
FRAMEWORKS = [
    Rule(
        "but these aren't available",
        r"compiled to use (?P<feature>[\w. ]+) instructions, but these aren't available",
        "cpu-instructions-missing",
        CERTAIN,
        "the processor lacks {feature}, which this build uses",
    ),
    Rule(
        "OMP: Error #15",
        r"OMP: Error #15: Initializing (?P<library>\S+), but found (?P<other>\S+?) already initialized",
        "openmp-duplicate",
        CERTAIN,
        "two OpenMP runtimes meet in one process: {library} and {other}",
    ),
    Rule(
        "torchvision::nms does not exist",
        r"operator torchvision::nms does not exist",
        "framework-companion-mismatch",
        CERTAIN,
        "torchvision is built for another torch",
    ),
    Rule(
        "Unable to import backend",
        r"Unable to import backend ?: ?(?P<backend>\w+)",
        "user-code",
        LIKELY,
        "Keras is told to use the backend {backend}, which it does not know (KERAS_BACKEND or keras.json)",
    ),
    Rule(
        "Keras 3",
        r"(?:installed version of Keras is Keras 3|`?keras`? 3[^\n]{0,60}not (?:yet )?supported)",
        "keras-2-3-mismatch",
        CERTAIN,
        "a package needs Keras 2, Keras 3 is installed",
    ),
    Rule("No space left", r"No space left on device", "disk-full", CERTAIN, "a disk is full"),
    Rule("Disk quota", r"Disk quota exceeded", "disk-full", CERTAIN, "a disk quota is used up"),
    Rule("Too many open files", r"Too many open files", "open-files-limit", CERTAIN, "no file may be opened any more"),
    Rule(
        "start new thread",
        r"can't start new thread",
        "thread-oversubscription",
        LIKELY,
        "no thread may be started any more",
    ),
    Rule(
        "Permission denied",
        r"PermissionError: \[Errno 13\] Permission denied: '(?P<path>[^'\n]+)'",
        "install-permission",
        LIKELY,
        "{path} may not be read or written by this user",
    ),
    Rule("MemoryError", r"\bMemoryError\b|std::bad_alloc", "host-out-of-memory", LIKELY, "memory ran out"),
]

FAMILIES: tuple[tuple[str, list[Rule]], ...] = (
    ("framework", FRAMEWORKS),
    ("numpy", NUMPY),
    ("protobuf", PROTOBUF),
    ("loader", LOADER),
    ("system", OTHER_SYSTEMS),
    ("python", PYTHON),
)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def candidates(text: str) -> list[Candidate]:
    """Return the causes that a text speaks for, surest first; of one family the first rule that matches.

    Args:
        text: an exception's text, a traceback, or what a program printed.
    """
    text = text[-TEXT_LIMIT:]
    found = []
    for _, rules in FAMILIES:
        for rule in rules:
            match = _found(rule, text)
            if match is None:
                continue
            values = {name: value for name, value in match.groupdict().items() if value is not None}
            found.append(
                Candidate(
                    cause=rule.cause,
                    confidence=rule.confidence,
                    meaning=rule.meaning.format_map(_Named(values)),
                    line=_line_of(match),
                    values=values,
                )
            )
            break
    order = list(Confidence)
    return sorted(found, key=lambda candidate: order.index(candidate.confidence))


BEFORE, AFTER, TRIES = 400, 600, 50
"""Characters around a hint in which its pattern is looked for, and how many of its places are tried.

So a text costs what it is long, whatever stands in it.
"""


def _found(rule: Rule, text: str) -> re.Match[str] | None:
    """Return the first place where a rule matches; None where it does nowhere."""
    at = text.find(rule.hint)
    for _ in range(TRIES):
        if at < 0:
            return None
        match = _compiled(rule.pattern).search(text[max(at - BEFORE, 0) : at + AFTER])
        if match is not None:
            return match
        at = text.find(rule.hint, at + AFTER // 2)
    return None


def _line_of(match: re.Match[str]) -> str:
    """Return the line, or lines, that a match stands in."""
    around = match.string
    end = around.find("\n", match.end())
    return around[around.rfind("\n", 0, match.start()) + 1 : end if end >= 0 else len(around)].strip()[:400]


class _Named(dict[str, str]):
    """Names that a pattern did not match read as `it`: a sentence is better than an error."""

    def __missing__(self, key: str) -> str:
        return "it"


def of_framework(framework: Framework) -> list[Candidate]:
    """Return why a framework's import did not come to its end, surest first; empty where it did.

    The exception speaks before what was printed, and both before how the child ended.
    """
    if framework.state in {None, "ok", "not-imported"}:
        return []
    told = candidates(f"{framework.error_type or ''}: {framework.error or ''}")
    printed = candidates(f"{framework.traceback or ''}\n{framework.stderr or ''}")
    order = list(Confidence)
    # An exception that says it all comes before whatever else was printed; one that only hints comes after.
    ranked = [(candidate.confidence is POSSIBLE, order.index(candidate.confidence), candidate) for candidate in told]
    ranked += [(True, order.index(candidate.confidence), candidate) for candidate in printed]
    ranked.sort(key=lambda entry: entry[:2])
    found: list[Candidate] = []
    for _, _, candidate in ranked:
        if candidate.cause not in [other.cause for other in found]:
            surest = min((one for _, _, one in ranked if one.cause == candidate.cause), key=_sureness)
            found.append(surest)
    return found or [_how_it_ended(framework)]


def _sureness(candidate: Candidate) -> int:
    return list(Confidence).index(candidate.confidence)


SIGNALS = {
    "SIGILL": ("cpu-instructions-missing", LIKELY, "the processor met an instruction that it does not have"),
    "illegal instruction": (
        "cpu-instructions-missing",
        LIKELY,
        "the processor met an instruction that it does not have",
    ),
    "SIGKILL": ("host-out-of-memory", LIKELY, "the system ended the process, as it does when memory runs out"),
    "SIGBUS": ("broken-install", LIKELY, "a mapped file is shorter than it says, or its disk failed"),
    "SIGSEGV": ("broken-install", POSSIBLE, "a library touched memory that is not its own"),
    "SIGABRT": ("broken-install", POSSIBLE, "a library ended the process by itself"),
    "SIGFPE": ("framework-version-bug", POSSIBLE, "a library divided by zero"),
}


def _how_it_ended(framework: Framework) -> Candidate:
    """Return what the bare end of a child speaks for."""
    stage = framework.stage or "import"
    if framework.state == "crash":
        cause, confidence, meaning = SIGNALS.get(
            framework.signal or "", ("broken-install", POSSIBLE, "a library ended the process")
        )
        if stage in {"devices", "compute"} and cause == "broken-install":
            return Candidate(cause="frameworks-clash", confidence=POSSIBLE, meaning=meaning)
        return Candidate(cause=cause, confidence=confidence, meaning=meaning)
    if framework.state == "timeout":
        if stage in {"devices", "compute"}:
            return Candidate(cause="driver-hung", confidence=LIKELY, meaning="a call to the driver does not return")
        if "get_data" in last_frames(framework.stderr or "", 2):
            return Candidate(
                cause="slow-data-path", confidence=LIKELY, meaning="the import waits for its files to be read"
            )
        return Candidate(
            cause="broken-install", confidence=POSSIBLE, meaning="something in the import waits and does not end"
        )
    if framework.state == "exit":
        return Candidate(
            cause="broken-install",
            confidence=POSSIBLE,
            meaning="code that the import runs ends the whole process",
        )
    return Candidate(cause="broken-install", confidence=POSSIBLE, meaning="the import raises an exception")


FRAME = re.compile(r'^  File "(?P<path>[^"\n]+)", line (?P<line>\d+) in (?P<function>\S+)', re.MULTILINE)
"""A frame as faulthandler prints it, innermost first. Source: CPython, Python/traceback.c."""


def last_frames(stderr: str, count: int) -> str:
    """Return the innermost frames of the stack that faulthandler printed last; empty where it printed none."""
    begin = max(stderr.rfind("(most recent call first)"), 0)
    found = FRAME.finditer(stderr, begin) if begin else iter(())
    frames = [f"{match['path']}:{match['line']} in {match['function']}" for match in found]
    return "\n".join(frames[:count])
