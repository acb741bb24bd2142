"""Torch reshapes on tensors stored in another axis order, with as few permutes as the shapes allow."""

from __future__ import annotations

from edgenet.dtypes import BATCH

from .context import Importer
from .registry import Unsupported
from .values import Value, channels_last, plain

Group = tuple[list[int], list[int]]


def groups(source: tuple[int, ...], target: tuple[int, ...]) -> list[Group]:
    """Split a reshape into the smallest runs of source axes that become runs of target axes; size-1 axes left out.

    Axis numbers count the batch as 0; it is not part of any group.

    >>> groups((-1, 4, 5, 6), (-1, 2, 2, 30))
    [([1], [1, 2]), ([2, 3], [3])]
    """
    left = [i for i in range(1, len(source)) if source[i] != 1]
    right = [i for i in range(1, len(target)) if target[i] != 1]
    found: list[Group] = []
    while left or right:
        if not left or not right:
            raise Unsupported(f"shape {source} does not reshape to {target} sample by sample; keep the batch on axis 0")
        mine, theirs = [left.pop(0)], [right.pop(0)]
        p, q = source[mine[0]], target[theirs[0]]
        while p != q:
            side, sizes, chosen = (left, source, mine) if p < q else (right, target, theirs)
            if not side:
                raise Unsupported(f"shape {source} does not reshape to {target} sample by sample")
            chosen.append(side.pop(0))
            p, q = (p * sizes[chosen[-1]], q) if p < q else (p, q * sizes[chosen[-1]])
        found.append((mine, theirs))
    return found


def place_units(order: list[int], shape: tuple[int, ...]) -> tuple[int, ...]:
    """Stored axes for the non-unit torch axes in `order`: channels last or torch's own if they fit, or units first."""
    for axes in (channels_last(len(shape)), plain(len(shape))):
        if [axis for axis in axes[1:] if shape[axis] != 1] == order:
            return axes
    return (0, *(i for i in range(1, len(shape)) if shape[i] == 1), *order)


def regroup(importer: Importer, value: Value, target: tuple[int, ...]) -> Value:
    """`value` reshaped to the torch shape `target` (batch first, as BATCH, no other unknown).

    Groups of axes that lie together in the stored order stay where they are, so splitting or merging channels, adding
    and dropping size-1 axes, or merging H and W beside the channels needs no permute.
    """
    source = importer.shape(value)
    if not target or target[0] != BATCH:
        raise Unsupported("it moves the batch from axis 0; keep samples on axis 0")
    parts = groups(source, target)
    position = {axis: i for i, axis in enumerate(value.axes)}
    parts.sort(key=lambda part: position[part[0][0]])
    wanted = [axis for mine, _ in parts for axis in mine]
    if [axis for axis in value.axes[1:] if source[axis] != 1] != wanted:
        value = importer.arrange(value, place_units(wanted, source))
    axes = place_units([axis for _, theirs in parts for axis in theirs], target)
    stored = tuple(target[axis] for axis in axes)
    if stored == importer.graph.tensors[value.name].shape and all(len(m) == len(t) == 1 for m, t in parts):
        return Value(value.name, axes)
    if len(target) == 2 and value.rank > 1:
        return Value(importer.emit("flatten", {"x": value.name}, {"start_axis": 1}), axes)
    entries, free = [0], False
    kept = {theirs[0]: mine[0] for mine, theirs in parts if len(mine) == len(theirs) == 1}
    merged = {theirs[0] for mine, theirs in parts if len(theirs) == 1 and len(mine) > 1}
    for place, axis in enumerate(axes[1:], start=1):
        if axis in kept and place < value.rank and value.axes[place] == kept[axis]:
            entries.append(0)
        elif (axis in merged or (axis in kept and not merged and kept[axis] != 1)) and not free:
            entries.append(-1)
            free = True
        else:
            entries.append(target[axis])
    return Value(importer.emit("reshape", {"x": value.name}, {"shape": entries}), axes)
