"""Dates in words and as figures, for the workload `translator`: what recurrence with additive attention translates.

This file runs inside the interpreter under test: every Python from 3.6 on, NumPy 1.x and 2.x, nothing else.

"on tuesday the third of march in nineteen ninety four" is "1994-03-03". Words come in several orders, so the place of a
word does not tell what it means, and the figures come in another order than the words: the decoder must look for them.
Every date is one of 73,049 (1900 to 2099), and no date is in two of the parts: what the test asks was never seen.
"""

import datetime as dt

import numpy as np

TITLE = "Translator of dates with recurrent encoder, decoder and additive attention"
PROVES = (
    "Two recurrent networks learn together through additive attention, softmax(v·tanh(W_q q + W_k k + b)): "
    "the decoder finds the words that it needs wherever they stand, and its own greedy output is exactly right."
)
METRIC = "exact matches"
HIGHER_IS_BETTER = True

FIRST, LAST = dt.date(1900, 1, 1), dt.date(2099, 12, 31)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
ORDINALS = (
    *("", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
    *("eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth"),
    *("nineteenth", "twentieth"),
)
FORMS = (
    "{month} {day} {year}",
    "the {day} of {month} {year}",
    "on {weekday} the {day} of {month} in {year}",
    "in {year} on {month} the {day}",
    "{weekday} {month} the {day} {year}",
)
PADDING = 0
WORDS = (
    *("", "the", "of", "on", "in", "hundred", "oh", "thousand", "and", "thirtieth"),
    *WEEKDAYS,
    *MONTHS,
    *ONES,
    *TENS[2:],
    *ORDINALS[1:],
)
NUMBER_OF = {word: number for number, word in enumerate(WORDS)}
LONGEST = 13  # words of the longest sentence
FIGURES = "0123456789-"
LENGTH = len("1994-03-03")
START = len(FIGURES)  # the symbol that stands before the first figure

# At size quick validation, test and a batch are of one length: each new one costs TensorFlow seconds of tracing.
SIZES = {
    "quick": {
        "samples": 160,
        "test_samples": 32,
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "bar": None,
        "calls_often": True,
        "words": len(WORDS),
        "longest": LONGEST,
        "figures": len(FIGURES),
        "length": LENGTH,
        "width": 24,
    },
    "standard": {
        "samples": 2500,
        "test_samples": 500,
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "bar": 0.9,
        "words": len(WORDS),
        "longest": LONGEST,
        "figures": len(FIGURES),
        "length": LENGTH,
        "width": 48,
    },
    "full": {
        "samples": 5000,
        "test_samples": 1000,
        "epochs": 8,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "bar": 0.98,
        "words": len(WORDS),
        "longest": LONGEST,
        "figures": len(FIGURES),
        "length": LENGTH,
        "width": 64,
    },
}


def number(value):
    """Return 0 to 99 in words."""
    if value < len(ONES):
        return ONES[value]
    tens, ones = divmod(value, 10)
    return (TENS[tens] + " " + (ONES[ones] if ones else "")).strip()


def ordinal(day):
    """Return a day of the month in words."""
    if day < len(ORDINALS):
        return ORDINALS[day]
    return "thirtieth" if day == 30 else TENS[day // 10] + " " + ORDINALS[day % 10]


def year(value, way):
    """Return a year in words; `way` chooses where there are two."""
    century, rest = divmod(value, 100)
    if century == 20 and (rest < 10 or way):
        return ("two thousand and " + number(rest)) if rest else "two thousand"
    if not rest:
        return number(century) + " hundred"
    return number(century) + (" oh " if rest < 10 else " ") + number(rest)


def sentence(date, form, way):
    """Return a date in words."""
    return FORMS[form].format(
        month=MONTHS[date.month - 1],
        day=ordinal(date.day),
        year=year(date.year, way),
        weekday=WEEKDAYS[date.weekday()],
    )


def encode(words):
    """Return a sentence's words as numbers, padded in front: so the last word is the last that an encoder reads."""
    numbers = [NUMBER_OF[word] for word in words.split()]
    return np.array([PADDING] * (LONGEST - len(numbers)) + numbers, np.int32)


def inputs_of(source, target):
    """Return the network's inputs: the words, and before each figure the one that stands before it."""
    start = np.full((len(target), 1), START, np.int32)
    return {"source": source, "before": np.concatenate([start, target[:, :-1]], axis=1)}


def prepare(path, size, seed):
    """Return the parts "train", "validation" and "test"; no date is in two of them.

    Args:
        path: not used; this workload has generated dates only.
        size: one of SIZES.
        seed: from 0 to 2**31 - 1.
    """
    del path
    random = np.random.RandomState(seed)
    wanted = size["samples"] + size["test_samples"]
    days = random.permutation((LAST - FIRST).days + 1)[:wanted]
    forms, ways = random.randint(0, len(FORMS), wanted), random.randint(0, 2, wanted)
    dates = [FIRST + dt.timedelta(int(day)) for day in days]
    source = np.stack([encode(sentence(*each)) for each in zip(dates, forms, ways)])  # noqa: B905 - Python 3.6
    target = np.array([[FIGURES.index(figure) for figure in date.isoformat()] for date in dates], np.int32)
    test, validation = size["test_samples"], size["samples"] // 5
    cuts = {
        "test": slice(0, test),
        "validation": slice(test, test + validation),
        "train": slice(test + validation, wanted),
    }
    return {name: {"inputs": inputs_of(source[cut], target[cut]), "target": target[cut]} for name, cut in cuts.items()}


def parameters(size):
    """Return name, shape and kind of each parameter, in Keras's layout."""
    width, words, figures = size["width"], size["words"], size["figures"]

    def recurrent(name):
        return [
            (name + "/kernel", (width, 3 * width), "glorot"),
            (name + "/recurrent-kernel", (width, 3 * width), "orthogonal"),
            (name + "/bias", (2, 3 * width), "zeros"),
        ]

    return [
        ("words/table", (words, width), 0.5),
        ("figures/table", (figures + 1, width), 0.5),
        *recurrent("encoder"),
        *recurrent("decoder"),
        ("query/kernel", (width, width), "glorot"),
        ("key/kernel", (width, width), "glorot"),
        ("key/bias", (width,), "zeros"),
        # Glorot's limit for a kernel of shape (width, 1).
        ("attention/scale", (width,), (6.0 / (width + 1)) ** 0.5),
        ("joined/kernel", (2 * width, width), "glorot"),
        ("joined/bias", (width,), "zeros"),
        ("figure/kernel", (width, figures), "glorot"),
        ("figure/bias", (figures,), "zeros"),
    ]


def predict(call, part, size):
    """Return what the network translates by itself: at each place the likeliest figure, which it then reads."""
    source = part["inputs"]["source"]
    found = np.zeros((len(source), size["length"]), np.int32)
    for place in range(size["length"]):
        found[:, place] = np.argmax(call(inputs_of(source, found))[:, place], axis=1)
    return found


def score(outputs, part):
    """Return the fraction of dates that are right in every figure, and the fraction of right figures."""
    right = outputs == part["target"]
    return {METRIC: float(right.all(axis=1).mean()), "figures right": float(right.mean())}


def show(outputs, part, inner):
    """Return where the decoder looked while it wrote two of the dates."""
    matrices = []
    for index, weights in enumerate(inner.get("attention", [])[:2]):
        source = part["inputs"]["source"][index]
        words = [WORDS[word] for word in source if word != PADDING]
        figures = [FIGURES[figure] for figure in outputs[index]]
        matrices.append(
            {
                "name": "attention: " + " ".join(words) + " = " + "".join(figures),
                "rows": figures,
                "columns": words,
                "values": [[float(weight) for weight in row[-len(words) :]] for row in weights],
                "row_label": "figure that is written",
                "column_label": "word that is looked at",
            }
        )
    return {"matrices": matrices}


def examine(call, part, size, seed):
    """Return whether decoding figure by figure ends where reading the right figures does, as it must.

    Greedy decoding writes a date exactly where, given the right figures before it, each figure is foreseen: the two are
    the same computation in another order.
    """
    del seed
    few = {"inputs": {name: array[:64] for name, array in part["inputs"].items()}, "target": part["target"][:64]}
    written = (predict(call, few, size) == few["target"]).all(axis=1)
    foreseen = (np.argmax(call(few["inputs"]), axis=2) == few["target"]).all(axis=1)
    differing = int((written != foreseen).sum())
    seen = "%d of %d dates come out otherwise when the network reads its own figures instead of the right ones"
    condition = {"name": "decoding", "holds": differing == 0, "seen": seen % (differing, len(written))}
    return {"conditions": [condition]}
