"""Raspberry Pis as the prediction knows them, and latencies that others have published for them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Board:
    """A board: its CPU for the compiler and for llvm-mca, clock in GHz, memory speed in GB/s, last cache in bytes.

    `mispredicted`: cycles that a wrongly predicted branch costs, an estimate; `barrier_us`: the time in which the
    threads meet.
    """

    name: str
    cpu: str
    model: str
    ghz: float
    memory_gbs: float
    cache: int
    mispredicted: int
    barrier_us: float = 2.0


BOARDS = (
    # 1.8 GHz is what Raspberry Pi OS sets since 2021 on boards that allow it. 5.5 GB/s: STREAM copy,
    # https://www.sci-pi.org.uk/bench/stream.html. 15 cycles: about the depth of its pipeline.
    Board("Pi 4", "cortex-a72", "cortex-a72", 1.8, 5.5, 1 << 20, 15),
    # LLVM has no model of the A76; the Neoverse N1 is the same core made for servers. 7.3 GB/s: the same share of the
    # memory's rated 17.1 GB/s (LPDDR4X-4267, 32 bits) as the Pi 4 reaches of its 12.8. 11 cycles: a shorter pipeline.
    Board("Pi 5", "cortex-a76", "neoverse-n1", 2.4, 7.3, 2 << 20, 11),
)

PUBLISHED: dict[tuple[str, str, str], str] = {
    ("Pi 4", "mobilenet_v1", "float32"): "ncnn 124.3 / 61.2, XNNPACK - / 77",
    ("Pi 4", "mobilenet_v1", "int8"): "ncnn 84.8 / 34.4, XNNPACK - / 24",
    ("Pi 4", "mobilenet_v2", "float32"): "ncnn 93.5 / 61.9, XNNPACK - / 46",
    ("Pi 4", "mobilenet_v2", "int8"): "XNNPACK - / 17",
    ("Pi 4", "mobilenet_v3_large", "float32"): "ncnn 72.8 / 47.5, XNNPACK - / 40",
    ("Pi 5", "mobilenet_v1", "float32"): "ncnn (float16) 20.3 / 9.0",
    ("Pi 5", "mobilenet_v1", "int8"): "ncnn 14.4 / 8.7",
    ("Pi 5", "mobilenet_v2", "float32"): "ncnn (float16) 16.4 / 10.5, ExecuTorch - / 10.9",
    ("Pi 5", "mobilenet_v2", "int8"): "ExecuTorch - / 3.98",
    ("Pi 5", "mobilenet_v3_large", "float32"): "ncnn (float16) 11.8 / 7.35",
}
"""Published ms on 1 / 4 threads, by board, network and precision: ncnn's benchmark/README.md (Pi 4 at 1.8 GHz),
XNNPACK's README.md (Pi 4 at 1.5 GHz), Arm's course on ExecuTorch (its default number of threads)."""
