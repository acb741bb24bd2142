"""The partition of a matrix product: its units are all pixels and panels, and threads have as much of them each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenet.prepare.partition import partition


@given(
    pixels=st.integers(1, 4000),
    tile=st.sampled_from([(6, 5), (8, 4), (14, 7), (4, 3)]),
    panels=st.integers(1, 80),
    depth=st.integers(1, 1024),
    threads=st.integers(1, 4),
    groups=st.integers(1, 3),
    most_pixels=st.sampled_from([1 << 30, 24, 96]),
    cache=st.sampled_from([0, 1 << 12, 1 << 19]),
)
def test_blocks_and_spans_cover_everything(pixels, tile, panels, depth, threads, groups, most_pixels, cache):
    rows, second = tile
    x_bytes, weights_bytes = pixels * depth, panels * 16 * depth
    part = partition(
        pixels, rows, second, panels, 2 * depth, x_bytes, weights_bytes, threads, most_pixels, groups, cache
    )
    assert 1 <= part.blocks <= -(-pixels // part.quantum)
    assert (part.spans - 1) * part.span < panels <= part.spans * part.span
    assert part.units == part.blocks * part.spans * groups
    assert part.most_pixels(pixels) <= max(most_pixels, rows) + part.quantum


@pytest.mark.parametrize(
    ("arguments", "blocks"),
    [
        pytest.param((784, 6, 5, 12, 192, 25088, 6144, 2, 1024), 10, id="nine large units"),
        pytest.param((196, 4, 3, 4, 1152, 75264, 24576, 2), 18, id="many small blocks"),
        pytest.param((196, 4, 3, 24, 216, 12544, 24576, 2), 4, id="few large blocks"),
        pytest.param((49, 4, 3, 10, 1740, 28224, 92160, 2), 7, id="few tiles"),
        pytest.param((196, 6, 5, 32, 6144, 401408, 1048576, 2), 8, id="tiles of six and five do not make up 19"),
    ],
)
def test_two_threads_have_as_many_blocks(arguments, blocks):
    """Unless blocks would become so small that many of their tiles were not full. Layers of MobileNets."""
    part = partition(*arguments)
    assert part.by_panel == 0
    assert part.blocks == blocks


@pytest.mark.parametrize(
    ("pixels", "threads", "quantum"),
    [
        pytest.param(12544, 1, 6, id="many"),
        pytest.param(12544, 2, 6, id="many for each of two threads"),
        pytest.param(1000, 2, 1, id="too few for each of two"),
        pytest.param(196, 1, 1, id="few"),
    ],
)
def test_blocks_of_many_tiles_begin_with_a_whole_one(pixels, threads, quantum):
    assert partition(pixels, 6, 5, 6, 192, pixels * 64, 6144, threads).quantum == quantum


@pytest.mark.parametrize(
    ("arguments", "cache", "blocks", "by_panel"),
    [
        pytest.param((49, 6, 5, 10, 11520, 188160, 614400, 2), 0, 9, 0, id="cache unknown"),
        pytest.param((49, 6, 5, 10, 11520, 188160, 614400, 2), 1 << 20, 9, 0, id="weights that stay in the cache"),
        pytest.param((49, 6, 5, 10, 11520, 188160, 614400, 2), 1 << 19, 2, 0, id="a block for each thread"),
        pytest.param((196, 6, 5, 32, 6144, 401408, 1048576, 2), 1 << 19, 4, 0, id="input that takes a quarter"),
        pytest.param((49, 6, 5, 80, 3840, 62720, 1638400, 2), 1 << 19, 2, 0, id="weights that outweigh the input"),
        pytest.param((49, 6, 5, 20, 7680, 62720, 1638400, 2), 1 << 19, 5, 1, id="products faster than a slower cache"),
        pytest.param((49, 6, 5, 80, 3840, 62720, 1638400, 4), 1 << 19, 2, 1, id="few tiles for each of four threads"),
    ],
)
def test_weights_that_do_not_stay_in_the_cache_are_read_seldom(arguments, cache, blocks, by_panel):
    found = partition(*arguments, cache=cache)
    assert (found.blocks, found.by_panel) == (blocks, by_panel)
