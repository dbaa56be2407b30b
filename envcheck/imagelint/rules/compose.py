"""Services of compose files."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from envcheck.imagelint import settings
from envcheck.imagelint.base_image import BaseImage
from envcheck.imagelint.compose import GPU_CAPABILITIES, Service, capabilities, gpu_devices, is_gpu_request
from envcheck.imagelint.faults import Fault
from envcheck.imagelint.image import machine_of_platform
from envcheck.imagelint.nodes import Mapping, Scalar, Sequence, at, items, text_at, words
from envcheck.imagelint.rule import Machine, rule
from envcheck.imagelint.rules.context import line_ends_of
from envcheck.imagelint.rules.cuda import driver_runs_named_image
from envcheck.imagelint.source import Place
from envcheck.report import Evidence, Remedy, Severity

RESERVE_ALL = [
    "deploy:",
    "  resources:",
    "    reservations:",
    "      devices:",
    "        - driver: nvidia",
    "          count: all",
    "          capabilities: [gpu]",
]
DEFAULT_SHARED_MEMORY = 64 << 20
"""Bytes of /dev/shm in a container unless something else is asked for. Source: Docker's documentation, `--shm-size`."""
TRAINS = re.compile(
    r"\btrain|torchrun|torch\.distributed|accelerate\s+launch|deepspeed|num[-_]workers|finetun|fine-tun|\bfit\b|vllm|sglang"
    r"|text-generation-launcher|tritonserver|jupyter",
    re.IGNORECASE,
)
"""Commands whose documentation asks for shared memory: training, NCCL over several GPUs, and servers made of them."""


def where(place: Place) -> str:
    """Return a place as evidence names it."""
    return f"{place.path}:{place.line}"


@rule(causes=["container-gpu-not-requested"])
def service_with_cuda_asks_for_a_gpu(service: Service) -> Iterator[Fault]:
    """A service whose image is built for NVIDIA GPUs asks for one.

    Why: compose gives a container no GPU unless it is asked for, whatever the image is built for; the framework then
    says that there is no driver and computes on the CPU. NVIDIA_VISIBLE_DEVICES chooses among GPUs and asks for none,
    unless NVIDIA's runtime is the daemon's default.
    If not: reserve devices with the capability `gpu`, or write `gpus: all`.
    Source: Docker's documentation, "Run Docker Compose services with GPU access".
    """
    chosen = service.environment.get("NVIDIA_VISIBLE_DEVICES", ("void", service.place))[0] not in {"", "void", "none"}
    meant = service.for_nvidia() or chosen
    if not meant or service.asks_for_gpu() or service.image_has_gpu_elsewhere or _for_cpu(service):
        return
    built = f"built from {service.built.base.reference}" if service.built else ""
    what = f"image: {service.image.reference}" if service.image else built
    reason = "is built for NVIDIA GPUs" if service.for_nvidia() else "sets NVIDIA_VISIBLE_DEVICES"
    yield Fault(
        cause="container-gpu-not-requested",
        severity=Severity.WARNING,
        place=service.place,
        title=f"service {service.name} {reason} and asks for none",
        evidence=[Evidence(what, where(service.place_at("image")))],
        remedies=[Remedy(action="Reserve GPUs", commands=RESERVE_ALL, shell="yaml")],
    )


def _for_cpu(service: Service) -> bool:
    """Tell whether a service says that it is to use the processor: by its name, its profiles or its options."""
    profiles = words(at(service.node, "profiles"))
    said = re.search(r"(?:^|[-_])cpu(?:[-_]|$)", " ".join([service.name, *profiles]), re.IGNORECASE)
    return bool(said or re.search(r"--(?:use-|always-)?cpu\b|device[= ]cpu\b", service.command_text()))


