"""Lines of text from a small grammar, for the workload `character-model`: what a decoder of attention layers predicts.

This file runs inside the interpreter under test: every Python from 3.6 on, NumPy 1.x and 2.x, nothing else.

A line is sentences of the grammar one after the other, cut at the line's end. What the grammar leaves open (a name, a
number, the kind of sentence) is drawn evenly; the rest follows from what was said before, often twenty characters
before: a sum, who met whom, which colour the boats have. So the exact number of bits that a line costs at best is
known (`line` counts them), and a model that sees a few characters only pays much more: it cannot know the colour.
"""

import math

import numpy as np

TITLE = "Character language model of decoder layers (GPT's block)"
PROVES = (
    "Decoder layers learn: causal attention lets each character see what came before it and nothing else, "
    "learned positions and normalisation before each part work, and the text is predicted nearly as well as it can be."
)
METRIC = "bits per character"
HIGHER_IS_BETTER = False

NAMES = ("anna", "ben", "carla", "david", "emma", "frank", "gina", "hugo", "ines", "jonas", "kira", "leo")
THINGS = ("boats", "cats", "drums", "flags", "horses", "kites", "lamps", "maps", "nets", "pens", "rings", "ships")
COLOURS = ("black", "brown", "green", "grey", "orange", "pink", "red", "white", "yellow")
NUMBERS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    *("ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
)
DIGITS = 10

START = 0  # the symbol that stands before each line
ALPHABET = " ,.abcdefghijklmnopqrstuvwxyz"
SYMBOLS = len(ALPHABET) + 1
BITS = 1.0 / math.log(2)  # in a nat

# The bar lies between what the source costs at best and what the best model of the last characters reaches, a table of
# frequencies: docs/smoke.md has both beside what was measured. At size quick validation, test and a batch are of one
# length: each new one costs TensorFlow seconds of tracing.
SIZES = {
    "quick": {
        "samples": 160,
        "test_samples": 32,
        "epochs": 2,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "bar": None,
        "symbols": SYMBOLS,
        "length": 48,
        "width": 32,
        "heads": 2,
        "layers": 1,
    },
    "standard": {
        "samples": 5000,
        "test_samples": 200,
        "epochs": 4,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "bar": 0.38,
        "symbols": SYMBOLS,
        "length": 80,
        "width": 64,
        "heads": 4,
        "layers": 2,
    },
    "full": {
        "samples": 10000,
        "test_samples": 500,
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 2e-3,
        "bar": 0.34,
        "symbols": SYMBOLS,
        "length": 96,
        "width": 64,
        "heads": 4,
        "layers": 3,
    },
}


def _one_of(random, options, ending):
    """Return one of some words with what follows it, and all that it could have been."""
    choices = [option + ending for option in options]
    return choices[random.randint(len(choices))], choices


def _fixed(text):
    return text, None


# Each kind of sentence begins with another letter, so its first letter tells which one it is.


def _sum(random):
    first, second = random.randint(DIGITS), random.randint(DIGITS)
    return [
        _fixed("add "),
        (NUMBERS[first] + " to ", [number + " to " for number in NUMBERS[:DIGITS]]),
        (NUMBERS[second] + " and get ", [number + " and get " for number in NUMBERS[:DIGITS]]),
        _fixed(NUMBERS[first + second] + ". "),
    ]


def _meeting(random):
    first, first_choices = _one_of(random, NAMES, " met ")
    second, second_choices = _one_of(random, NAMES, " at noon, ")
    return [
        _fixed("when "),
        (first, first_choices),
        (second, second_choices),
        _fixed("%s met %s. " % (second[: -len(" at noon, ")], first[: -len(" met ")])),
    ]


def _owning(random):
    things, things_choices = _one_of(random, THINGS, " of ")
    name, name_choices = _one_of(random, NAMES, " are ")
    colour, colour_choices = _one_of(random, COLOURS, ", so ")
    words = (name[: -len(" are ")], colour[: -len(", so ")], things[: -len(" of ")])
    return [
        _fixed("the "),
        (things, things_choices),
        (name, name_choices),
        (colour, colour_choices),
        _fixed("%s has %s %s. " % words),
    ]


KINDS = (_sum, _meeting, _owning)


def line(random, length):
    """Return one line of text and the bits that it costs who knows the grammar: those of its open choices.

    Of a choice that the line's end cuts, only what the letters that are left tell is counted.
    """
    text, bits = "", 0.0
    while len(text) < length:
        kind = KINDS[random.randint(len(KINDS))]
        bits += math.log(len(KINDS), 2)
        for piece, choices in kind(random):
            kept = piece[: length - len(text)]
            if choices and kept:
                agreeing = sum(choice.startswith(kept) for choice in choices)
                bits += math.log(len(choices), 2) - math.log(agreeing, 2)
            text += kept
    return text, bits


def encode(text):
    """Return a text's symbols: 1 is the alphabet's first letter, 0 stands for the start."""
    return np.array([ALPHABET.index(letter) + 1 for letter in text], np.int32)


def decode(symbols):
    """Return symbols as text; the start symbol is left out."""
    return "".join(ALPHABET[symbol - 1] for symbol in symbols if symbol != START)


def shifted(symbols):
    """Return what the network reads to predict `symbols`: the start, then each of them but the last."""
    start = np.full((len(symbols), 1), START, np.int32)
    return np.concatenate([start, symbols[:, :-1]], axis=1)


