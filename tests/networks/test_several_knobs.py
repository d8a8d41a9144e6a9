"""With several knobs each sample is computed as the network that is cut out for it alone."""

import pytest
import torch
from torch import nn

from tests.own import own_linear
from vsnn_lab import (
    MLP,
    Stratified,
    VariableBatchNorm1d,
    VariableConv1d,
    VariableLayerNorm,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    extract,
    forward_at_widths,
    make_variable,
)
from vsnn_lab.networks.forward import _SMALLEST_RUN, runs_of
from vsnn_lab.networks.gate import is_maskable, output_axis
from vsnn_lab.widths import kept_ranges, width_controls


def plain_chain():
    return MLP(3, (Width(6), Width(4), Width(5)), 2, nn.Sigmoid)


def joined():
    """Axes joined of several knobs, which masks and slices meet at fixed offsets."""
    one, other = Width(4), WidthControl(5, rounded=True).axis(7)
    both = one + 2 + other
    return nn.Sequential(
        VariableLinear(3, both), nn.Sigmoid(), VariableLayerNorm(both), VariableLinear(both, one)
    )


def convolutional():
    one, other = Width(4), Width(6)
    return nn.Sequential(
        VariableConv1d(2, one, 3, padding=1),
        VariableBatchNorm1d(one),
        nn.Sigmoid(),
        VariableConv1d(one, other, 3, padding=1),
        nn.AvgPool1d(2),
        nn.Flatten(),
        VariableLinear(other * 2, 3),
    ).eval()


def conditioned():
    """A layer whose own weights follow a third knob."""
    one, other, third = Width(4), Width(6), WidthControl(5)
    net = nn.Sequential(
        VariableLinear(3, one),
        nn.Sigmoid(),
        VariableLinear(one, 4),
        own_linear(4, 5, third),
        nn.Tanh(),
        VariableLinear(5, other),
        nn.Tanh(),
        VariableLinear(other, 2),
    )
    for parameter in net.parameters():
        nn.init.normal_(parameter)
    return net


class Residual(nn.Module):
    """A network that no masked call is known to be right for."""

    def __init__(self):
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(3, 4), nn.Linear(4, 6), nn.Linear(6, 4)
        self.head = nn.Linear(4, 2)

    def forward(self, x):
        x = self.first(x).sigmoid()
        return self.head(x + self.last(self.inner(x).sigmoid()))


NETWORKS = {
    "chain": (plain_chain, (3,), True),
    "joined": (joined, (3,), True),
    "convolutional": (convolutional, (2, 4), True),
    "conditioned": (conditioned, (3,), True),
    "residual": (lambda: make_variable(Residual(), knobs="per_layer"), (3,), False),
}
DRAWS = {
    "all different": lambda rows, steps, g: torch.randint(1, steps + 1, (rows,), generator=g),
    "two runs": lambda rows, steps, g: torch.tensor([1, steps]).repeat_interleave(rows // 2),
    "runs that cross": lambda rows, steps, g: Stratified(3)(rows, steps, g)[torch.arange(rows) - 5],
    "all alike": lambda rows, steps, g: torch.full((rows,), max(1, steps - 2)),
}


def each_by_itself(model, x, widths):
    """Return the outputs of the networks cut out for each row, units that they lack zero."""
    axis, dim = output_axis(model)
    rows = []
    for row in range(len(x)):
        positions = {control: int(vector[row]) for control, vector in widths.items()}
        with torch.no_grad():
            output = extract(model, positions)(x[[row]])
        if isinstance(axis, Width):
            whole, done = output.new_zeros(1, axis.max_width), 0
            assert (dim, output.dim()) == (-1, 2)
            full = {control: control.steps for control in axis.controls} | positions
            for start, length in kept_ranges(axis, full):
                whole[:, start : start + length] = output[:, done : done + length]
                done += length
            output = whole
        rows.append(output)
    return torch.cat(rows)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("drawn", DRAWS)
def test_each_row_is_what_its_own_cut_network_computes(name, drawn):
    build, shape, maskable = NETWORKS[name]
    net, rows = build().double(), 4 * _SMALLEST_RUN + 6
    assert is_maskable(net) == maskable
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, *shape, generator=generator).double()
    widths = {c: DRAWS[drawn](rows, c.steps, generator) for c in width_controls(net)}
    found = forward_at_widths(net, x, widths)
    torch.testing.assert_close(found, each_by_itself(net, x, widths), rtol=0, atol=1e-9)
    assert all(control.position == control.steps for control in widths)


