"""float32 references against torch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from edgenet.ops.arithmetic import ACTIVATIONS, activate
from tests.ops.builder import nhwc, run

rng = np.random.default_rng(0)


def sample(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def close(ours, theirs, rtol=1e-5):
    theirs = theirs.numpy()
    theirs = nhwc(theirs) if theirs.ndim == 4 else theirs
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= rtol * max(1.0, np.abs(theirs).max())


@settings(max_examples=60, deadline=None)
@given(
    groups=st.sampled_from([(1, 3, 5), (4, 4, 4), (2, 4, 6), (3, 3, 6)]),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    padding=st.tuples(*[st.integers(0, 2)] * 4),
    size=st.tuples(st.integers(7, 10), st.integers(7, 10)),
)
def test_conv2d(groups, kernel, stride, dilation, padding, size):
    g, c, o = groups
    x, w, b = sample(2, c, *size), sample(o, c // g, *kernel), sample(o)
    top, bottom, left, right = padding
    padded = F.pad(torch.tensor(x), (left, right, top, bottom))
    want = F.relu(F.conv2d(padded, torch.tensor(w), torch.tensor(b), stride, 0, dilation, g))
    attributes = {
        "stride": list(stride),
        "padding": list(padding),
        "dilation": list(dilation),
        "groups": g,
        "activation": {"kind": "clamp", "min": 0.0, "max": None},
    }
    got = run("conv2d", {"x": nhwc(x), "weight": nhwc(w), "bias": b}, attributes, constants=("weight", "bias"))
    close(got, want)


@pytest.mark.parametrize(("groups", "stride", "padding", "extra"), [(1, 2, 1, 1), (2, 3, 0, 0), (1, 1, 2, 0)])
def test_conv_transpose2d(groups, stride, padding, extra):
    x, w, b = sample(2, 4, 5, 6), sample(4, 6 // groups, 3, 3), sample(6)
    want = F.conv_transpose2d(torch.tensor(x), torch.tensor(w), torch.tensor(b), stride, padding, extra, groups)
    ours = w.reshape(groups, 4 // groups, 6 // groups, 3, 3).transpose(0, 2, 3, 4, 1).reshape(6, 3, 3, 4 // groups)
    attributes = {
        "stride": [stride] * 2,
        "padding": [padding] * 4,
        "output_padding": [extra] * 2,
        "groups": groups,
    }
    got = run("conv_transpose2d", {"x": nhwc(x), "weight": ours, "bias": b}, attributes, constants=("weight", "bias"))
    close(got, want)


def test_linear_with_residual():
    x, w, b, r = sample(3, 7), sample(5, 7), sample(5), sample(3, 5)
    want = F.linear(torch.tensor(x), torch.tensor(w), torch.tensor(b)) + torch.tensor(r)
    arrays = {"x": x, "weight": w, "bias": b, "residual": r}
    close(run("linear", arrays, constants=("weight", "bias")), want)


TORCH_ACTIVATIONS = {
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "elu": lambda x: F.elu(x, 0.1),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softplus": F.softplus,
    "mish": F.mish,
    "exp": torch.exp,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "abs": torch.abs,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "log": torch.log,
    "erf": torch.erf,
    "floor": torch.floor,
    "step": lambda x: (x > 0).float(),
}


@pytest.mark.parametrize("kind", [kind for kind in ACTIVATIONS if kind != "clamp"])
def test_activations(kind):
    x = np.abs(sample(400)) + 0.1 if kind in ("sqrt", "reciprocal", "log") else sample(400) * 4
    activation = {"kind": kind, **({"alpha": 0.1} if ACTIVATIONS[kind][0] else {})}
    close(activate(x, activation), TORCH_ACTIVATIONS[kind](torch.tensor(x)))


def test_prelu():
    x, slope = sample(2, 5, 4, 3), sample(5)
    want = F.prelu(torch.tensor(x), torch.tensor(slope))
    close(run("prelu", {"x": nhwc(x), "slope": slope}, constants=("slope",)), want)


def test_mask():
    a, b = sample(2, 5, 4, 3), np.array([0, 1, -0.0, -2, np.nan], np.float32)
    kept = np.array([0, 1, 0, 1, 0], np.float32).reshape(5, 1, 1)
    close(run("mask", {"a": nhwc(a), "b": b}), torch.tensor(a * kept))
    assert not np.isnan(run("mask", {"a": np.full((1, 2), np.nan, np.float32), "b": np.zeros(2, np.float32)})).any()


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
def test_binary_broadcasting(operation):
    a, b = sample(2, 3, 4, 5), sample(2, 1, 1, 5) + 3
    want = getattr(torch, operation)(torch.tensor(a), torch.tensor(b)).numpy()
    assert np.allclose(run(operation, {"a": a, "b": b}), want, rtol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    kernel=st.integers(2, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 1),
    ceil=st.booleans(),
    include=st.booleans(),
    size=st.tuples(st.integers(6, 11), st.integers(6, 11)),
)
def test_pooling(kernel, stride, padding, ceil, include, size):
    x = sample(2, 3, *size)
    shared = {
        "kernel": [kernel] * 2,
        "stride": [stride] * 2,
        "padding": [padding] * 4,
        "ceil_mode": ceil,
    }
    close(run("max_pool2d", {"x": nhwc(x)}, shared), F.max_pool2d(torch.tensor(x), kernel, stride, padding, 1, ceil))
    want = F.avg_pool2d(torch.tensor(x), kernel, stride, padding, ceil, include)
    close(run("avg_pool2d", {"x": nhwc(x)}, {**shared, "count_include_pad": include}), want)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (7, 7)])
def test_adaptive_and_mean(size):
    x = sample(2, 3, 7, 5)
    want = F.adaptive_avg_pool2d(torch.tensor(x), size)
    close(run("adaptive_avg_pool2d", {"x": nhwc(x)}, {"output_size": list(size)}), want)
    got = run("mean", {"x": nhwc(x)}, {"axes": [1, 2], "keepdims": False})
    close(got, torch.tensor(x).mean((2, 3)))


def test_normalizations():
    x = sample(2, 6, 4, 5)
    t = torch.tensor(x)
    close(run("softmax", {"x": nhwc(x)}, {"axis": 3}), t.softmax(1))
    close(run("log_softmax", {"x": nhwc(x)}, {"axis": 3}), t.log_softmax(1))
    lrn = {"size": 4, "alpha": 0.1, "beta": 0.75, "k": 1.0}
    close(run("local_response_norm", {"x": nhwc(x)}, lrn), F.local_response_norm(t, 4, 0.1, 0.75, 1.0))
    w, b = sample(6), sample(6)
    want = F.layer_norm(t.permute(0, 2, 3, 1), (6,), torch.tensor(w), torch.tensor(b), 1e-6).permute(0, 3, 1, 2)
    got = run("layer_norm", {"x": nhwc(x), "weight": w, "bias": b}, {"epsilon": 1e-6}, constants=("weight", "bias"))
    close(got, want)


def test_movement():
    x = sample(2, 8, 4, 6)
    t = torch.tensor(x)
    close(run("pixel_shuffle", {"x": nhwc(x)}, {"factor": 2}), F.pixel_shuffle(t, 2))
    close(run("channel_shuffle", {"x": nhwc(x)}, {"groups": 4}), F.channel_shuffle(t, 4))
    close(run("slice", {"x": nhwc(x)}, {"axis": 3, "start": -5, "stop": -1, "step": 2}), t[:, -5:-1:2])
    close(
        run("pad", {"x": nhwc(x)}, {"pads": [0, 0, 1, 2, 0, 3, 0, 0], "value": 2.5}), F.pad(t, (0, 3, 1, 2), value=2.5)
    )
    assert np.array_equal(run("permute", {"x": nhwc(x)}, {"order": [0, 3, 1, 2]}), x)
    assert run("flatten", {"x": nhwc(x)}).shape == (2, 192)
    assert run("reshape", {"x": nhwc(x)}, {"shape": [0, -1, 16]}).shape == (2, 12, 16)
    both = run("concat", {"x0": nhwc(x), "x1": nhwc(x)}, {"axis": 3})
    close(both, torch.cat([t, t], 1))


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("size", [(8, 10), (3, 2), (7, 5)])
def test_resize(size, align):
    x = sample(2, 3, 4, 5)
    t = torch.tensor(x)
    want = F.interpolate(t, size, mode="bilinear", align_corners=align)
    close(run("resize", {"x": nhwc(x)}, {"mode": "bilinear", "size": list(size), "align_corners": align}), want)
    close(run("resize", {"x": nhwc(x)}, {"mode": "nearest", "size": list(size)}), F.interpolate(t, size))
