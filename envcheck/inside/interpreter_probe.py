"""What the interpreter under test says of itself, and which distributions its metadata lists.

Nothing is imported but the standard library, and of that as little as can be: this is the whole cost of looking at an
environment.  Runs on Python 2.7 and on 3.4 or later; older ones end in a syntax error or an exception, which is an
answer too.

It says one object of kind `python`, then one of kind `packages`.
"""

import os
import sys

import envcheck_channel as channel

IMPORT_SUFFIXES = (".py", ".so", ".pyd")

NEVER_SHADOWS = frozenset(["test", "tests", "this", "antigravity", "idlelib", "lib2to3", "turtledemo", "__pycache__"])
"""Names in the standard library's folder that nothing imports, and that projects use for their own."""

LARGE_FAMILIES = ("torch", "tensorflow", "keras", "numpy", "nvidia-", "jax", "triton", "tf-keras", "tf-nightly")
"""Distributions whose RECORD is compared with what is on disk."""

FILES_LOOKED_AT = 3000
"""Files of one RECORD that are looked at: shared libraries and packages, not every header."""

METADATA_LIMIT = 65536
"""Bytes of METADATA that are read: the header stands at the beginning."""


def read(path, limit=METADATA_LIMIT):
    """Return the beginning of a file as text; None where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except (OSError, IOError, ValueError):
        return None
    try:
        return os.read(descriptor, limit).decode("utf-8", "replace")
    except (OSError, IOError):
        return None
    finally:
        os.close(descriptor)


def entries(folder):
    """Return the names in a folder; an empty list where it may not be read."""
    try:
        return sorted(os.listdir(folder))
    except (OSError, IOError, ValueError):
        return []


def normalised(name):
    """Return a distribution's name in its normal form (PEP 503)."""
    parts = [part for part in name.replace("_", "-").replace(".", "-").lower().split("-") if part]
    return "-".join(parts)


def platform_tag():
    """Return what wheels call this platform, such as `linux-x86_64`."""
    try:
        import sysconfig

        return sysconfig.get_platform()
    except Exception:
        return None


def system_name():
    """Return `os.uname()` as a list of five; Windows has none and is asked through `platform`."""
    if hasattr(os, "uname"):
        return list(os.uname())
    import platform

    return list(platform.uname()[:5])


def markers(uname):
    """Return the environment markers of PEP 508."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info[3] != "final":
        version += sys.version_info[3][0] + str(sys.version_info[4])
    implementation = getattr(sys, "implementation", None)
    name = implementation.name if implementation else "cpython"
    names = {"cpython": "CPython", "pypy": "PyPy"}
    return {
        "implementation_name": name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": uname[4],
        "platform_python_implementation": names.get(name, name),
        "platform_release": uname[2],
        "platform_system": uname[0],
        "platform_version": uname[3],
        "python_full_version": version,
        "python_version": "%d.%d" % sys.version_info[:2],
        "sys_platform": sys.platform,
    }


def configuration():
    """Return what pyvenv.cfg says, and whether there is one."""
    text = read(os.path.join(sys.prefix, "pyvenv.cfg"))
    found = {}
    for line in (text or "").splitlines():
        key, separator, value = line.partition("=")
        if separator:
            found[key.strip().lower()] = value.strip()
    return found, text is not None


def environment_kind(base_prefix, config, has_config):
    """Return what made this environment."""
    if os.path.isdir(os.path.join(sys.prefix, "conda-meta")):
        return "conda"
    if has_config or sys.prefix != base_prefix:
        if "uv" in config:
            return "uv"
        return "virtualenv" if "virtualenv" in config or hasattr(sys, "real_prefix") else "venv"
    prefix = sys.prefix.replace("\\", "/").lower()
    if "/.pyenv/versions/" in prefix or "/pyenv/versions/" in prefix:
        return "pyenv"
    if "/windowsapps/" in prefix or "pythonsoftwarefoundation" in prefix:
        return "store"
    if ".framework/versions/" in prefix:
        return "framework"
    if "/uv/python/" in prefix:
        return "uv-managed"
    return "system"


def standard_library():
    """Return the folder that the standard library lies in."""
    return os.path.dirname(os.path.abspath(os.__file__))


def site_packages(path):
    """Return the folder that pip installs into: the one under the prefix, as the search path has it."""
    try:
        import sysconfig

        folder = sysconfig.get_paths()["purelib"]
        # Debian's patched pip installs into the local scheme; its own folder is the distribution's.
        if os.path.isdir(folder) or not path:
            return folder
    except Exception:
        folder = None
    found = [name for name in path if os.path.basename(name) in ("site-packages", "dist-packages")]
    under = [name for name in found if name.startswith(sys.prefix)]
    return (under or found or [folder])[0]


def user_site():
    """Return the folder of the user's own packages, and whether imports look there."""
    try:
        import site

        folder = site.getusersitepackages()
        return folder, bool(site.ENABLE_USER_SITE)
    except Exception:
        return None, None