@rule(causes=["cpu-only-build"])
def gpu_of_a_service_is_used(service: Service) -> Iterator[Fault]:
    """A service that is given a GPU runs an image whose framework can use it.

    Why: images of tensorflow/tensorflow without `gpu` in their tag never see a GPU.
    If not: take the tag with `gpu`.
    Source: TensorFlow's documentation, "Docker" (tags).
    """
    if service.image and service.image.for_processor and service.asks_for_gpu():
        yield Fault(
            cause="cpu-only-build",
            severity=Severity.WARNING,
            place=service.place_at("image"),
            title=f"service {service.name} is given a GPU, and {service.image.reference} can only use the processor",
            evidence=[Evidence(f"image: {service.image.reference}", where(service.place_at("image")))],
            remedies=[
                Remedy(action="Take the tag with gpu", commands=[f"image: {with_gpu(service.image)}"], shell="yaml")
            ],
        )


def with_gpu(image: BaseImage) -> str:
    """Return the name of the same image of TensorFlow for GPUs."""
    version, _, rest = (image.tag or "latest").partition("-")
    return f"{image.repository}:{version}-gpu{f'-{rest}' if rest else ''}"


@rule(causes=["container-gpu-not-requested"])
def gpu_reservation_is_complete(service: Service) -> Iterator[Fault]:
    """A reservation of GPUs has what compose demands of it.

    Why: without `capabilities` compose refuses it; `count` and `device_ids` exclude each other; under `limits` there
    are no devices; with a capability that NVIDIA's driver does not have no GPU comes.
    If not: write driver, count (or device_ids) and capabilities: [gpu] under deploy.resources.reservations.devices.
    Source: Compose Deploy Specification, "devices"; Docker's documentation on GPU access.
    """
    resources = at(service.node, "deploy", "resources")
    limits = at(resources, "limits")
    found: list[tuple[str, int]] = []
    if isinstance(limits, Mapping) and "devices" in limits.values:
        found.append(("devices stand under `limits`; they belong under `reservations`", limits.line_of("devices")))
    devices = at(resources, "reservations", "devices")
    if isinstance(devices, Mapping):
        found.append(("`devices` is a mapping; a list is needed (`- driver: nvidia`)", devices.line))
    for item in items(devices):
        if isinstance(item, Mapping):
            found += [*_capabilities_problems(item), *_number_problems(item)]
    for title, line in found:
        place = Place(service.path, line, line)
        yield Fault(
            cause="container-gpu-not-requested",
            severity=Severity.ERROR,
            place=place,
            title=f"service {service.name}: {title}",
            evidence=[Evidence("deploy.resources", where(place))],
            remedies=[Remedy(action="Write the whole reservation", commands=RESERVE_ALL, shell="yaml")],
        )


def _capabilities_problems(device: Mapping) -> Iterator[tuple[str, int]]:
    line = device.line_of("capabilities")
    if "capabilities" not in device.values:
        yield "a device reservation without `capabilities` is refused", device.line
    elif isinstance(device.values["capabilities"], Scalar):
        yield "`capabilities` is a list: [gpu]", line
    elif text_at(device, "driver") == "nvidia":
        unknown = sorted(set(capabilities(device)) - GPU_CAPABILITIES)
        if unknown or not capabilities(device):
            yield f"the driver nvidia has no capability {', '.join(unknown) or '(none is named)'}: no GPU comes", line


def _number_problems(device: Mapping) -> Iterator[tuple[str, int]]:
    if is_gpu_request(device) and "count" in device.values and "device_ids" in device.values:
        yield "`count` and `device_ids` exclude each other", device.line_of("device_ids")
    count = text_at(device, "count")
    if count == "0":
        yield "count: 0 reserves no GPU", device.line_of("count")
    elif count is not None and count != "all" and not count.lstrip("-").isdigit() and "$" not in count:
        yield f"count: {count} is neither a number nor `all`", device.line_of("count")
    for number in items(device.values.get("device_ids")):
        if isinstance(number, Scalar) and not number.quoted and number.text.isdigit():
            yield f"device_ids takes text: write '{number.text}' in quotes", number.line


