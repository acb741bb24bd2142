"""The study of int8's error: photographs, figures, tables, and the command where peers are missing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenet.bench.quantization import photographs, report, study
from edgenet.bench.quantization.__main__ import main
from edgenet.errors import InputError
from edgenet.graph import Preprocessing


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    """Two folders of pictures: to calibrate with, and to test on."""
    for name, seeds in (("calibration", range(3)), ("test", range(3, 5))):
        (tmp_path / name).mkdir()
        for seed in seeds:
            pixels = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{seed}.png")
    return [tmp_path / "calibration", tmp_path / "test"]


def test_no_photograph_is_both_calibrated_with_and_tested_on() -> None:
    assert not set(photographs.CALIBRATION) & set(photographs.TEST)
    assert len(photographs.CALIBRATION) <= study.CALIBRATION_IMAGES <= 32


def test_inputs_are_the_photographs_then_crops_the_same_each_time(folders: list[Path]) -> None:
    found = photographs.in_folder(folders[1])
    preprocessing = Preprocessing(resize=20, crop=16, mean=(0, 0, 0), std=(1, 1, 1))
    arrays = photographs.inputs(found, 5, preprocessing, seed=1)
    assert arrays.shape == (7, 3, 16, 16)
    assert np.array_equal(arrays, photographs.inputs(found, 5, preprocessing, seed=1))
    assert not np.array_equal(arrays[2:], photographs.inputs(found, 5, preprocessing, seed=2)[2:])
    assert len({array.tobytes() for array in arrays}) == 7


def test_photographs_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scikit-image"):
        photographs.packaged(["no_such_package/a.png"])
    with pytest.raises(InputError, match="holds no pictures"):
        photographs.in_folder(tmp_path)


def test_decibels_are_averaged_over_samples() -> None:
    wanted = np.array([[3.0, 4.0], [0.0, 1.0]])
    got = wanted + np.array([[0.5, 0.0], [0.0, 0.1]])
    each = study.decibels(got, wanted)
    assert each == pytest.approx([20.0, 20.0])
    figures = study.accuracy(got, wanted, 1)
    assert figures["sqnr"] == pytest.approx(20)
    assert (figures["top1_agreement"], figures["samples"]) == (1.0, 2)
    assert study.decibels(wanted, wanted) == pytest.approx([150, 150])


def row(peer: str, sqnr: float | None, network: str = "n") -> dict:
    place = {"network": network, "peer": peer, "variant": "int8", "version": "1", "failure": "not installed"}
    if sqnr is None:
        return place
    figures = {"sqnr": sqnr, "sqnr_photographs": sqnr, "sqnr_crops": None, "sqnr_p05": sqnr, "top1_agreement": 1.0}
    return {**place, "failure": "", **figures, "conversion_seconds": 1.0, "file_bytes": 10, "samples": 3}


def test_the_margin_is_over_the_best_peer() -> None:
    rows = [row("edgenet", 20.0), row("a", 17.0), row("b", 18.5), row("c", None), row("a", 9.0, "alone")]
    (cell,) = report.margins(rows)
    assert (cell["best_peer"], cell["margin"]) == ("b", 1.5)
    text = report.text(report.content(rows, {}))
    assert "+1.50 dB" in text
    assert "not installed" in text
    assert text.index("edgenet 1") < text.index("b 1") < text.index("a 1")
    assert "install onnxruntime" in report.text(report.content(rows[:1], {}))


def test_the_command_without_peers(folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--networks", "tiny_separable", "--peers", "edgenet", "--crops", "3", "--calibration", str(folders[0])]
    target = tmp_path / "figures.json"
    assert main([*words, "--photographs", str(folders[1]), "--json", str(target)]) == 0
    found = json.loads(target.read_text())
    (only,) = found["rows"]
    assert only["samples"] == 5
    assert only["sqnr"] > 20
    assert only["conversion_seconds"] > 0
    assert found["pictures"]["trained_weights"] == {"tiny_separable": False}
    assert "No other runtime could be measured" in capsys.readouterr().out


def test_an_unknown_network_is_a_user_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--networks", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err
