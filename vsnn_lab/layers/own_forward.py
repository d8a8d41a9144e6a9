"""Variable layers of other classes: their own forward, on the first units of what they hold.

A normalisation that applies its activation too, a linear layer whose weight lies the other way:
such a class keeps its forward, and at a width runs as the same class would that is built smaller.
Samples that have widths of their own run in groups of one width, so that what the forward does with
the units of a sample, an average over them say, is done with those it keeps.
"""

import copyreg
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vsnn_lab.layers.base import VariableLayer, is_at_rest
from vsnn_lab.layers.corners import Axis
from vsnn_lab.widths import (
    Width,
    WidthControl,
    keep_prefix,
    kept_ranges,
    kept_size,
    knobs_of,
    put_units,
    take_units,
)

_ENDS = ("in_axis", "out_axis")


class Layout(NamedTuple):
    """What of a class of layers lies on which axis.

    Attributes:
        dim: Where units lie in what it takes and gives.
        tensors: For parameters and buffers the axes along their first dimensions, by the names of
            the attributes that hold them; None stays.
        sizes: For numbers, or tuples that contain one, the axis whose size they are.
        keeps_units: Whether it gives the units that it takes.
    """

    dim: int
    tensors: tuple[tuple[str, tuple[str | None, ...]], ...]
    sizes: tuple[tuple[str, str], ...]
    keeps_units: bool


