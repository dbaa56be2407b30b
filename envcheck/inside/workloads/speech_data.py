"""Words spelt in tones, for the workload `speech`: what a recogniser that is trained with CTC writes down.

This file runs inside the interpreter under test: every Python from 3.6 on, NumPy 1.x and 2.x, nothing else.

Each letter is a pair of tones, as on the keys of a telephone. Speed, pauses, pitch and loudness differ from word to
word, and noise lies over all of it. Nothing says where a letter begins: that is what CTC (Graves and others, 2006) is
for, which adds up all the ways to lay the letters over the frames. No word is in two of the parts.

The network reads 32 bands of a spectrogram, taken by NumPy: so real recordings (`--data`, a folder in LJSpeech's form)
come to it in the same form, whatever their sampling rate.
"""

import math
import os

import numpy as np

TITLE = "Speech recogniser with CTC (DeepSpeech's loss)"
PROVES = (
    "CTC's loss, the sum over all alignments, is right and teaches: from sound of any speed the network learns which "
    "letters were said, without being told when."
)
METRIC = "words right"
HIGHER_IS_BETTER = True

BLANK = 0  # CTC's symbol for "nothing new", and what a short word is filled up with
ALPHABET = "abcdefghijklmnopqrstuvwxyz' "
BANDS = 32

# At size quick validation, test and a batch are of one length: each new one costs TensorFlow seconds of tracing.
SIZES = {
    "quick": {
        "samples": 160,
        "test_samples": 32,
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "bar": None,
        "letters": len(ALPHABET) + 1,
        "bands": BANDS,
        "frames": 56,
        "longest": 6,
        "width": 16,
        "layers": 2,
        "reach": 5,
    },
    "standard": {
        "samples": 2000,
        "test_samples": 400,
        "epochs": 8,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "bar": 0.8,
        "letters": len(ALPHABET) + 1,
        "bands": BANDS,
        "frames": 56,
        "longest": 6,
        "width": 48,
        "layers": 3,
        "reach": 5,
    },
    "full": {
        "samples": 4000,
        "test_samples": 800,
        "epochs": 15,
        "batch_size": 32,
        "learning_rate": 3e-3,
        "bar": 0.9,
        "letters": len(ALPHABET) + 1,
        "bands": BANDS,
        "frames": 56,
        "longest": 6,
        "width": 64,
        "layers": 3,
        "reach": 5,
    },
}

RATE = 8000  # samples a second of the generated sound
SPOKEN = "adeilmnorstu"  # the letters of generated words
SHORTEST = 3
LOW, HIGH = (500.0, 700.0, 900.0), (1500.0, 1900.0, 2300.0, 2700.0)  # hertz: a letter is one of each
PITCH = 0.05  # largest part by which a speaker's tones lie higher or lower
LETTER = (0.06, 0.11)  # seconds that a letter lasts
PAUSE = (0.03, 0.06)  # seconds between two letters
SILENCE = (0.02, 0.10)  # seconds before the first
LOUDNESS = (0.3, 1.0)
NOISE = 0.6  # standard deviation, where a letter's two tones have an amplitude of 0.5 each

FRAME, STEP = 0.040, 0.020  # seconds that a frame lasts, and from one frame to the next
LOWEST, HIGHEST = 200.0, 3600.0  # hertz
FLOOR = 1e-4  # of the loudest band: nothing below is heard


