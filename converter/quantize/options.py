"""What a caller may choose about post-training quantization."""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.errors import ConversionError

RANGES = ("minmax", "percentile", "mse")
ROUNDINGS = ("nearest", "output")


@dataclass(frozen=True)
class QuantizationOptions:
    """The defaults are the ones that measured best on MobileNetV2 and EfficientNet-Lite0 with trained weights.

    `ranges` chooses the activation ranges: "minmax" (everything seen), "percentile" (clips the share `percentile`
    leaves out, half on each side), "mse" (least squared error of the values seen).
    `weighted` counts each value by how much the network's outputs feel an error in it (see `collect_weighted`).
    `equalize` rescales channels that share one scale to similar ranges (see `equalization`).
    `rounding` rounds each weight to "nearest", or for the least error of the layer's "output" (see `rounding`).
    `compensate` fits each layer to what the layers before it have done to its input (see `compensation`); it needs
    rounding for the "output", and is left out where layers are kept in float32.
    `correct_bias` moves biases so that layers keep their mean outputs (see `bias_correction`).
    The last four look at the first `head` samples only, which are kept in memory.
    """

    ranges: str = "mse"
    percentile: float = 99.99
    weighted: bool = True
    equalize: bool = True
    rounding: str = "output"
    compensate: bool = False
    correct_bias: bool = False
    head: int = 32

    def __post_init__(self) -> None:
        if self.ranges not in RANGES:
            raise ConversionError(f"There are no ranges named {self.ranges!r}. Choose one of {', '.join(RANGES)}.")
        if self.rounding not in ROUNDINGS:
            raise ConversionError(f"There is no rounding {self.rounding!r}. Choose one of {', '.join(ROUNDINGS)}.")
        if self.head < 1:
            raise ConversionError(f"The head must hold at least one sample, not {self.head}.")
        if not 50 < self.percentile <= 100:
            raise ConversionError(f"The percentile must lie above 50 and at most at 100, not {self.percentile}.")
