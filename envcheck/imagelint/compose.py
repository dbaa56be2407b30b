"""Compose files: services, with what each is built from and what it asks of the machine.

Source of the form: the Compose Specification (services, build, deploy, `gpus`, interpolation, merge).
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence

import msgspec

from envcheck.imagelint import base_image, dockerfile, nodes
from envcheck.imagelint.base_image import BaseImage
from envcheck.imagelint.dockerfile import Variable
from envcheck.imagelint.image import Image, image_of
from envcheck.imagelint.nodes import Mapping, Node, Scalar, at, items, text_at
from envcheck.imagelint.settings import DRIVER_CAPABILITIES
from envcheck.imagelint.source import Folder, Place, UnreadableError, folder_of

_SIBLING = re.compile(r"(?:^|[._-])compose(?:[._-].*)?\.ya?ml$")


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One service.

    Attributes:
        path: of the compose file.
        name: the service's.
        place: of its key.
        node: all that stands under it.
        image: what the image's name says, where it is not built here.
        built: the stage that it is built from, where its Dockerfile lies beside.
        environment: variables that it sets, with their places.
        folder: in which the compose file stands.
        siblings: the same service in the compose files beside this one.
        image_has_gpu_elsewhere: whether another service of the file runs the same image with a GPU.
    """

    path: str
    name: str
    place: Place
    node: Mapping
    image: BaseImage | None
    built: Image | None
    environment: dict[str, tuple[str, Place]]
    folder: Folder
    siblings: list[Mapping] = []
    image_has_gpu_elsewhere: bool = False

    def place_at(self, *keys: str) -> Place:
        """Return where a key stands; the deepest of the keys that is there."""
        node: Node | None = self.node
        line = self.place.line
        for key in keys:
            if not isinstance(node, Mapping) or key not in node.values:
                break
            line, node = node.line_of(key), node.values[key]
        return Place(self.path, line, line)

    def everywhere(self, *keys: str) -> list[Node]:
        """Return what stands under keys in this file and for the same service in the files beside it."""
        found = (at(node, *keys) for node in (self.node, *self.siblings))
        return [node for node in found if node is not None]

    def holds_torch(self) -> bool:
        """Tell whether PyTorch is in its image."""
        return bool((self.image and self.image.holds_torch) or (self.built and self.built.holds_torch()))

    def for_nvidia(self) -> bool:
        """Tell whether its image is built for NVIDIA GPUs."""
        return bool((self.image and self.image.for_nvidia) or (self.built and self.built.for_nvidia()))

    def asks_for_gpu(self) -> bool:
        """Tell whether it asks for a GPU in any of the ways that there are, here or in a file beside."""
        if any(gpu_devices(node) for node in (self.node, *self.siblings)) or self.everywhere("gpus"):
            return True
        runtimes = [node.text for node in self.everywhere("runtime") if isinstance(node, Scalar)]
        # A variable may choose the runtime; device files and cgroup rules are an older way.
        if any(runtime == "nvidia" or "$" in runtime for runtime in runtimes):
            return True
        devices = [item for node in self.everywhere("devices") for item in items(node)]
        texts = [item.text if isinstance(item, Scalar) else text_at(item, "source") or "" for item in devices]
        return any(text.startswith(("nvidia.com/gpu", "/dev/nvidia", "/dev/dri", "/dev/kfd")) for text in texts)

    def command_text(self) -> str:
        """Return what it starts, on one line: its own command and entrypoint, else its image's."""
        parts = []
        for key in ("entrypoint", "command"):
            node = at(self.node, key)
            if node is not None:
                parts.append(node.text if isinstance(node, Scalar) else " ".join(nodes.words(node)))
        if not parts and self.built:
            parts = [command.text for command in self.built.default_commands()]
        return " ".join(parts)


