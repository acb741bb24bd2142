"""int8 convolutions against the oracle, bit for bit: kernels, strides, padding, dilation, groups, images."""

import pytest

from tests.kernels.int8_layers import HARDSWISH, each_target, run


@each_target
@pytest.mark.parametrize("filters", [5, 16, 24, 33, 70])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(1, 2, 0), (1, 1, 1), (3, 1, 1), (3, 2, 1), (5, 1, 0)])
@pytest.mark.parametrize("depth", [5, 8, 16, 33])
def test_standard(target, filters, kernel, stride, pad, depth):
    run(
        target, (2, 8, 7, depth), (filters, kernel, kernel, depth), "conv2d", x_zero=-9, stride=[stride, stride],
        padding=[pad] * 4, residual=True,
    )  # fmt: skip


@each_target
@pytest.mark.parametrize(
    ("groups", "depth", "per_group"), [(2, 3, 5), (3, 8, 17), (4, 1, 3), (5, 2, 1), (2, 16, 40), (12, 2, 2), (6, 4, 3)]
)
def test_grouped(target, groups, depth, per_group):
    run(
        target, (1, 7, 8, groups * depth), (groups * per_group, 3, 3, depth), "conv2d", groups=groups, dilation=[2, 1],
        padding=[2, 1, 0, 1], **HARDSWISH,
    )  # fmt: skip


@each_target
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"), [(3, 2, [1, 1, 1, 1]), (3, 2, [0, 1, 0, 1]), (7, 2, [3, 3, 3, 3]), (2, 1, [0] * 4)]
)
def test_image(target, channels, kernel, stride, pads):
    weight = (24, kernel, kernel, channels)
    run(target, (2, 19, 21, channels), weight, "conv2d", x_zero=-128, stride=[stride, stride], padding=pads, threads=2)


@each_target
@pytest.mark.parametrize("output", [(0.25, -7), None])
@pytest.mark.parametrize(("x", "weight"), [(-128, -127), (127, 127), (127, -127)])
def test_extreme_values(target, output, x, weight):
    run(target, (1, 6, 6, 40), (20, 3, 3, 40), "conv2d", padding=[1] * 4, fill=(x, weight), output=output, x_zero=127)


@each_target
def test_deep_window(target):
    run(target, (1, 9, 9, 300), (40, 3, 3, 300), "conv2d", padding=[1] * 4, threads=2)


@each_target
@pytest.mark.parametrize("width", [6, 8, 12, 13, 14, 15, 29])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (1, 2, 2), (3, 2, 0)])
def test_tiles_that_cross_lines_and_images(target, width, kernel, stride, pad):
    """Outputs a little narrower, as wide as, and wider than the tiles; images of two and three lines."""
    across = (width - 1) * stride + kernel - 2 * pad
    for lines in (2, 3):
        high = max((lines - 1) * stride + kernel - 2 * pad, 1)
        run(
            target, (5, high, across, 4), (3, kernel, kernel, 4), "conv2d", x_zero=3, stride=[stride, stride],
            padding=[pad] * 4,
        )  # fmt: skip


@each_target
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("x", "kernel", "pads", "dilation", "stride"),
    [
        ((2, 7, 7, 128), 3, [1, 1, 1, 1], 1, [1, 1]),
        ((1, 7, 7, 64), 3, [1, 1, 1, 1], 1, [1, 1]),
        ((2, 9, 10, 128), 3, [1, 1, 1, 1], 1, [1, 1]),
        ((1, 28, 28, 128), 3, [1, 1, 1, 1], 1, [1, 1]),
        ((1, 8, 9, 64), 5, [2, 2, 2, 2], 1, [1, 1]),
        ((1, 11, 7, 128), 3, [2, 2, 2, 2], 2, [1, 1]),
        ((1, 6, 9, 128), 3, [0, 2, 0, 2], 1, [1, 1]),
        ((2, 14, 14, 128), 3, [1, 1, 1, 1], 1, [2, 2]),
        ((1, 13, 15, 64), 3, [0, 1, 0, 1], 1, [2, 2]),
        ((2, 22, 15, 64), 5, [2, 2, 2, 2], 1, [3, 2]),
        ((1, 15, 9, 128), 3, [1, 1, 1, 1], 1, [2, 1]),
        ((1, 9, 17, 128), 3, [2, 2, 2, 2], 2, [1, 2]),
        ((1, 17, 16, 64), 3, [3, 3, 3, 3], 3, [2, 2]),
    ],
)
def test_deep_windows_through_the_padding(target, x, kernel, pads, dilation, stride, threads):
    """Matrix registers take the padding between rows along, four tiles a turn where sums are long."""
    run(
        target, x, (40, kernel, kernel, x[3]), "conv2d", padding=pads, dilation=[dilation] * 2, stride=stride,
        residual=True, x_zero=-5, threads=threads,
    )  # fmt: skip


@each_target
def test_groups_of_a_picture(target):
    """Merged into one group of few channels, they are read as a picture is: whole kernel rows of a padded copy."""
    run(target, (1, 9, 10, 4), (4, 3, 3, 2), "conv2d", groups=2, padding=[1] * 4, x_zero=-30)
