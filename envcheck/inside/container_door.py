"""The door to a container: answer what envcheck, outside, asks of the machine as it is seen from in here.

Started as `python3 -c <this text>`; reads a JSON request a line from standard input and writes a JSON answer a line.
The first request brings the scripts that are to be run in here; they are gone when standard input is closed.  The
answers have the form that `envcheck/system.py` documents.  Runs on Python 3.6 and later.
"""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

READ_LIMIT = 4 * 1024 * 1024
OUTPUT_LIMIT = 512 * 1024
GRACE_SECONDS = 0.3

_write_lock = threading.Lock()
_out = os.dup(1)
_folder = ""


def words(error):
    """Return the operating system's words."""
    return getattr(error, "strerror", None) or str(error)


def read(path):
    """Return the content of a file."""
    try:
        with open(path, "rb") as file:
            data = file.read(READ_LIMIT)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        return {"outcome": "absent", "reason": words(error)}
    except PermissionError as error:
        return {"outcome": "denied", "reason": words(error)}
    except (OSError, ValueError) as error:
        return {"outcome": "garbled", "reason": words(error)}
    return {"outcome": "ok", "text": data.decode("utf-8", "replace")}


def entries(path):
    """Return the names in a folder."""
    try:
        return sorted(os.listdir(path))
    except (OSError, ValueError):
        return None


KINDS = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "folder"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
    (stat.S_ISSOCK, "socket"),
)


def status(path):
    """Return what is at a path."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return {"outcome": "broken-link" if os.path.islink(path) else "absent"}
    except (OSError, ValueError):
        return {"outcome": "denied"}
    return {
        "outcome": "ok",
        "kind": next((kind for test, kind in KINDS if test(found.st_mode)), "other"),
        "real_path": os.path.realpath(path),
        "mode": "%04o" % stat.S_IMODE(found.st_mode),
        "group": group_name(found.st_gid),
        "size": found.st_size,
        "readable": os.access(path, os.R_OK),
        "writable": os.access(path, os.W_OK),
        "executable": os.access(path, os.X_OK),
    }


def group_name(number):
    """Return a group's name, its number where it has none."""
    try:
        import grp

        return grp.getgrgid(number).gr_name
    except (ImportError, KeyError):
        return str(number)


def link(path):
    """Return the target of a symbolic link."""
    try:
        return os.readlink(path)
    except (OSError, ValueError):
        return None


def space(path):
    """Return the room in a file system."""
    try:
        found = os.statvfs(path)
    except PermissionError:
        return {"outcome": "denied"}
    except (OSError, ValueError):
        return {"outcome": "absent"}
    return {
        "outcome": "ok",
        "total_bytes": found.f_blocks * found.f_frsize,
        "free_bytes": found.f_bavail * found.f_frsize,
        "total_inodes": found.f_files,
        "free_inodes": found.f_favail,
    }


def run(argv, deadline, variables, stdin):
    """Run a program to its end or its deadline; then it is killed with all that it started."""
    began = time.monotonic()
    # `{inside}` stands for the folder that the scripts were written to.
    argv = [part.replace("{inside}", _folder) for part in argv]
    environment = dict(os.environ)
    environment.update(variables or {})
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        return {"outcome": "absent", "reason": words(error)}
    except PermissionError as error:
        return {"outcome": "denied", "reason": words(error)}
    except (OSError, ValueError) as error:
        return {"outcome": "garbled", "reason": words(error)}
    kept = [bytearray(), bytearray()]
    threads = [
        threading.Thread(target=collect, args=(stream, into), daemon=True)
        for stream, into in ((process.stdout, kept[0]), (process.stderr, kept[1]))
    ]
    for thread in threads:
        thread.start()
    timed_out = False
    try:
        if stdin:
            process.stdin.write(stdin.encode())
            process.stdin.close()
    except OSError:
        pass
    try:
        process.wait(deadline)
    except subprocess.TimeoutExpired:
        timed_out = True
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except OSError:
        pass
    process.wait()
    for thread in threads:
        thread.join(GRACE_SECONDS)
    code = process.returncode
    ended = code < 0 and not timed_out
    return {
        "outcome": "timeout" if timed_out else "signal" if ended else "ok",
        "exit_code": None if timed_out or ended else code,
        "signal": signal_name(-code) if ended else "",
        "stdout": bytes(kept[0]).decode("utf-8", "replace"),
        "stderr": bytes(kept[1]).decode("utf-8", "replace"),
        "seconds": time.monotonic() - began,
    }


