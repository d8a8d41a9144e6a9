"""Make any network variable: find which axes belong together, put them on knobs, and prove it.

The network runs on sizes alone and is written down as a graph of core operations. Along it each
layer's units are followed to the layers that consume them; what is not understood fixes the axes
that reach it, and the rest varies. The network's own input and output stay.
"""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any, Literal

from torch import nn

from vsnn_lab import layers
from vsnn_lab._basics.checks import (
    check_choice,
    check_collection,
    check_flag,
    check_int,
    check_module,
    short_repr,
)
from vsnn_lab.layers.own_forward import own_forward_form
from vsnn_lab.layers.own_parts import own_parts_form
from vsnn_lab.layers.recomputed import detached_copies
from vsnn_lab.networks.examples import find_examples
from vsnn_lab.networks.explanation import explained
from vsnn_lab.networks.extraction import inner_network
from vsnn_lab.networks.graph.understanding import Understanding, understand
from vsnn_lab.networks.graph.units import Dim, Segment
from vsnn_lab.networks.graph.walk import Walk
from vsnn_lab.networks.proof import prove
from vsnn_lab.widths import Rows, Width, WidthControl, at_width

_VARIABLE: dict[type, type[layers.VariableLayer]] = {
    getattr(nn, name.removeprefix("Variable")): getattr(layers, name)
    for name in layers.__all__
    if name.startswith("Variable") and name != "VariableLayer"
}
# Fewer positions than these are no slider: then any size gets a knob of rounded positions.
_FEWEST = 16
_ROUNDED = 32
_GUESSES = 3

Knobs = Literal["shared", "per_layer"] | Mapping[str, WidthControl | int]


def make_variable(
    model: nn.Module,
    example: Any = None,
    *,
    steps: int | None = None,
    knobs: Knobs = "shared",
    exclude: Iterable[str] = (),
    order: Any = None,
    strict: bool = False,
    verify: bool = True,
) -> nn.Module:
    """Return a variable copy of a network, with the same weights and state_dict keys.

    Every axis between two of its layers becomes a `Width`, through views, concatenations, splits,
    sums and attention. Module classes and forwards stay; only torch's own layers become variable
    ones. What is not understood, such as a number in the code, a parameter that is read outside of
    its layer or a scaling by an axis's own size, fixes the axes that reach it; `explain` tells
    what stayed, where and why. Before it is handed over the network is proven to compute at a width
    what its cut computes there, and at full width exactly what ``model`` computes.

    Args:
        model: Any module that runs on sizes alone. Hooks stay, also those of pruning and of the
            older weight and spectral norm; what ``torch.compile``, ``nn.DataParallel`` or
            `torch.optim.swa_utils.AveragedModel` holds is taken out of it.
        example: What the model takes, as a tensor, a tuple of arguments or a dict of arguments by
            name, samples along the first dimension. Without it one is made for the first layer,
            where that can be done.
        steps: Positions of each knob, which must divide the units on it. By default their
            greatest common divisor if that is at least 16, else 32 rounded ones.
        knobs: "shared" puts all axes on one knob; "per_layer" gives each set of axes that must
            agree a knob of its own. A dict puts layers by their names, with wildcards as in
            ``"blocks.*.mlp*"``, on a `WidthControl` or on a knob of so many positions for each
            module that the pattern names; what it does not name goes on one shared knob.
        exclude: Names of modules, as in ``named_modules``, that keep their sizes; so do the layers
            that feed them.
        order: Sorts units so that the most useful come first; "magnitude", or a function that
            scores units. The output at full width stays the same to rounding.
        strict: Whether to refuse a network some of whose axes stay because they are not
            understood.
        verify: Whether to prove it on the example.

    Returns:
        The network.

    Raises:
        TypeError: If ``model`` is no module or ``steps`` no integer.
        ValueError: If the network does not run on the example or none can be made, ``steps`` does
            not divide a size, an excluded name is unknown, or nothing is left to vary.
        RuntimeError: If what came out is not proven; the message names the first module that
            differs.

    References:
        Yu et al. 2019, "Slimmable Neural Networks", arXiv 1812.08928, for networks whose layers
        share one width.

    Example:
        >>> net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))
        >>> make_variable(net, steps=16)[0]
        VariableLinear(784, Width(256, control=WidthControl(16)), bias=True)
    """
    check_module("model", model)
    if not isinstance(knobs, Mapping):
        check_choice("knobs", knobs, ("shared", "per_layer"))
    for name, flag in (("strict", strict), ("verify", verify)):
        check_flag(name, flag)
    if steps is not None:
        steps = check_int("steps", steps)
    model = inner_network(model)
    for name, module in model.named_modules():
        if isinstance(module, layers.VariableLayer):
            raise ValueError(f"model must be plain, got {type(module).__name__} at {name!r}")
    excluded = _excluded(model, exclude)
    variable = copy.deepcopy(model, detached_copies(model))
    # Of shapes that are guessed, tokens or not, the first lets something vary or the next may.
    for given in islice(find_examples(variable, example), _GUESSES):
        found = understand(variable, given.args, given.options, excluded, _turning(variable))
        if _segments(found.walk):
            break
    controls = _controls(found.walk, steps, knobs, variable)
    if strict:
        _refuse_fixed(found)
    _convert(variable, found.walk, controls)
    explained(variable, found)
    if verify:
        prove(variable, model, given)
    return variable


