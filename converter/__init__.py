"""From PyTorch to .edgenet graphs: `convert`, and `compare` to see where a converted network departs from its module.
`prepare_qat` makes the module that is fine-tuned for int8 before it is converted.

Importing this package does not import torch; converting does.
"""

from __future__ import annotations

from .compare import compare
from .comparison import Comparison
from .conversion import convert
from .qat import prepare_qat
from .report import Report

__all__ = ["Comparison", "Report", "compare", "convert", "prepare_qat"]
