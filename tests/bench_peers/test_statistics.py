"""Summaries, agreement, ratios and tables of a comparison."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgenet.bench.peers import comparison, registry, report
from edgenet.bench.peers.job import Job
from edgenet.bench.peers.process import PeerFailure
from edgenet.commands.console import write_json


def row(peer: str, median: float, precision: str = "float32", **more) -> dict:
    """A row as the comparison makes it."""
    figures = {"median_ms": median, "minimum_ms": median, "p90_ms": median, "cosine": 1.0, "relative_error": 0.0}
    sizes = {"cold_start_ms": 1.0, "rss_bytes": 10**7, "file_bytes": 10**6}
    place = {"network": "n", "peer": peer, "variant": precision, "precision": precision, "threads": 1}
    return {**place, "note": "", "failure": "", "round_medians_ms": [median] * 3, **figures, **sizes, **more}


def failed(peer: str, reason: str) -> dict:
    full = row(peer, 1.0, failure=reason)
    return {key: value for key, value in full.items() if not key.endswith("_ms") and key != "cosine"}


def test_summary_takes_the_median_of_round_medians() -> None:
    figures = comparison.summary([[1, 2, 9], [4, 4, 4], [3, 3, 30]])
    assert figures["median_ms"] == 3
    assert figures["minimum_ms"] == 1
    assert figures["runs"] == 9
    assert figures["p90_ms"] == pytest.approx(np.percentile([1, 2, 9, 4, 4, 4, 3, 3, 30], 90))


def test_agreement() -> None:
    reference = np.array([3.0, 4.0])
    figures = comparison.agreement(np.array([3.0, 4.4]), reference)
    assert figures["relative_error"] == pytest.approx(0.1)
    assert figures["cosine"] == pytest.approx((9 + 17.6) / (5 * np.hypot(3, 4.4)))


@pytest.mark.parametrize("output", [np.ones(3), np.array([1.0, np.nan])])
def test_unusable_outputs_are_failures(output: np.ndarray) -> None:
    with pytest.raises(PeerFailure):
        comparison.agreement(output, np.ones(2))


def test_ratio_is_to_the_fastest_peer_that_agrees() -> None:
    rows = [row("edgenet", 2.0), row("a", 4.0), row("b", 3.0), row("wrong", 1.0, cosine=0.9), failed("c", "no")]
    [cell] = report.ratios(rows)
    assert (cell["best_peer"], cell["ratio"]) == ("b", pytest.approx(2 / 3))


def test_paired_ratio_compares_within_rounds() -> None:
    """A neighbour who slows two rounds down, for both sides, changes the medians but not this."""
    rows = [
        row("edgenet", 4.0, round_medians_ms=[2.0, 4.0, 4.2, 2.2, 4.0]),
        row("a", 4.0, round_medians_ms=[4.0, 8.0, 3.9, 4.0, 8.0]),
    ]
    [cell] = report.ratios(rows)
    assert (cell["ratio"], cell["paired_ratio"]) == (1.0, 0.5)


def test_least_ratio_compares_the_least_times_of_all_that_agree() -> None:
    """The peer whose median is least need not be the one that has the least time."""
    rows = [
        row("edgenet", 9.0, minimum_ms=2.0),
        row("a", 5.0, minimum_ms=4.0),
        row("b", 8.0, minimum_ms=3.0),
        row("wrong", 1.0, cosine=0.9),
    ]
    [cell] = report.ratios(rows)
    assert (cell["best_peer"], cell["ratio"], cell["least_ratio"]) == ("a", 1.8, pytest.approx(2 / 3))


def test_gains_of_threads_are_those_of_rounds() -> None:
    rows = [
        row("edgenet", 4.0, round_medians_ms=[4.0, 8.0, 9.0], minimum_ms=3.2),
        row("edgenet", 2.0, threads=2, round_medians_ms=[2.0, 5.0, 3.0]),
        row("edgenet", 1.0, "int8"),
        row("a", 1.0, threads=2),
    ]
    [gain] = report.gains(rows)
    assert gain == {
        "network": "n", "precision": "float32", "threads": 2, "than_threads": 1, "times": 2.0, "least_times": 1.6,
    }  # fmt: skip
    machine = {"cpu": "C", "cpus": 1, "instruction_set": "portable", "threads": 2, "governor": "g", "load": 0}
    assert "edgenet with more threads" in report.text(report.figures(rows, machine, {"rounds": 3}))


def test_int8_peers_count_whatever_their_cosine() -> None:
    rows = [row("edgenet", 2.0, "int8", cosine=0.99), row("a", 4.0, "int8", cosine=0.9)]
    [cell] = report.ratios(rows)
    assert (cell["ratio"], cell["best_cosine"]) == (0.5, 0.9)


def test_no_ratio_without_edgenet_or_without_peers() -> None:
    assert report.ratios([row("a", 1.0)]) == []
    assert report.ratios([row("edgenet", 1.0), failed("a", "not installed")]) == []


def test_geometric_mean() -> None:
    cells = [
        {"precision": "int8", "threads": 1, "ratio": ratio, "paired_ratio": ratio / 2, "least_ratio": 4.0}
        for ratio in (0.5, 2.0)
    ]
    [mean] = report.geometric_means(cells)
    assert mean == {
        "precision": "int8", "threads": 1, "networks": 2,
        "ratio": pytest.approx(1.0), "paired_ratio": pytest.approx(0.5), "least_ratio": pytest.approx(4.0),
    }  # fmt: skip


def test_text_and_json_hold_figures_and_reasons(tmp_path: Path) -> None:
    machine = {"cpu": "C", "cpus": 1, "instruction_set": "portable", "threads": 1, "governor": "g", "load": 0}
    figures = report.figures([row("edgenet", 2.0), row("a", 4.0), failed("b", "boom")], machine, {"rounds": 9})
    text = report.text(figures)
    assert "b float32: boom" in text
    assert "0.500" in text
    write_json(tmp_path / "f.json", figures)
    assert json.loads((tmp_path / "f.json").read_text())["ratios"][0]["ratio"] == 0.5


@pytest.mark.parametrize("name", registry.NAMES)
def test_adapters_have_the_interface(name: str, tmp_path: Path) -> None:
    peer = registry.get(name)
    assert name == peer.NAME
    assert peer.RUNTIME
    names = [variant.name for variant in peer.VARIANTS]
    assert len(set(names)) == len(names)
    for variant in peer.VARIANTS:
        assert variant.precision in ("float32", "int8")
        assert variant.name.startswith(variant.precision)
        assert Job(tmp_path).output_folder(name, variant.name).is_dir()
