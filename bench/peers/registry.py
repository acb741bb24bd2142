"""The peers by name."""

from __future__ import annotations

import importlib

from .job import Peer

NAMES = ("edgenet", "onnxruntime", "openvino", "ncnn", "mnn", "litert", "executorch", "torch")
"""Each is the module `peer_NAME` beside this one."""


def get(name: str) -> Peer:
    """The adapter called `name`."""
    return importlib.import_module(f".peer_{name}", __package__)  # pyright: ignore[reportReturnType]
