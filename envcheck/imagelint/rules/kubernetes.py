"""Pods of Kubernetes manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator

from envcheck.imagelint import settings
from envcheck.imagelint.faults import Fault
from envcheck.imagelint.image import machine_of_platform
from envcheck.imagelint.kubernetes import Container, Pod, quantity
from envcheck.imagelint.nodes import at, text_at
from envcheck.imagelint.rule import Machine, rule
from envcheck.imagelint.rules.compose import TRAINS, where, with_gpu
from envcheck.imagelint.rules.cuda import driver_runs_named_image
from envcheck.imagelint.source import Place
from envcheck.report import Evidence, Remedy, Severity

GPU_RESOURCE = re.compile(
    r"nvidia\.com/(?:gpu(?:\.shared)?|mig-.+|pgpu|[A-Z].*)|amd\.com/gpu|gpu\.intel\.com/.+|habana\.ai/gaudi|aliyun\.com/gpu.*"
    r"|google\.com/tpu"
)
"""Resources that device plug-ins offer, as their documentation names them."""
WRONG_NAMES = {
    "nvidia.com/gpus": "nvidia.com/gpu",
    "nvidia.com/GPU": "nvidia.com/gpu",
    "nvidia/gpu": "nvidia.com/gpu",
    "nvidia.gpu": "nvidia.com/gpu",
    "gpu": "nvidia.com/gpu",
    "gpus": "nvidia.com/gpu",
    "alpha.kubernetes.io/nvidia-gpu": "nvidia.com/gpu",
    "amd.com/gpus": "amd.com/gpu",
}
WORKLOADS = frozenset({"Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController"}) | {
    *("Job", "CronJob", "List", "PyTorchJob", "TFJob", "MPIJob")
}
"""Kinds whose pods are started as they stand."""
LIMIT_ONE = ["resources:", "  limits:", "    nvidia.com/gpu: 1"]
MEMORY_VOLUME = [
    "volumeMounts:",
    "  - {name: shared-memory, mountPath: /dev/shm}",
    "volumes:",
    "  - name: shared-memory",
    "    emptyDir: {medium: Memory, sizeLimit: 8Gi}",
]


def gpus_of(container: Container) -> dict[str, tuple[str, Place]]:
    """Return the GPU resources among a container's limits and requests."""
    named = {**container.resources("requests"), **container.resources("limits")}
    return {name: value for name, value in named.items() if GPU_RESOURCE.fullmatch(name)}


def asks_for_gpu(pod: Pod, container: Container) -> bool:
    """Tell whether a container is given a GPU: by a resource, by a claim, or by mounted device files."""
    claims = at(container.node, "resources", "claims") is not None or at(pod.node, "resourceClaims") is not None
    return bool(gpus_of(container)) or claims


def named(pod: Pod, container: Container) -> str:
    """Return how a container is called in a sentence."""
    return f"{pod.kind} {pod.name or '(unnamed)'}, container {container.name or '(unnamed)'}"


@rule(causes=["kubernetes-device-plugin"])
def gpu_limit_is_whole_and_set(pod: Pod) -> Iterator[Fault]:
    """GPUs stand under limits, in whole numbers, and requests are equal to them.

    Why: GPUs cannot be overcommitted: the API server refuses a request without a limit or another number than the
    limit's, and fractions.
    If not: write the limit alone; the request follows it.
    Source: Kubernetes' documentation, "Schedule GPUs"; its API validation ("Limit must be set for non overcommitable
    resources", "must be an integer").
    """
    for container in pod.containers:
        limits, requests = container.resources("limits"), container.resources("requests")
        for name, (text, place) in gpus_of(container).items():
            if "{" in text or "$" in text:
                continue
            amount = quantity(text)
            problem = ""
            if amount is None:
                problem = f"{name}: {text} is no number"
            elif amount != int(amount):
                problem = f"{name}: {text} is a fraction; GPUs come whole"
            elif name not in limits:
                place = requests[name][1]  # noqa: PLW2901 - the line to mend
                problem = f"{name} is requested without a limit"
            elif name in requests and quantity(requests[name][0]) != amount:
                place = requests[name][1]  # noqa: PLW2901 - the line to mend
                problem = f"{name} is requested {requests[name][0]} times and limited to {text}"
            if problem:
                yield Fault(
                    cause="kubernetes-device-plugin",
                    severity=Severity.ERROR,
                    place=place,
                    title=f"{named(pod, container)}: {problem}: the API server refuses it",
                    evidence=[Evidence(f"{name}: {text}", where(place))],
                    remedies=[
                        Remedy(action="Write a whole number under limits alone", commands=LIMIT_ONE, shell="yaml")
                    ],
                )


