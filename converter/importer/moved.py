"""Samples that a module moves from axis 0, or makes one axis of with others.

`nn.MultiheadAttention` puts the sequence before the batch; patches and windows become samples by `view(B * n, ...)`.
The graph keeps samples on axis 0: such a tensor is a `Moved`, a value with its samples first, and which of its axes
make up each of torch's. What is then computed for each sample on its own is computed on that value.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgenet.dtypes import BATCH

from .context import Importer
from .layout import relabel
from .registry import Unsupported
from .regroup import regroup
from .values import Value

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Moved:
    """A tensor whose torch axis i is made of the torch axes groups[i] of `value`, which has samples on axis 0."""

    value: Value
    groups: Groups
    expanded: tuple[int, ...] | None = None
    """The torch shape, as `Importer.extent` counts it, that a pending broadcast gives it."""

    @property
    def rank(self) -> int:
        return len(self.groups)

    @property
    def samples(self) -> int:
        """The torch axis that samples are in."""
        return next(i for i, group in enumerate(self.groups) if 0 in group)


def sizes_of(importer: Importer, x: Moved) -> list[int]:
    """The torch shape, samples counted as `Importer.extent` does."""
    stored = [importer.extent(importer.batch), *importer.shape(x.value)[1:]]
    return [math.prod(stored[axis] for axis in group) for group in x.groups]


def distribute(axes: Sequence[tuple[int, int]], target: Sequence[int]) -> list[list[tuple[int, int]]] | None:
    """Row-major pieces of `axes`, pairs of (axis, size), that make up each size of `target`; axis 0 is never divided.

    None where an axis would have to be divided unevenly.

    >>> distribute([(1, 10), (0, 7), (2, 32)], [10, 28, 8])
    [[(1, 10)], [(0, 7), (2, 4)], [(2, 8)]]
    """
    left = deque(axes)
    found: list[list[tuple[int, int]]] = []
    for need in target:
        pieces: list[tuple[int, int]] = []
        while left and left[0][1] == 1:
            pieces.append(left.popleft())
        while need > 1:
            if not left:
                return None
            axis, size = left.popleft()
            if need % size == 0:
                pieces.append((axis, size))
                need //= size
            elif size % need == 0 and axis != 0:
                pieces.append((axis, need))
                left.appendleft((axis, size // need))
                need = 1
            else:
                return None
        found.append(pieces)
    if found:
        found[-1].extend(left)
    return found


def _renumber(importer: Importer, x: Moved, pieces: Sequence[Sequence[tuple[int, int]]]) -> Moved:
    """`x` with the axes of its value divided into `pieces`, listed by torch axis in torch's order."""
    parts: dict[int, list[int]] = {axis: [] for axis in range(x.value.rank)}
    for group in pieces:
        for axis, size in group:
            parts[axis].append(size)
    first, shape = {0: 0}, [BATCH]
    for axis in range(1, x.value.rank):
        first[axis] = len(shape)
        shape.extend(parts[axis])
    groups = []
    for group in pieces:
        groups.append(tuple(first[axis] for axis, _ in group))
        for axis, _ in group:
            first[axis] += axis > 0
    return homed(importer, regroup(importer, x.value, tuple(shape)), groups)


def homed(importer: Importer, value: Value, groups: Sequence[tuple[int, ...]]) -> Moved:
    """A `Moved`; a single sample, which has no place in torch's order, in the first axis."""
    if not importer.single:
        return Moved(value, tuple(groups))
    first, *others = (tuple(axis for axis in group if axis) for group in groups)
    return Moved(value, ((0, *first), *others))


def merged(importer: Importer, x: Moved) -> Moved:
    """`x` with one axis of its value, behind the samples in torch's order, for each torch axis.

    The axis with the samples has one for what lies before them in it and one for what lies behind, where that is more
    than one value.
    """
    order = [0, *(axis for group in x.groups for axis in group if axis)]
    value = relabel(x.value, order)
    shape = [1, *importer.shape(value)[1:]]
    sizes, groups, place = [BATCH], [], 1
    for group in x.groups:
        runs = [group] if 0 not in group else [group[: group.index(0)], group[group.index(0) + 1 :]]
        numbers = []
        for i, run in enumerate(runs):
            size = math.prod(shape[place : place + len(run)])
            place += len(run)
            if 0 in group and i:
                numbers.append(0)
            if 0 not in group or size > 1:
                numbers.append(len(sizes))
                sizes.append(size)
        groups.append(tuple(numbers))
    return Moved(regroup(importer, value, tuple(sizes)), tuple(groups))


def settled(importer: Importer, x: Moved) -> Value | Moved:
    """`x` as an ordinary value, if its samples are an axis of their own, on axis 0."""
    if 0 not in x.groups[0] or any(importer.shape(x.value)[axis] != 1 for axis in x.groups[0] if axis):
        return x
    if x.groups[0] != (0,) or any(len(group) != 1 for group in x.groups):
        x = merged(importer, x)
    return relabel(x.value, [group[0] for group in x.groups])


def as_moved(x: Value | Moved) -> Moved:
    """An ordinary value as one whose samples may move."""
    return x if isinstance(x, Moved) else Moved(x, tuple((axis,) for axis in range(x.rank)))


def reshaped(importer: Importer, x: Moved, target: Sequence[Any]) -> Value | Moved:
    """`x` with the torch shape `target`, in row-major order. Unsupported where that would divide samples among axes."""
    wanted = [importer.extent(size) for size in target]
    for attempt in range(2):
        if attempt:
            x = merged(importer, Moved(x.value, (tuple(axis for group in x.groups for axis in group),)))
        stored = [importer.extent(importer.batch), *importer.shape(x.value)[1:]]
        pieces = distribute([(axis, stored[axis]) for group in x.groups for axis in group], wanted)
        if pieces is not None:
            return settled(importer, _renumber(importer, x, pieces))
    raise Unsupported("it mixes samples with other values in one axis; keep samples apart")
