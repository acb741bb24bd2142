"""Pictures for the tests."""

from __future__ import annotations

import numpy as np
from PIL import Image

from edgenet.graph import Preprocessing

IMAGENET = Preprocessing()


def gradient(width: int, height: int) -> Image.Image:
    """An RGB picture without symmetries."""
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 7 % 256, y * 11 % 256, (x + 2 * y) % 256], -1).astype(np.uint8))
