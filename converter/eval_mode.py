"""Running a module as it will be used, whatever mode it is in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Within, the module and its parts are in eval mode and no gradients are kept; afterwards all is as before."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def uncompiled(module: nn.Module) -> nn.Module:
    """What torch.compile has wrapped, which runs and is traced without being compiled; other modules as they are."""
    return getattr(module, "_orig_mod", module)
