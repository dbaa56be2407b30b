"""Images of digits for the smoke training: a generator that needs NumPy alone, and readers for real MNIST.

This file runs inside the interpreter under test: every Python from 3.6 on, NumPy 1.x and 2.x, nothing else.

Images are float32 of shape (count, 28, 28, 1) with values from 0 to 1; labels are int64 of shape (count,).

The generated digits are strokes (one or two ways to write each digit) that are rotated, sheared, scaled, bent and
shifted, drawn with a pen of varying width and ink, crossed by stray pen marks and covered with noise, so that the
accuracy means something: docs/smoke.md has the figures for a linear model beside those of the reference network.
"""

import gzip
import os
import struct
import zipfile
import zlib

import numpy as np

SIDE = 28
CLASSES = 10

# How hard the generated digits are. Chosen by measuring, see docs/smoke.md.
ROTATION = 0.22  # radians, largest turn either way
SHEAR = 0.20  # largest slant either way
SCALE = (0.70, 1.0)  # of the half side, in each direction on its own
SHIFT = 0.20  # of the half side, largest move either way in each direction
BEND = 0.06  # of the half side, largest amplitude of the wave that bends the strokes
PEN = (0.045, 0.085)  # of the half side: the spread of the pen's round tip
INK = (0.55, 1.0)  # brightness of the strokes
MARKS = 1  # stray pen marks on each image
MARK_LENGTH = 0.45  # of the half side, largest reach of a mark from its middle
NOISE = 0.10  # standard deviation of the noise on each pixel
TEST_SAMPLES = 1000  # drawn to test with: the accuracy's standard error is then below 0.01
POINTS = 48  # points that a digit's strokes are drawn with
MARK_POINTS = 8
CHUNK = 512  # images drawn at a time, bounds the memory


class DataError(Exception):
    """The data cannot be used; the message names the file and what is wrong with it."""


def _line(*corners):
    return np.array(corners, dtype=np.float64)


def _arc(x, y, width, height, first, last):
    """Return points on an ellipse's arc; angles in degrees, 0 is right and 90 is down."""
    angles = np.radians(np.linspace(first, last, 24))
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], axis=1)


# Each digit has one or more ways of writing it; each is a list of strokes in a square from -1 to 1, y downwards.
_HANDWRITING = [
    [[_arc(0, 0, 0.55, 0.85, 0, 360)], [_arc(0, 0, 0.70, 0.80, -60, 300)]],
    [[_line((0, -0.85), (0, 0.85))], [_line((-0.35, -0.5), (0.05, -0.85), (0.05, 0.85))]],
    [
        [_arc(0, -0.40, 0.50, 0.45, 180, 390), _line((0.43, -0.17), (-0.55, 0.85)), _line((-0.55, 0.85), (0.60, 0.85))],
        [_arc(0, -0.45, 0.45, 0.40, 200, 400), _line((0.34, -0.19), (-0.5, 0.75), (0, 0.65), (0.6, 0.85))],
    ],
    [
        [_arc(-0.05, -0.42, 0.48, 0.43, 200, 450), _arc(-0.05, 0.42, 0.55, 0.43, 270, 520)],
        [_line((-0.5, -0.85), (0.45, -0.85), (-0.05, -0.15)), _arc(-0.05, 0.35, 0.52, 0.50, 270, 520)],
    ],
    [
        [_line((0.30, 0.85), (0.30, -0.85), (-0.60, 0.30), (0.65, 0.30))],
        [_line((-0.45, -0.80), (-0.50, 0.10), (0.50, 0.10)), _line((0.40, -0.80), (0.35, 0.85))],
    ],
    [[_line((0.50, -0.85), (-0.42, -0.85), (-0.48, -0.10)), _arc(-0.05, 0.33, 0.55, 0.52, 220, 510)]],
    [
        [_arc(0.55, -0.05, 1.05, 0.85, 255, 150), _arc(0, 0.38, 0.50, 0.47, 0, 360)],
        [_line((0.25, -0.85), (-0.45, 0.20)), _arc(0, 0.38, 0.50, 0.47, 0, 360)],
    ],
    [
        [_line((-0.55, -0.85), (0.55, -0.85), (-0.15, 0.85))],
        [_line((-0.55, -0.80), (0.55, -0.80), (-0.10, 0.85)), _line((-0.25, 0.0), (0.45, 0.0))],
    ],
    [
        [_arc(0, -0.43, 0.42, 0.42, 0, 360), _arc(0, 0.43, 0.52, 0.42, 0, 360)],
        [
            _arc(0, -0.40, 0.45, 0.42, 60, 330),
            _line((0.39, -0.61), (-0.40, 0.62)),
            _arc(0, 0.45, 0.45, 0.40, 150, -60),
            _line((0.22, 0.10), (-0.22, -0.04)),
        ],
    ],
    [
        [_arc(0, -0.38, 0.50, 0.45, 0, 360), _line((0.50, -0.38), (0.35, 0.85))],
        [_arc(0, -0.38, 0.48, 0.45, 0, 360), _arc(-0.55, 0.05, 1.04, 0.80, -30, 75)],
    ],
]


