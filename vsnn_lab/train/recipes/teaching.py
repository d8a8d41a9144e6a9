"""What the output of one network means as the target of another: distillation."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_callable, check_fraction, check_module, check_pair
from vsnn_lab.measure.ablation import Metric, kept_mode

# Samples per forward of a teacher that makes targets for a whole set.
_CHUNK = 1024


def _classes(output: Tensor) -> Tensor:
    return output.softmax(1)


def _same(output: Tensor) -> Tensor:
    return output


_MEANING: dict[object, Callable[[Tensor], Tensor]] = {
    **dict.fromkeys((F.cross_entropy, nn.CrossEntropyLoss), _classes),
    **dict.fromkeys((F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss), torch.sigmoid),
    **dict.fromkeys((F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss), _same),
    **dict.fromkeys((nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss), _same),
    F.binary_cross_entropy: _same,
}


def meaning(loss: Metric) -> Callable[[Tensor], Tensor] | None:
    """Return what makes a target for ``loss`` of an output, or None for a loss of one's own.

    Example:
        >>> meaning(F.cross_entropy)(torch.zeros(1, 2))
        tensor([[0.5000, 0.5000]])
    """
    known = loss if callable(getattr(loss, "__hash__", None)) else None
    return _MEANING.get(known) or _MEANING.get(type(loss))


class Lesson:
    """The targets of a batch, blended with what a teacher says of it.

    Args:
        loss: Mean loss of a batch.
        output: The teacher's output; no gradient reaches it.
        y: Targets, one a sample.
        labels: Share of ``y``; the rest is the teacher's.
        teach: Makes a target of an output.
    """

    def __init__(
        self,
        loss: Metric,
        output: Tensor,
        y: Tensor,
        labels: float,
        teach: Callable[[Tensor], Tensor] | None,
    ) -> None:
        self.loss, self.labels = loss, 1.0 if teach is None else labels
        # A loss of each element for itself needs no targets that lie as outputs do.
        self.by_element = meaning(loss) in (_same, torch.sigmoid)
        self.targets = [y]
        if self.labels < 1:
            taught = teach(output.detach())
            # The cross entropy is linear in its target, so that one will do for both.
            if loss is F.cross_entropy and not y.is_floating_point() and y.dim() == 1:
                taught = taught * (1 - self.labels)
                taught.scatter_add_(1, y.unsqueeze(1), taught.new_full((len(y), 1), self.labels))
                self.targets, self.labels = [taught], 1.0
            else:
                self.targets = [y, taught]

    def __call__(self, output: Tensor, rows: slice = slice(None)) -> Tensor:
        """Return the loss of an output for some rows."""
        return self._loss(output, *(target[rows] for target in self.targets))

    def of_several(self, outputs: Tensor, rows: slice) -> Tensor:
        """Return the mean loss of several outputs for each of some rows, (rows, outputs, ...)."""
        targets = (target[rows].unsqueeze(1) for target in self.targets)
        targets = [each.expand(-1, outputs.shape[1], *each.shape[2:]) for each in targets]
        if self.by_element:
            return self._loss(outputs, *targets)
        return self._loss(outputs.flatten(0, 1), *(each.flatten(0, 1) for each in targets))

    def _loss(self, output: Tensor, y: Tensor, taught: Tensor | None = None) -> Tensor:
        value = self.loss(output, y)
        if taught is None or not self.labels < 1:
            return value
        return self.labels * value + (1 - self.labels) * self.loss(output, taught)


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
    first = next(teacher.parameters(), None)
    device = x.device if first is None else first.device
    with kept_mode(teacher), torch.no_grad():
        teacher.eval()
        said = [_classes(teacher(rows.to(device))).to(x.device) for rows in x.split(_CHUNK)]
    targets = torch.cat(said)
    if not 0 <= int(y.min()) <= int(y.max()) < targets.shape[1]:
        raise ValueError(
            f"data must hold classes in 0..{targets.shape[1] - 1}, got {int(y.min())} to "
            f"{int(y.max())}"
        )
    return x, labels * F.one_hot(y, targets.shape[1]).to(targets) + (1 - labels) * targets


def check_teach(teach: object) -> None:
    """Refuse what cannot make targets."""
    if teach is not None:
        check_callable("teach", teach, "callable on an output, or None")
