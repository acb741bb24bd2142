"""What a user hands over to be converted - a module, a program, a file, a zoo name - as something to export."""

from __future__ import annotations

import importlib
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgenet.errors import ConversionError
from edgenet.format import MAGIC
from edgenet.graph import Graph, Preprocessing

from . import zoo
from .eval_mode import eval_mode
from .zoo.registry import ENTRIES
from .zoo.weights import load_weights, unwrap

PROGRAM_SUFFIX = ".pt2"
RANDOM_WEIGHTS = "random weights"
"""The source of zoo networks without weights."""


@dataclass(frozen=True)
class Checkpoint:
    """Something that can be exported: `exportable` with the `example` inputs to trace it with (None for programs).

    `source` names it without its folder, `arch` the network that its weights were loaded into (or its class);
    `preprocessing` is what the zoo knows about it.
    """

    exportable: nn.Module | ExportedProgram | Path
    example: tuple[Tensor, ...] | None
    source: str
    arch: str
    preprocessing: Preprocessing | None = None


def open_checkpoint(source: Any, arch: str | None = None, example_inputs: Sequence[Any] | None = None) -> Checkpoint:
    """The checkpoint behind an nn.Module, an ExportedProgram, the path of a .pt2 file, a state dict (mapping or path of
    a .pth or .safetensors file) with `arch`, or the name of a zoo network.

    `arch` is a zoo name or "package.module:factory", a function or class that needs no arguments and gives the module;
    beside a module or program it only names the network, and a zoo name brings its preprocessing.
    Without `example_inputs` the module's own `input_size` (as zoo networks have it) is used; programs have theirs.
    Raises ConversionError.
    """
    example = None if example_inputs is None else _tensors(example_inputs)
    if isinstance(source, nn.Module):
        return _from_module(source, example, type(source).__name__, arch or type(source).__name__)
    if isinstance(source, ExportedProgram):
        _require_inputs(source, example)
        return Checkpoint(source, None, "ExportedProgram", arch or "", _preprocessing(arch))
    if isinstance(source, Mapping):
        return _from_weights(unwrap(source), "state dict", arch, example)
    if not isinstance(source, str | Path):
        raise ConversionError(
            f"A {type(source).__name__} cannot be converted. Pass a module, an exported program, a path or a zoo name."
        )
    path = Path(source)
    if path.is_file():
        if path.suffix == PROGRAM_SUFFIX:
            if example is not None:
                raise ConversionError("example_inputs are for modules: a .pt2 file has its own.")
            return Checkpoint(path, None, path.name, arch or "", _preprocessing(arch))
        return _from_weights(read_weights(path), path.name, arch, example)
    if str(source) in ENTRIES:
        if arch not in (None, str(source)):
            raise ConversionError(f"{source} is itself a network of the zoo: arch {arch} cannot be told with it.")
        weights = zoo.find_weights(str(source))
        origin = weights.name if weights else RANDOM_WEIGHTS
        return _from_module(zoo.build(str(source), weights=weights), example, origin, str(source))
    if path.is_dir():
        raise ConversionError(f"{path} is a folder. Pass the checkpoint file in it.")
    raise ConversionError(
        f"There is neither a file {source} nor a network of that name. Known networks: {', '.join(zoo.names())}."
    )


def import_checkpoint(checkpoint: Checkpoint) -> Graph:
    """The graph of a checkpoint as its modules define it.

    Raises ConversionError, also where a module fails by itself on the example, or computes something else there.
    """
    from .agreement import require_agreement
    from .importer import import_module

    module, example = checkpoint.exportable, checkpoint.example
    if not isinstance(module, nn.Module) or example is None:
        return import_module(module, example)
    try:
        graph = import_module(module, example)
    except ConversionError as error:
        reason = _failure(module, example)
        if reason is None:
            raise
        sizes = ", ".join("x".join(map(str, tensor.shape)) or "a scalar" for tensor in example)
        raise ConversionError(f"The module does not take an input of {sizes} (batch first): {reason}.") from error
    require_agreement(graph, module, example)
    return graph


def _failure(module: nn.Module, example: tuple[Tensor, ...]) -> str | None:
    """Why the module's own forward fails on the example; None where it does not."""
    try:
        with eval_mode(module):
            module(*example)
    except Exception as error:  # a forward raises whatever it likes
        return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200].rstrip(".")
    return None


