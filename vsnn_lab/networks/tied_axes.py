"""Which entries of which tensors belong to one unit, along every tied axis of a network."""

from collections.abc import Iterator
from math import gcd
from operator import attrgetter
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vsnn_lab.layers import VariableLayer
from vsnn_lab.layers.corners import Axis
from vsnn_lab.networks.tensor_uses import held_tensor
from vsnn_lab.widths import Part, Width, WidthControl, full_size, knobs_of


class UnitUse(NamedTuple):
    """A dimension of a parameter or buffer along which units of a tied axis lie."""

    name: str
    "That of the tensor, with the dimension where it has the axis twice."
    tensor: Tensor
    dim: int
    places: Tensor
    "Where the entries of each unit lie along the dimension, shape (units, entries)."

    def by_unit(self, values: Tensor) -> Tensor:
        """Return values of the tensor's shape as a matrix (units, all that belongs to one)."""
        rows = values.movedim(self.dim, 0)[self.places.flatten().to(values.device)]
        return rows.reshape(len(self.places), -1)


def tied_axes(model: nn.Module) -> dict[WidthControl, list[UnitUse]]:
    """Return the uses of every tied axis, by the knob that it stands on.

    What stands on one knob counts as one axis; its units are as many as all of its uses can be
    divided into: those that a rounded knob's axes declare, heads or groups say, and the steps of
    a knob that is not rounded.

    Args:
        model: A variable network.

    Raises:
        ValueError: If units cannot be exchanged: something recomputes a tensor, a layer has
            tensors that its plain class does not have, or tensors share memory and differ in axes.
    """
    layouts = dict(_layouts(model))
    _check_shared(model, layouts)
    units = _units(model)
    found: dict[WidthControl, list[UnitUse]] = {control: [] for control in units}
    seen: set[int] = set()
    for name, (tensor, axes) in layouts.items():
        place = id(tensor) if tensor.is_meta else tensor.data_ptr()
        if place in seen or not tensor.numel():
            continue
        seen.add(place)
        for control in knobs_of(*axes):
            dims = [dim for dim, axis in enumerate(axes) if control in knobs_of(axis)]
            for dim in dims:
                axis = axes[dim]
                assert isinstance(axis, Width)
                said = name if dim == dims[0] else f"{name} (dimension {dim})"
                places = _places(axis, control, units[control])
                found[control].append(UnitUse(said, tensor, dim, places))
    return found


def _layouts(model: nn.Module) -> Iterator[tuple[str, tuple[Tensor, tuple[Axis, ...]]]]:
    """List the tensors that have a variable axis, by name, each with the axes of its dimensions."""
    for prefix, layer in model.named_modules():
        if not isinstance(layer, VariableLayer):
            continue
        own = [
            each
            for each in layer.own_attributes
            if isinstance(getattr(layer, each, None), Tensor | nn.Module)
        ]
        if own:
            raise ValueError(
                f"model must be ordered before its layers get tensors of their own for widths, got "
                f"{', '.join(own)} in the layer {prefix!r}"
            )
        for name, axes in (layer.parameter_axes | layer.buffer_axes).items():
            if attrgetter(name)(layer) is None or not knobs_of(*axes):
                continue
            tensor = held_tensor(layer, name)
            if tensor is None:
                raise ValueError(
                    f"{name} of the layer {prefix!r} must be a parameter for its units to be "
                    "ordered, got a tensor that pruning, a norm or a parametrization recomputes; "
                    "make it a parameter again first (torch.nn.utils.prune.remove, "
                    "torch.nn.utils.parametrize.remove_parametrizations)"
                )
            yield f"{prefix}.{name}" if prefix else name, (tensor, axes)


def _units(model: nn.Module) -> dict[WidthControl, int]:
    """Return how many units the axes on each knob can be divided into."""
    units: dict[WidthControl, int] = {}
    for layer in model.modules():
        if not isinstance(layer, VariableLayer):
            continue
        groups = max(getattr(layer, "groups", 1), getattr(layer, "num_groups", 1))
        axes = [axis for axis in vars(layer).values() if isinstance(axis, Width)]
        for axis in axes:
            group = full_size(axis) // groups if groups > 1 else 1
            for part in axis.parts:
                if part.control is not None:
                    most = _part_units(part)
                    most = gcd(most, part.size // group) if groups > 1 else most
                    units[part.control] = gcd(units.get(part.control, 0), most)
    return units


def _part_units(part: Part) -> int:
    assert part.control is not None
    # Where nothing is rounded, a part does not say how many entries a unit has, and what a step
    # keeps is whole.
    return part.units if part.control.rounded else part.control.steps


def _places(axis: Width, control: WidthControl, units: int) -> Tensor:
    """Return where the entries of each unit lie along an axis, shape (units, entries)."""
    rows, start = [], 0
    for part in axis.parts:
        if part.control is control:
            rows.append(torch.arange(start, start + part.size).view(units, -1))
        start += part.size
    return torch.cat(rows, 1)


def _check_shared(model: nn.Module, layouts: dict[str, tuple[Tensor, tuple[Axis, ...]]]) -> None:
    """Refuse tensors that share memory, unless they are one tensor with the same axes everywhere.

    Permuting the one would permute the other, in other places or where nothing is permuted.
    """
    claims: dict[int, list[tuple[str, Tensor, object]]] = {}
    for prefix, module in model.named_modules():
        for tensors in (module._parameters, module._buffers):
            for name, tensor in tensors.items():
                if tensor is None or tensor.is_meta or not tensor.numel():
                    continue
                full = f"{prefix}.{name}" if prefix else name
                axes = layouts[full][1] if full in layouts else ()
                layout = tuple(_layout(axis) for axis in axes)
                storage = tensor.untyped_storage().data_ptr()
                claims.setdefault(storage, []).append((full, tensor, layout))
    for group in claims.values():
        first, one, its = min(group, key=lambda claim: claim[1].storage_offset())
        for second, other, theirs in sorted(group, key=lambda claim: claim[1].storage_offset()):
            overlap = one.storage_offset() + _span(one) > other.storage_offset()
            alike = its == theirs and _memory(one) == _memory(other)
            if overlap and (its or theirs) and not alike:
                raise ValueError(
                    f"tensors that share memory must have the same axes for their units to be "
                    f"ordered, got {first!r} and {second!r}"
                )
            if other.storage_offset() + _span(other) > one.storage_offset() + _span(one):
                first, one, its = second, other, theirs


def _layout(axis: Axis) -> object:
    return axis.parts if isinstance(axis, Width) else None


def _memory(tensor: Tensor) -> object:
    return tensor.storage_offset(), tensor.shape, tensor.stride()


def _span(tensor: Tensor) -> int:
    """Return how many entries of its memory a tensor spans."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in pairs)
