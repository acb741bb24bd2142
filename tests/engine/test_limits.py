"""The machine's limits: measured, kept, and used by profiles."""

from dataclasses import replace

import numpy as np

import edgenet
from edgenet.engine import limits
from edgenet.kernels.isa import host
from tests.engine.networks import separable


def test_measured_limits_are_kept_and_used(monkeypatch, tmp_path):
    found = limits.measure(1)
    assert found.isa == host().name
    assert found.float32_gflops > 0
    assert found.int8_gops > 0
    assert set(found.bandwidth) >= {"L1", "L2", "memory"}
    monkeypatch.setattr(limits, "folder", lambda: tmp_path)
    assert limits.saved(host().name, 1) is None
    model, x = edgenet.load(separable(), 1), np.ones((1, 12, 12, 24), np.float32)
    assert all(row["roofline"] is None for row in model.profile(x).rows)
    limits.save(found)
    assert limits.saved(host().name, 1) == found
    assert all(row["roofline"] > 0 for row in model.profile(x).rows)


def test_the_roofline_is_the_slower_of_arithmetic_and_memory():
    sample = limits.Limits("avx2", 1, 100.0, 200.0, {"L1": 100.0, "L2": 50.0, "L3": 20.0, "memory": 10.0})
    assert sample.attainable_ms(10**9, 1000, int8=False) == 10.0
    assert sample.attainable_ms(10**9, 1000, int8=True) == 5.0
    assert sample.attainable_ms(1, 1 << 33, int8=False) == (1 << 33) / 10.0 / 1e6
    assert replace(sample, bandwidth={"L1": 1e9, "L2": 1e9, "L3": 1e9, "memory": 1e9}).level(1) == "L1"