def spoken(word, random):
    """Return a word in tones, RATE samples a second."""
    pitch = 1 + random.uniform(-PITCH, PITCH)
    stretches = [np.zeros(int(RATE * random.uniform(*SILENCE)))]
    for letter in word:
        place = SPOKEN.index(letter)
        tones = LOW[place % len(LOW)] * pitch, HIGH[place // len(LOW)] * pitch
        count = int(RATE * random.uniform(*LETTER))
        time = np.arange(count) / float(RATE)
        sound = sum(0.5 * np.sin(2 * np.pi * (tone * time + random.uniform())) for tone in tones)
        # Faded in and out: an edge would sound on every band.
        stretches += [sound * np.hanning(count) ** 0.25, np.zeros(int(RATE * random.uniform(*PAUSE)))]
    sound = np.concatenate(stretches)
    return random.uniform(*LOUDNESS) * (sound + NOISE * random.standard_normal(len(sound)))


def spectrogram(sound, rate):
    """Return the loudness of each band in each frame, shape (frames, BANDS), mean 0 and deviation 1 over all of it.

    The loudness is the logarithm of the power in a Hann window; bands are equally wide. A sound shorter than one frame
    is one frame long.
    """
    length, step = round(rate * FRAME), round(rate * STEP)
    if len(sound) < length:
        sound = np.concatenate([sound, np.zeros(length - len(sound))])
    count = 1 + (len(sound) - length) // step
    frames = sound[np.arange(count)[:, None] * step + np.arange(length)] * np.hanning(length)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    edges = np.linspace(LOWEST, HIGHEST, BANDS + 1) * length / rate
    first = np.floor(edges[:-1]).astype(int)
    last = np.minimum(np.maximum(np.floor(edges[1:]).astype(int), first + 1), power.shape[1])
    # A recording of a low rate has no high bands: they stay silent.
    bands = [power[:, low:high].mean(axis=1) if low < high else np.zeros(count) for low, high in zip(first, last)]  # noqa: B905
    loudness = np.stack(bands, axis=1)
    loudness = np.log(np.maximum(loudness, FLOOR * max(loudness.max(), 1e-12)))
    return ((loudness - loudness.mean()) / max(loudness.std(), 1e-6)).astype(np.float32)


def encode(text, longest):
    """Return a text's letters as numbers, from 1, filled up with BLANK."""
    numbers = [ALPHABET.index(letter) + 1 for letter in text]
    return np.array(numbers + [BLANK] * (longest - len(numbers)), np.int32)


def decode(numbers):
    """Return numbers as text, without blanks."""
    return "".join(ALPHABET[number - 1] for number in numbers if number != BLANK)


def heard(outputs):
    """Return what is read from a network's outputs for one sound: repeats are one letter, blanks are none.

    Taking the likeliest symbol of each frame is CTC's best path (Graves and others, 2006).
    """
    best = np.argmax(outputs, axis=-1)
    changed = np.concatenate([[True], best[1:] != best[:-1]])
    return decode(best[changed])


def loss(outputs, target):
    """Return each word's CTC loss for each of its letters, nats, in double precision.

    The forward recursion of Graves and others (2006): letters with a blank before, between and behind them; at each
    frame a path stays, goes one on, or skips a blank between two different letters.

    Args:
        outputs: what the network gives, (words, frames, letters), before its softmax.
        target: letters, filled up with BLANK.
    """
    outputs, target = np.asarray(outputs, np.float64), np.asarray(target)
    outputs = outputs - outputs.max(axis=2, keepdims=True)
    outputs = outputs - np.log(np.exp(outputs).sum(axis=2, keepdims=True))
    words, longest = target.shape
    states = np.full((words, 2 * longest + 1), BLANK)
    states[:, 1::2] = target
    skips = np.zeros(states.shape, bool)
    skips[:, 3::2] = target[:, 1:] != target[:, :-1]
    likely = np.take_along_axis(
        outputs, np.broadcast_to(states[:, None, :], (words, outputs.shape[1], states.shape[1])), 2
    )
    reached = np.full(states.shape, -np.inf)
    reached[:, :2] = likely[:, 0, :2]
    with np.errstate(invalid="ignore"):
        for frame in range(1, outputs.shape[1]):
            on = np.concatenate([np.full((words, 1), -np.inf), reached[:, :-1]], axis=1)
            over = np.concatenate([np.full((words, 2), -np.inf), reached[:, :-2]], axis=1)
            reached = np.logaddexp(np.logaddexp(reached, on), np.where(skips, over, -np.inf)) + likely[:, frame]
    letters, row = (target != BLANK).sum(axis=1), np.arange(words)
    return -np.logaddexp(reached[row, 2 * letters], reached[row, 2 * letters - 1]) / letters


def distance(one, other):
    """Return how many letters must be put in, left out or changed to make one text of another."""
    costs = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        before, costs[0] = costs[0], row
        for column, wanted in enumerate(other, 1):
            before, costs[column] = (
                costs[column],
                min(costs[column] + 1, costs[column - 1] + 1, before + (letter != wanted)),
            )
    return costs[-1]


def recognises(path):
    """Return whether a path is of recordings with their texts, in LJSpeech's form."""
    return load_sibling("workloads/read_speech").table_of(path) is not None


def load_sibling(name):
    """Load another file of the folder above; who loads this one puts its own loader here."""
    raise NotImplementedError(name)


def prepare(path, size, seed):
    """Return the parts "train", "validation" and "test"; no word (no recording) is in two of them.

    Args:
        path: recordings in LJSpeech's form, see read_speech.py; empty for generated words.
        size: one of SIZES.
        seed: from 0 to 2**31 - 1.
    """
    random = np.random.RandomState(seed)
    if path:
        return _recorded(path, size, random)
    wanted = size["samples"] + size["test_samples"]
    words = {}
    while len(words) < wanted:
        letters = random.randint(0, len(SPOKEN), random.randint(SHORTEST, size["longest"] + 1))
        words["".join(SPOKEN[letter] for letter in letters)] = True
    sounds = [spectrogram(spoken(word, random), RATE) for word in words]
    return _split(sounds, list(words), size["frames"], size["longest"], size["test_samples"], size["samples"] // 5)


def _split(sounds, texts, frames, longest, test, validation):
    """Return the parts; what is shorter than others is filled up with its own quietest loudness."""
    spectrograms = np.stack([_filled(sound, frames) for sound in sounds])
    target = np.stack([encode(text, longest) for text in texts])
    cuts = {
        "test": slice(0, test),
        "validation": slice(test, test + validation),
        "train": slice(test + validation, len(texts)),
    }
    return {name: {"inputs": {"spectrogram": spectrograms[cut]}, "target": target[cut]} for name, cut in cuts.items()}


def _filled(sound, frames):
    silence = np.full((max(frames - len(sound), 0), BANDS), sound.min(), np.float32)
    return np.concatenate([sound[:frames], silence])


def _recorded(path, size, random):
    """Return parts of real recordings: the shortest ones, for they are the quickest to learn from."""
    reader = load_sibling("workloads/read_speech")
    clips = reader.read(path)
    wanted = size["samples"] + size["test_samples"]
    clips = sorted(clips, key=lambda clip: (os.path.getsize(clip[2]), clip[0]))[:wanted]
    clips = [clips[index] for index in random.permutation(len(clips))]
    sounds, texts = [], []
    for _, text, file in clips:
        kept = "".join(letter for letter in " ".join(text.lower().split()) if letter in ALPHABET)
        sound, rate = reader.samples(file)
        frames = spectrogram(sound, rate)
        # CTC needs a frame for each letter, and one more between two that are the same.
        if kept and len(frames) >= len(kept) + sum(one == two for one, two in zip(kept, kept[1:])):  # noqa: B905, RUF007
            sounds.append(frames)
            texts.append(kept)
    test = max(1, len(texts) * size["test_samples"] // wanted)
    validation = max(1, (len(texts) - test) // 5)
    training = len(texts) - test - validation
    if training < size["batch_size"]:
        raise reader.DataError(
            "%s: %d recordings can be used, of which %d would train; one batch needs %d"
            % (path, len(texts), max(training, 0), size["batch_size"])
        )
    frames, longest = max(len(sound) for sound in sounds), max(len(text) for text in texts)
    parts = _split(sounds, texts, frames, longest, test, validation)
    # Few recordings teach no one English: that the loss falls is all that is asked.
    parts["size"] = {"frames": frames, "longest": longest, "bar": None}
    return parts


def parameters(size):
    """Return name, shape and kind of each parameter, in Keras's layout."""
    width, reach, found, before = size["width"], size["reach"], [], size["bands"]
    for layer in range(1, size["layers"] + 1):
        name = "convolution%d" % layer
        # He and others (2015), for half of what a rectifier gets is lost: sqrt(6 / numbers that are summed).
        found += [
            (name + "/kernel", (reach, before, width), math.sqrt(6.0 / (reach * before))),
            (name + "/bias", (width,), "zeros"),
        ]
        before = width
    return [
        *found,
        ("letters/kernel", (width, size["letters"]), "glorot"),
        ("letters/bias", (size["letters"],), "zeros"),
    ]


def score(outputs, part):
    """Return the fraction of words that are right in every letter, and the errors for each letter said."""
    said = [decode(numbers) for numbers in part["target"]]
    written = [heard(each) for each in outputs]
    pairs = list(zip(said, written))  # noqa: B905 - Python 3.6
    errors = sum(distance(one, other) for one, other in pairs)
    return {
        METRIC: float(np.mean([one == other for one, other in pairs])),
        "letter errors": errors / float(max(sum(map(len, said)), 1)),
    }


def show(outputs, part, inner):
    """Return the spectrogram of two words with what was heard, and when each letter was."""
    del inner
    pictures, matrices = [], []
    for index in range(min(2, len(outputs))):
        said, written = decode(part["target"][index]), heard(outputs[index])
        loudness = part["inputs"]["spectrogram"][index]
        grey = np.clip((loudness - loudness.min()) / max(np.ptp(loudness), 1e-6) * 255, 0, 255).astype(int)
        frames = len(grey)
        pictures.append(
            {
                "name": "spectrogram",
                "caption": "said: %s, heard: %s" % (said, written or "nothing"),
                "width": frames,
                "height": BANDS,
                "pixels": [int(value) for value in grey.transpose()[::-1].reshape(-1)],
            }
        )
        matrices.append(_alignment(outputs[index], said, written))
    return {"pictures": pictures, "matrices": [matrix for matrix in matrices if matrix]}


def _alignment(outputs, said, written):
    """Return how likely each letter that was said was at each time."""
    values = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    values = values / values.sum(axis=1, keepdims=True)
    letters = sorted(set(said))[:12]
    rows = [values[:60, ALPHABET.index(letter) + 1] for letter in letters]
    return {
        "name": "letters over time, said: %s, heard: %s" % (said, written or "nothing"),
        "rows": letters,
        "columns": ["%d ms" % (1000 * STEP * frame) for frame in range(len(rows[0]))],
        "values": [[float(value) for value in row] for row in rows],
        "row_label": "letter",
        "column_label": "time",
    }