def _require_inputs(program: ExportedProgram, example: tuple[Tensor, ...] | None) -> None:
    """ConversionError for example inputs of other sizes, but for the batch, than the program takes."""
    names = set(program.graph_signature.user_inputs)
    values = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    sizes = [tuple(value.shape[1:]) for value in values if isinstance(value, Tensor)]
    if example is not None and [tuple(tensor.shape[1:]) for tensor in example] != sizes:
        raise ConversionError("The example inputs do not have the sizes that the program was exported with.")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth or .safetensors file. No code from the file is run. Raises ConversionError."""
    _refuse_other_kinds(path)
    if path.suffix != ".safetensors":
        return zoo.read_state_dict(path)
    try:
        from safetensors.torch import load_file  # pyright: ignore[reportMissingImports]  # optional
    except ImportError:
        raise ConversionError("Reading .safetensors files needs a package: pip install safetensors.") from None
    try:
        return unwrap(load_file(path), str(path))
    except ConversionError:
        raise
    except Exception as error:
        raise ConversionError(f"{path} is not a readable safetensors file; it may be truncated.") from error


def _refuse_other_kinds(path: Path) -> None:
    """ConversionError for a file that is converted already, and for TorchScript."""
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise ConversionError(f"{path} is an .edgenet file already. Convert the checkpoint that it was made from.")
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        scripted = any(len(parts := name.split("/")) > 2 and parts[1] == "code" for name in archive.namelist())
    if scripted:
        raise ConversionError(
            f"{path} holds TorchScript, which is code. Save the weights with torch.save(model.state_dict(), path), or "
            "the network with torch.export.save."
        )


def _tensors(example_inputs: Sequence[Any]) -> tuple[Tensor, ...]:
    """Example inputs as tensors, those of other float types as float32; a single array counts as one input."""
    if isinstance(example_inputs, Tensor) or hasattr(example_inputs, "__array__"):
        example_inputs = (example_inputs,)
    try:
        tensors = (torch.as_tensor(value) for value in example_inputs)
        return tuple(tensor.float() if tensor.is_floating_point() else tensor for tensor in tensors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ConversionError(
            "example_inputs must be a tuple of the tensors that the module's forward takes."
        ) from error


def _preprocessing(arch: str | None, shape: Sequence[int] = ()) -> Preprocessing | None:
    """What the zoo knows about network `arch`, for a picture input of `shape` (N, C, H, W) where that is given."""
    if arch not in ENTRIES:
        return None
    if len(shape) != 4 or shape[2] != shape[3]:
        return zoo.info(arch).preprocessing
    return zoo.info(arch, in_channels=shape[1], resolution=shape[2]).preprocessing


def _from_module(module: nn.Module, example: tuple[Tensor, ...] | None, source: str, arch: str) -> Checkpoint:
    if example is None:
        size = getattr(module, "input_size", None)
        if not isinstance(size, list | tuple) or not all(isinstance(n, int) for n in size):
            raise ConversionError(
                "Pass example_inputs, a tuple of the tensors that the module's forward takes; on the command line, "
                "--input-size."
            )
        example = (torch.zeros(1, *size),)
    return Checkpoint(module, example, source, arch, _preprocessing(arch, example[0].shape if example else ()))


def _from_weights(
    state: Mapping[str, Tensor], source: str, arch: str | None, example: tuple[Tensor, ...] | None
) -> Checkpoint:
    if arch is None:
        raise ConversionError(
            f"{source} holds weights only. Name their network with arch: one of {', '.join(zoo.names())}, "
            "or package.module:factory."
        )
    if arch in ENTRIES:
        return _from_module(_zoo_network(arch, state), example, source, arch)
    module = build_factory(arch)
    load_weights(module, state)
    return _from_module(module.eval(), example, source, arch)


def _zoo_network(name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """Zoo network `name` with the weights in `state`, with as many classes and input channels as they have."""
    try:
        return zoo.build(name, weights=state)
    except ConversionError:
        options = _head_options(name, state)
        if not options:
            raise
    return zoo.build(name, weights=state, **options)


def _head_options(name: str, state: Mapping[str, Tensor]) -> dict[str, int]:
    """`num_classes` and `in_channels` of a zoo network's weights where they differ from the default, as after
    fine-tuning on other classes."""
    wanted = zoo.build(name).state_dict()
    differing = [key for key, value in state.items() if key in wanted and value.shape != wanted[key].shape]
    weights = [key for key in wanted if wanted[key].dim() > 1]
    options: dict[str, int] = {}
    for key in differing:
        if state[key].dim() == 0:
            continue
        if key == weights[0] and state[key].dim() == wanted[key].dim():
            options["in_channels"] = int(state[key].shape[1])
        elif state[key].shape[1:] == wanted[key].shape[1:] and key.rsplit(".", 1)[0] == weights[-1].rsplit(".", 1)[0]:
            options["num_classes"] = int(state[key].shape[0])
    return options


def build_factory(arch: str) -> nn.Module:
    """The module that "package.module:factory" makes; modules of the current folder are found too."""
    module_name, _, attribute = arch.partition(":")
    if not module_name or not attribute:
        raise ConversionError(
            f"There is no network named {arch}. Use one of {', '.join(zoo.names())}, or package.module:factory."
        )
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        factory: Any = importlib.import_module(module_name)
    except Exception as error:
        raise ConversionError(f"The module {module_name} of --arch {arch} cannot be imported: {error}.") from error
    finally:
        sys.path.remove(folder)
    for part in attribute.split("."):
        if not hasattr(factory, part):
            raise ConversionError(f"{module_name} has no {attribute}. Name a function or class that gives the module.")
        factory = getattr(factory, part)
    try:
        module = factory if isinstance(factory, nn.Module) else factory()
    except Exception as error:
        raise ConversionError(f"{arch}() failed: {error}. It must need no arguments.") from error
    if not isinstance(module, nn.Module):
        raise ConversionError(f"{arch} gave a {type(module).__name__}, not an nn.Module.")
    return module
