"""What the text of a failed import means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envcheck.facts import Framework
from envcheck.import_errors import candidates, last_frames, of_framework

NO_FILE = "cannot open shared object file: No such file or directory"

TEXTS = [
    (f"ImportError: libcudnn.so.9: {NO_FILE}", "cuda-libraries-missing"),
    (f"OSError: libcublasLt.so.12: {NO_FILE}", "cuda-libraries-missing"),
    (f"ImportError: libnvJitLink.so.13: {NO_FILE}", "cuda-libraries-missing"),
    ("W dso_loader.cc:64] Could not load dynamic library 'libcudart.so.11.0'; dlerror", "cuda-libraries-missing"),
    (f"ImportError: libGL.so.1: {NO_FILE}", "missing-system-library"),
    (f"OSError: libgomp.so.1: {NO_FILE}", "missing-system-library"),
    (f"ImportError: libcupti.so.12: {NO_FILE}", "missing-system-library"),
    (f"ImportError: libcuda.so.1: {NO_FILE}", "driver-missing"),
    (f"ImportError: libtorch_cpu.so: {NO_FILE}", "broken-install"),
    (f"ImportError: libamdhip64.so.6: {NO_FILE}", "rocm-mismatch"),
    (f"ImportError: libsycl.so.8: {NO_FILE}", "xpu-runtime-missing"),
    ("ImportError: /env/libtorch_cuda.so: file too short", "broken-install"),
    ("ImportError: /a/libc10.so: undefined symbol: cublasLtCreate, version libcublasLt.so.12", "cuda-library-conflict"),
    (
        "/x/libcusparse.so.12: undefined symbol: __nvJitLinkComplete_12_4, version libnvJitLink.so.12",
        "cuda-library-conflict",
    ),
    ("ImportError: /a/libtorch_cuda.so: undefined symbol: ncclCommWindowRegister", "cuda-library-conflict"),
    (
        "ImportError: /a/fused.so: undefined symbol: _ZN3c104impl8GPUTrace13gpuTraceStateE",
        "framework-companion-mismatch",
    ),
    ("ImportError: /lib/libc.so.6: version `GLIBC_2.28' not found (required by /a/x.so)", "glibc-too-old"),
    ("ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.30' not found", "libstdcxx-too-old"),
    ("A module that was compiled using NumPy 1.x cannot be run in\nNumPy 2.1.0 as it may crash.", "numpy-abi-mismatch"),
    ("ValueError: numpy.dtype size changed, may indicate binary incompatibility. Expected 96", "numpy-abi-mismatch"),
    (
        "RuntimeError: module compiled against ABI version 0x1000009 but this version of numpy is 0x2000000",
        "numpy-abi-mismatch",
    ),
    ("ImportError: numpy.core.umath failed to import", "numpy-abi-mismatch"),
    ("AttributeError: `np.complex_` was removed in the NumPy 2.0 release. Use `np.complex128`", "numpy-abi-mismatch"),
    ("TypeError: Descriptors cannot be created directly.", "protobuf-mismatch"),
    ("Protobuf Gencode/Runtime versions when loading a.proto: gencode 6.31.1 runtime 5.28.3. It", "protobuf-mismatch"),
    ("ImportError: cannot import name 'runtime_version' from 'google.protobuf' (/a/b.py)", "protobuf-mismatch"),
    (
        "ImportError: DLL load failed while importing _pywrap_tensorflow_internal: The specified module",
        "vc-redist-missing",
    ),
    (
        'OSError: [WinError 126] The specified module could not be found. Error loading "C:\\c10.dll" or',
        "vc-redist-missing",
    ),
    ("OSError: [WinError 1455] The paging file is too small for this operation", "host-out-of-memory"),
    ("Could not find 'cudart64_110.dll'. TensorFlow requires", "cuda-libraries-missing"),
    ("(mach-o file, but is an incompatible architecture (have 'x86_64', need 'arm64'))", "cpu-arch-emulated"),
    ("AttributeError: partially initialized module 'torch' has no attribute 'nn'", "shadowed-module"),
    (
        "ImportError: cannot import name 'x' from 'random' (consider renaming '/home/me/random.py' since",
        "shadowed-module",
    ),
    ("ModuleNotFoundError: No module named 'distutils'", "python-version-unsupported"),
    ("ModuleNotFoundError: No module named '_lzma'", "missing-system-library"),
    ("ModuleNotFoundError: No module named 'torch._C'", "broken-install"),
    ("ModuleNotFoundError: No module named 'filelock'", "package-not-installed"),
    ("ModuleNotFoundError: No module named 'keras.src.engine'", "keras-2-3-mismatch"),
    ("compiled to use AVX2 instructions, but these aren't available on your machine", "cpu-instructions-missing"),
    ("OMP: Error #15: Initializing libiomp5md.dll, but found libiomp5md.dll already initialized.", "openmp-duplicate"),
    ("RuntimeError: operator torchvision::nms does not exist", "framework-companion-mismatch"),
    ("OSError: [Errno 28] No space left on device", "disk-full"),
    ("OSError: [Errno 24] Too many open files: '/a'", "open-files-limit"),
    ("EOFError: bad marshal data (unknown type code)", "broken-install"),
]


@pytest.mark.parametrize(("text", "cause"), TEXTS)
def test_each_text_speaks_for_its_cause(text: str, cause: str) -> None:
    assert candidates(text)[0].cause == cause


def test_ordinary_text_speaks_for_nothing() -> None:
    assert (
        candidates("Epoch 1/10\nloss 0.3\nThis TensorFlow binary is optimized to use available CPU instructions") == []
    )


def test_the_deeper_reason_that_tensorflow_wraps_is_the_one_that_counts() -> None:
    text = (
        'Traceback (most recent call last):\n  File "pywrap.py", line 58, in <module>\n'
        f"ImportError: libcublas.so.10.0: {NO_FILE}\n\nFailed to load the native TensorFlow runtime.\n"
        "ModuleNotFoundError: No module named '_pywrap_tensorflow_internal'"
    )
    assert candidates(text)[0].cause == "cuda-libraries-missing"


def test_the_exception_speaks_before_what_was_printed() -> None:
    framework = Framework(
        state="failed", error_type="ImportError", error=f"libcudnn.so.8: {NO_FILE}", stderr="No module named 'tensorrt'"
    )
    assert [candidate.cause for candidate in of_framework(framework)] == [
        "cuda-libraries-missing",
        "package-not-installed",
    ]


@pytest.mark.parametrize(
    ("framework", "cause"),
    [
        (Framework(state="crash", signal="SIGILL", stage="import"), "cpu-instructions-missing"),
        (Framework(state="crash", signal="SIGKILL", stage="import"), "host-out-of-memory"),
        (Framework(state="crash", signal="SIGSEGV", stage="import"), "broken-install"),
        (Framework(state="timeout", stage="devices"), "driver-hung"),
        (Framework(state="exit", exit_code=3, stage="import"), "broken-install"),
    ],
)
def test_a_bare_end_speaks_for_a_cause_that_is_only_likely(framework: Framework, cause: str) -> None:
    found = of_framework(framework)
    assert found[0].cause == cause
    assert found[0].confidence.value != "certain"


def test_a_framework_that_works_has_no_candidates() -> None:
    assert of_framework(Framework(state="ok", stderr="No module named 'tensorrt'")) == []
    assert of_framework(Framework(state="not-imported")) == []


def test_the_innermost_frames_are_those_that_faulthandler_printed_last() -> None:
    stderr = (
        "Timeout (0:00:03)!\nThread 0x00007f (most recent call first):\n"
        '  File "/a/torch/__init__.py", line 3 in wait\n  File "/a/torch/__init__.py", line 9 in <module>\n'
    )
    assert last_frames(stderr, 1) == "/a/torch/__init__.py:3 in wait"
    assert last_frames("nothing of the kind", 3) == ""


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    candidates(text)
