"""What convert puts into a graph beside the network, and how it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import edgenet
from edgenet import reference
from edgenet.converter import convert, zoo
from edgenet.converter.golden import golden_shapes
from edgenet.errors import ConversionError
from edgenet.validate import validate


def test_importing_the_converter_does_not_import_torch():
    import subprocess
    import sys

    code = "import edgenet.converter, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_converting_without_torch_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConversionError, match="pip install"):
        convert("tiny_separable")


def test_graph_is_optimised_valid_and_carries_its_metadata():
    labels = [f"class {i}" for i in range(10)]
    preprocessing = edgenet.Preprocessing(None, 32)
    graph = convert("tiny_separable", labels=labels, preprocessing=preprocessing, name="mine")
    validate(graph)
    assert {node.operation for node in graph.nodes} == {"permute", "conv2d", "mean", "flatten", "linear"}
    assert graph.metadata.labels == labels
    assert graph.metadata.preprocessing == preprocessing
    assert graph.metadata.provenance == {
        "name": "mine",
        "source": "random weights",
        "arch": "tiny_separable",
        "precision": "float32",
        "torch": str(torch.__version__),
        "edgenet": edgenet.__version__,
    }


def test_converting_twice_gives_the_same_graph():
    first, second = convert("tiny_separable"), convert("tiny_separable")
    assert first.metadata == second.metadata
    assert first.nodes == second.nodes
    assert first.tensors == second.tensors
    assert all(np.array_equal(array, second.constants[name]) for name, array in first.constants.items())


def test_golden_pair_is_what_the_oracle_computes():
    graph = convert("tiny_separable")
    inputs = {name: graph.constants[constant] for name, constant in graph.metadata.golden_inputs.items()}
    outputs = reference.run(graph, inputs)
    assert set(graph.metadata.golden_outputs) == set(graph.outputs)
    for name, constant in graph.metadata.golden_outputs.items():
        np.testing.assert_array_equal(graph.constants[constant], outputs[name])


def test_golden_pictures_are_small_where_the_outputs_stay_the_same():
    module = zoo.build("mobilenet_v2")
    assert golden_shapes(convert(module)) == {"x": (1, 3, 32, 32)}
    fully_convolutional = convert(nn.Conv2d(3, 4, 1), (torch.randn(1, 3, 70, 60),))
    assert golden_shapes(fully_convolutional) == {"input": (1, 3, 70, 60)}


class Fusion(nn.Module):
    """Adds a branch of fixed size to one that has the size of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.coarse, self.fine = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        coarse = F.interpolate(F.avg_pool2d(x, 4), (64, 64))
        return F.adaptive_avg_pool2d(self.coarse(coarse) + self.fine(x), 1)


def test_golden_pictures_have_a_size_that_every_node_takes():
    example = torch.randn(1, 3, 64, 64)
    graph = convert(Fusion(), (example,))
    assert any("residual" in node.inputs for node in graph.nodes)
    assert golden_shapes(graph) == {"x": (1, 3, 64, 64)}
    validate(graph)


def test_progress_is_reported_in_order():
    calls: list[tuple[str, int, int]] = []
    convert("tiny_separable", progress=lambda *call: calls.append(call))
    stages = list(dict.fromkeys(stage for stage, _, _ in calls))
    assert stages == ["import", "golden pair"]
    for stage in stages:
        done = [call[1] for call in calls if call[0] == stage]
        assert done == sorted(done)
        assert done[-1] == next(call[2] for call in calls if call[0] == stage)


def test_unknown_precision():
    with pytest.raises(ConversionError, match="no precision 'int4'"):
        convert("tiny_separable", precision="int4")


@pytest.mark.parametrize(("labels", "message"), [(["a"], "labels holds 1"), ("abc", "labels holds one string")])
def test_labels_must_fit_the_classes(labels, message):
    with pytest.raises(ConversionError, match=message):
        convert("tiny_separable", labels=labels)


