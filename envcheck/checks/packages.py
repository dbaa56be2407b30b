"""Installed distributions: requirements, metadata, copies, names."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from envcheck import cures
from envcheck.check import check
from envcheck.facts import DamagedPackage, Facts, Package, Packages, Platform, Python, need
from envcheck.report import Confidence, Evidence, Finding, Remedy, Severity

if TYPE_CHECKING:
    from packaging.requirements import Requirement

SHOWN = 8
"""Packages named in one finding; the rest is counted."""

TWINS = {
    "tensorflow": ("tensorflow-cpu", "tensorflow-gpu", "tensorflow-macos", "tensorflow-intel", "tf-nightly"),
    "opencv-python": ("opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "onnxruntime": ("onnxruntime-gpu",),
    "faiss-cpu": ("faiss-gpu", "faiss-gpu-cu12"),
    "torch": ("pytorch",),
}
"""Distribution → others that provide the same modules. Source: table `packages`, part exclusive; conda's `pytorch`."""

JUDGED_ELSEWHERE = {
    ("torchvision", "torch"),
    ("torchaudio", "torch"),
    ("torchtext", "torch"),
    ("tensorflow-text", "tensorflow"),
    ("tf-keras", "tensorflow"),
    *((name, required) for name in ("tensorflow", *TWINS["tensorflow"]) for required in ("numpy", "protobuf", "keras")),
}
"""Pairs (package, required) that the checks of torch, tensorflow and keras judge by more than the requirement."""


class Conflict(msgspec.Struct, frozen=True):
    """A requirement that does not hold.

    Attributes:
        package: distribution that asks.
        version: its version.
        requirement: what it asks for, as its metadata writes it.
        required: name of the distribution asked for.
        present: version that is there; empty where it is not installed.
    """

    package: str
    version: str
    requirement: str
    required: str
    present: str


