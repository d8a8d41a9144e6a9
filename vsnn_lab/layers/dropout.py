"""Triangular Dropout as a module of its own, for any network."""

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_callable, check_generator, check_int, check_tensor
from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.samplers import Sampler, Triangular
from vsnn_lab.samplers.draws import draw_widths
from vsnn_lab.widths import prefix_mask, spread


class TriangularDropout(VariableLayer, nn.Identity):
    """Zero the last units of each sample while training, like ``nn.Dropout`` but in order.

    It needs no `Width` and no other layer of this package: drop it in where a network's code
    should become ordered. Evaluated, it is the identity, and so is its extracted form. Nothing is
    rescaled: the units that stay mean the same at every width.

    Args:
        sampler: Draws each sample's width; by default the paper's triangle.
        dim: Where the units lie.
        generator: Makes random samplers repeatable; None draws from fresh entropy.

    Shape:
        (batch, ...) to the same.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> TriangularDropout()(torch.ones(3, 3))
        tensor([[1., 0., 0.],
                [1., 1., 0.],
                [1., 1., 1.]])
    """

    in_axis = out_axis = None  # type: ignore[assignment] # it lies on no axis
    own_attributes = ("sampler", "dim", "generator")

    def __init__(
        self,
        sampler: Sampler | None = None,
        dim: int = -1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if sampler is not None:
            check_callable("sampler", sampler, "a sampler or None")
        self.sampler = Triangular() if sampler is None else sampler
        self.dim = check_int("dim", dim, low=None)
        self.generator = check_generator(generator)

    def forward(self, input: Tensor) -> Tensor:
        """Mask while training, pass on when evaluated."""
        if not self.training:
            return input
        x = check_tensor("input", input)
        if x.dim() < 2 or not -x.dim() < self.dim < x.dim() or self.dim == 0:
            raise ValueError(
                f"input must have a batch and units in dimension {self.dim}, got shape "
                f"{tuple(x.shape)}"
            )
        units = x.shape[self.dim]
        if not (len(x) and units):
            raise ValueError(f"input must hold a sample and a unit, got shape {tuple(x.shape)}")
        widths = draw_widths(self.sampler, len(x), units, self.generator)
        mask = prefix_mask(widths, units).to(x.device)
        return torch.where(spread(mask, x, self.dim), x, 0.0)

    def extra_repr(self) -> str:
        """Show the sampler."""
        return f"{self.sampler}, dim={self.dim}"
