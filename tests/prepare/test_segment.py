"""Rows of a segment: every row is made once, in time, and lies in the band's buffer when it is read."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from edgenet.graph import Node, Tensor
from edgenet.prepare.lower_bands import Layout, layout
from edgenet.prepare.rows import RowInput, row_bytes
from edgenet.prepare.segment import RowNode, Rows, Segment
from tests.prepare.test_arena import assert_disjoint


@dataclass(frozen=True)
class Drawn:
    """A chain of windows over rows, each also reading an earlier tensor of the same height where `skip` allows."""

    height: int
    windows: tuple[tuple[int, int, int], ...]
    skips: tuple[bool, ...]
    exits: tuple[bool, ...]
    rows: int


windows = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(0, 4)).filter(lambda w: w[2] < w[0])
chains = st.integers(1, 6).flatmap(
    lambda n: st.builds(
        Drawn,
        st.integers(1, 40),
        st.tuples(*[windows] * n),
        st.tuples(*[st.booleans()] * n),
        st.tuples(*[st.booleans()] * n),
        st.integers(1, 9),
    )
)


def build(drawn: Drawn, parts: int = 1) -> tuple[Segment, dict[str, Tensor]]:
    tensors, nodes, heights = {"x": Tensor("x", (1, drawn.height, 3, 2))}, [], [drawn.height]
    names = ["x"]
    for i, ((extent, stride, before), skip, leaves) in enumerate(
        zip(drawn.windows, drawn.skips, drawn.exits, strict=True)
    ):
        height = (heights[-1] + 2 * before - extent) // stride + 1
        if height < 1 or (height - 1) * stride - before >= heights[-1]:
            break
        inputs = [("x", names[-1], RowInput(extent, stride, before))]
        same = [name for name, size in zip(names[:-1], heights, strict=False) if size == height]
        if skip and same:
            inputs.append(("residual", same[0], RowInput()))
        node = Node("conv2d", f"n{i}", {role: name for role, name, _ in inputs}, f"t{i}")
        tensors[node.output] = Tensor(node.output, (1, height, 3, 2))
        nodes.append(RowNode(node, tuple(inputs), height, leaves))
        names.append(node.output)
        heights.append(height)
    if nodes:
        nodes[-1] = RowNode(nodes[-1].node, nodes[-1].inputs, nodes[-1].height, True)
    return Segment(nodes, tensors, drawn.rows, parts), tensors


@settings(deadline=None)
@given(chains)
def test_rows_are_made_once_and_are_there_when_read(drawn: Drawn):
    segment, tensors = build(drawn)
    if not segment.nodes:
        return
    places = layout(segment, lambda name: row_bytes(tensors[name]))
    bands = list(segment.schedule())
    assert len(bands) == segment.bands
    made = check(segment, places, bands)
    assert all(made[k] == each.height for k, each in enumerate(segment.nodes) if each.exit)
    lives = {
        k: (0, len(segment.nodes) - 1) if each.stays else (k, segment.lasts(k)) for k, each in places.inside.items()
    }
    assert_disjoint([(each.offset, each.rows * each.row, *lives[k]) for k, each in places.inside.items()])
    for k, each in places.inside.items():
        moved = [(rows.keep - rows.base, rows.last - rows.keep) for rows in (band[k] for band in bands)]
        assert not each.stays or all(row == 0 or count <= row for row, count in moved)


@settings(deadline=None)
@given(chains, st.integers(2, 4))
def test_parts_make_all_that_they_read_and_together_every_row(drawn: Drawn, parts: int):
    segment, tensors = build(replace(drawn, exits=(False,) * len(drawn.exits)), parts)
    if not segment.nodes or not segment.connected():
        return
    places = layout(segment, lambda name: row_bytes(tensors[name]))
    end, rows = 0, [0] * len(segment.nodes)
    for part in range(parts):
        bands = list(segment.schedule(part))
        assert len(bands) <= segment.bands
        if bands:
            assert bands[0][-1].first == end
            made = check(segment, places, bands)
            end = made[-1]
            rows = [count + last - each.first for count, last, each in zip(rows, made, bands[0], strict=True)]
    assert end == segment.nodes[-1].height
    assert segment.made_again() == [
        max(count - each.height, 0) for count, each in zip(rows, segment.nodes, strict=True)
    ]


def check(segment: Segment, places: Layout, bands: list[list[Rows]]) -> list[int]:
    """Assert that rows are made in order, and are there when they are read; up to which row each node made them."""
    made = [rows.first for rows in bands[0]]
    for band in bands:
        for k, (each, rows) in enumerate(zip(segment.nodes, band, strict=True)):
            assert rows.first == made[k]
            assert rows.base <= rows.first <= rows.last <= each.height
            made[k] = rows.last
            if k in places.inside:
                assert rows.count <= places.inside[k].rows
                assert rows.first - rows.base <= places.inside[k].kept
            for _, name, how in each.inputs:
                source = segment.place.get(name)
                if source is not None and rows.last > rows.first:
                    needed = how.first(rows.first), how.end(rows.last, segment.nodes[source].height)
                    assert needed[1] <= made[source]
                    assert segment.nodes[source].exit or band[source].base <= needed[0]
    return made
