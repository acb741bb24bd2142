"""float32 convolution and depthwise kernels against the oracle."""

import numpy as np
import pytest

from edgenet.dtypes import BATCH
from edgenet.graph import Graph, Node, Tensor
from edgenet.kernels.table_float import DEPTHWISE_ROWS, depthwise_3x3_columns
from edgenet.ops import infer_shapes
from edgenet.prepare import lower_conv
from tests.kernels.harness import FLOAT_TARGETS, UNUSUAL_DEPTHWISE, check
from tests.ops.builder import one_node

CLAMP = {"kind": "clamp", "min": 0.0, "max": 6.0}
each_target = pytest.mark.parametrize("target", FLOAT_TARGETS, ids=lambda t: t.name)


def convolve(target, x, weight, residual=False, activation=CLAMP, threads=1, **attributes):
    """Check one conv2d of random values; `x` and `weight` are shapes."""
    rng = np.random.default_rng(sum(x) + 7 * sum(weight))
    arrays = {
        "x": rng.standard_normal(x, dtype=np.float32),
        "weight": rng.standard_normal(weight, dtype=np.float32),
        "bias": rng.standard_normal(weight[0], dtype=np.float32),
    }
    constants = ("weight", "bias")
    attributes["activation"] = activation
    graph = one_node("conv2d", arrays, attributes, constants=constants)
    if residual:
        shape = graph.tensors["y"].shape
        arrays["residual"] = rng.standard_normal(shape, dtype=np.float32)
        graph = one_node("conv2d", arrays, attributes, constants=constants)
    return check(graph, {name: arrays[name] for name in graph.inputs}, target, threads)


@each_target
@pytest.mark.parametrize("channels", [1, 3, 4, 8, 15, 16, 17, 40])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(3, 1, 1), (3, 2, 1), (5, 1, 2), (5, 2, 2), (3, 2, 0)])
@pytest.mark.parametrize("size", [5, 7, 14, 17])
def test_depthwise(target, channels, kernel, stride, pad, size):
    convolve(
        target,
        (2, size, size + 1, channels),
        (channels, kernel, kernel, 1),
        groups=channels,
        stride=[stride, stride],
        padding=[pad] * 4,
    )


@each_target
@pytest.mark.parametrize("size", range(1, 12))
def test_depthwise_small_images(target, size):
    convolve(target, (1, 2, size, 24), (24, 3, 3, 1), groups=24, padding=[1, 1, 1, 1], residual=True)


@each_target
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 1], [1, 0, 1, 0]])
@pytest.mark.parametrize("activation", [None, {"kind": "hardswish"}], ids=["plain", "hardswish"])
def test_depthwise_tiles_of_any_height(target, stride, pads, activation):
    shapes = [(1, 6, 16), (2, 3, 8), (3, 8, 8), (4, 5, 21), (5, 4, 40), (8, 6, 24), (9, 7, 9), (16, 9, 16), (31, 5, 17)]
    for height, width, channels in shapes:
        if height + pads[0] + pads[1] < 3:
            continue
        plan = convolve(
            target, (2, height, width, channels), (channels, 3, 3, 1), groups=channels, threads=2,
            stride=[stride, stride], padding=pads, activation=activation,
        )  # fmt: skip
        wide = plan.tensors["y"].shape[2] > 1 and channels >= target.lanes
        kernel = plan.steps[0].kernel
        assert kernel.startswith("f32_dw3x3") == (wide and depthwise_3x3_columns(target) > 0)
        if kernel.startswith("f32_dw3x3"):
            assert kernel.endswith("_hardswish") == (activation is not None)
            assert plan.steps[0].slots["most_rows"] == DEPTHWISE_ROWS


@each_target
@pytest.mark.parametrize(
    ("stride", "shape", "rows"), [(1, (1, 12, 160, 32), 5), (2, (1, 12, 160, 32), 3), (2, (1, 49, 78, 72), 3)]
)
def test_depthwise_tiles_of_few_rows_where_these_share_cache_sets_or_come_from_afar(target, stride, shape, rows):
    channels = shape[-1]
    plan = convolve(
        target, shape, (channels, 3, 3, 1), groups=channels, stride=[stride, stride], padding=[1, 1, 1, 1]
    )  # fmt: skip
    assert target.registers != 16 or plan.steps[0].slots["most_rows"] == rows


@each_target
def test_depthwise_tiles_are_low_where_rows_share_cache_sets(target):
    plan = convolve(target, (1, 9, 32, 32), (32, 3, 3, 1), groups=32, padding=[1, 1, 1, 1])
    assert plan.steps[0].kernel.startswith("f32_dw3s1")


@each_target
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("channels", [96, 117])
@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_tiles_beside_each_other_take_channels_in_groups(target, stride, channels, threads):
    """A few lines of 15 pixels in each row that a tile reads fit the first-level cache, all do not."""
    plan = convolve(
        target, (2, 15, 15, channels), (channels, 3, 3, 1), groups=channels, stride=[stride, stride],
        padding=[1, 1, 1, 1], threads=threads,
    )  # fmt: skip
    if depthwise_3x3_columns(target):
        step = plan.steps[0]
        assert step.kernel == f"f32_dw3x3s{stride}"
        assert 128 <= step.slots["group"] * target.lanes * 4 < channels * 4


