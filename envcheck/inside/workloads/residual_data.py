"""Residual network: coloured digits, or a folder of images in ImageNet's layout; see workload_walk.py."""

import numpy as np

TITLE = "residual network on coloured digits"
PROVES = (
    "residual blocks learn: convolutions with strides, batch normalisation in both of its modes, projection shortcuts"
    " and global pooling"
)
METRIC = "accuracy"
HIGHER_IS_BETTER = True
SIDE = 32
SIZES = {
    "quick": {
        "samples": 240,
        "test_samples": 100,
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "bar": None,
        "widths": (8, 16),
        "classes": 10,
    },
    "standard": {
        "samples": 2500,
        "test_samples": 500,
        "epochs": 8,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "bar": 0.8,
        "widths": (16, 32, 64),
        "classes": 10,
    },
    "full": {
        "samples": 10000,
        "test_samples": 2000,
        "epochs": 12,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "bar": 0.9,
        "widths": (16, 32, 64),
        "classes": 10,
    },
}

load_sibling = None  # put in by workload_walk.py


def recognises(path):
    """Tell whether this is a folder of images in ImageNet's layout."""
    return load_sibling("workloads/read_images").recognises(path)


def prepare(path, size, seed):
    """Return the three parts: images (samples, 32, 32, 3) from -1 to 1, and the class of each."""
    if path:
        return load_sibling("workloads/read_images").prepare(path, size, seed, SIDE)
    digits = load_sibling("smoke_data")
    validating = size["samples"] // 5
    images, labels = _coloured(digits, size["samples"], seed)
    # Another stream of random numbers, so that no test image is also trained with, whatever the seed.
    test_images, test_labels = _coloured(digits, size["test_samples"], seed + 2**31)
    return {
        "train": _part(images[validating:], labels[validating:]),
        "validation": _part(images[:validating], labels[:validating]),
        "test": _part(test_images, test_labels),
    }


def _part(images, labels):
    return {"inputs": {"images": images}, "target": labels.astype(np.int32)}


def _coloured(digits, count, seed):
    """Return digits drawn in one colour upon another, neither of which says which digit it is."""
    grey, labels = digits.generate(count, seed)
    random = np.random.RandomState(seed % 2**31 + 1)
    ground = random.uniform(0, 1, (count, 1, 1, 3)).astype(np.float32)
    # Each channel of the pen is at least 0.35 away from the ground's, or the digit could not be seen.
    far = random.uniform(0.35, 0.65, ground.shape).astype(np.float32)
    pen = np.where(ground < 0.5, ground + far, ground - far)
    border = (SIDE - grey.shape[1]) // 2
    ink = np.pad(grey, ((0, 0), (border, border), (border, border), (0, 0)), "constant")
    return (ground + ink * (pen - ground)) * 2 - 1, labels


def blocks(size):
    """Return (name, channels in, channels out, stride) of each residual block."""
    found, channels = [], size["widths"][0]
    for number, width in enumerate(size["widths"], 1):
        found.append(("block%d" % number, channels, width, 1 if number == 1 else 2))
        channels = width
    return found


def _normalised(name, channels):
    return [(name + "/gamma", (channels,), "ones"), (name + "/beta", (channels,), "zeros")]


def parameters(size):
    """Return name, shape and kind of all that is trained."""
    first, last = size["widths"][0], size["widths"][-1]
    listed = [("stem/kernel", (3, 3, 3, first), "glorot"), *_normalised("stem_norm", first)]
    for name, before, after, stride in blocks(size):
        listed.append((name + "_conv1/kernel", (3, 3, before, after), "glorot"))
        listed.extend(_normalised(name + "_norm1", after))
        listed.append((name + "_conv2/kernel", (3, 3, after, after), "glorot"))
        listed.extend(_normalised(name + "_norm2", after))
        if stride > 1 or before != after:
            listed.append((name + "_shortcut/kernel", (1, 1, before, after), "glorot"))
            listed.extend(_normalised(name + "_shortcut_norm", after))
    return [
        *listed,
        ("head/kernel", (last, size["classes"]), "glorot"),
        ("head/bias", (size["classes"],), "zeros"),
    ]


def score(outputs, part):
    """Return the fraction of the images that are told right."""
    return {"accuracy": float(np.mean(outputs.argmax(1) == part["target"]))}


def show(outputs, part, inner):
    """Return which class was taken for which, and some of the images that were taken for another."""
    del inner
    found, labels = outputs.argmax(1), part["target"]
    names = part.get("classes") or [str(number) for number in range(outputs.shape[1])]
    shown = {"pictures": []}
    if len(names) <= 20:
        confusion = np.zeros((len(names), len(names)))
        np.add.at(confusion, (labels, found), 1)
        shown["matrices"] = [
            {
                "name": "confusion",
                "rows": names,
                "columns": names,
                "values": confusion.tolist(),
                "row_label": "class",
                "column_label": "taken for",
            }
        ]
    for number, index in enumerate(np.flatnonzero(found != labels)[:12], 1):
        grey = (part["inputs"]["images"][index].mean(2) + 1) * 127.5
        shown["pictures"].append(
            {
                "name": "mistake %d" % number,
                "caption": "%s taken for %s" % (names[labels[index]], names[found[index]]),
                "width": SIDE,
                "height": SIDE,
                "pixels": grey.round().clip(0, 255).astype(int).reshape(-1).tolist(),
            }
        )
    return shown
