"""How much the outputs of a network feel an error in each channel of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch

from edgenet.graph import Graph

from .executor import Executor

Observer = Callable[[str, torch.Tensor, torch.Tensor], None]


def observe_gradients(graph: Graph, samples: Iterable[Mapping[str, np.ndarray]], observe: Observer) -> None:
    """Call `observe` with the name, value and gradient of each activation, for every sample.

    An error e in one value adds about the square of (e times its gradient) to the squared error of the outputs, each
    output taken relative to its own mean square. The gradient of a sum of the outputs with random signs stands for the
    sum of their squared gradients. What no output depends on has the gradient 0.
    """
    generator = torch.Generator().manual_seed(0)
    executor = Executor(graph)
    waiting: dict[str, torch.Tensor] = {}

    def seen(name: str, value: torch.Tensor) -> None:
        if name in graph.inputs:
            value.requires_grad_(True)
        waiting[name] = value.detach()
        if value.requires_grad:
            value.register_hook(lambda gradient: observe(name, waiting.pop(name), gradient))

    for sample in samples:
        outputs = executor.trace(sample, seen)
        total = torch.zeros(())
        for value in outputs.values():
            signs = torch.randint(0, 2, value.shape, generator=generator) * 2.0 - 1.0
            total = total + (value * signs).sum() / value.detach().square().mean().sqrt().clamp_min(1e-12)
        total.backward()
        for name, value in waiting.items():
            observe(name, value, torch.zeros_like(value))
        waiting.clear()


def channel_sensitivity(graph: Graph, samples: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Mean squared gradient (see `observe_gradients`) for each index of the last axis of every activation.

    One of one value a sample has a single index.
    """
    shapes = {name: tensor.shape for name, tensor in graph.tensors.items() if name not in graph.constants}
    found = {name: np.zeros(shape[-1] if len(shape) > 1 else 1) for name, shape in shapes.items()}
    seen = dict.fromkeys(found, 0)

    def add(name: str, value: torch.Tensor, gradient: torch.Tensor) -> None:
        found[name] += gradient.reshape(-1, len(found[name])).square().sum(0).double().numpy()
        seen[name] += value.numel() // len(found[name])

    observe_gradients(graph, samples, add)
    return {name: found[name] / max(seen[name], 1) for name in found}
