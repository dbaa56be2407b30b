"""What four workloads learn from: text, dates, speech and waves, each with a bar that no trivial model reaches."""

from __future__ import annotations

import datetime as dt
import importlib.util
import itertools
import wave
from pathlib import Path

import pytest

from envcheck.smoke import workloads
from envcheck.smoke.choice import Choice

np = pytest.importorskip("numpy")

INSIDE = Path(__file__).parents[2] / "envcheck" / "inside"


def load(name):
    path = INSIDE.joinpath(*name.split("/")).with_suffix(".py")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


text = load("workloads/character_model_data")
dates = load("workloads/translator_data")
speech = load("workloads/speech_data")
recordings = load("workloads/read_speech")
waves = load("workloads/waveform_data")
speech.load_sibling = lambda name: {"workloads/read_speech": recordings}[name]


def cost_of_tables(train, test, symbols, order, skip=0):
    """Return what each symbol costs, nats, where the last `order` ones and a table of frequencies foretell it.

    The tables of all shorter pasts are mixed in as Witten and Bell (1991) do: the best use of a table that is known
    without tuning.
    """
    likely = np.full(test[:, skip:].size, 1 / symbols)
    for reach in range(order + 1):
        past, following = (pasts_of(rows, symbols, reach, skip if rows is test else 0) for rows in (train, test))
        pairs, pair_counts = np.unique(past * symbols + train.reshape(-1), return_counts=True)
        known, counts = np.unique(past, return_counts=True)
        kinds = np.bincount(np.searchsorted(known, pairs // symbols), minlength=len(known))
        count, kind = found(known, counts, following), found(known, kinds, following)
        seen = found(pairs, pair_counts, following * symbols + test[:, skip:].reshape(-1))
        likely = np.where(count > 0, (seen + kind * likely) / np.maximum(count + kind, 1), likely)
    return float(-np.log(likely).mean())


def pasts_of(rows, symbols, reach, skip):
    """Return a number for the last `reach` symbols before each symbol, shape (rows times places,)."""
    padded = np.concatenate([np.zeros((len(rows), reach), np.int64), rows], axis=1)
    number = np.zeros(rows.shape, np.int64)
    for step in range(reach):
        number = number * symbols + padded[:, step : step + rows.shape[1]]
    return number[:, skip:].reshape(-1)


def found(keys, values, asked):
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)


def certain(symbols, count):
    """Return outputs of a network that is sure of its symbols."""
    return 20.0 * np.eye(count, dtype=np.float32)[symbols]


def conditions_of(examined):
    return {condition["name"]: condition["holds"] for condition in examined["conditions"]}


# Text.


@pytest.mark.parametrize("length", [1, 7, 13])
def test_what_a_line_costs_at_best_is_exactly_how_likely_it_is(length):
    random = np.random.RandomState(0)
    lines = dict(text.line(random, length) for _ in range(4000))
    # Over all lines that there are, the likelihoods add up to one.
    assert sum(2.0**-bits for bits in lines.values()) == pytest.approx(1)


def test_text_is_predicted_worse_by_any_table_of_its_last_characters_than_the_bar_asks():
    size = text.SIZES["standard"]
    parts = text.prepare("", size, 0)
    train, test = (parts[name]["target"].astype(np.int64) for name in ("train", "test"))
    bits = [cost_of_tables(train, test, text.SYMBOLS, order) * text.BITS for order in (5, 8, 10)]
    assert min(bits) > size["bar"] + 0.03
    best = parts["test"]["bits"].mean() / size["length"]
    assert best < size["bar"] - 0.08


def test_a_network_that_is_sure_of_the_right_characters_pays_nothing_and_one_that_knows_nothing_all():
    part = text.prepare("", text.SIZES["quick"], 0)["test"]
    right = text.score(certain(part["target"], text.SYMBOLS), part)
    assert right["bits per character"] < 1e-6
    assert right["characters foreseen"] == 1
    knowing_nothing = np.zeros((*part["target"].shape, text.SYMBOLS))
    assert text.score(knowing_nothing, part)["bits per character"] == pytest.approx(np.log2(text.SYMBOLS))


def test_the_network_reads_what_stands_before_each_character():
    part = text.prepare("", text.SIZES["quick"], 0)["test"]
    assert np.array_equal(part["inputs"]["text"][:, 1:], part["target"][:, :-1])
    assert set(part["inputs"]["text"][:, 0]) == {text.START}
    line = text.decode(part["target"][0])
    assert line.startswith(("add ", "when ", "the "))
    assert np.array_equal(text.encode(line), part["target"][0])


def test_a_causal_mask_that_leaks_is_seen():
    size = text.SIZES["quick"]
    part = text.prepare("", size, 0)["test"]

    def causal(inputs):
        return np.cumsum(certain(inputs["text"], text.SYMBOLS), axis=1)

    def leaking(inputs):
        outputs = causal(inputs)
        return outputs + 0.01 * outputs[:, -1:]

    def deaf(inputs):
        return np.zeros((*inputs["text"].shape, text.SYMBOLS))

    verdicts = [conditions_of(text.examine(call, part, size, 0)) for call in (causal, leaking, deaf)]
    assert verdicts == [{"causal-mask": True}, {"causal-mask": False}, {"causal-mask": False}]


# Dates.


@pytest.mark.parametrize(
    ("date", "form", "way", "words"),
    [
        ("1994-03-03", 0, 0, "march third nineteen ninety four"),
        ("2005-12-31", 1, 0, "the thirty first of december two thousand and five"),
        ("2026-11-20", 2, 0, "on friday the twentieth of november in twenty twenty six"),
        ("2026-11-21", 2, 1, "on saturday the twenty first of november in two thousand and twenty six"),
        ("1900-01-30", 3, 0, "in nineteen hundred on january the thirtieth"),
        ("1907-05-12", 4, 0, "sunday may the twelfth nineteen oh seven"),
        ("2000-02-29", 0, 1, "february twenty ninth two thousand"),
    ],
)
def test_dates_are_said_as_people_say_them(date, form, way, words):
    assert dates.sentence(dt.date.fromisoformat(date), form, way) == words


def test_every_date_has_words_that_the_translator_knows_and_room_for_them():
    days = [dt.date(2000, 1, 1) + dt.timedelta(day) for day in range(366)]
    years = [dt.date(year, 9, 23) for year in range(dates.FIRST.year, dates.LAST.year + 1)]
    for date in [*days, *years]:
        for form in range(len(dates.FORMS)):
            for way in (0, 1):
                numbers = dates.encode(dates.sentence(date, form, way))
                assert numbers.shape == (dates.LONGEST,)
                # Padded in front: the last word is the last that is read.
                assert numbers[-1] != dates.PADDING


def test_the_date_that_shares_the_most_words_is_hardly_ever_the_right_one():
    size = dates.SIZES["standard"]
    parts = dates.prepare("", size, 0)
    bags = {}
    for name, part in parts.items():
        bags[name] = np.stack([np.bincount(row, minlength=size["words"])[1:] for row in part["inputs"]["source"]])
    known = bags["train"] / np.linalg.norm(bags["train"], axis=1, keepdims=True)
    nearest = np.argmax(bags["test"] @ known.T, axis=1)
    scores = dates.score(parts["train"]["target"][nearest], parts["test"])
    assert scores["exact matches"] < 0.2 < size["bar"]
    usual = np.array([[np.bincount(column).argmax() for column in parts["train"]["target"].T]])
    assert dates.score(np.repeat(usual, size["test_samples"], 0), parts["test"])["exact matches"] < 0.01


def test_the_translator_is_judged_by_what_it_writes_when_it_reads_its_own_figures():
    size = dates.SIZES["quick"]
    part = dates.prepare("", size, 0)["test"]
    answers = {
        source.tobytes(): target for source, target in zip(part["inputs"]["source"], part["target"], strict=True)
    }

    def knows(inputs):
        return certain(np.stack([answers[source.tobytes()] for source in inputs["source"]]), size["figures"])

    def repeats(inputs):
        return certain(np.minimum(inputs["before"], size["figures"] - 1), size["figures"])

    assert dates.score(dates.predict(knows, part, size), part) == {"exact matches": 1, "figures right": 1}
    assert dates.score(dates.predict(repeats, part, size), part)["exact matches"] == 0
    assert conditions_of(dates.examine(knows, part, size, 0)) == {"decoding": True}


def test_a_translator_that_is_right_only_while_it_is_shown_the_answer_is_seen():
    size = dates.SIZES["quick"]
    part = dates.prepare("", size, 0)["test"]

    def looks_ahead(inputs):
        # What a decoder that sees the next figure does: right while the right ones are put in.
        following = np.roll(inputs["before"], -1, axis=1)
        following[:, -1] = part["target"][: len(following), -1]
        return certain(np.minimum(following, size["figures"] - 1), size["figures"])

    assert conditions_of(dates.examine(looks_ahead, part, size, 0)) == {"decoding": False}


def test_the_attention_map_names_the_words_and_figures_that_it_is_about():
    size = dates.SIZES["quick"]
    part = dates.prepare("", size, 0)["test"]
    weights = np.random.RandomState(0).uniform(size=(8, size["length"], size["longest"]))
    (first, second) = dates.show(part["target"], part, {"attention": weights})["matrices"]
    words = [dates.WORDS[number] for number in part["inputs"]["source"][0] if number]
    assert first["columns"] == words
    assert "".join(first["rows"]) == "".join(dates.FIGURES[figure] for figure in part["target"][0])
    assert np.allclose(first["values"], weights[0][:, -len(words) :])
    assert second["name"] != first["name"]
    assert dates.show(part["target"], part, {}) == {"matrices": []}


# Speech.


@pytest.mark.parametrize(
    ("frames", "word"),
    [
        ("---", ""),
        ("aaa", "a"),
        ("a-a", "aa"),
        ("-aab-b-", "abb"),
        ("abab", "abab"),
    ],
)
def test_repeated_symbols_are_one_letter_unless_a_blank_lies_between_them(frames, word):
    symbols = [0 if frame == "-" else speech.ALPHABET.index(frame) + 1 for frame in frames]
    assert speech.heard(certain(np.array(symbols), len(speech.ALPHABET) + 1)) == word


@pytest.mark.parametrize(
    ("one", "other", "errors"),
    [("", "", 0), ("said", "said", 0), ("", "said", 4), ("kitten", "sitting", 3), ("tone", "ton", 1), ("ab", "ba", 2)],
)
def test_letter_errors_are_the_fewest_changes_that_make_one_word_of_the_other(one, other, errors):
    assert speech.distance(one, other) == speech.distance(other, one) == errors


def test_the_expected_loss_is_the_likelihood_of_all_ways_to_lay_the_letters_over_the_frames():
    outputs = np.random.RandomState(0).standard_normal((3, 5, 3))
    target = np.array([[1, 2], [1, 1], [2, 0]])
    likely = np.exp(outputs) / np.exp(outputs).sum(axis=2, keepdims=True)
    for row, letters in enumerate(([1, 2], [1, 1], [2])):
        total = 0.0
        for path in itertools.product(range(3), repeat=5):
            if [symbol for symbol, _ in itertools.groupby(path) if symbol] == letters:
                total += np.prod([likely[row, frame, symbol] for frame, symbol in enumerate(path)])
        assert speech.loss(outputs, target)[row] == pytest.approx(-np.log(total) / len(letters))


@pytest.mark.parametrize(
    ("package", "place"),
    [("torch", "real.nn.functional"), pytest.param("tensorflow", "real.nn", marks=pytest.mark.smoke)],
)
def test_a_framework_whose_alignment_loss_is_wrong_is_caught(monkeypatch, spoiled, interpreter_with, package, place):
    spoil = f"right = {place}.ctc_loss\n{place}.ctc_loss = lambda *given, **more: 1.02 * right(*given, **more)"
    monkeypatch.setenv("PYTHONPATH", str(spoiled(spoil, package)))
    choice = Choice(
        interpreter=interpreter_with(package),
        parts=("workload",),
        frameworks=(package,),
        by_name=True,
        workloads=("speech",),
        size="quick",
        device="cpu",
        timeout_seconds=110.0,
    )
    (proof,) = workloads.prove(choice, lambda *_: None)
    assert [condition.name for condition in proof.conditions if not condition.holds] == ["loss-right"]


def test_one_wrong_letter_makes_a_wrong_word_and_one_letter_error():
    letters = len(speech.ALPHABET) + 1
    part = {"target": np.stack([speech.encode("tone", 6), speech.encode("sun", 6)])}
    heard = np.stack([speech.encode("tone", 6), speech.encode("sum", 6)])
    assert speech.score(certain(heard, letters), part) == {"words right": 0.5, "letter errors": pytest.approx(1 / 7)}


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_a_tone_sounds_in_the_same_band_whatever_the_sampling_rate(rate):
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate // 2) / rate)
    loudness = speech.spectrogram(tone, rate)
    assert loudness.shape == (1 + round((0.5 - speech.FRAME) / speech.STEP), speech.BANDS)
    width = (speech.HIGHEST - speech.LOWEST) / speech.BANDS
    assert set(loudness.argmax(axis=1)) == {int((1000 - speech.LOWEST) // width)}
    assert (abs(loudness.mean()), loudness.std()) == (pytest.approx(0, abs=1e-5), pytest.approx(1, abs=1e-3))


def test_silence_and_a_click_are_sounds_too():
    for sound in (np.zeros(4000), np.zeros(3), np.eye(1, 4000)[0]):
        assert np.isfinite(speech.spectrogram(sound, 8000)).all()


def test_generated_words_leave_room_for_every_letter_and_the_blank_between_equal_ones():
    random = np.random.RandomState(0)
    most = max(len(speech.spectrogram(speech.spoken("mmmmmm", random), speech.RATE)) for _ in range(50))
    least = min(len(speech.spectrogram(speech.spoken("mmmmmm", random), speech.RATE)) for _ in range(50))
    assert 2 * 6 <= least <= most <= speech.SIZES["standard"]["frames"]


def test_who_compares_each_frame_with_each_letter_hears_fewer_words_than_the_bar_asks():
    size = dict(speech.SIZES["standard"], samples=10, test_samples=150)
    part = speech.prepare("", size, 0)["test"]
    time = np.arange(int(speech.RATE * 0.2)) / speech.RATE
    templates = []
    for place in range(len(speech.SPOKEN)):
        tones = speech.LOW[place % len(speech.LOW)], speech.HIGH[place // len(speech.LOW)]
        sound = sum(np.sin(2 * np.pi * tone * time) for tone in tones)
        templates.append(speech.spectrogram(sound, speech.RATE).mean(axis=0))
    templates = np.stack(templates) - np.mean(templates, axis=1, keepdims=True)
    likeness = part["inputs"]["spectrogram"] @ (templates / np.linalg.norm(templates, axis=1, keepdims=True)).T
    rights = []
    # The best of several thresholds for what is a letter at all.
    for threshold in (1, 2, 3, 4, 5, 6, 7):
        outputs = np.full((*likeness.shape[:2], len(speech.ALPHABET) + 1), -99.0)
        outputs[:, :, speech.BLANK] = threshold
        for place, letter in enumerate(speech.SPOKEN):
            outputs[:, :, speech.ALPHABET.index(letter) + 1] = likeness[:, :, place]
        rights.append(speech.score(outputs, part)["words right"])
    assert max(rights) < speech.SIZES["standard"]["bar"] - 0.1


def write_sound(path, content, width=2, rate=22050, channels=1):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(content)


SAID = ["Ten men met.", "It's near the sea!", "A tired sailor", "old stone; red rose", "Seven, 7 & more"]


@pytest.fixture
def ljspeech(tmp_path):
    """Sixty short recordings in the form of LJSpeech."""
    folder = tmp_path / "LJSpeech-1.1"
    (folder / "wavs").mkdir(parents=True)
    random = np.random.RandomState(0)
    lines = []
    for number in range(60):
        name, said = f"LJ001-{number:04d}", SAID[number % len(SAID)]
        sound = random.uniform(-0.3, 0.3, 22050 // 2 + 500 * number)
        write_sound(folder / "wavs" / f"{name}.wav", (sound * 2**15).astype("<i2").tobytes())
        lines.append(f"{name}|{said}|{said.replace('7', 'seven').replace('&', 'and')}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_recordings_are_read_with_their_texts_and_nothing_is_asked_but_that_the_loss_falls(ljspeech):
    size = dict(speech.SIZES["quick"])
    for path in (ljspeech, ljspeech.parent, ljspeech / "metadata.csv"):
        assert speech.recognises(str(path))
        parts = speech.prepare(str(path), size, 0)
        changed = parts.pop("size")
        assert changed["bar"] is None
        assert sum(len(part["target"]) for part in parts.values()) == 60
        said = {speech.decode(target) for part in parts.values() for target in part["target"]}
        assert said == {
            "ten men met",
            "it's near the sea",
            "a tired sailor",
            "old stone red rose",
            "seven seven and more",
        }
        shape = parts["train"]["inputs"]["spectrogram"].shape
        assert shape[1:] == (changed["frames"], speech.BANDS)
        assert parts["train"]["target"].shape[1] == changed["longest"] == len("seven seven and more")


def test_a_folder_of_something_else_is_not_taken_for_recordings(tmp_path):
    assert not speech.recognises(str(tmp_path))
    assert not speech.recognises(str(tmp_path / "gone"))


def test_too_few_recordings_are_said_so(ljspeech):
    table = ljspeech / "metadata.csv"
    table.write_text("\n".join(table.read_text().splitlines()[:20]))
    with pytest.raises(recordings.DataError, match=r"LJSpeech-1.1: 20 recordings can be used, of which 14 would train"):
        speech.prepare(str(ljspeech), speech.SIZES["quick"], 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is cut off"),
        (b"RIFF\x00\x00\x00\x00WAVE", "[a-z]"),
        (b"<!DOCTYPE html>", "file does not start with RIFF id"),
        (b"version https://git-lfs.github.com/spec/v1", "file does not start with RIFF id"),
    ],
)
def test_a_damaged_recording_is_named(ljspeech, content, reason):
    damaged = ljspeech / "wavs" / "LJ001-0007.wav"
    damaged.write_bytes(content)
    expected = rf"LJ001-0007.wav: is no whole WAV file of plain \(PCM\) samples: {reason}"
    with pytest.raises(recordings.DataError, match=expected):
        speech.prepare(str(ljspeech), speech.SIZES["quick"], 0)


def test_a_recording_that_is_cut_off_or_empty_is_named(ljspeech):
    cut = ljspeech / "wavs" / "LJ001-0003.wav"
    cut.write_bytes(cut.read_bytes()[:2044])
    with pytest.raises(recordings.DataError, match=r"LJ001-0003.wav: is cut off: 2000 bytes of sound"):
        recordings.samples(str(cut))
    write_sound(cut, b"")
    with pytest.raises(recordings.DataError, match=r"LJ001-0003.wav: has no sound"):
        recordings.samples(str(cut))
    write_sound(cut, b"\0\0" * 100, rate=8)
    with pytest.raises(recordings.DataError, match=r"LJ001-0003.wav: 8 samples a second are too few"):
        recordings.samples(str(cut))


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"LJ001-0001|one\nLJ001-9999|two\n", r"LJ001-9999.wav: is not there, though line 2 of metadata.csv names it"),
        (b"LJ001-0001|one\n\nwithout a bar\n", r"metadata.csv, line 3: is not id\|text\|normalised text"),
        (b"../../secret|one\n", r"metadata.csv, line 1: '../../secret' is a path"),
        (b"LJ001-0001|caf\xe9\n", r"metadata.csv: is no UTF-8 text"),
        (b"\n", r"metadata.csv: names no recording"),
    ],
)
def test_a_damaged_table_is_named_with_its_line(ljspeech, table, reason):
    (ljspeech / "metadata.csv").write_bytes(table)
    with pytest.raises(recordings.DataError, match=reason):
        recordings.read(str(ljspeech))


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width_come_out_as_they_went_in_and_two_channels_as_their_mean(tmp_path, width):
    values = np.array([[-1.0, -0.5], [0.0, 0.5], [0.25, 0.25]])
    if width == 1:
        content = (values * 128 + 128).astype(np.uint8).tobytes()
    else:
        whole = (values * 2 ** (8 * width - 1)).astype("<i4")
        content = whole.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width].tobytes()
    write_sound(tmp_path / "sound.wav", content, width, 16000, 2)
    found_values, rate = recordings.samples(str(tmp_path / "sound.wav"))
    assert rate == 16000
    assert found_values.dtype == np.float32
    assert found_values.tolist() == [-0.75, 0.25, 0.25]


# Waves.


def test_each_level_lies_in_the_middle_of_itself_and_loud_ones_are_wider():
    levels = np.arange(waves.LEVELS)
    assert np.array_equal(waves.level_of(waves.wave_of(levels)), levels)
    widths = np.diff(waves.wave_of(levels))
    assert widths[-1] > 10 * widths[waves.LEVELS // 2] > 0
    assert waves.level_of(np.array([-2.0, 2.0])).tolist() == [0, waves.LEVELS - 1]


@pytest.mark.parametrize("clean", [0.0, 0.2, -0.55])
def test_what_the_noise_alone_costs_is_the_entropy_of_noisy_samples(clean):
    noisy = waves.level_of(clean + waves.NOISE * np.random.RandomState(0).standard_normal(200_000))
    share = np.bincount(noisy) / len(noisy)
    entropy = -(share[share > 0] * np.log(share[share > 0])).sum()
    assert waves.floor_of(np.array([clean])) == pytest.approx(entropy, abs=0.01)


def test_waves_are_predicted_worse_from_their_last_samples_than_the_bar_asks():
    size = waves.SIZES["standard"]
    parts = waves.prepare("", size, 0)
    train, test = (parts[name]["target"].astype(np.int64) for name in ("train", "test"))
    costs = [cost_of_tables(train, test, waves.LEVELS, order, waves.UNKNOWN) for order in (0, 1, 2, 3)]
    assert min(costs) > size["bar"] + 0.2
    assert parts["test"]["floor"].mean() < size["bar"] - 0.5


def test_the_loudest_tone_of_a_wave_is_found():
    for tone in waves.TONES:
        wave_of_two = 0.5 * np.sin(2 * np.pi * tone * np.arange(96)) + 0.2 * np.sin(2 * np.pi * 0.21 * np.arange(96))
        assert waves.loudest_tone(wave_of_two) == pytest.approx(tone, abs=0.3 / 96)


def test_a_generator_that_sees_the_future_or_loses_the_tone_is_seen():
    size = dict(waves.SIZES["standard"], test_samples=20, samples=100)
    part = waves.prepare("", size, 0)["test"]
    right = certain(part["target"][: waves.GENERATED_WAVES], waves.LEVELS)

    def remembers(inputs):
        """Knows the wave by heart; what it read moves it a little, and only afterwards."""
        return right + 0.01 * np.cumsum(inputs["before"], axis=1)[:, :, :1] * np.linspace(0, 1, waves.LEVELS)

    def hums(inputs):
        """Goes on with one level whatever it has heard."""
        return 0.01 * np.cumsum(inputs["before"], axis=1) * np.linspace(0, 1, waves.LEVELS)

    def foresees(inputs):
        return remembers(inputs) + 0.01 * inputs["before"][:, -1:] * np.linspace(0, 1, waves.LEVELS)

    verdicts = [conditions_of(waves.examine(call, part, size, 0)) for call in (remembers, hums, foresees)]
    assert verdicts[0] == {"causal": True, "tone-kept": True}
    assert verdicts[1] == {"causal": True, "tone-kept": False}
    assert not verdicts[2]["causal"]


def test_a_network_that_knows_every_level_pays_nothing():
    part = waves.prepare("", waves.SIZES["quick"], 0)["test"]
    assert waves.score(certain(part["target"], waves.LEVELS), part)["nats per sample"] < 1e-6
    knowing_nothing = np.zeros((*part["target"].shape, waves.LEVELS))
    assert waves.score(knowing_nothing, part)["nats per sample"] == pytest.approx(np.log(waves.LEVELS))
