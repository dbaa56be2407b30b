"""What the commands of a stage install: with pip or uv, conda, and the system's package manager.

Source: pip's documentation ("pip install", "Requirements File Format", environment variables PIP_*), uv's ("uv pip"),
conda's ("conda install").
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from envcheck.compat.packages import normalised
from envcheck.imagelint.shell import Command, Word
from envcheck.imagelint.source import Place

_VALUED = frozenset(
    [
        "-r",
        "--requirement",
        "-c",
        "--constraint",
        "-i",
        "--index-url",
        "--extra-index-url",
        "-f",
        "--find-links",
        "-t",
        "--target",
        "--prefix",
        "--root",
        "-e",
        "--editable",
        "--platform",
        "--python-version",
        "--python",
        "--implementation",
        "--abi",
        "--upgrade-strategy",
        "--no-binary",
        "--only-binary",
        "--timeout",
        "--retries",
        "--trusted-host",
        "--proxy",
        "--cert",
        "--client-cert",
        "--cache-dir",
        "--log",
        "--config-settings",
        "-C",
        "--global-option",
        "--src",
        "--progress-bar",
        "--root-user-action",
        "--report",
        "--exists-action",
        "--keyring-provider",
        "--group",
        "--default-index",
        "--index",
        "--torch-backend",
        "--index-strategy",
        "--resolution",
        "--prerelease",
        "--link-mode",
        "--exclude-newer",
        "-p",
        "-b",
        "--build",
        "--dest",
        "-d",
        "--build-constraint",
        "--override",
        "-w",
        "--wheel-dir",
    ]
)
_WHEEL = re.compile(
    r"(?:^|/)(?P<name>[A-Za-z0-9_.]+)-(?P<version>[0-9][^-/]*)(?:-\d[^-/]*)?-(?P<python>[a-z0-9.]+)-(?P<abi>[a-z0-9_.]+)"
    r"-(?P<platform>[A-Za-z0-9_.]+)\.whl(?:[#?].*)?$"
)
_PIP = re.compile(r"pip(\d+(?:\.\d+)?)?$")
_PYTHON = re.compile(r"python(\d+(?:\.\d+)?)?$")
_PYTORCH_INDEX = re.compile(r"pytorch\.org/whl(?:/nightly)?/(?:test/)?(cu\d{2,3}|cpu|rocm[\d.]+|xpu)\b")
_DEEPEST_REQUIREMENTS = 8


class Wheel(msgspec.Struct, frozen=True):
    """What the file name of a wheel says (PEP 427)."""

    name: str
    version: str
    python: str
    abi: str
    platform: str


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """A distribution that is asked for.

    Attributes:
        name: normalised.
        written: as it stands.
        extras: such as "and-cuda".
        specifier: "==2.6.0+cu124"; empty where any version will do, or where it is not known (a variable).
        variable: whether its version comes from a variable without a value here.
        wheel: where it is a wheel's file or address.
        place: where it stands: the Dockerfile, or a requirements file.
    """

    name: str
    written: str
    place: Place
    extras: list[str] = []
    specifier: str = ""
    variable: bool = False
    wheel: Wheel | None = None

    @property
    def pinned(self) -> str | None:
        """The one version that is asked for with `==`; None where several will do."""
        if self.wheel:
            return self.wheel.version
        match = re.fullmatch(r"={2,3}\s*([^,*\s]+)", self.specifier)
        return match[1] if match else None

    def admits(self, version: str) -> bool:
        """Tell whether a version satisfies what is asked for."""
        try:
            return SpecifierSet(self.specifier).contains(version, prereleases=True)
        except InvalidSpecifier:
            return False


class Install(msgspec.Struct, frozen=True, kw_only=True):
    """One command that installs.

    Attributes:
        tool: "pip" for pip and uv, "conda" for conda, mamba and micromamba, "system" for apt, dnf, yum, apk, zypper.
        command: as it stands, for evidence.
        place: where it stands.
        packages: what it names, requirements files included.
        unread: requirements files that could not be read.
        files: all requirements files that it names, as written.
        index: what replaces the default index.
        extra_indexes: what is asked besides.
        find_links: pages of files.
        interpreter: series of the Python that it names ("3.11"), "system" for a plain `pip`, "" for another one.
        channels: conda's.
        options: every word that begins with a dash, without values.
        folder: the working directory of the stage.
        uv: whether it is uv's.
    """

    tool: Literal["pip", "conda", "system"]
    command: str
    place: Place
    packages: list[Package] = []
    unread: list[str] = []
    files: list[Word] = []
    index: str = ""
    extra_indexes: list[str] = []
    find_links: list[str] = []
    interpreter: str = "system"
    channels: list[str] = []
    options: list[str] = []
    folder: str = "/"
    uv: bool = False

    def named(self, *names: str) -> Package | None:
        """Return the first package of these names that it asks for."""
        return next((package for package in self.packages if package.name in names), None)


Reader = Callable[[str], "tuple[str, str] | None"]
"""Gives the printed name and the text of a file that a command names, where it is known what lies there."""


def install_of(
    command: Command, path: str, environment: Mapping[str, str | None], folder: str, reader: Reader
) -> Install | None:
    """Return what a command installs, or None where it is no installation.

    Args:
        command: a simple command.
        path: of the Dockerfile, for places.
        environment: variables of the stage.
        folder: its working directory.
        reader: reads requirements files.
    """
    words = command.words
    place = Place(path, command.line, command.end_line)
    pip = _pip(words)
    if pip is not None:
        interpreter, uv, rest = pip
        settings = {**{name: value for name, value in environment.items() if value is not None}, **command.settings}
        return _with_pip(rest, interpreter, place, command.text, settings, folder, reader, uv=uv)
    program = command.program
    if program in {"conda", "mamba", "micromamba"}:
        return _with_conda(words, place, command.text)
    verbs = {"apt-get": "install", "apt": "install", "dnf": "install", "yum": "install", "microdnf": "install"}
    verbs |= {"apk": "add", "zypper": "install", "aptitude": "install"}
    if program in verbs and any(word.text == verbs[program] for word in words[1:]):
        return _with_system(words, verbs[program], place, command.text)
    return None


def _pip(words: Sequence[Word]) -> tuple[str, bool, list[Word]] | None:
    """Return the interpreter, whether it is uv, and the words after `install`; None where it is no `pip install`."""
    texts = [word.text for word in words]
    program = texts[0].rsplit("/", 1)[-1]
    inside = "/" in texts[0] and not texts[0].startswith(("/usr/", "/bin/"))
    python, pip = _PYTHON.fullmatch(program), _PIP.fullmatch(program)
    interpreter, uv, begin = "system", False, 1
    if python:
        module = next((at for at, text in enumerate(texts[:-1]) if text == "-m" and texts[at + 1] == "pip"), None)
        if module is None:
            return None
        interpreter, begin = _series(python[1], inside=inside), module + 2
    elif pip:
        interpreter = _series(pip[1], inside=inside)
    elif program == "uv" and "pip" in texts[1:4]:
        interpreter, uv, begin = "system", True, texts.index("pip") + 1
    elif program in {"conda", "mamba", "micromamba"} and "run" in texts[:2] and "pip" in texts:
        interpreter, begin = "", texts.index("pip") + 1
    else:
        return None
    verb = next((at for at in range(begin, len(texts)) if not texts[at].startswith("-")), None)
    if verb is None or texts[verb] not in {"install", "wheel", "download", "sync"}:
        return None
    rest = list(words[verb + 1 :])
    if texts[verb] == "sync":
        rest = [word for given in rest for word in (_option("-r", given), given)]
    return interpreter, uv, rest


def _option(text: str, beside: Word) -> Word:
    return Word(text, beside.line)


def _series(version: str | None, *, inside: bool) -> str:
    if version and "." in version:
        return version
    return "" if inside else "system"


def _with_pip(
    rest: list[Word],
    interpreter: str,
    place: Place,
    text: str,
    settings: Mapping[str, str],
    folder: str,
    reader: Reader,
    *,
    uv: bool,
) -> Install:
    prefix = "UV" if uv else "PIP"
    index = settings.get(f"{prefix}_INDEX_URL") or settings.get("UV_DEFAULT_INDEX" if uv else "", "")
    extra = (settings.get(f"{prefix}_EXTRA_INDEX_URL") or "").split()
    links = (settings.get(f"{prefix}_FIND_LINKS") or "").split()
    packages: list[Package] = []
    unread: list[str] = []
    files: list[Word] = []
    options: list[str] = []
    for name, value, word in _options(rest):
        if not name:
            package = requirement(value, Place(place.path, word.line, word.line))
            packages += [package] if package else []
            continue
        options.append(name)
        match name:
            case "-r" | "--requirement":
                files.append(Word(value, word.line))
                read = reader(value)
                if read is None:
                    unread.append(value)
                    continue
                found = requirements(read[1], read[0], reader)
                packages += found.packages
                unread += found.unread
                index, extra, links = found.index or index, extra + found.extra_indexes, links + found.find_links
            case "-i" | "--index-url" | "--default-index":
                index = value
            case "--extra-index-url" | "--index":
                extra.append(value)
            case "-f" | "--find-links":
                links.append(value)
            case "--torch-backend" if re.fullmatch(r"cu\d{2,3}|cpu|rocm[\d.]+", value):
                index = f"https://download.pytorch.org/whl/{value}"
            case "-p" | "--python" if re.fullmatch(r"(?:python)?\d\.\d+", value):
                interpreter = value.removeprefix("python")
    return Install(
        tool="pip",
        command=text,
        place=place,
        packages=packages,
        unread=unread,
        files=files,
        index=index,
        extra_indexes=extra,
        find_links=links,
        interpreter=interpreter,
        options=options,
        folder=folder,
        uv=uv,
    )


def _options(words: list[Word]) -> Iterator[tuple[str, str, Word]]:
    """Go through options and arguments: (name, value, word); the name is empty for an argument."""
    position = 0
    while position < len(words):
        word = words[position]
        name, separator, value = word.text.partition("=")
        if word.text.startswith(("<", ">", "2>", "1>")):
            return
        if not word.text.startswith("-"):
            yield "", word.text, word
        elif separator:
            yield name, value, word
        elif word.text in _VALUED and position + 1 < len(words):
            position += 1
            yield word.text, words[position].text, word
        elif re.match(r"-[rcife][^-]", word.text):
            yield word.text[:2], word.text[2:], word
        else:
            yield word.text, "", word
        position += 1


def requirement(text: str, place: Place) -> Package | None:
    """Return what a requirement asks for; None where it is a folder, an address of a repository, or unreadable."""
    text = text.strip()
    wheel = _WHEEL.search(text.replace("%2B", "+").replace("%2b", "+"))
    if wheel:
        described = Wheel(wheel["name"], wheel["version"], wheel["python"], wheel["abi"], wheel["platform"])
        return Package(name=normalised(wheel["name"]), written=text, place=place, wheel=described)
    if text.startswith((".", "/", "git+", "http:", "https:", "file:")) or not text:
        return None
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        match = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[([^\]]*)\])?\s*(?:[=<>!~]=?|\$|@)", text)
        if match is None or "$" not in text:
            return None
        extras = [extra.strip() for extra in (match[2] or "").split(",") if extra.strip()]
        return Package(name=normalised(match[1]), written=text, place=place, extras=extras, variable=True)
    return Package(
        name=normalised(parsed.name),
        written=text,
        place=place,
        extras=sorted(normalised(extra) for extra in parsed.extras),
        specifier=str(parsed.specifier),
        variable=parsed.url is not None,
    )


class Requirements(msgspec.Struct, frozen=True, kw_only=True):
    """What a requirements file asks for; fields as in Install."""

    packages: list[Package]
    unread: list[str]
    index: str
    extra_indexes: list[str]
    find_links: list[str]


def requirements(text: str, path: str, reader: Reader, depth: int = 0) -> Requirements:
    """Read a requirements file and those that it names.

    Args:
        text: its content.
        path: its name, for places.
        reader: reads the files that it names.
        depth: how many files named this one; a circle ends.
    """
    packages: list[Package] = []
    unread: list[str] = []
    index, extra, links = "", list[str](), list[str]()
    for number, line in _logical_lines(text):
        option = re.match(r"(-[a-z]|--[a-z-]+)(?:[= ]\s*|(?<=-[a-z]))(.*)", line)
        if option is None:
            package = requirement(re.split(r"\s--[a-z]", line)[0].split(" ;")[0], Place(path, number, number))
            if package and _applies_on_linux(line):
                packages.append(package)
            continue
        value = option[2].strip()
        match option[1]:
            case "-r" | "--requirement":
                name = f"{path.rpartition('/')[0]}/{value}".lstrip("/") if "/" in path else value
                read = reader(value) or reader(name)
                if read is None or depth == _DEEPEST_REQUIREMENTS:
                    unread.append(value)
                else:
                    inner = requirements(read[1], read[0], reader, depth + 1)
                    packages += inner.packages
                    unread += inner.unread
                    index = inner.index or index
                    extra, links = extra + inner.extra_indexes, links + inner.find_links
            case "-i" | "--index-url":
                index = value
            case "--extra-index-url":
                extra.append(value)
            case "-f" | "--find-links":
                links.append(value)
    return Requirements(packages=packages, unread=unread, index=index, extra_indexes=extra, find_links=links)


def _applies_on_linux(line: str) -> bool:
    """Tell whether a requirement's marker can hold in an image: those for Windows and macOS alone cannot."""
    marker = line.partition(";")[2]
    return not re.search(
        r"(?:platform_system|sys_platform|os_name)\s*==\s*['\"](?:Windows|win32|Darwin|darwin|nt)['\"]", marker
    )


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    waiting, first = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = re.sub(r"(?:^|\s)#.*$", "", raw).strip()
        first = first if waiting else number
        if line.endswith("\\"):
            waiting += line[:-1] + " "
            continue
        joined = (waiting + line).strip()
        waiting = ""
        if joined:
            yield first, joined
    if waiting.strip():
        yield first, waiting.strip()