def inputs_of(symbols):
    """Return the network's inputs for lines of symbols, of shape (lines, length)."""
    positions = np.arange(symbols.shape[1], dtype=np.int32)
    return {"text": shifted(symbols), "positions": np.tile(positions, (len(symbols), 1))}


def prepare(path, size, seed):
    """Return the parts "train", "validation" and "test"; no line is in two of them.

    Args:
        path: not used; this workload has generated text only.
        size: one of SIZES.
        seed: from 0 to 2**31 - 1.
    """
    del path
    random = np.random.RandomState(seed)
    wanted = size["samples"] + size["test_samples"]
    lines = {}
    while len(lines) < wanted:
        text, bits = line(random, size["length"])
        lines[text] = bits
    symbols = np.stack([encode(text) for text in lines])
    bits = np.array(list(lines.values()), np.float32)
    test, validation = size["test_samples"], size["samples"] // 5
    cuts = {
        "test": slice(0, test),
        "validation": slice(test, test + validation),
        "train": slice(test + validation, wanted),
    }
    return {
        name: {"inputs": inputs_of(symbols[cut]), "target": symbols[cut], "bits": bits[cut]}
        for name, cut in cuts.items()
    }


def parameters(size):
    """Return name, shape and kind of each parameter, in Keras's layout."""
    width, heads = size["width"], size["heads"]
    each = width // heads
    found = [
        ("characters/table", (SYMBOLS, width), "normal"),
        ("positions/table", (size["length"], width), "normal"),
    ]
    for number in range(1, size["layers"] + 1):
        block = "block%d-" % number
        found += [(block + "norm1/scale", (width,), "ones"), (block + "norm1/shift", (width,), "zeros")]
        for what in ("query", "key", "value"):
            found += [
                (block + what + "/kernel", (width, heads, each), "normal"),
                (block + what + "/bias", (heads, each), "zeros"),
            ]
        found += [
            (block + "output/kernel", (heads, each, width), "normal"),
            (block + "output/bias", (width,), "zeros"),
            (block + "norm2/scale", (width,), "ones"),
            (block + "norm2/shift", (width,), "zeros"),
            (block + "wide/kernel", (width, 4 * width), "normal"),
            (block + "wide/bias", (4 * width,), "zeros"),
            (block + "narrow/kernel", (4 * width, width), "normal"),
            (block + "narrow/bias", (width,), "zeros"),
        ]
    return [
        *found,
        ("norm/scale", (width,), "ones"),
        ("norm/shift", (width,), "zeros"),
        ("next/kernel", (width, SYMBOLS), "normal"),
        ("next/bias", (SYMBOLS,), "zeros"),
    ]


def bits_of(outputs, target):
    """Return what each character costs, bits, for outputs (lines, length, symbols) before their softmax."""
    outputs = np.asarray(outputs, np.float64)
    outputs = outputs - outputs.max(axis=2, keepdims=True)
    total = np.log(np.exp(outputs).sum(axis=2))
    chosen = np.take_along_axis(outputs, np.asarray(target, np.int64)[:, :, None], axis=2)[:, :, 0]
    return (total - chosen) * BITS


def score(outputs, part):
    """Return bits per character, what the source costs at best, and the fraction of characters foreseen."""
    target = part["target"]
    return {
        METRIC: float(bits_of(outputs, target).mean()),
        "bits per character that the source costs at best": float(part["bits"].mean() / target.shape[1]),
        "characters foreseen": float((np.argmax(outputs, axis=2) == target).mean()),
    }


def show(outputs, part, inner):
    """Return the bits that a character costs by its place in the line: they fall as there is more to look back at."""
    del inner
    course = bits_of(outputs, part["target"]).mean(axis=0)
    return {
        "curves": [
            {
                "name": "bits of a character by its place in the line",
                "x_label": "place",
                "y_label": "bits",
                "x": [float(place) for place in range(1, len(course) + 1)],
                "y": [float(bits) for bits in course],
            }
        ]
    }


def examine(call, part, size, seed):
    """Return whether a later character changes nothing before it, as the causal mask promises.

    Args:
        call: function that takes the network's inputs and returns its outputs, of the trained network.
        part: the test part.
        size: one of SIZES.
        seed: of the characters that are put in.
    """
    symbols = part["target"][:32]
    changed, at = symbols.copy(), size["length"] // 2
    moves = np.random.RandomState(seed).randint(1, SYMBOLS - 1, (len(symbols), size["length"] - at))
    changed[:, at:] = (symbols[:, at:] - 1 + moves) % (SYMBOLS - 1) + 1
    before, after = (np.asarray(call(inputs_of(each)), np.float64) for each in (symbols, changed))
    # The character at index `at` is read at index at + 1, so all outputs up to `at` must stay.
    difference = np.abs(before - after).max(axis=(0, 2))
    earlier, later = float(difference[: at + 1].max()), float(difference[at + 1 :].max())
    # A masked weight is exactly zero; only a fused kernel that sums in another order may move the last bits.
    holds = later > 0 and earlier <= 1e-3 * later
    seen = "the characters after the %dth were changed: outputs up to there moved by %.2g, later ones by %.2g"
    return {"conditions": [{"name": "causal-mask", "holds": holds, "seen": seen % (at, earlier, later)}]}