@rule(causes=["kubernetes-device-plugin"])
def gpu_resource_is_named_rightly(pod: Pod) -> Iterator[Fault]:
    """The resource of GPUs has the name that the device plug-in offers.

    Why: under another name the pod is refused, or waits for ever ("Insufficient …").
    If not: nvidia.com/gpu, amd.com/gpu, gpu.intel.com/i915.
    Source: Kubernetes' documentation, "Schedule GPUs"; alpha.kubernetes.io/nvidia-gpu was removed in 1.11.
    """
    for container in pod.containers:
        for kind in ("limits", "requests"):
            for name, (text, place) in container.resources(kind).items():
                if name not in WRONG_NAMES:
                    continue
                yield Fault(
                    cause="kubernetes-device-plugin",
                    severity=Severity.ERROR,
                    place=place,
                    title=f"{named(pod, container)}: no device plug-in offers {name}; {WRONG_NAMES[name]} is meant",
                    evidence=[Evidence(f"{name}: {text}", where(place))],
                    remedies=[Remedy(action=f"Write {WRONG_NAMES[name]}", commands=LIMIT_ONE, shell="yaml")],
                )


@rule(causes=["container-gpu-not-requested"])
def container_with_cuda_has_a_gpu_limit(pod: Pod) -> Iterator[Fault]:
    """A container whose image is built for NVIDIA GPUs has a limit for them.

    Why: without one the pod is put on any node and gets no GPU; or, where NVIDIA's runtime is the node's default, it
    gets all GPUs of the node, those of others as well.
    If not: limits: nvidia.com/gpu: 1.
    Source: Kubernetes' documentation, "Schedule GPUs"; README of NVIDIA's device plug-in for Kubernetes.
    """
    # Objects of operators are often templates whose resources something else fills in.
    if pod.kind not in WORKLOADS or any(asks_for_gpu(pod, container) for container in pod.containers):
        return
    for container in pod.containers:
        image = container.image
        if image is None or not image.for_nvidia or container.initial:
            continue
        yield Fault(
            cause="container-gpu-not-requested",
            severity=Severity.WARNING,
            place=container.image_place,
            title=f"{named(pod, container)} is built for NVIDIA GPUs and has no limit for them",
            evidence=[Evidence(f"image: {image.reference}", where(container.image_place))],
            remedies=[Remedy(action="Set a limit", commands=LIMIT_ONE, shell="yaml")],
        )


@rule(causes=["cpu-only-build"])
def gpu_of_a_container_is_used(pod: Pod) -> Iterator[Fault]:
    """A container that is given a GPU runs an image whose framework can use it.

    Why: images of tensorflow/tensorflow without `gpu` in their tag never see a GPU, and nobody else gets it meanwhile.
    If not: take the tag with `gpu`.
    Source: TensorFlow's documentation, "Docker" (tags).
    """
    for container in pod.containers:
        image = container.image
        if image and image.for_processor and gpus_of(container):
            yield Fault(
                cause="cpu-only-build",
                severity=Severity.WARNING,
                place=container.image_place,
                title=f"{named(pod, container)} is given a GPU, and {image.reference} can only use the processor",
                evidence=[Evidence(f"image: {image.reference}", where(container.image_place))],
                remedies=[Remedy(action="Take the tag with gpu", commands=[f"image: {with_gpu(image)}"], shell="yaml")],
            )


