"""The pace of the machine without a framework: NumPy's products and memory, and the disk; see pace.py."""

import ctypes
import mmap
import os
import tempfile

PACKAGE = "numpy"
REFERENCE = ""

state = {}

BLOCK = 1 << 20  # bytes of one read
WRITTEN = {"quick": 32 << 20, "standard": 256 << 20, "full": 1 << 30}  # bytes of the file that is read back
FREE_SHARE = 4  # at most this part of the free space is written


def prepare(_reference, settings):
    """Get ready."""
    import numpy as np

    state.update(numpy=np, random=np.random.RandomState(settings["seed"]))


def wait():
    """Return at once: NumPy has finished when it returns."""


def tasks():
    """Return the names of the tasks."""
    return ["GEMM", "memory", "disk"]


def perform(name, bench):
    """Do one task."""
    {"GEMM": _products, "memory": _memory, "disk": _disk}[name](bench)


def _products(bench):
    numpy, side = state["numpy"], bench.side()
    for dtype in ("float32", "float64"):
        one, other = (state["random"].standard_normal((side, side)).astype(dtype) for _ in range(2))
        product = numpy.empty_like(one)
        moved = 3.0 * side * side * one.itemsize
        bench.measure(
            "GEMM",
            lambda one=one, other=other, product=product: numpy.dot(one, other, out=product),
            wait,
            flops=2.0 * side**3,
            bytes=moved,
            dtype=dtype,
            side=side,
        )


def _memory(bench):
    numpy = state["numpy"]
    count = bench.settings["array_bytes"] // 8
    one, other, result = numpy.ones(count), numpy.ones(count), numpy.ones(count)

    def triad():
        numpy.multiply(other, 3.0, out=result)
        numpy.add(result, one, out=result)

    # NumPy has no operation for the whole triad: the two that it takes read three arrays and write two.
    bench.measure(
        "triad",
        triad,
        wait,
        flops=2.0 * count,
        bytes=40.0 * count,
        dtype="float64",
        array_bytes=8 * count,
        note="two operations on one core, five passes over the arrays",
    )


def _disk(bench):
    """Read files with an empty page cache: those of --data, else one that is written for it."""
    data = bench.settings["data"]
    limit = WRITTEN[bench.size]
    if data:
        paths = _files(data, limit)
        if not paths:
            bench.unavailable("disk read", "%s has no file to read" % data)
            return
        _read_files(bench, paths, limit, data, written=False)
        return
    folder = tempfile.gettempdir()
    space = os.statvfs(folder) if hasattr(os, "statvfs") else None
    if space is not None:
        limit = min(limit, space.f_bavail * space.f_frsize // FREE_SHARE)
    if limit < BLOCK:
        bench.unavailable("disk read", "%s is full" % folder)
        return
    # Random bytes: a file system that packs or deduplicates would make little of equal ones.
    block = os.urandom(BLOCK)
    descriptor, path = tempfile.mkstemp(prefix="envcheck-pace-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for number in range(limit // BLOCK):
                file.write(number.to_bytes(8, "little") + block[8:])
            file.flush()
            os.fsync(file.fileno())
        _read_files(bench, [path], limit, folder, written=True)
    finally:
        os.unlink(path)


def _files(path, limit):
    """Return the largest files in a folder, as many as it takes to read so many bytes."""
    if os.path.isfile(path):
        return [path]
    sizes = []
    for folder, _, names in os.walk(path):
        for name in names:
            found = os.path.join(folder, name)
            try:
                if os.path.isfile(found) and not os.path.islink(found):
                    sizes.append((os.path.getsize(found), found))
            except OSError:
                pass
        if len(sizes) > 20000:
            break
    chosen, total = [], 0
    for size, found in sorted(sizes, reverse=True):
        if size and total < limit:
            chosen.append(found)
            total += size
    return chosen


def _read_files(bench, paths, limit, folder, written):
    resident, seconds, total = [], [], 0
    share = bench.share()
    for _ in range(3 if bench.size == "quick" else 5):
        resident.append(max([_forget(path) for path in paths], key=lambda part: -1 if part is None else part))
        took, total = _read(paths, limit)
        seconds.append(took)
    known = [part for part in resident if part is not None]
    bench.tell(
        "disk read",
        seconds,
        share,
        bytes=float(total),
        folder=folder,
        files=len(paths),
        written=written,
        cached_share=max(known) if known and len(known) == len(resident) else None,
        cache_dropped=hasattr(os, "posix_fadvise"),
    )


def _forget(path):
    """Have the kernel drop a file from its page cache; return which part of it stayed there, None where unknown."""
    with _opened(path) as file:
        if not hasattr(os, "posix_fadvise"):
            return None
        try:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass
        return _resident_part(file)


def _opened(path):
    """Open a file for reading without Python's own buffer."""
    return open(path, "rb", buffering=0)


def _resident_part(file):
    """Return which part of a file lies in memory, asked with mincore(2); None where that cannot be asked."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        return 0.0
    try:
        # Private and writable, so that ctypes may take its address; nothing is written.
        view = mmap.mmap(file.fileno(), size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    except (OSError, ValueError, AttributeError):
        return None
    try:
        pages = -(-size // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        start = ctypes.c_char.from_buffer(view)
        try:
            mincore = ctypes.CDLL(None, use_errno=True).mincore
            failed = mincore(ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(size), found)
        finally:
            del start
        return None if failed else sum(page & 1 for page in found) / float(pages)
    except (AttributeError, OSError, ValueError):
        return None
    finally:
        view.close()


def _read(paths, limit):
    """Read files from their start to their end, or until so many bytes; return seconds and bytes."""
    import time

    total, buffer = 0, bytearray(BLOCK)
    began = time.perf_counter()
    for path in paths:
        with _opened(path) as file:
            while total < limit:
                got = file.readinto(buffer)
                if not got:
                    break
                total += got
    return time.perf_counter() - began, total
