"""Variable modules that hold parameters or numbers beside their layers, and keep their forward.

A class token, a scale for each channel of a branch, the number of heads that a reshape names: at a
width the module's own forward sees the first units of such a parameter, and the size that is left.
"""

import copyreg
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

from torch import Tensor

from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.corners import Axis, first_units
from vsnn_lab.widths import is_whole, widest_size

Cut = Callable[[Tensor, tuple[Axis, ...]], Tensor]


def _cut(tensor: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    for dim, axis in enumerate(axes):
        tensor = first_units(tensor, axis, dim)
    return tensor


_cuts: list[Cut] = [_cut]


@contextmanager
def cutting(cut: Cut) -> Iterator[None]:
    """Take first units in another way for a while, one that is seen in a graph say."""
    _cuts.append(cut)
    try:
        yield
    finally:
        _cuts.remove(cut)


class OwnParts(VariableLayer):
    """A module of another class, which `own_parts_form` makes variable."""

    own_attributes = ("held_axes", "size_axes")
    is_link: ClassVar[bool] = False

    held_axes: dict[str, tuple[Axis, ...]]
    size_axes: dict[str, Axis]

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return self.held_axes

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The numbers that follow axes, from axes that are ints."""
        return dict(self.size_axes)

    def forward(self, *args: Any, **options: Any) -> Any:
        """Run the class's own forward on what is kept now."""
        kind = self.plain_class
        assert kind is not None
        held = [axis for axes in self.held_axes.values() for axis in axes]
        if all(is_whole(axis) for axis in [*held, *self.size_axes.values()]):
            return kind.forward(self, *args, **options)
        small = object.__new__(kind)
        vars(small).update(vars(self))
        kept = {name: _cuts[-1](value, axes) for name, value, axes in self._held()}
        vars(small)["_parameters"] = {**self._parameters, **kept}
        vars(small).update({name: widest_size(axis) for name, axis in self.size_axes.items()})
        before = dict(vars(small))
        found = kind.forward(small, *args, **options)
        # What the forward notes on the module belongs to the module.
        after = vars(small).items()
        vars(self).update({key: value for key, value in after if before.get(key) is not value})
        return found

    def _held(self) -> Iterator[tuple[str, Tensor, tuple[Axis, ...]]]:
        for name, axes in self.held_axes.items():
            if (value := self._parameters.get(name)) is not None:
                yield name, value, axes


class _Form(type):
    """The class of variable forms, which pickle as what they are made of."""


@cache
def own_parts_form(kind: Any) -> type[OwnParts]:
    """Return the variable form of a class of modules."""
    body = {"plain_class": kind}
    form: Any = _Form(f"Variable{kind.__name__}", (OwnParts, kind), body)
    return form


def _reduce(form: Any) -> tuple[Any, ...]:
    return own_parts_form, (form.plain_class,)


copyreg.pickle(_Form, _reduce)
