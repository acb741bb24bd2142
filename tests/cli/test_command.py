"""The command as a whole: help, version, exit codes, and what starting it costs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import edgenet
from edgenet.cli import COMMANDS

FOLDER = Path(edgenet.__file__).parent / "commands"


SHARED = ("__init__", "console", "layers", "bench_separable", "streams")
"""Files beside the commands that hold parts of them."""


def test_every_command_has_a_file() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == {*COMMANDS, *SHARED}


@pytest.mark.parametrize("name", COMMANDS)
def test_help(command: Callable, name: str) -> None:
    result = command(name, "--help")
    assert result.code == 0
    assert result.out.startswith(f"usage: edgenet {name}")


def test_overview_names_every_command(command: Callable) -> None:
    result = command("--help")
    assert all(f"\n    {name} " in result.out for name in COMMANDS)


def test_public_names_are_listed() -> None:
    assert set(edgenet.__all__) <= set(dir(edgenet))


def test_version_of_module_and_command() -> None:
    done = subprocess.run([sys.executable, "-m", "edgenet", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"edgenet {edgenet.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [(), ("fly",), ("run",), ("run", "m.edgenet", "x.png", "--threads", "0"), ("profile", "m", "--batch", "-1")],
)
def test_unusable_command_lines(command: Callable, arguments: tuple[str, ...]) -> None:
    result = command(*arguments)
    assert result.code == 2
    assert result.err.startswith("usage: edgenet")


def test_running_a_picture_needs_neither_torch_nor_rich_nor_a_compiler(models: dict[str, Path], picture: Path) -> None:
    """Once its kernels are in the cache, `edgenet run` imports none of the heavy packages."""
    edgenet.load(models["float32"]).warm()
    code = (
        "import sys; from edgenet.cli import main; "
        "code = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    arguments = [sys.executable, "-c", code, "run", str(models["float32"]), str(picture)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert not {"torch", "rich", "numba", "llvmlite"} & set(done.stderr.split())


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_characters_that_stdout_lacks_are_escaped(models: dict[str, Path], picture: Path, encoding: str) -> None:
    picture = picture.rename(picture.with_name("Katze \N{GREEK SMALL LETTER ALPHA}.png"))
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    arguments = [sys.executable, "-m", "edgenet", "run", str(models["float32"]), str(picture)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, env=environment)
    assert "Katze \\u03b1.png" in done.stdout


def test_a_closed_pipe_is_no_error_message(models: dict[str, Path]) -> None:
    script = f"{sys.executable} -m edgenet kernels | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr
