"""Which interpreters have which peers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenet.errors import InputError

from . import convert_onnx, registry

PROBE = """
import importlib.metadata, importlib.util, json, sys
modules, distributions = json.loads(sys.argv[1])
def found(name):
    try:
        return importlib.util.find_spec(name) is not None
    except ImportError:
        return False
def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
print(json.dumps([[m for m in modules if found(m)], {d: version(d) for d in distributions}]))
"""


@dataclass(frozen=True)
class Environment:
    """An interpreter, the modules it can find, the versions of the peers' distributions."""

    python: str
    modules: frozenset[str]
    versions: dict[str, str]


def interpreter(folder: Path) -> str:
    """The interpreter of a virtual environment. Raises InputError."""
    for name in ("bin/python", "Scripts/python.exe"):
        if (folder / name).exists():
            return os.path.abspath(folder / name)
    raise InputError(f"{folder} is not a virtual environment: it has no bin/python.")


def probe(python: str) -> Environment:
    """What `python` has. Raises InputError where it does not run."""
    peers = [convert_onnx, *map(registry.get, registry.NAMES)]
    modules = {name for peer in peers for name in peer.RUNTIME}
    modules |= {name for peer in peers for variant in peer.VARIANTS for name in variant.converters}
    wanted = json.dumps([sorted(modules), [peer.DISTRIBUTION for peer in peers]])
    done = subprocess.run([python, "-c", PROBE, wanted], capture_output=True, text=True, timeout=120)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise InputError(f"{python} failed: {last}")
    found, versions = json.loads(done.stdout.strip().splitlines()[-1])
    return Environment(python, frozenset(found), versions)


def environments(folders: Sequence[Path]) -> list[Environment]:
    """This interpreter's environment, then those of the virtual environments."""
    return [probe(python) for python in (sys.executable, *map(interpreter, folders))]


def having(found: Sequence[Environment], modules: Sequence[str]) -> Environment | None:
    """The first environment that has all of `modules`."""
    return next((one for one in found if one.modules.issuperset(modules)), None)
