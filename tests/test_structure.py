"""The shape of the project: who imports whom, what lies at the top, how long files are, what `import edgenet` costs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TOP = {"edgenet", "converter", "tests", "bench", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"}

MAXIMUM_LINES = 400

RUNTIME = ["dtypes", "memory", "graph", "ops", "errors", "format", "reference", "images"]
"""What everything may use."""

MAY_IMPORT = {
    "errors": [],
    "dtypes": [],
    "memory": [],
    "graph": ["dtypes", "errors", "format"],  # Graph.save calls the writer
    "ops": ["dtypes", "errors", "graph"],
    "format": ["dtypes", "errors", "graph", "ops"],
    "reference": ["dtypes", "errors", "graph", "ops", "format"],
    "images": ["dtypes", "errors", "graph"],
    "kernels": [*RUNTIME],
    "prepare": [*RUNTIME, "kernels"],
    "engine": [*RUNTIME, "kernels", "prepare"],
    "model": [*RUNTIME, "kernels", "prepare", "engine"],
    "converter": [*RUNTIME, "model", ""],
    "cli": ["errors", "commands"],
    "commands": [*RUNTIME, "kernels", "prepare", "engine", "model", "converter", "bench", ""],
    "__main__": ["cli"],
    "__init__": ["errors", "graph", "model", "engine"],
    "bench": [*RUNTIME, "kernels", "prepare", "engine", "model", "converter", "commands", ""],
}
"""By part of the house, the parts it may import ("" is the package `edgenet` itself). Each may import itself."""

MEMBERS = dict.fromkeys(("header", "mapped", "output", "validate", "validate_text", "validate_metadata"), "format")
MEMBERS |= {"inputs": "model"}
"""Files that make up one part with another: reading and writing a file and checking what was read are the file's,
checking what a network is given is the model's."""

HEAVY = {"torch", "PIL", "rich", "numba", "llvmlite", "skimage", "psutil", "matplotlib"}


def sources() -> list[Path]:
    return sorted(path for folder in ("edgenet", "converter", "bench") for path in (ROOT / folder).rglob("*.py"))


def module_name(path: Path) -> str:
    """Dotted name under which a source file is imported."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    if parts[0] != "edgenet":
        parts.insert(0, "edgenet")
    return ".".join(parts)


def part(module: str) -> str:
    """The part of the house that a module of edgenet belongs to: `edgenet.ops.conv` -> `ops`, `edgenet` -> ``."""
    names = module.split(".")
    return MEMBERS.get(names[1], names[1]) if len(names) > 1 else ""


def imported(path: Path) -> list[tuple[str, bool]]:
    """(absolute module, whether at import time) of every import statement in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    deferred = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) or is_type_checking(node)
        for inner in ast.walk(node)
    }
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    if path.name == "__init__.py":
        package = package[:-1]
    found = []
    for node in ast.walk(tree):
        early = id(node) not in deferred
        if isinstance(node, ast.Import):
            found += [(alias.name, early) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from edgenet import graph` and `from . import graph` name modules or attributes of a package.
            for alias in node.names:
                if alias.name == "__version__":
                    continue
                full = f"{module}.{alias.name}"
                found.append((full if is_module(full) else module, early))
    return found


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def is_module(name: str) -> bool:
    parts = name.split(".")
    if parts[0] != "edgenet":
        return False
    places = [ROOT.joinpath(*parts), ROOT.joinpath(*parts[1:])] if parts[1:2] in (["converter"], ["bench"]) else []
    places.append(ROOT.joinpath(*parts))
    return any(place.with_suffix(".py").is_file() or (place / "__init__.py").is_file() for place in places)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_follow_the_house(path: Path) -> None:
    own = part(module_name(path))
    assert own in MAY_IMPORT, f"{path.name} is a part of edgenet that MAY_IMPORT does not list"
    names = {part(name) for name, _ in imported(path) if name.split(".")[0] == "edgenet"}
    assert names <= {own, *MAY_IMPORT[own]}, f"{own} must not import {names - {own, *MAY_IMPORT[own]}}"


@pytest.mark.parametrize(
    "path", [path for path in sources() if path.parts[-2] != "bench"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_runtime_imports_no_optional_package(path: Path) -> None:
    """torch only in the converter and where networks are trained, numba and llvmlite only in the kernels; elsewhere
    all of them inside functions."""
    trains = module_name(path).startswith(("edgenet.bench.training", "edgenet.bench.qat"))
    own = "training" if trains else part(module_name(path))
    allowed = {"converter": {"torch"}, "training": {"torch"}, "kernels": {"numba", "llvmlite"}}.get(own, set())
    early = {name.split(".")[0] for name, early in imported(path) if early}
    assert not early & (HEAVY - allowed)


@pytest.mark.parametrize(
    "path", [*sources(), *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda path: str(path.relative_to(ROOT))
)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < MAXIMUM_LINES


def test_top_level() -> None:
    """Tracked entries at the top, dot-files aside, are exactly those that the design names."""
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split("/")[0] for line in listing.splitlines() if not line.startswith(".")} == TOP


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import edgenet", HEAVY),
        ("import edgenet.cli", HEAVY),
        ("import edgenet.kernels.isa", HEAVY - {"numba", "llvmlite"}),
    ],
)
def test_import_is_light(statement: str, absent: set[str]) -> None:
    code = f"{statement}; import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not absent.intersection(loaded)


def test_every_package_is_installed():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    found = set()
    for name, folder in settings["package-dir"].items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join([name, *init.parent.relative_to(ROOT / folder).parts]))
    assert found == set(settings["packages"])
