"""Which kind a file is, all rules over it, and the report."""

from __future__ import annotations

import fnmatch
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from envcheck import __version__
from envcheck.imagelint import compose, dockerfile, kubernetes, nodes
from envcheck.imagelint.compose import Service
from envcheck.imagelint.dockerfile import Dockerfile
from envcheck.imagelint.faults import SCHEMA_VERSION, Fault, LintedFile, LintReport, verdict_of
from envcheck.imagelint.image import Image, image_of
from envcheck.imagelint.kubernetes import Pod
from envcheck.imagelint.rule import Machine, Rule
from envcheck.imagelint.source import Folder, UnreadableError, folder_of, read_text
from envcheck.redact import mask_secrets
from envcheck.report import Evidence

KINDS = ("dockerfile", "compose", "kubernetes")
STANDARD_INPUT = "-"
_DOCKERFILE = re.compile(r"(?:^|[._-])(?:dockerfile|containerfile)(?:[._-]|$)", re.IGNORECASE)
_IGNORE = re.compile(r"#\s*envcheck:\s*ignore(?:\s*=\s*|\s+)?([A-Za-z0-9*,\s-]*)")
_PASSED_OVER = frozenset({".git", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".cache", "site-packages"})
_HIGHEST_CONTEXT = 3


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file to lint.

    Attributes:
        path: as it is printed.
        text: its content; None where it could not be read.
        folder: in which it stands: the build context of a Dockerfile.
        problem: why it could not be read.
    """

    path: str
    text: str | None
    folder: Folder
    problem: str = ""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How linting was asked for.

    Attributes:
        machine: what the images shall run on.
        kind: what every file is; None decides by name and content.
        context: build context of Dockerfiles; None is the folder that each stands in.
        target: stage that is the image; None is the last one.
        build_arguments: values of ARG.
        ignore_unknown: files of no kind that is known are passed over.
        environment: of the shell, for variables in compose files.
    """

    machine: Machine = Machine()
    kind: str | None = None
    context: str | None = None
    target: str | None = None
    build_arguments: dict[str, str] = {}
    ignore_unknown: bool = False
    environment: dict[str, str] = {}


class _Examined(msgspec.Struct, kw_only=True):
    """What was found in a file."""

    kind: str
    subjects: list[Image | Service | Pod]
    images: list[str]


def lint(documents: Sequence[Document], rules: Sequence[Rule], options: Options) -> LintReport:
    """Judge files.

    Args:
        documents: the files, read.
        rules: those to run.
        options: how.
    """
    files: list[LintedFile] = []
    faults: list[Fault] = []
    crashed: list[str] = []
    texts = {document.path: document.text or "" for document in documents}
    for document in documents:
        try:
            examined = _examined(document, options)
        except UnreadableError as error:
            files.append(LintedFile(path=document.path, kind="", problem=mask_secrets(str(error))))
            continue
        if examined is None:
            if not options.ignore_unknown:
                problem = "neither a Dockerfile nor a compose file nor a Kubernetes manifest (see --kind)"
                files.append(LintedFile(path=document.path, kind="", problem=problem))
            continue
        files.append(LintedFile(path=document.path, kind=examined.kind, images=examined.images))
        faults += _judged(document.path, examined.subjects, rules, options.machine, crashed)
    distinct = list({(fault.rule, fault.place): fault for fault in reversed(faults)}.values())
    kept = [without_secrets(fault) for fault in distinct if not _ignored(fault, texts)]
    kept.sort(key=lambda fault: (fault.place.path, fault.place.line, fault.rule))
    return LintReport(
        schema_version=SCHEMA_VERSION,
        envcheck_version=__version__,
        verdict=verdict_of(files, kept, crashed),
        driver=options.machine.driver or "",
        files=files,
        faults=kept,
        ignored=len(distinct) - len(kept),
        crashed=crashed,
    )


def without_secrets(fault: Fault) -> Fault:
    """Return a fault that opens no door: commands quote addresses of indexes, with passwords in them perhaps."""
    return msgspec.structs.replace(
        fault,
        title=mask_secrets(fault.title),
        detail=mask_secrets(fault.detail),
        evidence=[Evidence(mask_secrets(item.text), item.source) for item in fault.evidence],
        remedies=[
            msgspec.structs.replace(
                remedy,
                action=mask_secrets(remedy.action),
                commands=[mask_secrets(command) for command in remedy.commands],
            )
            for remedy in fault.remedies
        ],
    )


