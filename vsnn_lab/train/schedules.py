"""How a learning rate moves while a network trains."""

import math
from collections.abc import Callable
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR, LambdaLR, LRScheduler, OneCycleLR

Schedule = Literal["one-cycle", "cosine", "constant"]
_RISE = 20  # a cosine comes after a twentieth of the steps


def cosine_share(step: int, steps: int) -> float:
    """Return the share of the peak rate that a step is made with: up, then down to nothing.

    Example:
        >>> [round(cosine_share(step, 100), 2) for step in (0, 4, 5, 52, 100)]
        [0.2, 1.0, 1.0, 0.51, 0.0]
    """
    rise = max(1, steps // _RISE)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise)))) / 2


# For an optimizer and its number of steps.
SCHEDULES: dict[str, Callable[[Optimizer, int], LRScheduler]] = {
    # One step more than is taken, since the rate also moves after the last.
    "one-cycle": lambda optimizer, steps: OneCycleLR(
        optimizer, optimizer.defaults["lr"], total_steps=steps + 1
    ),
    "cosine": lambda optimizer, steps: LambdaLR(optimizer, lambda step: cosine_share(step, steps)),
    "constant": lambda optimizer, steps: ConstantLR(optimizer, 1.0),
}
