"""Tensors of a layer that are recomputed from others: pruned, normed or parametrized weights.

Torch's pruning and its older weight and spectral norm do so in a hook before each forward, a
parametrization whenever the tensor is read. A layer at a width takes the first units of what comes
out, and a submodel holds them as ordinary parameters.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations
from torch.nn.utils.spectral_norm import (
    SpectralNorm,
    SpectralNormLoadStateDictPreHook,
    SpectralNormStateDictHook,
)
from torch.nn.utils.weight_norm import WeightNorm

from vsnn_lab.layers.base import VariableLayer

Hook = WeightNorm | SpectralNorm | prune.BasePruningMethod

# How torch names what each of them computes a tensor from, after that tensor.
_SOURCES: dict[type, tuple[str, ...]] = {
    WeightNorm: ("_g", "_v"),
    SpectralNorm: ("_orig", "_u", "_v"),
    prune.BasePruningMethod: ("_orig", "_mask"),
}
_OF_SPECTRAL_NORM = (SpectralNormStateDictHook, SpectralNormLoadStateDictPreHook)


def check_recomputed(name: str, layer: VariableLayer) -> None:
    """Refuse a layer whose weights come from something that is not understood.

    Args:
        name: What the network calls the layer.
        layer: The layer.

    Raises:
        ValueError: If one of its tensors is neither a parameter or buffer nor recomputed by torch.
    """
    known = {*layer._parameters, *layer._buffers, *_hooks(layer)}
    known |= {name for name, _ in _parametrizations(layer).named_children()}
    for path in layer.inner_modules:
        known |= {f"{path}.{name}" for name in layer.get_submodule(path)._parameters}
    for part in layer.parameter_axes | layer.buffer_axes:
        if part not in known:
            raise ValueError(
                f"{part} of the layer {name!r} must be a parameter to be cut, got a tensor that "
                "something else recomputes, a hook say; make it a parameter again, or use "
                "torch.nn.utils.parametrize, which is understood"
            )


@contextmanager
def evaluated_tensors(layer: VariableLayer) -> Iterator[None]:
    """Let a layer have, for a while, the tensors of its next forward in evaluation mode."""
    before = dict(vars(layer))
    training = [module for module in _parametrizations(layer).modules() if module.training]
    try:
        for module in training:
            module.training = False
        with torch.enable_grad():
            for name, hook in _hooks(layer).items():
                setattr(layer, name, _computed(hook, layer))
            yield
    finally:
        vars(layer).update(before)
        for module in training:
            module.training = True


def strip_recomputed(layer: VariableLayer) -> None:
    """Take off a layer what recomputes its tensors, and those that they are computed from."""
    for name, hook in _hooks(layer).items():
        vars(layer).pop(name)
        endings = next(ends for kind, ends in _SOURCES.items() if isinstance(hook, kind))
        for ending in endings:
            layer._parameters.pop(name + ending, None)
            layer._buffers.pop(name + ending, None)
    every: tuple[dict[int, Any], ...] = (
        layer._forward_pre_hooks,
        layer._state_dict_hooks,
        layer._load_state_dict_pre_hooks,
    )
    for hooks in every:
        for key, hook in list(hooks.items()):
            if isinstance(getattr(hook, "hook", hook), (*_SOURCES, *_OF_SPECTRAL_NORM)):
                del hooks[key]
    if is_parametrized(layer):
        del layer._modules["parametrizations"]
        layer.__class__ = type_before_parametrizations(layer)


def detached_copies(model: nn.Module) -> dict[int, Tensor]:
    """Return a memo for ``copy.deepcopy``, which refuses what a hook computed with gradients."""
    return {
        id(value): value.detach().clone()
        for module in model.modules()
        for value in vars(module).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }


def _hooks(layer: nn.Module) -> dict[str, Hook]:
    """Return torch's hooks by the names of the tensors that they compute, in their order."""
    hooks: dict[str, Hook] = {}
    for hook in layer._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm | SpectralNorm):
            hooks[hook.name] = hook
        elif isinstance(hook, prune.BasePruningMethod):
            hooks[hook._tensor_name] = hook
    return hooks


def _parametrizations(layer: nn.Module) -> nn.Module:
    """Return the parametrizations by the names of the tensors that they compute."""
    return layer.get_submodule("parametrizations") if is_parametrized(layer) else nn.Module()


def _computed(hook: Hook, layer: nn.Module) -> Tensor:
    match hook:
        case WeightNorm():
            return hook.compute_weight(layer)
        case SpectralNorm():
            return hook.compute_weight(layer, do_power_iteration=False)
    return hook.apply_mask(layer)
