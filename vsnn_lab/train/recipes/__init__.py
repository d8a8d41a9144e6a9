"""How a batch becomes a loss: which widths each sample runs at, and what each of them counts."""

from vsnn_lab.samplers import Sandwich, Stratified, Triangular
from vsnn_lab.train.recipes.base import Recipe
from vsnn_lab.train.recipes.distillation import soft_targets
from vsnn_lab.train.recipes.distilled import Distilled
from vsnn_lab.train.recipes.narrow_widths import EachOctave, NarrowestAndRandom
from vsnn_lab.train.recipes.phases import Phases
from vsnn_lab.train.recipes.sampled import Sampled
from vsnn_lab.train.recipes.step import DRAWS, Draws, Step

# The recipes that `fit` knows by name, each with its usual settings.
RECIPES: dict[str, Recipe] = {
    "triangular": Sampled(Triangular()),
    "stratified": Sampled(Stratified(4)),
    "sandwich": Sampled(Sandwich(2)),
    "distilled": Distilled(),
    "sandwich-distilled": Distilled(NarrowestAndRandom()),
}

__all__ = [
    "DRAWS",
    "RECIPES",
    "Distilled",
    "Draws",
    "EachOctave",
    "NarrowestAndRandom",
    "Phases",
    "Recipe",
    "Sampled",
    "Step",
    "soft_targets",
]
