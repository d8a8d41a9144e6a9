"""How a layer of another class may be laid out, and whether it is: its own forward is tried.

It is supposed that its units lie along one dimension and that its parameters follow; it is tried
whether the class does, with smaller parameters and numbers in its attributes, what a smaller layer
does.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from vsnn_lab.layers.own_forward import Layout, smaller
from vsnn_lab.networks.graph.capture import capture
from vsnn_lab.networks.graph.operations import ENTRYWISE
from vsnn_lab.networks.graph.sizes_alone import sizes_alone

# What such a layer may do: nothing that has units change places.
_MORE = """
addmm linear matmul mm convolution conv1d conv2d conv3d batch_norm layer_norm group_norm rms_norm
native_batch_norm native_layer_norm native_group_norm _native_batch_norm_legit cudnn_batch_norm
_native_batch_norm_legit_no_training _fused_rms_norm mean sum var std var_mean std_mean norm
linalg_vector_norm view reshape _unsafe_view permute transpose t expand unsqueeze squeeze constant
pad constant_pad_nd getitem zeros_like ones_like
"""
_DOES = {*ENTRYWISE.split(), *_MORE.split()}
# Of the units, how many are left in the trials: an even and an odd number, mostly.
_TRIALS = ((2, 0), (1, 1))
_MOST_NUMBERS = 5  # in attributes, that may each be the size of one or the other axis


class LayerRun(NamedTuple):
    """What a layer is given, and what it gives, on sizes alone."""

    given: Tensor
    found: Tensor


def numbers_of(module: nn.Module) -> dict[str, int | tuple[int, ...]]:
    """Return the numbers in attributes, and tuples of one that is not 1."""
    found: dict[str, int | tuple[int, ...]] = {}
    for name, value in vars(module).items():
        if type(value) is int and value > 1:
            found[name] = value
        elif isinstance(value, tuple) and [type(each) for each in value if each != 1] == [int]:
            found[name] = tuple(value)
    return found


def layouts(module: nn.Module, call: LayerRun) -> Iterator[Layout]:
    """List how a layer may be laid out; the first is the best."""
    like: Any = {"dtype": call.given.dtype, "device": call.given.device}
    given = torch.zeros(call.given.shape, **like)
    graph = capture(module, (given,), {}, [])
    if graph.failure is not None or any(
        step.name not in _DOES and step.name.removesuffix("_") not in _DOES for step in graph.steps
    ):
        return
    for dim in (-1, 1):
        if call.given.dim() < 2:
            continue
        units, out = call.given.shape[dim], call.found.shape[dim]
        held = [*_tensors(module, units, out)] if units > 2 and out > 2 else []
        if not held or not _keeps_samples_apart(module, call, dim):
            continue
        for tensors, keeps in held:
            for sizes in _sizes(module, units, out, keeps):
                layout = Layout(dim, tensors, sizes, keeps)
                if _holds(module, call, layout):
                    yield layout


Tensors = tuple[tuple[str, tuple[str | None, ...]], ...]


def _tensors(module: nn.Module, units: int, out: int) -> Iterator[tuple[Tensors, bool]]:
    """List which axes tensors may lie on, and whether the layer keeps the units that it takes."""
    held = {
        name: tuple(value.shape)
        for name, value in [*module._parameters.items(), *module._buffers.items()]
        if value is not None and value.numel() > 1
    }
    if units == out and all(shape[0] == units for shape in held.values()):
        yield tuple((name, ("axis",)) for name in held), True
    wide = [name for name, shape in held.items() if min(shape[:2]) > 1 and len(shape) > 1]
    if len(wide) != 1:
        return
    narrow = {name: shape for name, shape in held.items() if name != wide[0]}
    if any(shape[0] != out for shape in narrow.values()):
        return
    for keys, shape in (
        (("in_axis", "out_axis"), (units, out)),
        (("out_axis", "in_axis"), (out, units)),
    ):
        if held[wide[0]][:2] == shape:
            yield ((wide[0], keys), *((name, ("out_axis",)) for name in narrow)), False


def _sizes(
    module: nn.Module, units: int, out: int, keeps: bool
) -> Iterator[tuple[tuple[str, str], ...]]:
    """List which axes numbers in attributes may be the sizes of."""
    numbers = {
        name: max(value) if isinstance(value, tuple) else value
        for name, value in numbers_of(module).items()
    }
    names = [name for name, value in numbers.items() if value in (units, out)][:_MOST_NUMBERS]
    either = []
    for name in names:
        keys = [
            key for key, size in (("in_axis", units), ("out_axis", out)) if size == numbers[name]
        ]
        either.append([*(keys[:1] if keeps else keys), None])
    found = [
        tuple((name, key) for name, key in zip(names, keys, strict=True) if key is not None)
        for keys in product(*either)
    ]
    # As many as can be, and of both axes where there are two: what is of no use in the forward is
    # the size of one all the same.
    yield from sorted(found, key=lambda pairs: (-len(pairs), -len({key for _, key in pairs})))


def _keeps_samples_apart(module: nn.Module, call: LayerRun, dim: int) -> bool:
    """Whether only a row's own output moves with it; a row is an image, or one token."""
    noise = torch.Generator().manual_seed(0)
    shape = [2 if place == 0 else size for place, size in enumerate(call.given.shape)]
    given = torch.rand(shape, generator=noise).to(call.given.dtype)
    other = given.clone()
    first = (0,) if dim == 1 else (0,) * (len(shape) - 1)
    other[first] += 1
    device = next(module.parameters()).device
    try:
        with torch.no_grad():
            found, moved = (module(each.to(device)).clone() for each in (given, other))
    except Exception:
        return False
    found[first] = moved[first] = 0
    return torch.equal(found, moved)


def _holds(module: nn.Module, call: LayerRun, layout: Layout) -> bool:
    """Whether the class does at smaller sizes what a smaller layer does."""
    dim, full = layout.dim, {"in_axis": call.given.shape[layout.dim]}
    full["out_axis"] = call.found.shape[dim]
    for share, less in _TRIALS:
        turns = [{key: max(1, size // share - less) for key, size in full.items()}]
        if not layout.keeps_units:
            # One axis after the other, so that they are told apart.
            turns = [full | {key: size} for key, size in turns[0].items()] + turns
        for kept in turns:
            shape, expected = list(call.given.shape), list(call.found.shape)
            shape[dim], expected[dim] = kept["in_axis"], kept["out_axis"]
            if not _gives(module, call, layout, kept, shape, expected):
                return False
    return True


def _gives(
    module: nn.Module,
    call: LayerRun,
    layout: Layout,
    kept: Mapping[str, int],
    shape: Sequence[int],
    expected: Sequence[int],
) -> bool:
    with FakeTensorMode() as fake, torch.no_grad(), sizes_alone():
        parts: dict[str, Tensor] = {}
        along = dict(layout.tensors)
        for name, value in [*module._parameters.items(), *module._buffers.items()]:
            if value is not None:
                part: Tensor = fake.from_tensor(value)
                for place, key in enumerate(along.get(name, ())):
                    if key is not None:
                        part = part.narrow(place, 0, kept["in_axis" if key == "axis" else key])
                parts[name] = part
        small = smaller(module, type(module), layout, parts, kept)
        before = dict(vars(small))
        given = torch.empty(shape, dtype=call.given.dtype, device=call.given.device)
        try:
            found = type(module).forward(small, given)
        except Exception:
            return False
        # What it notes on itself would be lost with the smaller one.
        same = all(vars(small).get(name) is value for name, value in before.items())
        return same and len(before) == len(vars(small)) and [*found.shape] == [*expected]
