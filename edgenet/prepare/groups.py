"""Small groups of a grouped convolution computed together, as one whose filters are zero where they do not reach."""

from __future__ import annotations

import numpy as np


def merged_groups(groups: int, group_channels: int, lanes: int) -> int:
    """How many groups to compute as one: the most that fill no more than a vector of `lanes` output channels.

    A tile spends as long on one channel as on a vector of them. Results are the same for finite inputs; a NaN or an
    infinity in one group's input becomes NaN in the outputs of the groups computed with it, which multiply it by zero.
    """
    most = max(1, lanes // group_channels)
    return max(count for count in range(1, most + 1) if groups % count == 0)


def merge_filters(filters: np.ndarray, groups: int, count: int) -> np.ndarray:
    """Filters [C, taps, D] of `groups` groups as those of groups / count groups, [C, taps, count * D]."""
    channels, taps, depth = filters.shape
    result = np.zeros((channels, taps, count, depth), filters.dtype)
    number = np.arange(channels)
    result[number, :, number // (channels // groups) % count] = filters
    return result.reshape(channels, taps, count * depth)
