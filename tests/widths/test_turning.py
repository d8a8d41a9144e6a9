import copy
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vsnn_lab import MLP, VariableLinear, Width, WidthControl, at_width
from vsnn_lab.widths import geometric_widths, width_controls


def test_layers_of_six_and_nine_share_one_knob_of_three_positions():
    knob = WidthControl(3)
    six, nine = knob.axis(6), knob.axis(9)
    net = nn.Sequential(VariableLinear(4, six), nn.ReLU(), VariableLinear(six, nine))
    for position, units in [(1, 3), (2, 6), (3, 9)]:
        with at_width(net, position):
            assert net(torch.ones(2, 4)).shape == (2, units)
    assert width_controls(net) == [knob]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9))
def test_a_derived_axis_keeps_whole_groups_of_units(steps, per_step, repeats):
    axis = WidthControl(steps).axis(steps * per_step)
    derived = axis * repeats
    assert derived.control is axis.control
    assert (repeats * axis).max_width == derived.max_width == steps * per_step * repeats
    for position in range(1, steps + 1):
        assert derived.at(position) == repeats * per_step * position


def test_at_width_restores_what_was_there_when_nested_and_after_an_exception():
    knob = WidthControl(8)

    def fail_at(expected):
        assert knob.position == expected
        raise RuntimeError("inside")

    with at_width(knob, 5):
        with pytest.raises(RuntimeError, match="inside"), at_width(knob, 2):
            fail_at(2)
        assert knob.position == 5
    assert knob.position == 8


def test_one_at_width_can_be_entered_again():
    knob = WidthControl(8)
    narrow = at_width(knob, 3)
    with narrow, narrow:
        assert knob.position == 3
    assert knob.position == 8


def test_several_knobs_are_turned_by_a_dict_and_the_others_stay():
    first, second = Width(4), Width(6)
    net = MLP(3, (first, second), 2)
    with at_width(net, {first.control: 2}):
        assert (first.control.position, second.control.position) == (2, 6)
        assert net(torch.ones(5, 3)).shape == (5, 2)
    with at_width(net, {first.control: 1, second.control: 3}):
        assert net[2](net[:2](torch.ones(5, 3))).shape == (5, 3)


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_a_knob_of_its_own_and_stands_at_full_width(clone):
    width = Width(6)
    net = MLP(3, (width, width), 2)
    with at_width(net, 2):
        twin = clone(net)
    (knob,) = width_controls(twin)
    assert knob is not width.control
    assert knob.position == 6
    with at_width(twin, 1):
        assert width.control.position == 6
    x = torch.randn(4, 3)
    assert torch.equal(net(x), twin(x))


@pytest.mark.parametrize(
    ("width", "error", "message"),
    [
        (0, ValueError, r"width must lie in 1\.\.256, got 0; WidthControl\(steps=256\) sets"),
        (300, ValueError, r"width must lie in 1\.\.256, got 300; WidthControl\(steps=256\) sets"),
        (1.0, TypeError, r"width must be an integer in 1\.\.256, got 1\.0 of type float"),
        (True, TypeError, "got True of type bool"),
        ("8", TypeError, "got '8' of type str"),
        (torch.tensor([1.0]), TypeError, "integer tensor, got dtype torch.float32"),
        (torch.tensor([3, 0]), ValueError, r"in 1\.\.256, got 0"),
        (torch.tensor([257, 3]), ValueError, r"in 1\.\.256, got 257"),
        (torch.tensor([1, 257]), ValueError, r"in 1\.\.256, got 257"),
        (torch.tensor(3), ValueError, r"shape \(batch,\), got shape \(\)"),
        (torch.tensor([], dtype=torch.long), ValueError, "non-empty vector"),
    ],
)
def test_a_bad_width_is_refused_before_anything_turns(width, error, message):
    axis = Width(256)
    with pytest.raises(error, match=message):
        at_width(axis.control, width)
    assert axis.control.position == 256


def test_both_ends_of_the_range_are_widths():
    knob = WidthControl(5)
    for width in (1, 5):
        with at_width(knob, width):
            assert knob.position == width
    with at_width(knob, torch.tensor([1, 5])):
        assert knob.position.tolist() == [1, 5]


def test_a_single_width_needs_a_single_knob():
    net = MLP(3, (Width(4), Width(6)), 2)
    with pytest.raises(ValueError, match=r"one knob for a single width, got 2"):
        at_width(net, 2)
    with pytest.raises(ValueError, match="variable axis, got none"):
        at_width(nn.Linear(2, 2), 1)
    with pytest.raises(ValueError, match="must name knobs of the model"):
        at_width(net, {WidthControl(4): 2})
    with pytest.raises(TypeError, match=r"torch\.nn\.Module or a WidthControl, got 'net'"):
        at_width("net", 2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WidthControl(0), ValueError, "steps must be at least 1, got 0"),
        (lambda: WidthControl(2.5), TypeError, r"steps must be an integer at least 1, got 2\.5"),
        (lambda: Width(-3), ValueError, "max_width must be at least 1, got -3"),
        (lambda: WidthControl(4).axis(6), ValueError, "got max_width=6 and steps=4"),
        (lambda: Width(6, control=3), TypeError, "control must be a WidthControl, got 3"),
        (lambda: Width(6) * 0, ValueError, "repeats must be at least 1, got 0"),
        (lambda: Width(6) * 1.5, TypeError, r"repeats must be an integer .*, got 1\.5"),
        (lambda: VariableLinear(3.0, Width(2)), TypeError, "in_features must be an integer"),
        (lambda: VariableLinear(3, 0), ValueError, "out_features must be at least 1, got 0"),
    ],
)
def test_a_bad_axis_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("steps", "expected"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (64, [1, 2, 4, 8, 16, 32, 64]), (9, [1, 2, 4, 8, 9])],
)
def test_geometric_widths_are_the_powers_of_two_and_the_last(steps, expected):
    assert geometric_widths(steps) == expected


@pytest.mark.parametrize(("steps", "error"), [(0, ValueError), (4.0, TypeError)])
def test_geometric_widths_of_no_steps_are_refused(steps, error):
    with pytest.raises(error, match="steps must be"):
        geometric_widths(steps)
