"""Make any network variable: find which axes belong together, put them on knobs, and prove it.

The network runs on sizes alone and is written down as a graph of core operations. Along it each
layer's units are followed to the layers that consume them; what is not understood fixes the axes
that reach it, and the rest varies. The network's own input and output stay.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from time import perf_counter
from typing import Any

from torch import nn

from vsnn_lab import layers
from vsnn_lab._basics.checks import (
    check_collection,
    check_flag,
    check_int,
    check_module,
    short_repr,
)
from vsnn_lab.layers.own_forward import own_forward_form
from vsnn_lab.layers.own_parts import OwnParts, own_parts_form
from vsnn_lab.layers.recomputed import detached_copies
from vsnn_lab.networks.conditioning import condition
from vsnn_lab.networks.examples import find_examples
from vsnn_lab.networks.extraction import inner_network
from vsnn_lab.networks.graph.understanding import Understanding, understand
from vsnn_lab.networks.graph.units import Dim
from vsnn_lab.networks.graph.walk import Walk
from vsnn_lab.networks.knob_choice import Knobs, check_knobs, choose_knobs, varying_axes
from vsnn_lab.networks.note_conversion import note_conversion
from vsnn_lab.networks.ordering import Order, check_order, order_units
from vsnn_lab.networks.proof import prove
from vsnn_lab.networks.restoring import restored
from vsnn_lab.widths import Rows, Width, WidthControl, at_width, kept_size, with_rows

_VARIABLE: dict[type, type[layers.VariableLayer]] = {
    getattr(nn, name.removeprefix("Variable")): getattr(layers, name)
    for name in layers.__all__
    if name.startswith("Variable") and name != "VariableLayer"
}
_GUESSES = 3


def make_variable(
    model: nn.Module,
    example: Any = None,
    *,
    steps: int | None = None,
    knobs: Knobs = "shared",
    exclude: Iterable[str] = (),
    order: Order | None = None,
    strict: bool = False,
    verify: bool = True,
    conditioned: bool = False,
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
            agree a knob of its own. A dict puts what layers give, by the names of these or of
            modules that they lie in, with wildcards as in ``"blocks.*.mlp"``, on a `WidthControl`
            or on a knob of so many positions, by default as for ``steps``. Axes that other layers
            make, too, such as a residual stream, are not meant; they go with all that is not named
            on one shared knob.
        exclude: Names of modules, as in ``named_modules``, that keep their sizes; so do the layers
            that feed them.
        order: Sorts units along each axis so that the most useful come first, as `order_units`
            does: "magnitude", a `Taylor` score, or a function of one's own. The output at full
            width then stays the same to rounding.
        strict: Whether to refuse a network some of whose axes stay because they are not
            understood.
        verify: Whether to prove it on the example; on the meta device there are no numbers for it.
        conditioned: Whether layers get weights of their own for narrow widths, as `condition` gives
            them, which pass no gradient to what was there; `teach` trains those alone.

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
    knobs = check_knobs(knobs)
    flags = {"strict": strict, "verify": verify, "conditioned": conditioned}
    for name, flag in flags.items():
        check_flag(name, flag)
    check_order(order)
    if steps is not None:
        steps = check_int("steps", steps)
    model = inner_network(model)
    for name, module in model.named_modules():
        if isinstance(module, layers.VariableLayer):
            raise ValueError(f"model must be plain, got {type(module).__name__} at {name!r}")
    excluded, begun = _excluded(model, exclude), perf_counter()
    variable = copy.deepcopy(model, detached_copies(model))
    # Of shapes that are guessed, tokens or not, the first lets something vary or the next may; but
    # that a guess can be turned around like a matrix is no reason to think of another.
    for given in islice(find_examples(variable, example), _GUESSES):
        found = understand(variable, given.args, given.options, excluded, _turning(variable))
        if varying_axes(found.walk) or found.walk.turned:
            break
    controls = choose_knobs(found.walk, steps, knobs)
    if strict:
        _refuse_fixed(found)
    if order is not None:
        with _apart(variable, found.walk):
            order_units(variable, order)
    _convert(variable, found.walk, controls)
    if conditioned:
        condition(variable)
    converted, proof = perf_counter(), None
    if verify and not any(value.is_meta for value in variable.state_dict().values()):
        prove(variable, model, given, exact=order is None)
        proof = perf_counter() - converted
    note_conversion(variable, found, excluded, (converted - begun, proof))
    return variable


def _excluded(model: nn.Module, exclude: Iterable[str]) -> set[str]:
    check_collection("exclude", exclude, "module names")
    known = dict(model.named_modules())
    for name in exclude:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"exclude must name modules of the model, got {short_repr(name)}")
    return {*exclude}


def _turning(model: nn.Module) -> Callable[[Walk, Mapping[int, int]], Any]:
    """Return what makes a network narrow for a while, each axis by a knob of its own.

    It gives a function that gives layers the sizes of the cut, for a while.
    """

    @contextmanager
    def turn(walk: Walk, counts: Mapping[int, int]) -> Iterator[Callable[[], Any]]:
        with _apart(model, walk) as controls:
            positions = {controls[axis]: count for axis, count in counts.items()}
            with at_width(model, positions):
                yield lambda: _sizes_of_cut(model, positions)

    return turn


@contextmanager
def _apart(model: nn.Module, walk: Walk) -> Iterator[dict[int | None, WidthControl]]:
    """Make a network variable for a while, each axis on a knob of its own."""
    controls = {part.axis: WidthControl(part.units) for part in varying_axes(walk)}
    plain = {module: type(module) for module in model.modules()}
    try:
        _convert(model, walk, controls)
        yield controls
    finally:
        _take_back(plain)


@contextmanager
def _sizes_of_cut(model: nn.Module, positions: Mapping[WidthControl, int]) -> Iterator[None]:
    """Give variable layers the sizes that they have in a cut, for a while."""
    with restored(model):
        for module in model.modules():
            # What has several groups or heads counts them by its whole sizes.
            groups = getattr(module, "groups", getattr(module, "num_groups", 1))
            if isinstance(module, OwnParts):
                continue  # What it holds beside layers has the sizes of a cut whenever it runs.
            one = groups == 1 and not isinstance(module, nn.MultiheadAttention | nn.RNNBase)
            if isinstance(module, layers.VariableLayer) and one:
                axes = {name: vars(module)[name] for name in module.own_attributes}
                vars(module).update({k: kept_size(axis, positions) for k, axis in axes.items()})
                sizes = module.plain_sizes
                vars(module).update(axes | sizes)
        yield


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
            kind: Any = type(module)
            module.__class__ = own_parts_form(kind, tuple(held), tuple(sizes))
            module.held_axes, module.size_axes = held, sizes  # type: ignore[assignment]
            module.running = False  # type: ignore[assignment]


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
    return with_rows(axis, rows) if isinstance(axis, Width) else axis


def _refuse_fixed(found: Understanding) -> None:
    reasons = {*found.walk.axes.reasons.values()} - {"the network's output"}
    if reasons:
        raise ValueError(
            f"model must be understood throughout with strict=True, got axes that stay because of "
            f"{'; '.join(sorted(reasons)[:3])}"
        )
