"""Plain PyTorch definitions of well-known networks that load the state-dict keys of their trained weights."""

from .initialization import randomize_batchnorm
from .registry import Info, build, info, names
from .weights import find_weights, load_weights, read_state_dict

__all__ = [
    "Info",
    "build",
    "find_weights",
    "info",
    "load_weights",
    "names",
    "randomize_batchnorm",
    "read_state_dict",
]
