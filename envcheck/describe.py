"""Facts in words for people."""

from __future__ import annotations

from envcheck.facts import Facts, Framework

TITLES = {"torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras"}


def describe(facts: Facts) -> str:
    """Return in one line what this environment computes with."""
    parts = [frameworks(facts) or ("no framework is installed" if facts.packages else "nothing wrong was seen")]
    if facts.nvml and facts.nvml.state == "ok":
        names = [gpu.name or "GPU" for gpu in facts.nvml.gpus or []]
        parts.append(", ".join(f"{names.count(name)} × {name}" for name in dict.fromkeys(names)))
    return "; ".join(part for part in parts if part)


def frameworks(facts: Facts) -> str:
    """Return the frameworks and what they compute on; empty where there is none."""
    parts = []
    for name, title in TITLES.items():
        framework: Framework | None = getattr(facts, name)
        # TensorFlow brings Keras along; saying both says it twice.
        if framework is None or (name == "keras" and facts.tensorflow is not None):
            continue
        version = framework.version or framework.metadata_version or ""
        kinds = sorted({device.kind for device in framework.devices or [] if device.computed})
        parts.append(f"{title} {version}" + (f" computes on {' and '.join(kinds)}" if kinds else ""))
    return "; ".join(parts)


def gibibytes(count: int | None) -> str:
    """Return a size for people."""
    if count is None:
        return "?"
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
