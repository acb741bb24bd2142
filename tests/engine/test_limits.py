"""The machine's limits: measured, kept, and used by profiles."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import edgenet
from edgenet.engine import distance, limits, pace
from edgenet.kernels.isa import by_name, host
from edgenet.kernels.table import kernels
from edgenet.kernels.table_int8 import has_byte_pairs
from tests.engine.networks import separable


def test_measured_limits_are_kept_and_used(monkeypatch, tmp_path):
    monkeypatch.setattr(limits, "cache_sizes", lambda: {"L1": 1 << 15, "L2": 1 << 18})
    monkeypatch.setattr(limits, "_ALL_SECONDS", 0.0)
    found = limits.measure(1)
    assert found.isa == host().name
    assert found.float32_gflops > 0
    assert found.int8_gops > 0
    assert (found.matrix_gops > 0) == (host().matrix_registers or has_byte_pairs(host()))
    assert found.requantized > 0
    assert found.step_ms > 0
    for speeds in (found.bandwidth, found.write_bandwidth, found.copy_bandwidth):
        assert set(speeds) == {"L1", "L2", "memory"}
        assert min(speeds.values()) > 0
    monkeypatch.setattr(limits, "folder", lambda: tmp_path)
    assert limits.saved(host().name, 1) is None
    model, x = edgenet.load(separable(), 1), np.ones((1, 12, 12, 24), np.float32)
    assert all(row["roofline"] is None for row in model.profile(x).rows)
    limits.save(found)
    assert limits.saved(host().name, 1) == found
    assert all(row["roofline"] > 0 for row in model.profile(x).rows)


def test_the_peak_of_int8_makes_every_product():
    pytest.importorskip("numba", reason="needs the compiler")
    constants = kernels(by_name("avx2"))["bench_peak_int8"].constants
    command = [sys.executable, "-m", "edgenet.kernels.build", "--assembly", "avx2", "bench_peak_int8"]
    assembly = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert assembly.count("vpmaddwd") >= math.prod(constants)


def test_messages_take_time_where_there_are_two_processors(monkeypatch):
    allowed = getattr(os, "sched_getaffinity", lambda _: {0})(0)
    found = distance.message_ns()
    assert (found is None) == (len(allowed) < 2)
    assert found is None or 1 < found < 1e6
    assert getattr(os, "sched_getaffinity", lambda _: {0})(0) == allowed
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert distance.message_ns() is None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not let threads choose processors")
def test_the_pace_of_processors_is_a_time_of_products_and_of_reads():
    allowed = os.sched_getaffinity(0)
    products, reads = pace.sample_ns(sorted(allowed)[:1])
    assert 1e3 < products < 1e9
    assert 1e3 < reads < 1e9
    assert os.sched_getaffinity(0) == allowed


SPEEDS = {"L1": 100.0, "L2": 50.0, "L3": 20.0, "memory": 10.0}
SAMPLE = limits.Limits("avx2", 1, 100.0, 200.0, 10.0, SPEEDS, SPEEDS, SPEEDS, 0.0)


def test_the_roofline_is_the_slower_of_arithmetic_and_memory():
    assert SAMPLE.attainable_ms(10**9, [(1000, 0)], int8=False) == 10.0
    assert SAMPLE.attainable_ms(10**9, [(1000, 0)], int8=True) == 5.0
    assert SAMPLE.attainable_ms(10**9, [(1000, 0)], int8=True, results=10**8) == 15.0
    assert SAMPLE.attainable_ms(1, [(1 << 33, 1000)], int8=False) == SAMPLE.transfer_ms(1 << 33, 1000)
    assert SAMPLE.attainable_ms(1, [(1000, 0), (0, 0), (0, 3000)], int8=False) == pytest.approx(4000 / 100.0 / 1e6)
    assert replace(SAMPLE, matrix_gops=1000.0).attainable_ms(10**9, [(1000, 0)], int8=True, matrix=True) == 1.0
    copying = replace(SAMPLE, copy_bandwidth=dict.fromkeys(SPEEDS, 5.0))
    assert copying.attainable_ms(1, [(1000, 1000), (500, 0)], int8=False) == pytest.approx((2000 / 5 + 5) / 1e6)
    assert replace(SAMPLE, step_ms=1.0).attainable_ms(10**9, [(1000, 0)], int8=False) == 11.0


def test_bytes_that_are_read_and_written_are_copied():
    halved = replace(SAMPLE, copy_bandwidth=dict.fromkeys(SPEEDS, 5.0), write_bandwidth=dict.fromkeys(SPEEDS, 1.0))
    assert halved.transfer_ms(3000, 1000) == pytest.approx((2000 / 5.0 + 2000 / 100.0) / 1e6)
    assert halved.transfer_ms(1000, 3000) == pytest.approx((2000 / 5.0 + 2000 / 1.0) / 1e6)


def test_levels_pass_on_what_they_hold_the_nearest_first(monkeypatch):
    monkeypatch.setattr(limits, "cache_sizes", lambda: {"L1": 1000, "L2": 10_000, "L3": 100_000})
    expected = 1000 / 100.0 + 10_000 / 50.0 + 100_000 / 20.0 + 5000 / 10.0
    assert SAMPLE.transfer_ms(116_000, 0) == pytest.approx(expected / 1e6)
    assert SAMPLE.transfer_ms(0, 116_000) == SAMPLE.transfer_ms(50_000, 66_000) == SAMPLE.transfer_ms(116_000, 0)
    assert replace(SAMPLE, threads=2).transfer_ms(3000, 0) == pytest.approx((2000 / 100.0 + 1000 / 50.0) / 1e6)
    assert SAMPLE.transfer_ms(0, 0) == 0


def test_a_working_set_lies_in_the_smallest_level_that_holds_it(monkeypatch):
    monkeypatch.setattr(limits, "cache_sizes", lambda: {"L1": 1000, "L2": 10_000, "L3": 100_000})
    assert [SAMPLE.level(size) for size in (1000, 1001, 100_000, 100_001)] == ["L1", "L2", "L3", "memory"]
    assert [replace(SAMPLE, threads=2).level(size) for size in (2000, 2001, 100_001)] == ["L1", "L2", "memory"]
