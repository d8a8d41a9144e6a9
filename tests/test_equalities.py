"""Masked, sliced and extracted networks are one network, at every width."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from vsnn_lab import MLP, VariableLinear, WidthControl, at_width, extract, forward_at_widths
from vsnn_lab.layers import VariableBatchNorm2d, VariableConv2d

# Sigmoid, cosine and softplus are not zero at zero: a mask in the wrong place would leak.
ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "softplus": nn.Softplus, "tanh": nn.Tanh}
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}


@st.composite
def networks(draw):
    """A random MLP on one knob, its steps and a batch of inputs."""
    steps = draw(st.integers(1, 6))
    knob = WidthControl(steps)
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    dtype = draw(st.sampled_from(list(TOLERANCE)))
    activation = ACTIVATIONS[draw(st.sampled_from(list(ACTIVATIONS)))]
    torch.manual_seed(draw(st.integers(0, 999)))
    net = MLP(5, [knob.axis(steps * size) for size in sizes], 3, activation).to(dtype)
    x = torch.randn(draw(st.integers(1, 9)), 5, dtype=dtype)
    return net, steps, x


def dense_reference(net: MLP, position: int, steps: int, x: torch.Tensor) -> torch.Tensor:
    """Compute the network of one width by hand, from slices of the weight matrices."""
    for index, module in enumerate(net):
        if isinstance(module, nn.Linear):
            last = index == len(net) - 1
            rows = module.weight.shape[0] if last else module.weight.shape[0] * position // steps
            x = x @ module.weight[:rows, : x.shape[1]].T + module.bias[:rows]
        else:
            x = module(x)
    return x


@given(networks())
def test_masked_sliced_and_extracted_equal_the_hand_written_network_at_every_width(case):
    net, steps, x = case
    tolerance = TOLERANCE[x.dtype]
    for position in range(1, steps + 1):
        expected = dense_reference(net, position, steps, x)
        with at_width(net, position):
            sliced = net(x)
        with at_width(net, torch.full((len(x),), position)):
            masked = net(x)
        cut = extract(net, position)(x)
        for output in (sliced, masked, cut):
            torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)


@given(networks(), st.data())
def test_every_sample_gets_its_width_in_the_order_of_the_batch(case, data):
    net, steps, x = case
    positions = data.draw(st.lists(st.integers(1, steps), min_size=len(x), max_size=len(x)))
    widths = torch.tensor(positions)
    rows = [
        dense_reference(net, position, steps, x[[row]]) for row, position in enumerate(positions)
    ]
    tolerance = TOLERANCE[x.dtype]
    expected = torch.cat(rows)
    with at_width(net, widths):
        torch.testing.assert_close(net(x), expected, rtol=tolerance, atol=tolerance)
    for smallest_run in (0, 10**6):  # always sliced, always masked
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vsnn_lab.networks.forward._SMALLEST_RUN", smallest_run)
            output = forward_at_widths(net, x, widths)
        torch.testing.assert_close(output, expected, rtol=tolerance, atol=tolerance)


@given(networks(), st.data())
def test_both_ways_give_the_same_gradients(case, data):
    net, steps, x = case
    net.double()
    x = x.double()
    widths = torch.tensor(
        data.draw(st.lists(st.integers(1, steps), min_size=len(x), max_size=len(x)))
    )
    gradients = []
    for smallest_run in (0, 10**6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vsnn_lab.networks.forward._SMALLEST_RUN", smallest_run)
            loss = forward_at_widths(net, x, widths).square().sum()
        gradients.append(torch.autograd.grad(loss, list(net.parameters())))
    for sliced, masked in zip(*gradients, strict=True):
        torch.testing.assert_close(sliced, masked, rtol=1e-10, atol=1e-12)


@given(networks(), st.data())
def test_gradients_of_units_beyond_the_width_are_exactly_zero(case, data):
    net, steps, x = case
    position = data.draw(st.integers(1, steps))
    layers = [module for module in net if isinstance(module, nn.Linear)]
    for width in (position, torch.full((len(x),), position)):
        net.zero_grad()
        with at_width(net, width):
            net(x).square().sum().backward()
        for before, after in pairwise(layers):
            kept = before.out_features * position // steps
            assert not before.weight.grad[kept:].any()
            assert not before.bias.grad[kept:].any()
            assert not after.weight.grad[:, kept:].any()


def test_the_mean_loss_over_all_widths_equals_the_weighted_sum_of_each_widths_loss():
    knob = WidthControl(6)
    net = MLP(5, [knob.axis(6), knob.axis(12)], 3).double()
    x, y = torch.randn(4, 5).double(), torch.randn(4, 3).double()
    widths = torch.arange(1, 7).repeat_interleave(4)
    together = (forward_at_widths(net, x.repeat(6, 1), widths) - y.repeat(6, 1)).square().mean()
    alone = [(dense_reference(net, w, 6, x) - y).square().mean() for w in range(1, 7)]
    torch.testing.assert_close(together, sum(alone) / 6, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("smallest_run", [0, 10**6])
@pytest.mark.parametrize("tail", [nn.Identity, nn.Sigmoid])
def test_a_variable_output_is_zero_beyond_each_samples_width(smallest_run, tail, monkeypatch):
    monkeypatch.setattr("vsnn_lab.networks.forward._SMALLEST_RUN", smallest_run)
    layer = VariableLinear(4, WidthControl(3).axis(6))
    net = nn.Sequential(layer, tail())
    x, widths = torch.randn(3, 4), torch.tensor([2, 1, 3])
    whole = tail()(x @ layer.weight.T + layer.bias)
    beyond = torch.arange(6) >= 2 * widths[:, None]
    expected = whole.masked_fill(beyond, 0)
    torch.testing.assert_close(forward_at_widths(net, x, widths), expected)


@pytest.mark.parametrize("smallest_run", [0, 10**6])
def test_variable_channels_of_an_output_are_zero_beyond_each_samples_width(
    smallest_run, monkeypatch
):
    monkeypatch.setattr("vsnn_lab.networks.forward._SMALLEST_RUN", smallest_run)
    width = WidthControl(3).axis(6)
    net = nn.Sequential(
        VariableConv2d(1, width, 1), VariableBatchNorm2d(width), nn.Sigmoid()
    ).eval()
    x, widths = torch.randn(3, 1, 4, 5), torch.tensor([2, 1, 3])
    beyond = torch.arange(6) >= 2 * widths[:, None]
    expected = net(x).masked_fill(beyond[:, :, None, None], 0)
    torch.testing.assert_close(forward_at_widths(net, x, widths), expected)


def test_units_that_a_module_has_moved_are_not_guessed_at():
    width = WidthControl(3).axis(6)
    net = nn.Sequential(VariableConv2d(1, width, 1), nn.Flatten())
    widths = torch.tensor([1, 2]).repeat_interleave(64)
    with pytest.raises(ValueError, match="one shape at every width"):
        forward_at_widths(net, torch.randn(128, 1, 2, 2), widths)


def test_inputs_of_more_dimensions_keep_them():
    axis = WidthControl(4).axis(4)
    net = nn.Sequential(VariableLinear(3, axis), nn.Sigmoid(), VariableLinear(axis, 2))
    x, widths = torch.randn(2, 5, 7, 3), torch.tensor([1, 3])
    with at_width(net, widths):
        masked = net(x)
    for row, position in enumerate([1, 3]):
        with at_width(net, position):
            torch.testing.assert_close(masked[row], net(x[row]))


@pytest.mark.parametrize(
    ("widths", "error", "message"),
    [
        (torch.tensor([1, 2]), ValueError, "one entry for each of the 3 samples, got 2"),
        (torch.tensor([1, 2, 9]), ValueError, r"in 1\.\.4, got 9"),
        (torch.tensor([1.0, 2, 3]), TypeError, "integer tensor, got dtype torch.float32"),
        (3, TypeError, r"LongTensor of shape \(batch,\), got 3"),
        (torch.tensor(3), ValueError, r"shape \(batch,\), got shape \(\)"),
    ],
)
def test_a_bad_width_vector_is_refused(widths, error, message):
    net = MLP(2, [WidthControl(4).axis(4)], 2)
    with pytest.raises(error, match=message):
        forward_at_widths(net, torch.ones(3, 2), widths)


def test_a_model_that_hides_its_variable_output_is_refused_when_its_runs_differ():
    class Hidden(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = VariableLinear(2, WidthControl(4).axis(4))

        def forward(self, x):
            return self.layer(x)

    x, widths = torch.ones(128, 2), torch.tensor([1, 2]).repeat_interleave(64)
    with pytest.raises(ValueError, match=r"one shape at every width, got .* attribute out_axis"):
        forward_at_widths(Hidden(), x, widths)


def test_a_model_without_a_tensor_for_output_is_refused():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = VariableLinear(2, WidthControl(4).axis(4))

        def forward(self, x):
            return self.layer(x), x

    with pytest.raises(TypeError, match="must return one tensor, got tuple"):
        forward_at_widths(Pair(), torch.ones(1, 2), torch.tensor([1]))