def holds_packages(folder, listing):
    """Tell whether an installer put packages into a folder: site-packages, or one that `pip --target` filled."""
    return os.path.basename(folder) in ("site-packages", "dist-packages") or any(
        name.endswith(".dist-info") for name in listing
    )


def module_of(folder, name):
    """Return the module that a name in a folder would be imported as; an empty string where it would not."""
    for suffix in IMPORT_SUFFIXES:
        if name.endswith(suffix):
            return name.partition(".")[0]
    if "." in name:
        return ""
    # A folder without __init__.py gives way to any module further down the path.
    return name if os.path.isfile(os.path.join(folder, name, "__init__.py")) else ""


BEFORE_THE_PATH = {"abc", "codecs", "genericpath", "io", "ntpath", "os", "posixpath", "site", "stat", "zipimport"}
"""Modules that are in place before the search path is looked at."""


def is_there(module, folder, names):
    """Tell whether a folder has a module, as a file or as a package."""
    return (
        module + ".py" in names
        or (module in names and os.path.isfile(os.path.join(folder, module, "__init__.py")))
        or any(name.startswith(module + ".") and name.endswith(IMPORT_SUFFIXES) for name in names)
    )


def shadows(path, listings):
    """Return files in the working directory, or on PYTHONPATH, that hide a module further down the search path."""
    library = standard_library()
    standard = [(folder, set(entries(folder))) for folder in (library, os.path.join(library, "lib-dynload"))]
    left_alone = BEFORE_THE_PATH.union(sys.builtin_module_names)
    installed = [(folder, set(listings[folder])) for folder in path if holds_packages(folder, listings[folder])]
    own = [os.getcwd()]
    own += [os.path.abspath(part) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    never = {os.path.realpath(folder) for folder in (library, os.path.dirname(library), sys.prefix)}
    found = []
    for folder in unique_folders(own):
        names = entries(folder)
        if os.path.realpath(folder) in never or holds_packages(folder, names):
            continue
        for name in names:
            module = module_of(folder, name)
            if not module or module in NEVER_SHADOWS:
                continue
            whole = os.path.join(folder, name)
            if module not in left_alone and any(is_there(module, where, names) for where, names in standard):
                found.append({"module": module, "path": whole, "hides": "standard library"})
                continue
            hidden = [os.path.join(where, name) for where, names in installed if is_there(module, where, names)]
            if hidden and os.path.realpath(hidden[0]) != os.path.realpath(whole):
                found.append({"module": module, "path": whole, "hides": "installed package"})
    return found[:50]


def header(text):
    """Return the fields of a metadata header: name in lower case → list of values."""
    fields = {}
    last = None
    for line in text.replace("\r\n", "\n").partition("\n\n")[0].splitlines():
        if not line.strip():
            break
        if line[0] in " \t":
            if last:
                last[-1] += " " + line.strip()
            continue
        key, separator, value = line.partition(":")
        if separator:
            last = fields.setdefault(key.strip().lower(), [])
            last.append(value.strip())
    return fields


def paths_with(text, mark):
    """Yield the paths of those lines of a RECORD that hold a mark: to search is quicker than to read each line."""
    at = text.find(mark)
    while at >= 0:
        end = text.find("\n", at)
        end = len(text) if end < 0 else end
        yield text[text.rfind("\n", 0, at) + 1 : end].split(",")[0].strip('"\r')
        at = text.find(mark, end)


def missing_files(folder, name):
    """Return which of the shared libraries and packages that RECORD names are gone or empty; None without a RECORD."""
    text = read(os.path.join(folder, name, "RECORD"), 32 * 1024 * 1024)
    if text is None:
        return None
    wanted = [path for path in paths_with(text, "/__init__.py,") if path.count("/") <= 2]
    marks = {"win32": (".pyd,", ".dll,"), "darwin": (".so", ".dylib,")}.get(sys.platform, (".so",))
    for mark in marks:
        wanted += [path for path in paths_with(text, mark) if mark != ".so" or path.endswith(".so") or ".so." in path]
    missing = []
    for path in wanted[:FILES_LOOKED_AT]:
        if path.startswith(("..", "/")):
            continue
        try:
            gone = os.stat(os.path.join(folder, path)).st_size == 0 and not path.endswith("__init__.py")
        except (OSError, IOError):
            gone = True
        if gone:
            missing.append(path)
    return missing


def tags(text):
    """Return the tags of a WHEEL file that say more than `any`."""
    found = [line.partition(":")[2].strip() for line in (text or "").splitlines() if line.startswith("Tag:")]
    return [tag for tag in found if not tag.endswith("-none-any")][:12]


def distribution(folder, name):
    """Return what one `.dist-info` or `.egg-info` says, or what is wrong with it."""
    whole = os.path.join(folder, name)
    stem = name.rpartition(".")[0]
    guess = normalised(stem.partition("-")[0])
    if name.endswith(".dist-info"):
        metadata = os.path.join(whole, "METADATA")
    else:
        metadata = os.path.join(whole, "PKG-INFO") if os.path.isdir(whole) else whole
    text = read(metadata)
    if text is None:
        reason = "%s is missing or may not be read" % os.path.basename(metadata)
        return None, {"name": guess, "path": whole, "reason": reason}
    fields = header(text)
    title, version = fields.get("name", [""])[0], fields.get("version", [""])[0]
    if not title or not version:
        reason = (
            "%s is empty" % os.path.basename(metadata)
            if not text.strip()
            else ("%s names no %s" % (os.path.basename(metadata), "version" if title else "name"))
        )
        return None, {"name": normalised(title) or guess, "path": whole, "reason": reason}
    found = {
        "name": normalised(title),
        "version": version,
        "location": folder,
        "requires": fields.get("requires-dist", []),
        "requires_python": fields.get("requires-python", [""])[0],
        "installer": "",
    }
    if name.endswith(".dist-info"):
        found["installer"] = (read(os.path.join(whole, "INSTALLER"), 100) or "").strip()
        found["extension_tags"] = tags(read(os.path.join(whole, "WHEEL"), 4096))
        direct = read(os.path.join(whole, "direct_url.json"))
        found["editable"] = '"editable"' in (direct or "") and "true" in direct
        if found["name"].startswith(LARGE_FAMILIES):
            missing = missing_files(folder, name)
            found["missing_files"] = None if missing is None else len(missing)
            found["missing_examples"] = (missing or [])[:5]
    elif os.path.isdir(whole):
        requirements = read(os.path.join(whole, "requires.txt"))
        found["requires"] = found["requires"] or egg_requirements(requirements)
    return found, None


def egg_requirements(text):
    """Return the requirements of an egg's requires.txt that hold without an extra."""
    found = []
    for line in (text or "").splitlines():
        if line.startswith("["):
            break
        if line.strip():
            found.append(line.strip())
    return found


def packages(path, listings):
    """Return installed distributions, hidden copies and damaged ones."""
    installed, hidden, damaged, development = {}, [], [], []
    here = os.path.realpath(os.getcwd())
    for folder in path:
        packaged = holds_packages(folder, listings[folder])
        if not packaged and os.path.realpath(folder) == here:
            # `pip list` would count the project that one stands in; what is installed is what is asked.
            continue
        for name in listings[folder]:
            if name.startswith("~") and packaged:
                stem = name.lstrip("~").partition(".dist-info")[0].partition("-")[0]
                reason = "left over by an uninstallation or upgrade that was interrupted"
                damaged.append({"name": "~" + stem, "path": os.path.join(folder, name), "reason": reason})
                continue
            if not name.endswith((".dist-info", ".egg-info")):
                continue
            found, fault = distribution(folder, name)
            if fault:
                damaged.append(fault)
            elif not packaged:
                found["editable"] = True
                development.append(found)
            elif found["name"] in installed:
                hidden.append(found)
            else:
                installed[found["name"]] = found
    for found in development:
        installed.setdefault(found["name"], found)
    return without_unasked_extras(list(installed.values())), hidden, damaged


def without_unasked_extras(found):
    """Return distributions without the requirements of extras that no other distribution asks for."""
    asked, before = set(), None
    while before != len(asked):
        before = len(asked)
        for package in found:
            for line in package["requires"]:
                name, bracket, _ = line.partition(";")[0].partition("[")
                if bracket and ("extra ==" not in line or package["name"] in asked):
                    asked.add(normalised(name.strip()))
    for package in found:
        if package["name"] not in asked:
            package["requires"] = [line for line in package["requires"] if "extra ==" not in line]
    return found


def conda_packages():
    """Return the names in conda's own records."""
    return [
        normalised(name[: -len(".json")].rsplit("-", 2)[0])
        for name in entries(os.path.join(sys.prefix, "conda-meta"))
        if name.endswith(".json") and name.count("-") >= 2
    ]


def unique_folders(path):
    """Return the folders of a search path, in order, each once."""
    found, seen = [], set()
    for folder in path:
        real = os.path.realpath(folder or ".")
        if real not in seen and os.path.isdir(real):
            seen.add(real)
            found.append(os.path.abspath(folder))
    return found


def main():
    """Say both objects."""
    path = channel.path
    # What the user's own `python -c` puts first is the working directory, written as an empty string.
    folders = unique_folders([folder for folder in path if folder])
    listings = {folder: entries(folder) for folder in folders}
    base_prefix = getattr(sys, "real_prefix", None) or getattr(sys, "base_prefix", sys.prefix)
    config, has_config = configuration()
    uname = system_name()
    target = site_packages([folder for folder in path if folder])
    personal, personal_enabled = user_site()
    known = markers(uname)
    installed, hidden, damaged = packages(folders, listings)
    pip = [found for found in installed if found["name"] == "pip"]
    library = standard_library()
    free_threaded = not getattr(sys, "_is_gil_enabled", lambda: True)() or "t" in getattr(sys, "abiflags", "")
    channel.say(
        "python",
        executable=os.path.realpath(sys.executable) if sys.executable else None,
        version=known["python_full_version"],
        implementation=known["platform_python_implementation"],
        free_threaded=bool(free_threaded) and sys.version_info >= (3, 13),
        bits=64 if sys.maxsize > 2**32 else 32,
        machine=uname[4],
        platform_tag=platform_tag(),
        prefix=sys.prefix,
        base_prefix=base_prefix,
        environment_kind=environment_kind(base_prefix, config, has_config),
        externally_managed=os.path.isfile(os.path.join(library, "EXTERNALLY-MANAGED")) and sys.prefix == base_prefix,
        site_packages=target,
        site_packages_writable=os.access(target, os.W_OK) if target and os.path.isdir(target) else None,
        search_path=list(path),
        user_site=personal,
        user_site_enabled=personal_enabled,
        python_path=[part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part],
        pip_version=pip[0]["version"] if pip else "",
        made_for_version=config.get("version_info") or config.get("version") or "",
        base_missing="",
        shadows=shadows(folders, listings),
    )
    channel.say(
        "packages",
        installed=installed,
        hidden=hidden,
        damaged=damaged,
        conda_managed=conda_packages(),
        markers=known,
    )


main()
channel.end()
