"""What a caller may choose about post-training quantization."""

from __future__ import annotations

from dataclasses import dataclass

from edgenet.errors import ConversionError

RANGES = ("minmax", "percentile", "mse")


@dataclass(frozen=True)
class QuantizationOptions:
    """`ranges` chooses the activation ranges: "minmax" (everything seen), "percentile" (clips the share `percentile`
    leaves out, half on each side), "mse" (least squared error of the values seen).
    """

    ranges: str = "mse"
    percentile: float = 99.99

    def __post_init__(self) -> None:
        if self.ranges not in RANGES:
            raise ConversionError(f"There are no ranges named {self.ranges!r}. Choose one of {', '.join(RANGES)}.")
        if not 50 < self.percentile <= 100:
            raise ConversionError(f"The percentile must lie above 50 and at most at 100, not {self.percentile}.")
