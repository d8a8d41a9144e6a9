"""What layers keep of their cut parameters while the knob stands still, without gradients."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from vsnn_lab import MLP, VariableConv2d, VariableLinear, Width, WidthControl, at_width


@pytest.fixture
def layer():
    return VariableLinear(3, Width(4))


X = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))


def expected(layer, width):
    return X.to(layer.weight) @ layer.weight[:width].T + layer.bias[:width]


def views(layer):
    with torch.no_grad():
        return layer.kept_parameters()


@pytest.mark.parametrize("make", [VariableLinear, lambda a, b: VariableConv2d(a, b, 3)])
def test_parameters_are_cut_once_for_as_long_as_the_knob_stands_still(make):
    layer = make(3, Width(4))
    with at_width(layer, 2):
        first = views(layer)
        assert views(layer) is first
        kept = (
            layer.kept_parameters()
        )  # where a gradient is recorded each call has views of its own
        assert kept[0] is not layer.kept_parameters()[0]
        with at_width(layer, 3):
            assert views(layer)[0].shape[0] == 3


@torch.no_grad()
def test_what_is_written_into_parameters_or_put_in_their_place_is_seen(layer):
    def changes():
        yield layer.weight.mul_(2)
        yield layer.load_state_dict(VariableLinear(3, Width(4)).state_dict())
        yield layer.load_state_dict(VariableLinear(3, Width(4)).state_dict(), assign=True)
        yield setattr(layer, "bias", nn.Parameter(torch.ones(4)))
        yield setattr(layer.weight, "data", torch.ones(4, 3))
        yield layer.double()

    with at_width(layer, 2):
        layer(X)
        for _ in changes():
            torch.testing.assert_close(layer(X.to(layer.weight)), expected(layer, 2))


@torch.no_grad()
def test_what_is_written_into_a_layer_on_a_joined_axis_is_seen():
    knob = WidthControl(4)
    layer = VariableLinear(3, knob.axis(4) + knob.axis(4))
    with at_width(layer, 1):
        before = layer(X)
        layer.weight.mul_(2)
        layer.bias.mul_(2)
        torch.testing.assert_close(layer(X), 2 * before)


@torch.no_grad()
def test_tensors_that_stand_in_for_parameters_are_seen(layer):
    others = [VariableLinear(3, Width(4)) for _ in range(2)]
    parameters, _ = stack_module_state(others)
    with at_width(layer, 2):
        layer(X)
        found = vmap(lambda part: functional_call(layer, part, X))(parameters)
        for output, other in zip(found, others, strict=True):
            torch.testing.assert_close(output, expected(other, 2))
        torch.testing.assert_close(layer(X), expected(layer, 2))


@pytest.mark.parametrize("dim", [0, -1])
def test_an_ensemble_has_the_gradients_of_each_of_its_networks(dim):
    width = Width(8)
    nets = [MLP(3, (width, width), 2) for _ in range(3)]
    stacked = {name: part.movedim(0, dim) for name, part in stack_module_state(nets)[0].items()}

    def error(parameters):
        return functional_call(nets[0], parameters, X).square().sum()

    with at_width(width.control, 5):
        found = vmap(grad(error), in_dims=dim)(stacked)
        for index, net in enumerate(nets):
            net(X).square().sum().backward()
            for name, parameter in net.named_parameters():
                torch.testing.assert_close(found[name][index], parameter.grad)


@torch.no_grad()
def test_a_layer_of_two_knobs_sees_both_turned():
    rows, columns = WidthControl(4), WidthControl(3)
    layer = VariableLinear(columns.axis(3), rows.axis(4))
    with at_width(rows, 2):
        for width in (1, 3, 2):
            with at_width(columns, width):
                assert layer(X[:, :width]).shape == (2, 2)
                assert layer.kept_parameters()[0].shape == (2, width)


def test_a_forward_without_gradient_leaves_those_after_it_their_gradients(layer):
    with at_width(layer, 2):
        with torch.no_grad():
            layer(X)
        layer(X).sum().backward()
    assert layer.weight.grad[:2].all()


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
@torch.no_grad()
def test_a_copy_made_while_the_knob_is_turned_cuts_its_own(clone):
    net = MLP(3, (Width(4),), 2)
    with at_width(net, 2):
        net(X)
        other = clone(net)
        other[0].weight.zero_()
        other[0].bias.zero_()
        with at_width(other, 2):
            torch.testing.assert_close(other(X), other[2].bias.expand(2, 2))
        assert not torch.equal(net(X), other[2].bias.expand(2, 2))
