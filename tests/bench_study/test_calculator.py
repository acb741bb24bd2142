"""Costs on paper: the worked examples, the operations' own counts, the command."""

from __future__ import annotations

import doctest
from collections.abc import Callable

import pytest

from edgenet.bench import calculator
from edgenet.errors import InputError
from edgenet.ops import graph_cost
from tests.ops.builder import one_node
from tests.ops.test_declarations import conv_cost


def test_worked_examples() -> None:
    found = doctest.testmod(calculator)
    assert found.failed == 0
    assert found.attempted >= 15


@pytest.mark.parametrize(("stride", "padding", "groups", "dilation"), [(1, 0, 1, 1), (2, 1, 4, 1), (1, 2, 8, 2)])
def test_convolutions_cost_what_their_operation_says(stride: int, padding: int, groups: int, dilation: int) -> None:
    found = calculator.convolution((9, 11, 8), 16, 3, stride, padding, groups, dilation, bias=False)
    attributes = {"stride": [stride] * 2, "padding": [padding] * 4, "groups": groups, "dilation": [dilation] * 2}
    output, cost = conv_cost((1, 9, 11, 8), (16, 3, 3, 8 // groups), False, **attributes)
    assert found.output == output[1:]
    assert (found.flops, found.macs, found.bytes_read) == (cost.flops, cost.macs, cost.bytes_read)


@pytest.mark.parametrize("layer", [(14, 14, 512, 256, 3), (28, 28, 64, 64, 5), (7, 7, 16, 1024, 7)])
def test_separable_convolution_leaves_the_law(layer: tuple[int, ...]) -> None:
    height, width, channels, filters, kernel = layer
    size, pad = (height, width, channels), kernel // 2
    standard = calculator.convolution(size, filters, kernel, padding=pad)
    pair = calculator.separable(size, filters, kernel, padding=pad)
    assert pair.flops / standard.flops == pytest.approx(1 / filters + 1 / kernel**2)
    assert pair.output == standard.output
    assert pair.parameters == kernel**2 * channels + channels + channels * filters + filters


def test_int8_moves_a_quarter_of_the_bytes_and_needs_more_per_channel() -> None:
    wide, narrow = (calculator.convolution((8, 8, 4), 6, 3, padding=1, dtype=dtype) for dtype in ("float32", "int8"))
    assert narrow.bytes_written == wide.bytes_written // 4
    assert narrow.bytes_read == 8 * 8 * 4 + 6 * 9 * 4 + 6 * (4 + 4)
    assert narrow.flops == wide.flops


def test_softmax_and_pooling_cost_what_their_operations_say() -> None:
    import numpy as np

    pool = one_node("avg_pool2d", {"x": np.zeros((1, 9, 9, 4), np.float32)}, {"kernel": [3, 3], "stride": [2, 2]})
    assert calculator.pooling((9, 9, 4), 3, 2, kind="avg").flops == graph_cost(pool)["y"].flops == 9 * 4 * 16
    soft = one_node("softmax", {"x": np.zeros((1, 10), np.float32)}, {"axis": 1})
    assert calculator.softmax((10,)).flops == graph_cost(soft)["y"].flops


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: calculator.convolution((4, 4, 3), 2, 7), "larger than its padded input"),
        (lambda: calculator.convolution((4, 4, 3), 2, 3, groups=2), "do not split into 2 groups"),
        (lambda: calculator.convolution((4, 3), 2, 3), "height x width x channels"),
        (lambda: calculator.batch_norm((4, 4, 3), "frozen"), "frozen"),
        (lambda: calculator.pooling((4, 4, 3), 2, kind="median"), "median"),
    ],
)
def test_what_does_not_fit_is_refused(call: Callable, word: str) -> None:
    with pytest.raises(InputError, match=word):
        call()
