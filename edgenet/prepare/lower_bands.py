"""Lowering of a segment: for each image and each band the steps of its nodes, on views of rows.

A tensor inside the segment lives in the segment's workspace for the part of a band in which it is used; between bands
only the rows that are needed again exist, in a buffer of their own. Where that takes no more memory, the tensor has its
place in the workspace to itself instead, and these rows move to its front. Each part of a segment has its share of
both, and so has each of the images that are computed together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgenet.dtypes import aligned
from edgenet.graph import Node
from edgenet.prepare.arena import place
from edgenet.prepare.lower_movement import strided_copy
from edgenet.prepare.lowering import ELEMENT_BYTES, Lowering, View
from edgenet.prepare.plan import Operand, Step
from edgenet.prepare.rows import RowInput, height_of, row_padding
from edgenet.prepare.segment import Rows, Segment


@dataclass(frozen=True)
class Inside:
    """A tensor of which only bands exist.

    Bytes of a row; most rows in a band, and where they lie in the workspace; most rows kept between bands, and whether
    these stay in the workspace.
    """

    row: int
    rows: int
    offset: int
    kept: int
    stays: bool


@dataclass(frozen=True)
class Layout:
    """The tensors inside a segment by their node's place in it, and the bytes of its workspace."""

    inside: dict[int, Inside]
    workspace: int


def _can_stay(bands: list[list[Rows]], k: int) -> bool:
    """Whether rows of node k's output are kept, and move in front of where all of them were."""
    rows = [band[k] for band in bands]
    apart = all(each.keep == each.base or each.last - each.keep <= each.keep - each.base for each in rows)
    return apart and any(each.keep < each.last for each in rows)


def layout(segment: Segment, row_bytes: Callable[[str], int]) -> Layout:
    """Places what lives for a part of a band, from the node that makes it to its last reader, or for all bands."""
    bands = [band for part in range(segment.parts) for band in segment.schedule(part)]
    rows = {k: max(band[k].count for band in bands) for k, each in enumerate(segment.nodes) if not each.exit}
    row = {k: row_bytes(segment.nodes[k].node.output) for k in rows}
    sizes = {str(k): rows[k] * row[k] for k in rows}
    kept = {k: max(band[k].first - band[k].base for band in bands) for k in rows}

    def placed(staying: set[int]) -> tuple[dict[str, int], int, int]:
        """Offsets and end of the workspace, and its bytes with those of the rows that are kept elsewhere."""
        everything = (0, len(segment.nodes) - 1)
        lives = {str(k): everything if k in staying else (k, segment.lasts(k)) for k in rows}
        offsets, end = place(sizes, lives)
        return offsets, end, end + sum(aligned(kept[k] * row[k]) for k in rows if k not in staying)

    staying: set[int] = set()
    offsets, end, least = placed(staying)
    for k in sorted(rows, key=lambda k: -kept[k] * row[k]):
        if _can_stay(bands, k):
            found = placed({*staying, k})
            if found[2] <= least:
                staying.add(k)
                offsets, end, least = found
    return Layout({k: Inside(row[k], rows[k], offsets[str(k)], kept[k], k in staying) for k in rows}, end)


