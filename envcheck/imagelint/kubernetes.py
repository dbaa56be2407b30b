"""Kubernetes manifests: pods, whatever stands around them.

A pod is found by its form (a mapping with `containers`, each of them with a name or an image), so that those of
Deployment, StatefulSet, DaemonSet, Job and CronJob are seen as well as those of training operators, Ray and others.
Source of the form: Kubernetes' API reference, PodSpec.
"""

from __future__ import annotations

import re

import msgspec

from envcheck.imagelint import base_image
from envcheck.imagelint.base_image import BaseImage
from envcheck.imagelint.nodes import Mapping, Node, Scalar, at, items, mappings, text_at
from envcheck.imagelint.source import Place

ORDINARY_HANDLERS = {"runc", "crun"}
"""Handlers of RuntimeClass objects that start a container as it is; gVisor's and Kata's may well hand GPUs on."""
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the place, not a file of ours
_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?")
_FACTORS = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container of a pod.

    Attributes:
        name: the container's.
        place: of the container.
        node: all that stands under it.
        image: what the image's name says; None where none is given.
        image_place: of its `image`.
        environment: variables with values, and their places.
        initial: whether it is an init container.
    """

    name: str
    place: Place
    node: Mapping
    image: BaseImage | None
    image_place: Place
    environment: dict[str, tuple[str, Place]]
    initial: bool = False

    def resources(self, kind: str) -> dict[str, tuple[str, Place]]:
        """Return the resources under `limits` or `requests`: their quantities and places."""
        node = at(self.node, "resources", kind)
        if not isinstance(node, Mapping):
            return {}
        return {
            name: (value.text, Place(self.place.path, node.line_of(name), node.line_of(name)))
            for name, value in node.values.items()
            if isinstance(value, Scalar)
        }

    def place_at(self, *keys: str) -> Place:
        """Return where a key stands; the deepest of the keys that is there."""
        node: Node | None = self.node
        line = self.place.line
        for key in keys:
            if not isinstance(node, Mapping) or key not in node.values:
                break
            line, node = node.line_of(key), node.values[key]
        return Place(self.place.path, line, line)

    def command_text(self) -> str:
        """Return its command and arguments on one line."""
        found = []
        for key in ("command", "args"):
            found += [item.text for item in items(at(self.node, key)) if isinstance(item, Scalar)]
        return " ".join(found)


class Pod(msgspec.Struct, frozen=True, kw_only=True):
    """One pod, or the template of some.

    Attributes:
        path: of the manifest.
        kind: of the object that it is in: "Deployment".
        name: of that object.
        place: of the pod's specification.
        node: the specification.
        containers: init containers and containers.
        runtime_classes: names of RuntimeClass objects of the same file whose handler is nvidia's.
        ordinary_classes: names of those whose handler is a runtime that knows nothing of GPUs.
    """

    path: str
    kind: str
    name: str
    place: Place
    node: Mapping
    containers: list[Container]
    runtime_classes: list[str] = []
    ordinary_classes: list[str] = []

    def volume(self, name: str) -> Mapping | None:
        """Return a volume by its name."""
        for item in items(at(self.node, "volumes")):
            if isinstance(item, Mapping) and text_at(item, "name") == name:
                return item
        return None

    def shared_memory(self, container: Container) -> Mapping | None:
        """Return the volume that a container mounts at /dev/shm; None where it mounts none."""
        for mount in items(at(container.node, "volumeMounts")):
            if (text_at(mount, "mountPath") or "").rstrip("/") == SHARED_MEMORY:
                return self.volume(text_at(mount, "name") or "")
        return None


def is_manifest(document: Node) -> bool:
    """Tell whether a YAML document is an object of Kubernetes."""
    return text_at(document, "apiVersion") is not None and text_at(document, "kind") is not None


def pods_of(documents: list[Node], path: str) -> list[Pod]:
    """Return the pods of a manifest."""
    handlers = {
        name: text_at(document, "handler") or ""
        for document in documents
        if text_at(document, "kind") == "RuntimeClass" and (name := text_at(document, "metadata", "name"))
    }
    of_nvidia = [name for name, handler in handlers.items() if handler.startswith("nvidia")]
    ordinary = [name for name, handler in handlers.items() if handler in ORDINARY_HANDLERS]
    found = []
    for document in documents:
        if not is_manifest(document):
            continue
        for node in mappings(document):
            if not _is_pod(node):
                continue
            found.append(
                Pod(
                    path=path,
                    kind=text_at(document, "kind") or "",
                    name=text_at(document, "metadata", "name") or text_at(document, "metadata", "generateName") or "",
                    place=Place(path, node.line, node.line),
                    node=node,
                    containers=[
                        *_containers(node, "initContainers", path, initial=True),
                        *_containers(node, "containers", path, initial=False),
                    ],
                    runtime_classes=of_nvidia,
                    ordinary_classes=ordinary,
                )
            )
    return found


def _is_pod(node: Mapping) -> bool:
    listed = items(node.values.get("containers"))
    return bool(listed) and all(
        isinstance(item, Mapping) and ("image" in item.values or "name" in item.values) for item in listed
    )


def _containers(pod: Mapping, key: str, path: str, *, initial: bool) -> list[Container]:
    found = []
    for item in items(pod.values.get(key)):
        if not isinstance(item, Mapping):
            continue
        reference = text_at(item, "image")
        line = item.line_of("image")
        found.append(
            Container(
                name=text_at(item, "name") or "",
                place=Place(path, item.line, item.line),
                node=item,
                image=base_image.read(reference) if reference else None,
                image_place=Place(path, line, line),
                environment=_environment(item, path),
                initial=initial,
            )
        )
    return found


def _environment(container: Mapping, path: str) -> dict[str, tuple[str, Place]]:
    found = {}
    for item in items(at(container, "env")):
        name, value = text_at(item, "name"), at(item, "value")
        if name and isinstance(value, Scalar):
            found[name] = (value.text, Place(path, value.line, value.line))
    return found


def quantity(text: str | None) -> float | None:
    """Return a quantity as a number ("512Mi", "500m", "2G"); None where the text is none.

    Source: Kubernetes' API reference, Quantity.
    """
    match = _QUANTITY.fullmatch((text or "").strip())
    if match is None:
        return None
    suffix = match[2] or ""
    if suffix in _BINARY:
        return float(match[1]) * _BINARY[suffix]
    if suffix[:1] in {"e", "E"} and len(suffix) > 1:
        return float(match[1] + suffix)
    return float(match[1]) * _FACTORS[suffix]
