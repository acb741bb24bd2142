"""pytest-benchmark groups `standard`, `depthwise`, `pointwise` and `separable` on the layers of MobileNetV1.

pytest bench --benchmark-autosave          keep the times of this commit
pytest bench --benchmark-compare           compare with those kept before
"""

from __future__ import annotations

import pytest

from edgenet.bench.layers import KINDS, Layer, build, layer_nodes, read_layers
from edgenet.bench.stage import Stage


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("layer", read_layers("mobilenet_v1"), ids=str)
def test_layer(benchmark, layer: Layer, precision: str, kind: str) -> None:
    """Time of the layer's convolutions on one thread; its group is the kind of convolution."""
    graph = build(layer, kind, precision)
    names = [node.name for node in layer_nodes(graph)]
    stage = Stage(graph, names, threads=1, passes=1)
    benchmark.group = kind
    benchmark.extra_info["kernels"] = sorted({step.kernel for step in stage.steps})
    benchmark(stage.run)
    assert {step.node for step in stage.steps} == set(names)
