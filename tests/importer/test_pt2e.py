"""Networks quantized by torchao's PT2E flow: every scale kept, values close to the program's."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from edgenet import reference
from edgenet.converter import convert, zoo
from tests.quantize.networks import sqnr

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("torchao", reason="torchao quantizes the networks")
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
    from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
        X86InductorQuantizer,
        get_default_x86_inductor_quantization_config,
    )
    from torchao.testing.pt2e._xnnpack_quantizer import XNNPACKQuantizer, get_symmetric_quantization_config

SIGNED = ["mobilenet_v2", "trained"]
"""Quantized to int8, each layer's output and each addition's inputs apart; the others to uint8, layers with additions
and activations as one."""


def quantizer(name):
    if name in SIGNED:
        configuration = get_symmetric_quantization_config(is_per_channel=True, is_qat=name == "trained")
        return XNNPACKQuantizer().set_global(configuration)
    return X86InductorQuantizer().set_global(get_default_x86_inductor_quantization_config())


WEIGHTS = zoo.find_weights("mobilenet_v2")


def quantized(name):
    """(program quantized by PT2E, its inputs)."""
    x = F.interpolate(torch.randn(2 if name == "trained" else 1, 3, 9, 9), 64, mode="bicubic")
    if name == "trained":
        module = zoo.build("squeezenet1_1", num_classes=10)
    else:
        module = zoo.build("mobilenet_v2", weights=WEIGHTS)
        if WEIGHTS is None:
            zoo.randomize_batchnorm(module, 1, x)
    batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if len(x) > 1 else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = torch.export.export(module, (x,), **batch).module()
        prepared = (prepare_qat_pt2e if name == "trained" else prepare_pt2e)(exported, quantizer(name))
        prepared(x)
        return torch.export.export(convert_pt2e(prepared), (x,), **batch), x


def layer_quantizations(program):
    """Of each convolution and linear layer, in order: scale and zero point (as int8) of the input, weight scales."""
    found = []
    values = {**program.state_dict, **program.constants}
    names = {spec.arg.name: spec.target for spec in program.graph_signature.input_specs if spec.target}
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target) in ("aten.conv2d.default", "aten.linear.default"):
            x, weight = node.args[0], node.args[1]
            shift = 128 if x.args[5] == torch.uint8 else 0
            found.append((x.args[1], x.args[2] - shift, values[names[weight.args[1].name]].double().numpy()))
    return found


@pytest.mark.parametrize("name", ["mobilenet_v2", "unsigned", "trained"])
def test_network(name):
    torch.manual_seed(0)
    program, x = quantized(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph = convert(program, (x,))
    layers = [node for node in graph.nodes if node.operation in ("conv2d", "linear")]
    expected = layer_quantizations(program)
    assert len(layers) == len(expected) > 10
    for node, (scale, zero_point, weights) in zip(layers, expected, strict=True):
        q = graph.tensors[node.inputs["x"]].quantization
        assert (q.scale[0], q.zero_point) == (scale, zero_point)
        result = graph.tensors[node.output].quantization
        step = 1.0 if result is None else result.scale[0]
        factors = graph.constants[node.inputs["multiplier"]]
        assert np.array_equal(factors, (scale * weights / step).astype(np.float32))
    declared = {
        (n.args[1], n.args[2] - (128 if n.args[5] == torch.uint8 else 0))
        for n in program.graph.nodes
        if str(n.target) == "quantized_decomposed.quantize_per_tensor.default"
    }
    activations = [tensor for key, tensor in graph.tensors.items() if key not in graph.constants]
    kept = {(t.quantization.scale[0], t.quantization.zero_point) for t in activations if t.quantization}
    assert kept == declared
    with torch.no_grad():
        want = program.module()(x).numpy()
    found = reference.run(graph, {graph.inputs[0]: x.numpy()})[graph.outputs[0]]
    if WEIGHTS is not None or name == "trained":  # MobileNetV2 with random weights magnifies what rounding changes
        assert sqnr(want, found) > 16
