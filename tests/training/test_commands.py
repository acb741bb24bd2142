"""`python -m edgenet.bench training`: fit, transfer and initialization on a small set, and errors."""

from __future__ import annotations

import json

import pytest
import torch

from edgenet.bench.training.__main__ import main

from .test_accuracy import write_set


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    write_set(folder)
    return ["--data", str(folder)]


def test_fit_then_transfer(tmp_path, data, capsys):
    first, second = tmp_path / "first.pth", tmp_path / "second.pth"
    words = ["fit", "tiny_separable", *data, "--width", "8", "--epochs", "1", "--no-flip", "--batch", "32"]
    assert main([*words, "-o", str(first), "--curves", str(tmp_path / "curves.png")]) == 0
    assert "of 60 test pictures right" in capsys.readouterr().out
    assert (tmp_path / "curves.png").is_file()
    assert main([*words, "-o", str(second), "--backbone", str(first), "--frozen", "11", "--images", "64"]) == 0
    weights, fitted = (torch.load(path, weights_only=True)["state_dict"] for path in (first, second))
    kept = {key for key in weights if torch.equal(weights[key], fitted[key])}
    assert set(weights) - kept == {"classifier.weight", "classifier.bias"}


def test_initialization_prints_its_figures(data, capsys):
    words = ["initialization", *data, "--depth", "6", "--steps", "2"]
    assert main(words) == 0
    assert "gaussian + batch norm" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(each["scheme"], len(each["activations"])) for each in found] == [
        (scheme, 6) for scheme in ("kaiming", "xavier", "gaussian", "gaussian")
    ]


def test_mistakes_end_with_a_sentence(tmp_path, data, capsys):
    output = ["-o", str(tmp_path / "x.pth")]
    assert main(["fit", "tiny_separable", *data, *output, "--epochs", "0"]) == 1
    assert "epochs must lie between 1" in capsys.readouterr().err
    assert main(["fit", "no_such_net", *data, *output]) == 1
    assert "no network named no_such_net" in capsys.readouterr().err