@check(area="packages", causes=["dependency-conflict", "package-not-installed", "python-version-unsupported"])
def requirements_hold(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """What installed packages require is installed, in a version that they accept.

    Why: installers that are called one after another (or with `--no-deps`) leave versions behind that some package
    does not accept; it then fails at import, or later and stranger.
    If not: what `pip check` prints. Markers are judged for the interpreter under test, and extras only where a package
    asks for them.
    Source: PEP 508 and the core metadata (`Requires-Dist`, `Requires-Python`).
    """
    need(packages.installed, "packages.installed")
    conflicts = [
        conflict
        for conflict in conflicts_of(packages)
        if (conflict.package, conflict.required) not in JUDGED_ELSEWHERE or not conflict.present
    ]
    clashing = [conflict for conflict in conflicts if conflict.present and conflict.required != "python"]
    foreign = [conflict for conflict in conflicts if conflict.required == "python"]
    missing = [conflict for conflict in conflicts if not conflict.present]
    source = packages.sources.get("installed", "installed metadata")
    if clashing:
        first = clashing[0]
        yield Finding(
            cause="dependency-conflict",
            severity=Severity.WARNING,
            title=f"{first.package} {first.version} needs {first.requirement}, installed is {first.present}"
            + _and_more(len(clashing)),
            evidence=[
                Evidence(f"{one.package} {one.version} needs {one.requirement}; {one.present} is installed", source)
                for one in clashing[:SHOWN]
            ],
            remedies=[
                cures.install(
                    python,
                    together(clashing[:SHOWN]),
                    "Install versions that every package accepts (the installer says so where there are none)",
                    packages=packages,
                )
            ],
            links=["https://pip.pypa.io/en/stable/cli/pip_check/"],
        )
    if foreign:
        first = foreign[0]
        yield Finding(
            cause="python-version-unsupported",
            severity=Severity.WARNING,
            title=f"{first.package} {first.version} needs {first.requirement}, this is {first.present}"
            + _and_more(len(foreign)),
            evidence=[
                Evidence(f"{one.package} {one.version} needs {one.requirement}", source) for one in foreign[:SHOWN]
            ],
            remedies=[
                cures.install(
                    python,
                    [one.package for one in foreign[:SHOWN]],
                    "Install releases that are for this Python",
                    options="--upgrade",
                    packages=packages,
                )
            ],
        )
    if missing and packages.complete:
        first = missing[0]
        # A distribution splits its packages as it likes; what is its own is not for the user to mend.
        theirs = {package.name for package in packages.installed or [] if not package.installer}
        systems = python is not None and python.environment_kind == "system"
        yield Finding(
            cause="package-not-installed",
            severity=Severity.NOTE if systems and all(one.package in theirs for one in missing) else Severity.WARNING,
            title=f"{first.package} {first.version} needs {first.required}, which is not installed"
            + _and_more(len(missing)),
            evidence=[
                Evidence(f"{one.package} {one.version} needs {one.requirement}; it is not installed", source)
                for one in missing[:SHOWN]
            ],
            remedies=[
                cures.install(
                    python,
                    together(missing[:SHOWN]),
                    "Install what is missing",
                    packages=packages,
                )
            ],
        )


def _and_more(count: int) -> str:
    return f" (and {count - 1} more)" if count > 1 else ""


def together(conflicts: list[Conflict]) -> list[str]:
    """Return one requirement for each distribution that is asked for, with all that is asked of it."""
    asked: dict[str, list[str]] = {}
    for conflict in conflicts:
        found = re.match(r"([\w.-]+(?:\s*\[[^\]]*\])?)\s*\(?([^()]*)\)?$", conflict.requirement)
        name, specifier = (found[1], found[2]) if found else (conflict.requirement, "")
        asked.setdefault(_normalised(name), []).extend(part.strip() for part in specifier.split(",") if part.strip())
    return [name + ",".join(dict.fromkeys(parts)) for name, parts in asked.items()]


def conflicts_of(packages: Packages, askers: Collection[str] | None = None) -> list[Conflict]:
    """Return every requirement of an installed distribution that does not hold.

    Args:
        packages: what is installed.
        askers: names of the distributions whose requirements are judged; None judges all.
    """
    present = {package.name: package.version for package in packages.installed or []}
    extras = _extras(packages)
    found = []
    for package in packages.installed or []:
        if askers is not None and package.name not in askers:
            continue
        for line, requirement in _parsed(package, packages.markers, extras.get(package.name, set())):
            name = _normalised(requirement.name)
            version = present.get(name) or next((present[twin] for twin in TWINS.get(name, ()) if twin in present), "")
            if not version or not _accepts(requirement, version):
                wanted = line.partition(";")[0].strip()
                found.append(Conflict(package.name, package.version, wanted, name, version))
    return found + (_wrong_python(packages) if askers is None else [])


def _extras(packages: Packages) -> dict[str, set[str]]:
    """Return for each distribution the extras that a requirement which applies asks of it.

    An extra may ask for another one, also of its own package (`dev` for `x[test]`): it counts once it was asked for.
    """
    with_brackets = [
        msgspec.structs.replace(package, requires=[line for line in package.requires if "[" in line])
        for package in packages.installed or []
    ]
    extras: dict[str, set[str]] = {}
    known = -1
    while known != (known := sum(map(len, extras.values()))):
        for package in with_brackets:
            for _, requirement in _parsed(package, packages.markers, extras.get(package.name, set())):
                extras.setdefault(_normalised(requirement.name), set()).update(requirement.extras)
    return extras


def _parsed(package: Package, markers: dict[str, str] | None, extras: set[str]) -> Iterator[tuple[str, Requirement]]:
    """Yield the requirements of a distribution that apply, each with its line; what cannot be read is left out."""
    from packaging.requirements import InvalidRequirement

    for line in package.requires:
        if not extras and "extra ==" in line:
            continue
        with contextlib.suppress(InvalidRequirement):
            requirement = _requirement(line)
            if _applies(requirement, markers, extras):
                yield line, requirement


@lru_cache(maxsize=8192)
def _requirement(line: str) -> Requirement:
    from packaging.requirements import Requirement

    return Requirement(line)


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _applies(requirement: Requirement, markers: dict[str, str] | None, extras: set[str]) -> bool:
    """Tell whether a requirement counts for the interpreter under test; without its markers only plain ones do."""
    if requirement.marker is None:
        return True
    if not markers:
        return False
    from packaging.markers import InvalidMarker, UndefinedEnvironmentName

    environment: dict[str, str] = dict(markers)
    try:
        return any(requirement.marker.evaluate({**environment, "extra": extra}) for extra in ["", *sorted(extras)])
    except (UndefinedEnvironmentName, InvalidMarker):
        return False


def _accepts(requirement: Requirement, version: str) -> bool:
    """Tell whether a version fits; what is no version, or comes from an address, is not judged."""
    from packaging.version import InvalidVersion

    if requirement.url:
        return True
    try:
        return requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        return True


def _wrong_python(packages: Packages) -> list[Conflict]:
    """Return the distributions whose Requires-Python leaves out the interpreter under test."""
    version = (packages.markers or {}).get("python_full_version", "")
    return [
        Conflict(package.name, package.version, f"Python {package.requires_python}", "python", version)
        for package in packages.installed or []
        if package.requires_python and version and not _is_for(package.requires_python, version)
    ]


@lru_cache(maxsize=512)
def _is_for(asked: str, version: str) -> bool:
    """Tell whether a Requires-Python admits a Python; what cannot be read admits any."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(asked).contains(version, prereleases=True)
    except InvalidSpecifier:
        return True


@check(area="packages", causes=["broken-install"])
def metadata_is_whole(packages: Packages, python: Python | None, facts: Facts) -> Iterator[Finding]:
    """The metadata of every installed package can be read, and nothing half removed lies about.

    Why: an installation or upgrade that was interrupted (Ctrl-C, full disk, a file in use) leaves folders such as
    `~orch`, or a `.dist-info` without METADATA. pip then warns, or neither upgrades nor removes the package.
    If not: remove what is left over and install the package again.
    Source: the core metadata specification; pip renames what it removes to a name with `~`.
    """
    damaged = need(packages.damaged, "packages.damaged")
    if not damaged:
        return
    by_name: dict[str, list[DamagedPackage]] = {}
    for item in damaged:
        by_name.setdefault(item.name, []).append(item)
    left_over = all(name.startswith("~") for name in by_name)
    names = ", ".join(list(by_name)[:SHOWN])
    whole = {package.name for package in packages.installed or []}
    again = [name for name in by_name if not name.startswith("~") and re.fullmatch(r"[a-z0-9-]+", name)]
    yield Finding(
        cause="broken-install",
        severity=Severity.NOTE if left_over else Severity.WARNING,
        title=f"Left over by an interrupted installation: {names}"
        if left_over
        else f"The metadata of {names} is damaged: the package cannot be upgraded or removed",
        evidence=[Evidence(f"{item.name}: {item.reason}", item.path) for item in damaged[:SHOWN]],
        remedies=[
            Remedy(
                action="Remove what is left over" + (", then install it again" if again else ""),
                commands=[f"rm -r {cures.quoted(item.path)}" for item in damaged[:SHOWN]]
                + [f"{cures.installer(python)} --ignore-installed {' '.join(again[:SHOWN])}"] * bool(again),
                changes=cures.CHANGES,
            )
        ],
        explains=_failing_for(facts, list(by_name), whole),
    )


def _failing_for(facts: Facts, damaged: list[str], whole: set[str]) -> list[str]:
    """Return the import checks whose failure is a consequence: the damaged package is the framework or is named."""
    explained = []
    for name in ("torch", "tensorflow", "keras"):
        framework = getattr(facts, name)
        if framework is None or framework.state in {None, "ok", "not-imported"}:
            continue
        text = f"{framework.error or ''} {framework.traceback or ''}"
        for item in damaged:
            stem = item.lstrip("~")
            if name.endswith(stem) or (item not in whole and len(stem) > 3 and stem.replace("-", "_") in text):  # noqa: PLR2004
                explained.append(f"{name}-imports")
                break
    return explained


@check(area="packages", causes=["broken-install"])
def framework_files_are_there(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """Shared libraries and packages that a framework's RECORD names are on disk.

    Why: a full disk, an interrupted copy of an environment, a cleaner or a second package that shares files and was
    removed take files away that the metadata still lists.
    If not: the import fails with "cannot open shared object file" or "No module named".
    Source: RECORD in the binary distribution format (PEP 427).
    """
    for package in need(packages.installed, "packages.installed"):
        if not package.missing_files:
            continue
        yield Finding(
            cause="broken-install",
            severity=Severity.ERROR,
            title=f"{package.missing_files} file{'s' * (package.missing_files > 1)} of {package.name} "
            f"{package.version} {'are' if package.missing_files > 1 else 'is'} gone or empty",
            evidence=[Evidence(f"missing: {path}", f"RECORD of {package.name}") for path in package.missing_examples]
            or [Evidence(f"{package.missing_files} files of RECORD are missing", package.location)],
            remedies=[cures.reinstall(python, packages, package.name)],
            explains=[f"{name}-imports" for name in _users_of(package.name)],
        )


def _users_of(name: str) -> list[str]:
    """Return the frameworks that cannot be imported without a distribution."""
    if name.startswith(("torch", "triton")):
        return ["torch"]
    if name.startswith(("tensorflow", "tf-")):
        return ["tensorflow"]
    if name == "keras":
        return ["keras", "tensorflow"]
    return ["torch", "tensorflow"] if name.startswith(("numpy", "nvidia-")) else []


@check(area="packages", causes=["broken-install"])
def each_package_is_there_once(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """No package has two versions in one folder.

    Why: an upgrade that was interrupted leaves the metadata of both versions side by side, and files of either.
    If not: the version that pip shows and the code that is imported may differ.
    Source: the specification "Recording installed projects": a `.dist-info` folder for each project.
    """
    hidden = need(packages.hidden, "packages.hidden")
    first = {package.name: package for package in packages.installed or []}
    twice = [
        copy
        for copy in hidden
        if copy.name in first
        and first[copy.name].location == copy.location
        and first[copy.name].version != copy.version
    ]
    if not twice:
        return
    names = [f"{copy.name} ({first[copy.name].version} and {copy.version})" for copy in twice]
    unique = list(dict.fromkeys(copy.name for copy in twice))
    yield Finding(
        cause="broken-install",
        severity=Severity.WARNING,
        title=f"Two versions in one folder: {', '.join(names[:SHOWN])}",
        evidence=[
            Evidence(f"{copy.name} {copy.version} beside {first[copy.name].version}", copy.location) for copy in twice
        ],
        remedies=[
            Remedy(
                action="Remove the package until pip finds no more of it, then install it again",
                commands=[f"{cures.remover(python)} {name}" for name in unique] * 2
                + [f"{cures.installer(python)} {' '.join(unique)}"],
                safe=cures.is_safe(python),
                changes=cures.CHANGES,
            )
        ],
    )


@check(area="packages", causes=["mixed-conda-pip"])
def conda_packages_are_condas(packages: Packages, python: Python | None, facts: Facts) -> Iterator[Finding]:
    """No package that conda manages was overwritten by pip.

    Why: pip replaces the files of a conda package and conda does not know of it; its next change brings back some of
    them. NumPy, MKL and OpenMP from both are what most often breaks.
    If not: install the package with one of the two.
    Source: the conda documentation, "Using pip in an environment".
    """
    managed = set(need(packages.conda_managed, "packages.conda_managed"))
    if not managed:
        return
    mixed = [
        package
        for package in packages.installed or []
        if package.installer in {"pip", "uv"}
        and not package.editable
        and ({package.name, *TWINS.get(package.name, ())} & managed)
        and package.name not in {"pip", "setuptools", "wheel"}
    ]
    if not mixed:
        return
    names = ", ".join(package.name for package in mixed[:SHOWN])
    failing = [
        f"{name}-imports"
        for name in ("torch", "tensorflow", "keras")
        if getattr(facts, name) is not None and getattr(facts, name).state in {"failed", "crash"}
    ]
    yield Finding(
        cause="mixed-conda-pip",
        severity=Severity.WARNING,
        confidence=Confidence.LIKELY,
        title=f"Installed by conda and again by {mixed[0].installer}: {names}",
        evidence=[
            Evidence(
                f"{package.name} {package.version} by {package.installer}; conda-meta lists it too", package.location
            )
            for package in mixed[:SHOWN]
        ],
        remedies=[
            Remedy(
                action="Let conda have its package back",
                commands=[
                    f"{cures.remover(python)} {names.replace(',', '')}",
                    f"{_conda(python)} --force-reinstall {names.replace(',', '')}",
                ],
                changes=cures.CHANGES,
            )
        ],
        explains=failing,
        links=["https://docs.conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html"],
    )


def _conda(python: Python | None) -> str:
    """Return the beginning of an install command of the environment's conda."""
    if python is None:
        return "conda install"
    prefix = f" --prefix {cures.quoted(python.prefix, python)}" if python.prefix else ""
    return f"{python.conda_program or 'conda'} install{prefix}"


@check(area="packages", causes=["wrong-package-name"])
def package_names_are_meant(packages: Packages, python: Python | None) -> Iterator[Finding]:
    """Installed packages are the ones that were meant.

    Why: some names on the package index are empty stand-ins (`sklearn`, `pytorch`), removed (`tensorflow-gpu`) or
    another project's.
    If not: the import fails, or an old release is stuck.
    Source: table `packages` (package metadata and setup scripts).
    """
    from envcheck.compat import packages as names

    present = {package.name for package in need(packages.installed, "packages.installed")}
    for package in packages.installed or []:
        row = names.misleading(package.name)
        if row is None or row.kind not in {"stub", "removed", "no such package"} or not row.verified:
            continue
        meant = [name for name in row.install if re.fullmatch(r"[A-Za-z0-9._-]+", name)]
        there = [name for name in meant if _normalised(name) in present]
        if package.name == "tensorflow-gpu" and package.version.startswith(("1.", "2.0", "2.1.")):
            continue
        yield Finding(
            cause="wrong-package-name",
            severity=Severity.NOTE if there or row.kind == "removed" else Severity.WARNING,
            title=f"{package.name} is not the package that is meant: {row.why}",
            evidence=[Evidence(f"{package.name} {package.version} is installed", package.location)],
            remedies=[
                Remedy(
                    action=f"Install {' or '.join(meant)} instead",
                    commands=[f"{cures.remover(python)} {package.name}"]
                    + [f"{cures.installer(python)} {meant[0]}"] * (not there),
                    safe=cures.is_safe(python),
                    changes=cures.CHANGES,
                )
            ]
            if meant
            else [],
        )


@check(area="packages", causes=["broken-install"])
def packages_do_not_overwrite_each_other(
    packages: Packages, python: Python | None, platform: Platform | None, facts: Facts
) -> Iterator[Finding]:
    """No two packages are installed that write the same folder.

    Why: `tensorflow` and `tensorflow-cpu`, or two of the OpenCV packages, put different files under the same names;
    what was installed last wins, and removing either takes files of the other away.
    If not: remove all of them, then install one.
    Source: table `packages` (READMEs, contents of the wheels).
    """
    from envcheck.compat import packages as names

    present = {package.name: package for package in need(packages.installed, "packages.installed")}
    for row, together in names.exclusive_groups(present):
        normal = [_normalised(name) for name in together]
        if _is_allowed(normal, present, platform):
            continue
        failing = [
            f"{name}-imports"
            for name in ("torch", "tensorflow", "keras")
            if row.folder == name
            and getattr(facts, name) is not None
            and getattr(facts, name).state in {"failed", "crash"}
        ]
        yield Finding(
            cause="broken-install",
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            title=f"{' and '.join(together)} are installed together and write the same files ({row.folder})",
            evidence=[Evidence(f"{name} {present[name].version}", present[name].location) for name in normal],
            detail=row.text,
            remedies=[
                Remedy(
                    action="Remove all of them, then install the one that you need",
                    commands=[
                        f"{cures.remover(python)} {' '.join(normal)}",
                        f"{cures.installer(python)} {normal[0]}=={present[normal[0]].version}",
                    ],
                    safe=cures.is_safe(python),
                    changes=cures.CHANGES,
                )
            ],
            explains=failing,
        )


def _is_allowed(names: list[str], present: dict[str, Package], platform: Platform | None) -> bool:
    """Tell whether packages of one folder belong together: where one of them requires the other."""
    if platform is not None and platform.system == "Windows" and set(names) == {"tensorflow", "tensorflow-intel"}:
        return True
    for name in names:
        required = {_normalised(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in present[name].requires}
        if set(names) - {name} <= required:
            return True
    return False


@check(area="packages", causes=["broken-install", "glibc-too-old", "platform-unsupported"])
def wheels_fit_this_machine(packages: Packages, python: Python, platform: Platform | None) -> Iterator[Finding]:
    """Installed binary packages were built for this Python and this C library.

    Why: copied environments, `--target` folders on PYTHONPATH and `--platform` downloads bring compiled modules that
    another Python, processor or C library would load.
    If not: "undefined symbol", "version GLIBC not found", "No module named" of a part of the package.
    Source: PEP 425 (tags), PEP 600 (manylinux), PEP 656 (musllinux).
    """
    version = need(python.version, "python.version")
    if python.implementation not in {None, "CPython"}:
        return
    own = "cp" + "".join(version.split(".")[:2])
    foreign = [
        package
        for package in need(packages.installed, "packages.installed")
        if package.extension_tags and not any(_runs_on(tag, own) for tag in package.extension_tags)
    ]
    if foreign:
        names = ", ".join(f"{package.name} ({package.extension_tags[0]})" for package in foreign[:SHOWN])
        yield Finding(
            cause="broken-install",
            severity=Severity.WARNING,
            confidence=Confidence.LIKELY,
            title=f"Built for another Python than this {version}: {names}",
            evidence=[
                Evidence(f"{package.name}: {package.extension_tags[0]}", package.location) for package in foreign
            ],
            remedies=[
                cures.install(
                    python,
                    [f"{package.name}=={package.version}" for package in foreign[:SHOWN]],
                    "Install them again with this Python",
                    options="--reinstall"
                    if cures.installer(python).startswith("uv ")
                    else "--force-reinstall --no-deps",
                    packages=packages,
                )
            ],
            explains=[f"{name}-imports" for package in foreign for name in _users_of(package.name)],
        )
    yield from _wrong_libc(packages, platform)


def _runs_on(tag: str, own: str) -> bool:
    """Tell whether a wheel's tag is for a CPython: `cp311-cp311-…`, `cp38-abi3-…`, `py3-none-…`."""
    for interpreter in tag.split("-", maxsplit=1)[0].split("."):
        if interpreter == own or interpreter.startswith("py"):
            return True
        if "-abi3-" in tag and interpreter[:2] == "cp" and interpreter[2:].isdigit():
            return int(interpreter[3:] or 0) <= int(own[3:] or 0)
    return False


def _wrong_libc(packages: Packages, platform: Platform | None) -> Iterator[Finding]:
    if platform is None or not platform.libc or not platform.libc_version:
        return
    from envcheck.compat.python_wheels import libc_of_tag
    from envcheck.compat.versions import parse

    have = parse(platform.libc_version)
    for package in packages.installed or []:
        needs = [libc_of_tag(tag.split("-")[-1]) for tag in package.extension_tags if "linux_" in tag]
        known = [libc for libc in needs if libc is not None]
        if not known or len(known) != len(needs):
            continue
        same = [libc for libc in known if libc.kind == platform.libc]
        if not same:
            yield Finding(
                cause="platform-unsupported",
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                title=f"{package.name} {package.version} is built for {known[0].kind}, this system has {platform.libc}",
                evidence=[Evidence(f"{package.name}: {package.extension_tags[0]}", package.location)],
                explains=[f"{name}-imports" for name in _users_of(package.name)],
            )
            continue
        least = [parse(libc.minimum) for libc in same]
        if have is not None and all(minimum is not None and minimum > have for minimum in least):
            yield Finding(
                cause="glibc-too-old",
                severity=Severity.WARNING,
                confidence=Confidence.LIKELY,
                title=f"{package.name} {package.version} needs glibc {same[0].minimum}, this system has "
                f"{platform.libc_version}",
                evidence=[
                    Evidence(f"{package.name}: {package.extension_tags[0]}", package.location),
                    Evidence(f"glibc {platform.libc_version}", platform.sources.get("libc_version", "")),
                ],
                remedies=[
                    Remedy(
                        action=f"Use a release of {package.name} for an older system, or a newer system or container"
                    )
                ],
                explains=[f"{name}-imports" for name in _users_of(package.name)],
            )
