"""Whether an imported graph computes what its module does: both run once on random inputs like the example."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from edgenet.errors import ConversionError
from edgenet.graph import Graph

from .eval_mode import eval_mode, uncompiled

LEAST_SQNR = 40.0
"""dB below which outputs differ by more than the order of float32 operations explains."""


def require_agreement(graph: Graph, module: nn.Module, example: tuple[Tensor, ...]) -> None:
    """ConversionError unless the graph has the module's outputs, up to rounding, for inputs of the example's shapes.

    Outputs that are not finite there are not compared.
    """
    from .quantize.executor import Executor

    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.randn(tensor.shape, generator=generator) for tensor in example)
    expected = [output.astype(np.float64) for output in module_outputs(module, inputs)]
    executor = Executor(graph)
    if len(expected) != len(graph.outputs):
        raise ConversionError(f"The module gives {len(expected)} outputs, what was imported {len(graph.outputs)}.")
    found = executor.run({name: tensor.numpy() for name, tensor in zip(graph.inputs, inputs, strict=True)})
    for name, wanted in zip(graph.outputs, expected, strict=True):
        got = found[name].astype(np.float64)
        if got.shape != wanted.shape:
            raise ConversionError(f"The module gives an output of shape {wanted.shape}, what was imported {got.shape}.")
        error, signal = np.square(got - wanted).sum(), np.square(wanted).sum()
        if np.isfinite(signal) and error > 10 ** (-LEAST_SQNR / 10) * signal:
            raise ConversionError(
                f"The output {name} of what was imported is not the module's for the same random input. Does its "
                "forward depend on the number of samples, on values, or on what it was called with before?"
            )


def module_outputs(module: nn.Module, inputs: Sequence[Tensor]) -> list[np.ndarray]:
    """All tensors that the module returns in eval mode, in order. It stays as it was, and so do the inputs."""
    module = uncompiled(module)
    buffers = [
        (part, name, buffer, buffer.clone())
        for part in module.modules()
        for name, buffer in part.named_buffers(recurse=False)
    ]
    with eval_mode(module):
        result = module(*(tensor.clone() for tensor in inputs))
        for part, name, buffer, before in buffers:
            part._buffers[name] = buffer if torch.equal(buffer, before) else buffer.copy_(before)
    return [leaf.numpy() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
