"""Which tensors a submodel has: what each module keeps of its own, and what stays tied."""

from collections.abc import Hashable, Iterator, Mapping
from operator import attrgetter
from typing import NamedTuple

from torch import Tensor, nn

from vsnn_lab.layers import VariableLayer
from vsnn_lab.layers.recomputed import check_recomputed, evaluated_tensors
from vsnn_lab.widths import Range, Width, WidthControl, kept_ranges, kept_size


class TensorUse(NamedTuple):
    """A parameter or buffer where a module uses it."""

    module: nn.Module
    name: str
    shape: tuple[int, ...]
    "That of what the submodel keeps."
    key: Hashable
    "The same for uses that are one tensor in the submodel, too."
    is_parameter: bool


def tensor_uses(model: nn.Module, positions: Mapping[WidthControl, int]) -> Iterator[TensorUse]:
    """List the tensors of a submodel by the modules that use them.

    Modules that share a tensor share it in the submodel if each keeps the same of it: as many
    units, and nothing folded in. Where they differ each gets a tensor of its own, and a module
    that is not variable keeps all of it.

    Args:
        model: A network.
        positions: A position for each of its knobs.

    Raises:
        ValueError: If what recomputes a weight is not understood.
    """
    dropped: set[nn.Module] = set()
    for name, module in model.named_modules():
        if module in dropped:
            continue
        if not isinstance(module, VariableLayer):
            yield from _whole(module)
            continue
        check_recomputed(name, module)
        with evaluated_tensors(module):
            uses = list(_first_units(module, positions))
        yield from uses
        cut_here = {"parametrizations", *module.own_attributes, *module.inner_modules}
        for child, inner in module.named_children():
            if child in cut_here:
                dropped.update(inner.modules())


def held_tensor(module: nn.Module, name: str) -> Tensor | None:
    """Return a parameter or buffer, or None where there is none or something recomputes it."""
    module, name = holder(module, name)
    return module._parameters.get(name, module._buffers.get(name))


def holder(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    """Return what holds a thing of a module, itself or one inside, and its name there."""
    path, _, name = name.rpartition(".")
    return module.get_submodule(path), name


def _whole(module: nn.Module) -> Iterator[TensorUse]:
    for held in (module._parameters, module._buffers):
        for name, value in held.items():
            if value is not None:
                shape = tuple(value.shape)
                key = id(value), *(_ranges(size, {}) for size in shape)
                yield TensorUse(module, name, shape, key, held is module._parameters)


def _ranges(axis: int | Width, positions: Mapping[WidthControl, int]) -> tuple[Range, ...]:
    """Return where the units lie that stay, as two axes that keep as many may keep others."""
    return ((0, axis),) if isinstance(axis, int) else tuple(kept_ranges(axis, positions))


def _first_units(
    layer: VariableLayer, positions: Mapping[WidthControl, int]
) -> Iterator[TensorUse]:
    folds = layer.folds(positions)
    for name, axes in (layer.parameter_axes | layer.buffer_axes).items():
        if name in layer.own_attributes or (whole := attrgetter(name)(layer)) is None:
            continue
        kept = [kept_size(axis, positions) for axis in axes]
        shape = *kept, *whole.shape[len(kept) :]
        shares = whole is held_tensor(layer, name) and not folds
        ranges = [_ranges(axis, positions) for axis in (*axes, *whole.shape[len(kept) :])]
        key = (id(whole), *ranges) if shares else (id(layer), name)
        yield TensorUse(layer, name, shape, key, name in layer.parameter_axes)
