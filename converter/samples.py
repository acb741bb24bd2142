"""Calibration data in all the forms users have it, as samples that the quantizer takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgenet.dtypes import BATCH
from edgenet.errors import ConversionError, InputError
from edgenet.graph import Graph, Preprocessing

IMAGES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
LIMIT = 256
"""Images taken from a folder: evenly spread over its sorted files."""

Sample = dict[str, np.ndarray]


class Samples(Sequence[Sample]):
    """Samples by index, each made when it is asked for: arrays by graph input, batch first."""

    def __init__(self, items: Sequence[Any], make: Callable[[Any], Sample]):
        self._items, self._make = items, make

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        return self._make(self._items[index])

    def __iter__(self) -> Iterator[Sample]:
        return map(self._make, self._items)


def calibration_samples(graph: Graph, calibration: Any, preprocessing: Preprocessing | None) -> Samples:
    """Samples of `calibration`: a folder of images, a list of images (path, PIL, HxWx3 uint8) or arrays, a batch, or
    an iterable of tensors or of (tensor, target) pairs such as a DataLoader.

    Arrays of the input's rank are batches; one axis less, single samples. Raises ConversionError when there is nothing.
    """
    if calibration is None:
        raise ConversionError("int8 needs calibration data: pass a folder of images or some typical inputs.")
    items = _items(calibration)
    if len(items) == 0:
        raise ConversionError("The calibration data is empty. Give at least one image or input; about 32 are good.")
    return Samples(items, lambda item: make_sample(graph, item, preprocessing))


def _items(calibration: Any) -> Sequence[Any]:
    if isinstance(calibration, str | os.PathLike):
        return picture_files(Path(calibration), LIMIT)
    if hasattr(calibration, "detach") or isinstance(calibration, np.ndarray):
        return [calibration]
    if isinstance(calibration, Mapping) or not isinstance(calibration, Iterable):
        raise ConversionError("calibration must be a folder of images, or a list or iterable of images or inputs.")
    return calibration if isinstance(calibration, list | tuple) else list(calibration)


def picture_files(folder: Path, limit: int) -> list[Path]:
    """At most `limit` image files of a folder and its subfolders, evenly spread. Raises ConversionError for none."""
    if not folder.is_dir():
        raise ConversionError(f"There is no folder {folder} of images.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGES and path.is_file())
    if not found:
        raise ConversionError(f"The folder {folder} holds no images ({', '.join(sorted(IMAGES))}).")
    return [found[i * len(found) // min(limit, len(found))] for i in range(min(limit, len(found)))]


def _is_image(item: Any) -> bool:
    if isinstance(item, str | os.PathLike) or type(item).__module__.split(".")[0] == "PIL":
        return True
    return isinstance(item, np.ndarray) and item.dtype == np.uint8 and item.ndim in (2, 3)


def _picture(item: Any, preprocessing: Preprocessing | None) -> np.ndarray:
    if preprocessing is None:
        raise ConversionError(
            "Taking images needs preprocessing: convert the network with --mean and --std, or with preprocessing=."
        )
    from edgenet import images

    return images.preprocess(images.load_image(item), preprocessing)


def make_sample(graph: Graph, item: Any, preprocessing: Preprocessing | None) -> Sample:
    """One sample by input name; what follows the inputs in a tuple (labels) is left out."""
    parts = parts_of(graph, item)
    if len(parts) < len(graph.inputs) or any(part is None for part in parts[: len(graph.inputs)]):
        raise ConversionError(f"Each sample must hold the inputs {', '.join(graph.inputs)}.")
    arrays = zip(graph.inputs, parts, strict=False)
    return {name: _array(graph, name, part, preprocessing) for name, part in arrays}


def parts_of(graph: Graph, sample: Any) -> list[Any]:
    """What a sample holds: by input for a mapping (None where it lacks one), else in its own order."""
    if isinstance(sample, Mapping):
        return [sample.get(name) for name in graph.inputs]
    return list(sample) if isinstance(sample, list | tuple) else [sample]


def numbers(part: Any, name: str) -> np.ndarray:
    """An array or tensor for input `name` as float32. InputError for what is none."""
    try:
        array = part.detach().cpu().numpy() if hasattr(part, "detach") else np.asarray(part)
    except (TypeError, ValueError):
        array = None
    if array is None or array.dtype.kind not in "fiub":
        raise InputError(f"A sample for {name} is a {type(part).__name__}, not an array of numbers.")
    return array.astype(np.float32)


def require_fit(graph: Graph, name: str, array: np.ndarray) -> None:
    """InputError unless `array` has the shape of input `name`, any number of samples, and all of it is finite."""
    shape = graph.tensors[name].shape
    if array.ndim != len(shape) or any(s not in (BATCH, n) for s, n in zip(shape, array.shape, strict=True)):
        expected = ", ".join("N" if size == BATCH else str(size) for size in shape)
        raise InputError(f"A sample for {name} has shape {array.shape}; it must be ({expected}).")
    if not np.isfinite(array).all():
        raise InputError(f"A sample for {name} holds NaN or infinite values.")


def _array(graph: Graph, name: str, part: Any, preprocessing: Preprocessing | None) -> np.ndarray:
    if _is_image(part):
        return _picture(part, preprocessing)
    try:
        array = numbers(part, name)
        if array.ndim == len(graph.tensors[name].shape) - 1:
            array = array[None]
        require_fit(graph, name, array)
    except InputError as error:
        raise ConversionError(str(error)) from error
    return array
