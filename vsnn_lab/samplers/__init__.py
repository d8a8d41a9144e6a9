"""Who draws the training widths.

A sampler is a callable ``sampler(batch_size, steps, generator=None) -> LongTensor[batch]``: one
knob position in 1..steps for each sample, equal ones side by side, in ascending order.

Randomness is explicit. A ``torch.Generator`` makes the draw repeatable; ``None`` draws from fresh
entropy and leaves torch's global generator alone; whoever wants global draws passes
``torch.default_generator``.

May import ``_basics``, ``widths``.
"""

from vsnn_lab.samplers.deterministic import Fixed, FixedFraction, Full, Triangular
from vsnn_lab.samplers.draws import Sampler
from vsnn_lab.samplers.listed import Listed
from vsnn_lab.samplers.mixtures import Interpolated, Sandwich, Shifted
from vsnn_lab.samplers.random import (
    Geometric,
    LogUniform,
    Octaves,
    Stratified,
    TailExponential,
    Uniform,
    Weighted,
)

__all__ = [
    "Fixed",
    "FixedFraction",
    "Full",
    "Geometric",
    "Interpolated",
    "Listed",
    "LogUniform",
    "Octaves",
    "Sampler",
    "Sandwich",
    "Shifted",
    "Stratified",
    "TailExponential",
    "Triangular",
    "Uniform",
    "Weighted",
]