def _judged(
    path: str,
    subjects: Sequence[Image | Service | Pod],
    rules: Sequence[Rule],
    machine: Machine,
    crashed: list[str],
) -> Iterator[Fault]:
    """Run the rules; one that breaks is noted in `crashed` and harms no other."""
    for subject in subjects:
        kind = {Image: "image", Service: "service", Pod: "pod"}[type(subject)]
        for rule in (rule for rule in rules if rule.subject == kind):
            arguments = (subject, machine) if rule.wants_machine else (subject,)
            try:
                found = list(rule.judge(*arguments))
            except Exception as error:  # noqa: BLE001 - a rule, perhaps a third party's, may raise anything
                sentence = mask_secrets(f"{path}: rule {rule.id} could not judge it: {type(error).__name__}: {error}")
                crashed += [] if sentence in crashed else [sentence]
                continue
            for fault in found:
                yield msgspec.structs.replace(fault, rule=rule.id)


def _examined(document: Document, options: Options) -> _Examined | None:
    if document.text is None:
        raise UnreadableError(document.problem)
    kind = options.kind or kind_of(document)
    if kind == "dockerfile":
        return _dockerfile(document, options)
    if kind is None:
        if _is_named_dockerfile(posixpath.basename(document.path)) and not options.ignore_unknown:
            raise UnreadableError("no FROM in it: not a whole Dockerfile")
        return None
    parsed = nodes.documents(document.text)
    if kind == "compose":
        if not parsed or not compose.is_compose(parsed[0]):
            raise UnreadableError("no services in it: not a compose file")
        services = compose.services_of(parsed[0], document.path, document.folder, options.environment)
        needs = [sentence for service in services if (sentence := _service_needs(service))]
        return _Examined(kind=kind, subjects=list(services), images=needs)
    pods = kubernetes.pods_of(parsed, document.path)
    if not any(kubernetes.is_manifest(one) for one in parsed):
        raise UnreadableError("no object with apiVersion and kind in it: not a Kubernetes manifest")
    return _Examined(kind=kind, subjects=list(pods), images=[])


def kind_of(document: Document) -> str | None:
    """Return which kind a file is, by its name, then by its content; None where it is none.

    Raises:
        UnreadableError: it is YAML by its name, and broken.
    """
    name = posixpath.basename(document.path.replace(os.sep, "/"))
    text = document.text or ""
    is_yaml = name.endswith((".yaml", ".yml"))
    if _is_named_dockerfile(name) and re.search(r"^\s*FROM\s", text, re.MULTILINE | re.IGNORECASE):
        return "dockerfile"
    if is_yaml or document.path == STANDARD_INPUT:
        try:
            parsed = nodes.documents(text)
        except UnreadableError:
            if not is_yaml and _looks_like_dockerfile(text):
                return "dockerfile"
            raise
        if any(compose.is_compose(one) for one in parsed[:1]):
            return "compose"
        if any(kubernetes.is_manifest(one) for one in parsed):
            return "kubernetes"
        if is_yaml:
            return None
    return "dockerfile" if _looks_like_dockerfile(text) else None


def _is_named_dockerfile(name: str) -> bool:
    other = (".yaml", ".yml", ".md", ".dockerignore", ".py", ".json", ".sh", ".txt", ".j2", ".tmpl", ".tpl", ".bats")
    return bool(_DOCKERFILE.search(name)) and not name.endswith(other)


def _looks_like_dockerfile(text: str) -> bool:
    try:
        dockerfile.parse(text)
    except UnreadableError:
        return bool(re.search(r"^\s*FROM\s+\S+", text, re.MULTILINE | re.IGNORECASE)) and not text.lstrip().startswith(
            ("{", "<", "#!")
        )
    return True


def _dockerfile(document: Document, options: Options) -> _Examined:
    parsed = dockerfile.parse(document.text or "", options.build_arguments)
    target = parsed.stage(options.target) if options.target else parsed.stages[-1]
    if target is None:
        names = ", ".join(stage.name for stage in parsed.stages if stage.name) or "none has a name"
        raise UnreadableError(f"no stage {options.target!r} in it ({names})")
    context = Folder(options.context) if options.context is not None else _likely_context(document, parsed)
    images: list[Image | Service | Pod] = []
    needs = []
    for stage in parsed.stages:
        if stage.index > target.index:
            break
        image = image_of(
            document.path, parsed, stage, context, final=stage is target, platform=options.machine.platform
        )
        images.append(image)
        if stage is target and (sentence := _image_needs(image)):
            needs.append(sentence)
    return _Examined(kind="dockerfile", subjects=images, images=needs)