@each_target
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [5, 7])
def test_depthwise_takes_channels_in_groups_where_the_rows_of_all_are_many(target, kernel, stride, threads):
    """The rows of 60 pixels that a tile reads fill the first-level cache with one line of each pixel."""
    plan = convolve(
        target, (2, 7, 60, 72), (72, kernel, kernel, 1), groups=72, stride=[stride, stride],
        padding=[kernel // 2] * 4, threads=threads, residual=True,
    )  # fmt: skip
    step = plan.steps[0]
    assert step.kernel.startswith(f"f32_dw{kernel}s{stride}_")
    assert 64 <= step.slots["group"] * target.lanes * 4 < 72 * 4


@each_target
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (5, 1), (5, 2)])
@pytest.mark.parametrize("size", [(7, 14), (8, 15), (6, 18), (13, 17)])
def test_depthwise_two_rows_at_a_time(monkeypatch, target, size, kernel, stride, residual):
    """As where the rows that two outputs share do not stay in the first-level cache; the last row may be alone."""
    monkeypatch.setattr(lower_conv, "_KEPT_BYTES", 0)
    plan = convolve(
        target, (2, *size, 40), (40, kernel, kernel, 1), groups=40, stride=[stride, stride],
        padding=[kernel // 2] * 4, residual=residual,
    )  # fmt: skip
    step = plan.steps[0]
    assert step.slots.get("paired", 1) == 1
    assert step.kernel.startswith((f"f32_dw{kernel}s{stride}_", "f32_dw3x3s1"))


@each_target
@pytest.mark.parametrize("pads", [[0, 0, 2, 0], [0, 0, 0, 2], [2, 1, 2, 2], [1, 2, 0, 1]])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("channels", [5, 40])
def test_depthwise_padding_wider_than_half_the_kernel(target, pads, stride, channels):
    shape = (2, 18, 18, channels)
    convolve(target, shape, (channels, 3, 3, 1), groups=channels, stride=[stride, stride], padding=pads)


@each_target
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [((2, 2), (1, 1), (1, 1)), ((3, 3), (1, 3), (2, 2)), ((1, 5), (2, 1), (1, 3))]
)
def test_depthwise_general(target, kernel, stride, dilation):
    convolve(
        target,
        (2, 9, 11, 21),
        (21, *kernel, 1),
        groups=21,
        stride=list(stride),
        dilation=list(dilation),
        padding=[1, 0, 2, 1],
        residual=True,
    )


@each_target
@pytest.mark.parametrize("channels", [3, 21, 48])
@pytest.mark.parametrize(("kernel", "stride", "dilation", "padding", "size"), UNUSUAL_DEPTHWISE)
def test_depthwise_of_any_size(target, kernel, stride, dilation, padding, size, channels):
    plan = convolve(
        target, (2, *size, channels), (channels, *kernel, 1), groups=channels, stride=list(stride), threads=2,
        dilation=list(dilation), padding=padding, residual=channels == 21,
    )  # fmt: skip
    assert plan.steps[0].kernel.startswith("f32_dw_any")


@each_target
@pytest.mark.parametrize("width", [7, 9])
@pytest.mark.parametrize(("channels", "stride"), [(3, 1), (3, 2), (20, 1), (20, 2)])
def test_depthwise_wide_kernels(target, width, channels, stride):
    shape = (channels, width, width, 1)
    convolve(target, (1, 9, 12, channels), shape, groups=channels, stride=[stride, stride], padding=[width // 2] * 4)


@each_target
@pytest.mark.parametrize("filters", [5, 16, 24, 33])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(1, 2, 0), (3, 1, 1), (3, 2, 1), (5, 1, 0)])
@pytest.mark.parametrize("depth", [5, 16])
def test_standard(target, filters, kernel, stride, pad, depth):
    convolve(
        target,
        (2, 8, 7, depth),
        (filters, kernel, kernel, depth),
        stride=[stride, stride],
        padding=[pad] * 4,
        residual=True,
        activation={"kind": "hardswish"},
    )


@each_target
@pytest.mark.parametrize(
    ("groups", "depth", "per_group"), [(2, 3, 5), (3, 8, 17), (4, 1, 3), (5, 2, 1), (12, 2, 2), (6, 4, 3)]
)
def test_grouped(target, groups, depth, per_group):
    convolve(
        target,
        (1, 7, 8, groups * depth),
        (groups * per_group, 3, 3, depth),
        groups=groups,
        dilation=[2, 1],
        padding=[2, 1, 0, 1],
    )


@each_target
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [(3, 2, [1, 1, 1, 1]), (3, 2, [0, 1, 0, 1]), (7, 2, [3, 3, 3, 3]), (2, 1, [0, 0, 0, 0])],
)
def test_image(target, channels, kernel, stride, pads):
    convolve(target, (2, 19, 21, channels), (24, kernel, kernel, channels), stride=[stride, stride], padding=pads)


