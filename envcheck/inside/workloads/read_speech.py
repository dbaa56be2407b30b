"""Read recordings with their texts, in the form of the LJ Speech dataset; runs inside the interpreter under test.

A folder has `metadata.csv`, one recording a line, `id|text|normalised text` in UTF-8 without a header (the third part
may be missing), and `wavs/id.wav` for each line. Source: the dataset's README, keithito.com/LJ-Speech-Dataset.
"""

import io
import os
import wave

import numpy as np

TABLE, SOUNDS = "metadata.csv", "wavs"
LOWEST_RATE = 1000  # samples a second; a telephone has 8,000


class DataError(Exception):
    """The data cannot be used; the message names the file and what is wrong with it."""


def table_of(path):
    """Return the path of the table that a path names, is the folder of, or is the folder's folder of; else None."""
    if os.path.basename(path) == TABLE and os.path.isfile(path):
        return path
    folders = [path]
    if os.path.isdir(path):
        folders += sorted(os.path.join(path, name) for name in os.listdir(path) if name.startswith("LJSpeech"))
    for folder in folders:
        table = os.path.join(folder, TABLE)
        if os.path.isfile(table):
            return table
    return None


def read(path):
    """Return (id, normalised text, path of the sound) of each recording.

    Args:
        path: the folder, or its metadata.csv.
    """
    table = table_of(path)
    if table is None:
        raise DataError("%s: no %s in it" % (path, TABLE))
    try:
        with io.open(table, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise DataError("%s: cannot be read: %s" % (table, error.strerror))
    except UnicodeDecodeError as error:
        raise DataError("%s: is no UTF-8 text: byte %d" % (table, error.start))
    clips = []
    for number, line in enumerate(lines, 1):
        parts = line.split("|")
        if len(parts) < 2 or not parts[0].strip():
            if not line.strip():
                continue
            raise DataError("%s, line %d: is not id|text|normalised text" % (table, number))
        name = parts[0].strip()
        if os.path.basename(name) != name:
            raise DataError("%s, line %d: %r is a path, not a recording's name" % (table, number, name))
        sound = os.path.join(os.path.dirname(table), SOUNDS, name + ".wav")
        if not os.path.isfile(sound):
            raise DataError("%s: is not there, though line %d of %s names it" % (sound, number, TABLE))
        # Numbers and abbreviations are spelt out in the third part.
        clips.append((name, (parts[2] if len(parts) > 2 and parts[2].strip() else parts[1]).strip(), sound))
    if not clips:
        raise DataError("%s: names no recording" % table)
    return clips


def samples(path):
    """Return a sound as float32 from -1 to 1, its channels averaged, and its samples a second."""
    try:
        # Opened here, for the module leaves a damaged file open.
        with open(path, "rb") as file, wave.open(file) as sound:
            channels, width, rate = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
            promised, content = sound.getnframes(), sound.readframes(sound.getnframes())
    except OSError as error:
        raise DataError("%s: cannot be read: %s" % (path, error.strerror))
    except (wave.Error, EOFError) as error:
        raise DataError("%s: is no whole WAV file of plain (PCM) samples: %s" % (path, str(error) or "it is cut off"))
    if len(content) < promised * channels * width:
        raise DataError(
            "%s: is cut off: %d bytes of sound, its header promises %d"
            % (path, len(content), promised * channels * width)
        )
    if not content:
        raise DataError("%s: has no sound" % path)
    if rate < LOWEST_RATE:
        raise DataError("%s: %d samples a second are too few to hear speech" % (path, rate))
    return _numbers(path, content, width).reshape(-1, channels).mean(axis=1).astype(np.float32), rate


def _numbers(path, content, width):
    if width == 1:  # the one width that has no sign
        return (np.frombuffer(content, np.uint8).astype(np.float32) - 128) / 128
    if width == 2:
        return np.frombuffer(content, "<i2").astype(np.float32) / 2**15
    if width == 3:
        wide = np.zeros((len(content) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return wide.reshape(-1).view("<i4").astype(np.float32) / 2**31
    if width == 4:
        return np.frombuffer(content, "<i4").astype(np.float32) / 2**31
    raise DataError("%s: samples of %d bytes" % (path, width))
