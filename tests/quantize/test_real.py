"""Trained networks on photographs: int8 keeps the answers. Needs the packages that carry weights and pictures."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from edgenet import format as file_format
from edgenet import reference
from edgenet.converter import zoo
from edgenet.converter.importer import import_module
from edgenet.converter.passes import optimize
from edgenet.converter.quantize import quantize
from edgenet.converter.quantize.executor import Executor
from edgenet.images import preprocess

CALIBRATION = ["motorcycle_left.png", "horse.png", "color.png", "grass.png"]
PHOTOGRAPHS = ["coffee.png", "astronaut.png"]
LIMITS = {"mobilenet_v2": 3.7e6, "efficientnet_lite0": 4.9e6}


def pictures() -> Path:
    spec = importlib.util.find_spec("skimage")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-image, whose pictures are used, is not installed")
    return Path(spec.origin).parent / "data"


@pytest.mark.parametrize("name", sorted(LIMITS))
def test_trained_network_in_int8(name, tmp_path):
    weights, folder = zoo.find_weights(name), pictures()
    if weights is None:
        pytest.skip(f"no installed package carries the weights of {name}")
    preprocessing = zoo.info(name).preprocessing
    module = zoo.build(name, weights=weights)
    graph = optimize(import_module(module, (torch.zeros(1, 3, 224, 224),)))
    int8 = quantize(graph, [preprocess(folder / file, preprocessing) for file in CALIBRATION])
    file_format.save(int8, tmp_path / "m.edgenet")
    assert (tmp_path / "m.edgenet").stat().st_size < LIMITS[name]
    source, target, key = Executor(graph), Executor(int8), graph.outputs[0]
    for file in PHOTOGRAPHS:
        x = {graph.inputs[0]: preprocess(folder / file, preprocessing)}
        want, got = source.run(x)[key][0], target.run(x)[key][0]
        with torch.no_grad():
            assert np.allclose(want, module(torch.from_numpy(x[graph.inputs[0]]))[0].numpy(), rtol=1e-4, atol=1e-3)
        assert want.argmax() == got.argmax()
        assert want @ got / np.sqrt((want @ want) * (got @ got)) > 0.96
        if (name, file) == ("mobilenet_v2", "coffee.png"):
            assert np.array_equal(reference.run(int8, x)[key][0], got), "the oracle gives the same bits"
