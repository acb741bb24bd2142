"""Rounding of weights that minimises the error of a layer's output instead of that of each weight (GPTQ).

Weights are rounded one input at a time; the error made is compensated in the weights not yet rounded, as the second
moments of the layer's input tell (Frantar et al. 2022, arXiv:2210.17323). Moments are taken about the mean: what the
rounding does to the mean of the output goes into the bias.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from edgenet.graph import Graph, Node
from edgenet.ops import complete_attributes

from .executor import Executor
from .float_ops import channels_first

LARGEST = 2**23
"""Entries of a matrix of second moments; layers that would need more are rounded to nearest."""
POSITIONS = 784
"""Output positions used of each sample, spread evenly."""
DAMPING = 0.003
"""Share of the mean variance added to every variance, so that inputs never seen do not matter without bound."""


@dataclass
class Moments:
    """Sums over a layer's input patches, [groups, inputs] and [groups, inputs, inputs]; inputs in the order
    (channel, row, column) within a group.
    """

    total: torch.Tensor
    products: torch.Tensor
    count: int = 0

    def add(self, patches: torch.Tensor) -> None:
        """Add patches [groups, positions, inputs]."""
        self.total += patches.sum(1)
        self.products += patches.transpose(1, 2) @ patches
        self.count += patches.shape[1]

    def mean(self) -> torch.Tensor:
        return self.total.double() / self.count

    def covariance(self) -> torch.Tensor:
        mean = self.mean()
        return self.products.double() / self.count - mean[:, :, None] * mean[:, None, :]


def extract_patches(x: torch.Tensor, node: Node, kernel: tuple[int, int]) -> torch.Tensor:
    """Patches [groups, positions, inputs] that a conv2d or linear node multiplies with its weights."""
    if node.operation == "linear":
        rows = x.reshape(1, -1, x.shape[-1])
        return rows[:, :: max(1, rows.shape[1] // (POSITIONS * len(x)))]
    a = complete_attributes(node)
    top, bottom, left, right = a["padding"]
    (sh, sw), (dh, dw) = a["stride"], a["dilation"]
    wide = F.pad(channels_first(x), (left, right, top, bottom))
    height = (wide.shape[2] - dh * (kernel[0] - 1) - 1) // sh + 1
    width = (wide.shape[3] - dw * (kernel[1] - 1) - 1) // sw + 1
    step = max(1, int(np.sqrt(height * width / POSITIONS)))
    rows, columns = torch.arange(0, height, step) * sh, torch.arange(0, width, step) * sw
    taps = [wide[:, :, rows + i * dh][:, :, :, columns + j * dw] for i in range(kernel[0]) for j in range(kernel[1])]
    stacked = torch.stack(taps, 2)
    batch, channels, count = stacked.shape[:3]
    grouped = stacked.reshape(batch, a["groups"], channels // a["groups"] * count, -1)
    return grouped.permute(1, 0, 3, 2).reshape(a["groups"], -1, grouped.shape[2])


def extract_positions(y: torch.Tensor, node: Node, groups: int) -> torch.Tensor:
    """Values [groups, positions, outputs] of a node's output at the positions that `extract_patches` takes."""
    if node.operation == "linear":
        rows = y.reshape(1, -1, y.shape[-1])
        return rows[:, :: max(1, rows.shape[1] // (POSITIONS * len(y)))]
    step = max(1, int(np.sqrt(y.shape[1] * y.shape[2] / POSITIONS)))
    chosen = y[:, ::step, ::step]
    return chosen.reshape(-1, groups, y.shape[-1] // groups).permute(1, 0, 2)


def flat_weight(weight: np.ndarray, groups: int) -> np.ndarray:
    """[O, ..., I] as [groups, O / groups, inputs], inputs in the order of `Moments`."""
    return np.moveaxis(weight, -1, 1).reshape(groups, len(weight) // groups, -1)


def unflat_weight(flat: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Inverse of `flat_weight` for a weight of the shape of `like`."""
    return np.moveaxis(flat.reshape(len(like), like.shape[-1], *like.shape[1:-1]), 1, -1)


def collect_moments(graph: Graph, samples: Iterable[dict[str, np.ndarray]], layers: list[Node]) -> dict[str, Moments]:
    """Moments of each layer's input by node name, over samples (inputs by name); none for layers that are too large."""
    found: dict[str, Moments] = {}
    shared: dict[tuple[object, ...], tuple[Node, tuple[int, int], Moments]] = {}
    for node in layers:
        shape = graph.tensors[node.inputs["weight"]].shape
        kernel = (shape[1], shape[2]) if len(shape) == 4 else (1, 1)
        groups, inputs = int(node.attributes.get("groups", 1)), int(np.prod(shape[1:]))
        if groups * inputs * inputs > LARGEST:
            continue
        geometry = {
            k: v for k, v in complete_attributes(node).items() if k in ("stride", "padding", "dilation", "groups")
        }
        key = (node.operation, node.inputs["x"], kernel, str(geometry))
        if key not in shared:
            moments = Moments(torch.zeros(groups, inputs), torch.zeros(groups, inputs, inputs))
            shared[key] = (node, kernel, moments)
        found[node.name] = shared[key][2]
    readers: dict[str, list[tuple[Node, tuple[int, int], Moments]]] = {}
    for entry in shared.values():
        readers.setdefault(entry[0].inputs["x"], []).append(entry)

    def observe(name: str, value: torch.Tensor) -> None:
        for node, kernel, moments in readers.get(name, ()):
            moments.add(extract_patches(value, node, kernel))

    executor = Executor(graph)
    for sample in samples:
        executor.run(sample, observe)
    return found


def _inverse_factor(covariance: torch.Tensor) -> torch.Tensor:
    """The upper triangular factor U of the inverse, U^T U [groups, inputs, inputs].

    Where rounding has left the matrix without one (few positions, many inputs), variances are raised until it has.
    """
    raised = torch.zeros(len(covariance), 1, dtype=covariance.dtype)
    least = 1e-6 * covariance.diagonal(dim1=1, dim2=2).mean(1, keepdim=True).clamp_min(1e-30)
    while True:
        shifted = covariance + torch.diag_embed(raised.expand(covariance.shape[:2]))
        lower, failed = torch.linalg.cholesky_ex(shifted.flip(1, 2))
        if not failed.any():
            break
        raised = torch.where(failed[:, None] > 0, torch.maximum(least, 10 * raised), raised)
    identity = torch.eye(covariance.shape[1], dtype=covariance.dtype).expand_as(covariance)
    return torch.linalg.solve_triangular(lower, identity, upper=False).flip(1, 2)


def round_weights(
    weight: np.ndarray, scale: np.ndarray, moments: Moments, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """(int8 weights, what to add to the bias) for `weight` [O, ..., I] at `scale` [O].

    `step` is the scale of the layer's int8 input, whose rounding acts as noise on every input.
    """
    groups, inputs = moments.total.shape
    rows = torch.from_numpy(flat_weight(weight, groups).astype(np.float64))
    scales = torch.from_numpy(scale.reshape(groups, -1).copy())
    covariance = moments.covariance()
    variance = covariance.diagonal(dim1=1, dim2=2)
    noise = step**2 / 12 + DAMPING * variance.mean(1, keepdim=True)
    covariance = covariance + torch.diag_embed(noise.expand(groups, inputs))
    order = variance.sum(0).argsort(descending=True)
    covariance = covariance[:, order][:, :, order]
    upper = _inverse_factor(covariance)
    left, stored = rows[:, :, order].clone(), torch.empty_like(rows)
    for start in range(0, inputs, 64):
        stop = min(start + 64, inputs)
        errors = torch.empty(*rows.shape[:2], stop - start, dtype=torch.float64)
        for j in range(start, stop):
            column = left[:, :, j]
            whole = (column / scales).round().clamp(-127, 127)
            error = (column - whole * scales) / upper[:, j, j, None]
            left[:, :, j:stop] -= error[:, :, None] * upper[:, None, j, j:stop]
            stored[:, :, j], errors[:, :, j - start] = whole, error
        left[:, :, stop:] -= errors @ upper[:, start:stop, stop:]
    stored = stored[:, :, order.argsort()]
    shift = ((rows - stored * scales[:, :, None]) @ moments.mean()[:, :, None]).reshape(-1)
    return unflat_weight(stored.numpy().astype(np.int8), weight), shift.numpy()
