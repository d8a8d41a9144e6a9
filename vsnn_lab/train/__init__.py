"""How a network learns to work at every width: recipes, `fit`, resuming, baselines.

May import ``_basics``, ``widths``, ``samplers``, ``data``, ``layers``, ``networks``, ``measure``.
"""

from vsnn_lab.train.history import History
from vsnn_lab.train.in_place_distillation import divergence, teach
from vsnn_lab.train.recipes import (
    Distilled,
    EachOctave,
    NarrowestAndRandom,
    Phases,
    Recipe,
    Sampled,
    soft_targets,
)
from vsnn_lab.train.training import fit

__all__ = [
    "Distilled",
    "EachOctave",
    "History",
    "NarrowestAndRandom",
    "Phases",
    "Recipe",
    "Sampled",
    "divergence",
    "fit",
    "soft_targets",
    "teach",
]
