"""How a network is evaluated: in evaluation mode, without gradients, on its own device."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_pair, short_repr
from vsnn_lab.networks.gate import private_copy

Batches = Iterable[tuple[Tensor, Tensor]]

# Samples per forward when a whole set is given: large enough that starting operations costs
# nothing, small enough that activations stay in the cache.
_CHUNK = 1024


@contextmanager
def preserve_mode(model: nn.Module) -> Iterator[None]:
    """Put every module back into training or evaluation mode, whichever it was in.

    Module by module, because a network in training may hold a batch norm that is not.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Hold a model in evaluation mode, and record no gradients."""
    with preserve_mode(model), torch.no_grad():
        model.eval()
        yield


def to_device_of(model: nn.Module, x: Tensor) -> Tensor:
    """Return inputs where a model's parameters are, floats in their dtype if they have one dtype.

    Without parameters a model takes what there is.
    """
    x = x.to(next(model.parameters(), x).device)
    dtypes = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    if len(dtypes) == 1 and x.is_floating_point():
        x = x.to(dtypes.pop())
    return x


def evaluate(model: nn.Module, inputs: Tensor) -> Tensor:
    """Return what a model gives in evaluation mode, without gradients, on its device and dtype."""
    with evaluation_mode(model):
        return model(private_copy(model, to_device_of(model, inputs)))


def as_batches(batches: Any) -> Batches:
    """Return batches to read: a pair of tensors in parts, anything else as it is."""
    if not isinstance(batches, Iterable) or getattr(batches, "ndim", 1) == 0:
        raise TypeError(
            f"batches must be a pair of tensors or an iterable of such pairs, "
            f"got {short_repr(batches)}"
        )
    pair = isinstance(batches, tuple | list) and len(batches) == 2
    if not (pair and all(isinstance(part, Tensor) for part in batches)):
        return batches
    inputs, targets = check_pair("batches", batches)
    if len(inputs) != len(targets):
        raise ValueError(
            f"batches must pair inputs with targets, got {len(inputs)} and {len(targets)} rows"
        )
    return list(zip(inputs.split(_CHUNK), targets.split(_CHUNK), strict=True))
