"""Reading state dicts: real weights, wrappers, what is refused."""

import pickle

import pytest
import torch

from edgenet.converter import zoo
from edgenet.errors import ConversionError


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_real_weights_fit_every_key(name):
    path = zoo.find_weights(name)
    if path is None:
        pytest.skip(f"no installed package carries the weights of {name}")
    state = zoo.read_state_dict(path)
    module = zoo.build(name, weights=path)
    own = module.state_dict()
    assert set(state) == set(own)
    assert all(torch.equal(state[key], own[key]) for key in state)


def test_networks_without_packaged_weights_have_none():
    assert zoo.find_weights("resnet18") is None


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "module"])
def test_wrappers_are_removed(tmp_path, wrap):
    state = zoo.build("tiny_separable", seed=5).state_dict()
    content = {"plain": state, "state_dict": {"state_dict": state, "epoch": 3}}.get(wrap)
    torch.save(content or {f"module.{key}": value for key, value in state.items()}, tmp_path / "w.pth")
    module = zoo.build("tiny_separable", weights=tmp_path / "w.pth")
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())


def test_missing_batch_counters_are_accepted():
    state = zoo.build("tiny_separable", seed=5).state_dict()
    zoo.build("tiny_separable", weights={k: v for k, v in state.items() if not k.endswith("num_batches_tracked")})


def test_wrong_keys_and_shapes_are_named():
    state = dict(zoo.build("tiny_separable").state_dict())
    state["surplus.weight"] = torch.zeros(1)
    state["classifier.weight"] = torch.zeros(3, 128)
    del state["classifier.bias"]
    with pytest.raises(ConversionError) as caught:
        zoo.build("tiny_separable", weights=state)
    for part in ("1 missing: classifier.bias", "1 unknown: surplus.weight", "classifier.weight (3, 128) instead of"):
        assert part in str(caught.value)


def test_auxiliary_classifiers_are_left_out():
    state = dict(zoo.build("googlenet").state_dict())
    state["aux1.fc1.weight"] = torch.zeros(1)
    zoo.build("googlenet", weights=state)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ConversionError, match="There is no file"):
        zoo.build("tiny_separable", weights=tmp_path / "none.pth")


def test_truncated_file_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(zoo.build("tiny_separable").state_dict(), path)
    path.write_bytes(path.read_bytes()[:20000])
    with pytest.raises(ConversionError, match="truncated"):
        zoo.build("tiny_separable", weights=path)


class Payload:
    """Would write a file when unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("writer", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_code_in_a_checkpoint_is_not_run(tmp_path, writer):
    writer({"weight": Payload(tmp_path / "proof")}, tmp_path / "w.pth")
    with pytest.raises(ConversionError, match="no code"):
        zoo.build("tiny_separable", weights=tmp_path / "w.pth")
    assert not (tmp_path / "proof").exists()


@pytest.mark.parametrize("content", [[1, 2], {"weight": 3}, torch.zeros(2)])
def test_other_content_is_not_a_state_dict(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ConversionError, match="not a state dict"):
        zoo.build("tiny_separable", weights=tmp_path / "w.pth")


@pytest.mark.parametrize("content", [b"", b".", b"0", b"hello", b"\x80\x02.", b"q\x05.", b"h\x07."])
def test_junk_is_not_a_checkpoint(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(ConversionError, match=r"not a readable PyTorch checkpoint|no code"):
        zoo.read_state_dict(path)
