"""The table of networks: how each is built, its input and preprocessing."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from edgenet.errors import ConversionError
from edgenet.graph import Preprocessing

from . import (
    alexnet,
    densenet,
    efficientnet_lite,
    googlenet,
    inception_v3,
    mnasnet,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    resnet,
    shufflenet_v2,
    squeezenet,
    tiny_separable,
    vgg,
)
from .initialization import initialize
from .weights import load_weights, read_state_dict, unwrap

HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Info:
    """What a zoo network expects: `input_size` (channels, height, width), the preprocessing of its trained weights."""

    name: str
    input_size: tuple[int, int, int]
    preprocessing: Preprocessing


@dataclass(frozen=True)
class Entry:
    """One row of the table. Keys of trained weights that begin with a prefix in `ignored` are accepted and dropped."""

    factory: Callable[..., nn.Module]
    size: int = 224
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    ignored: tuple[str, ...] = ()


def _lite(variant: int) -> Entry:
    """EfficientNet-Lite: (x - 127) / 128, the shorter side resized to 32 pixels more than the crop."""
    size = efficientnet_lite.VARIANTS[variant][2]
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    preprocessing = Preprocessing(size + 32, size, "bicubic", mean, std)
    return Entry(partial(efficientnet_lite.EfficientNetLite, variant), size, preprocessing)


ENTRIES: dict[str, Entry] = {
    "mobilenet_v1": Entry(mobilenet_v1.mobilenet_v1),
    "mobilenet_v1_std": Entry(mobilenet_v1.mobilenet_v1_std),
    "mobilenet_v2": Entry(mobilenet_v2.mobilenet_v2),
    "mobilenet_v3_small": Entry(mobilenet_v3.mobilenet_v3_small),
    "mobilenet_v3_large": Entry(mobilenet_v3.mobilenet_v3_large),
    **{f"efficientnet_lite{variant}": _lite(variant) for variant in efficientnet_lite.VARIANTS},
    "resnet18": Entry(resnet.resnet18),
    "resnet50": Entry(resnet.resnet50),
    "shufflenet_v2_x0_5": Entry(shufflenet_v2.shufflenet_v2_x0_5),
    "shufflenet_v2_x1_0": Entry(shufflenet_v2.shufflenet_v2_x1_0),
    "squeezenet1_0": Entry(squeezenet.squeezenet1_0),
    "squeezenet1_1": Entry(squeezenet.squeezenet1_1),
    "mnasnet1_0": Entry(mnasnet.mnasnet1_0),
    # Trained weights of both Inceptions want pixels in -1..1 (torchvision's transform_input produces the same).
    "googlenet": Entry(googlenet.googlenet, 224, Preprocessing(256, 224, "bilinear", HALF, HALF), ("aux1.", "aux2.")),
    "inception_v3": Entry(
        inception_v3.inception_v3, 299, Preprocessing(342, 299, "bilinear", HALF, HALF), ("AuxLogits.",)
    ),
    "densenet121": Entry(densenet.densenet121),
    "alexnet": Entry(alexnet.alexnet),
    "vgg11": Entry(vgg.vgg11),
    "tiny_separable": Entry(tiny_separable.tiny_separable, 32, Preprocessing(32, 32, "bilinear", HALF, HALF)),
    "tiny_standard": Entry(tiny_separable.tiny_standard, 32, Preprocessing(32, 32, "bilinear", HALF, HALF)),
}


def names() -> list[str]:
    """Names that `build` and `info` take."""
    return list(ENTRIES)


def info(name: str, **options: Any) -> Info:
    """Input size and preprocessing of network `name`.

    `options` are those of `build`: `resolution` (pixels a side) and `in_channels` change the input.
    """
    entry = _entry(name)
    size = int(options.get("resolution", entry.size))
    channels = int(options.get("in_channels", 3))
    preprocessing = replace(entry.preprocessing)
    if size != entry.size:
        scale = size / entry.size
        preprocessing = replace(preprocessing, resize=round((preprocessing.resize or size) * scale), crop=size)
    if channels == 1:
        preprocessing = replace(preprocessing, mean=HALF[:1], std=HALF[:1], color="L")
    return Info(name, (channels, size, size), preprocessing)


def build(
    name: str, *, weights: str | Path | Mapping[str, Tensor] | None = None, seed: int = 0, **options: Any
) -> nn.Module:
    """Network `name` in eval mode.

    `weights` is the path of a checkpoint or a state dict; without it the weights are Kaiming-initialised from `seed`.
    `options` go to the network: `num_classes` and `in_channels` for all, `alpha` for MobileNetV1, `width` for
    MobileNetV2 and the tiny twins, whose stem also takes a `stride`; `resolution` changes `input_size` only. The module
    carries `input_size` (channels, height, width).
    Raises ConversionError for an unknown name or option, an unreadable file, or keys that do not fit.
    """
    entry = _entry(name)
    size = info(name, **options).input_size
    arguments = {key: value for key, value in options.items() if key != "resolution"}
    known = inspect.signature(entry.factory).parameters
    unknown = [key for key in arguments if key not in known]
    if unknown:
        raise ConversionError(f"{name} has no option {', '.join(unknown)}. It takes {', '.join(known)} and resolution.")
    module = entry.factory(**arguments)
    initialize(module, seed)
    if weights is not None:
        state = unwrap(weights) if isinstance(weights, Mapping) else read_state_dict(weights)
        load_weights(module, state, entry.ignored)
    module.input_size = size  # pyright: ignore[reportArgumentType]  # Module's __setattr__ is typed for tensors
    return module.eval()


def _entry(name: str) -> Entry:
    if name not in ENTRIES:
        raise ConversionError(f"There is no network named {name}. Choose one of {', '.join(ENTRIES)}.")
    return ENTRIES[name]