def _evenly_spaced(strokes, count):
    """Return ``count`` points, evenly spaced along all strokes together: an array of shape (count, 2)."""
    starts = np.concatenate([stroke[:-1] for stroke in strokes])
    ends = np.concatenate([stroke[1:] for stroke in strokes])
    lengths = np.hypot(ends[:, 0] - starts[:, 0], ends[:, 1] - starts[:, 1])
    reached = np.cumsum(lengths)
    wanted = (np.arange(count) + 0.5) / count * reached[-1]
    segment = np.searchsorted(reached, wanted)
    along = (wanted - (reached[segment] - lengths[segment])) / lengths[segment]
    return starts[segment] + (ends[segment] - starts[segment]) * along[:, None]


_WAYS = [[_evenly_spaced(strokes, POINTS) for strokes in ways] for ways in _HANDWRITING]


def _pen(points, spread):
    """Return how much ink each pixel gets, 0 to 1, for points of shape (count, points, 2) from -1 to 1."""
    pixels = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE * 2 - 1
    scale = -0.5 / np.square(spread[:, None, None])
    across = np.exp(np.square(points[:, :, 0:1] - pixels) * scale)
    down = np.exp(np.square(points[:, :, 1:2] - pixels) * scale)
    # A gaussian dot is the product of its two profiles, so a whole drawing is one matrix product.
    return 1 - np.exp(-2.5 * np.matmul(down.transpose(0, 2, 1), across))


def _draw(random, labels):
    count = len(labels)

    def between(low, high, *shape):
        return random.uniform(low, high, (count, *shape)).astype(np.float32)

    ways = random.randint(0, 2, count)
    drawings = [_WAYS[label][ways[index] % len(_WAYS[label])] for index, label in enumerate(labels)]
    points = np.stack(drawings).astype(np.float32)
    phase = between(0, 2 * np.pi, 1, 2)
    points = points + between(-BEND, BEND, 1, 2) * np.sin(points[:, :, ::-1] * between(1.5, 4.0, 1, 2) + phase)
    turn, slant = between(-ROTATION, ROTATION), between(-SHEAR, SHEAR)
    wide, high = between(SCALE[0], SCALE[1]), between(SCALE[0], SCALE[1])
    x, y = points[:, :, 0] * wide[:, None], points[:, :, 1] * high[:, None]
    x = x + slant[:, None] * y
    cosine, sine = np.cos(turn)[:, None], np.sin(turn)[:, None]
    points = np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=2) + between(-SHIFT, SHIFT, 1, 2)

    images = _pen(points, between(PEN[0], PEN[1])) * between(INK[0], INK[1], 1, 1)
    for _ in range(MARKS):
        middle, reach = between(-0.95, 0.95, 1, 2), between(-MARK_LENGTH, MARK_LENGTH, 1, 2)
        along = np.linspace(-0.5, 0.5, MARK_POINTS, dtype=np.float32)[None, :, None]
        mark = _pen(middle + reach * along, between(PEN[0], PEN[1] * 0.8)) * between(INK[0] / 2, INK[1], 1, 1)
        images = np.maximum(images, mark)
    images = images + random.standard_normal(images.shape).astype(np.float32) * np.float32(NOISE)
    return np.clip(images, 0, 1).astype(np.float32)


