"""Targets of shape (n,) beside outputs of shape (n, 1), of which arithmetic makes (n, n)."""

import math
import warnings

import torch
from torch import Tensor

from vsnn_lab.train.recipes.step import Loss


class BroadcastWarning:
    """A loss that warns, once, where it takes each output together with other samples' targets.

    Whether a loss sees to such shapes itself cannot be read off them. But a mean over samples is
    the mean of its parts, and a mean over all pairs of an output and a target is not.

    Args:
        loss: Mean loss of a batch.
    """

    def __init__(self, loss: Loss) -> None:
        self._loss, self._tried = loss, False

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss of a batch."""
        if not self._tried and _may_broadcast(output, target):
            self._try(output, target)
        return self._loss(output, target)

    @torch.no_grad()
    def _try(self, output: Tensor, target: Tensor) -> None:
        rows = target.cpu().double().reshape(len(target), -1)
        other = int((rows - rows[0]).abs().sum(1).argmax())
        if torch.equal(target[0], target[other]) or torch.equal(output[0], output[other]):
            return  # these tell nothing
        self._tried = True
        # Each twice, since a loss may need more than one sample.
        pair = torch.tensor([0, 0, other, other], device=output.device)
        values = [self._loss(output[i], target[i]) for i in (pair, pair[:2], pair[2:])]
        whole, *parts = map(float, values)
        if not math.isclose(whole, sum(parts) / 2, rel_tol=1e-4, abs_tol=1e-7):
            warnings.warn(
                f"loss is no mean over samples for outputs of shape {tuple(output.shape)} and "
                f"targets of shape {tuple(target.shape)}, which arithmetic broadcasts to all pairs "
                "of them; give both the same shape, targets.unsqueeze(-1) or output.squeeze(-1)",
                stacklevel=2,
            )


def _may_broadcast(output: object, target: object) -> bool:
    if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
        return False
    shapes = tuple(output.shape), tuple(target.shape)
    return len(output) > 1 and ((*shapes[0], 1) == shapes[1] or (*shapes[1], 1) == shapes[0])
