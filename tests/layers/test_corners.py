"""Corners of a weight that several widths take, cut at once; their gradients are summed once."""

from contextlib import ExitStack
from functools import partial

import pytest
import torch
from torch import nn
from torch.func import grad, jacfwd, vmap
from torch.utils._python_dispatch import TorchDispatchMode

from vsnn_lab import (
    MLP,
    VariableConv2d,
    VariableConvTranspose1d,
    VariableLinear,
    Width,
    at_width,
    forward_at_widths,
)
from vsnn_lab.layers import corners
from vsnn_lab.layers.corners import cut_in_series


@pytest.fixture(autouse=True)
def every_weight_is_large(monkeypatch):
    monkeypatch.setattr(corners, "_LARGE", 1)


def mlp():
    width = Width(8)
    return MLP(5, (width, width, width), 2), torch.randn(600, 5)


def conditioned():
    width = Width(8)
    return MLP(5, (width, width), 2, conditioned=True), torch.randn(600, 5)


def convolutions():
    width = Width(8)
    layers = [
        *(VariableConv2d(1, width, 3), nn.ReLU(), VariableConv2d(width, width, 3)),
        *(nn.Flatten(2), VariableConvTranspose1d(width, width, 2), nn.Flatten()),
        VariableLinear(width * 37, 2),
    ]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last), torch.randn(160, 1, 10, 10)


def gradients(model):
    return {name: part.grad for name, part in model.named_parameters() if part.grad is not None}


def few(rows):
    return torch.tensor([2, 3, 8]).repeat_interleave(-(-rows // 3))[:rows]


def many(rows):
    return torch.arange(rows) % 8 + 1


@pytest.mark.parametrize("widths", [few, many])
@pytest.mark.parametrize("make", [mlp, conditioned, convolutions])
def test_gradients_are_those_of_each_width_alone(make, widths):
    model, x = make()
    widths = widths(len(x))
    forward_at_widths(model, x, widths).square().sum().backward()
    found = gradients(model)
    model.zero_grad()
    for width in widths.unique().tolist():
        with at_width(model, width):
            model(x[widths == width]).square().sum().backward()
    expected = gradients(model)
    assert found.keys() == expected.keys()
    for name, part in found.items():
        torch.testing.assert_close(part, expected[name], rtol=1e-4, atol=1e-3)
        assert part.stride() == model.get_parameter(name).stride()


class Made(TorchDispatchMode):
    """Counts the tensors of one shape that are made, views aside."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.count = shape, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        if isinstance(output, torch.Tensor) and output.shape == self.shape:
            place = output.untyped_storage().data_ptr()
            taken = [part for part in args if isinstance(part, torch.Tensor)]
            self.count += all(part.untyped_storage().data_ptr() != place for part in taken)
        return output


def test_a_weight_has_one_gradient_of_its_size_however_many_widths_there_are():
    model, x = mlp()
    loss = forward_at_widths(model, x, few(len(x)) - 1).sum()
    with Made((8, 8)) as made:
        loss.backward()
    assert made.count == len(model[2:5:2])


def alone(model, x, widths):
    """Run each width by itself, for an output in the order of the batch."""
    output = x.new_zeros(len(x), 2)
    for width in widths.unique().tolist():
        with at_width(model, width):
            output = output.index_put((widths == width,), model(x[widths == width]))
    return output


@pytest.mark.parametrize(("large", "cut"), [(64, 1), (65, 0)])
def test_small_weights_are_cut_one_by_one(monkeypatch, large, cut):
    monkeypatch.setattr(corners, "_LARGE", large)
    width = Width(8)
    layer = VariableLinear(width, width)
    with cut_in_series(width.control, [2, 3]), at_width(layer, 2):
        layer.kept_parameters()
        assert len(width.control.setting.series.memo) == cut


def test_gradients_of_gradients_are_those_of_each_width_alone():
    model, x = mlp()
    found = []
    for run in (forward_at_widths, alone):
        loss = run(model, x, few(len(x))).square().sum()
        weights = [layer.weight for layer in model[:5:2]]
        first = torch.autograd.grad(loss, weights, create_graph=True)
        found.append(torch.autograd.grad(sum(part.square().sum() for part in first), weights))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-2)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("transform", [jacfwd, lambda f: grad(lambda x: f(x).sum())])
def test_functions_of_the_inputs_can_be_transformed(transform):
    model, x = mlp()
    x, widths = x[:200], few(200)
    found, expected = (
        transform(partial(run, model, widths=widths))(x) for run in (forward_at_widths, alone)
    )
    torch.testing.assert_close(found, expected)


def test_a_batch_of_batches_can_be_mapped():
    model, x = mlp()
    x, widths = x.view(3, 200, 5), few(200)
    found = vmap(partial(forward_at_widths, model, widths=widths))(x)
    torch.testing.assert_close(found, torch.stack([alone(model, part, widths) for part in x]))


def test_what_is_compiled_is_not_compiled_anew_for_other_widths():
    model, x = mlp()
    graphs = []
    fast = torch.compile(model, backend=lambda graph, _: graphs.append(graph) or graph.forward)
    for last in range(4, 9):
        forward_at_widths(fast, x, few(len(x)).clamp(max=last)).sum().backward()
    assert len(graphs) <= 3


def test_weights_that_are_frozen_get_no_gradient():
    model, x = mlp()
    model[2].weight.requires_grad_(False)
    forward_at_widths(model, x, few(len(x))).sum().backward()
    assert model[2].weight.grad is None
    assert model[4].weight.grad is not None


class Narrower(nn.Module):
    """A network that turns its own knob."""

    def __init__(self):
        super().__init__()
        width = Width(8)
        self.first, self.last = VariableLinear(5, width), VariableLinear(width, 2)

    def forward(self, x):
        with at_width(self, 1):
            return self.last(self.first(x))


def test_a_network_that_turns_its_knob_meanwhile_is_cut_as_it_says():
    model, x = Narrower(), torch.randn(200, 5)
    output = forward_at_widths(model, x, few(200))
    torch.testing.assert_close(output, model(x))
    output.sum().backward()
    assert not model.first.weight.grad[1:].any()


def test_what_was_cut_together_is_forgotten_also_after_an_error():
    width = Width(4)
    stack = ExitStack()
    stack.enter_context(cut_in_series(width.control, [1, 2]))
    assert width.control.setting.series
    with pytest.raises(KeyError), stack:
        raise KeyError
    assert width.control.setting.series is None
