"""Recognise layers of other classes by what they do: their own forward then runs at each width.

What holds parameters, takes one tensor and gives one, and computes entry by entry, as a norm, or as
one product with its weight may be a layer like those known.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from vsnn_lab.layers.own_forward import Layout
from vsnn_lab.networks.graph.layer_rules import LAYERS, LayerCall
from vsnn_lab.networks.graph.layouts import LayerRun, layouts, numbers_of
from vsnn_lab.networks.graph.sizes_alone import run_on_sizes
from vsnn_lab.networks.graph.units import Shape, fixed, size_of
from vsnn_lab.networks.restoring import restored


def other_layers(
    model: nn.Module, args: Sequence[Any], options: Mapping[str, Any], excluded: Collection[str]
) -> dict[str, Layout]:
    """Return the layers of classes that are not known, by their names, and how they are laid out.

    Args:
        model: A network.
        args: What it takes.
        options: The same, by name.
        excluded: Names of modules that are left alone, with what is in them.
    """
    inside = tuple(f"{name}." for name in excluded)
    candidates = {
        name: module
        for name, module in model.named_modules()
        if name not in excluded and not name.startswith(inside) and _may_be(module)
    }
    found: dict[str, Layout] = {}
    known: dict[Any, Layout | None] = {}
    if not candidates:
        return found
    with restored(model):
        for name, call in _calls(model.eval(), args, options, candidates).items():
            module = candidates[name]
            key = _signature(module, call)
            if key not in known:
                known[key] = next(layouts(module, call), None)
            layout = known[key]
            if layout is not None:
                found[name] = layout
    return found


def _may_be(module: nn.Module) -> bool:
    if type(module).__module__.startswith("torch.") or type(module) in LAYERS:
        return False
    if type(type(module)) is not type or is_parametrized(module) or module._forward_pre_hooks:
        return False
    inner = [each for child in module.children() for each in child.parameters()]
    own = [each for each in module._parameters.values() if each is not None]
    return bool(own) and not inner and "forward" not in vars(module)


def _calls(
    model: nn.Module,
    args: Sequence[Any],
    options: Mapping[str, Any],
    candidates: Mapping[str, nn.Module],
) -> dict[str, LayerRun]:
    """Return what candidates take and give, of those that take and give one tensor each time."""
    calls: dict[str, list[LayerRun | None]] = {name: [] for name in candidates}
    handles = []
    for name, module in candidates.items():

        def note(module: nn.Module, given: Any, named: Any, output: Any, name: str = name) -> None:
            one = len(given) == 1 and not named and isinstance(given[0], Tensor)
            fits = one and isinstance(output, Tensor) and output.dim() == given[0].dim()
            calls[name].append(LayerRun(given[0], output) if fits else None)

        handles.append(module.register_forward_hook(note, with_kwargs=True))
    try:
        run_on_sizes(model, args, options)
    except Exception:
        return {}  # It is said elsewhere that the network does not run.
    finally:
        for handle in handles:
            handle.remove()
    found = {}
    for name, each in calls.items():
        whole = [call for call in each if call is not None]
        if whole and len(whole) == len(each) and len({call.given.dim() for call in whole}) == 1:
            found[name] = whole[0]
    return found


def _signature(module: nn.Module, call: LayerRun) -> Any:
    held = [
        (name, value.shape)
        for name, value in [*module._parameters.items(), *module._buffers.items()]
        if value is not None
    ]
    return type(module), call.given.shape, call.found.shape, *held, *numbers_of(module).items()


def layer_rule(layout: Layout, call: LayerCall) -> list[Shape]:
    """Return the dimensions of what such a layer gives, as the rules of known layers do."""
    dim = layout.dim
    if layout.keeps_units:
        for key in ("axis", "in_axis", "out_axis"):
            call.is_axis(key, call.input[dim])
        units = call.input[dim]
    else:
        call.is_axis("in_axis", call.input[dim])
        units = call.own_axis("out_axis", call.sizes[0][dim])
    at = dim % len(call.input)
    shape = []
    for place, (given, size) in enumerate(zip(call.input, call.sizes[0], strict=True)):
        if place == at:
            shape.append(units)
        elif place < min(at, 1) or dim == -1:
            shape.append(given)
        else:
            # An image, whose pixels it may mix.
            call.axes.fix(given, call.reason)
            shape.append(given if size_of(given) == size else fixed(size))
    return [tuple(shape)]
