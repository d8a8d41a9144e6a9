"""A linear layer with a scale and a shift for each width; extracted, it is an ordinary one."""

import copy
import pickle

import pytest
import torch
from torch import nn

from vsnn_lab import (
    ConditionedLinear,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    count_parameters,
    extract,
)
from vsnn_lab.layers.conditioned import _PACE


def network(rank: int = 3) -> tuple[nn.Sequential, WidthControl]:
    code = Width(7)
    knob = code.control
    first, last = ConditionedLinear(code, 5, knob, rank), ConditionedLinear(5, code, knob, rank)
    layers = first, nn.Tanh(), last
    net = nn.Sequential(VariableLinear(3, code), *layers, VariableLinear(code, 2)).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net, knob


@pytest.mark.parametrize("width", range(1, 8))
@pytest.mark.parametrize("rank", [0, 3])
def test_sliced_masked_and_extracted_agree_and_what_the_width_adds_folds_away(width, rank):
    net, _ = network(rank)
    for x in (torch.randn(4, 3).double(), torch.randn(4, 2, 3).double()):
        cut = extract(net, width)
        with at_width(net, width):
            torch.testing.assert_close(net(x), cut(x), rtol=1e-10, atol=1e-12)
        with at_width(net, torch.full((4,), width)):
            torch.testing.assert_close(net(x), cut(x), rtol=1e-10, atol=1e-12)
    plain = nn.Sequential(
        nn.Linear(3, width), nn.Linear(width, 5), nn.Tanh(), nn.Linear(5, width),
        nn.Linear(width, 2),
    )  # fmt: skip
    assert repr(cut) == repr(plain)
    assert cut.state_dict().keys() == plain.state_dict().keys()
    assert count_parameters(net, width) == sum(p.numel() for p in plain.parameters())
    assert not any(type(module).__module__.startswith("vsnn_lab") for module in cut.modules())


def test_untrained_it_is_the_variable_linear_layer_at_every_width():
    code = Width(6)
    layer, other = ConditionedLinear(code, 4, code.control), VariableLinear(code, 4)
    other.load_state_dict(layer.state_dict(), strict=False)
    x = torch.randn(3, 6)
    for width in range(1, 7):
        with at_width(code.control, width):
            assert torch.equal(layer(x), other(x))


def test_between_two_knots_scale_and_shift_lie_on_a_line_over_log_width():
    code = Width(10)  # knots at 1, 2, 4, 8 and 10
    layer = ConditionedLinear(3, 1, code.control, rank=0).double()
    knots = torch.tensor([1.0, 2.0, 4.0, 8.0, 10.0]).double()
    slope, start = 0.3, -0.2
    with torch.no_grad():
        layer.shift.copy_((start + slope * knots.log2()).unsqueeze(1))
    zero = torch.zeros(1, 3).double()
    for width in range(1, 11):
        with at_width(code.control, width):
            shift = layer(zero) - layer.bias
        expected = _PACE * (start + slope * torch.tensor(width).double().log2())
        torch.testing.assert_close(shift.squeeze(), expected, rtol=1e-6, atol=1e-6)


def test_each_width_trains_the_knots_beside_it_alone():
    code = Width(8)
    layer = ConditionedLinear(code, 2, code.control)
    with at_width(code.control, 3):
        layer(torch.ones(1, 8)).sum().backward()
    trained = layer.scale.grad.abs().sum(1) > 0
    assert trained.tolist() == [False, True, True, False]
    of_knots = layer.up.grad.abs().sum(0).view(4, layer.rank).sum(1) > 0
    assert of_knots.tolist() == [False, True, True, False]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_a_knob_of_its_own_that_also_conditions_it(clone):
    net, knob = network()
    other = clone(net)
    x = torch.randn(2, 3).double()
    with at_width(net, 2):
        expected = net(x)
    with at_width(other, 2):
        torch.testing.assert_close(other(x), expected)
        assert knob.position == 7


def test_a_width_is_found_also_where_it_only_conditions():
    layer = ConditionedLinear(3, 4, WidthControl(5))
    with at_width(layer, 2):
        assert layer.control.position == 2
    assert extract(layer, 2).weight.shape == (4, 3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"control": Width(4)}, TypeError, r"control must be a WidthControl, got Width\(4\)"),
        ({"rank": -1}, ValueError, "rank must be at least 0, got -1"),
    ],
)
def test_what_cannot_be_conditioned_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        ConditionedLinear(3, 4, **{"control": WidthControl(4)} | options)
