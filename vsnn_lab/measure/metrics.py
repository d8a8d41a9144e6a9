"""What a network's output is measured by beside its loss: ``metric(output, target) -> scalar``."""

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_rows, check_tensor


def accuracy(output: Tensor, target: Tensor) -> Tensor:
    """Return the share of samples whose largest output is their class.

    Args:
        output: A number for each class, shape (n, classes): scores, logits or probabilities.
        target: Class of each sample, integers in 0..classes - 1, shape (n,).

    Returns:
        A scalar in [0, 1]. Of equal outputs that of the first class counts as the largest.

    Raises:
        TypeError: If an argument is no tensor.
        ValueError: If the shapes do not fit, or ``target`` does not hold classes.

    Example:
        >>> accuracy(torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), torch.tensor([0, 1, 1]))
        tensor(0.6667)
    """
    check_rows("output", output)
    check_tensor("target", target)
    if output.dim() != 2 or not output.shape[1] or output.is_complex():
        raise ValueError(
            f"output must be numbers of shape (n, classes), got {output.dtype} of shape "
            f"{tuple(output.shape)}"
        )
    integers = not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
    # As many in another shape would each be compared with every row's class, without a word.
    hint = "; target.flatten() has it" if integers and target.numel() == len(output) else ""
    if not integers or target.shape != output.shape[:1]:
        raise ValueError(
            f"target must be integers of shape ({len(output)},), one class for each row of output, "
            f"got {target.dtype} of shape {tuple(target.shape)}{hint}"
        )
    # A class that the network does not know would silently count as a mistake.
    low, high = (int(value) for value in target.long().aminmax())
    if low < 0 or high >= output.shape[1]:
        raise ValueError(
            f"target must lie in 0..{output.shape[1] - 1}, got {low if low < 0 else high}; output "
            "has one column for each class"
        )
    return (output.argmax(1) == target).float().mean()
