"""What the variables that choose and hide GPUs may hold, the same in images, services and pods.

Source: NVIDIA Container Toolkit documentation, "Specialized configurations with Docker" (tables of GPU enumeration and
driver capabilities); CUDA C++ Programming Guide, "CUDA environment variables".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from envcheck.imagelint.faults import Fault
from envcheck.imagelint.source import Place
from envcheck.report import Evidence, Remedy, Severity

DRIVER_CAPABILITIES = frozenset({"all", "compute", "compat32", "graphics", "utility", "video", "display", "ngx"})
_NO_DEVICES = frozenset({"", "none", "void"})
_DEVICE = re.compile(
    r"\d+(?::\d+)?|(?:MIG-)?GPU-[0-9a-f-]+(?:/\d+/\d+)?|MIG-[0-9a-f-]+|nvidia\.com/gpu=\S+", re.IGNORECASE
)

Environment = Mapping[str, "tuple[str | None, Place]"]
"""Variables: value (None where it is not known) and place."""


def faults_of(environment: Environment, *, gpu: bool) -> Iterator[Fault]:
    """Say what is wrong with the variables for GPUs.

    Args:
        environment: variables that are set.
        gpu: whether what runs there is to use a GPU.
    """
    yield from _capabilities(environment, gpu=gpu)
    yield from _devices(environment, gpu=gpu)
    yield from _masked(environment, gpu=gpu)


def _value(environment: Environment, name: str) -> tuple[str, Place] | None:
    value, place = environment.get(name, (None, None))
    if value is None or place is None or "$" in value:
        return None
    return value.strip(), place


def _capabilities(environment: Environment, *, gpu: bool) -> Iterator[Fault]:
    found = _value(environment, "NVIDIA_DRIVER_CAPABILITIES")
    if found is None or not found[0]:
        return
    text, place = found
    named = [word.strip() for word in text.split(",")]
    unknown = [word for word in named if word not in DRIVER_CAPABILITIES]
    evidence = [Evidence(f"NVIDIA_DRIVER_CAPABILITIES={text}", f"{place.path}:{place.line}")]
    remedy = Remedy(action="Write NVIDIA_DRIVER_CAPABILITIES=compute,utility")
    if unknown:
        yield Fault(
            cause="container-capabilities-missing",
            severity=Severity.ERROR,
            place=place,
            title=f"NVIDIA_DRIVER_CAPABILITIES has no {', '.join(map(repr, unknown))}: the container will not start "
            "with a GPU",
            detail=f"Known are {', '.join(sorted(DRIVER_CAPABILITIES))}, joined with commas.",
            evidence=evidence,
            remedies=[remedy],
        )
    elif gpu and not {"all", "compute"} & set(named):
        yield Fault(
            cause="container-capabilities-missing",
            severity=Severity.ERROR,
            place=place,
            title="NVIDIA_DRIVER_CAPABILITIES lacks compute: CUDA's driver library will not be in the container",
            evidence=evidence,
            remedies=[remedy],
        )
    elif gpu and not {"all", "utility"} & set(named):
        yield Fault(
            cause="container-capabilities-missing",
            severity=Severity.NOTE,
            place=place,
            title="NVIDIA_DRIVER_CAPABILITIES lacks utility: nvidia-smi and NVML will not be in the container",
            evidence=evidence,
            remedies=[remedy],
        )


def _devices(environment: Environment, *, gpu: bool) -> Iterator[Fault]:
    found = _value(environment, "NVIDIA_VISIBLE_DEVICES")
    if found is None:
        return
    text, place = found
    evidence = [Evidence(f"NVIDIA_VISIBLE_DEVICES={text}", f"{place.path}:{place.line}")]
    remedy = Remedy(action="Write `all`, or numbers or UUIDs joined with commas")
    if text in _NO_DEVICES:
        if gpu:
            yield Fault(
                cause="visible-devices-masked",
                severity=Severity.WARNING,
                place=place,
                title=f"NVIDIA_VISIBLE_DEVICES={text or '(empty)'} gives no GPU to what is built for one",
                evidence=evidence,
                remedies=[remedy],
            )
    elif text != "all" and any(not _DEVICE.fullmatch(word.strip()) for word in text.split(",")):
        yield Fault(
            cause="visible-devices-masked",
            severity=Severity.ERROR,
            place=place,
            title=f"NVIDIA_VISIBLE_DEVICES={text} names no device: the container will not start with a GPU",
            evidence=evidence,
            remedies=[remedy],
        )


def _masked(environment: Environment, *, gpu: bool) -> Iterator[Fault]:
    found = _value(environment, "CUDA_VISIBLE_DEVICES")
    if found is None or not gpu or (found[0] and found[0] not in {"-1", "none", "NoDevFiles"}):
        return
    text, place = found
    yield Fault(
        cause="visible-devices-masked",
        severity=Severity.WARNING,
        place=place,
        title=f"CUDA_VISIBLE_DEVICES={text or '(empty)'} hides every GPU from what is built for one",
        evidence=[Evidence(f"CUDA_VISIBLE_DEVICES={text}", f"{place.path}:{place.line}")],
        remedies=[Remedy(action="Leave the variable out; what the container is given is what it sees")],
    )


def beyond_the_given(environment: Environment, count: int) -> Iterator[Fault]:
    """Say that CUDA_VISIBLE_DEVICES names a GPU that a container with so many cannot have.

    Args:
        environment: variables that are set.
        count: how many GPUs the container is given; they are numbered from 0 inside it.
    """
    found = _value(environment, "CUDA_VISIBLE_DEVICES")
    numbers = [word.strip() for word in found[0].split(",")] if found else []
    if found is None or not all(word.isdigit() for word in numbers):
        return
    beyond = [word for word in numbers if int(word) >= count]
    if beyond:
        text, place = found
        yield Fault(
            cause="visible-devices-masked",
            severity=Severity.ERROR,
            place=place,
            title=f"CUDA_VISIBLE_DEVICES={text}, but the container is given {count} "
            f"GPU{'s' if count != 1 else ''}, numbered from 0: CUDA sees "
            + ("none" if beyond[0] == numbers[0] else "only the first of them"),
            evidence=[Evidence(f"CUDA_VISIBLE_DEVICES={text}", f"{place.path}:{place.line}")],
            remedies=[Remedy(action="Leave the variable out, or number from 0 what the container is given")],
        )
