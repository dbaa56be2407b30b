"""Text classifier: reviews from a grammar in which order and negation matter, or those of IMDB; see workload_walk.py.

A review says two things, and one of them counts: `A , but B` and `although A , B` mean B, `A , though B` means A. Each
thing is praised or blamed, in words of praise or in denied words of blame. So the same words in another order are
another opinion, and who only counts words is right in less than 0.7 of all (`counting` finds it out).
"""

import numpy as np

TITLE = "text classifier of Transformer encoder layers (BERT's block) on reviews"
PROVES = (
    "encoder layers learn: multi-head attention with a mask for the padding, layer normalisation, learned positions and"
    " GELU tell opinions that differ in the order of their words alone"
)
METRIC = "accuracy"
HIGHER_IS_BETTER = True
PADDING, UNKNOWN, START = 0, 1, 2
SPECIAL = ("", "?", "[start]")
CLASSES = 2
SIZES = {
    "quick": {
        "samples": 240,
        "test_samples": 100,
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "bar": None,
        "length": 20,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
    "standard": {
        "samples": 5000,
        "test_samples": 1000,
        "epochs": 10,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "bar": 0.85,
        "length": 24,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
    "full": {
        "samples": 12000,
        "test_samples": 2000,
        "epochs": 12,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "bar": 0.9,
        "length": 32,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
}

THINGS = ("plot", "story", "acting", "music", "ending", "script", "camera", "cast", "dialogue", "humour", "pace")
PRAISE = ("good", "great", "superb", "moving", "clever", "lovely")
BLAME = ("bad", "awful", "dull", "poor", "clumsy", "boring")
DENIALS = ("not", "never", "hardly")
DEGREES = ("", "very", "really", "quite")
OPENINGS = (
    "i saw it on friday .",
    "we watched this film at home .",
    "my sister chose it .",
    "it runs for two hours .",
    "the room was full .",
    "",
)
JOINTS = (("", ", but", 1), ("although", ",", 1), ("", ", though", 0), ("even if", ",", 1))
FREQUENT_WORDS = 5000  # of real reviews, the rest is unknown

load_sibling = None  # put in by workload_walk.py


def vocabulary():
    """Return the grammar's words, in the order of their numbers."""
    words = [*THINGS, *PRAISE, *BLAME, *DENIALS, *DEGREES[1:], "the", "was"]
    for text in [*OPENINGS, *(first + " " + second for first, second, _ in JOINTS)]:
        words.extend(text.replace(",", " , ").split())
    return [*SPECIAL, *sorted(set(words))]


def _opinion(random, good):
    """Return a clause; a third of them deny the opposite."""
    denies = random.randint(3) == 0
    words = ["the", THINGS[random.randint(len(THINGS))], "was"]
    if denies:
        words.append(DENIALS[random.randint(len(DENIALS))])
    degree = DEGREES[random.randint(len(DEGREES))]
    kind = PRAISE if good != denies else BLAME
    return words + [degree] * bool(degree) + [kind[random.randint(len(kind))]]


def review(random):
    """Return a review's words, and whether it praises."""
    opening = OPENINGS[random.randint(len(OPENINGS))].split()
    before, between, counts = JOINTS[random.randint(len(JOINTS))]
    good = random.randint(0, 2, 2)
    words = (
        opening + before.split() + _opinion(random, bool(good[0])) + between.split() + _opinion(random, bool(good[1]))
    )
    return words, int(good[counts])


def recognises(path):
    """Tell whether this is the IMDB archive or its folder."""
    return load_sibling("workloads/read_reviews").recognises(path)


def prepare(path, size, seed):
    """Return the three parts: words (samples, length) by number, padded behind, their places, and who praises."""
    validating, testing = size["samples"] // 5, size["test_samples"]
    extra = {}
    if path:
        reader = load_sibling("workloads/read_reviews")
        (train, labels), (test, test_labels) = reader.read(path, size["samples"], testing, seed)
        words = [*SPECIAL, *reader.frequent(train, FREQUENT_WORDS)]
        # How much of it so little training finds out is nobody's promise.
        extra = {"words": len(words), "length": 4 * size["length"], "bar": None}
    else:
        words = vocabulary()
        extra = {"words": len(words)}
        random = np.random.RandomState(seed)
        found = {}
        while len(found) < size["samples"] + testing:
            text, praises = review(random)
            found[tuple(text)] = praises
        reviews, labels = list(found), np.array(list(found.values()), np.int32)
        test, test_labels = reviews[:testing], labels[:testing]
        train, labels = reviews[testing:], labels[testing:]
    length = extra.get("length", size["length"])
    numbers = {word: number for number, word in enumerate(words)}
    parts = {
        "train": _part(train[validating:], labels[validating:], numbers, length),
        "validation": _part(train[:validating], labels[:validating], numbers, length),
        "test": _part(test, test_labels, numbers, length),
    }
    return dict(parts, size=extra)


def _part(texts, labels, numbers, length):
    words = np.full((len(texts), length), PADDING, np.int32)
    for row, text in zip(words, texts):  # noqa: B905 - Python 3.6
        row[0] = START
        kept = [numbers.get(word, UNKNOWN) for word in text[: length - 1]]
        row[1 : 1 + len(kept)] = kept
    # Where there is no word there is no place either.
    places = np.where(words == PADDING, PADDING, np.arange(1, length + 1, dtype=np.int32)).astype(np.int32)
    return {"inputs": {"words": words, "places": places}, "target": np.asarray(labels, np.int32), "texts": list(texts)}


def parameters(size):
    """Return name, shape and kind of all that is trained."""
    width, heads = size["width"], size["heads"]
    each = width // heads
    listed = [
        ("words_embedding/embeddings", (size["words"], width), "uniform"),
        ("places_embedding/embeddings", (size["length"] + 1, width), "uniform"),
    ]
    for number in range(size["layers"]):
        name = "layer%d_" % number
        for what in ("query", "key", "value"):
            listed.append((name + "attention/%s/kernel" % what, (width, heads, each), (3.0 / width) ** 0.5))
            listed.append((name + "attention/%s/bias" % what, (heads, each), "zeros"))
        listed.extend(
            [
                (name + "attention/attention_output/kernel", (heads, each, width), (3.0 / width) ** 0.5),
                (name + "attention/attention_output/bias", (width,), "zeros"),
                (name + "norm1/gamma", (width,), "ones"),
                (name + "norm1/beta", (width,), "zeros"),
                (name + "wide/kernel", (width, 4 * width), "glorot"),
                (name + "wide/bias", (4 * width,), "zeros"),
                (name + "narrow/kernel", (4 * width, width), "glorot"),
                (name + "narrow/bias", (width,), "zeros"),
                (name + "norm2/gamma", (width,), "ones"),
                (name + "norm2/beta", (width,), "zeros"),
            ]
        )
    return [*listed, ("head/kernel", (width, CLASSES), "glorot"), ("head/bias", (CLASSES,), "zeros")]


def counting(parts):
    """Return the test accuracy of who counts words: a linear model of how often each occurs, fitted to the training."""
    counts = {}
    for name, part in parts.items():
        words = part["inputs"]["words"]
        table = np.zeros((len(words), words.max() + 1 if not counts else counts["train"].shape[1]))
        for place in range(words.shape[1]):
            np.add.at(table, (np.arange(len(words)), words[:, place]), 1)
        counts[name] = table
    wanted = parts["train"]["target"] * 2.0 - 1
    table = counts["train"]
    weights = np.linalg.solve(table.T.dot(table) + np.eye(table.shape[1]), table.T.dot(wanted))
    return float(np.mean((counts["test"].dot(weights) > 0) == parts["test"]["target"]))


def score(outputs, part):
    """Return the fraction of the reviews that are told right."""
    return {"accuracy": float(np.mean(outputs.argmax(1) == part["target"]))}


def examine(call, part, size, seed):
    """Return whether no layer looks at the padding: other numbers there change nothing."""
    del size, seed
    words, places = (part["inputs"][name][:8] for name in ("words", "places"))
    padding = words == PADDING
    if not padding.any():
        return {}
    # The places of the first words are as good as any: they have numbers of their own in the table of places.
    other = np.where(padding, 1 + np.cumsum(padding, axis=1) % (places.max() - 1), places).astype(places.dtype)
    one, changed = call({"words": words, "places": places}), call({"words": words, "places": other})
    apart = float(np.abs(one - changed).max())
    allowed = 1e-5 * max(float(np.abs(one).max()), 1.0)
    seen = "with other numbers in the padding the outputs moved by %.1g, %.1g is allowed" % (apart, allowed)
    return {"conditions": [{"name": "mask", "holds": apart <= allowed, "seen": seen}]}


def show(outputs, part, inner):
    """Return which opinion was taken for which, and what the first review's words look at in the last layer."""
    names = ["blame", "praise"]
    confusion = np.zeros((CLASSES, CLASSES))
    np.add.at(confusion, (part["target"], outputs.argmax(1)), 1)
    matrices = [
        {
            "name": "confusion",
            "rows": names,
            "columns": names,
            "values": confusion.tolist(),
            "row_label": "opinion",
            "column_label": "taken for",
        }
    ]
    attention = inner.get("attention")
    if attention is not None:
        # Of the first review, the mean over the heads.
        words = ["[start]", *part["texts"][0]][:24]
        matrices.append(
            {
                "name": "attention",
                "rows": words,
                "columns": words,
                "values": attention[0].mean(0)[: len(words), : len(words)].astype(float).tolist(),
                "row_label": "word",
                "column_label": "looks at",
            }
        )
    return {"matrices": matrices}