def test_labels_of_every_pixel_are_those_of_the_channels(tmp_path):
    module, labels = torch.nn.Conv2d(3, 5, 1), list("abcde")
    graph = convert(module, (torch.zeros(1, 3, 8, 6),), labels=labels)
    graph.save(tmp_path / "m.edgenet")
    assert edgenet.load(tmp_path / "m.edgenet").graph.metadata.labels == labels
    with pytest.raises(ConversionError, match="has 5 classes, but labels holds 6"):
        convert(module, (torch.zeros(1, 3, 8, 6),), labels=[*labels, "f"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"calibration": []}, "calibration is for int8"),
        ({"calibration": [], "precision": "float16"}, "calibration is for int8"),
        ({"test": "/nowhere"}, "give max_drop"),
        ({"max_drop": -1, "precision": "int8", "calibration": []}, "max_drop must be at least 0"),
        ({"preprocessing": {"resize": 0}}, "Preprocessing resize is 0"),
        ({"test": "/nowhere", "precision": "int8", "calibration": []}, "give max_drop"),
    ],
)
def test_what_would_not_be_used_is_refused(settings, message):
    with pytest.raises(ConversionError, match=message):
        convert("tiny_separable", **settings)


class _ByBatch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return self.conv(x) if x.shape[0] == 1 else self.conv(x) * 2


def test_a_module_that_computes_something_else_on_its_example_is_refused():
    module = _ByBatch().train()
    with pytest.raises(ConversionError, match="depend on the number of samples"):
        convert(module, (torch.randn(1, 3, 8, 8),))
    assert convert(module, (torch.randn(2, 3, 8, 8),)).nodes
    assert module.calls == 0
    assert module.training


@pytest.mark.parametrize("wrap", [torch.compile, nn.DataParallel])
def test_wrapped_modules(wrap):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    x = torch.randn(2, 3, 8, 8)
    graph = convert(wrap(module), (x[:1],))
    with torch.no_grad():
        expected = module(x).numpy()
    found = reference.run(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_weights_with_nan_are_named():
    module = zoo.build("tiny_separable")
    with torch.no_grad():
        module.get_parameter("classifier.bias")[2] = float("nan")
    with pytest.raises(ConversionError, match=r"NaN or infinite values in classifier\.bias"):
        convert(module)


def calibration() -> list[np.ndarray]:
    random = np.random.default_rng(2)
    return [random.standard_normal((3, 32, 32)).astype(np.float32) for _ in range(4)]


@pytest.mark.parametrize("precision", ["int8", "weights_int8", "float16"])
def test_precisions(precision, tmp_path):
    module = zoo.randomize_batchnorm(zoo.build("tiny_separable"))
    calls: list[str] = []
    graph = convert(
        module,
        precision=precision,
        calibration=calibration() if precision == "int8" else None,
        labels=[str(i) for i in range(10)],
        progress=lambda stage, done, total: calls.append(stage),
    )
    validate(graph)
    assert graph.metadata.provenance["precision"] == precision
    assert graph.metadata.labels is not None
    assert graph.metadata.golden_outputs.keys() == set(graph.outputs)
    assert ("calibrate" in calls) == (precision == "int8")
    x = np.stack(calibration())
    got = reference.run(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy()
    assert (
        np.corrcoef(got.ravel(), wanted.ravel())[0, 1]
        > {"int8": 0.98, "weights_int8": 0.99, "float16": 0.9999}[precision]
    )
    graph.save(tmp_path / "m.edgenet")
    plain = convert(module)
    plain.save(tmp_path / "plain.edgenet")
    assert (tmp_path / "m.edgenet").stat().st_size < 0.75 * (tmp_path / "plain.edgenet").stat().st_size


def test_int8_conversions_are_reproducible():
    first, second = (convert("tiny_separable", precision="int8", calibration=calibration()) for _ in range(2))
    assert first.nodes == second.nodes
    assert first.tensors == second.tensors
    assert all(np.array_equal(array, second.constants[name]) for name, array in first.constants.items())


def test_folders_of_images_calibrate_with_the_preprocessing_of_the_zoo(tmp_path):
    from PIL import Image

    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 36, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    graph = convert("tiny_separable", precision="int8", calibration=tmp_path)
    assert any(node.operation == "quantize" for node in graph.nodes)
