"""Recurrent network: in which order did the marks come?  See workload_walk.py.

Each sequence is made of letters that mean nothing, with three marks among them, each of one of two kinds. The class is
the kinds in their order: eight classes. (The problem is Hochreiter and Schmidhuber's of 1997, section 5.6: temporal
order.) Which marks there are can be counted, in which order they came must be remembered: who counts knows one class of
four with certainty and guesses among three for the rest, and is right half of the time.
"""

import numpy as np

TITLE = "recurrent network (LSTM) on sequences of unequal length"
PROVES = (
    "a recurrent network remembers over many steps: gates, gradients through time, and masks that keep the padding of"
    " shorter sequences out of the state"
)
METRIC = "accuracy"
HIGHER_IS_BETTER = True
PADDING = 0
MARKS = (1, 2)
LETTERS = (3, 4, 5, 6)
SYMBOLS = 7
CLASSES = 8
MARKED = 3
SIZES = {
    "quick": {
        "samples": 240,
        "test_samples": 100,
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "bar": None,
        "shortest": 6,
        "length": 12,
        "width": 16,
    },
    "standard": {
        "samples": 4000,
        "test_samples": 1000,
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "bar": 0.9,
        "shortest": 10,
        "length": 30,
        "width": 32,
    },
    "full": {
        "samples": 10000,
        "test_samples": 2000,
        "epochs": 10,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "bar": 0.95,
        "shortest": 20,
        "length": 60,
        "width": 64,
    },
}


def prepare(path, size, seed):
    """Return the three parts: symbols (samples, length), padded behind, and the class of each; no sequence twice."""
    del path
    random = np.random.RandomState(seed)
    validating, testing = size["samples"] // 5, size["test_samples"]
    seen, symbols, classes = set(), [], []
    while len(symbols) < size["samples"] + testing:
        sequence, kind = _sequence(random, size)
        if sequence.tobytes() not in seen:
            seen.add(sequence.tobytes())
            symbols.append(sequence)
            classes.append(kind)
    symbols, classes = np.stack(symbols), np.array(classes, np.int32)
    cuts = {
        "test": slice(0, testing),
        "validation": slice(testing, testing + validating),
        "train": slice(testing + validating, None),
    }
    return {name: {"inputs": {"symbols": symbols[cut]}, "target": classes[cut]} for name, cut in cuts.items()}


def _sequence(random, size):
    count = random.randint(size["shortest"], size["length"] + 1)
    sequence = np.full(size["length"], PADDING, np.int32)
    sequence[:count] = random.randint(LETTERS[0], LETTERS[-1] + 1, count)
    places = np.sort(random.permutation(count)[:MARKED])
    kinds = random.randint(0, len(MARKS), MARKED)
    sequence[places] = np.array(MARKS)[kinds]
    return sequence, int(np.dot(kinds, 2 ** np.arange(MARKED)[::-1]))


def parameters(size):
    """Return name, shape and kind of all that is trained."""
    width = size["width"]
    return [
        ("embedding/embeddings", (SYMBOLS, width), "uniform"),
        ("lstm/lstm_cell/kernel", (width, 4 * width), "glorot"),
        ("lstm/lstm_cell/recurrent_kernel", (width, 4 * width), "orthogonal"),
        ("lstm/lstm_cell/bias", (4 * width,), "forget"),
        ("head/kernel", (width, CLASSES), "glorot"),
        ("head/bias", (CLASSES,), "zeros"),
    ]


def score(outputs, part):
    """Return the fraction of the sequences that are told right."""
    return {"accuracy": float(np.mean(outputs.argmax(1) == part["target"]))}


def show(outputs, part, inner):
    """Return which order was taken for which."""
    del inner
    names = ["".join("XY"[number >> place & 1] for place in (2, 1, 0)) for number in range(CLASSES)]
    confusion = np.zeros((CLASSES, CLASSES))
    np.add.at(confusion, (part["target"], outputs.argmax(1)), 1)
    matrix = {"name": "confusion", "rows": names, "columns": names, "values": confusion.tolist()}
    return {"matrices": [dict(matrix, row_label="order", column_label="taken for")]}


def examine(call, part, size, seed):
    """Return whether the padding stays out of the state: a sequence that is padded further gives the same outputs."""
    del seed
    symbols = part["inputs"]["symbols"]
    short = symbols[(symbols != PADDING).sum(1) < size["length"]][:8]
    if not len(short):
        return {}
    cut = short[:, : int((short != PADDING).sum(1).max())]
    one, other = call({"symbols": cut}), call({"symbols": short})
    apart = float(np.abs(one - other).max())
    allowed = 1e-5 * max(float(np.abs(one).max()), 1.0)
    seen = "with %d more steps of padding the outputs moved by %.1g, %.1g is allowed" % (
        short.shape[1] - cut.shape[1],
        apart,
        allowed,
    )
    return {"conditions": [{"name": "mask", "holds": apart <= allowed, "seen": seen}]}