@each_target
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_image_in_planes(target, channels):
    """A picture that lies channels-first is read as it is."""
    rng = np.random.default_rng(channels)
    graph = Graph()
    graph.tensors["x"] = Tensor("x", (BATCH, channels, 19, 21))
    graph.inputs, graph.outputs = ["x"], ["y"]
    graph.nodes.append(Node("permute", "image", {"x": "x"}, "image", {"order": [0, 2, 3, 1]}))
    weight = graph.add_constant("weight", rng.standard_normal((24, 3, 3, channels), dtype=np.float32))
    bias = graph.add_constant("bias", rng.standard_normal(24, dtype=np.float32))
    inputs = {"x": "image", "weight": weight, "bias": bias}
    graph.nodes.append(Node("conv2d", "y", inputs, "y", {"stride": [2, 2], "padding": [0, 1, 0, 1]}))
    graph.tensors |= {"image": Tensor("image", ()), "y": Tensor("y", ())}
    graph.tensors.update(infer_shapes(graph))
    plan = check(graph, {"x": rng.standard_normal((2, channels, 19, 21), dtype=np.float32)}, target)
    assert plan.steps[0].kernel == f"f32_pad_planes{channels}"


@each_target
def test_without_bias_and_activation(target):
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.standard_normal((1, 4, 4, 8), dtype=np.float32),
        "weight": rng.standard_normal((8, 1, 1, 8), dtype=np.float32),
    }
    graph = one_node("conv2d", arrays, {}, constants=("weight",))
    check(graph, {"x": arrays["x"]}, target)


@each_target
@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "extra", "dilation", "groups"),
    [
        ((3, 3), (2, 2), [1, 1, 1, 1], (1, 1), (1, 1), 1),
        ((2, 2), (2, 2), [0, 0, 0, 0], (0, 0), (1, 1), 2),
        ((4, 3), (3, 1), [0, 1, 2, 0], (2, 0), (1, 1), 1),
        ((3, 2), (1, 2), [2, 2, 3, 3], (0, 1), (2, 1), 3),
        ((1, 1), (2, 2), [0, 0, 0, 0], (1, 1), (1, 1), 1),
        ((2, 2), (2, 2), [2, 2, 2, 2], (0, 0), (1, 1), 6),
    ],
)
def test_transposed(target, kernel, stride, pads, extra, dilation, groups):
    rng = np.random.default_rng(1)
    arrays = {
        "x": rng.standard_normal((2, 5, 6, 6), dtype=np.float32),
        "weight": rng.standard_normal((12, *kernel, 6 // groups), dtype=np.float32),
        "bias": rng.standard_normal(12, dtype=np.float32),
    }
    attributes = {"stride": list(stride), "padding": pads, "output_padding": list(extra), "dilation": list(dilation)}
    attributes |= {"groups": groups, "activation": CLAMP}
    graph = one_node("conv_transpose2d", arrays, attributes, constants=("weight", "bias"))
    check(graph, {"x": arrays["x"]}, target)


@each_target
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "pads", "extra"),
    [
        ((1, 3), (4, 1), (9, 5), (1, 1), [8, 0, 0, 0], (8, 0)),  # a row of the output that the image does not reach
        ((1, 1), (1, 1), (9, 9), (1, 1), [0, 0, 8, 0], (0, 8)),
        ((2, 1), (3, 2), (1, 6), (7, 1), [17, 0, 5, 1], (6, 5)),
        ((1, 2), (2, 2), (4, 4), (1, 1), [3, 1, 5, 2], (3, 3)),
    ],
)
def test_transposed_with_outputs_beside_the_image(target, size, kernel, stride, dilation, pads, extra):
    rng = np.random.default_rng(1)
    arrays = {
        "x": rng.standard_normal((2, *size, 5), dtype=np.float32),
        "weight": rng.standard_normal((7, *kernel, 5), dtype=np.float32),
        "bias": rng.standard_normal(7, dtype=np.float32),
    }
    attributes = {"stride": list(stride), "padding": pads, "output_padding": list(extra), "dilation": list(dilation)}
    graph = one_node("conv_transpose2d", arrays, attributes, constants=("weight", "bias"))
    plan = check(graph, {"x": arrays["x"]}, target)
    assert all(min(plan.tensors[step.output].shape) > 0 for step in plan.steps)


@each_target
@pytest.mark.parametrize("width", [5, 6, 7, 12, 13])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 1, 1), (1, 2, 2), (3, 2, 0)])
def test_tiles_that_cross_lines_and_images(target, width, kernel, stride, pad):
    """Outputs a little narrower, as wide as, and wider than the tiles; images of two and three lines."""
    across = (width - 1) * stride + kernel - 2 * pad
    for lines in (2, 3):
        high = max((lines - 1) * stride + kernel - 2 * pad, 1)
        attributes = {"stride": [stride, stride], "padding": [pad] * 4}
        convolve(target, (5, high, across, 5), (3, kernel, kernel, 5), residual=True, **attributes)
