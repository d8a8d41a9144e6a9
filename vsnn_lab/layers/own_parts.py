"""Variable modules that hold parameters or numbers beside their layers, and keep their forward.

A class token, a scale for each channel of a branch, the number of heads that a reshape names: at a
width the module's own forward sees the first units of such a parameter, and the size that is left.
"""

import copyreg
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.corners import Axis, first_units
from vsnn_lab.widths import widest_size

Cut = Callable[[Tensor, tuple[Axis, ...]], Tensor]


def _cut(tensor: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    for dim, axis in enumerate(axes):
        tensor = first_units(tensor, axis, dim)
    # Compiled code asks of a view at which widths it is contiguous, and is made again for them.
    if torch.compiler.is_compiling():
        return tensor.clone(memory_format=torch.contiguous_format)
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

    own_attributes = ("held_axes", "size_axes", "running")
    is_link: ClassVar[bool] = False

    held_axes: dict[str, tuple[Axis, ...]]
    size_axes: dict[str, Axis]
    running: bool
    held: ClassVar[tuple[str, ...]]
    sizes: ClassVar[tuple[str, ...]]

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
        assert self.plain_class is not None
        # While it runs its parameters and numbers are those of the width, and whole otherwise.
        before, self.running = self.running, True
        try:
            return self.plain_class.forward(self, *args, **options)
        finally:
            self.running = before


def _parameter(name: str) -> property:
    def kept(self: Any) -> Tensor | None:
        value: Tensor | None = self._parameters[name]
        if value is None or not self.running:
            return value
        return _cuts[-1](value, self.held_axes[name])

    return property(kept)


def _number(name: str) -> property:
    def kept(self: Any) -> int:
        value: int = vars(self)[name]
        return widest_size(self.size_axes[name]) if self.running else value

    def write(self: Any, value: int) -> None:
        vars(self)[name] = value

    return property(kept, write)


class _Form(type):
    """The class of variable forms, which pickle as what they are made of."""


@cache
def own_parts_form(kind: Any, held: tuple[str, ...], sizes: tuple[str, ...]) -> type[OwnParts]:
    """Return the variable form of a class of modules.

    Args:
        kind: The class.
        held: The names of parameters that follow axes.
        sizes: The names of numbers that do.
    """
    body: dict[str, Any] = {"plain_class": kind, "held": held, "sizes": sizes}
    body |= {name: _parameter(name) for name in held}
    body |= {name: _number(name) for name in sizes}
    form: Any = _Form(f"Variable{kind.__name__}", (OwnParts, kind), body)
    return form


def _reduce(form: Any) -> tuple[Any, ...]:
    return own_parts_form, (form.plain_class, form.held, form.sizes)


copyreg.pickle(_Form, _reduce)
