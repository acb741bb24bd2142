"""Everything that can be handed to convert, and what it says about what cannot."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
import torch
from torch import nn

import edgenet
from edgenet import reference
from edgenet.converter import convert, zoo
from edgenet.converter.checkpoint import open_checkpoint
from edgenet.errors import ConversionError

FACTORY = """
from torch import nn


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 5))


class Sized(nn.Sequential):
    input_size = (3, 8, 8)

    def __init__(self):
        super().__init__(nn.Conv2d(3, 4, 3))


def number():
    return 3


def needy(width):
    return nn.Conv2d(3, width, 1)
"""


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 8 * 8, 5)).eval()


def agrees(graph: edgenet.Graph, module: nn.Module, *shape: int) -> None:
    x = torch.randn(2, *shape)
    got = reference.run(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]]
    with torch.no_grad():
        np.testing.assert_allclose(got, module(x).numpy(), rtol=1e-4, atol=1e-4)


def factory_module(tmp_path, monkeypatch, name: str) -> str:
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_a_module_an_exported_program_and_a_pt2_file_give_the_same_graph(tmp_path):
    module, example = network(), (torch.randn(2, 3, 8, 8),)
    program = torch.export.export(module, example, dynamic_shapes=({0: torch.export.Dim("n")},))
    torch.export.save(program, tmp_path / "net.pt2")
    for source in (module, program, tmp_path / "net.pt2", str(tmp_path / "net.pt2")):
        graph = convert(source, example if source is module else None)
        agrees(graph, module, 3, 8, 8)
    assert graph.metadata.provenance["source"] == "net.pt2"
    agrees(convert(program, (torch.randn(1, 3, 8, 8),)), module, 3, 8, 8)
    with pytest.raises(ConversionError, match=r"a \.pt2 file has its own"):
        convert(tmp_path / "net.pt2", example)


def test_zoo_names_bring_their_preprocessing():
    graph = convert("tiny_separable")
    assert graph.metadata.preprocessing == zoo.info("tiny_separable").preprocessing
    assert graph.metadata.provenance["source"] == "random weights"
    agrees(graph, zoo.build("tiny_separable"), 3, 32, 32)


@pytest.mark.parametrize("precision", ["zoo", "mapping"])
def test_weights_with_a_zoo_architecture(tmp_path, precision):
    module = zoo.build("tiny_separable", seed=7)
    torch.save(module.state_dict(), tmp_path / "w.pth")
    source = tmp_path / "w.pth" if precision == "zoo" else module.state_dict()
    graph = convert(source, arch="tiny_separable")
    assert graph.metadata.provenance["arch"] == "tiny_separable"
    agrees(graph, module, 3, 32, 32)


def test_other_numbers_of_classes_and_channels_are_taken_from_the_weights():
    module = zoo.build("mobilenet_v2", num_classes=7, in_channels=1)
    checkpoint = open_checkpoint(module.state_dict(), "mobilenet_v2")
    assert isinstance(checkpoint.exportable, nn.Module)
    assert checkpoint.exportable.state_dict()["classifier.1.weight"].shape == (7, 1280)
    assert checkpoint.example is not None
    assert tuple(checkpoint.example[0].shape) == (1, 1, 224, 224)
    assert checkpoint.preprocessing is not None
    assert checkpoint.preprocessing.color == "L"


def test_preprocessing_of_the_zoo_follows_the_size_of_the_example():
    checkpoint = open_checkpoint("mobilenet_v2", example_inputs=(torch.zeros(1, 3, 112, 112),))
    assert checkpoint.preprocessing is not None
    assert (checkpoint.preprocessing.resize, checkpoint.preprocessing.crop) == (128, 112)
    module = open_checkpoint(zoo.build("mobilenet_v2"), "mobilenet_v2")
    assert module.preprocessing == zoo.info("mobilenet_v2").preprocessing
    assert open_checkpoint(zoo.build("mobilenet_v2")).preprocessing is None


@pytest.mark.parametrize("batch", [1, 4])
def test_programs_of_a_fixed_batch_take_any_number_of_samples(batch):
    module = network()
    agrees(convert(torch.export.export(module, (torch.randn(batch, 3, 8, 8),))), module, 3, 8, 8)


def test_weights_with_a_factory_of_the_current_folder(tmp_path, monkeypatch):
    name = factory_module(tmp_path, monkeypatch, "factory_good")
    module = network()
    torch.save(module.state_dict(), tmp_path / "w.pth")
    graph = convert(tmp_path / "w.pth", (torch.randn(1, 3, 8, 8),), arch=f"{name}:small")
    agrees(graph, module, 3, 8, 8)
    assert str(tmp_path) not in sys.path
    sized = nn.Sequential(nn.Conv2d(3, 4, 3))
    assert convert(sized.state_dict(), arch=f"{name}:Sized").tensors["input"].shape[1:] == (3, 8, 8)


def test_safetensors(tmp_path):
    from safetensors.torch import save_file

    module = zoo.build("tiny_separable", seed=3)
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    agrees(convert(tmp_path / "w.safetensors", arch="tiny_separable"), module, 3, 32, 32)
    (tmp_path / "bad.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ConversionError, match="not a readable safetensors file"):
        convert(tmp_path / "bad.safetensors", arch="tiny_separable")


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ("no_such_net", "no network named no_such_net"),
        ("no_such_package_here:net", "no_such_package_here of --arch"),
        ("factory_bad:nothing", "has no nothing"),
        ("factory_bad:number", "gave a int, not an nn.Module"),
        ("factory_bad:needy", "must need no arguments"),
        (None, "holds weights only"),
        ("tiny_separable", "The weights do not fit"),
        ("factory_bad:small", "Pass example_inputs.*--input-size"),
    ],
)
def test_wrong_architectures_are_explained(tmp_path, monkeypatch, arch, message):
    factory_module(tmp_path, monkeypatch, "factory_bad")
    torch.save(network().state_dict(), tmp_path / "w.pth")
    with pytest.raises(ConversionError, match=message):
        convert(tmp_path / "w.pth", arch=arch)


def test_keys_that_do_not_match_are_named(tmp_path, monkeypatch):
    name = factory_module(tmp_path, monkeypatch, "factory_keys")
    state = dict(network().state_dict())
    state["head.weight"] = state.pop("3.weight")
    with pytest.raises(ConversionError, match=r"missing: 3\.weight; 1 unknown: head\.weight"):
        convert(state, (torch.randn(1, 3, 8, 8),), arch=f"{name}:small")


def test_pickled_code_is_refused_and_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / "evil.pth").write_bytes(pickle.dumps({"weight": Attack()}, protocol=2))
    with pytest.raises(ConversionError, match="runs no code"):
        convert(tmp_path / "evil.pth", arch="tiny_separable")
    assert not (tmp_path / "ran").exists()


def test_truncated_and_missing_files(tmp_path):
    torch.save(zoo.build("tiny_separable").state_dict(), tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(data[: len(data) // 2])
    (tmp_path / "cut.pt2").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConversionError, match="not a readable PyTorch checkpoint"):
        convert(tmp_path / "cut.pth", arch="tiny_separable")
    with pytest.raises(ConversionError, match=r"no \.pt2 file"):
        convert(tmp_path / "cut.pt2")
    with pytest.raises(ConversionError, match="neither a file"):
        convert(tmp_path / "missing.pth", arch="tiny_separable")
    with pytest.raises(ConversionError, match="is a folder"):
        convert(tmp_path)


def test_files_of_other_kinds_are_named(tmp_path):
    convert("tiny_separable").save(str(tmp_path / "m.pth"))
    with pytest.raises(ConversionError, match=r"m\.pth is an \.edgenet file already"):
        convert(tmp_path / "m.pth")
    torch.jit.save(torch.jit.trace(network(), torch.zeros(1, 3, 8, 8)), tmp_path / "scripted.pth")
    with pytest.raises(ConversionError, match="holds TorchScript"):
        convert(tmp_path / "scripted.pth", arch="tiny_separable")


def test_what_a_source_says_itself_is_refused():
    program = torch.export.export(network(), (torch.randn(1, 3, 8, 8),))
    with pytest.raises(ConversionError, match="the sizes that the program was exported with"):
        convert(program, (torch.zeros(1, 3, 9, 8),))
    with pytest.raises(ConversionError, match="itself a network of the zoo"):
        convert("tiny_separable", arch="mobilenet_v1")


def test_examples_become_float32():
    checkpoint = open_checkpoint(network(), example_inputs=(np.zeros((1, 3, 8, 8)), torch.zeros(1).half()))
    assert checkpoint.example is not None
    assert [tensor.dtype for tensor in checkpoint.example] == [torch.float32] * 2


@pytest.mark.parametrize("shape", [(128,), (3, 9, 8)])
def test_an_input_that_the_module_does_not_take_is_named(shape):
    size = "x".join(map(str, (1, *shape)))
    with pytest.raises(ConversionError, match=f"does not take an input of {size} .batch first.: "):
        convert(network(), (torch.zeros(1, *shape),))


@pytest.mark.parametrize("source", [3, None, object()])
def test_other_objects_are_refused(source):
    with pytest.raises(ConversionError, match="cannot be converted"):
        convert(source)


def test_a_module_without_known_input_size_needs_an_example():
    with pytest.raises(ConversionError, match="Pass example_inputs"):
        convert(network())
    with pytest.raises(ConversionError, match="example_inputs must be a tuple"):
        convert(network(), ["a picture"])
