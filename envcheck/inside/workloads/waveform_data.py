"""Sums of tones, sample by sample, for the workload `waveform`: what a causal dilated-convolution generator continues.

This file runs inside the interpreter under test: every Python from 3.6 on, NumPy 1.x and 2.x, nothing else.

A wave is two tones and a little noise. The network reads the samples so far and says how likely each of 64 levels is
for the next one. Levels are even on the mu-law's curve, as in WaveNet (van den Oord and others, 2016) but fewer: they
are fine where it is quiet. How uncertain a sample is even to who knows both tones is computed exactly (`floor_of`): the
noise, cut into levels. A model that does not look back pays the whole spread of the levels.
"""

import math

import numpy as np

TITLE = "Causal dilated-convolution generator (WaveNet's block)"
PROVES = (
    "Dilated convolutions see far back and never ahead, gates (tanh times sigmoid), residual and skip connections "
    "work together, and what the network generates from its own output keeps the tone that it was given."
)
METRIC = "nats per sample"
HIGHER_IS_BETTER = False

LEVELS = 64
CURVE = LEVELS - 1  # the law's mu
LOUD, QUIET = (0.45, 0.60), (0.10, 0.20)  # amplitudes of both tones
# Cycles a sample, in equal steps of half an octave.
TONES = tuple(0.03 * 2 ** (step / 2.0) for step in range(5))
NOISE = 0.03  # standard deviation
# Samples at the start that no one can foresee, for neither tone is known yet: they train, and are not scored.
UNKNOWN = 32
GENERATED_WAVES = 16
KEPT = 0.75  # fraction of the generated waves that must keep their tone; docs/smoke.md has what was measured

# At size quick validation, test and a batch are of one length: each new one costs TensorFlow seconds of tracing.
SIZES = {
    "quick": {
        "samples": 80,
        "test_samples": 16,
        "epochs": 2,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "bar": None,
        "levels": LEVELS,
        "length": 96,
        "dilations": (1, 2, 4),
        "width": 16,
        "generated": 4,
    },
    "standard": {
        "samples": 1000,
        "test_samples": 100,
        "epochs": 5,
        "batch_size": 8,
        "learning_rate": 3e-3,
        "bar": 2.0,
        "levels": LEVELS,
        "length": 160,
        "dilations": (1, 2, 4, 8, 16, 32),
        "width": 24,
        "generated": 80,
    },
    "full": {
        "samples": 2000,
        "test_samples": 200,
        "epochs": 8,
        "batch_size": 8,
        "learning_rate": 2e-3,
        "bar": 1.9,
        "levels": LEVELS,
        "length": 192,
        "dilations": (1, 2, 4, 8, 16, 32, 64),
        "width": 32,
        "generated": 96,
    },
}


def level_of(wave):
    """Return the level, 0 to LEVELS - 1, of samples from -1 to 1: evenly wide on the mu-law's curve."""
    curved = np.sign(wave) * np.log1p(CURVE * np.abs(wave)) / np.log1p(CURVE)
    return np.clip(np.floor((curved + 1) / 2 * LEVELS), 0, LEVELS - 1).astype(np.int32)


def wave_of(level):
    """Return the sample in the middle of a level, -1 to 1."""
    return _straight((np.asarray(level, np.float64) + 0.5) / LEVELS * 2 - 1).astype(np.float32)


def _straight(curved):
    return np.sign(curved) * np.expm1(np.abs(curved) * np.log1p(CURVE)) / CURVE


def _uncertainty():
    """Return samples without noise, and the entropy of the level that each gets with it, nats."""
    samples = np.linspace(-1, 1, 801)
    edges = _straight(np.linspace(-1, 1, LEVELS + 1))
    edges[0], edges[-1] = -np.inf, np.inf
    below = np.vectorize(math.erf)((edges[None, :] - samples[:, None]) / (NOISE * math.sqrt(2)))
    likely = np.diff(below, axis=1) / 2
    return samples, -(likely * np.log(np.maximum(likely, 1e-300))).sum(axis=1)


def floor_of(clean):
    """Return the mean entropy of the levels of waves whose noiseless samples are known, nats a sample."""
    samples, entropies = _uncertainty()
    return np.interp(clean, samples, entropies).mean(axis=-1)


def inputs_of(levels):
    """Return the network's inputs for levels of shape (waves, length): before each sample the one before it."""
    before = np.zeros((*levels.shape, 1), np.float32)
    before[:, 1:, 0] = wave_of(levels[:, :-1])
    return {"before": before}


def prepare(path, size, seed):
    """Return the parts "train", "validation" and "test"; each wave has tones of its own.

    A part has, beside what is learned from: `tone`, cycles a sample of the louder tone, and `floor`, see `floor_of`.

    Args:
        path: not used; this workload has generated waves only.
        size: one of SIZES.
        seed: from 0 to 2**31 - 1.
    """
    del path
    random = np.random.RandomState(seed)
    wanted = size["samples"] + size["test_samples"]
    # The quieter tone is another one.
    first = random.randint(0, len(TONES), wanted)
    second = (first + random.randint(1, len(TONES), wanted)) % len(TONES)
    tones = np.array(TONES)[np.stack([first, second], axis=1)]
    amplitudes = np.stack([random.uniform(low, high, wanted) for low, high in (LOUD, QUIET)], axis=1)
    phases = random.uniform(0, 2 * np.pi, (wanted, 2))
    time = np.arange(size["length"])
    clean = (amplitudes[:, :, None] * np.sin(2 * np.pi * tones[:, :, None] * time + phases[:, :, None])).sum(axis=1)
    levels = level_of(clean + NOISE * random.standard_normal(clean.shape))
    test, validation = size["test_samples"], size["samples"] // 5
    cuts = {
        "test": slice(0, test),
        "validation": slice(test, test + validation),
        "train": slice(test + validation, wanted),
    }
    return {
        name: {
            "inputs": inputs_of(levels[cut]),
            "target": levels[cut],
            "tone": tones[cut, 0],
            "floor": floor_of(clean[cut, UNKNOWN:]),
        }
        for name, cut in cuts.items()
    }


