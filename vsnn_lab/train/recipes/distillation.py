"""Distillation: the output of one network as the target of another."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_fraction, check_module, check_pair
from vsnn_lab.measure.evaluation import evaluate
from vsnn_lab.measure.text import token_cross_entropy
from vsnn_lab.train.recipes.step import Loss

# Samples per forward of a teacher that makes targets for a whole set.
_CHUNK = 1024


def _softmax(output: Tensor) -> Tensor:
    return output.softmax(1)


def _softmax_of_tokens(output: Tensor) -> Tensor:
    return output.softmax(-1)


def _identity(output: Tensor) -> Tensor:
    return output


_SOFT_TARGET_FUNCTIONS: dict[object, Callable[[Tensor], Tensor]] = {
    **dict.fromkeys((F.cross_entropy, nn.CrossEntropyLoss), _softmax),
    **dict.fromkeys((F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss), torch.sigmoid),
    **dict.fromkeys((F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss), _identity),
    **dict.fromkeys((nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss), _identity),
    F.binary_cross_entropy: _identity,
    token_cross_entropy: _softmax_of_tokens,
}


def soft_target_function(loss: Loss) -> Callable[[Tensor], Tensor] | None:
    """Return what makes a target for ``loss`` of an output, or None for a loss of one's own.

    Example:
        >>> soft_target_function(F.cross_entropy)(torch.zeros(1, 2))
        tensor([[0.5000, 0.5000]])
    """
    known = loss if callable(getattr(loss, "__hash__", None)) else None
    return _SOFT_TARGET_FUNCTIONS.get(known) or _SOFT_TARGET_FUNCTIONS.get(type(loss))


class DistillationLoss:
    """The loss for the targets of a batch, blended with what a teacher makes of it.

    Args:
        loss: Mean loss of a batch.
        output: The teacher's output; no gradient reaches it.
        y: Targets, one a sample.
        labels: Share of ``y``; the rest is the teacher's.
        soften: Makes a target of an output; without it ``y`` is all.
    """

    def __init__(
        self,
        loss: Loss,
        output: Tensor,
        y: Tensor,
        labels: float,
        soften: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.loss, self.labels = loss, labels
        # A loss of each element for itself needs no targets that lie as outputs do.
        self.by_element = soft_target_function(loss) in (_identity, torch.sigmoid)
        self.targets = [y]
        if soften is not None and labels < 1:
            soft = soften(output.detach())
            # The cross entropy is linear in its target, so that one will do for both.
            classes_last = loss is token_cross_entropy or (loss is F.cross_entropy and y.dim() == 1)
            if classes_last and not y.is_floating_point():
                soft = soft * (1 - labels)
                chosen = y.unsqueeze(-1)
                soft.scatter_add_(-1, chosen, soft.new_full(chosen.shape, labels))
                self.targets = [soft]
            else:
                self.targets = [y, soft]

    def __call__(self, output: Tensor, rows: slice = slice(None)) -> Tensor:
        """Return the loss of an output for some rows."""
        return self._blend(output, *(target[rows] for target in self.targets))

    def of_several(self, outputs: Tensor, rows: slice) -> Tensor:
        """Return the mean loss of several outputs for each of some rows, (rows, outputs, ...)."""
        count, repeated = outputs.shape[1], []
        for target in self.targets:
            each = target[rows].unsqueeze(1)
            repeated.append(each.expand(-1, count, *each.shape[2:]))
        if self.by_element:
            return self._blend(outputs, *repeated)
        return self._blend(outputs.flatten(0, 1), *(each.flatten(0, 1) for each in repeated))

    def _blend(self, output: Tensor, y: Tensor, soft: Tensor | None = None) -> Tensor:
        value = self.loss(output, y)
        if soft is None:
            return value
        return self.labels * value + (1 - self.labels) * self.loss(output, soft)


def soft_targets(
    teacher: nn.Module, data: tuple[Tensor, Tensor], *, labels: float = 0.5
) -> tuple[Tensor, Tensor]:
    """Return data whose classes are blended with what a teacher says: to fine-tune a submodel.

    An extracted network is an ordinary one, which `fit` trains plainly. With these targets the
    network that it was cut out of teaches it:

    ``fit(small, soft_targets(model, (x, y)), F.cross_entropy, lr=5e-4)``.

    Args:
        teacher: A classifier, in the width that it stands at; it runs in evaluation mode.
        data: A pair of tensors (inputs, classes), the classes integers of shape (n,).
        labels: Share of the classes themselves; the rest is the teacher's softmax.

    Returns:
        The inputs, and probabilities of shape (n, classes).

    References:
        Hinton, Vinyals & Dean 2015, "Distilling the Knowledge in a Neural Network",
        arXiv 1503.02531.

    Example:
        >>> teacher = nn.Linear(3, 2)
        >>> inputs, targets = soft_targets(teacher, (torch.ones(4, 3), torch.tensor([0, 1, 1, 0])))
        >>> targets.shape, bool(torch.allclose(targets.sum(1), torch.ones(4)))
        (torch.Size([4, 2]), True)
    """
    check_module("teacher", teacher)
    labels = check_fraction("labels", labels)
    x, y = check_pair("data", data)
    if y.dim() != 1 or y.is_floating_point() or y.dtype == torch.bool:
        raise ValueError(
            f"data must hold classes as integers of shape (n,), got {y.dtype} of shape "
            f"{tuple(y.shape)}"
        )
    if len(x) != len(y) or not len(y):
        raise ValueError(f"data must pair inputs with classes, got {len(x)} and {len(y)} rows")
    outputs = [evaluate(teacher, rows).to(x.device) for rows in x.split(_CHUNK)]
    targets = _softmax(torch.cat(outputs))
    if not 0 <= int(y.min()) <= int(y.max()) < targets.shape[1]:
        raise ValueError(
            f"data must hold classes in 0..{targets.shape[1] - 1}, got {int(y.min())} to "
            f"{int(y.max())}"
        )
    return x, labels * F.one_hot(y, targets.shape[1]).to(targets) + (1 - labels) * targets
