"""int8 depthwise convolutions against the oracle, bit for bit."""

import pytest

from edgenet.kernels.table_int8 import block_vectors, group_depth, half_block_rows, plane_steps, rectifies
from tests.kernels.harness import ALL_TARGETS, UNUSUAL_DEPTHWISE
from tests.kernels.int8_layers import HARDSWISH, each_target, run

WITH_HALF_REGISTERS = [target for target in ALL_TARGETS if half_block_rows(target, (3, 3, 2, 2)) == 1]
RECTIFYING = [target for target in ALL_TARGETS if rectifies(target)]
WITH_ROWS_TOGETHER = [target for target in ALL_TARGETS if half_block_rows(target, (3, 3, 2, 2)) == 2]


@each_target
@pytest.mark.parametrize("channels", [2, 3, 8, 15, 16, 17, 40])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2), (3, 2, 0), (5, 1, 0)]
)
@pytest.mark.parametrize("size", [5, 8, 14])
def test_square_kernels(target, channels, kernel, stride, pad, size):
    run(
        target, (2, size, size + 1, channels), (channels, kernel, kernel, 1), "conv2d", x_zero=-20, groups=channels,
        stride=[stride, stride], padding=[pad] * 4,
    )  # fmt: skip


@each_target
@pytest.mark.parametrize("width", range(1, 19))
@pytest.mark.parametrize("height", [1, 2, 3])
def test_small_images(target, width, height):
    run(target, (1, height, width, 24), (24, 3, 3, 1), "conv2d", groups=24, padding=[1] * 4, residual=True)