def _excluded(model: nn.Module, exclude: Iterable[str]) -> set[str]:
    check_collection("exclude", exclude, "module names")
    known = dict(model.named_modules())
    for name in exclude:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"exclude must name modules of the model, got {short_repr(name)}")
    return {*exclude}


def _turning(model: nn.Module) -> Callable[[Walk, Mapping[int, int]], Any]:
    """Return what makes a network narrow for a while, each axis by a knob of its own."""

    @contextmanager
    def turn(walk: Walk, counts: Mapping[int, int]) -> Iterator[None]:
        units = {part.axis: part.units for part in _segments(walk)}
        controls = {axis: WidthControl(units[axis]) for axis in counts}
        plain = {module: type(module) for module in model.modules()}
        try:
            _convert(model, walk, controls)
            with at_width(model, {controls[axis]: count for axis, count in counts.items()}):
                yield
        finally:
            _take_back(plain)

    return turn


def _segments(walk: Walk) -> list[Segment]:
    """Return the axes of layers that vary, each once, in the order of the layers."""
    found = {
        part.axis: part
        for dim in walk.every_dim()
        for part in walk.axes.resolve(dim)
        if part.varies
    }
    return list(found.values())


def _controls(
    walk: Walk, steps: int | None, knobs: Knobs, model: nn.Module
) -> dict[int | None, WidthControl]:
    """Return the knob of each axis that varies."""
    segments = _segments(walk)
    if not segments:
        reasons = sorted({*walk.axes.reasons.values()} - {"the network's output"})
        why = f": {'; '.join(reasons[:3])} keep what there is" if reasons else ""
        raise ValueError(f"model must have an axis between two layers that can vary, got none{why}")
    if knobs == "per_layer":
        return {part.axis: _control([part.units], steps) for part in segments}
    if isinstance(knobs, Mapping):
        return _named_controls(walk, steps, knobs, segments)
    shared = _control([part.units for part in segments], steps)
    return dict.fromkeys((part.axis for part in segments), shared)


def _control(units: list[int], steps: int | None) -> WidthControl:
    divisor = math.gcd(*units)
    if steps is None:
        return WidthControl(divisor) if divisor >= _FEWEST else WidthControl(_ROUNDED, rounded=True)
    for each in units:
        if each % steps:
            raise ValueError(
                f"steps must divide the units of every axis, whole groups and heads, got "
                f"steps={steps} and {each} units; leave it out for rounded positions"
            )
    return WidthControl(steps)


