"""The IMDB reviews (Maas and others, 2011): the archive aclImdb_v1.tar.gz, or the folder that it unpacks to.

Their layout: train/pos/123_9.txt, train/neg/456_2.txt, and test likewise; the number behind the line is the rating, 7
and more is praise, 4 and less is blame. `train/unsup` has no opinions and is passed over.
"""

import os
import re
import tarfile
import zlib
from collections import Counter

import numpy as np

PLACE = re.compile(r"(?:^|/)(train|test)/(pos|neg)/(\d+)_(\d+)\.txt$")
WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?|[.,!?]")
BREAK = re.compile(r"<br\s*/?>")
FOLDER = "aclImdb"
KINDS = ("neg", "pos")


class DataError(Exception):
    """The data cannot be used; the message names the file and what is wrong with it."""


def recognises(path):
    """Tell whether this is the archive or its folder."""
    if os.path.isdir(path):
        return bool(_root(path))
    return path.endswith((".tar.gz", ".tgz", ".tar"))


def _root(path):
    for folder in (path, os.path.join(path, FOLDER)):
        if all(os.path.isdir(os.path.join(folder, "train", kind)) for kind in KINDS):
            return folder
    return ""


def read(path, samples, testing, seed):
    """Return (texts, labels) to train with and (texts, labels) to test with: lists of words, 1 is praise.

    Args:
        path: the archive or its folder.
        samples: how many to train with at most, half of them of each kind as far as there are so many.
        testing: how many to test with at most.
        seed: decides which.

    Raises:
        DataError: something of it is damaged or missing.
    """
    found = _from_folder(path) if os.path.isdir(path) else _from_archive(path)
    random = np.random.RandomState(seed)
    parts = {}
    for part in ("train", "test"):
        kinds = [sorted(found.get((part, kind), {}).items()) for kind in KINDS]
        pairs = [(text, label) for label, texts in enumerate(kinds) for _, text in texts]
        if part == "train" and not all(kinds):
            raise DataError("%s: has no reviews of both kinds in train/pos and train/neg" % path)
        parts[part] = [pairs[index] for index in random.permutation(len(pairs))]
    train, test = parts["train"], parts["test"]
    if not test:
        cut = len(train) // 5
        test, train = train[:cut], train[cut:]
    if len(train) < 2 or not test:
        raise DataError("%s: has %d reviews, that is too few" % (path, len(train) + len(test)))
    return _texts(train[:samples]), _texts(test[:testing])


def _texts(pairs):
    return [_words(text) for text, _ in pairs], np.array([label for _, label in pairs], np.int32)


def _words(text):
    return WORD.findall(BREAK.sub(" ", text.lower()))


def frequent(texts, count):
    """Return the most frequent words, those that are as frequent in alphabetical order."""
    counts = Counter(word for text in texts for word in text)
    return [word for word, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:count]]


def _kept(found, name, place, content):
    """Put one review where it belongs, or say what is wrong with it."""
    part, kind, _, rating = place.groups()
    if (int(rating) >= 5) != (kind == "pos"):
        raise DataError("%s: a rating of %s does not belong in %s" % (name, rating, kind))
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError("%s: is no text in UTF-8: %s" % (name, error.reason))
    if not text.strip():
        raise DataError("%s: is empty" % name)
    found.setdefault((part, kind), {})[place.group(0)] = text


def _from_folder(path):
    root = _root(path)
    if not root:
        raise DataError("%s: has no train/pos and train/neg, as the IMDB reviews have" % path)
    found = {}
    for part in ("train", "test"):
        for kind in KINDS:
            folder = os.path.join(root, part, kind)
            for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
                file_path = os.path.join(folder, name)
                place = PLACE.search("%s/%s/%s" % (part, kind, name))
                if place:
                    _kept(found, file_path, place, _content(file_path))
    return found


def _content(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise DataError("%s: cannot be read: %s" % (path, error.strerror))


def _from_archive(path):
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                place = PLACE.search(member.name) if member.isfile() else None
                if place:
                    _kept(found, "%s: %s" % (path, member.name), place, archive.extractfile(member).read())
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError("%s: is damaged, cut off or no tar archive: %s" % (path, error))
    return found
