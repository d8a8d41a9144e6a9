"""Batches of tensors in memory, the same for the same seed and epoch."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_int, check_rows, short_repr


class TensorBatches:
    """Batches of in-memory tensors, in a different order each epoch.

    The order depends on the seed and the epoch alone, so a run that resumes at an epoch sees what
    it would have seen, and torch's global generator is left alone. Each ``iter`` starts the next
    epoch; ``set_epoch`` chooses it, as in torch's ``DistributedSampler``. The last batch may be
    smaller.

    Args:
        inputs: One row per sample, on any device.
        targets: As many rows.
        batch_size: Rows in a batch.
        seed: Chooses the sequence of orders.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the lengths differ or are zero, or a number is out of range.

    Example:
        >>> x = torch.arange(5)
        >>> batches = TensorBatches(x, x, batch_size=2)
        >>> [len(inputs) for inputs, _ in batches]
        [2, 2, 1]
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, batch_size: int = 256, seed: int = 0
    ) -> None:
        _check_rows(inputs, targets)
        self.inputs = inputs
        self.targets = targets
        self.batch_size = check_int("batch_size", batch_size)
        self.seed = check_int("seed", seed, low=0)
        self._next_epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next ``iter`` give this epoch's order."""
        self._next_epoch = check_int("epoch", epoch, low=0)

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = _permutation(len(self.inputs), self.seed, self._next_epoch)
        self._next_epoch += 1
        return (
            (self.inputs[rows.to(self.inputs.device)], self.targets[rows.to(self.targets.device)])
            for rows in order.split(self.batch_size)
        )


class FreshBatches:
    """Batches that are drawn anew at every step, for data that a formula makes.

    Args:
        draw: Makes one batch, ``draw(generator) -> (inputs, targets)``, from that generator alone.
        steps: Batches in an epoch.
        seed: With the epoch, chooses the sequence of draws.

    Example:
        >>> def noisy_line(generator):
        ...     x = torch.rand(4, 1, generator=generator)
        ...     return x, 2 * x
        >>> [x.shape for x, _ in FreshBatches(noisy_line, steps=2)]
        [torch.Size([4, 1]), torch.Size([4, 1])]
    """

    def __init__(
        self,
        draw: Callable[[torch.Generator], tuple[Tensor, Tensor]],
        steps: int,
        seed: int = 0,
    ) -> None:
        if not callable(draw):
            raise TypeError(f"draw must be callable on a torch.Generator, got {short_repr(draw)}")
        self.draw = draw
        self.steps = check_int("steps", steps)
        self.seed = check_int("seed", seed, low=0)
        self._next_epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next ``iter`` give this epoch's draws."""
        self._next_epoch = check_int("epoch", epoch, low=0)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed_from(self.seed, self._next_epoch))
        self._next_epoch += 1
        return (self.draw(generator) for _ in range(self.steps))


def split_validation(
    inputs: Tensor, targets: Tensor, fraction: float, seed: int = 0
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Hold out a random share of the rows, the same one for the same seed.

    Args:
        inputs: One row per sample.
        targets: As many rows.
        fraction: Share held out, between 0 and 1.
        seed: Chooses the rows.

    Returns:
        ``(train_inputs, train_targets), (validation_inputs, validation_targets)``, the rows of
        each in their original order.

    Raises:
        ValueError: If the fraction is outside (0, 1) or leaves a part empty.

    Example:
        >>> x = torch.arange(10)
        >>> (train, _), (held_out, _) = split_validation(x, x, fraction=0.2)
        >>> len(train), len(held_out)
        (8, 2)
    """
    _check_rows(inputs, targets)
    seed = check_int("seed", seed, low=0)
    if isinstance(fraction, bool) or not 0 < fraction < 1:
        raise ValueError(
            f"fraction must lie between 0 and 1, both excluded, got {short_repr(fraction)}"
        )
    held_out = round(len(inputs) * fraction)
    if not 0 < held_out < len(inputs):
        raise ValueError(
            f"fraction must leave training and validation at least one row, got {fraction} of "
            f"{len(inputs)} rows"
        )
    order = _permutation(len(inputs), seed)
    parts = (order[held_out:].sort().values, order[:held_out].sort().values)
    train, validation = (
        (inputs[rows.to(inputs.device)], targets[rows.to(targets.device)]) for rows in parts
    )
    return train, validation


def _check_rows(inputs: Tensor, targets: Tensor) -> None:
    for name, value in (("inputs", inputs), ("targets", targets)):
        check_rows(name, value)
    if len(inputs) != len(targets):
        raise ValueError(
            f"inputs and targets must have as many rows, got {len(inputs)} and {len(targets)}"
        )


def seed_from(*numbers: int) -> int:
    """Return one seed that depends on all ``numbers`` and their order.

    Hashing them together keeps (seed 0, epoch 1) and (seed 1, epoch 0) apart.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _permutation(rows: int, *numbers: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_from(*numbers))
    return torch.randperm(rows, generator=generator)
