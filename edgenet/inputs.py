"""What a caller passes to a network, as checked arrays by input name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgenet.dtypes import BATCH, DTYPES
from edgenet.errors import InputError

Declared = Mapping[str, tuple[tuple[int, ...], str]]
"""Shape and dtype of each input, by name, in order."""
_PICTURE_CHANNELS = 4
"""At most; axes of other sizes may be anything."""


def arrays_by_name(declared: Declared, inputs: tuple[Any, ...]) -> dict[str, np.ndarray]:
    """C-contiguous arrays for arrays in order, or for one mapping by input name; other float types are converted.

    All have the declared number of dimensions and the same batch where it is symbolic, none is empty.
    Raises InputError.
    """
    if len(inputs) == len(declared) == 1 and not isinstance(inputs[0], Mapping):
        [name] = declared
        return {name: _array(name, inputs[0], *declared[name])}
    names = list(declared)
    if len(inputs) == 1 and isinstance(inputs[0], Mapping):
        given = dict(inputs[0])
        if set(given) != set(names):
            raise InputError(f"The network's inputs are {', '.join(names)}, not {', '.join(map(str, given))}.")
    elif len(inputs) == len(names):
        given = dict(zip(names, inputs, strict=True))
    else:
        count = f"{len(names)} input{'s' if len(names) != 1 else ''}"
        raise InputError(f"The network takes {count} ({', '.join(names)}), not {len(inputs)}.")
    arrays = {name: _array(name, given[name], *declared[name]) for name in names}
    batches = {array.shape[0] for name, array in arrays.items() if declared[name][0][0] == BATCH}
    if len(batches) > 1:
        raise InputError(f"The inputs have different batch sizes: {sorted(batches)}.")
    return arrays


def _array(name: str, value: Any, shape: tuple[int, ...], type_name: str) -> np.ndarray:
    dtype = DTYPES[type_name]
    if type(value) is np.ndarray and value.dtype == dtype and value.flags.c_contiguous:
        array = value
    else:
        try:
            array = np.asarray(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"Input {name} is not an array: {error}.") from None
        if array.dtype != dtype and array.dtype.kind != "f":
            raise InputError(f"Input {name} must be {type_name}, not {array.dtype}.")
        array = array.astype(dtype, order="C", copy=False)
    if array.ndim != len(shape):
        wanted = "x".join("batch" if size == BATCH else str(size) for size in shape)
        given = "x".join(map(str, array.shape)) or "a scalar"
        raise InputError(f"Input {name} must have shape {wanted}, not {given}.")
    if array.size == 0:
        raise InputError(f"Input {name} is empty: its shape is {'x'.join(map(str, array.shape))}.")
    return array


def channels_last(declared: Declared, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What to say of a picture whose channels are its last axis, where the network takes them first; else ""."""
    for name, (shape, _) in declared.items():
        given = shapes[name]
        if len(shape) == 4 and shape[1] <= _PICTURE_CHANNELS and given[1] != shape[1] == given[3]:
            first = "x".join(map(str, ("batch", given[3], given[1], given[2])))
            return f" Channels come before height and width, as in PyTorch: transpose {name} to {first}."
    return ""