def _likely_context(document: Document, parsed: Dockerfile) -> Folder:
    """Return the build context: the folder of the Dockerfile, or one above it that has more of what is copied.

    A Dockerfile in `docker/` is often built from the folder above: `docker build -f docker/Dockerfile .`.
    """
    sources = [
        word
        for stage in parsed.stages
        for instruction in stage.instructions
        if instruction.name in {"COPY", "ADD"} and "from" not in instruction.flags
        for word in (instruction.words or instruction.text.split())[:-1]
        if re.fullmatch(r"[\w./-]+", word) and word.strip("./")
    ]

    def held(folder: Folder) -> int:
        return sum(folder.file(word.lstrip("/")) is not None or folder.is_folder(word.lstrip("/")) for word in sources)

    candidates = [document.folder]
    while (
        document.folder.known
        and candidates[-1].path
        and not candidates[-1].path.startswith("..")
        and (len(candidates) <= _HIGHEST_CONTEXT)
    ):
        candidates.append(folder_of(candidates[-1].path))
    return max(candidates, key=held)


def _image_needs(image: Image) -> str:
    """Return what an image needs of its host, as a sentence; empty where nothing is known of it."""
    from envcheck.compat import cuda  # noqa: PLC0415 - beside its use

    driver = cuda.driver_text(image.minimum_driver())
    versions = ", ".join(dict.fromkeys(what for _, what, _ in image.cuda_needs()))
    return f"needs an NVIDIA driver of {driver} or later to use a GPU ({versions})" if driver else ""


def _service_needs(service: Service) -> str:
    sentence = _image_needs(service.built) if service.built else ""
    return f"service {service.name} {sentence}" if sentence else ""


def _ignored(fault: Fault, texts: Mapping[str, str]) -> bool:
    """Tell whether a comment on the fault's line, or alone on the line above it, silences its rule."""
    lines = texts.get(fault.place.path, "").splitlines()
    for number in (fault.place.line, fault.place.line - 1):
        line = lines[number - 1] if 0 < number <= len(lines) else ""
        match = _IGNORE.search(line)
        if match and (number == fault.place.line or line.lstrip().startswith("#")):
            named = [word for word in re.split(r"[,\s]+", match[1]) if word]
            if not named or any(fnmatch.fnmatchcase(fault.rule, word) for word in named):
                return True
    return False


def documents_of(names: Sequence[str], standard_input: bytes | None) -> list[Document]:
    """Read what the user named; of a folder, the files in it that are of a kind that is known.

    Raises:
        FileNotFoundError: there is nothing of that name.
    """
    found: dict[str, Document] = {}
    for name in names:
        if name == STANDARD_INPUT:
            found[name] = _from_standard_input(standard_input or b"")
        elif os.path.isdir(name):  # noqa: PTH112 - names stay as they were given
            for path in _in_folder(name):
                document = _read(path)
                try:
                    if document.text is not None and kind_of(document) is not None:
                        found[path] = document
                except UnreadableError:
                    # In a folder, what is no YAML is of somebody else's concern, unless its name says what it is.
                    if re.search(r"compose|docker", path, re.IGNORECASE):
                        found[path] = document
        elif os.path.exists(name):  # noqa: PTH110 - names stay as they were given
            found[name] = _read(name)
        else:
            raise FileNotFoundError(name)
    return list(found.values())


def _read(path: str) -> Document:
    try:
        return Document(path=path, text=read_text(path), folder=folder_of(path))
    except UnreadableError as error:
        return Document(path=path, text=None, folder=folder_of(path), problem=str(error))


def _from_standard_input(content: bytes) -> Document:
    from envcheck.imagelint.source import decoded  # noqa: PLC0415 - beside its use

    nowhere = Folder("", known=False)
    try:
        return Document(path=STANDARD_INPUT, text=decoded(content), folder=nowhere)
    except UnreadableError as error:
        return Document(path=STANDARD_INPUT, text=None, folder=nowhere, problem=str(error))


def _in_folder(folder: str) -> list[str]:
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(set(folders) - _PASSED_OVER)
        wanted = [name for name in sorted(files) if _DOCKERFILE.search(name) or name.endswith((".yaml", ".yml"))]
        found += [os.path.normpath(os.path.join(root, name)).replace(os.sep, "/") for name in wanted]  # noqa: PTH118
    return found
