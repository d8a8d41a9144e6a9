"""A recurrent layer of torch whose hidden state and input may be variable."""

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from vsnn_lab.layers.base import VariableLayer, is_at_rest
from vsnn_lab.layers.checkpointing import refuse_checkpointing
from vsnn_lab.layers.corners import Axis, first_units
from vsnn_lab.layers.options import checked_options
from vsnn_lab.widths import (
    WidthControl,
    check_axis,
    full_size,
    keep_prefix,
    kept_ranges,
    kept_size,
    knobs_of,
    put_units,
    widest_size,
    with_setting,
)


class Recurrent(VariableLayer, nn.RNNBase):
    """What `VariableLSTM`, `VariableGRU` and `VariableRNN` share."""

    own_attributes: ClassVar[tuple[str, ...]] = ("in_axis", "hidden_axis")
    _plain: ClassVar[type[nn.RNNBase]]
    _gates: ClassVar[int]
    is_link = False
    hidden_axis: Axis

    def __init__(self, input_size: Axis, hidden_size: Axis, options: dict[str, Any]) -> None:
        in_axis = check_axis("input_size", input_size)
        hidden_axis = check_axis("hidden_size", hidden_size)
        # The classes share these two arguments, unlike the base class, whose first one is a mode.
        plain: Any = self._plain.__init__
        plain(self, full_size(in_axis), full_size(hidden_axis), **checked_options(options))
        self.in_axis, self.hidden_axis = in_axis, hidden_axis
        self._check_projection(kept_size(hidden_axis, dict.fromkeys(knobs_of(hidden_axis), 1)))

    @property
    def fed_back_axis(self) -> Axis:
        """The units of one direction that a step gives and the next one takes."""
        return self.proj_size or self.hidden_axis

    @property
    def out_axis(self) -> Axis:  # type: ignore[override]
        """The units of the output: those of both directions, where there are two."""
        axis = self.fed_back_axis
        return axis + axis if self.bidirectional else axis

    def widest_alike(self, position: int) -> int:
        """Return the position itself: of a wider state all units feed all others."""
        return position

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        rows = sum([self.hidden_axis] * self._gates)
        axes: dict[str, tuple[Axis, ...]] = {}
        for name in self._flat_weights_names:
            kind, _, place = name.partition("_l")
            columns: dict[str, tuple[Axis, ...]] = {
                "weight_ih": (rows, self.in_axis if place[0] == "0" else self.out_axis),
                "weight_hh": (rows, self.fed_back_axis),
                "weight_hr": (self.proj_size, self.hidden_axis),
            }
            axes[name] = columns.get(kind, (rows,))
        return axes

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        self._check_projection(full_size(self.hidden_axis))
        return {"input_size": self.in_axis, "hidden_size": self.hidden_axis}

    def _check_projection(self, hidden: int) -> None:
        if hidden <= self.proj_size:
            raise ValueError(
                "hidden_size must keep more units than proj_size at every position, as torch's "
                f"LSTM has to, got {hidden} and {self.proj_size}"
            )

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Run sequences at the width the knobs stand at; arguments and results as in torch."""
        run: Callable[..., Any] = Recurrent._forward
        # The compiler leaves out all recurrent layers, and would take what this one calls to
        # pieces. It is not loaded for that.
        if "torch._dynamo" in sys.modules:
            run = torch.compiler.disable(run)
        return run(self, input, hx)

    def _forward(self, input: Any, hx: Any) -> Any:
        if is_at_rest(self.in_axis, self.hidden_axis):
            return super().forward(input, hx)
        refuse_checkpointing(self.in_axis, self.hidden_axis)
        controls = knobs_of(self.in_axis, self.hidden_axis)
        positions = {c: p for c in controls if isinstance(p := c.position, Tensor)}
        return self._run_rows(input, hx, positions) if positions else self._run(input, hx)

    def _run(self, input: Any, hx: Any) -> Any:
        """Run sequences that all have one width."""
        self._check_projection(widest_size(self.hidden_axis))
        if isinstance(input, PackedSequence):
            input = input._replace(data=keep_prefix(input.data, self.in_axis))
        else:
            input = keep_prefix(input, self.in_axis)
        states = [keep_prefix(h, axis) for h, axis in self._states(hx)]
        # Torch's layer as it would be built small, but for its weights, which are views.
        small = self._plain.__new__(self._plain)
        vars(small).update(
            vars(self),
            _parameters={},
            _flat_weights=[self._kept(name, *axes) for name, axes in self.parameter_axes.items()],
            _flat_weights_names=[],
            _flat_weight_refs=[],
            input_size=widest_size(self.in_axis),
            hidden_size=widest_size(self.hidden_axis),
        )
        return small.forward(input, self._joined(states) if states else None)

    def _kept(self, name: str, rows: Axis, columns: Axis = 1) -> Tensor:
        # Columns first: what is joined of several gates is copied.
        kept = first_units(first_units(getattr(self, name), columns, 1), rows)
        # cuDNN copies weights one after the other, and takes no columns of a wider one for that.
        return kept.contiguous() if kept.is_cuda else kept

    def _states(self, hx: Any) -> list[tuple[Tensor, Axis]]:
        """List the states that there are, each with its axis."""
        return [] if hx is None else [(hx, self.fed_back_axis)]

    def _joined(self, states: list[Tensor]) -> Any:
        """Return states as torch's layer has them."""
        return states[0]

    def _run_rows(self, input: Any, hx: Any, positions: dict[WidthControl, Tensor]) -> Any:
        """Run sequences that have widths of their own, those of one width together."""
        dim = 0 if self.batch_first else 1
        if not isinstance(input, Tensor) or input.dim() != 3:
            given = f"shape {tuple(input.shape)}" if isinstance(input, Tensor) else type(input)
            raise ValueError(
                "input must be a batch of sequences that are padded to one length where each has "
                f"a width of its own, got {given}"
            )
        table = torch.stack([each.to(input.device) for each in positions.values()], 1)
        if len(table) != input.shape[dim]:
            raise ValueError(
                f"input must have one sequence for each of the {len(table)} widths, got shape "
                f"{tuple(input.shape)}"
            )
        turns, of_row = table.unique(dim=0, return_inverse=True)
        outputs, found, order = [], [], []
        for index, turn in enumerate(turns.tolist()):
            rows = (of_row == index).nonzero().flatten()
            states = [h.index_select(1, rows) for h, _ in self._states(hx)]
            with ExitStack() as stack:
                for control, position in zip(positions, turn, strict=True):
                    stack.enter_context(with_setting(control, position=position, widest=position))
                few = input.index_select(dim, rows)
                output, ends = self._run(few, self._joined(states) if states else None)
                outputs.append(_whole(output, self.out_axis))
                found.append([_whole(h, axis) for h, axis in self._states(ends)])
            order.append(rows)
        back = torch.cat(order).argsort()
        ends = [torch.cat(each, 1).index_select(1, back) for each in zip(*found, strict=True)]
        return torch.cat(outputs, dim).index_select(dim, back), self._joined(ends)

    def extra_repr(self) -> str:
        """Show the axes, not only their full sizes."""
        sizes = f"{self.input_size}, {self.hidden_size}"
        return f"{self.in_axis}, {self.hidden_axis}{super().extra_repr().removeprefix(sizes)}"


def _whole(x: Tensor, axis: Axis) -> Tensor:
    if isinstance(axis, int):
        return x
    ranges = kept_ranges(axis, {control: control.widest for control in axis.controls})
    return put_units(x, axis, ranges, -1)
