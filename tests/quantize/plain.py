"""Quantization without the search for better weights, which takes most of its time: for tests of what comes after."""

from edgenet.converter.quantize import QuantizationOptions

PLAIN = QuantizationOptions(weighted=False, equalize=False, rounding="nearest")