def generate(count, seed):
    """Return ``count`` drawn digits and their labels; each digit is as frequent as any other, the order is random."""
    # RandomState, for NumPy promises that its stream never changes: a seed means the same images everywhere.
    random = np.random.RandomState(seed)
    labels = random.permutation(np.arange(count) % CLASSES).astype(np.int64)
    images = np.empty((count, SIDE, SIDE, 1), np.float32)
    for start in range(0, count, CHUNK):
        images[start : start + CHUNK, :, :, 0] = _draw(random, labels[start : start + CHUNK])
    return images, labels


# Real MNIST, as it is found in the wild.

_PARTS = {"train": "train", "test": "t10k"}
_IDX_NAMES = ("{part}-{kind}-idx{dimensions}-ubyte", "{part}-{kind}.idx{dimensions}-ubyte")
_FOLDERS = ("", "raw", os.path.join("MNIST", "raw"), "mnist")


def _content(path):
    """Return the bytes of a file, unpacked where it is packed with gzip (told by its content, not by its name)."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise DataError("%s: cannot be read: %s" % (path, error.strerror))
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        return gzip.decompress(content)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError("%s: the gzip file is damaged or cut off: %s" % (path, error))


def _read_idx(path, dimensions):
    """Return an IDX file of unsigned bytes as an array.

    The format, from the page that MNIST was published on: two zero bytes, the type (8: unsigned byte), the number of
    dimensions, the size of each as a big-endian 32-bit number, then the values.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise DataError("%s: %d bytes are too few for an IDX file" % (path, len(content)))
    magic, expected = struct.unpack(">I", content[:4])[0], 0x0800 + dimensions
    if magic != expected:
        kind = ""
        if content.lstrip()[:1] == b"<":
            kind = "; it looks like a web page"
        elif content.startswith(b"version https://git-lfs"):
            kind = "; it is a Git LFS pointer, not the file itself"
        raise DataError("%s: starts with 0x%08x, an IDX file here starts with 0x%08x%s" % (path, magic, expected, kind))
    shape = struct.unpack(">%dI" % dimensions, content[4:header])
    wanted = 1
    for size in shape:
        wanted *= size
    if len(content) - header != wanted:
        raise DataError(
            "%s: its header promises %d values of shape %s, it has %d" % (path, wanted, shape, len(content) - header)
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _find_idx(folder, part, kind, dimensions):
    for inner in _FOLDERS:
        for name in _IDX_NAMES:
            stem = os.path.join(folder, inner, name.format(part=_PARTS[part], kind=kind, dimensions=dimensions))
            for path in (stem, stem + ".gz"):
                if os.path.isfile(path):
                    return path
    return None


def _read_idx_part(folder, part):
    images_path, labels_path = _find_idx(folder, part, "images", 3), _find_idx(folder, part, "labels", 1)
    if images_path is None and labels_path is None:
        return None
    if images_path is None or labels_path is None:
        raise DataError(
            "%s: %s is there without its %s"
            % (folder, os.path.basename(images_path or labels_path), "labels" if images_path else "images")
        )
    images, labels = _read_idx(images_path, 3), _read_idx(labels_path, 1)
    return _cleaned(images, labels, images_path, labels_path)


def _read_npz(path):
    try:
        # Opened here, for NumPy leaves a damaged file open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError("%s: cannot be read: %s" % (path, error.strerror or error))
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError("%s: the npz file is damaged or no npz file: %s" % (path, error))
    parts = {}
    for part in ("train", "test"):
        images, labels = arrays.get("x_" + part), arrays.get("y_" + part)
        if images is not None and labels is not None:
            parts[part] = _cleaned(images, labels, "%s[x_%s]" % (path, part), "%s[y_%s]" % (path, part))
    if "train" not in parts:
        raise DataError("%s: has no x_train and y_train, it has: %s" % (path, ", ".join(sorted(arrays)) or "nothing"))
    return parts


def _cleaned(images, labels, images_source, labels_source):
    """Return images as float32 (count, 28, 28, 1) from 0 to 1 and labels as int64, or say what is wrong with them."""
    if images.shape[1:] not in ((SIDE, SIDE), (SIDE, SIDE, 1), (SIDE * SIDE,)):
        raise DataError("%s: images of shape %s, the network takes 28 x 28" % (images_source, images.shape[1:]))
    if labels.shape not in ((len(images),), (len(images), 1)):
        raise DataError("%s: %s labels for %d images" % (labels_source, labels.shape, len(images)))
    labels = labels.reshape(-1)
    if not len(labels) or labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= CLASSES:
        raise DataError("%s: labels must be whole numbers from 0 to 9" % labels_source)
    if images.dtype.kind not in "iuf":
        raise DataError("%s: pixels of type %s, not numbers" % (images_source, images.dtype))
    images = images.reshape(-1, SIDE, SIDE, 1)
    if images.dtype.kind in "iu":
        images = images.astype(np.float32) / np.float32(255)
    else:
        images = images.astype(np.float32)
        if not np.isfinite(images).all():
            raise DataError("%s: has pixels that are not finite" % images_source)
        if images.max() > 1:
            images = images / np.float32(255)
    if images.min() < 0 or images.max() > 1:
        raise DataError("%s: pixels must be from 0 to 255, or from 0 to 1" % images_source)
    return images, labels.astype(np.int64)


def read(path):
    """Return {"train": (images, labels)} and, where the data has one, "test" likewise.

    Args:
        path: an npz file with x_train, y_train (and x_test, y_test), one of MNIST's IDX files, or the folder that has
            them; each may be packed with gzip.
    """
    if not os.path.exists(path):
        raise DataError("%s: is not there" % path)
    folder = path
    if os.path.isfile(path):
        with open(path, "rb") as file:
            packed = file.read(2) == b"PK"
        if packed or path.endswith(".npz"):
            return _read_npz(path)
        folder = os.path.dirname(path) or "."
        if "-images" not in os.path.basename(path) and "-labels" not in os.path.basename(path):
            raise DataError("%s: neither an npz file nor named as MNIST's IDX files are" % path)
    elif os.path.isfile(os.path.join(path, "mnist.npz")):
        return _read_npz(os.path.join(path, "mnist.npz"))
    parts = {}
    for part in ("train", "test"):
        found = _read_idx_part(folder, part)
        if found:
            parts[part] = found
    if "train" not in parts:
        raise DataError("%s: no train-images-idx3-ubyte (or .gz, or mnist.npz) in it" % path)
    return parts


def prepare(path, samples, seed):
    """Return {"train": (images, labels), "validation": likewise, "test": likewise}.

    A fifth of the samples validates, the rest trains.  The test set is apart from both: of real MNIST its own test
    files (a fifth of the training files where there are none), else `TEST_SAMPLES` newly drawn digits.

    Args:
        path: real data, see `read`; empty for generated digits.
        samples: images to train and validate with, together.
        seed: decides which images, and their order; from 0 to 2**31 - 1.
    """
    if path:
        parts = read(path)
        images, labels = _shuffled(parts["train"], seed)
        if "test" in parts:
            test_images, test_labels = _shuffled(parts["test"], seed)
        else:
            held_back = len(labels) // 5
            test_images, test_labels = images[:held_back], labels[:held_back]
            images, labels = images[held_back:], labels[held_back:]
        if len(labels) < samples:
            raise DataError("%s: has %d images to train with, %d were asked for" % (path, len(labels), samples))
        images, labels = images[:samples], labels[:samples]
    else:
        images, labels = generate(samples, seed)
        # Another stream of random numbers, so that no test image is also trained with, whatever the seed.
        test_images, test_labels = generate(TEST_SAMPLES, seed + 2**31)
    validating = samples // 5
    return {
        "validation": (images[:validating], labels[:validating]),
        "train": (images[validating:], labels[validating:]),
        "test": (test_images, test_labels),
    }


def _shuffled(part, seed):
    images, labels = part
    order = np.random.RandomState(seed).permutation(len(labels))
    return images[order], labels[order]
