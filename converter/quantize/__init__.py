"""Post-training quantization: `quantize` for int8 arithmetic, `compress` for compact storage of float32 networks."""

from __future__ import annotations

from .compress import compress
from .options import QuantizationOptions
from .posttraining import Calibrated, quantize

__all__ = ["Calibrated", "QuantizationOptions", "compress", "quantize"]
