"""Axes of any size, repeated and joined: what they keep, and what layers make of it."""

import copy
from itertools import product

import pytest
import torch
from torch import nn

from vsnn_lab import VariableLinear, Width, WidthControl, at_width, extract
from vsnn_lab.widths import (
    Rows,
    keep_prefix,
    kept_ranges,
    kept_size,
    put_units,
    take_units,
    width_controls,
    with_rows,
)

SIZES = [1, 2, 5, 8, 30, 33]


@pytest.mark.parametrize(("size", "steps"), [*product(SIZES, [1, 3, 8, 32])])
def test_a_rounded_axis_keeps_the_share_rounded_up(size, steps):
    axis = WidthControl(steps, rounded=True).axis(size)
    kept = [axis.at(position) for position in range(1, steps + 1)]
    assert kept == [-(-size * position // steps) for position in range(1, steps + 1)]
    assert kept[-1] == size
    assert [(axis * 3).at(position) for position in range(1, steps + 1)] == [3 * k for k in kept]


def test_where_the_size_is_divided_nothing_is_rounded():
    for position in range(1, 9):
        assert WidthControl(8, rounded=True).axis(24).at(position) == 3 * position


def test_without_rounding_the_refusal_names_the_way_out():
    with pytest.raises(ValueError, match=r"max_width=9 and steps=4.*rounded=True"):
        WidthControl(4).axis(9)
    with pytest.raises(TypeError, match="rounded must be"):
        WidthControl(4, rounded="yes")


def test_a_sum_keeps_a_prefix_of_each_part():
    knob = WidthControl(4, rounded=True)
    axis = knob.axis(6) * 2 + 3 + knob.axis(5)
    assert axis.max_width == 20
    assert kept_ranges(axis, {knob: 2}) == [(0, 6), (12, 6)]
    assert axis.at(2) == kept_size(axis, {knob: 2}) == 12
    assert sum([knob.axis(2), knob.axis(2)]).at(1) == 2
    assert kept_ranges((1 + knob.axis(2)), {knob: 4}) == [(0, 3)]
    assert repr(knob.axis(5)) == "Width(5, control=WidthControl(4, rounded=True))"
    assert repr(axis).startswith("Width(6, control=WidthControl(4, rounded=True)) * 2 + 3 + ")


def test_parts_may_stand_on_knobs_of_their_own():
    first, second = Width(4), Width(6)
    layer = VariableLinear(first + second, 3)
    assert width_controls(layer) == [first.control, second.control]
    with pytest.raises(ValueError, match="must be on one knob for this"):
        layer.in_axis.at(2)
    x = torch.randn(2, 10)
    with at_width(layer, {first.control: 1, second.control: 2}):
        expected = layer.weight[:, [0, 4, 5]] @ x[:, [0, 4, 5]].T
        torch.testing.assert_close(layer(x) - layer.bias, expected.T)
        masked = at_width(second.control, torch.tensor([2, 2]))
        with masked:
            torch.testing.assert_close(layer(x) - layer.bias, expected.T)
    assert extract(layer, {first.control: 1, second.control: 2}).in_features == 3


@pytest.mark.parametrize("rounded", [False, True])
def test_a_network_of_sums_is_its_slices_masks_and_cuts(rounded):
    knob = WidthControl(4, rounded)
    hidden, more = knob.axis(8), knob.axis(9 if rounded else 12)
    first, second = VariableLinear(5, hidden), VariableLinear(5, more)
    last = VariableLinear(hidden + more + 5, 3)

    class Joined(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = first, second, last

        def forward(self, x):
            return self.last(torch.cat([self.first(x).cos(), self.second(x).cos(), x], 1))

    net, x = Joined().double(), torch.randn(4, 5, dtype=torch.float64)
    cuts = [extract(net, position) for position in range(1, 5)]
    for position, cut in enumerate(cuts, 1):
        kept = hidden.at(position), more.at(position)
        assert cut.last.in_features == sum(kept) + 5
        with at_width(net, position):
            torch.testing.assert_close(net(x), cut(x), rtol=0, atol=1e-12)
    rows = torch.tensor([3, 1, 4, 2])
    with at_width(net, rows):
        expected = torch.cat([cuts[row - 1](x[[place]]) for place, row in enumerate(rows.tolist())])
        torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)


def test_a_copy_stands_on_a_knob_of_its_own():
    axis = WidthControl(4, rounded=True).axis(6) + 2
    twin = copy.deepcopy(axis)
    assert twin.control is not axis.control
    assert twin.at(1) == axis.at(1) == 4
    assert copy.deepcopy(axis, {id(axis.control): 2}) == 5


def test_units_go_back_where_they_were_taken():
    axis = Width(4) + Width(6)
    ranges = kept_ranges(axis, dict(zip(axis.controls, (2, 3), strict=True)))
    x = torch.randn(3, 10, 2, requires_grad=True)
    kept = take_units(x, ranges, 1)
    whole = put_units(kept, axis, ranges, 1)
    torch.testing.assert_close(take_units(whole, ranges, 1), kept)
    assert (whole != 0).sum() == kept.numel()
    whole.sum().backward()
    assert x.grad.sum() == kept.numel()


def test_inputs_that_are_neither_whole_nor_kept_are_refused():
    axis = Width(4) + 3
    with (
        at_width(axis.control, 2),
        pytest.raises(ValueError, match=r"5 or 7 units in dimension -1 at width 2 of 4"),
    ):
        keep_prefix(torch.ones(2, 6), axis)


@pytest.mark.parametrize("shape", [(4,), (4, 2), (2, 4)])
def test_rows_of_samples_are_looked_for_where_they_lie(shape):
    axis = with_rows(Width(4), Rows(1))
    with (
        at_width(axis.control, torch.tensor([2, 1, 3])),
        pytest.raises(ValueError, match="one row"),
    ):
        keep_prefix(torch.ones(shape), axis, 0)


def test_samples_of_several_rows_lie_anywhere():
    axis = with_rows(Width(3), Rows(1, several=True))
    with at_width(axis.control, torch.tensor([2, 1])):
        found = keep_prefix(torch.ones(3, 4), axis, 0)
    assert found.tolist() == [[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]
