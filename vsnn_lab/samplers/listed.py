"""Widths from a list, and the checks of one."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_collection, check_int, short_repr
from vsnn_lab.samplers.draws import Distribution, normalise_weights


@dataclass(frozen=True)
class Listed(Distribution):
    """Widths from a list: those that the network will be used at.

    P(widths[i]) = weights[i] / sum(weights), and 0 for every other width.

    Args:
        widths: Knob positions, at least one, each at least 1 and given once. A knob of fewer steps
            than the largest is refused when widths are drawn.
        weights: One for each width, not negative; by default all alike.
        runs: Different draws in a batch, each shared by neighbouring samples and taken from its
            own equally likely slice; by default one for each sample, which gives each width its
            share of every batch, to within a sample or two.

    References:
        Yu et al. 2019, "Slimmable Neural Networks", arXiv 1812.08928; Kusupati et al. 2022,
        "Matryoshka Representation Learning", arXiv 2205.13147.

    Example:
        >>> Listed([4, 8, 16])(6, 16)
        tensor([ 4,  4,  8,  8, 16, 16])
    """

    widths: Sequence[int]
    weights: Sequence[float] | None = None
    runs: int | None = None

    def __post_init__(self) -> None:
        check_collection("widths", self.widths, "integers")
        widths = tuple(check_int(f"widths[{i}]", width) for i, width in enumerate(self.widths))
        if not widths:
            raise ValueError("widths must hold at least one width, got none")
        width, times = Counter(widths).most_common(1)[0]
        if times > 1:
            raise ValueError(
                f"widths must differ, got {width} {times} times; weights set how often each is used"
            )
        # Tuples, so that a list that changes later does not change the sampler.
        object.__setattr__(self, "widths", widths)
        if self.weights is not None:
            object.__setattr__(self, "weights", _weights(self.weights, len(widths)))
        super().__post_init__()

    def probabilities(self, steps: int) -> Tensor:
        """Return the probability of each width 1..steps, shape (steps,), float64.

        Raises:
            ValueError: If a width lies beyond ``steps``.
        """
        steps = check_int("steps", steps)
        hint = f"the knob has {steps} steps"
        index = [check_int("widths", width, 1, steps, hint=hint) - 1 for width in self.widths]
        weights = torch.zeros(steps, dtype=torch.float64)
        given = self.weights or (1.0,) * len(index)
        weights[torch.tensor(index)] = torch.tensor(given, dtype=torch.float64)
        return normalise_weights(weights)


def _weights(weights: Sequence[float], count: int) -> tuple[float, ...]:
    """Return weights as floats, or say what is wrong with them."""
    check_collection("weights", weights, "numbers")
    if len(weights) != count:
        raise ValueError(
            f"weights must hold one for each of the {count} widths, got {len(weights)}"
        )
    given = tuple(weights)
    for i, weight in enumerate(given):
        if isinstance(weight, bool) or not isinstance(weight, Real):
            raise TypeError(f"weights[{i}] must be a number, got {short_repr(weight)}")
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weights[{i}] must be finite and not negative, got {weight}")
    if not any(given):
        raise ValueError("weights must have one above 0, got none")
    return tuple(float(weight) for weight in given)