def parameters(size):
    """Return name, shape and kind of each parameter, in Keras's layout."""
    width = size["width"]
    found = [("first/kernel", (2, 1, width), "glorot"), ("first/bias", (width,), "zeros")]
    for dilation in size["dilations"]:
        block = "block%d-" % dilation
        for name, reach in (("filter", 2), ("gate", 2), ("skip", 1), ("residual", 1)):
            if name == "residual" and dilation == size["dilations"][-1]:
                continue  # nothing would read it
            found += [
                ("%s%s/kernel" % (block, name), (reach, width, width), "glorot"),
                ("%s%s/bias" % (block, name), (width,), "zeros"),
            ]
    return [
        *found,
        ("joined/kernel", (1, width, width), "glorot"),
        ("joined/bias", (width,), "zeros"),
        ("level/kernel", (1, width, size["levels"]), "glorot"),
        ("level/bias", (size["levels"],), "zeros"),
    ]


def likely(outputs):
    """Return how likely each level is, for outputs before their softmax."""
    outputs = np.asarray(outputs, np.float64)
    powers = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def score(outputs, part):
    """Return nats per sample, without those at the start, and what who knows both tones pays."""
    target = np.asarray(part["target"], np.int64)[:, UNKNOWN:, None]
    chosen = np.take_along_axis(likely(outputs[:, UNKNOWN:]), target, axis=2)
    return {
        METRIC: float(-np.log(np.maximum(chosen, 1e-300)).mean()),
        "nats per sample of the noise alone": float(part["floor"].mean()),
    }


def show(outputs, part, inner):
    """Return one wave, and the mean of what the network expected."""
    del inner
    levels = wave_of(np.arange(outputs.shape[2]))
    places = [float(place) for place in range(outputs.shape[1])]
    heard, expected = wave_of(part["target"][0]), likely(outputs[0]).dot(levels)
    return {
        "curves": [
            _curve("a wave of the test", places, heard),
            _curve("what was expected of each of its samples", places, expected),
        ]
    }


def _curve(name, x, y):
    return {"name": name, "x_label": "sample", "y_label": "amplitude", "x": x, "y": [float(value) for value in y]}


def continued(call, levels, count):
    """Return waves whose last `count` levels are the network's own, each the likeliest after all before it."""
    levels = levels.copy()
    for place in range(levels.shape[1] - count, levels.shape[1]):
        levels[:, place] = np.argmax(call(inputs_of(levels))[:, place], axis=1)
    return levels


def loudest_tone(wave):
    """Return the cycles a sample at which a wave is loudest."""
    fine = 16 * len(wave)
    spectrum = np.abs(np.fft.rfft((wave - wave.mean()) * np.hanning(len(wave)), fine))
    return np.argmax(spectrum) / float(fine)


def examine(call, part, size, seed):
    """Return whether no sample is foreseen from later ones, and whether what is generated keeps its tone.

    Args:
        call: function that takes the network's inputs and returns its outputs, of the trained network.
        part: the test part.
        size: one of SIZES.
        seed: not used.
    """
    del seed
    levels, length = part["target"][:GENERATED_WAVES], size["length"]
    at = length // 2
    changed = levels.copy()
    changed[:, at:] = LEVELS - 1 - changed[:, at:]
    difference = np.abs(call(inputs_of(levels)) - call(inputs_of(changed))).max(axis=(0, 2))
    # The sample at index `at` is read at index at + 1, so all outputs up to `at` must stay.
    earlier, later = float(difference[: at + 1].max()), float(difference[at + 1 :].max())
    seen = "the samples after the %dth were changed: outputs up to there moved by %.2g, later ones by %.2g"
    holds = later > 0 and earlier <= 1e-3 * later
    conditions = [{"name": "causal", "holds": holds, "seen": seen % (at, earlier, later)}]
    count = size["generated"]
    wave = wave_of(continued(call, levels, count))
    places = [float(place) for place in range(length)]
    curves = [_curve("a wave whose last %d samples are generated" % count, places, wave[0])]
    if size["bar"] is not None:
        found = np.array([loudest_tone(each[-count:]) for each in wave])
        kept = int((np.abs(found - part["tone"][: len(wave)]) * count <= 1).sum())
        seen = (
            "%d generated samples have the tone of the wave, to one cycle in all of them, in %d of %d waves (%d asked)"
        )
        asked = math.ceil(KEPT * len(wave))
        conditions.append({"name": "tone-kept", "holds": kept >= asked, "seen": seen % (count, kept, len(wave), asked)})
    return {"conditions": conditions, "curves": curves}
