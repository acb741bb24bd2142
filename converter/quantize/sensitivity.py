"""How much the outputs of a network feel an error in each channel of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch

from edgenet.graph import Graph

from .executor import Executor


def channel_sensitivity(
    graph: Graph, samples: Iterable[Mapping[str, np.ndarray]], seed: int = 0
) -> dict[str, np.ndarray]:
    """Mean squared gradient of the outputs for each index of the last axis of every activation, over samples.

    An error of variance v in each of n values of a channel adds v * n * (the channel's sensitivity) to the squared
    error of the outputs, each output taken relative to its own mean square. The gradient of a sum of the outputs with
    random signs stands for the sum of their squared gradients.
    """
    activations = [name for name in graph.tensors if name not in graph.constants]
    found = {name: np.zeros(graph.tensors[name].shape[-1]) for name in activations}
    seen = dict.fromkeys(found, 0)
    generator = torch.Generator().manual_seed(seed)
    executor = Executor(graph)

    def hook(name: str, gradient: torch.Tensor) -> None:
        found[name] += gradient.reshape(-1, gradient.shape[-1]).square().sum(0).double().numpy()

    def observe(name: str, value: torch.Tensor) -> None:
        if name in graph.inputs:
            value.requires_grad_(True)
        if name in found and value.requires_grad:
            seen[name] += value.numel() // value.shape[-1]
            value.register_hook(lambda gradient: hook(name, gradient))

    for sample in samples:
        outputs = executor.trace(sample, observe)
        total = torch.zeros(())
        for value in outputs.values():
            signs = torch.randint(0, 2, value.shape, generator=generator) * 2.0 - 1.0
            total = total + (value * signs).sum() / value.detach().square().mean().sqrt().clamp_min(1e-12)
        total.backward()
    return {name: found[name] / max(seen[name], 1) for name in found}
