"""What is read of a .pt2 file before torch loads it: torch would run code that such a file brings along."""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from edgenet.errors import ConversionError

MEMBERS = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights|constants)/\w+\.json|data/sample_inputs/\w+\.pt"
    r"|models/\w+\.json|archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment"
    r"|serialized_\w+\.(json|pt)|extra(_files)?/.*"
)
"""Parts that hold tensors, JSON or plain text."""

NUMBERS = re.compile(r"-?\d+(\.\d*)?(e-?\d+)?")
NAMES = re.compile(r"[A-Za-z]\w*")
FUNCTIONS = {
    *("Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Mod", "Abs", "Max", "Min", "Eq", "Ne", "And"),
    *("Equality", "Unequality", "StrictGreaterThan", "GreaterThan", "StrictLessThan", "LessThan", "Or", "Not"),
    *("floor", "ceiling", "FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt"),
    *("CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "IsNonOverlapping"),
    *("TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "Identity"),
}
"""Functions that symbolic sizes are made of. torch evaluates their text as Python."""

SIZES = {"size", "dim", "stride", "storage_offset", "numel"}
"""Methods of an input that a guard may ask."""


def check_program_file(path: Path) -> None:
    """ConversionError when a .pt2 file is unreadable, or holds anything that torch could only load by running code."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len(set(names)) != len(names):
                raise ConversionError(f"{path.name} holds two parts of one name. Export the module again.")
            for name in names:
                if not _is_plain(archive, name):
                    raise ConversionError(
                        f"{path.name} needs code to be run ({name[:80]}), and edgenet runs no code from a "
                        "checkpoint. Export the module again, without custom objects."
                    )
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError) as error:
        raise ConversionError(
            f"{path.name} is no .pt2 file, or it is truncated. Write it with torch.export.save."
        ) from error


def _is_plain(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a part of the archive holds data alone."""
    inner = name if MEMBERS.fullmatch(name) else name.partition("/")[2]
    if not MEMBERS.fullmatch(inner):
        return False
    if inner.startswith("extra"):
        return True
    if inner.endswith(".json"):
        return _is_plain_json(json.loads(archive.read(name)))
    return not inner.endswith(".pt") or _is_plain_pickle(archive.read(name))


def _is_plain_pickle(content: bytes) -> bool:
    if not content:
        return True
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:
        return False
    return True


def _is_plain_json(content: Any) -> bool:
    """No pickled tensors, no symbolic size beyond arithmetic, no guard beyond comparing sizes of inputs."""
    if isinstance(content, dict):
        if content.get("use_pickle"):
            return False
        if "expr_str" in content and not is_arithmetic(content["expr_str"]):
            return False
        if not all(is_guard(guard) for guard in content.get("guards_code") or []):
            return False
        return all(_is_plain_json(value) for value in content.values())
    return not isinstance(content, list) or all(_is_plain_json(value) for value in content)


def is_arithmetic(expression: Any) -> bool:
    """Whether the text of a symbolic size is made of numbers, symbols and the functions in FUNCTIONS alone.

    >>> is_arithmetic("Mul(Integer(2), Symbol('s0', positive=True))"), is_arithmetic("eval('1')")
    (True, False)
    """
    try:
        return isinstance(expression, str) and _allowed(ast.parse(expression, mode="eval").body)
    except SyntaxError:
        return False


def is_guard(text: Any) -> bool:
    """Whether a guard, which torch runs as Python, only compares numbers and sizes of inputs.

    >>> is_guard("2 <= L['x'].size()[0]"), is_guard("L['x'].resize_(9)")
    (True, False)
    """
    if not isinstance(text, str) or any(character in text for character in "#\\\n\r"):
        return False
    try:
        return _compares(ast.parse(text, mode="eval").body)
    except SyntaxError:
        return False


def _compares(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return node.value is None or isinstance(node.value, bool | int | float)
    if isinstance(node, ast.BoolOp):
        return all(map(_compares, node.values))
    if isinstance(node, ast.Compare):
        return all(map(_compares, [node.left, *node.comparators]))
    if isinstance(node, ast.BinOp):
        return _compares(node.left) and _compares(node.right)
    if isinstance(node, ast.UnaryOp):
        return _compares(node.operand)
    if isinstance(node, ast.Subscript):
        inputs = isinstance(node.value, ast.Name) and node.value.id == "L"
        return isinstance(node.slice, ast.Constant) and (inputs or _compares(node.value))
    if isinstance(node, ast.Call):
        function, bare = node.func, not node.args and not node.keywords
        return bare and isinstance(function, ast.Attribute) and function.attr in SIZES and _compares(function.value)
    return False


def _allowed(node: ast.AST) -> bool:
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float)
    if isinstance(node, ast.Name):
        return re.fullmatch(r"[su]\d+|oo|int_oo|nan|true|false", node.id) is not None
    if isinstance(node, ast.UnaryOp):
        return _allowed(node.operand)
    if isinstance(node, ast.BinOp):
        return _allowed(node.left) and _allowed(node.right)
    if isinstance(node, ast.Compare):
        return all(map(_allowed, [node.left, *node.comparators]))
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
        return False
    texts = {"Symbol": NAMES, "Float": NUMBERS}.get(node.func.id)
    arguments = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg)]
    if len(arguments) != len(node.args) + len(node.keywords):
        return False
    return all(_allowed(argument) or _is_text(argument, texts) for argument in arguments)


def _is_text(node: ast.AST, pattern: re.Pattern[str] | None) -> bool:
    if pattern is None or not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        return False
    return pattern.fullmatch(node.value) is not None
