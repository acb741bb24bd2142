"""Whole networks, energy, pictures and the report."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from edgenet.bench import energy, report, roofline, separable, sweep, twins
from edgenet.bench.layers import Layer
from edgenet.bench.timing import facts
from edgenet.engine import limits
from edgenet.errors import InputError

SPEEDS = {"L1": 200.0, "L2": 100.0, "L3": 50.0, "memory": 10.0}
LIMITS = limits.Limits("any", 1, 100.0, 400.0, 20.0, SPEEDS, SPEEDS, SPEEDS, 0.0)
ACCURACY = [
    {"network": "a", "precision": "float32", "accuracy_mean": 0.91, "accuracy_spread": 0.01, "macs": 1e6, "ms": 0.5},
    {"network": "a", "precision": "int8", "accuracy_mean": 0.90, "accuracy_spread": 0.02, "macs": 1e6, "ms": 0.2},
]


@pytest.fixture(scope="module")
def figures() -> dict:
    """A study of two layers in both precisions, and of a network that is its own twin."""
    patch = pytest.MonkeyPatch()
    patch.setattr(limits, "saved", lambda isa, threads: LIMITS)
    patch.setattr(roofline, "depthwise_rate", lambda *layer: 30.0)
    patch.setattr(twins, "NETWORKS", dict.fromkeys(("standard", "separable"), "tiny_separable"))
    patch.setattr(twins, "INPUT", (3, 32, 32))
    patch.setattr(twins, "PRECISIONS", ("float32",))
    todo = [(layer, p, 1) for layer in (Layer(14, 14, 32, 32), Layer(8, 8, 16, 64)) for p in separable.PRECISIONS]
    results = sweep.Results(None, facts(1))
    sweep.run(todo, results, None, 1)
    found = {**results.figures(), "summary": separable.summary(results.rows), "twins": twins.study(1, 1)}
    patch.undo()
    return found | {"accuracy": ACCURACY}


def test_networks_are_compared_as_wholes(figures: dict) -> None:
    found = figures["twins"]
    assert found["law"] == 1
    standard, pair = found["rows"][0], found["rows"][-1]
    assert standard["share"] == 1
    assert pair["share"] == pytest.approx(pair["median_ms"] / standard["median_ms"])
    assert pair["parameters"] == standard["parameters"] > 30_000
    assert pair["gflops"] == pytest.approx(pair["flops"] / pair["median_ms"] / 1e6)
    assert not any("winograd" in kernel for kernel in standard["kernels"])
    assert "tiny_separable" in twins.text(found)


def test_report_is_one_page_with_its_pictures(figures: dict, tmp_path: Path) -> None:
    files = report.write(tmp_path / "study.html", figures)
    assert {path.name for path in files} == {path.name for path in tmp_path.iterdir()}
    page = (tmp_path / "study.html").read_text()
    names = {path.stem for path in tmp_path.glob("*.png")}
    assert names == {f"study-{name}" for name in ("twins", "saving", "heat-map", "roofline", "accuracy")}
    assert page.count("data:image/png;base64,") == len(names)
    assert not re.search(r'(src|href)="(?!data:)', page), "nothing is loaded from elsewhere"
    assert 'name="viewport"' in page
    assert "@media print" in page
    for row in figures["rows"]:
        assert row["name"] in page
    for path in tmp_path.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert json.loads(path.with_suffix(".json").read_text())


def test_page_of_one_layer_needs_no_heat_map(figures: dict, tmp_path: Path) -> None:
    rows = figures["rows"][:1]
    report.write(tmp_path / "one.html", {key: figures[key] for key in ("machine", "limits")} | {
        "rows": rows, "summary": separable.summary(rows)
    })  # fmt: skip
    assert not (tmp_path / "one-heat-map.png").exists()
    assert (tmp_path / "one-roofline.png").exists()


@pytest.mark.parametrize("content", ["{", "[]", '[{"network": "a"}]', "3"])
def test_accuracy_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "accuracy.json").write_text(content)
    with pytest.raises(InputError, match=r"accuracy\.json"):
        report.read_accuracy(str(tmp_path / "accuracy.json"))


def test_accuracy_is_read(tmp_path: Path) -> None:
    (tmp_path / "accuracy.json").write_text(json.dumps(ACCURACY))
    assert report.read_accuracy(str(tmp_path / "accuracy.json")) == ACCURACY


def _counter(folder: Path, name: str, value: int) -> Path:
    place = folder / name
    place.mkdir()
    (place / "energy_uj").write_text(str(value))
    (place / "max_energy_range_uj").write_text("1000000")
    return place


def test_energy_is_what_the_counters_gain(tmp_path: Path) -> None:
    place = _counter(tmp_path, "intel-rapl:0", 900_000)
    _counter(tmp_path, "intel-rapl:0:0", 5)  # a part of package 0, counted within it
    meter = energy.Meter(tmp_path)
    assert meter.readable
    assert meter.joules(lambda: (place / "energy_uj").write_text("950000"), 0) == pytest.approx(0.05)
    assert meter.joules(lambda: (place / "energy_uj").write_text("100000"), 0) == pytest.approx(0.15), "it wrapped"


def test_no_energy_without_readable_counters(tmp_path: Path) -> None:
    assert energy.Meter(tmp_path).joules(lambda: None, 0) is None
    (_counter(tmp_path, "intel-rapl:0", 1) / "energy_uj").unlink()
    assert not energy.Meter(tmp_path).readable
