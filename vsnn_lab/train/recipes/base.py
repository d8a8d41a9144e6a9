"""What every recipe is, and what recipes share."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

from torch import Tensor, nn

from vsnn_lab.layers import ConditionedLinear
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
            f"knobs must be 'joint' for {recipe!r}, got {knobs!r}; Sampled, FullAndNarrow, and "
            "Distilled with NarrowestAndRandom draw for each knob by itself"
        )


def scale_shared_gradients(model: nn.Module, factor: float) -> dict[str, Tensor]:
    """Return what all widths share of conditioned layers, with gradients scaled by a factor.

    They are parameters for `torch.func.functional_call`, by name.
    """
    if factor == 1:
        return {}
    return {
        f"{prefix}.{name}" if prefix else name: weight.detach().lerp(weight, factor)
        for prefix, module in model.named_modules()
        if isinstance(module, ConditionedLinear)
        for name in ("weight", "bias")
        for weight in [getattr(module, name)]
    }
