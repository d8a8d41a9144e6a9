"""Each sample at one width: the method as published."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from vsnn_lab._basics.checks import check_callable
from vsnn_lab.networks.forward import forward_at_widths
from vsnn_lab.samplers import Sampler, Stratified
from vsnn_lab.train.recipes.base import Recipe
from vsnn_lab.train.recipes.step import Step, check_step


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

    def losses(self, step: Step) -> Iterator[Tensor]:
        """Yield the mean loss."""
        widths = check_step(step).draw(self.sampler)
        yield step.loss(forward_at_widths(step.model, step.x, widths), step.y)
