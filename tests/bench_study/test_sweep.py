"""The sweep: what it measures, its file, its end."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from edgenet.bench import sweep
from edgenet.bench.calculator import convolution
from edgenet.bench.layers import Layer
from edgenet.bench.timing import facts
from edgenet.errors import InputError


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the layers measured, by a `measure` that takes no time."""
    names: list[str] = []

    def measure(layer: Layer, precision: str, limits: object, rounds: int) -> dict:
        names.append(str(layer))
        return {"layer": asdict(layer), "name": str(layer), "precision": precision, "threads": 1}

    monkeypatch.setattr(sweep, "measure", measure)
    monkeypatch.setattr(sweep, "limits_for", lambda threads: Limits())
    monkeypatch.setattr(sweep, "asdict", lambda value: {} if isinstance(value, Limits) else asdict(value))
    return names


class Limits:
    """Stands for the machine's limits."""


def test_grid_has_every_size() -> None:
    full = sweep.grid()
    assert len(full) == len(set(full)) == 3 * 7 * 7 * 5 * 2
    assert {layer.kernel for layer in full} == {3, 5, 7}
    assert {layer.height for layer in full} == {7, 14, 28, 56, 112}
    assert set(sweep.grid(quick=True)) < set(full)


def test_jobs_leave_out_what_is_too_large_and_keep_their_order() -> None:
    found = sweep.jobs(sweep.grid(), ("float32", "int8"), (1, 2), largest=1.0)
    assert found == sweep.jobs(sweep.grid(), ("float32", "int8"), (1, 2), largest=1.0)
    assert max(sweep.standard_flops(layer) for layer, _, _ in found) <= 1e9
    assert {(precision, threads) for _, precision, threads in found} == {
        (p, t) for p in ("float32", "int8") for t in (1, 2)
    }
    heights = [layer.height for layer, _, _ in found[:60]]
    assert len(set(heights)) == 5, "the first of them are a sample of all"


@pytest.mark.parametrize("layer", [Layer(9, 7, 8, 16, 5, 2), Layer(14, 14, 32, 64)], ids=str)
def test_flops_are_those_of_the_calculator(layer: Layer) -> None:
    size = (layer.height, layer.width, layer.channels)
    expected = convolution(size, layer.filters, layer.kernel, layer.stride, layer.kernel // 2)
    assert sweep.standard_flops(layer) == expected.flops


def test_a_sweep_goes_on_from_its_file(measured: list[str], tmp_path: Path) -> None:
    todo = sweep.jobs(sweep.grid(quick=True), ("float32",), (1,), 1.0)[:6]
    path = tmp_path / "sweep.json"
    first = sweep.Results(path, facts(1))
    assert sweep.run(todo[:4], first, None, 1) == 0
    again = sweep.Results(path, facts(1))
    assert [row["name"] for row in again.rows] == measured == [str(job[0]) for job in todo[:4]]
    assert sweep.run(todo, again, None, 1) == 0
    assert measured == [str(job[0]) for job in todo]
    assert len(json.loads(path.read_text())["rows"]) == 6


def test_a_sweep_ends_when_its_time_is_up(measured: list[str]) -> None:
    todo = sweep.jobs(sweep.grid(quick=True), ("int8",), (1,), 1.0)
    assert sweep.run(todo, sweep.Results(None, facts(1)), 0.0, 1) == len(todo)
    assert measured == []


def test_rows_outlive_what_stops_a_sweep(measured: list[str], tmp_path: Path) -> None:
    todo = sweep.jobs(sweep.grid(quick=True), ("float32",), (1,), 1.0)[:3]

    def progress(stage: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    results = sweep.Results(tmp_path / "sweep.json", facts(1))
    with pytest.raises(KeyboardInterrupt):
        sweep.run(todo, results, None, 1, progress)
    assert len(sweep.Results(tmp_path / "sweep.json", facts(1)).rows) == 2


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("no json", "does not hold"),
        ("[]", "does not hold"),
        ('{"rows": [], "machine": {"cpu": "another", "instruction_set": "mmx"}}', "another CPU"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: str, word: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(InputError, match=word):
        sweep.Results(tmp_path / "sweep.json", facts(1))
