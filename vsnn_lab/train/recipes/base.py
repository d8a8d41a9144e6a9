"""What every recipe is, and what recipes share."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_callable, check_rows, check_tensor
from vsnn_lab.layers import ConditionedLinear
from vsnn_lab.layers.by_octave import OctaveLayer
from vsnn_lab.measure.ablation import Metric
from vsnn_lab.widths import check_widths


class Recipe:
    """Turns a batch and widths drawn for it into the loss of a training step."""

    def draw(
        self, batch_size: int, steps: int, generator: torch.Generator, progress: float = 0.0
    ) -> Tensor:
        """Return the widths of a batch, shape (draws, batch_size)."""
        raise NotImplementedError

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        widths: Tensor,
        loss: Metric,
        progress: float = 0.0,
    ) -> Tensor:
        """Return the loss, a scalar to be minimised; ``progress`` is the training's, in [0, 1]."""
        raise NotImplementedError

    def losses(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        widths: Tensor,
        loss: Metric,
        progress: float = 0.0,
    ) -> Iterator[Tensor]:
        """Yield what the loss is the sum of.

        Nothing that a part holds for its gradient is needed by the next: whoever goes backward from
        each before asking for another holds the activations of one at a time.
        """
        yield self(model, x, y, widths, loss, progress)


def lent(model: nn.Module, share: float) -> dict[str, Tensor]:
    """Return what all widths share of conditioned layers, passing on a share of its gradient."""
    if share == 1:
        return {}
    owners = [
        (f"{name}." if name else "", module)
        for name, module in model.named_modules()
        if isinstance(module, ConditionedLinear | OctaveLayer)
    ]
    return {
        f"{prefix}{name}": part.detach().lerp(part, share)
        for prefix, module in owners
        for name, part in (("weight", module.weight), ("bias", module.bias))
    }


def check_batch(steps: int, x: Tensor, y: Tensor, widths: Tensor, loss: Metric) -> None:
    """Refuse what is no batch with its widths, which anybody's loop may pass."""
    check_callable("loss", loss, "callable on (output, target)")
    if len(check_rows("x", x)) != len(check_rows("y", y)):
        raise ValueError(f"x and y must have as many rows, got {len(x)} and {len(y)}")
    if check_tensor("widths", widths).dim() != 2 or widths.shape[1] != len(x) or not len(widths):
        raise ValueError(
            f"widths must have shape (draws, {len(x)}), one row a draw, got {tuple(widths.shape)}"
        )
    check_widths("widths", widths.flatten(), steps)
