"""`python -m edgenet.bench training fit NETWORK`: train a network of the zoo. `... initialization`: what it does."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import Tensor

from edgenet.bench import datasets
from edgenet.commands.console import positive, progress, writable_target
from edgenet.converter import zoo
from edgenet.errors import EdgenetError

from . import curves, signal, transfer
from .initialization import start
from .recipe import INITIALIZATIONS, NORMALIZATIONS, OPTIMIZERS, SCHEDULES, Recipe
from .trainer import Examples, accuracy, train

CHOICES = {
    "initialization": INITIALIZATIONS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "normalization": NORMALIZATIONS,
}


def main(words: Sequence[str]) -> int:
    """Run the command line. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m edgenet.bench training", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fit = commands.add_parser("fit", help="train a network of the zoo; interrupted runs go on", description=__doc__)
    fit.add_argument("network", metavar="NETWORK", help="a network of the zoo, as tiny_separable")
    fit.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="the checkpoint (.pth)")
    fit.add_argument("--width", type=positive, metavar="N", help="width, for the networks that take one")
    fit.add_argument("--backbone", type=Path, metavar="FILE", help="weights below the head; see --frozen and --thaw")
    fit.add_argument("--curves", type=Path, metavar="FILE", help="draw loss and accuracy as PNG")
    fit.add_argument("--images", type=positive, metavar="N", help="train on the first N pictures only")
    _add_recipe(fit)
    start_parser = commands.add_parser(
        "initialization", help="signal, gradients and loss of a deep network by initialization", description=__doc__
    )
    start_parser.add_argument("--depth", type=positive, default=20, metavar="N", help="convolutions (default 20)")
    start_parser.add_argument("--steps", type=positive, default=100, metavar="N", help="training steps (default 100)")
    start_parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    for each in (fit, start_parser):
        each.add_argument("--dataset", choices=tuple(datasets.CLASSES), default="fashion-mnist")
        each.add_argument("--data", metavar="DIR", help="the data set's folder (default: where its package puts it)")
    arguments = parser.parse_args(words)
    try:
        _fit(arguments) if arguments.command == "fit" else _initialization(arguments)
    except EdgenetError as error:
        print(f"edgenet.bench: {error}", file=sys.stderr)
        return 1
    return 0


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """An option for each field of Recipe, whose docstring explains them."""
    group = parser.add_argument_group("recipe", Recipe.__doc__)
    for setting in fields(Recipe):
        option, default = "--" + setting.name.replace("_", "-"), setting.default
        if isinstance(default, bool):
            group.add_argument(option, action=argparse.BooleanOptionalAction, default=default)
        else:
            choices = CHOICES.get(setting.name)
            kind = type(default)
            group.add_argument(option, type=kind, default=default, choices=choices, help=f"default {default}")


def examples(data: datasets.Dataset) -> tuple[Examples, Examples]:
    """The training and test pictures of a data set as tensors [N, 1, 28, 28], with their labels."""

    def pair(images: object, labels: object) -> Examples:
        return torch.tensor(images)[:, None], torch.tensor(labels)

    return pair(data.train_images, data.train_labels), pair(data.test_images, data.test_labels)


def _fit(arguments: argparse.Namespace) -> None:
    for path in (arguments.output, arguments.curves):
        if path:
            writable_target(str(path))
    recipe = Recipe(**{setting.name: getattr(arguments, setting.name) for setting in fields(Recipe)})
    data = datasets.load(arguments.dataset, arguments.data)
    training, testing = examples(data)
    training = (training[0][: arguments.images], training[1][: arguments.images])
    options = {} if arguments.width is None else {"width": arguments.width}
    module = zoo.build(
        arguments.network, in_channels=1, num_classes=len(data.classes), resolution=datasets.SIDE, **options
    )
    start(module, recipe.initialization, recipe.batch_norm, recipe.seed)
    if arguments.backbone:
        weights: dict[str, Tensor] = zoo.read_state_dict(arguments.backbone)
        transfer.load_backbone(module, weights)
    with progress() as report:
        history, normalization = train(module, training, recipe, testing, arguments.output, report)
    for epoch, (loss, right) in enumerate(zip(history.loss, history.accuracy, strict=True), 1):
        print(f"epoch {epoch}: loss {loss:.4f}, {right:.2%} of the test pictures right")
    if arguments.curves:
        curves.draw({arguments.network: history}, arguments.curves)
    print(
        f"{arguments.output}: {accuracy(module, testing, normalization):.2%} of {len(testing[0])} test pictures right"
    )


def _initialization(arguments: argparse.Namespace) -> None:
    training, _ = examples(datasets.load(arguments.dataset, arguments.data))
    found = []
    with progress() as report:
        for done, (scheme, batch_norm) in enumerate(signal.VARIANTS):
            if report:
                report("initializations", done, len(signal.VARIANTS))
            found.append(signal.measure(training, scheme, batch_norm, arguments.depth, steps=arguments.steps))
    print(json.dumps([asdict(each) for each in found], indent=1) if arguments.json else signal.text(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