@rule(causes=["shm-too-small"])
def pod_has_enough_shared_memory(pod: Pod) -> Iterator[Fault]:
    """A container that trains with PyTorch has a memory volume at /dev/shm.

    Why: the container runtime gives /dev/shm 64 MiB, and Kubernetes has no setting for it; PyTorch's data loader
    workers and NCCL's processes need more ("Bus error", "No space left on device").
    If not: mount an emptyDir with `medium: Memory` at /dev/shm. (Pods of Ray have one: KubeRay mounts it.)
    Source: Kubernetes' documentation, "Volumes", emptyDir; PyTorch's README, "Docker Image"; NCCL's documentation,
    "Troubleshooting", "Shared memory".
    """
    # KubeRay mounts a memory volume there itself.
    shares = text_at(pod.node, "hostIPC") == "true" or pod.kind.startswith("Ray")
    for container in pod.containers:
        volume = pod.shared_memory(container)
        if volume is not None:
            yield from _volume_is_memory(pod, container, volume)
            continue
        if shares or container.initial or not _needs_shared_memory(container):
            continue
        yield Fault(
            cause="shm-too-small",
            severity=Severity.WARNING,
            place=container.place,
            title=f"{named(pod, container)}: /dev/shm has 64 MiB; data loader workers and NCCL need more",
            evidence=[
                Evidence(
                    f"image: {container.image.reference}" if container.image else "", where(container.image_place)
                ),
                *[Evidence(f"{name}: {text}", where(place)) for name, (text, place) in gpus_of(container).items()],
            ],
            remedies=[Remedy(action="Mount a memory volume there", commands=MEMORY_VOLUME, shell="yaml")],
        )


def _needs_shared_memory(container: Container) -> bool:
    holds = bool(container.image and container.image.holds_torch)
    gpus = {name: text for name, (text, _) in gpus_of(container).items() if "tpu" not in name}
    several = any((quantity(text) or 0) > 1 for text in gpus.values())
    trains = bool(TRAINS.search(container.command_text()))
    torch = holds or "torch" in container.command_text()
    return bool(gpus) and (holds or several or (torch and trains))


def _volume_is_memory(pod: Pod, container: Container, volume: object) -> Iterator[Fault]:
    from envcheck.imagelint.nodes import Mapping  # noqa: PLC0415 - beside its use

    if not isinstance(volume, Mapping) or "emptyDir" not in volume.values:
        return
    medium = text_at(volume, "emptyDir", "medium")
    line = volume.line_of("emptyDir")
    place = Place(pod.path, line, line)
    if medium != "Memory":
        yield Fault(
            cause="shm-too-small",
            severity=Severity.WARNING,
            place=place,
            title=f"{named(pod, container)}: /dev/shm lies on the node's disk: medium: Memory is missing",
            evidence=[Evidence(f"emptyDir of volume {text_at(volume, 'name')}", where(place))],
            remedies=[Remedy(action="Say that it is memory", commands=MEMORY_VOLUME[-2:], shell="yaml")],
        )
        return
    size, limit = text_at(volume, "emptyDir", "sizeLimit"), container.resources("limits").get("memory")
    if size and (quantity(size) or 0) <= 64 << 20:
        yield Fault(
            cause="shm-too-small",
            severity=Severity.WARNING,
            place=place,
            title=f"{named(pod, container)}: sizeLimit: {size} is no more than the default of /dev/shm",
            evidence=[Evidence(f"sizeLimit: {size}", where(place))],
            remedies=[Remedy(action="Give it more", commands=MEMORY_VOLUME[-2:], shell="yaml")],
        )
    elif size and limit and (quantity(size) or 0) >= (quantity(limit[0]) or float("inf")):
        yield Fault(
            cause="cgroup-limit",
            severity=Severity.WARNING,
            place=limit[1],
            title=f"{named(pod, container)}: /dev/shm may grow to {size}, the memory limit is {limit[0]}",
            detail="Pages of a memory volume count as the container's memory.",
            evidence=[Evidence(f"sizeLimit: {size}", where(place)), Evidence(f"memory: {limit[0]}", where(limit[1]))],
            remedies=[Remedy(action="Raise the memory limit above what the program and /dev/shm need together")],
        )