def gpu_devices(service: Node) -> list[Mapping]:
    """Return the device reservations of a service whose capabilities name GPUs."""
    return [
        item
        for item in items(at(service, "deploy", "resources", "reservations", "devices"))
        if isinstance(item, Mapping) and is_gpu_request(item)
    ]


GPU_CAPABILITIES = DRIVER_CAPABILITIES - {"all"} | {"gpu", "nvidia"}
"""What a device reservation may ask of the driver `nvidia`. Source: moby, daemon/nvidia_linux.go."""


def is_gpu_request(device: Mapping) -> bool:
    """Tell whether a device reservation is for GPUs: by its capabilities or its driver."""
    return bool(GPU_CAPABILITIES & set(capabilities(device))) or text_at(device, "driver") in {"nvidia", "amdgpu"}


def capabilities(device: Mapping) -> list[str]:
    """Return the capabilities of a device reservation, those of nested lists included."""
    found: list[str] = []
    for item in items(at(device, "capabilities")):
        found += [item.text] if isinstance(item, Scalar) else nodes.words(item)
    return found


def is_compose(document: Node) -> bool:
    """Tell whether a YAML document is a compose file."""
    services = at(document, "services")
    if at(document, "apiVersion") is not None or not isinstance(services, Mapping):
        return False
    listed = services.values.values()
    # A service without anything has the value null.
    empty = [service for service in listed if isinstance(service, Scalar) and service.text in {"", "~", "null"}]
    mappings = [service for service in listed if isinstance(service, Mapping)]
    return bool(mappings) and len(mappings) + len(empty) == len(services.values)


def services_of(document: Node, path: str, folder: Folder, environment: AbstractMapping[str, str]) -> list[Service]:
    """Return the services of a compose file.

    Args:
        document: of the file.
        path: its name.
        folder: in which it stands.
        environment: of the shell that calls compose; the file `.env` beside stands behind it.
    """
    known = {**_env_file(folder), **environment}
    variables = {name: Variable(value, 0) for name, value in known.items()}
    listed = at(document, "services")
    siblings = _siblings(path, folder)
    found = []
    for name, node in listed.values.items() if isinstance(listed, Mapping) else ():
        if not isinstance(node, Mapping) or not isinstance(listed, Mapping):
            continue
        merged = _with_own_file(node, listed)
        others = [same for sibling in siblings if isinstance(same := at(sibling, "services", name), Mapping)]
        others += _from_other_file(node, folder)
        line = listed.line_of(name)
        built, image = _built(merged, others, folder, variables), None
        reference = next((text for other in (merged, *others) if (text := text_at(other, "image"))), None)
        if built is None and at(merged, "build") is None and reference:
            image = base_image.read(dockerfile.replaced(reference, variables))
        found.append(
            Service(
                path=path,
                name=name,
                place=Place(path, line, line),
                node=merged,
                image=image,
                built=built,
                environment=_environment(merged, path, variables),
                folder=folder,
                siblings=others,
            )
        )
    with_gpu = {key for service in found if service.asks_for_gpu() and (key := _image_key(service))}
    return [
        msgspec.structs.replace(service, image_has_gpu_elsewhere=True)
        if _image_key(service) in with_gpu and not service.asks_for_gpu()
        else service
        for service in found
    ]


def _image_key(service: Service) -> str:
    """Return what two services that run the same image have in common; empty where that is not known."""
    if service.image:
        return service.image.reference
    return f"{service.built.path}#{service.built.stage.index}" if service.built else ""


def _with_own_file(node: Mapping, listed: Mapping) -> Mapping:
    """Put what `extends` brings from the same file behind what the service says itself; lists are not joined."""
    extends = at(node, "extends")
    if extends is None or text_at(extends, "file"):
        return node
    name = extends.text if isinstance(extends, Scalar) else text_at(extends, "service")
    other = listed.values.get(name or "")
    if not isinstance(other, Mapping) or other is node:
        return node
    values = {**other.values, **node.values}
    return Mapping(values, {key: node.line_of(key) for key in values}, node.line, node.end_line)


