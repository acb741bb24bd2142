"""Quantization-aware training: `prepare_qat` gives a module that trains as edgenet's int8 arithmetic will run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .module import QATModule

__all__ = ["prepare_qat"]


def prepare_qat(
    module: Any,
    example_inputs: Sequence[Any] | None = None,
    calibration: Any = None,
    *,
    averaging: float = 0.02,
    freeze_after: int = 200,
    learn_scales: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> QATModule:
    """A torch module with the weights of a float-trained `module`, to be fine-tuned in the user's own training loop.

    `module` is whatever `convert` takes: an nn.Module (with `example_inputs`, the tensors its forward takes, batch
    first), an ExportedProgram, a .pt2 file, a zoo name. The result takes and gives tensors of the same shapes (a tuple
    for several outputs) and computes, forward, exactly what the int8 graph computes that `convert(result)` gives:
    per-channel symmetric weights in -127..127, int32 biases, asymmetric int8 activations, float32 requantization that
    rounds half to even, tables for curved activations. In eval mode its outputs are the engine's to the bit, except
    behind operations without int8 arithmetic (a final softmax), which agree as in float32. Backward, rounding passes
    gradients straight through.

    Batch norms are folded with their running statistics before training, as they are at inference; the folded weights
    are what is trained. So the module trains what will run, needs no statistics that small batches could spoil, and
    starts as post-training quantization would leave the network: a few hundred steps at a learning rate of a tenth to
    a hundredth of the original are enough. It is meant for trained networks, not for training from scratch. Dropout
    is left out, as at inference.

    Ranges of activations start at what post-training quantization chooses from `calibration` (as `convert` takes
    it; default: `example_inputs`). In training mode they follow the network for `freeze_after` forward passes:
    they keep their ratio to the extremes of a sample's values, averaged over the samples of a batch and with weight
    `averaging` over batches; then, or after `freeze()`, they stay. With `learn_scales` the ranges do not move by
    themselves: their logarithmic scales are trained with the weights (LSQ: Esser et al. 2020, arXiv:1902.08153).

    Raises ConversionError for what cannot be imported, InputError for samples that do not fit.
    """
    from .prepare import prepare

    return prepare(module, example_inputs, calibration, averaging, freeze_after, learn_scales, progress)