class _Bands:
    """Emits the steps of a segment. `lower(node)` adds the steps of a node; `first` is its place in the graph."""

    def __init__(self, segment: Segment, first: int, lowering: Lowering, lower: Callable[[Node], None], images: int):
        self.segment, self.first, self.lowering, self.lower = segment, first, lowering, lower
        self.count, self.together = images, math.gcd(images, segment.together)
        found = layout(segment, lowering.row_bytes)
        self.inside, self.part, parts = found.inside, 0, segment.parts * self.together
        self.workspace_share = aligned(found.workspace)
        self.workspace = lowering.temporary(parts * self.workspace_share) if found.workspace else ""
        self.kept_share = {
            k: aligned(each.kept * each.row) for k, each in self.inside.items() if each.kept and not each.stays
        }
        self.kept = {k: lowering.temporary(parts * size) for k, size in self.kept_share.items()}
        self.images = segment.tensors() - {segment.nodes[k].node.output for k in self.inside}

    def emit(self) -> None:
        """The steps of the first images, and the same for those behind."""
        before = len(self.lowering.steps)
        for image in range(self.together):
            self._image(image)
        steps = self.lowering.steps[before:]
        for image in range(self.together, self.count, self.together):
            temporaries: dict[str, str] = {}
            self.lowering.steps += [self._moved(step, image, temporaries) for step in steps]

    def _image(self, image: int) -> None:
        """The steps of one image."""
        lowering, divided = self.lowering, self.segment.parts * self.together > 1
        for part in range(self.segment.parts):
            self.part, before = image + part, len(lowering.steps)
            for band in self.segment.schedule(part):
                for k in range(len(self.segment.nodes)):
                    with lowering.lasting(f"{self.first + k}.{self.part}" if divided else ""):
                        self._node(k, band, image)
            if divided:
                for step in lowering.steps[before:]:
                    step.chain, step.part = (self.first, 0), self.part

    def _moved(self, step: Step, images: int, temporaries: dict[str, str]) -> Step:
        """The step for an image so many behind. `temporaries`: those of that image, where it has its own."""
        slots = dict(step.slots)
        for slot, value in step.slots.items():
            if not isinstance(value, Operand):
                continue
            name, offset = value.tensor, value.offset
            if name in self.images:
                offset += images * self.lowering.shape(name)[1] * self.lowering.row_bytes(name)
            elif step.chain is None and name not in (self.workspace, *self.kept.values()):
                if name not in temporaries:
                    temporaries[name] = self.lowering.temporary(self.lowering.size(name))
                name = temporaries[name]
            slots[slot] = Operand(name, offset, value.write)
        return replace(step, slots=slots, chain=step.chain and (self.first, images))

    def _node(self, k: int, band: list[Rows], image: int) -> None:
        rows, segment = band[k], self.segment
        if rows.first > rows.base and self._used(k, band) and not self.inside[k].stays:
            self._copy(k, rows.first - rows.base, self._kept(k), self._row(k, 0))
        if rows.last > rows.first:
            before = len(self.lowering.steps)
            original = segment.nodes[k].node
            self.lower(self._banded(k, band, image))
            for number, step in enumerate(self.lowering.steps[before:]):
                step.output, step.layer = original.output, (self.first + k, number)
        for j, inside in self.inside.items():
            kept, row = band[j], band[j].keep - band[j].base
            moves = kept.last > kept.keep and (row or not inside.stays)
            if moves and segment.lasts(j) == k and self._used(j, band):
                to = self._row(j, 0) if inside.stays else self._kept(j)
                self._copy(j, kept.last - kept.keep, self._row(j, row), to)

    def _used(self, k: int, band: list[Rows]) -> bool:
        """Whether the band's rows of an inside tensor are in the workspace; else they stay where they are kept."""
        return k in self.inside and (band[k].last > band[k].first or self.segment.reads(k, band))

    def _row(self, k: int, row: int) -> tuple[str, int]:
        """Where a row of the band lies in the workspace."""
        inside = self.inside[k]
        return self.workspace, self.part * self.workspace_share + inside.offset + row * inside.row

    def _kept(self, k: int) -> tuple[str, int]:
        """Where rows lie between bands."""
        return self.kept[k], self.part * self.kept_share[k]

    def _copy(self, k: int, count: int, source: tuple[str, int], target: tuple[str, int]) -> None:
        """Copy `count` rows of an inside tensor."""
        lowering = self.lowering
        before = len(lowering.steps)
        lowering.node = self.segment.nodes[k].node
        x, y = lowering.read(*source), lowering.write(*target)
        strided_copy(lowering, x, y, (count * self.inside[k].row,), [1], [1], 1)
        for step in lowering.steps[before:]:
            step.operation, step.layer = "copy", (self.first + k, -1)

    def _banded(self, k: int, band: list[Rows], image: int) -> Node:
        """The node that makes this band's rows from views of rows."""
        each, rows = self.segment.nodes[k], band[k]
        node, inputs, attributes = each.node, dict(each.node.inputs), each.node.attributes
        for role, name, how in each.inputs:
            inputs[role] = self._input(role, name, how, rows, band, image)
            if role == "x" and "padding" in attributes:
                height = height_of(self.lowering.tensors[name], how.planes)
                padding = row_padding(how, attributes["padding"], rows.first, rows.last, height)
                attributes = {**attributes, "padding": padding}
        output = self._view("out", node.output, rows.first, rows.last, band, image)
        return replace(node, inputs=inputs, output=output, attributes=attributes)

    def _input(self, role: str, name: str, how: RowInput, rows: Rows, band: list[Rows], image: int) -> str:
        tensor = self.lowering.tensors[name]
        if how.whole:
            return self._view(role, name, 0, tensor.shape[1], band, image)
        height = height_of(tensor, how.planes)
        first, end = how.first(rows.first), how.end(rows.last, height)
        if how.planes:
            return self._planes(role, name, first, end, image)
        return self._view(role, name, first, end, band, image)

    def _view(self, role: str, name: str, first: int, end: int, band: list[Rows], image: int) -> str:
        tensor, row = self.lowering.tensors[name], self.lowering.row_bytes(name)
        k = self.segment.place.get(name, -1)
        if k in self.inside:
            start = self.part * self.workspace_share + self.inside[k].offset
            base, offset = self.workspace, start + (first - band[k].base) * row
        else:
            base, offset = name, (image * tensor.shape[1] + first) * row
        view = View(base, offset, pixel_bytes=self.lowering.pixel_bytes(name))
        shape = (1, end - first, *tensor.shape[2:])
        return self.lowering.view(f"{name}[{role}]", replace(tensor, shape=shape), view)

    def _planes(self, role: str, name: str, first: int, end: int, image: int) -> str:
        tensor = self.lowering.tensors[name]
        _, channels, height, width = tensor.shape
        row = width * ELEMENT_BYTES[tensor.dtype]
        view = View(name, (image * channels * height + first) * row, height * row)
        shape = (1, channels, end - first, width)
        return self.lowering.view(f"{name}[{role}]", replace(tensor, shape=shape), view)


def lower_segment(segment: Segment, first: int, lowering: Lowering, images: int, lower: Callable[[Node], None]) -> None:
    """Add the steps of a segment whose first node is the graph's node `first`, for `images` images.

    `lower` adds the steps of one node whose tensors the lowering knows.
    """
    _Bands(segment, first, lowering, lower, images).emit()
