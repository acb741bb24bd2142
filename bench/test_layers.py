"""pytest-benchmark groups on the layer shapes of MobileNetV1: `pytest bench/test_layers.py`."""

from __future__ import annotations

import pytest

from edgenet import load
from edgenet.bench.layers import KINDS, MOBILENET_V1, Layer, build


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("layer", MOBILENET_V1, ids=str)
def test_layer(benchmark, layer: Layer, precision: str, kind: str) -> None:
    """Time of a run of one layer; its group is the kind of convolution."""
    benchmark.group = kind
    model = load(build(layer, kind, precision))
    x = next(iter(model.example_inputs().values()))
    y = benchmark(model.run, x)
    size = [side // layer.stride if kind != "pointwise" else side for side in (layer.height, layer.width)]
    channels = layer.channels if kind == "depthwise" else layer.filters
    assert y.shape == (1, *size, channels)
    model.close()
