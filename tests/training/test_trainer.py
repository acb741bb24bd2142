"""Training: the loss falls, the same seed gives the same bits, interrupted or not; transfer, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from edgenet.bench.training import Recipe, accuracy, checkpoint, curves, start, train, transfer
from edgenet.bench.training.recipe import OPTIMIZERS
from edgenet.converter import zoo
from edgenet.errors import ConversionError, InputError

from .pictures import examples, network

RATES = {"sgd": 0.1, "momentum": 0.05, "adagrad": 0.02, "rmsprop": 0.003, "adam": 0.01}
RECIPE = Recipe(epochs=4, batch=32, flip=False, crop=1, warmup=0.5)


def fresh(recipe: Recipe) -> nn.Module:
    return start(network(), recipe.initialization, recipe.batch_norm, recipe.seed)


def same(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(ours, theirs) for ours, theirs in pairs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_loss_falls(optimizer):
    recipe = Recipe(epochs=4, batch=32, flip=False, crop=0, optimizer=optimizer, rate=RATES[optimizer])
    module = fresh(recipe)
    history, normalization = train(module, examples(512), recipe, examples(200, seed=1))
    assert history.loss[-1] < 0.5 * math.log(4)
    assert history.accuracy[-1] > 0.9
    assert history.accuracy[-1] == accuracy(module, examples(200, seed=1), normalization)
    assert not module.training


@pytest.mark.parametrize(
    "settings",
    [
        {"batch_norm": False, "optimizer": "adam", "rate": 0.01},
        {"mixup": 0.2, "label_smoothing": 0.1},
        {"cutmix": 1.0, "cutout": 3, "scale": 0.1, "jitter": 0.2, "normalization": "mean-image"},
        {"initialization": "xavier", "schedule": "step"},
    ],
)
def test_every_setting_trains(settings):
    recipe = Recipe(**{"epochs": 6, "batch": 32, "flip": False, "rate": 0.05, "crop": 1, **settings})
    module = fresh(recipe)
    history, _ = train(module, examples(512), recipe, examples(200, seed=1))
    assert history.loss[-1] < history.loss[0]
    assert history.accuracy[-1] > 0.7


def test_label_smoothing_and_mixing_reach_the_loss():
    """A network that is sure of the right class pays for smoothed and mixed labels, and not for plain ones."""
    plain, smooth, mixed = (
        train(fresh(recipe), examples(512), recipe)[0].loss[-1]
        for recipe in (
            Recipe(epochs=4, batch=32, flip=False, crop=0, label_smoothing=smoothing, mixup=mixup)
            for smoothing, mixup in ((0.0, 0.0), (0.3, 0.0), (0.0, 1.0))
        )
    )
    assert plain < 0.2
    assert smooth > plain + 0.3
    assert mixed > plain + 0.3


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_resumed_run_has_the_same_bits(tmp_path, optimizer):
    recipe = Recipe(epochs=4, batch=32, optimizer=optimizer, rate=0.02, mixup=0.2, cutout=2, jitter=0.1)
    data, path = examples(160), tmp_path / "run.pth"
    whole = fresh(recipe)
    history, _ = train(whole, data, recipe, data)

    class Interruption(Exception):
        pass

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "epoch 3 of 4" and done == total:
            raise Interruption

    with pytest.raises(Interruption):
        train(fresh(recipe), data, recipe, data, path, interrupt)
    of = checkpoint.subject(whole, data)
    assert checkpoint.read(path, recipe, of)["history"]["loss"] == history.loss[:2]
    torch.manual_seed(99)  # what is random elsewhere does not matter
    resumed = network()
    assert train(resumed, data, recipe, data, path)[0] == history
    assert same(whole, resumed)
    again = network()
    assert train(again, data, recipe, data, path)[0] == history  # a finished run is only read
    assert same(whole, again)
    assert [file.name for file in tmp_path.iterdir()] == ["run.pth"]


def test_seed_decides_the_bits():
    modules = []
    for seed in (1, 1, 2):
        recipe = Recipe(epochs=1, batch=32, seed=seed)
        modules.append(fresh(recipe))
        train(modules[-1], examples(96), recipe)
    assert same(modules[0], modules[1])
    assert not same(modules[0], modules[2])


def test_training_leaves_the_global_generator_alone():
    module = fresh(RECIPE)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(module, examples(64), RECIPE)
    assert torch.equal(torch.rand(3), expected)


def test_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "run.pth"
    recipe = Recipe(epochs=1, batch=32)
    train(fresh(recipe), examples(64), recipe, path=path)
    with pytest.raises(InputError, match="trained with another epochs, rate"):
        train(fresh(recipe), examples(64), Recipe(epochs=2, batch=32, rate=0.2), path=path)
    with pytest.raises(InputError, match=r"trained with another pictures\."):
        train(fresh(recipe), examples(65), recipe, path=path)
    images, labels = examples(64)
    with pytest.raises(InputError, match=r"trained with another pictures\."):
        train(fresh(recipe), (images, labels.flip(0)), recipe, path=path)
    other = torch.nn.Sequential(fresh(recipe), torch.nn.ReLU())
    with pytest.raises(InputError, match=r"trained with another network\."):
        train(other, examples(64), recipe, path=path)
    torch.save(network().state_dict(), path)
    with pytest.raises(InputError, match="not a checkpoint of a training run"):
        train(fresh(recipe), examples(64), recipe, path=path)
    path.write_bytes(b"something else")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        train(fresh(recipe), examples(64), recipe, path=path)


def test_diverging_run_says_so():
    recipe = Recipe(epochs=3, batch=32, rate=1e12, batch_norm=False, warmup=0.0)
    with pytest.raises(InputError, match="is not finite"):
        train(fresh(recipe), examples(128), recipe)


def test_transfer_keeps_frozen_stages_until_they_thaw():
    backbone = fresh(RECIPE)
    train(backbone, examples(256), RECIPE)
    recipe = Recipe(epochs=2, batch=32, frozen=2, rate=0.05, flip=False, crop=0)
    module = start(network(classes=3), "kaiming", True, 1)
    transfer.load_backbone(module, backbone.state_dict())
    assert torch.equal(module[3].weight, backbone[3].weight)
    assert module[7].weight.shape == (3, 72)
    images, labels = examples(256, seed=2)
    data = (images[labels < 3], labels[labels < 3])
    before = {key: value.clone() for key, value in module.state_dict().items()}
    history, normalization = train(module, data, recipe)
    after = module.state_dict()
    assert all(torch.equal(after[key], before[key]) for key in before if not key.startswith("7."))
    assert not torch.equal(after["7.weight"], before["7.weight"])
    assert history.loss[-1] < math.log(3)
    assert accuracy(module, data, normalization) > 0.8

    train(module, data, Recipe(epochs=2, batch=32, frozen=1, rate=0.05, flip=False, crop=0))
    assert torch.equal(module[0].weight, before["0.weight"])
    assert torch.equal(module[1].running_mean, before["1.running_mean"])
    assert not torch.equal(module[3].weight, before["3.weight"])
    assert not torch.equal(module[4].running_mean, before["4.running_mean"])

    train(module, data, Recipe(epochs=2, batch=32, frozen=2, thaw=1, rate=0.05, flip=False, crop=0))
    assert not torch.equal(module[0].weight, before["0.weight"])


def test_transfer_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="has 2 stages below its head; 3 cannot"):
        transfer.freeze(network(), 3)
    with pytest.raises(InputError, match="no layer with weights"):
        transfer.head(nn.Sequential(nn.ReLU()))
    assert transfer.head(zoo.build("squeezenet1_1", num_classes=7))[1].weight.shape[0] == 7
    with pytest.raises(ConversionError, match="missing"):
        transfer.load_backbone(network(), {"0.weight": torch.zeros(8, 1, 3, 3)})


def test_curves_are_a_picture(tmp_path):
    history = checkpoint.History([1.0, 0.5], [0.5, 0.75], [0.1, 0.0])
    curves.draw({"first": history, "second": checkpoint.History([2.0], [], [0.1])}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]
