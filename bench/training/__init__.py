"""Training small classifiers: a recipe of settings, and the few hundred lines that carry it out.

recipe = Recipe(epochs=6, optimizer="adam", rate=2e-3, cutmix=1.0)
module = start(zoo.build("tiny_separable", in_channels=1), recipe.initialization, recipe.batch_norm, recipe.seed)
history, normalization = train(module, (images, labels), recipe, path=Path("run.pth"))
"""

from .checkpoint import History
from .initialization import start
from .normalization import Normalization
from .recipe import Recipe
from .trainer import accuracy, train

__all__ = ["History", "Normalization", "Recipe", "accuracy", "start", "train"]