@rule(causes=["container-toolkit-missing"])
def gpu_is_asked_for_in_the_present_way(service: Service) -> Iterator[Fault]:
    """GPUs are asked for by a reservation, not by `runtime: nvidia` or by device files.

    Why: `runtime: nvidia` needs that runtime to be registered with the daemon ("unknown or invalid runtime name:
    nvidia") and gives all GPUs; device files bring no driver libraries with them.
    If not: reserve devices with the capability `gpu`.
    Source: Docker's documentation, "Run Docker Compose services with GPU access"; NVIDIA Container Toolkit
    documentation, "Installing the toolkit", "Configuring Docker".
    """
    if text_at(service.node, "runtime") == "nvidia":
        place = service.place_at("runtime")
        yield Fault(
            cause="container-toolkit-missing",
            severity=Severity.NOTE,
            place=place,
            title=f"service {service.name}: runtime: nvidia works only where the daemon knows that runtime",
            evidence=[Evidence("runtime: nvidia", where(place))],
            remedies=[Remedy(action="Reserve GPUs instead", commands=RESERVE_ALL, shell="yaml")],
        )
    if gpu_devices(service.node) or "gpus" in service.node.values or text_at(service.node, "runtime"):
        return
    for item in items(at(service.node, "devices")):
        text = item.text if isinstance(item, Scalar) else ""
        if text.startswith("/dev/nvidia") and "privileged" not in service.node.values:
            place = Place(service.path, item.line, item.line)
            yield Fault(
                cause="container-gpu-not-requested",
                severity=Severity.WARNING,
                place=place,
                title=f"service {service.name}: {text.split(':')[0]} alone brings no driver libraries with it",
                evidence=[Evidence(text, where(place))],
                remedies=[Remedy(action="Reserve GPUs instead", commands=RESERVE_ALL, shell="yaml")],
            )
            return


@rule(causes=["shm-too-small"])
def service_has_enough_shared_memory(service: Service) -> Iterator[Fault]:
    """A service with PyTorch has more shared memory than a container gets by default.

    Why: PyTorch's data loader workers hand batches over in /dev/shm, NCCL's processes talk through it, and a container
    has 64 MiB of it: "DataLoader worker is killed by signal: Bus error". `shm_size` under `build` counts for the build
    alone.
    If not: `shm_size: 8gb`, or `ipc: host`.
    Source: Docker's documentation, `--shm-size`; PyTorch's README, "Docker Image"; NCCL's documentation,
    "Troubleshooting", "Shared memory".
    """
    if not service.holds_torch():
        return
    remedy = [Remedy(action="Give it shared memory", commands=["shm_size: 8gb"], shell="yaml")]
    if _shares_memory(service):
        return
    size = text_at(service.node, "shm_size")
    parsed = byte_count(size)
    if size is not None and (parsed is None or parsed > DEFAULT_SHARED_MEMORY):
        return
    only_for_build = at(service.node, "build", "shm_size") is not None
    direct = bool(service.image and service.image.holds_torch)
    uses = not _for_cpu(service) and (direct or _several_gpus(service) or bool(TRAINS.search(service.command_text())))
    if size is not None:
        place, title = service.place_at("shm_size"), f"shm_size: {size} is no more than the default"
    elif only_for_build:
        place, title = service.place_at("build", "shm_size"), "shm_size under build counts for the build alone"
    else:
        place, title = service.place, "PyTorch with the default of 64 MiB shared memory"
    yield Fault(
        cause="shm-too-small",
        severity=Severity.WARNING if uses or only_for_build or size else Severity.NOTE,
        place=place,
        title=f"service {service.name}: {title}; data loader workers and NCCL need more",
        evidence=[Evidence(_holds_torch_text(service), where(service.place))],
        remedies=remedy,
    )


def _several_gpus(service: Service) -> bool:
    """Tell whether more than one GPU is asked for, so that NCCL's processes talk through shared memory."""
    for device in gpu_devices(service.node):
        count = text_at(device, "count") or ""
        if len(words(device.values.get("device_ids"))) > 1 or (count.isdigit() and int(count) > 1):
            return True
    return False