@pytest.mark.parametrize("name", ["chain", "joined", "residual"])
@pytest.mark.parametrize("large", [1, 2**20])
def test_gradients_are_those_of_each_row_by_itself(name, large, monkeypatch):
    # From this size on the gradients of several turns are summed in one tensor.
    monkeypatch.setattr("vsnn_lab.layers.corners._LARGE", large)
    build, shape, _ = NETWORKS[name]
    net, rows = build().double(), 9
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(rows, *shape, generator=generator).double()
    controls = width_controls(net)
    widths = {c: torch.randint(1, c.steps + 1, (rows,), generator=generator) for c in controls}
    forward_at_widths(net, x, widths).square().sum().backward()
    found = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    for row in range(rows):
        with at_width(net, {control: int(vector[row]) for control, vector in widths.items()}):
            net(x[[row]]).square().sum().backward()
    for gradient, parameter in zip(found, net.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=0, atol=1e-9)


def test_knobs_that_are_left_out_stay_where_they_stand():
    net = plain_chain().double()
    first, second, third = width_controls(net)
    x, vector = torch.randn(4, 3).double(), torch.tensor([2, 1, 4, 2])
    fixed = torch.full((4,), 3)
    with at_width(net, {first: 3}):
        found = forward_at_widths(net, x, {second: vector})
    expected = each_by_itself(net, x, {first: fixed, second: vector})
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    others = torch.tensor([5, 5, 1, 2])
    with at_width(net, {third: others}):
        found = forward_at_widths(net, x, {second: vector})
    expected = each_by_itself(net, x, {second: vector, third: others})
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_samples_that_agree_in_all_knobs_are_one_run(calls):
    net = plain_chain()
    controls = width_controls(net)
    vectors = torch.tensor([[2, 2, 2, 5], [4, 1, 4, 1], [5, 3, 5, 3]])
    widths = dict(zip(controls, vectors, strict=True))
    assert [length for _, length in runs_of(widths)] == [1, 1, 1, 1]
    repeated = {c: vector.repeat(2 * _SMALLEST_RUN) for c, vector in widths.items()}
    forward_at_widths(net, torch.randn(8 * _SMALLEST_RUN, 3), repeated)
    sizes = [tuple(output.shape) for module, _, output in calls if module is net[0]]
    assert sizes == [(size * _SMALLEST_RUN, w) for size, w in ((2, 2), (4, 2), (2, 5))]


def test_a_dict_for_one_knob_is_its_vector():
    net = MLP(3, (Width(6),), 2)
    x, widths = torch.randn(4, 3), torch.tensor([1, 6, 2, 2])
    found = forward_at_widths(net, x, dict.fromkeys(width_controls(net), widths))
    assert found.equal(forward_at_widths(net, x, widths))


@pytest.mark.parametrize(
    ("widths", "error", "message"),
    [
        (torch.ones(4).long(), ValueError, "model must have one knob for a single width, got 3"),
        ({}, ValueError, "widths must name at least one knob, got none; the model has"),
        ({WidthControl(2): torch.ones(4).long()}, ValueError, r"knobs of the model, got WidthC"),
        ({6: torch.ones(3).long()}, ValueError, "one entry for each of the 4 samples, got 3"),
        ({6: torch.full((4,), 7)}, ValueError, r"widths must lie in 1\.\.6, got 7; WidthControl"),
        ({6: 2}, TypeError, r"widths must be a LongTensor of shape \(batch,\), got 2"),
        (
            {6: torch.ones(4)},
            TypeError,
            "widths must be an integer tensor, got dtype torch.float32",
        ),
    ],
)
def test_what_is_no_width_for_each_sample_is_refused(widths, error, message):
    net = plain_chain()
    if isinstance(widths, dict):
        named = {control.steps: control for control in width_controls(net)}
        widths = {named.get(key, key): vector for key, vector in widths.items()}
    with pytest.raises(error, match=message):
        forward_at_widths(net, torch.ones(4, 3), widths)
