"""How a network is evaluated: in evaluation mode, without gradients, on its own device."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vsnn_lab.networks.gate import private_copy


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