@rule(causes=["kubernetes-device-plugin"])
def gpu_pod_names_the_runtime_class(pod: Pod) -> Iterator[Fault]:
    """A pod with GPUs names the runtime class that the same file sets up for NVIDIA.

    Why: where NVIDIA's runtime is not the node's default, which a RuntimeClass of its own means, a pod that does not
    name it, or names one whose handler is runc, is started by the ordinary one and sees no driver.
    If not: runtimeClassName: nvidia.
    Source: Kubernetes' documentation, "Runtime Class"; README of NVIDIA's device plug-in for Kubernetes.
    """
    given = text_at(pod.node, "runtimeClassName")
    if not pod.runtime_classes or (given and given not in pod.ordinary_classes):
        return
    for container in pod.containers:
        if any(name.startswith("nvidia.com/") for name in gpus_of(container)):
            name = pod.runtime_classes[0]
            yield Fault(
                cause="kubernetes-device-plugin",
                severity=Severity.WARNING,
                place=pod.place,
                title=f"{pod.kind} {pod.name} has GPUs and names {given or 'no runtime class'}, not this file's {name}",
                evidence=[Evidence(f"RuntimeClass {name}")],
                remedies=[Remedy(action="Name it", commands=[f"runtimeClassName: {name}"], shell="yaml")],
            )
            return


@rule(causes=["container-capabilities-missing", "visible-devices-masked"])
def pod_lets_the_gpu_in(pod: Pod) -> Iterator[Fault]:
    """Variables of a pod leave the choice of GPUs to the device plug-in.

    Why: the plug-in hands over GPUs by NVIDIA_VISIBLE_DEVICES; a value in the manifest takes its place, and `all` gives
    every GPU of the node to a pod that asked for none. CUDA_VISIBLE_DEVICES counts from 0 inside the container.
    If not: leave both out, and set the limit.
    Source: README of NVIDIA's device plug-in for Kubernetes; NVIDIA Container Toolkit documentation, "Specialized
    configurations with Docker".
    """
    for container in pod.containers:
        gpus = gpus_of(container)
        image_for_gpu = bool(container.image and container.image.for_nvidia)
        yield from settings.faults_of(container.environment, gpu=bool(gpus) or image_for_gpu)
        amounts = [quantity(text) for text, _ in gpus.values()]
        if amounts and all(amount is not None for amount in amounts):
            yield from settings.beyond_the_given(container.environment, int(sum(amount or 0 for amount in amounts)))
        value, place = container.environment.get("NVIDIA_VISIBLE_DEVICES", ("", container.place))
        if value == "all" and text_at(pod.node, "runtimeClassName") is None and gpus:
            yield Fault(
                cause="visible-devices-masked",
                severity=Severity.WARNING,
                place=place,
                title=f"{named(pod, container)}: NVIDIA_VISIBLE_DEVICES=all takes the place of the plug-in's choice",
                evidence=[Evidence("NVIDIA_VISIBLE_DEVICES=all", where(place))],
                remedies=[Remedy(action="Leave it out: the limit decides")],
            )


@rule(causes=["container-wrong-platform"])
def pod_is_for_one_platform(pod: Pod, machine: Machine) -> Iterator[Fault]:
    """Images of a pod are for the architecture of the nodes that it selects.

    Why: a program for another architecture ends in "exec format error".
    If not: take the image for that architecture, or one for several.
    Source: Kubernetes' documentation, "Well-Known Labels" (kubernetes.io/arch).
    """
    selected = text_at(pod.node, "nodeSelector", "kubernetes.io/arch") or ""
    for wanted, why in ((selected, f"kubernetes.io/arch: {selected}"), (machine.platform or "", "--platform")):
        for container in pod.containers:
            held = container.image.machine if container.image else None
            asked = machine_of_platform(wanted)
            if held and asked and held != asked:
                yield Fault(
                    cause="container-wrong-platform",
                    severity=Severity.ERROR,
                    place=container.image_place,
                    title=f"{named(pod, container)}: the image is for {held}, the nodes are {asked}",
                    evidence=[
                        Evidence(f"image: {container.image.reference}" if container.image else ""),
                        Evidence(why),
                    ],
                    remedies=[Remedy(action="Take the image for that architecture")],
                )
                break


@rule(causes=["driver-too-old", "container-image-cuda-too-new"])
def driver_runs_the_pod(pod: Pod, machine: Machine) -> Iterator[Fault]:
    """The NVIDIA driver of the machine runs the CUDA versions of a pod's images.

    Why: see driver-runs-the-image. The nodes are other machines: give their driver with `--driver`.
    If not: update the driver of the nodes, or take older images.
    Source: NVIDIA CUDA Toolkit release notes, tables 2 and 3.
    """
    for container in pod.containers:
        if container.image:
            yield from driver_runs_named_image(container.image, container.image_place, machine)
