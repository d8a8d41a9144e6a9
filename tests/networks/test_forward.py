"""What runs sliced, what masked, and what is left where it lies."""

import pytest
import torch
from torch import nn

from vsnn_lab import MLP, VariableLinear, Width, at_width, forward_at_widths
from vsnn_lab.layers import VariableBatchNorm1d, VariableConv1d, VariableLayerNorm
from vsnn_lab.networks.forward import _BLOCKS, _SMALLEST_RUN, _SMALLEST_RUN_OF_IMAGES
from vsnn_lab.networks.gate import output_axis


def outputs_of(layer, calls):
    return [output for module, _, output in calls if module is layer]


class Witness(nn.Module):
    """A layer that notes where the knob stood, call by call."""

    def __init__(self):
        super().__init__()
        self.layer = VariableLinear(2, Width(4))
        self.out_axis = self.layer.out_axis
        self.positions = []

    def forward(self, x):
        self.positions.append(self.out_axis.control.position)
        return self.layer(x)


@pytest.mark.parametrize("parts", [2, 3])
def test_the_smallest_run_is_sliced_and_a_batch_of_one_sample_less_is_masked(parts, calls):
    net, widths = VariableLinear(2, Width(4)), torch.arange(1, parts + 1)
    widths = widths.repeat_interleave(_SMALLEST_RUN)
    x = torch.randn(len(widths), 2)
    whole = forward_at_widths(net, x, widths)
    assert [output.shape[1] for *_, output in calls] == list(range(1, parts + 1))
    calls.clear()
    shorter = forward_at_widths(net, x[1:], widths[1:])
    assert [output.shape for *_, output in calls] == [(len(x) - 1, parts)]
    torch.testing.assert_close(shorter, whole[1:])


def test_what_is_not_known_to_be_maskable_runs_each_width_by_itself():
    net = Witness()
    forward_at_widths(net, torch.ones(4, 2), torch.tensor([2, 4, 2, 1]))
    assert net.positions == [1, 2, 4]


def test_a_batch_of_one_width_is_sliced_however_small_it_is():
    net = Witness()
    forward_at_widths(net, torch.ones(3, 2), torch.tensor([2, 2, 2]))
    assert net.positions == [2]


def test_a_batch_in_order_is_not_copied(calls):
    net, x = VariableLinear(2, Width(4)), torch.randn(2 * _SMALLEST_RUN, 2)
    forward_at_widths(net, x, torch.tensor([1, 4]).repeat_interleave(_SMALLEST_RUN))
    (_, (first,), _), (_, (second,), _) = calls
    assert first.data_ptr() == x.data_ptr()
    assert second.data_ptr() == x[_SMALLEST_RUN:].data_ptr()


def test_the_output_of_a_batch_of_one_width_is_not_copied(calls):
    width = Width(4)
    net = nn.Sequential(VariableLinear(2, width), VariableLinear(width, 3))
    result = forward_at_widths(net, torch.ones(3, 2), torch.tensor([2, 2, 2]))
    (output,) = outputs_of(net, calls)
    assert result is output


def test_runs_of_a_shuffled_batch_go_back_to_their_places():
    net = Witness()
    widths = torch.tensor([3, 1]).repeat(_SMALLEST_RUN)
    x = torch.randn(len(widths), 2)
    output = forward_at_widths(net, x, widths)
    assert net.positions == [1, 3]
    for row in range(4):
        with at_width(net, int(widths[row])):
            expected = net.layer(x[row])
        torch.testing.assert_close(output[row, : len(expected)], expected)
        assert not output[row, len(expected) :].any()


def test_the_axis_that_a_module_names_lies_last_unless_it_says_where():
    net, widths = Witness(), torch.tensor([1, 3])
    x = torch.randn(2, 5, 2)
    whole = x @ net.layer.weight.T + net.layer.bias
    expected = whole.masked_fill(torch.arange(4) >= widths[:, None, None], 0)
    torch.testing.assert_close(forward_at_widths(net, x, widths), expected)
    assert output_axis(net) == (net.out_axis, -1)


@pytest.mark.parametrize("model", [nn.Flatten(), nn.Sequential(), nn.Sequential(nn.ReLU())])
def test_a_model_that_names_no_axis_has_a_fixed_output(model):
    assert output_axis(model) == (0, -1)


def dense(conditioned=False):
    hidden = Width(64)
    return MLP(3, (hidden, hidden), 2, nn.Sigmoid, conditioned=conditioned).double()


def convolutional():
    channels = Width(64)
    layers = [VariableConv1d(3, channels, 1), nn.Sigmoid(), VariableConv1d(channels, channels, 1)]
    return nn.Sequential(*layers, nn.Sigmoid()).double()


def opening():
    """A network whose inputs and outputs vary, too."""
    width = Width(64)
    return nn.Sequential(VariableLinear(width, width), nn.Sigmoid()).double()


@pytest.mark.parametrize(
    ("build", "shape", "smallest"),
    [
        (dense, (3,), _SMALLEST_RUN),
        (opening, (64,), _SMALLEST_RUN),
        (convolutional, (3, 2), _SMALLEST_RUN_OF_IMAGES),
    ],
)
def test_samples_of_many_widths_are_sorted_into_blocks_as_wide_as_their_widest(
    build, shape, smallest, calls
):
    net, rows = build(), 2 * smallest * _BLOCKS + 5
    x = torch.randn(rows, *shape).double()
    widths = torch.randint(1, 64, (rows,), generator=torch.Generator().manual_seed(0))
    found = forward_at_widths(net, x, widths)
    sizes = [output.shape[:2] for output in outputs_of(net[0], calls)]
    found.square().sum().backward()
    ordered = widths.sort().values
    assert sizes == [(len(block), block.max()) for block in ordered.tensor_split(_BLOCKS)]
    gradients = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    # By definition: one masked call.
    with at_width(net, widths):
        expected = net(x)
    axis, dim = output_axis(net)
    if isinstance(axis, Width):
        units = torch.arange(64).view(-1, *[1] * (-1 - dim))
        expected = expected.where(units < widths.view(-1, *[1] * (expected.dim() - 1)), 0.0)
    expected.square().sum().backward()
    torch.testing.assert_close(found, expected)
    for found, parameter in zip(gradients, net.parameters(), strict=True):
        torch.testing.assert_close(found, parameter.grad)
    assert axis == 2 or axis.control.widest == 64


@pytest.mark.parametrize(
    "build",
    [
        lambda: dense(conditioned=True),
        lambda: with_norm(VariableBatchNorm1d),
        lambda: with_norm(VariableLayerNorm),
    ],
)
def test_layers_that_take_more_than_first_units_are_masked_in_one_call(build, calls):
    net, rows = build(), 2 * _SMALLEST_RUN * _BLOCKS
    forward_at_widths(net, torch.randn(rows, 3).double(), torch.arange(rows) % 64 + 1)
    assert [output.shape for output in outputs_of(net[0], calls)] == [(rows, 64)]


def with_norm(norm):
    width = Width(64)
    return nn.Sequential(VariableLinear(3, width), norm(width), VariableLinear(width, 2)).double()


@pytest.mark.parametrize(("missing", "blocks"), [(0, 2), (1, 1)])
def test_a_block_has_twice_the_rows_of_the_smallest_run(missing, blocks, calls):
    net, rows = dense(), 4 * _SMALLEST_RUN - missing
    forward_at_widths(net, torch.randn(rows, 3).double(), torch.arange(rows) % 64 + 1)
    sizes = [len(output) for output in outputs_of(net[0], calls)]
    assert len(sizes) == blocks
    assert sum(sizes) == rows
