"""int8 form of an ncnn network: what ncnn2int8 writes, which ncnn's Python package does not bring.

Weights get a scale for each output channel (or group of a depthwise convolution), activations one for each input of a
layer, both 127 / largest absolute value. Where one quantized convolution feeds only another one, the first
requantizes to the scale of the second.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INT8_TAG = np.array([0x000D4B38], "<u4").tobytes()
"""In front of int8 weights in the weight file; zero is in front of float32 ones."""

CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")
QUANTIZED = (*CONVOLUTIONS, "InnerProduct")
WITHOUT_WEIGHTS = (
    "Input",
    "Split",
    "BinaryOp",
    "UnaryOp",
    "Pooling",
    "ReLU",
    "Clip",
    "HardSwish",
    "HardSigmoid",
    "Sigmoid",
    "Swish",
    "Reshape",
    "Flatten",
    "Padding",
    "Concat",
    "Permute",
    "Squeeze",
    "ExpandDims",
    "Softmax",
    "Dropout",
    "Noop",
    "Reduction",
    "ShuffleChannel",
    "Slice",
    "Crop",
)

BIAS_OF = {"Convolution": "5", "ConvolutionDepthWise": "5", "InnerProduct": "1"}
WEIGHTS_OF = {"Convolution": "6", "ConvolutionDepthWise": "6", "InnerProduct": "2"}
SCALE_TERM = "8"
REQUANTIZES = 100
"""Added to the scale term where a convolution writes int8."""


@dataclass
class Layer:
    """One line of the parameter file."""

    kind: str
    name: str
    inputs: list[str]
    outputs: list[str]
    parameters: dict[str, str]

    @classmethod
    def read(cls, line: str) -> Layer:
        kind, name, inputs, outputs, *rest = line.split()
        split = int(inputs)
        end = split + int(outputs)
        return cls(kind, name, rest[:split], rest[split:end], dict(word.split("=", 1) for word in rest[end:]))

    def write(self) -> str:
        words = [self.kind, self.name, str(len(self.inputs)), str(len(self.outputs)), *self.inputs, *self.outputs]
        return " ".join([*words, *(f"{key}={value}" for key, value in self.parameters.items())])


def quantize(folder: Path, samples: Sequence[np.ndarray]) -> None:
    """Rewrite `model.param` and `model.bin` in `folder`. Raises ValueError for a layer whose weights are not known."""
    header, counts, *lines = (folder / "model.param").read_text().splitlines()
    layers = [Layer.read(line) for line in lines if line.strip()]
    scales = activation_scales(folder, layers, samples)
    consumers: dict[str, list[Layer]] = {}
    for layer in layers:
        for blob in layer.inputs:
            consumers.setdefault(blob, []).append(layer)
    data, place = (folder / "model.bin").read_bytes(), 0
    written: list[bytes] = []
    for layer in layers:
        if layer.kind in QUANTIZED:
            place += _quantize_layer(layer, data[place:], scales, consumers, written)
        elif layer.kind not in WITHOUT_WEIGHTS:
            raise ValueError(f"int8 of ncnn's layer {layer.kind} is not known here")
    if place != len(data):
        raise ValueError(f"ncnn's weight file has {len(data)} bytes, of which the layers account for {place}")
    (folder / "model.param").write_text("\n".join([header, counts, *(layer.write() for layer in layers)]) + "\n")
    (folder / "model.bin").write_bytes(b"".join(written))


def _quantize_layer(
    layer: Layer, data: bytes, scales: dict[str, float], consumers: dict[str, list[Layer]], written: list[bytes]
) -> int:
    """Append the layer's int8 weights, bias and scales to `written`, mark the layer; bytes read from `data`."""
    size, filters = int(layer.parameters[WEIGHTS_OF[layer.kind]]), int(layer.parameters["0"])
    bias = filters if layer.parameters.get(BIAS_OF[layer.kind]) == "1" else 0
    if data[:4] != bytes(4):
        raise ValueError(f"the weights of {layer.name} are not float32")
    values = np.frombuffer(data, "<f4", size + bias, 4)
    depthwise = layer.kind == "ConvolutionDepthWise"
    rows = int(layer.parameters["7"]) if depthwise else filters
    weights = values[:size].reshape(rows, -1)
    largest = np.abs(weights).max(axis=1)
    weight_scales = np.where(largest > 0, 127 / np.maximum(largest, 1e-30), 1.0).astype("<f4")
    quantized = np.clip(np.rint(weights * weight_scales[:, None]), -127, 127).astype(np.int8).tobytes()
    term = 1 if depthwise else 2
    tail = [weight_scales.tobytes(), np.array([scales[layer.inputs[0]]], "<f4").tobytes()]
    followers = consumers.get(layer.outputs[0], [])
    if layer.kind in CONVOLUTIONS and len(followers) == 1 and followers[0].kind in CONVOLUTIONS:
        term += REQUANTIZES
        tail.append(np.array([scales[layer.outputs[0]]], "<f4").tobytes())
    layer.parameters[SCALE_TERM] = str(term)
    padding = bytes(-len(quantized) % 4)
    written += [INT8_TAG, quantized, padding, values[size:].tobytes(), *tail]
    return 4 + 4 * (size + bias)


def activation_scales(folder: Path, layers: Sequence[Layer], samples: Sequence[np.ndarray]) -> dict[str, float]:
    """127 / largest absolute value over the samples, for the input of every layer that is quantized."""
    import ncnn

    network = ncnn.Net()
    network.opt.lightmode = False  # keeps every blob
    if network.load_param(str(folder / "model.param")) or network.load_model(str(folder / "model.bin")):
        raise ValueError("ncnn does not read the float32 model")
    blobs = sorted({layer.inputs[0] for layer in layers if layer.kind in QUANTIZED})
    largest = dict.fromkeys(blobs, 1e-30)
    for sample in samples:
        extractor = network.create_extractor()
        extractor.input("in0", ncnn.Mat(sample[0]))
        for blob in blobs:
            value = np.array(extractor.extract(blob)[1])
            largest[blob] = max(largest[blob], float(np.abs(value).max()))
    return {blob: 127 / value for blob, value in largest.items()}