def _shares_memory(service: Service) -> bool:
    ipc = [node.text for node in service.everywhere("ipc") if isinstance(node, Scalar)]
    sizes = [node.text for node in service.everywhere("shm_size") if isinstance(node, Scalar)]
    if ipc and ipc[0] != "private":
        return True
    if sizes and text_at(service.node, "shm_size") is None:
        return True
    for key in ("tmpfs", "volumes"):
        for item in (item for node in service.everywhere(key) for item in [node, *items(node)]):
            text = item.text if isinstance(item, Scalar) else text_at(item, "target") or ""
            if "/dev/shm" in text:  # noqa: S108 - the place, not a file of ours
                return True
    return False


def _holds_torch_text(service: Service) -> str:
    if service.image:
        return f"image: {service.image.reference}"
    built = service.built
    if built is None:
        return ""
    package = next((p for install in built.installs for p in install.packages if "torch" in p.name), None)
    return f"{built.path} installs {package.written}" if package else f"built from {built.base.reference}"


def byte_count(text: str | None) -> int | None:
    """Return a size of compose in bytes ("64m", "2gb", "1073741824"); None where it is none.

    Source: Compose Specification, "Specifying byte values".
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?\s*", (text or "").lower())
    if match is None:
        return None
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2] or " "))


@rule(causes=["cgroup-limit"])
def shared_memory_fits_the_memory_limit(service: Service) -> Iterator[Fault]:
    """The memory limit of a service is larger than its shared memory.

    Why: pages of /dev/shm count as the container's memory; where it may fill, the OOM killer ends the program before
    /dev/shm is full.
    If not: raise the limit, or lower shm_size.
    Source: Linux kernel documentation, "Memory Resource Controller" (tmpfs is charged to the group).
    """
    size = byte_count(text_at(service.node, "shm_size"))
    for keys in (("mem_limit",), ("deploy", "resources", "limits", "memory")):
        limit = byte_count(text_at(service.node, *keys))
        if size and limit and size >= limit:
            place = service.place_at(*keys)
            yield Fault(
                cause="cgroup-limit",
                severity=Severity.WARNING,
                place=place,
                title=f"service {service.name}: /dev/shm may grow to {text_at(service.node, 'shm_size')}, "
                f"the memory limit is {text_at(service.node, *keys)}",
                evidence=[Evidence("shm_size", where(service.place_at("shm_size")))],
                remedies=[Remedy(action="Raise the limit above what the program and /dev/shm need together")],
            )


@rule(causes=["container-capabilities-missing", "visible-devices-masked"])
def service_lets_the_gpu_in(service: Service) -> Iterator[Fault]:
    """The variables that choose GPUs let them into the service, and count from 0 inside it.

    Why: see image-lets-the-gpu-in; besides, a container that is given one GPU of four sees it as number 0, and
    CUDA_VISIBLE_DEVICES=2 hides it.
    If not: choose GPUs by device_ids alone, and leave CUDA_VISIBLE_DEVICES out.
    Source: NVIDIA Container Toolkit documentation, "Specialized configurations with Docker"; CUDA C++ Programming
    Guide, "CUDA environment variables".
    """
    gpu = service.asks_for_gpu() or service.for_nvidia()
    yield from settings.faults_of(service.environment, gpu=gpu)
    counts = []
    for device in gpu_devices(service.node):
        ids, count = words(device.values.get("device_ids")), text_at(device, "count")
        counts.append(len(ids) if ids else int(count) if count and count.isdigit() else None)
    if counts and all(count is not None for count in counts):
        yield from settings.beyond_the_given(service.environment, sum(count or 0 for count in counts))


@rule(causes=["container-wrong-platform"])
def service_is_for_one_platform(service: Service, machine: Machine) -> Iterator[Fault]:
    """The platform of a service is that of its image and of the machine.

    Why: a program for another architecture ends in "exec format error", or runs many times slower under emulation.
    If not: leave `platform` out, or build for the one that is there.
    Source: Compose Specification, `platform`; Docker's documentation, "Multi-platform builds".
    """
    written = text_at(service.node, "platform")
    asked = machine_of_platform(written or "")
    held = None
    if service.image:
        held = service.image.machine
    elif service.built:
        held = machine_of_platform(service.built.stage.lineage[0].platform) or service.built.base.machine
    wanted = machine_of_platform(machine.platform or "")
    place = service.place_at("platform")
    evidence = [Evidence(f"platform: {written}", where(place))] if written else []
    if asked and held and asked != held:
        what = service.image.reference if service.image else f"{service.built.path}" if service.built else ""
        yield Fault(
            cause="container-wrong-platform",
            severity=Severity.ERROR,
            place=place,
            title=f"service {service.name}: platform {written}, but its image is for {held}",
            evidence=[*evidence, Evidence(what)],
            remedies=[Remedy(action="Give both one platform, or leave both out")],
        )
    elif wanted and (asked or held) and (asked or held) != wanted:
        yield Fault(
            cause="container-wrong-platform",
            severity=Severity.ERROR,
            place=place,
            title=f"service {service.name} is for {asked or held}, it shall run on {machine.platform}",
            evidence=evidence,
            remedies=[Remedy(action="Leave the platform out, or take an image for that machine")],
        )


@rule(causes=["entrypoint-failed"])
def mounted_scripts_have_unix_line_ends(service: Service) -> Iterator[Fault]:
    r"""A script that is mounted into a service and started does not end its lines with CR LF.

    Why: the kernel reads `#!/bin/sh\r` and looks for an interpreter of that name: "no such file or directory".
    If not: save it with LF, and keep git from changing it (`*.sh text eol=lf` in .gitattributes).
    Source: execve(2), "Interpreter scripts"; git's documentation, gitattributes, `eol`.
    """
    started = service.command_text()
    for item in items(at(service.node, "volumes")):
        if isinstance(item, Scalar):
            source, _, rest = item.text.partition(":")
            target = rest.partition(":")[0]
        elif isinstance(item, Mapping):
            source, target = text_at(item, "source") or "", text_at(item, "target") or ""
        else:
            continue
        if not source.startswith((".", "./")) or not target or posixpath.basename(target) not in started:
            continue
        line = line_ends_of(service.folder, source)
        if line is not None:
            place = Place(service.path, item.line, item.line)
            name = service.folder.named(source)
            yield Fault(
                cause="entrypoint-failed",
                severity=Severity.ERROR,
                place=place,
                title=f"service {service.name}: {name} has CR LF line ends: it will not start",
                evidence=[Evidence("CR LF line ends", f"{name}:{line}")],
                remedies=[
                    Remedy(action="Save it with LF line ends", commands=[f"sed -i 's/\\r$//' {name}"], safe=True)
                ],
            )


@rule(causes=["driver-too-old", "container-image-cuda-too-new"])
def driver_runs_the_service(service: Service, machine: Machine) -> Iterator[Fault]:
    """The NVIDIA driver of the machine runs the CUDA version of the image that a service names.

    Why: see driver-runs-the-image.
    If not: update the driver of the host, or take an older image.
    Source: NVIDIA CUDA Toolkit release notes, tables 2 and 3.
    """
    if service.image:
        yield from driver_runs_named_image(service.image, service.place_at("image"), machine)


@rule(causes=["container-gpu-not-requested"])
def service_file_is_for_one_machine(service: Service) -> Iterator[Fault]:
    """GPUs are counted where compose counts them.

    Why: `deploy.resources.reservations.generic_resources` is for Swarm alone; `docker compose up` passes it over, and
    no GPU comes.
    If not: reserve devices with the capability `gpu`.
    Source: Compose Deploy Specification (platform specific); Docker's documentation, "Deploy services to a swarm".
    """
    node = at(service.node, "deploy", "resources", "reservations", "generic_resources")
    if isinstance(node, Sequence) and not gpu_devices(service.node) and "gpus" not in service.node.values:
        place = service.place_at("deploy", "resources", "reservations", "generic_resources")
        yield Fault(
            cause="container-gpu-not-requested",
            severity=Severity.NOTE,
            place=place,
            title=f"service {service.name}: generic_resources count for Swarm alone, not for docker compose",
            evidence=[Evidence("generic_resources", where(place))],
            remedies=[Remedy(action="Reserve GPUs for docker compose", commands=RESERVE_ALL, shell="yaml")],
        )