def _with_conda(words: Sequence[Word], place: Place, text: str) -> Install | None:
    """Read `conda install pytorch=2.3 pytorch-cuda=12.1 -c pytorch`; environment files are not read."""
    verb = next((at for at, word in enumerate(words) if word.text in {"install", "create"}), None)
    if verb is None:
        return None
    packages, channels, options = list[Package](), list[str](), list[str]()
    rest = list(words[verb + 1 :])
    position = 0
    while position < len(rest):
        word = rest[position]
        if word.text in {"-c", "--channel", "-n", "--name", "-p", "--prefix", "-f", "--file"} and position + 1 < len(
            rest
        ):
            position += 1
            if word.text in {"-c", "--channel"}:
                channels.append(rest[position].text)
            options.append(word.text)
        elif word.text.startswith("-"):
            options.append(word.text)
        elif match := re.match(r"(?:[\w-]+::)?([A-Za-z0-9_.-]+?)(?:\s*(==?|>=|<=|>|<)\s*([^=\s]*).*)?$", word.text):
            specifier = ""
            if match[3]:
                exact = match[2] == "==" or match[3].count(".") >= 2  # noqa: PLR2004 - a full release number
                operator = ("==" if exact else "~=") if match[2] in {"=", "=="} else match[2]
                specifier = f"{operator}{match[3].rstrip('.*')}"
            packages.append(
                Package(
                    name=normalised(match[1]),
                    written=word.text,
                    place=Place(place.path, word.line, word.line),
                    specifier="" if "$" in specifier else specifier,
                    variable="$" in word.text,
                )
            )
        position += 1
    return Install(tool="conda", command=text, place=place, packages=packages, channels=channels, options=options)


def _with_system(words: Sequence[Word], verb: str, place: Place, text: str) -> Install:
    at = next(number for number, word in enumerate(words) if word.text == verb)
    packages = []
    for word in words[at + 1 :]:
        name = re.split(r"[=<>~:]", word.text)[0]
        if word.text.startswith("-") or not re.fullmatch(r"[A-Za-z0-9][\w.+*-]*", name):
            continue
        packages.append(Package(name=name.lower(), written=word.text, place=Place(place.path, word.line, word.line)))
    return Install(tool="system", command=text, place=place, packages=packages)


def pytorch_index(address: str) -> str | None:
    """Return the variant that an address of PyTorch's own index names: "cu124", "cpu", "rocm6.2"; None for another."""
    match = _PYTORCH_INDEX.search(address)
    return match[1] if match else None


def cuda_of_variant(variant: str | None) -> str | None:
    """Return "12.4" of "cu124"; None for another variant."""
    match = re.fullmatch(r"cu(\d+)(\d)", variant or "")
    return f"{match[1]}.{match[2]}" if match else None
