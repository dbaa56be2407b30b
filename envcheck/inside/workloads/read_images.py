"""Folders of images in ImageNet's layout, one folder a class: PATH/train/CLASS/*.JPEG, or PATH/CLASS/*.png.

Beside `train` there may be `val` or `test` with the same classes. Pillow decodes, or else the framework that is being
tested, where it can: TensorFlow has a decoder, PyTorch has none without torchvision.
"""

import os
import sys

import numpy as np

ENDINGS = (".jpeg", ".jpg", ".png")
TRAINING, HELD_BACK = "train", ("test", "val", "validation")
MOST_CLASSES = 1000


class DataError(Exception):
    """The data cannot be used; the message names the file and what is wrong with it."""


def recognises(path):
    """Tell whether this is a folder with folders of images."""
    return os.path.isdir(path) and bool(_classes(_folder(path, (TRAINING,)) or path))


def _folder(path, names):
    found = [os.path.join(path, name) for name in names if os.path.isdir(os.path.join(path, name))]
    return found[0] if found else ""


def _classes(folder):
    """Return the classes of a folder, each with the images in it."""
    found = {}
    for name in sorted(os.listdir(folder)):
        inner = os.path.join(folder, name)
        if os.path.isdir(inner):
            images = [file for file in sorted(os.listdir(inner)) if file.lower().endswith(ENDINGS)]
            if images:
                found[name] = [os.path.join(inner, file) for file in images]
    return found


def prepare(path, size, seed, side):
    """Return the three parts, with images of shape (samples, side, side, 3) from -1 to 1, and what they make of `size`.

    Raises:
        DataError: there are too few images, or one cannot be decoded.
    """
    if not os.path.isdir(path):
        raise DataError("%s: is no folder with a folder of images for each class" % path)
    folder = _folder(path, (TRAINING,)) or path
    listed = _classes(folder)
    names = list(listed)
    if len(names) < 2:
        raise DataError("%s: has %d folders with images (.JPEG, .png) in them, two are needed" % (folder, len(names)))
    if len(names) > MOST_CLASSES:
        raise DataError("%s: has %d folders with images in them, %d are the most" % (folder, len(names), MOST_CLASSES))
    random = np.random.RandomState(seed)
    train = _chosen(listed, names, random, size["samples"] + size["test_samples"])
    held_back = _folder(path, HELD_BACK)
    if held_back and held_back != folder:
        apart = {name: images for name, images in _classes(held_back).items() if name in listed}
        test = _chosen(apart, names, random, size["test_samples"])
        train = train[: size["samples"]]
    else:
        cut = min(size["test_samples"], len(train) // 5)
        test, train = train[:cut], train[cut:][: size["samples"]]
    validating = len(train) // 5
    if not test or not validating or len(train) - validating < size["batch_size"]:
        raise DataError("%s: has %d images to train with, that is too few" % (folder, len(train) - validating))
    decode = _decoder()
    return {
        "train": _part(train[validating:], names, side, decode),
        "validation": _part(train[:validating], names, side, decode),
        "test": _part(test, names, side, decode),
        # How much of it so little training finds out is nobody's promise.
        "size": {"classes": len(names), "bar": None},
    }


def _chosen(listed, names, random, most):
    pairs = [(path, names.index(name)) for name in names for path in listed.get(name, ())]
    return [pairs[index] for index in random.permutation(len(pairs))[:most]]


def _part(pairs, names, side, decode):
    images = np.stack([_small(_decoded(path, decode), side) for path, _ in pairs])
    labels = np.array([label for _, label in pairs], np.int32)
    return {"inputs": {"images": images}, "target": labels, "classes": names}


def _decoded(path, decode):
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise DataError("%s: cannot be read: %s" % (path, error.strerror))
    try:
        image = np.asarray(decode(content), np.float32)
    except Exception as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise DataError("%s: is damaged or no image: %s" % (path, why[:200]))
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise DataError("%s: has the shape %s, not height, width and three colours" % (path, image.shape))
    return image


def _small(image, side):
    """Return the middle square of an image, averaged down (or repeated up) to side x side, from -1 to 1."""
    height, width = image.shape[:2]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = image[top : top + edge, left : left + edge]
    if edge < side:
        places = np.arange(side) * edge // side
        return square[places][:, places] / 127.5 - 1
    starts = np.arange(side) * edge // side
    counts = np.diff(np.append(starts, edge)).astype(np.float32)
    sums = np.add.reduceat(np.add.reduceat(square, starts, 0), starts, 1)
    return sums / counts[:, None, None] / counts[None, :, None] / 127.5 - 1


def _decoder():
    """Return the function that decodes a file's bytes: Pillow's, or that of the framework that is being tested."""
    try:
        from PIL import Image
    except ImportError:
        Image = None  # noqa: N806 - the class's own name
    if Image is not None:
        import io

        return lambda content: Image.open(io.BytesIO(content)).convert("RGB")
    if "tensorflow" in sys.modules:
        tensorflow = sys.modules["tensorflow"]

        def decode(content):
            if content[:2] == b"\xff\xd8":
                # The quicker of TensorFlow's two transforms rounds otherwise than every other decoder.
                return tensorflow.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE").numpy()
            return tensorflow.io.decode_image(content, channels=3, expand_animations=False).numpy()

        return decode
    raise DataError("images cannot be decoded here: install Pillow: %s -m pip install pillow" % sys.executable)