@each_target
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("height", "width"), [(3, 9), (9, 7), (14, 9), (17, 40), (31, 8), (6, 17), (7, 18), (9, 19)])
def test_bands_of_a_unit_share_rows(target, kernel, height, width):
    """A unit has all bands where there is one thread; the last may have fewer rows. Planes of wide images are filled
    between tiles.
    """
    channels = 2 * target.lanes * block_vectors(target)
    shape, weight = (2, height, width, channels), (channels, kernel, kernel, 1)
    for hardswish in ({}, HARDSWISH):
        plan = run(
            target, shape, weight, "conv2d", x_zero=-9, groups=channels, padding=[kernel // 2] * 4, **hardswish
        )  # fmt: skip
        assert [step.kernel for step in plan.steps] == [
            f"s8_dw{kernel}x{kernel}s1_wide{'_hardswish' * bool(hardswish)}"
        ]
        assert plan.steps[0].slots["stack_rows"] == height + height % 2
        assert plan.steps[0].slots["planes"] == plane_steps(kernel, 1, 2, group_depth(target))[2]
    run(target, shape, weight, "conv2d", groups=channels, padding=[0, 2, 1, 0], threads=3)


@each_target
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(
    ("threads", "batch", "height", "part_rows"),
    [(2, 1, 14, 7), (2, 1, 28, 14), (3, 1, 14, 5), (4, 1, 28, 7), (2, 1, 7, 7), (4, 1, 14, 14), (4, 2, 14, 7),
     (4, 4, 14, 14), (3, 1, 1, 1)],
)  # fmt: skip
def test_threads_have_rows_of_their_own(target, kernel, threads, batch, height, part_rows):
    """Where each can have about as many as the others."""
    channels = 4 * target.lanes * block_vectors(target)
    shape, weight = (batch, height, 9, channels), (channels, kernel, kernel, 1)
    (step,) = run(
        target, shape, weight, "conv2d", x_zero=-9, groups=channels, padding=[kernel // 2] * 4, threads=threads
    ).steps  # fmt: skip
    assert step.slots["part_rows"] == part_rows
    if kernel == 3:  # planes of all rows, which may lie in another thread's cache; larger kernels' may not fit
        _, _, needed, _ = plane_steps(3, 1, 2, group_depth(target))
        assert step.slots["planes"] == needed + step.slots["stack_rows"] // 2 - 1
    stacks = -(-part_rows // step.slots["stack_rows"])
    assert step.units == batch * -(-height // part_rows) * stacks * step.slots["blocks"]


@each_target
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"),
    [((2, 2), (1, 1), (1, 1)), ((3, 3), (1, 3), (2, 2)), ((1, 5), (2, 1), (1, 3)), ((7, 7), (1, 1), (1, 1)),
     ((3, 3), (2, 1), (1, 1)), ((9, 1), (1, 2), (1, 1))],
)  # fmt: skip
def test_general(target, kernel, stride, dilation):
    run(
        target, (2, 9, 11, 21), (21, *kernel, 1), "conv2d", groups=21, stride=list(stride), dilation=list(dilation),
        padding=[1, 0, 2, 1], residual=True, **HARDSWISH,
    )  # fmt: skip


@each_target
@pytest.mark.parametrize("channels", [3, 21, 48])
@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding", "size"), UNUSUAL_DEPTHWISE)
def test_any_size(target, kernel, stride, dilation, padding, size, channels):
    """Groups are of kernel columns where that takes fewer products."""
    plan = run(
        target, (2, *size, channels), (channels, *kernel, 1), "conv2d", x_zero=-40, groups=channels,
        stride=list(stride), threads=2, dilation=list(dilation), padding=padding, residual=channels == 21,
    )  # fmt: skip
    across = kernel in ((1, 13), (1, 33), (1, 11), (9, 10), (1, 10))
    assert plan.steps[0].kernel == ("s8_dw_any_across" if across else "s8_dw_any")


@each_target
@pytest.mark.parametrize("pads", [[5, 0, 0, 7], [0, 6, 9, 0]])
def test_padding_wider_than_the_kernel(target, pads):
    run(target, (1, 4, 4, 19), (19, 3, 3, 1), "conv2d", groups=19, padding=pads)
    run(target, (1, 4, 4, 19), (19, 3, 3, 1), "conv2d", groups=19, padding=pads, stride=[2, 2], dilation=[1, 2])


@each_target
@pytest.mark.parametrize("pads", [[0, 0, 2, 0], [0, 0, 0, 2], [2, 1, 2, 2], [1, 2, 0, 1]])
@pytest.mark.parametrize("stride", [1, 2])
def test_padding_wider_than_half_the_kernel(target, pads, stride):
    shape = (1, 18, 18, 72)
    run(target, shape, (72, 3, 3, 1), "conv2d", groups=72, padding=pads, stride=[stride, stride])


@each_target
@pytest.mark.parametrize("output", [(0.25, -7), None])
@pytest.mark.parametrize(("x", "weight"), [(-128, -127), (127, 127), (127, -127), (-128, 127)])
@pytest.mark.parametrize("kernel", [3, 5])
def test_extreme_values(target, output, x, weight, kernel):
    run(
        target, (1, 9, 9, 36), (36, kernel, kernel, 1), "conv2d", groups=36, padding=[kernel // 2] * 4,
        fill=(x, weight), output=output, x_zero=-128, residual=True,
    )  # fmt: skip


@each_target
@pytest.mark.parametrize("multiple", [2, 3])
def test_channel_multiplier(target, multiple):
    run(target, (1, 7, 8, 10), (10 * multiple, 3, 3, 1), "conv2d", groups=10, padding=[1] * 4)


@each_target
def test_threads_share_the_scratch(target):
    run(target, (2, 15, 13, 70), (70, 3, 3, 1), "conv2d", groups=70, padding=[1] * 4, threads=3)


@each_target
@pytest.mark.parametrize("channels", [45, 60, 64, 72, 112, 144])
@pytest.mark.parametrize(
    ("kernel", "stride", "pad"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2), (3, 2, 0), (3, 1, 4)]
)
@pytest.mark.parametrize("width", [7, 9, 16, 29])
def test_blocks_of_channels(target, channels, kernel, stride, pad, width):
    run(
        target, (2, 7, width, channels), (channels, kernel, kernel, 1), "conv2d", x_zero=30, groups=channels,
        stride=[stride, stride], padding=[pad] * 4, q_min=-100, q_max=77, threads=2,
    )  # fmt: skip


@each_target
@pytest.mark.parametrize("channels", [64, 112, 144])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("width", [14, 29])
def test_hardswish_of_blocks(target, channels, kernel, stride, width):
    attributes = {"groups": channels, "stride": [stride, stride], "padding": [kernel // 2] * 4, **HARDSWISH}
    steps = run(
        target, (2, 7, width, channels), (channels, kernel, kernel, 1), "conv2d", x_zero=30, q_min=-100, q_max=77,
        threads=2, **attributes,
    ).steps  # fmt: skip
    assert steps[0].kernel == f"s8_dw{kernel}x{kernel}s{stride}_wide_hardswish"


@each_target
def test_a_hardswish_that_may_leave_int32_is_clamped_before_it_is_rounded(target):
    """The wide kernels clamp afterwards."""
    plan = run(
        target, (1, 9, 9, 64), (64, 3, 3, 1), "conv2d", groups=64, padding=[1] * 4, activation={"kind": "hardswish"},
        output_multiplier=1e8,
    )  # fmt: skip
    assert {step.kernel for step in plan.steps} == {"s8_dw3x3s1"}


@pytest.mark.parametrize("target", RECTIFYING, ids=lambda target: target.name)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize("channels", [16, 64, 96, 144])
def test_rectified_layers(target, kernel, stride, channels):
    """Where conversion to bytes clamps at the zero point, sums are scaled without conversion to floating point."""
    shape, weight = (2, 12, 23, channels), (channels, kernel, kernel, 1)
    for threads in (1, 2):
        steps = run(
            target, shape, weight, "conv2d", output=(0.25, -128), x_zero=-9, groups=channels, stride=[stride, stride],
            padding=[kernel // 2] * 4, threads=threads,
        ).steps  # fmt: skip
        wide = {step.kernel for step in steps if "wide" in step.kernel or "half" in step.kernel}
        assert all(name.endswith("_rectified") for name in wide)
        assert wide or channels < target.lanes * block_vectors(target)


@pytest.mark.parametrize("target", WITH_HALF_REGISTERS, ids=lambda target: target.name)
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
@pytest.mark.parametrize(
    ("channels", "kinds", "last"),
    [(8, [""], 8), (16, ["_half"], 16), (24, ["_half", ""], 8), (40, ["_wide", ""], 8), (44, ["_wide", "_half"], 16),
     (56, ["_wide"], 56), (64, ["_wide"], 64), (144, ["_wide", "_half"], 16)],
)  # fmt: skip
def test_half_a_register_serves_the_last_channels(target, kernel, stride, channels, kinds, last):
    for hardswish in ({}, HARDSWISH):
        steps = run(
            target, (2, 11, 23, channels), (channels, kernel, kernel, 1), "conv2d", x_zero=-9, groups=channels,
            stride=[stride, stride], padding=[kernel // 2] * 4, q_min=-100, q_max=77, threads=2, **hardswish,
        ).steps  # fmt: skip
        suffix = "_hardswish" * bool(hardswish)
        names = [f"s8_dw{kernel}x{kernel}s{stride}{kind}{suffix if kind else ''}" for kind in kinds]
        assert [step.kernel for step in steps] == names
        assert steps[-1].slots["channels"] == last


@pytest.mark.parametrize("target", WITH_ROWS_TOGETHER, ids=lambda target: target.name)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("channels", [32, 84, 96, 160])
@pytest.mark.parametrize(("threads", "batch", "height"), [(1, 1, 14), (2, 1, 28), (4, 2, 16), (3, 1, 12), (2, 3, 4)])
def test_half_blocks_serve_the_last_channels(target, kernel, channels, threads, batch, height):
    """Two rows, which lie in the same part of the image, go together."""
    shape, weight = (batch, 2 * height, 23, channels), (channels, kernel, kernel, 1)
    for hardswish in ({}, HARDSWISH):
        plan = run(
            target, shape, weight, "conv2d", x_zero=-9, groups=channels, stride=[2, 2], padding=[kernel // 2] * 4,
            q_min=-100, q_max=77, threads=threads, **hardswish,
        )  # fmt: skip
        suffix = "_hardswish" * bool(hardswish)
        kinds = ["half"] if channels < 64 else ["wide", "half"]
        assert [step.kernel for step in plan.steps] == [f"s8_dw{kernel}x{kernel}s2_{kind}{suffix}" for kind in kinds]
        assert plan.steps[-1].slots["part_rows"] == height // -(-threads // batch)
        assert plan.steps[-1].slots["channels"] == 32


@pytest.mark.parametrize("target", WITH_ROWS_TOGETHER, ids=lambda target: target.name)
@pytest.mark.parametrize(
    ("channels", "threads", "height"), [(96, 1, 7), (96, 2, 14), (24, 1, 14), (112, 1, 14), (128, 1, 14), (144, 1, 14)]
)
def test_no_half_blocks_where_rows_or_channels_do_not_fit(target, channels, threads, height):
    plan = run(
        target, (1, 2 * height, 19, channels), (channels, 3, 3, 1), "conv2d", groups=channels, padding=[1] * 4,
        stride=[2, 2], threads=threads,
    )  # fmt: skip
    assert not any("half" in step.kernel for step in plan.steps)


@each_target
@pytest.mark.parametrize("activation", [{}, HARDSWISH])
@pytest.mark.parametrize(("x", "weight"), [(-128, -127), (127, 127), (127, -127), (-128, 127)])
def test_extreme_values_in_blocks(target, x, weight, activation):
    run(
        target, (1, 9, 9, 64), (64, 5, 5, 1), "conv2d", groups=64, padding=[2] * 4, fill=(x, weight), x_zero=-128,
        **activation,
    )  # fmt: skip
