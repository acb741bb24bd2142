"""Calibration data in every form, and what is said about data that does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import edgenet
from edgenet import images
from edgenet.converter import convert
from edgenet.converter.samples import LIMIT, calibration_samples
from edgenet.dtypes import BATCH
from edgenet.errors import ConversionError, InputError
from edgenet.graph import Graph, Tensor

PREPROCESSING = edgenet.Preprocessing(10, 8)


def graph(*shapes: tuple[int, ...]) -> Graph:
    """A graph of inputs alone."""
    found = Graph()
    for i, shape in enumerate(shapes or ((3, 8, 8),)):
        found.tensors[f"x{i}"] = Tensor(f"x{i}", (BATCH, *shape))
        found.inputs.append(f"x{i}")
    return found


def picture(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (12, 14, 3)).astype(np.uint8)


def test_a_folder_of_images_and_its_subfolders(tmp_path):
    (tmp_path / "sub").mkdir()
    Image.fromarray(picture(0)).save(tmp_path / "b.png")
    Image.fromarray(picture(1)).save(tmp_path / "sub" / "a.PNG")
    (tmp_path / "notes.txt").write_text("not a picture")
    samples = calibration_samples(graph(), tmp_path, PREPROCESSING)
    assert len(samples) == 2
    expected = [images.preprocess(Image.fromarray(picture(i)), PREPROCESSING) for i in (0, 1)]
    for _ in range(2):  # samples can be read again
        for got, want in zip(samples, expected, strict=True):
            np.testing.assert_array_equal(got["x0"], want)


def test_of_many_images_an_even_choice_is_taken(tmp_path):
    for i in range(2 * LIMIT):
        (tmp_path / f"{i:04}.jpg").touch()
    samples = calibration_samples(graph(), str(tmp_path), PREPROCESSING)
    assert len(samples) == LIMIT
    assert [path.name for path in samples._items[:3]] == ["0000.jpg", "0002.jpg", "0004.jpg"]


@pytest.mark.parametrize("kind", ["array", "PIL", "path"])
def test_lists_of_images(tmp_path, kind):
    Image.fromarray(picture()).save(tmp_path / "p.png")
    item = {"array": picture(), "PIL": Image.fromarray(picture()), "path": str(tmp_path / "p.png")}[kind]
    (sample,) = calibration_samples(graph(), [item], PREPROCESSING)
    np.testing.assert_array_equal(sample["x0"], images.preprocess(Image.fromarray(picture()), PREPROCESSING))


@pytest.mark.parametrize("form", ["batch", "tensor", "list", "unbatched", "generator", "pairs", "mapping"])
def test_arrays_and_tensors(form):
    x = np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)
    data = {
        "batch": x,
        "tensor": torch.from_numpy(x),
        "list": [x[:2], x[2:]],
        "unbatched": list(x),
        "generator": (torch.from_numpy(part) for part in x),
        "pairs": torch.utils.data.DataLoader([(torch.from_numpy(part), 3) for part in x], batch_size=3),
        "mapping": [{"x0": x}],
    }[form]
    samples = calibration_samples(graph(), data, None)
    assert all(sample["x0"].dtype == np.float32 and sample["x0"].ndim == 4 for sample in samples)
    np.testing.assert_array_equal(np.concatenate([sample["x0"] for sample in samples]), x)


def test_several_inputs():
    samples = calibration_samples(graph((3, 8, 8), (5,)), [(np.zeros((2, 3, 8, 8)), np.ones((2, 5)))], None)
    assert {name: array.shape for name, array in samples[0].items()} == {"x0": (2, 3, 8, 8), "x1": (2, 5)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "int8 needs calibration data"),
        ([], "calibration data is empty"),
        ("/no/such/folder", "There is no folder"),
        (3, "must be a folder"),
        ([np.zeros((3, 9, 9))], r"has shape \(1, 3, 9, 9\); it must be \(N, 3, 8, 8\)"),
        ([np.full((3, 8, 8), np.nan)], "NaN or infinite"),
        ([object()], "is a object, not an array"),
        ([{"other": np.zeros((3, 8, 8))}], "must hold the inputs x0"),
    ],
)
def test_data_that_does_not_fit(data, message):
    with pytest.raises(ConversionError, match=message):
        list(calibration_samples(graph(), data, None))


def test_an_empty_folder(tmp_path):
    with pytest.raises(ConversionError, match="holds no images"):
        calibration_samples(graph(), tmp_path, PREPROCESSING)


def test_images_without_preprocessing():
    with pytest.raises(ConversionError, match="needs preprocessing"):
        list(calibration_samples(graph(), [picture()], None))


def test_a_truncated_image_is_named(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "p.png")
    data = (tmp_path / "p.png").read_bytes()
    (tmp_path / "p.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"p\.png"):
        list(calibration_samples(graph(), tmp_path, PREPROCESSING))


def test_convert_without_calibration():
    with pytest.raises(ConversionError, match="int8 needs calibration data"):
        convert("tiny_separable", precision="int8")
