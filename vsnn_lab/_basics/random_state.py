"""Torch's random state where a network draws from it: on the CPU, and on the GPUs that it is on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


def _gpus_of(model: nn.Module) -> list[int]:
    """Return the numbers of the CUDA devices that hold tensors of a network."""
    tensors = [*model.parameters(), *model.buffers()]
    return sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})


@contextmanager
def random_state_kept(model: nn.Module) -> Iterator[None]:
    """Put the states of all generators that a network may draw from back afterwards."""
    with torch.random.fork_rng(devices=_gpus_of(model)):
        yield


def seed_generators(model: nn.Module, seed: int) -> None:
    """Seed the generators that a network may draw from.

    Not by ``torch.manual_seed``, which seeds those of all other devices too.
    """
    torch.default_generator.manual_seed(seed)
    for gpu in _gpus_of(model):
        torch.cuda.default_generators[gpu].manual_seed(seed)
