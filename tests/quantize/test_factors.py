"""Equalization's factors survive the file, and compare uses them."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from edgenet import format as file_format
from edgenet.converter import compare
from edgenet.converter.quantize import quantize
from edgenet.converter.quantize.factors import from_texts, snap, to_texts
from edgenet.errors import ConversionError
from tests.quantize.hard import exported, pictures, spread, trained


def test_texts_hold_the_factors_exactly() -> None:
    rng = np.random.default_rng(0)
    factors = {f"layer.{i}": snap(2.0 ** rng.uniform(0, 12, 900)) for i in range(9)}
    factors["twin"] = factors["layer.3"]
    texts = to_texts(factors)
    assert len(texts) > 1
    assert max(map(len, texts.values())) <= 4000
    found = from_texts({"name": "x", **texts})
    assert set(found) == set(factors)
    assert all(np.array_equal(found[name], factors[name]) for name in factors)
    assert to_texts({}) == from_texts({"name": "x"}) == {}


def test_snapped_factors_lie_just_below() -> None:
    values = np.array([1.0, 1.05, 2.0, 5.9, 4096.0])
    found = snap(values)
    assert (found <= values * (1 + 1e-9)).all()
    assert (found > values / 2 ** (1 / 8)).all()
    assert found[[0, 2, 4]].tolist() == [1, 2, 4096]


def test_damaged_texts_are_an_error() -> None:
    with pytest.raises(ConversionError, match="damaged"):
        from_texts({"equalization.0": "no base64!"})
    with pytest.raises(ConversionError, match="damaged"):
        from_texts({"equalization.0": "AAAA"})


def test_equalized_layers_are_compared_in_the_units_of_pytorch(tmp_path) -> None:
    module = spread(copy.deepcopy(trained(smooth=False)))
    graph = exported(module)
    int8 = quantize(graph, [picture[None] for picture in pictures(16, seed=5)[0]])
    factors = from_texts(int8.metadata.provenance)
    assert max(values.max() for values in factors.values()) > 100
    file_format.save(int8, tmp_path / "m.edgenet")
    found = compare(module, tmp_path / "m.edgenet", [picture[None] for picture in pictures(4, seed=6)[0]])
    layers = [row for row in found.rows if row["operation"] in ("conv2d", "linear")]
    assert len(layers) == 6
    assert all(row["isolated_sqnr"] > 10 and row["sqnr"] > 10 for row in layers)
    int8.metadata.provenance.clear()
    with pytest.raises(ConversionError, match="most of its layers have other weights"):
        compare(module, int8, [picture[None] for picture in pictures(4, seed=6)[0]])


@pytest.mark.parametrize("broken", ["depthwise1.0", "pointwise2.0", "classifier"])
def test_broken_weights_are_the_first_row_of_an_equalized_network(broken: str) -> None:
    module = spread(copy.deepcopy(trained(smooth=False)))
    int8 = quantize(exported(module), [picture[None] for picture in pictures(16, seed=5)[0]])
    node = next(node for node in int8.nodes if node.name == broken)
    int8.constants[node.inputs["weight"]] = -int8.constants[node.inputs["weight"]]
    worst = compare(module, int8, [picture[None] for picture in pictures(4, seed=6)[0]]).rows[0]
    assert worst["name"] == broken
    assert worst["isolated_sqnr"] < 0
