"""Each sample at one width: the method as published."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_callable, check_fraction
from vsnn_lab.measure.ablation import Metric
from vsnn_lab.networks.forward import forward_at_widths
from vsnn_lab.samplers import Sampler, Stratified
from vsnn_lab.samplers.draws import drawn
from vsnn_lab.train.recipes.base import Recipe, check_batch
from vsnn_lab.widths import single_control


@dataclass(frozen=True)
class Sampled(Recipe):
    """Each sample at one width, its loss as it is: the method as published.

    Args:
        sampler: Draws the widths; by default ``Stratified(4)``, dense slices for four runs.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235, with ``Triangular()``.
    """

    sampler: Sampler = field(default_factory=lambda: Stratified(4))

    def __post_init__(self) -> None:
        check_callable("sampler", self.sampler, "a sampler")

    def draw(
        self, batch_size: int, steps: int, generator: torch.Generator, progress: float = 0.0
    ) -> Tensor:
        """Return one width a sample, shape (1, batch_size)."""
        return drawn(self.sampler, batch_size, steps, generator).unsqueeze(0)

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        widths: Tensor,
        loss: Metric,
        progress: float = 0.0,
    ) -> Tensor:
        """Return the mean loss."""
        check_fraction("progress", progress)
        check_batch(single_control(model).steps, x, y, widths, loss)
        return loss(forward_at_widths(model, x, widths[0]), y)
