"""Call a network with inputs of whatever kind it takes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import nn

from vsnn_lab._basics.random_state import random_state_kept


def call(model: nn.Module, inputs: Any) -> Any:
    """Call a network with a tensor, a tuple of arguments, or a dict of them by name."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple) else model(inputs)


@contextmanager
def evaluated_privately(model: nn.Module) -> Iterator[None]:
    """Evaluate a network; its training mode and torch's random state come back afterwards."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with random_state_kept(model):
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
