"""`edgenet bench` and the studies behind it. Figures are checked for what they are made of, never for speed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgenet.bench import models as model_table
from edgenet.bench import roofline, timing
from edgenet.bench.__main__ import main as bench_main
from edgenet.engine import limits
from edgenet.errors import InputError


def test_latency_of_a_file(command: Callable, models: dict[str, Path]) -> None:
    found = command("bench", models["int8"], "--rounds", 2, "--batch", 3, "--threads", 1, "--json").json
    assert found["batch"] == 3
    assert found["rounds"] == 2
    assert found["machine"]["threads"] == 1
    assert found["samples_per_second"] == pytest.approx(3e3 / found["median_ms"])
    assert "samples/s" in command("bench", models["float32"], "--rounds", 1).out


def test_low_memory_tells_what_it_costs(command: Callable, models: dict[str, Path]) -> None:
    arguments = ("bench", models["int8"], "--rounds", 2, "--threads", 1, "--memory", "low")
    found = command(*arguments, "--json").json
    assert found["memory"] == "low"
    assert found["time_ratio"] == pytest.approx(found["median_ms"] / found["fast"]["median_ms"])
    assert found["arena_ratio"] == pytest.approx(found["arena_bytes"] / found["fast"]["arena_bytes"])
    assert found["arena_ratio"] <= 1
    assert "% time" in command(*arguments).out
    assert command("bench", models["int8"], "--memory", "tiny").code != 0


def test_command_for_one_layer(command: Callable) -> None:
    arguments = ("bench", "separable", "--input", "8x8x16", "--filters", 32, "--rounds", 2, "--threads", 1)
    found = command(*arguments, "--json").json
    assert [row["precision"] for row in found["rows"]] == ["float32", "int8"]
    assert found["machine"]["threads"] == 1
    printed = command(*arguments, "--precision", "float32").out
    assert "8x8x16-32-3x3" in printed
    assert "0.1424" in printed


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--input", "8x8"), "8x8"),
        (("--input", "0x8x8"), "below 1"),
        (("--input", "8x8x8", "--kernel", "4"), "odd"),
        (("--network", "perceptron"), "perceptron"),
        (("--input", "8x8x8", "--sweep"), "one of"),
        (("--input", "8x8x8", "--output", "/nowhere/x.json"), "folder"),
        (("--input", "8x8x8", "--batch", "4"), "--batch is for bench MODEL"),
        (("--input", "8x8x8", "--quick"), "--quick is for --sweep"),
        (("--network", "inception", "--filters", "8"), "--filters is for a single layer, not for --network"),
    ],
)
def test_unusable_layers(refused: Callable, arguments: tuple[str, ...], word: str) -> None:
    assert word in refused("bench", "separable", *arguments)


def test_options_of_other_studies(refused: Callable, models: dict[str, Path]) -> None:
    model = models["float32"]
    assert "--output is for bench separable" in refused("bench", model, "-o", "b.json")
    assert "--sweep and --twins and --html are for" in refused("bench", model, "--html", "F", "--sweep", "--twins")
    assert "--rounds and --filters are not for bench machine" in refused(
        "bench", "machine", "--filters", 3, "--rounds", 2
    )


def test_limits_that_cannot_be_kept_are_shown(command: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(found: limits.Limits) -> None:
        raise OSError(30, "Read-only file system")

    speeds = {"L1": 3.0}
    found = limits.Limits("avx2", 1, 1.0, 2.0, 3.0, speeds, speeds, speeds, 0.001)
    monkeypatch.setattr(limits, "measure", lambda threads: found)
    monkeypatch.setattr(limits, "saved", lambda isa, threads: None)
    monkeypatch.setattr(limits, "save", read_only)
    monkeypatch.setattr(roofline, "_measured", {})
    result = command("bench", "machine", "--threads", 1)
    assert result.code == 0
    assert "avx2, 1 thread: float32 1.0 GFLOP/s" in result.out
    assert "warning" in result.err
    assert "Read-only file system" in result.err
    with pytest.warns(UserWarning, match="could not be kept"):
        assert roofline.limits_for(1) is found
    assert roofline.limits_for(1) is found


def test_sides_take_turns() -> None:
    calls: list[str] = []
    sides = {name: lambda name=name: calls.append(name) for name in ("a", "b", "c")}
    found = timing.interleave(sides, rounds=3)
    assert set(found) == set(sides)
    assert all(row.rounds == 3 for row in found.values())
    runs = [name for i, name in enumerate(calls) if i == 0 or calls[i - 1] != name]
    assert runs[-9:] == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]


def test_median_and_spread() -> None:
    found = timing.summarize([1.0, 2.0, 3.0, 4.0, 100.0])
    assert (found.median_ms, found.minimum_ms, found.rounds) == (3.0, 1.0, 5)
    assert found.spread == pytest.approx((4 - 2) / 3)


def test_table_of_networks(tmp_path: Path) -> None:
    readme, figures = tmp_path / "README.md", tmp_path / "figures.json"
    readme.write_text(f"before\n{model_table.BEGIN}\nold\n{model_table.END}\nafter\n")
    command = [sys.executable, "-m", "edgenet.bench", "models", "tiny_separable", "--rounds", "2", "--threads", "1"]
    subprocess.run([*command, "--json", str(figures), "--readme", str(readme)], check=True, capture_output=True)
    (row,) = json.loads(figures.read_text())
    assert row["parameters"] > 30_000
    assert row["int8"]["file_bytes"] < row["float32"]["file_bytes"]
    assert row["int8"]["vector"]
    content = readme.read_text()
    assert content.startswith("before\n")
    assert content.endswith("\nafter\n")
    assert "| tiny_separable |" in content
    assert "old" not in content


STUDIES = ("models", "peers", "start", "quantization", "accuracy", "qat", "training", "pi")


def bench_without_torch(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.modules['torch'] = None; from edgenet.bench.__main__ import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "study", [("training", "fit", "tiny_separable"), ("qat",), ("models",), ("pi",), ("accuracy",)]
)
def test_studies_without_torch(study: tuple[str, ...]) -> None:
    done = bench_without_torch(*study)
    assert done.returncode == 1
    assert done.stderr.startswith("edgenet.bench: ")
    assert done.stderr.endswith(" needs PyTorch: pip install 'edgenet[bench]'.\n")
    assert done.stderr.count("\n") == 1


def test_every_study_is_listed() -> None:
    page, mistake = bench_without_torch("--help"), bench_without_torch("perceptron")
    assert (page.returncode, mistake.returncode) == (0, 2)
    assert all(f"\n    {study}" in page.stdout and study in mistake.stderr for study in STUDIES)


def test_table_of_unknown_networks() -> None:
    with pytest.raises(InputError, match="perceptron"):
        next(model_table.study(["perceptron"], 1, 1))


@pytest.mark.parametrize("content", [None, "no marks", b"\xff", f"{model_table.END} {model_table.BEGIN}"])
def test_a_readme_that_takes_no_table_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: str | bytes | None
) -> None:
    path = tmp_path / "README.md"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setattr(model_table, "study", lambda *_: pytest.fail("it began to measure"))
    monkeypatch.setattr(sys, "argv", ["edgenet.bench", "models", "--readme", str(path)])
    assert bench_main() == 1
    message = capsys.readouterr().err
    assert message.startswith("edgenet.bench: ")
    assert "README.md" in message
    assert message.count("\n") == 1


def test_a_table_is_put_between_the_marks(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n{model_table.BEGIN}\nold\n{model_table.END}\nafter\n")
    for body in ("table", "longer\ntable"):
        model_table.update_readme(path, body)
        assert path.read_text() == f"before\n{model_table.BEGIN}\n{body}\n{model_table.END}\nafter\n"
