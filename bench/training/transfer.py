"""Transfer learning: another network's weights below a new head, and stages whose weights stay as they are."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from edgenet.converter.zoo.initialization import BATCH_NORMS
from edgenet.converter.zoo.weights import load_weights
from edgenet.errors import InputError


def head(module: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """The name of a classifier's last layer with weights, and the layer: its outputs are the classes.

    Raises InputError when there is none.
    """
    found = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    if not found:
        raise InputError(f"{type(module).__name__} has no layer with weights that could be its head.")
    return found[-1]


def load_backbone(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy the weights in `state` into all of `module` but its head, whatever classes that was trained for.

    Raises ConversionError when the weights below the head do not fit.
    """
    name, _ = head(module)
    own = {key: value for key, value in module.state_dict().items() if key.startswith(f"{name}.")}
    below = {key: value for key, value in state.items() if not key.startswith(f"{name}.")}
    load_weights(module, {**below, **own})


def stages(module: nn.Module) -> list[nn.Module]:
    """What can be frozen, first to last: each convolution or linear layer below the head, with what follows it."""
    _, last = head(module)
    found: list[list[nn.Module]] = []
    for layer in module.modules():
        if layer is last or next(layer.children(), None) is not None:
            continue
        if isinstance(layer, nn.Conv2d | nn.Linear) or not found:
            found.append([])
        found[-1].append(layer)
    return [nn.ModuleList(layers) for layers in found]


def freeze(module: nn.Module, count: int) -> None:
    """Keep the weights of the first `count` stages (see `stages`) as they are, and let all others learn.

    Raises InputError for more stages than there are.
    """
    found = stages(module)
    if count > len(found):
        raise InputError(f"{type(module).__name__} has {len(found)} stages below its head; {count} cannot be frozen.")
    module.requires_grad_(True)
    for stage in found[:count]:
        stage.requires_grad_(False)


def train_mode(module: nn.Module) -> None:
    """Training mode, in which batch norms of frozen stages keep their statistics."""
    module.train()
    for layer in module.modules():
        if isinstance(layer, BATCH_NORMS) and layer.weight is not None and not layer.weight.requires_grad:
            layer.eval()
