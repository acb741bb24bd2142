"""A .pt2 file that would make torch run code is refused before torch sees it."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from edgenet.converter.importer import import_module
from edgenet.converter.importer.program_file import is_arithmetic, is_guard
from edgenet.errors import ConversionError
from tests.importer.agreement import agreement
from tests.importer.modules import One


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def pickled(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.fixture
def program(tmp_path) -> Path:
    module = One(lambda x: torch.cat([x, x], 1).view(x.shape[0], 2, -1).relu())
    exported = torch.export.export(module, (torch.randn(2, 6),), dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(exported, tmp_path / "good.pt2")
    return tmp_path / "good.pt2"


def rewritten(path: Path, changes: dict[str, Any], added: dict[str, bytes] | None = None) -> Path:
    """A copy whose parts with a name that ends like a key are passed through its function."""
    target = path.with_name("bad.pt2")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as out:
        for name in source.namelist():
            change = next((f for end, f in changes.items() if name.endswith(end)), lambda content: content)
            out.writestr(name, change(source.read(name)))
        folder = source.namelist()[0].partition("/")[0]
        for name, content in (added or {}).items():
            out.writestr(f"{folder}/{name}", content)
    return target


def in_json(edit: Any) -> Any:
    """A function on bytes that applies `edit` to the JSON in them."""

    def change(content: bytes) -> bytes:
        parsed = json.loads(content)
        edit(parsed)
        return json.dumps(parsed).encode()

    return change


def test_a_plain_file_is_taken(program):
    graph = import_module(program)
    module = One(lambda x: torch.cat([x, x], 1).view(x.shape[0], 2, -1).relu())
    assert agreement(graph, module, (torch.randn(3, 6),)) == 0


def attack_inputs(program: Path, mark: Path) -> Path:
    return rewritten(program, {"sample_inputs/model.pt": lambda _: pickled(((Touch(mark),), {}))})


def attack_constants(program: Path, mark: Path) -> Path:
    entry = {"path_name": "custom_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}

    def edit(parsed: dict[str, Any]) -> None:
        parsed["config"]["constant"] = entry

    changes = {"model_constants_config.json": in_json(edit)}
    return rewritten(program, changes, {"data/constants/custom_obj_0": pickle.dumps(Touch(mark))})


def attack_weights(program: Path, mark: Path) -> Path:
    entry = {"path_name": "weight_0", "is_param": True, "use_pickle": True, "tensor_meta": None}

    def edit(parsed: dict[str, Any]) -> None:
        parsed["config"]["weight"] = entry

    return rewritten(program, {"weights_config.json": in_json(edit)}, {"data/weights/weight_0": pickled(Touch(mark))})


def attack_sizes(program: Path, mark: Path) -> Path:
    def edit(parsed: Any) -> None:
        if isinstance(parsed, dict):
            if "expr_str" in parsed:
                parsed["expr_str"] = f"open({str(mark)!r}, 'w')"
            for value in parsed.values():
                edit(value)
        elif isinstance(parsed, list):
            for value in parsed:
                edit(value)

    return rewritten(program, {"models/model.json": in_json(edit)})


def attack_library(program: Path, mark: Path) -> Path:
    return rewritten(program, {}, {"data/aotinductor/model/model.so": b"\x7fELF"})


def with_guards(program: Path, *guards: str) -> Path:
    return rewritten(program, {"models/model.json": in_json(lambda parsed: parsed.update(guards_code=list(guards)))})


def attack_guards(program: Path, mark: Path) -> Path:
    return with_guards(program, f"open({str(mark)!r}, 'w')")


@pytest.mark.parametrize(
    "attack", [attack_inputs, attack_constants, attack_weights, attack_sizes, attack_library, attack_guards]
)
def test_code_is_refused_and_not_run(program, tmp_path, attack):
    mark = tmp_path / "ran"
    with pytest.raises(ConversionError, match="runs no code from a checkpoint"):
        import_module(attack(program, mark))
    assert not mark.exists()


def test_guards_on_sizes_are_taken(program):
    import_module(with_guards(program, "2 <= L['x'].size()[0] and L['x'].size()[0] % 1 == 0", "L['x'].dim() == 2"))


@pytest.mark.parametrize(
    "guard",
    [
        "L['x'].resize_(9)",
        "L['x'].size(open(1))",
        "L[open(1)]",
        "L",
        "x",
        "(1 # comment\n)",
        "1; 2",
        "[1]",
        "L['x'].size.__self__",
        1,
    ],
)
def test_other_guards_are_not(guard):
    assert not is_guard(guard)


@pytest.mark.parametrize("damage", ["truncated", "text", "twice", "json"])
def test_damaged_files_are_explained(program, damage):
    path = program.with_name("damaged.pt2")
    content = program.read_bytes()
    if damage == "twice":
        path.write_bytes(content)
        with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr(archive.namelist()[0], b"")
    elif damage == "json":
        path = rewritten(program, {"models/model.json": lambda text: text[: len(text) // 2]})
    else:
        path.write_bytes(b"no archive" if damage == "text" else content[: len(content) // 2])
    with pytest.raises(ConversionError, match=r"no \.pt2 file|two parts of one name"):
        import_module(path)


@pytest.mark.parametrize(
    "expression",
    [
        "s77",
        "Symbol('s77', positive=True, integer=True)",
        "Add(Mul(Integer(2), Symbol('s0')), Integer(-1))",
        "FloorDiv(Symbol('s0'), Integer(2))",
        "2*s0 + 1",
        "Float('0.5', precision=53)",
        "Max(Integer(1), Symbol('u0'))",
        "s0 <= 4",
    ],
)
def test_sizes_are_arithmetic(expression):
    assert is_arithmetic(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "eval('1')",
        "eval(chr(49))",
        "__import__('os')",
        "Symbol('s0').func",
        "Symbol('s0')(1)",
        "(lambda: 1)()",
        "Max('open(1)')",
        "Symbol('open(1)')",
        "Symbol(**{'name': 'x'})",
        "[s0]",
        "s0; open(1)",
        "open",
        3,
        None,
    ],
)
def test_anything_else_is_not(expression):
    assert not is_arithmetic(expression)


def test_a_real_network_passes(tmp_path):
    module = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    example = (torch.randn(2, 3, 8, 8),)
    torch.export.save(torch.export.export(module, example), tmp_path / "net.pt2", extra_files={"note.txt": "hello"})
    assert agreement(import_module(tmp_path / "net.pt2"), module, example) < 1e-5
