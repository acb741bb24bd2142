"""Registers the lowerings of everything that is not a matrix product or a convolution."""

from __future__ import annotations

from edgenet.prepare import lower_elementwise, lower_movement, lower_normalization, lower_pooling

_ = (lower_elementwise, lower_movement, lower_normalization, lower_pooling)