def _from_other_file(node: Mapping, folder: Folder) -> list[Mapping]:
    """Return the service of another file that a service extends; its lines are that file's, so it is not judged."""
    file, name = text_at(node, "extends", "file"), text_at(node, "extends", "service")
    text = folder.text(file) if file else None
    try:
        found = [at(document, "services", name or "") for document in nodes.documents(text or "")[:1]]
    except UnreadableError:
        return []
    return [service for service in found if isinstance(service, Mapping)]


def _siblings(path: str, folder: Folder) -> list[Node]:
    """Return the other compose files of the folder: a GPU is often asked for in a file of its own."""
    if not folder.known:
        return []
    found = []
    try:
        names = sorted(os.listdir(folder.path or "."))  # noqa: PTH208 - paths stay as they were named
    except OSError:
        return []
    for name in names:
        if not _SIBLING.search(name) or name == posixpath.basename(path):
            continue
        text = folder.text(name)
        try:
            found += [document for document in nodes.documents(text or "") if is_compose(document)]
        except UnreadableError:
            continue
    return found


def _env_file(folder: Folder) -> dict[str, str]:
    found = {}
    for line in (folder.text(".env") or "").splitlines():
        match = re.fullmatch(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(.*?)\s*", line)
        if match:
            found[match[1]] = dockerfile.unquoted(match[2])
    return found


def _environment(
    service: Mapping, path: str, variables: AbstractMapping[str, Variable]
) -> dict[str, tuple[str, Place]]:
    node = at(service, "environment")
    found: dict[str, tuple[str, Place]] = {}
    if isinstance(node, Mapping):
        for name, value in node.values.items():
            if isinstance(value, Scalar):
                line = node.line_of(name)
                found[name] = (dockerfile.replaced(value.text, variables), Place(path, line, line))
    for item in items(node):
        if isinstance(item, Scalar) and "=" in item.text:
            name, _, text = item.text.partition("=")
            found[name] = (dockerfile.replaced(text, variables), Place(path, item.line, item.line))
    return found


def _built(
    service: Mapping, others: AbstractSequence[Mapping], folder: Folder, variables: AbstractMapping[str, Variable]
) -> Image | None:
    """Read the Dockerfile that a service is built from, where it lies in a folder beside."""
    build = next((node for other in (service, *others) if (node := at(other, "build")) is not None), None)
    if build is None or not folder.known:
        return None
    context = build.text if isinstance(build, Scalar) else text_at(build, "context") or "."
    context = dockerfile.replaced(context, variables)
    if "://" in context or "$" in context or context.startswith(("git@", "/")):
        return None
    inner = Folder(folder.named(context))
    inline = text_at(build, "dockerfile_inline")
    name = dockerfile.replaced(text_at(build, "dockerfile") or "Dockerfile", variables)
    path = inner.named(name)
    text = inline or folder_of(path).text(posixpath.basename(path))
    if text is None:
        return None
    try:
        parsed = dockerfile.parse(text, _build_arguments(build, variables))
    except UnreadableError:
        return None
    target = text_at(build, "target")
    stage = parsed.stage(target) if target else parsed.stages[-1]
    platform = text_at(service, "platform")
    return image_of(path, parsed, stage, inner, final=True, platform=platform) if stage else None


def _build_arguments(build: Node, variables: AbstractMapping[str, Variable]) -> dict[str, str]:
    node = at(build, "args")
    found = {}
    if isinstance(node, Mapping):
        found = {name: value.text for name, value in node.values.items() if isinstance(value, Scalar)}
    for item in items(node):
        if isinstance(item, Scalar) and "=" in item.text:
            name, _, value = item.text.partition("=")
            found[name] = value
    replaced = {name: dockerfile.replaced(value, variables) for name, value in found.items()}
    return {name: value for name, value in replaced.items() if "$" not in value}
