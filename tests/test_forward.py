"""What runs sliced, what masked, and what is left where it lies."""

import pytest
import torch
from torch import nn

from vsnn_lab import VariableLinear, Width, at_width, forward_at_widths
from vsnn_lab.forward import _SMALLEST_RUN, output_axis


class Witness(nn.Module):
    """A layer that notes where the knob stood and where its input lay, call by call."""

    def __init__(self):
        super().__init__()
        self.layer = VariableLinear(2, Width(4))
        self.out_axis = self.layer.out_axis
        self.positions, self.inputs = [], []

    def forward(self, x):
        self.positions.append(self.out_axis.control.position)
        self.inputs.append(x)
        return self.layer(x)


@pytest.mark.parametrize("parts", [2, 3])
def test_the_smallest_run_is_sliced_and_a_batch_of_one_sample_less_is_masked(parts):
    net, widths = Witness(), torch.arange(1, parts + 1).repeat_interleave(_SMALLEST_RUN)
    x = torch.randn(len(widths), 2)
    whole = forward_at_widths(net, x, widths)
    assert net.positions == list(range(1, parts + 1))
    net.positions.clear()
    shorter = forward_at_widths(net, x[1:], widths[1:])
    assert [position.tolist() for position in net.positions] == [widths[1:].tolist()]
    torch.testing.assert_close(shorter, whole[1:])


def test_a_batch_of_one_width_is_sliced_however_small_it_is():
    net = Witness()
    forward_at_widths(net, torch.ones(3, 2), torch.tensor([2, 2, 2]))
    assert net.positions == [2]


def test_a_batch_in_order_is_not_copied():
    net, x = Witness(), torch.randn(2 * _SMALLEST_RUN, 2)
    forward_at_widths(net, x, torch.tensor([1, 4]).repeat_interleave(_SMALLEST_RUN))
    first, second = net.inputs
    assert first.data_ptr() == x.data_ptr()
    assert second.data_ptr() == x[_SMALLEST_RUN:].data_ptr()


def test_the_output_of_a_batch_of_one_width_is_not_copied():
    width, outputs = Width(4), []
    net = nn.Sequential(VariableLinear(2, width), VariableLinear(width, 3))
    net.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    result = forward_at_widths(net, torch.ones(3, 2), torch.tensor([2, 2, 2]))
    assert len(outputs) == 1
    assert result is outputs[0]


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
