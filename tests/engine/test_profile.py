"""Profiles and plans as their users see them: one row a layer, however many kernels it takes."""

from __future__ import annotations

from math import prod

import pytest

import edgenet
from edgenet.bench.layers import Layer, build
from edgenet.engine import profile
from edgenet.engine.limits import Limits
from edgenet.kernels.isa import host
from edgenet.kernels.table_int8 import group_depth
from edgenet.model import Model

SPEEDS = dict.fromkeys(("L1", "L2", "L3", "memory"), 50.0)
LIMITS = Limits(host().name, 1, 100.0, 200.0, 10.0, SPEEDS, SPEEDS, SPEEDS, 0.0)


def split_depthwise() -> Model:
    """An int8 depthwise layer: one kernel computes whole blocks of channels, another the channels left."""
    channels = 2 * host().lanes * group_depth(host()) + 1
    return edgenet.load(build(Layer(16, 16, channels, channels), "depthwise", "int8"), 1)


def test_a_depthwise_layer_of_two_kernels_has_one_row():
    model = split_depthwise()
    found = next(row for row in model.profile(repeats=1).rows if row["name"] == "depthwise")
    assert len(found["kernel"].split(" + ")) == 2
    assert found["flops"] == 2 * 9 * prod(found["shape"])
    assert found["bands"] == 1
    planned = next(row for row in model.plan_info()["steps"] if row["name"] == "depthwise")
    assert planned.items() <= (found | {"vector": planned["vector"]}).items()
    assert found["kernel"] in model.summary()


def test_winograd_has_one_row():
    model = edgenet.load(build(Layer(16, 16, 32, 32), "standard"), 1, winograd=True)
    found = next(row for row in model.profile(repeats=1).rows if row["name"] == "standard")
    assert found["kernel"].split(" + ") == [name for name in found["kernel"].split(" + ") if "winograd" in name]
    assert len(found["kernel"].split(" + ")) == 3
    assert found["flops"] == 2 * 9 * 32 * prod(found["shape"])


def test_the_limit_of_int8_counts_what_is_requantized(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(profile, "saved", lambda isa, threads: LIMITS)
    found = next(row for row in split_depthwise().profile(repeats=1).rows if row["name"] == "depthwise")
    assert found["roofline"] * found["ms"] == pytest.approx(
        LIMITS.arithmetic_ms(found["flops"], True, prod(found["shape"]))
    )
