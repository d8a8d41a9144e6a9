"""What every recipe is, and what recipes share."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor

from vsnn_lab.train.recipes.step import Step
from vsnn_lab.widths import WidthControl


class Recipe:
    """Turns a training step into its loss.

    Attributes:
        draws_independently: Whether it can draw for each of several knobs by itself.
    """

    draws_independently: ClassVar[bool] = True

    def losses(self, step: Step) -> Iterator[Tensor]:
        """Yield what the loss is the sum of, scalars to be minimised.

        Nothing that a part holds for its gradient is needed by the next: whoever goes backward from
        each before asking for another holds the activations of one at a time.
        """
        raise NotImplementedError


def check_draws(recipe: Recipe, controls: Sequence[WidthControl], knobs: str) -> None:
    """Refuse draws for each of several knobs by itself where a recipe knows only joint ones."""
    if len(controls) > 1 and knobs == "independent" and not recipe.draws_independently:
        raise ValueError(
            f"knobs must be 'joint' for {recipe!r}, got {knobs!r}; Sampled, and Distilled with a "
            "sampler or NarrowestAndRandom draw for each knob by itself"
        )