def collect(stream, into):
    """Read a stream to its end, so that a full pipe never stops the program; keep its first and its last part."""
    half = OUTPUT_LIMIT // 2
    try:
        while True:
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                return
            into += chunk
            if len(into) > OUTPUT_LIMIT:
                del into[half : len(into) - half]
    except (OSError, ValueError):
        pass


def signal_name(number):
    """Return the name of a signal."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return "signal %d" % number


def ask(question):
    """Return the answer to a question of `envcheck/questions.py`; None where it has none in here."""
    try:
        return QUESTIONS[question]()
    except Exception:
        return None


def uname():
    """Return the kernel's names."""
    found = os.uname()
    return {"system": found.sysname, "release": found.release, "version": found.version, "machine": found.machine}


def libc():
    """Return the C library and its version."""
    name, _, version = os.confstr("CS_GNU_LIBC_VERSION").partition(" ")
    return [name, version]


def user_groups():
    """Return the groups of this process."""
    return [group_name(number) for number in os.getgroups()]


def resource_limits():
    """Return limit to soft and hard value; -1 is unlimited."""
    import resource

    names = (
        ("open_files", "RLIMIT_NOFILE"),
        ("locked_memory", "RLIMIT_MEMLOCK"),
        ("processes", "RLIMIT_NPROC"),
        ("stack", "RLIMIT_STACK"),
        ("address_space", "RLIMIT_AS"),
        ("file_size", "RLIMIT_FSIZE"),
    )
    return {
        name: [
            -1 if limit == resource.RLIM_INFINITY else limit
            for limit in resource.getrlimit(getattr(resource, constant))
        ]
        for name, constant in names
    }


def physical_cores():
    """Return the machine's cores, from the kernel's list."""
    with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
        cores, package = set(), ""
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() == "physical id":
                package = value.strip()
            elif name.strip() == "core id":
                cores.add((package, value.strip()))
    return len(cores) or None


QUESTIONS = {
    "uname": uname,
    "libc": libc,
    "macos_version": lambda: "",
    "windows_version": lambda: ["", "", "", ""],
    "home": lambda: os.path.expanduser("~"),
    "working_directory": os.getcwd,
    "temporary_folder": tempfile.gettempdir,
    "own_interpreter": lambda: sys.executable,
    "user_id": os.getuid,
    "user_groups": user_groups,
    "affinity_cores": lambda: len(os.sched_getaffinity(0)),
    "logical_cores": os.cpu_count,
    "physical_cores": physical_cores,
    "load_average": lambda: os.getloadavg()[0],
    "resource_limits": resource_limits,
}


def scripts(files):
    """Write the scripts that are to be run in here, into a folder of this process's own."""
    global _folder  # noqa: PLW0603 - one folder for the whole process
    for parent in (None, "/dev/shm", "/var/tmp", os.path.expanduser("~")):  # noqa: S108 - a folder of its own in each
        try:
            _folder = tempfile.mkdtemp(prefix="envcheck-", dir=parent)
            for name, text in files.items():
                with open(os.path.join(_folder, name), "w", encoding="utf-8") as file:
                    file.write(text)
            return {"folder": _folder}
        except OSError as error:
            reason = words(error)
            clean_up()
    return {"folder": "", "reason": reason}


def clean_up():
    """Remove the scripts."""
    if _folder:
        shutil.rmtree(_folder, ignore_errors=True)


OPERATIONS = {
    "read": read,
    "entries": entries,
    "status": status,
    "link": link,
    "space": space,
    "run": run,
    "which": shutil.which,
    "getenv": os.environ.get,
    "variables": lambda: dict(os.environ),
    "ask": ask,
    "scripts": scripts,
}


def answer(request):
    """Carry out one request and write its answer."""
    try:
        value = OPERATIONS[request["operation"]](*request["arguments"])
        said = {"id": request["id"], "value": value}
    except Exception as error:
        said = {"id": request["id"], "error": "%s: %s" % (type(error).__name__, error)}
    data = (json.dumps(said) + "\n").encode("ascii")
    with _write_lock:
        while data:
            data = data[os.write(_out, data) :]


def main():
    """Answer until standard input is closed."""
    # Nothing but answers goes to standard output.
    os.dup2(2, 1)
    try:
        for line in sys.stdin:
            threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
    finally:
        clean_up()
        os._exit(0)


main()