class OwnForward(VariableLayer):
    """A layer of another class, which `own_forward_form` makes variable."""

    layout: ClassVar[Layout]

    @property
    def unit_dim(self) -> int:
        """Where the units of the output lie."""
        return self.layout.dim

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return self._axes_of(self._parameters)

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The same for each buffer."""
        return self._axes_of(self._buffers)

    def _axes_of(self, held: Mapping[str, Tensor | None]) -> dict[str, tuple[Axis, ...]]:
        found: dict[str, tuple[Axis, ...]] = {}
        for name, keys in self.layout.tensors:
            if (value := held.get(name)) is not None:
                pairs = zip(keys, value.shape, strict=False)
                found[name] = tuple(
                    size if key is None else getattr(self, key) for key, size in pairs
                )
        return found

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return _sizes(self, self.layout, {key: getattr(self, key) for key in _ENDS})

    def forward(self, input: Tensor) -> Tensor:
        """Run the class's own forward on what is kept now."""
        if is_at_rest(self.in_axis, self.out_axis):
            return self._plain_forward(self, input)
        positions = {knob: knob.position for knob in knobs_of(self.in_axis, self.out_axis)}
        numbers = {knob: each for knob, each in positions.items() if isinstance(each, int)}
        if len(numbers) == len(positions):
            return self._run(keep_prefix(input, self.in_axis, self.layout.dim), numbers)
        return self._run_groups(input, numbers)

    def _plain_forward(self, layer: nn.Module, input: Tensor) -> Tensor:
        found: Tensor = self.plain_class.forward(layer, input)  # type: ignore[union-attr]
        return found

    def _run(self, x: Tensor, positions: Mapping[WidthControl, int]) -> Tensor:
        """Run the forward of a smaller layer, which holds views of this one's tensors."""
        assert self.plain_class is not None
        parts = {}
        for name, along in (self.parameter_axes | self.buffer_axes).items():
            part = self._parameters.get(name, self._buffers.get(name))
            assert part is not None
            for dim, axis in enumerate(along):
                if isinstance(axis, Width):
                    part = take_units(part, kept_ranges(axis, positions), dim)
            parts[name] = part
        kept = {key: kept_size(getattr(self, key), positions) for key in _ENDS}
        small = smaller(self, self.plain_class, self.layout, parts, kept)
        found = self._plain_forward(small, x)
        if self.training:
            self._write_back(small._buffers, positions)
        return found

    def _write_back(
        self, buffers: Mapping[str, Tensor | None], positions: Mapping[WidthControl, int]
    ) -> None:
        """Keep what was noted in copies: those of a sum are no views."""
        for name, (axis, *_) in self.buffer_axes.items():
            value, whole = buffers[name], self._buffers[name]
            if isinstance(axis, Width) and not axis.is_prefix and value is not None:
                assert whole is not None
                done = 0
                for start, length in kept_ranges(axis, positions):
                    whole.narrow(0, start, length).copy_(value.narrow(0, done, length))
                    done += length

    def _run_groups(self, x: Tensor, numbers: Mapping[WidthControl, int]) -> Tensor:
        """Run samples of one width together, and put zeros where the others have more units."""
        into, out, dim = self.in_axis, self.out_axis, self.layout.dim
        knobs = knobs_of(into, out)
        widest = {knob: knob.widest for knob in knobs}
        if isinstance(into, Width) and x.shape[dim] != into.max_width:
            x = put_units(x, into, kept_ranges(into, widest), dim)
        place, several = (into if isinstance(into, Width) else out).rows  # type: ignore[union-attr]
        vectors = [knob.position for knob in knobs if knob not in numbers]
        rows = torch.stack([each.to(x.device) for each in vectors], 1)  # type: ignore[union-attr]
        if several:
            rows = rows.repeat_interleave(x.shape[place] // len(rows), 0)
        if len(rows) != x.shape[place]:
            raise ValueError(
                f"x must have one row for each of the {len(rows)} widths, got shape "
                f"{tuple(x.shape)}"
            )
        turns, which = rows.unique(dim=0, return_inverse=True)
        found: Tensor | None = None
        for number, turn in enumerate(turns.tolist()):
            masked = [knob for knob in knobs if knob not in numbers]
            positions = {**numbers, **dict(zip(masked, turn, strict=True))}
            mine = (which == number).nonzero()[:, 0]
            part = x.index_select(place, mine)
            if isinstance(into, Width):
                part = take_units(part, kept_ranges(into, positions), dim)
            part = self._run(part, positions)
            if isinstance(out, Width):
                part = put_units(part, out, kept_ranges(out, positions), dim)
            if found is None:
                shape = [*part.shape]
                shape[place] = x.shape[place]
                found = part.new_zeros(shape)
            found = found.index_copy(place, mine, part)
        assert found is not None
        return take_units(found, kept_ranges(out, widest), dim) if isinstance(out, Width) else found


def smaller(
    layer: nn.Module,
    kind: type[nn.Module],
    layout: Layout,
    parts: Mapping[str, Tensor],
    kept: Mapping[str, int],
) -> nn.Module:
    """Return a layer of a class that holds parts of another one's tensors, and shares the rest.

    Args:
        layer: The other one.
        kind: The class.
        layout: What of it lies on which axis.
        parts: The tensors by the names of attributes.
        kept: The sizes of both axes.
    """
    small = object.__new__(kind)
    vars(small).update(vars(layer))
    for held in ("_parameters", "_buffers"):
        whole = vars(layer)[held]
        vars(small)[held] = {name: parts.get(name, value) for name, value in whole.items()}
    vars(small).update(_sizes(layer, layout, kept))
    return small


def _sizes(layer: nn.Module, layout: Layout, kept: Mapping[str, int]) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, key in layout.sizes:
        value = vars(layer)[name]
        whole = not isinstance(value, int)
        found[name] = (
            type(value)(kept[key] if each != 1 else each for each in value) if whole else kept[key]
        )
    return found


class _Form(type):
    """The class of variable forms, which pickle as what they are made of."""


@cache
def own_forward_form(kind: Any, layout: Layout) -> type[OwnForward]:
    """Return the variable form of a class of layers.

    Args:
        kind: The class; its forward takes one tensor and gives one.
        layout: What of it lies on which axis.
    """
    own = ("axis", "in_axis", "out_axis") if layout.keeps_units else ("in_axis", "out_axis")
    body: dict[str, Any] = {"plain_class": kind, "layout": layout, "own_attributes": own}
    return _Form(f"Variable{kind.__name__}", (OwnForward, kind), body)  # type: ignore[return-value]


def _reduce(form: Any) -> tuple[Any, ...]:
    return own_forward_form, (form.plain_class, form.layout)


# Forms are found by what they are made of, for there is no module that has them by name.
copyreg.pickle(_Form, _reduce)
