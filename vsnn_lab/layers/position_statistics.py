"""Batch norms that keep running statistics for each position of a knob, or each octave of them.

The statistics of all widths together suit none of them exactly. Those of a position are what its
own forward meets; `recalibrate_widths` measures them, and evaluated at a width a norm uses those of
its position. What a norm keeps for all widths stays beside them: a step of training moves that, and
takes the positions' statistics, which are those of other weights by then, off again.

Yu et al. 2019, "Slimmable Neural Networks", arXiv 1812.08928, train statistics for each width; Yu &
Huang 2019, arXiv 1903.05134, measure them afterwards.
"""

import copyreg
from collections.abc import Mapping
from functools import cache
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from vsnn_lab.layers import batch_norm, conditioned_norm, switchable
from vsnn_lab.layers.corners import Axis, first_units
from vsnn_lab.layers.octaves import Per, group_of, group_tops
from vsnn_lab.widths import Width, WidthControl, kept_ranges, take_units

_TABLES = {"running_mean": "position_mean", "running_var": "position_var"}
_OWN = (*_TABLES.values(), "position_axis", "position_tops", "measuring")
_PLAIN: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: batch_norm.VariableBatchNorm1d,
    nn.BatchNorm2d: batch_norm.VariableBatchNorm2d,
    nn.BatchNorm3d: batch_norm.VariableBatchNorm3d,
}
_VARIABLE = {
    *_PLAIN.values(),
    *(conditioned_norm.CONDITIONED[kind] for kind in _PLAIN),
    *(switchable.SWITCHABLE[kind] for kind in _PLAIN.values()),  # type: ignore[index]
}


class PositionStatistics(batch_norm.BatchNorm):
    """What batch norms with statistics for each position share.

    A subclass also derives from the batch norm that it adds them to.

    Attributes:
        position_axis: An axis of the knob's positions.
        position_tops: The last position of every group that has statistics of its own, but for the
            last group.
        position_mean: Means, shape (groups, units).
        position_var: Unbiased variances, of the same shape.
        measuring: Whether a forward in training mode measures statistics of a position, and trains
            nothing.
    """

    position_axis: Width
    position_tops: tuple[int, ...]
    position_mean: Tensor
    position_var: Tensor
    measuring: bool
    takes_prefixes = False

    def forward(self, input: Tensor) -> Tensor:
        """Normalise; a step of training takes the positions' statistics off."""
        forward: Any = super().forward
        if self.training and not self.measuring:
            take_off(self)
            # It is no longer of the class that this method is of.
            forward = self.forward
        y: Tensor = forward(input)
        return y

    def statistics(self) -> tuple[Tensor | None, Tensor | None]:
        """Return those of the position that the knob stands at, a row for each sample's own."""
        if self.training:
            return super().statistics()
        position: Any = self.position_axis.control.position
        if isinstance(position, Tensor):
            groups = group_of(position.to(self.position_mean.device), self.position_tops)
            return self.position_mean[groups], self.position_var[groups]
        group = group_of(position, self.position_tops)
        tables = self.position_mean, self.position_var
        found = (first_units(table[group], self.axis) for table in tables)
        return next(found), next(found)

    def keep_statistics(self, positions: Mapping[WidthControl, int]) -> None:
        """Copy the running statistics to those of a position."""
        group = self._group(positions)
        for name, table in _TABLES.items():
            getattr(self, table)[group].copy_(getattr(self, name))

    def _group(self, positions: Mapping[WidthControl, int]) -> int:
        group: int = group_of(positions[self.position_axis.control], self.position_tops)
        return group

    def widest_alike(self, position: int) -> int:
        """Return the position itself: every width may have statistics of its own."""
        return position

    def cut(self, positions: Mapping[WidthControl, int]) -> dict[str, Tensor]:
        """Return what a submodel keeps, with the statistics of its position."""
        parts, axis = super().cut(positions), self.axis
        group = self._group(positions)
        for name, table in _TABLES.items():
            row = getattr(self, table)[group]
            if isinstance(axis, Width):
                row = take_units(row, kept_ranges(axis, positions), 0)
            parts[name] = row.clone()
        return parts

    @property
    def buffer_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes of each buffer; of what belongs to positions a submodel keeps nothing."""
        return super().buffer_axes | dict.fromkeys(_TABLES.values(), (0,))


class _Form(type):
    """The class of batch norms with statistics for each position."""

    plain_kind: type[nn.Module]


@cache
def _form(kind: Any) -> Any:
    own = (*kind.own_attributes, *_OWN)
    body = {"own_attributes": own, "plain_kind": kind, "__doc__": PositionStatistics.__doc__}
    return _Form(f"{kind.__name__}ByPosition", (PositionStatistics, kind), body)


def _reduce(form: Any) -> tuple[Any, ...]:
    return _form, (form.plain_kind,)


# Forms are found by what they are made of, for there is no module that has them by name.
copyreg.pickle(_Form, _reduce)


def takes_statistics(module: nn.Module) -> bool:
    """Whether a module is a batch norm that can have statistics for each position, or has some.

    Raises:
        TypeError: If it is one of another class, which nobody knows how to give some.
    """
    if not isinstance(module, _BatchNorm) or module.running_mean is None:
        return False
    if isinstance(module, PositionStatistics) or type(module) in {*_PLAIN, *_VARIABLE}:
        return True
    raise TypeError(
        f"model must have batch norms of torch's own classes, got {type(module).__name__}; "
        "recalibrate measures those of one width"
    )


def put_on(module: nn.Module, control: WidthControl, per: Per = "position") -> None:
    """Give a batch norm statistics for each position of a knob, at first those that it has.

    Args:
        module: One that `takes_statistics`.
        control: The knob.
        per: Whether each position has its own, or each octave of them and full width.
    """
    tops = group_tops(control.steps, per)
    take_off(module)
    if type(module) in _PLAIN:
        module.__class__ = _PLAIN[type(module)]
        assert isinstance(module, batch_norm.BatchNorm)
        module.set_axis(int(vars(module)["num_features"]))
    kind: Any = type(module)
    module.__class__ = _form(kind)
    assert isinstance(module, PositionStatistics)
    module.position_axis = Width(control.steps, control)
    module.position_tops, module.measuring = tops, False
    for name, table in _TABLES.items():
        whole: Tensor = getattr(module, name)
        module.register_buffer(table, whole.detach().repeat(len(tops) + 1, 1))


def take_off(module: nn.Module) -> None:
    """Take the statistics of positions off a batch norm, if it has some."""
    if isinstance(module, PositionStatistics):
        for name in _OWN:
            delattr(module, name)
        kind: Any = type(module).plain_kind  # type: ignore[attr-defined]
        module.__class__ = kind
        if kind in _PLAIN.values() and not isinstance(module.axis, Width):
            # It was torch's own, or might as well have been.
            for name in kind.own_attributes:
                delattr(module, name)
            plain: Any = next(plain for plain, form in _PLAIN.items() if form is kind)
            module.__class__ = plain
