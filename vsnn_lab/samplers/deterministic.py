"""Samplers without randomness."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_fraction, check_int
from vsnn_lab.samplers.draws import check_sizes


@dataclass(frozen=True)
class Triangular:
    """The paper's deterministic triangle: widths rise evenly from the first row to the last.

    A batch of ``steps`` rows is exactly lower triangular; a multiple of it repeats each width
    equally often; a smaller batch is block triangular (4 rows of 16 units keep 4, 8, 12, 16); and
    any other size spreads the widths as evenly as integers allow, with full width last.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> Triangular()(4, 16)
        tensor([ 4,  8, 12, 16])
    """

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return ceil((i + 1) * steps / batch_size) for each row i; no randomness is used."""
        batch_size, steps = check_sizes(batch_size, steps)
        rows = torch.arange(1, batch_size + 1)
        return -(-rows * steps // batch_size)


_FIXED = "FixedFraction takes a share of the full width instead"


@dataclass(frozen=True)
class Fixed:
    """One width for every sample: P(w) = 1 at ``w = width``.

    Training is that of a dedicated network inside the larger one. It is the integer mask mode of
    the paper's code, where 1 keeps one unit; 1.0 keeps all of them and is `FixedFraction` here.

    Args:
        width: Knob position, at least 1; a knob of fewer steps is refused when widths are drawn.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> Fixed(1)(3, 16)
        tensor([1, 1, 1])
    """

    width: int

    def __post_init__(self) -> None:
        check_int("width", self.width, hint=_FIXED)

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the width ``batch_size`` times; no randomness is used."""
        batch_size, steps = check_sizes(batch_size, steps)
        return torch.full((batch_size,), check_int("width", self.width, 1, steps, hint=_FIXED))


@dataclass(frozen=True)
class FixedFraction:
    """One share of the full width for every sample, on a knob of any size.

    P(w) = 1 at the position w in 1..steps that is nearest to ``fraction * steps``; halfway
    between two it is the even one. It is the float mask mode of the paper's code.

    Args:
        fraction: Share of the full width, in [0, 1].

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> FixedFraction(1.0)(3, 16)
        tensor([16, 16, 16])
    """

    fraction: float

    def __post_init__(self) -> None:
        check_fraction("fraction", self.fraction, hint="Fixed takes a width instead")

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return the nearest position ``batch_size`` times; no randomness is used."""
        batch_size, steps = check_sizes(batch_size, steps)
        return torch.full((batch_size,), max(round(self.fraction * steps), 1))


@dataclass(frozen=True)
class Full:
    """Full width for every sample, P(w) = 1 at ``w = steps``: plain training, without a mask.

    Example:
        >>> Full()(3, 16)
        tensor([16, 16, 16])
    """

    def __call__(
        self, batch_size: int, steps: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return ``steps`` for each sample; no randomness is used."""
        batch_size, steps = check_sizes(batch_size, steps)
        return torch.full((batch_size,), steps)
