"""The images: drawn digits that are the same everywhere and hard enough, and real MNIST, whole or damaged."""

from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path

import pytest

np = pytest.importorskip("numpy")

INSIDE = Path(__file__).parents[2] / "envcheck" / "inside"


def load(name):
    specification = importlib.util.spec_from_file_location(name, INSIDE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


data = load("smoke_data")


def test_a_seed_means_the_same_digits_every_time():
    images, labels = data.generate(300, 7)
    again, labels_again = data.generate(300, 7)
    other, _ = data.generate(300, 8)
    assert np.array_equal(images, again)
    assert np.array_equal(labels, labels_again)
    assert not np.array_equal(images, other)


def test_every_digit_is_as_frequent_as_any_other_and_pixels_are_from_0_to_1():
    images, labels = data.generate(1000, 0)
    assert (images.shape, images.dtype) == ((1000, 28, 28, 1), np.float32)
    assert np.bincount(labels).tolist() == [100] * 10
    assert images.min() >= 0
    assert images.max() <= 1
    # There are strokes, and most of an image is paper.
    assert (images > 0.5).mean(axis=(1, 2, 3)).min() > 0.01
    assert (images > 0.5).mean() < 0.25


def test_no_test_image_is_one_that_trained_or_validated():
    split = data.prepare("", 1500, 0)
    assert {name: len(labels) for name, (_, labels) in split.items()} == {
        "train": 1200,
        "validation": 300,
        "test": 1000,
    }
    seen = {image.tobytes() for name in ("train", "validation") for image in split[name][0]}
    assert not seen & {image.tobytes() for image in split["test"][0]}


def test_a_linear_model_stays_well_below_the_bar():
    split = data.prepare("", 1500, 0)
    images, labels = (
        np.concatenate([split[name][part] for name in ("train", "validation")]).reshape(1500, -1) for part in (0, 1)
    )
    known = np.column_stack([images, np.ones(len(images))])
    wanted = np.eye(10)[labels.reshape(-1)]
    # Least squares with a little weight decay: the best that a linear model does in one step.
    weights = np.linalg.solve(known.T @ known + 30 * np.eye(785), known.T @ wanted)
    test_images, test_labels = split["test"]
    unknown = np.column_stack([test_images.reshape(len(test_images), -1), np.ones(len(test_images))])
    accuracy = ((unknown @ weights).argmax(axis=1) == test_labels).mean()
    assert 0.5 < accuracy < 0.86


@pytest.fixture
def mnist(tmp_path):
    """Files of MNIST's form: 100 training images, 20 test images."""
    random = np.random.RandomState(0)
    for part, count in (("train", 100), ("t10k", 20)):
        images = random.randint(0, 256, (count, 28, 28)).astype(np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", labels)
    return tmp_path


def write_idx(path, values):
    header = struct.pack(f">I{values.ndim}I", 0x0800 + values.ndim, *values.shape)
    path.write_bytes(header + values.tobytes())


def test_idx_files_are_read_as_they_are(mnist):
    split = data.prepare(str(mnist), 100, 0)
    assert {name: images.shape for name, (images, _) in split.items()} == {
        "train": (80, 28, 28, 1),
        "validation": (20, 28, 28, 1),
        "test": (20, 28, 28, 1),
    }
    assert split["train"][0].max() == 1.0
    assert split["train"][1].dtype == np.int64


def test_packed_files_a_file_in_place_of_its_folder_and_the_layout_of_torchvision_are_read_too(mnist):
    raw = mnist / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in list(mnist.glob("*-ubyte")):
        (raw / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    by_folder = data.prepare(str(mnist), 50, 1)
    by_file = data.prepare(str(raw / "train-images-idx3-ubyte.gz"), 50, 1)
    assert np.array_equal(by_folder["train"][0], by_file["train"][0])


def test_an_npz_file_is_read_with_and_without_a_test_set(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (100, 28, 28)).astype(np.uint8)
    labels = np.arange(100) % 10
    np.savez(tmp_path / "mnist.npz", x_train=images, y_train=labels, x_test=images[:10], y_test=labels[:10])
    np.savez(tmp_path / "alone.npz", x_train=images / 255.0, y_train=labels)
    assert len(data.prepare(str(tmp_path / "mnist.npz"), 50, 0)["test"][1]) == 10
    assert len(data.prepare(str(tmp_path), 50, 0)["test"][1]) == 10
    assert len(data.prepare(str(tmp_path / "alone.npz"), 50, 0)["test"][1]) == 20


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])


def make_a_web_page(path):
    path.write_bytes(b"<!DOCTYPE html><title>404</title>")


def make_a_pointer(path):
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")


def make_damaged_gzip(path):
    path.write_bytes(gzip.compress(path.read_bytes())[:-20])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut_off, "promises 78400 values"),
        (make_a_web_page, "looks like a web page"),
        (make_a_pointer, "Git LFS pointer"),
        (make_damaged_gzip, "gzip file is damaged or cut off"),
        (lambda path: path.write_bytes(b""), "too few for an IDX file"),
        (Path.unlink, "is there without its images"),
        (lambda path: write_idx(path, np.zeros((99, 28, 28), np.uint8)), "labels for 99 images"),
        (lambda path: write_idx(path, np.zeros((100, 32, 32), np.uint8)), "the network takes 28 x 28"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(mnist, damage, words):
    path = mnist / "train-images-idx3-ubyte"
    damage(path)
    with pytest.raises(data.DataError, match=words) as caught:
        data.prepare(str(mnist), 50, 0)
    assert str(mnist) in str(caught.value)


def test_labels_that_are_no_digits_and_too_few_images_are_said(mnist):
    with pytest.raises(data.DataError, match="has 100 images to train with, 1500 were asked for"):
        data.prepare(str(mnist), 1500, 0)
    write_idx(mnist / "train-labels-idx1-ubyte", np.full(100, 10, np.uint8))
    with pytest.raises(data.DataError, match="whole numbers from 0 to 9"):
        data.prepare(str(mnist), 50, 0)


@pytest.mark.parametrize("content", [b"PK\x03\x04 and then nothing", b"no npz at all", b""])
def test_a_damaged_npz_file_is_named(tmp_path, content):
    (tmp_path / "mnist.npz").write_bytes(content)
    with pytest.raises(data.DataError, match="npz file is damaged or no npz file"):
        data.prepare(str(tmp_path / "mnist.npz"), 50, 0)


def test_an_npz_file_of_other_arrays_says_which_it_has(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    with pytest.raises(data.DataError, match="no x_train and y_train, it has: weights"):
        data.prepare(str(tmp_path / "other.npz"), 50, 0)


def test_unusable_data_is_the_users_to_mend_and_no_fault_of_the_environment(smoke, interpreter_with, mnist):
    cut_off(mnist / "train-images-idx3-ubyte")
    ran = smoke("--framework", "torch", "--python", interpreter_with("torch"), "--data", str(mnist))
    assert ran.code == 2
    assert "promises 78400 values" in ran.stdout
    assert "envcheck doctor" not in ran.stdout
