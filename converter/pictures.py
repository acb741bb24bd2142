"""How pictures become the input of a network: what is said of it, completed from the input, and held against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from edgenet.dtypes import BATCH
from edgenet.errors import ConversionError, ModelFormatError
from edgenet.graph import Graph, Preprocessing
from edgenet.validate import at_sizes
from edgenet.validate_metadata import CHANNELS, check_preprocessing

FIELDS = tuple(field.name for field in fields(Preprocessing))
RESIZE, CROP = 256, 224
"""The usual relation of both."""
GREY = {"mean": (0.5,), "std": (0.5,), "color": "L"}
"""What the zoo takes for pictures of one channel."""


def complete(graph: Graph, given: Preprocessing | Mapping[str, Any], known: Preprocessing | None) -> Preprocessing:
    """`given`, or where it is a mapping of some fields of Preprocessing: these, and the others so that they fit.

    The others are those of `known`, what the zoo knows; else the crop is the network's input, the resize in the usual
    relation to it, and the channels are its own. Raises ConversionError for values that cannot be, and
    where the network does not take what comes out.
    """
    shape = _picture_shape(graph)
    found = given if isinstance(given, Preprocessing) else _completed(shape, given, known)
    channels = CHANNELS.get(found.color, shape[1])
    if channels != shape[1]:
        gives = f"{channels} channel{'s' if channels > 1 else ''}"
        raise ConversionError(f"color {found.color} gives {gives}, and the network's input is {_size(shape)}.")
    try:
        check_preprocessing(found)
    except ModelFormatError as error:
        raise ConversionError(str(error).replace("preprocessing", "Preprocessing", 1)) from None
    if not all(0 <= mean <= 1 for mean in found.mean) or not all(std <= 1 for std in found.std):
        shown = f"mean {_numbers(found.mean)} and std {_numbers(found.std)}"
        raise ConversionError(f"{shown} are not those of pixels in 0..1: divide values for 0..255 by 255.")
    if found.crop is not None and shape[2:] != (found.crop, found.crop) and not _takes(graph, shape, found.crop):
        pictures = f"{found.crop}x{found.crop}"
        raise ConversionError(
            f"A crop of {found.crop} gives pictures of {pictures}, and the network takes {_size(shape)} alone."
        )
    return found


def _picture_shape(graph: Graph) -> tuple[int, ...]:
    """Shape (N, C, H, W) of the input that pictures become. Raises ConversionError where there is none."""
    shapes = [graph.tensors[name].shape for name in graph.inputs]
    for shape in shapes:
        if len(shape) == 4:
            return shape
    listed = ", ".join(_size(shape) for shape in shapes)
    raise ConversionError(f"The network's input {listed} is no picture; leave out the options of pictures.")


def _completed(shape: tuple[int, ...], given: Mapping[str, Any], known: Preprocessing | None) -> Preprocessing:
    unknown = [name for name in given if name not in FIELDS]
    if unknown:
        raise ConversionError(f"Preprocessing has no {', '.join(unknown)}. It has {', '.join(FIELDS)}.")
    _, channels, *sides = shape
    base = asdict(known or Preprocessing(RESIZE, CROP))
    crop = given.get("crop", base["crop"] if known else min(sides))
    if isinstance(crop, int) and base["resize"] is not None and base["crop"] is not None:
        base["resize"] = round(base["resize"] * crop / base["crop"])
    base["crop"] = crop
    color = given.get("color", "L" if channels == 1 else base["color"])
    if CHANNELS.get(color) == 1 and base["color"] != "L":
        base |= GREY
    return Preprocessing(**{**base, "color": color, **given})


def _takes(graph: Graph, shape: tuple[int, ...], crop: int) -> bool:
    """Whether the network takes squares of side `crop` where its inputs are declared with `shape`."""
    declared = {name: graph.tensors[name] for name in graph.inputs}
    square = (1, shape[1], crop, crop)
    try:
        at_sizes(graph, {name: square if t.shape == shape else t.concrete(1) for name, t in declared.items()})
    except ModelFormatError:
        return False
    return True


def _size(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape[1:] if size != BATCH)


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