def _named_controls(
    walk: Walk, steps: int | None, knobs: Mapping[str, Any], segments: list[Segment]
) -> dict[int | None, WidthControl]:
    """Return the knobs of axes by patterns of the names of layers that make or take them."""
    makers: dict[int | None, list[str]] = {part.axis: [] for part in segments}
    for name, dims in walk.layers.items():
        for key in sorted(dims, key=lambda key: key == "in_axis"):
            for part in walk.axes.resolve(dims[key]):
                if part.varies:
                    makers[part.axis].append(name)
    found: dict[int | None, WidthControl] = {}
    for pattern, knob in knobs.items():
        named = [
            part
            for part in segments
            if part.axis not in found
            and any(fnmatchcase(name, pattern) for name in makers[part.axis])
        ]
        if not named:
            raise ValueError(f"knobs must name layers that vary, got {pattern!r}")
        if isinstance(knob, WidthControl):
            own = knob
        else:
            own = _control([part.units for part in named], None if knob is None else knob)
        found |= dict.fromkeys((part.axis for part in named), own)
    rest = [part for part in segments if part.axis not in found]
    if rest:
        shared = _control([part.units for part in rest], steps)
        found |= dict.fromkeys((part.axis for part in rest), shared)
    return found


def _convert(model: nn.Module, walk: Walk, controls: Mapping[Any, WidthControl]) -> None:
    """Turn layers into their variable form, in place; parameters stay the same objects."""
    for name, dims in walk.layers.items():
        module = model.get_submodule(name)
        # Of sequences layers know themselves where the samples lie.
        known = isinstance(module, nn.MultiheadAttention | nn.RNNBase)
        rows = Rows(*(walk.rows_of(name) or ())) if not known else Rows()
        axes = {key: _axis(walk.axes.resolve(dim), controls, rows) for key, dim in dims.items()}
        if not any(isinstance(axis, Width) for axis in axes.values()):
            continue
        layout = walk.others.get(name)
        kind: Any = type(module)
        form = own_forward_form(kind, layout) if layout is not None else _VARIABLE[kind]
        for key in form.own_attributes:
            # An embedding's rows are no axis of its tensors.
            setattr(module, key, axes.get(key) or module.num_embeddings)
        module.__class__ = form
    _convert_modules(model, walk, controls)


def _convert_modules(model: nn.Module, walk: Walk, controls: Mapping[Any, WidthControl]) -> None:
    """Let modules that hold parameters and sizes beside their layers run with what is kept."""
    for name in {**walk.held, **walk.sizes}:
        held = {
            key: tuple(_axis(walk.axes.resolve(dim), controls, Rows()) for dim in dims)
            for key, dims in walk.held.get(name, {}).items()
        }
        sizes = {
            key: _axis(walk.axes.resolve(dim), controls, Rows())
            for key, dim in walk.sizes.get(name, {}).items()
        }
        held = {key: axes for key, axes in held.items() if any(isinstance(a, Width) for a in axes)}
        sizes = {key: axis for key, axis in sizes.items() if isinstance(axis, Width)}
        if held or sizes:
            module = model.get_submodule(name)
            module.held_axes, module.size_axes = held, sizes  # type: ignore[assignment]
            kind: Any = type(module)
            module.__class__ = own_parts_form(kind)


def _take_back(plain: Mapping[nn.Module, type[nn.Module]]) -> None:
    for module, kind in plain.items():
        if isinstance(module, layers.VariableLayer):
            for key in module.own_attributes:
                delattr(module, key)
            object.__setattr__(module, "__class__", kind)


def _axis(dim: Dim, controls: Mapping[Any, WidthControl], rows: Rows) -> int | Width:
    parts: list[int | Width] = [
        controls[part.axis].axis(part.units) * part.repeats if part.varies else part.size
        for part in dim
    ]
    axis = sum(parts)
    return axis.with_rows(rows) if isinstance(axis, Width) else axis


def _refuse_fixed(found: Understanding) -> None:
    reasons = {*found.walk.axes.reasons.values()} - {"the network's output"}
    if reasons:
        raise ValueError(
            f"model must be understood throughout with strict=True, got axes that stay because of "
            f"{'; '.join(sorted(reasons)[:3])}"
        )
