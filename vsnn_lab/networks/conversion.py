"""Make an ordinary network variable: find which axes belong together, and put them on knobs.

torch.fx lays the network out as a graph. Along it each layer's units are followed to the layers
that consume them: through activations, norms, pooling and flattening; residual sums tie the axes
of both sides together. The network's own input and output stay fixed. What mixes units in a way
that a prefix cannot be cut out of is refused, by name.
"""

import copy
import math
from collections.abc import Iterable
from typing import Literal

from torch import nn

from vsnn_lab import layers
from vsnn_lab._basics.checks import (
    check_choice,
    check_collection,
    check_int,
    check_module,
    short_repr,
)
from vsnn_lab.layers.recomputed import detached_copies
from vsnn_lab.networks.extraction import inner_network
from vsnn_lab.networks.trace import Trace
from vsnn_lab.widths import Width, WidthControl

_VARIABLE: dict[type, type[layers.VariableLayer]] = {
    getattr(nn, name.removeprefix("Variable")): getattr(layers, name)
    for name in layers.__all__
    if name.startswith("Variable") and name != "VariableLayer"
}


def make_variable(
    model: nn.Module,
    *,
    steps: int | None = None,
    knobs: Literal["shared", "per_layer"] = "shared",
    exclude: Iterable[str] = (),
) -> nn.Module:
    """Return a variable copy of a network, with the same weights and state_dict keys.

    Every axis between two of its layers becomes a `Width`. Module classes and forwards stay; only
    linear layers, convolutions, norms and embeddings become variable ones.

    Args:
        model: An ``nn.Sequential``, a torchvision VGG or ResNet, or any module that torch.fx can
            trace. Hooks stay, also those of pruning and of the older weight and spectral norm; what
            ``torch.compile``, ``nn.DataParallel`` or `torch.optim.swa_utils.AveragedModel` holds is
            taken out of it.
        steps: Positions of each knob; by default the greatest common divisor of the sizes on it.
        knobs: "shared" puts all axes on one knob; "per_layer" gives each set of axes that must
            agree a knob of its own.
        exclude: Names of modules, as in ``named_modules``, that keep their sizes; so do the layers
            that feed them.

    Returns:
        The network; at full width it computes exactly what ``model`` computes.

    Raises:
        TypeError: If ``model`` is no module or ``steps`` no integer.
        ValueError: If torch.fx cannot trace the network, a layer or operation mixes units in a way
            that cannot be cut (a concatenation, say), ``steps`` does not divide a size, an excluded
            name is unknown, or nothing is left to vary.

    References:
        Yu et al. 2019, "Slimmable Neural Networks", arXiv 1812.08928, for networks whose layers
        share one width.

    Example:
        >>> net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
        >>> make_variable(net, steps=16)[0]
        VariableLinear(784, Width(256, control=WidthControl(16)), bias=True)
    """
    check_module("model", model)
    check_choice("knobs", knobs, ("shared", "per_layer"))
    if steps is not None:
        steps = check_int("steps", steps)
    model = inner_network(model)
    variable = copy.deepcopy(model, detached_copies(model))
    trace = Trace(variable, _excluded(model, exclude))
    axes = _axes(trace, steps, knobs)
    for module, (fan_in, fan_out) in trace.layers.items():
        knobs_of = [None if a is None else axes.get(trace.find(a)) for a in (fan_in, fan_out)]
        _convert(module, *knobs_of)
    return variable


def _excluded(model: nn.Module, exclude: Iterable[str]) -> set[str]:
    check_collection("exclude", exclude, "module names")
    known = dict(model.named_modules())
    for name in exclude:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"exclude must name modules of the model, got {short_repr(name)}")
    # A container stands for all that it holds.
    return {name for name in known if any(f"{name}.".startswith(f"{e}.") for e in exclude)}


def _axes(trace: Trace, steps: int | None, knobs: str) -> dict[int, WidthControl]:
    """Return the knob of each variable axis, by the element that stands for it."""
    sizes = trace.variable()
    pairs = trace.layers.values()
    used = {trace.find(axis) for pair in pairs for axis in pair if axis is not None}
    sizes = {axis: divisors for axis, divisors in sizes.items() if axis in used}
    if not sizes:
        raise ValueError("model must have an axis between two layers that can vary, got none")
    if knobs == "shared":
        shared = WidthControl(steps or math.gcd(*(s for each in sizes.values() for s in each)))
        return dict.fromkeys(sizes, shared)
    return {axis: WidthControl(steps or math.gcd(*each)) for axis, each in sizes.items()}


def _convert(module: nn.Module, fan_in: WidthControl | None, fan_out: WidthControl | None) -> None:
    """Turn a layer into its variable form, in place; its parameters stay the same objects."""
    if fan_in is None and fan_out is None:
        return
    form = _VARIABLE[type(module)]
    size_in, size_out = _sizes(module)
    axes = {"in_axis": _axis(fan_in, size_in), "out_axis": _axis(fan_out, size_out)}
    axes["axis"] = axes["out_axis"]
    for name in form.own_attributes:
        setattr(module, name, axes[name])
    module.__class__ = form


def _axis(control: WidthControl | None, size: int) -> int | Width:
    return size if control is None else control.axis(size)


def _sizes(module: nn.Module) -> tuple[int, int]:
    """Return the units that a plain layer takes and gives."""
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, nn.Embedding):
        return module.num_embeddings, module.embedding_dim
    if isinstance(module, nn.modules.conv._ConvNd):
        return module.in_channels, module.out_channels
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        size = module.normalized_shape[-1]
    elif isinstance(module, nn.GroupNorm):
        size = module.num_channels
    else:
        assert isinstance(module, nn.modules.batchnorm._BatchNorm)
        size = module.num_features
    return size, size
