"""Which networks may take a shortcut: the one place that decides.

What a width computes is defined by the model's own forward under `at_width`. Sharing work between
widths, summing over units, masks in place of slices: each is a faster way to the same numbers, and
each is used only where all that runs is known to give them. That is what this module proves, by
exact types, and with no hook, override or parametrization anywhere. Whatever it cannot prove takes
the plain path, slower and right; a debug log of `vsnn_lab.networks.gate` says why.
"""

import logging
from collections.abc import Iterator

from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from vsnn_lab.layers import TriangularDropout, VariableLayer, VariablePReLU
from vsnn_lab.layers.base import ask_for_forward
from vsnn_lab.widths import Width

_log = logging.getLogger(__name__)

# Modules that work on each entry by itself, and leave every axis where it is.
ELEMENTWISE: frozenset[type[nn.Module]] = frozenset(
    {
        *(nn.AlphaDropout, nn.CELU, nn.Dropout, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid),
        *(nn.Hardswish, nn.Hardtanh, nn.Identity, nn.LeakyReLU, nn.LogSigmoid, nn.Mish, nn.ReLU),
        *(nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign),
        *(nn.Tanh, nn.Tanhshrink, nn.Threshold),
    }
)
# Modules that work on each channel by itself; units that lie elsewhere they mix.
_CHANNELWISE: frozenset[type[nn.Module]] = frozenset(
    {
        *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
        *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
        *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
        *(nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.Upsample, nn.ZeroPad2d),
    }
)
_SLOPED = (nn.PReLU, VariablePReLU)
# What tells nothing of the axis of an output, elementwise modules aside.
_TRANSPARENT = (nn.Sequential, TriangularDropout)
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(f"_global{name}" for name in _HOOKS)


def is_elementwise(module: nn.Module) -> bool:
    """Whether a module is known to work on each entry by itself."""
    # With a slope for each channel it has an axis.
    one_slope = isinstance(module, nn.PReLU) and module.num_parameters == 1
    return type(module) in ELEMENTWISE or (one_slope and type(module) in _SLOPED)


def flatten_sequential(model: nn.Module) -> Iterator[nn.Module]:
    """List what a chain applies one after the other, chains inside it opened up."""
    kind = type(model)
    # A forward of this package's checks its inputs, and applies its children in turn.
    plain = kind.forward is nn.Sequential.forward or _is_from(kind, "vsnn_lab.networks.")
    if isinstance(model, nn.Sequential) and plain and _obstacle(model) is None:
        for child in model:
            yield from flatten_sequential(child)
    else:
        yield model


def proven_chain(model: nn.Module) -> list[nn.Module] | None:
    """Return the modules of a chain that may be run one by one, or None.

    All of them are torch's own or this package's, to the letter.
    """
    modules = list(flatten_sequential(model))
    for module in modules:
        if isinstance(module, VariableLayer) and not module.is_link:
            _log.debug("%s takes the plain path: %r is no link", type(model).__name__, module)
            return None
    for part in (part for module in modules for part in module.modules()):
        reason = _obstacle(part)
        if reason is None and not _is_from(type(part), "torch.nn.modules.", "vsnn_lab.layers."):
            reason = "is neither torch's nor this package's"
        if reason is not None:
            _log.debug("%s takes the plain path: %r %s", type(model).__name__, part, reason)
            return None
    if has_global_hooks():
        _log.debug("%s takes the plain path: torch has global hooks", type(model).__name__)
        return None
    return modules


def _is_from(kind: type, *places: str) -> bool:
    return kind.__module__.startswith(places)


def _obstacle(module: nn.Module) -> str | None:
    """Say what may make a module compute something other than its class does, if anything."""
    own = vars(module)
    if "forward" in own or type(module).__call__ is not nn.Module.__call__:
        return "overrides its call or its forward"
    if has_hooks(module):
        return "has hooks"
    return "has parametrizations" if "parametrizations" in own["_modules"] else None


def has_hooks(module: nn.Module) -> bool:
    """Whether a module has hooks, which may do anything."""
    own = vars(module)
    hooks = [hook for name in _HOOKS for hook in own.get(name, {}).values()]
    return any(hook is not ask_for_forward for hook in hooks)


def has_global_hooks() -> bool:
    """Whether torch has hooks for all modules."""
    return any(getattr(torch_module, name) for name in _GLOBAL_HOOKS)


def _uncompiled(model: nn.Module) -> nn.Module:
    """Return what torch.compile was given, which computes the same."""
    original = getattr(model, "_orig_mod", model)
    return original if isinstance(original, nn.Module) else model


def may_write_in_place(model: nn.Module) -> bool:
    """Whether a model may change its inputs: whatever is not known never to do so."""
    modules = proven_chain(_uncompiled(model))
    return modules is None or any(
        getattr(part, "inplace", False) for module in modules for part in module.modules()
    )


def private_copy(model: nn.Module, x: Tensor) -> Tensor:
    """Return inputs that a model may change without anybody else seeing it."""
    return x.clone() if may_write_in_place(model) else x


def output_axis(model: nn.Module) -> tuple[int | Width, int]:
    """Return the axis of a model's output and where it lies; ``(0, -1)`` if that is unknown.

    A variable layer tells it, a ``Sequential`` through its last module that is more than an
    activation or zeros in place of units, and any module through an attribute ``out_axis`` (last
    dimension, or that of an attribute ``unit_dim``).
    """
    axis = getattr(model, "out_axis", None)
    if axis is not None:
        return axis, getattr(model, "unit_dim", -1)
    if isinstance(model, nn.Sequential):
        for child in reversed(model):
            parts = child.modules()
            if not all(is_elementwise(part) or type(part) in _TRANSPARENT for part in parts):
                return output_axis(child)
    return 0, -1


def is_maskable(model: nn.Module) -> bool:
    """Whether samples that have widths of their own may share one masked call.

    Between layers of this package nothing may stand that looks at several units at once: of the
    units beyond a sample's width it would see what no cut network has.
    """
    model = _uncompiled(model)
    modules = proven_chain(model)
    if modules is None:
        return False
    varies = channels = False
    for module in modules:
        if getattr(module, "scale_grad_by_freq", False):
            return False  # It counts the indices of one call.
        if _moves_samples(module):
            _log.debug("%s runs each width by itself: %r", type(model).__name__, module)
            return False
        if isinstance(module, VariableLayer):
            out_axis = getattr(module, "out_axis", None)
            if out_axis is not None:
                varies = isinstance(out_axis, Width)
                # What leaves its units in dimension 1 does not say whether that is the last one.
                stays = getattr(module, "axis", None) is not None and module.unit_dim == 1
                channels = channels if stays else module.unit_dim != -1
        elif any(isinstance(part, VariableLayer) for part in module.modules()) or (
            varies and not _keeps_units_apart(module, channels)
        ):
            name = type(model).__name__
            _log.debug("%s runs each width by itself: %r may mix units", name, module)
            return False
        elif type(module) is nn.Flatten:
            channels = False
    return not varies or isinstance(output_axis(model)[0], Width)


def _moves_samples(module: nn.Module) -> bool:
    """Whether a module may make of the first dimension something other than the samples."""
    if type(module) is nn.Flatten:
        return module.start_dim < 1
    known = type(module) is nn.Unflatten
    return known and not (isinstance(module.dim, int) and (module.dim >= 1 or module.dim == -1))


def _keeps_units_apart(module: nn.Module, channels: bool) -> bool:
    if is_elementwise(module):
        return True
    if type(module) is nn.Flatten:
        return channels and (module.start_dim, module.end_dim) == (1, -1)
    return channels and type(module) in _CHANNELWISE
