"""The settings of a training run, in one value that checkpoints carry."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgenet.errors import InputError

INITIALIZATIONS = ("kaiming", "xavier", "gaussian")
OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
SCHEDULES = ("constant", "step", "cosine", "exponential")
NORMALIZATIONS = ("channel", "mean-image")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained. The defaults suit small networks with batch norm on pictures of 28 or 32 pixels.

    `rate` is the highest learning rate: reached after `warmup` epochs of linear growth, then annealed by `schedule` to
    `decay` times itself ("cosine" ends at 0; "step" multiplies by `decay` after each third of what is left).
    `momentum` counts for the optimizer of that name (Nesterov's form); `weight_decay` for weights, not for biases or
    batch norm. `flip` mirrors half of the pictures; `crop` shifts by up to so many pixels; `scale` resizes by up to
    that share; `jitter` changes brightness, contrast and saturation by up to that share; `cutout` blanks a square of
    that side; `mixup` and `cutmix` are the alpha of their Beta distribution; 0 leaves each out.
    For transfer learning, the first `frozen` stages keep their weights for `thaw` epochs (0: to the end), and layers
    other than the head learn at `backbone_rate` times the rate.
    """

    epochs: int = 6
    batch: int = 128
    seed: int = 0
    initialization: str = "kaiming"
    batch_norm: bool = True
    optimizer: str = "momentum"
    rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "cosine"
    decay: float = 0.1
    warmup: float = 0.5
    label_smoothing: float = 0.0
    normalization: str = "channel"
    flip: bool = True
    crop: int = 2
    scale: float = 0.0
    jitter: float = 0.0
    cutout: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    frozen: int = 0
    thaw: int = 0
    backbone_rate: float = 1.0

    def __post_init__(self) -> None:
        choices = {
            "initialization": INITIALIZATIONS,
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "normalization": NORMALIZATIONS,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise InputError(f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}.")
        ranges = {
            **dict.fromkeys(("epochs", "batch"), (1, math.inf)),
            **dict.fromkeys(("rate", "decay"), (1e-12, math.inf)),
            **dict.fromkeys(("weight_decay", "warmup", "crop", "cutout", "mixup", "cutmix"), (0, math.inf)),
            **dict.fromkeys(("frozen", "thaw", "seed", "backbone_rate"), (0, math.inf)),
            **dict.fromkeys(("momentum", "label_smoothing", "scale", "jitter"), (0, 0.999)),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise InputError(f"{name} must lie between {low} and {high}, not {getattr(self, name)}.")
