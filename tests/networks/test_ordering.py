"""Ordering units: full width computes what it did, and the most useful units come first."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, prune

from tests.own import own_linear
from vsnn_lab import (
    VariableBatchNorm2d,
    VariableConv1d,
    VariableConv2d,
    VariableConvTranspose2d,
    VariableEmbedding,
    VariableGroupNorm,
    VariableLayerNorm,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    extract,
    make_variable,
)
from vsnn_lab.networks import Taylor, TiedAxis, order_units
from vsnn_lab.widths import width_controls


def knob():
    return WidthControl(5, rounded=True)


class Residual(nn.Module):
    """Two blocks of convolution and norm, whose outputs are added to their inputs."""

    def __init__(self):
        super().__init__()
        stream, inner = knob().axis(7), knob().axis(6)
        self.stem = VariableConv2d(2, stream, 3, padding=1, bias=False)
        self.norms = nn.ModuleList(VariableBatchNorm2d(a) for a in (stream, inner, stream))
        self.wide = VariableConv2d(stream, inner, 1, bias=False)
        self.narrow = VariableConv2d(inner, stream, 3, padding=1)
        self.head = VariableLinear(stream * 4, 3)

    def forward(self, x):
        first, second, third = self.norms
        x = first(self.stem(x)).relu()
        x = x + third(self.narrow(second(self.wide(x)).tanh()))
        return self.head(F.adaptive_avg_pool2d(x, 2).flatten(1))


class Attention(nn.Module):
    """Fused queries, keys and values of whole heads, and a residual stream."""

    def __init__(self):
        super().__init__()
        stream, heads = knob().axis(6), knob().axis(4) * 3
        self.table, self.norm = VariableEmbedding(11, stream), VariableLayerNorm(stream)
        self.fused, self.out = (
            VariableLinear(stream, heads + heads + heads),
            VariableLinear(heads, stream),
        )
        self.head = VariableLinear(stream, 11, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        x = self.table(tokens)
        q, k, v = (
            part.unflatten(-1, (-1, 3)).transpose(1, 2)
            for part in self.fused(self.norm(x)).chunk(3, -1)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head(x + self.out(mixed))


class Concatenation(nn.Module):
    """Two branches joined; the second goes on by itself, too."""

    def __init__(self):
        super().__init__()
        a, b = knob().axis(5), knob().axis(4)
        self.first, self.second = VariableLinear(3, a), VariableLinear(3, b)
        self.joined, self.single = VariableLinear(a + 2 + b, 3), VariableLinear(b, 3)

    def forward(self, x):
        b = self.second(x).tanh()
        return self.joined(torch.cat([self.first(x).relu(), x[:, :2], b], -1)) + self.single(b)


def mlp():
    a, b = knob().axis(7), knob().axis(5)
    return nn.Sequential(
        VariableLinear(3, a), nn.ReLU(), VariableLinear(a, b), nn.Tanh(), VariableLinear(b, 2)
    )


def depthwise():
    a, b = knob().axis(6), knob().axis(5)
    return nn.Sequential(
        VariableConv2d(2, a, 1), VariableBatchNorm2d(a), nn.ReLU6(),
        VariableConv2d(a, a * 2, 3, groups=6, bias=False), VariableBatchNorm2d(a * 2),
        VariableConv2d(a * 2, b, 1), nn.Flatten(), VariableLinear(b * 9, 3),
    )  # fmt: skip


def grouped():
    groups = knob().axis(3)
    return nn.Sequential(
        VariableConv2d(2, groups * 4, 1), VariableGroupNorm(3, groups * 4), nn.SiLU(),
        VariableConv2d(groups * 4, groups * 2, 3, groups=3),
        VariableConvTranspose2d(groups * 2, groups * 5, 2, groups=3),
        VariableConvTranspose2d(groups * 5, 2, 2),
    )  # fmt: skip


def shared_layers():
    """Layers of one weight, on a knob that is not rounded, of two units a step."""
    axis = WidthControl(3).axis(6)
    net = nn.Sequential(
        VariableLinear(3, axis), nn.ReLU(), VariableLinear(axis, axis), nn.ReLU(),
        VariableLinear(axis, axis), VariableLinear(axis, 2),
    )  # fmt: skip
    net[4].weight = net[2].weight
    net[4].bias.data = net[2].bias.data  # other parameters in the same memory
    return net


IMAGES = torch.randn(3, 2, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
ROWS, TOKENS = IMAGES[:, 0, 0, :3], torch.arange(20).view(4, 5) % 11
NETWORKS = {
    mlp: ROWS,
    Residual: IMAGES,
    Attention: TOKENS,
    Concatenation: ROWS,
    depthwise: IMAGES,
    grouped: IMAGES,
    shared_layers: ROWS,
}
each_network = pytest.mark.parametrize("build", NETWORKS, ids=lambda build: build.__name__)


def network(build, seed=0):
    net = build().double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if tensor.is_floating_point():
                low = 0.2 if "var" in name else -0.5
                tensor.copy_(torch.rand(tensor.shape, generator=generator).double() + low)
    return net


def reverse(axis: TiedAxis):
    return range(axis.units)


ORDERS = {"magnitude": "magnitude", "reverse": reverse}


@each_network
@pytest.mark.parametrize("order", [*ORDERS, "taylor"])
def test_full_width_computes_what_it_did_to_rounding(build, order):
    net, x = network(build), NETWORKS[build]
    before = copy.deepcopy(net)
    orders = order_units(net, ORDERS.get(order) or Taylor([x]))
    torch.testing.assert_close(net(x), before(x), rtol=1e-12, atol=1e-12)
    assert len(orders) == len(width_controls(net))
    if order == "reverse":
        assert all(each.tolist() == [*range(len(each))][::-1] for each in orders.values())
        with at_width(net, dict.fromkeys(width_controls(net), 1)):
            assert not torch.allclose(net(x), extract(before, dict.fromkeys(
                width_controls(before), 1))(x))  # fmt: skip
    for control in width_controls(net):
        small = extract(net, {control: 2})
        with at_width(net, {control: 2}):
            torch.testing.assert_close(net(x), small(x), rtol=1e-9, atol=1e-9)


@each_network
def test_nothing_changes_where_units_are_alike(build):
    net = network(build)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    order_units(net, lambda axis: torch.ones(axis.units))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_converted_network_is_ordered_along_each_of_its_axes():
    plain = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 8), nn.ReLU(),
        nn.Linear(8, 2),
    ).double().eval()  # fmt: skip
    net = make_variable(plain, IMAGES, knobs="per_layer")
    orders = order_units(net)
    assert [len(order) for order in orders.values()] == [6, 8]
    torch.testing.assert_close(net(IMAGES), plain(IMAGES), rtol=1e-12, atol=1e-12)


def test_the_largest_norms_come_first():
    hidden = Width(4)
    net = nn.Sequential(VariableLinear(2, hidden), VariableLinear(hidden, 3))
    for layer, norms in (net[0], [1.0, 2.0, 4.0, 3.0]), (net[1], [3.0, 3.0, 0.5, 3.0]):
        weight = layer.weight.data if layer is net[0] else layer.weight.data.T
        weight.copy_(F.normalize(torch.randn(weight.shape), dim=1) * torch.tensor([norms]).T)
    # 1 * 3, 2 * 3, 4 / 2 and 3 * 3.
    assert order_units(net)["0.weight"].tolist() == [3, 1, 0, 2]


def test_a_function_sees_what_belongs_to_each_unit():
    net, seen = network(Attention), {}
    order_units(net, lambda axis: seen.setdefault(axis.name, axis) and torch.zeros(axis.units))
    stream, heads = seen["table.weight"], seen["fused.weight"]
    assert (stream.units, heads.units) == (6, 4)
    assert {name: tuple(value.shape) for name, value in heads.tensors.items()} == {
        "fused.weight": (4, 3 * 3 * 6), "fused.bias": (4, 9), "out.weight": (4, 3 * 6),
    }  # fmt: skip
    assert torch.equal(
        heads.tensors["fused.bias"][1], net.fused.bias[[3, 4, 5, 15, 16, 17, 27, 28, 29]]
    )
    assert torch.equal(stream.tensors["fused.weight"][2], net.fused.weight[:, 2])
    assert "head.weight" not in stream.tensors  # it is the table's


def test_taylor_scores_are_gradients_times_weights():
    net, x = network(mlp), ROWS
    y = torch.zeros(3, 2, dtype=torch.float64)
    by_hand = copy.deepcopy(net)
    F.mse_loss(by_hand(x), y).backward()
    made, bias, used = by_hand[0].weight, by_hand[0].bias, by_hand[2].weight
    scores = (made * made.grad).sum(1).abs() + (bias * bias.grad).abs()
    scores += (used * used.grad).sum(0).abs()
    orders = order_units(net, Taylor([(x, y)], F.mse_loss))
    assert orders["0.weight"].tolist() == scores.argsort(descending=True).tolist()


def test_taylor_without_a_loss_finds_the_units_that_the_output_hangs_on():
    hidden = Width(3)
    net = nn.Sequential(VariableLinear(2, hidden), nn.ReLU(), VariableLinear(hidden, 2))
    with torch.no_grad():
        net[0].bias.copy_(torch.tensor([-100.0, 0.0, 0.0]))  # the first one is never active
        net[2].weight.copy_(torch.tensor([[9.0, 0.1, 1.0], [9.0, 0.1, 1.0]]))
        net[0].weight.fill_(1)
    state = torch.get_rng_state()
    net.train()
    assert order_units(net, Taylor([torch.rand(8, 2)]))["0.weight"].tolist() == [2, 1, 0]
    assert net.training
    assert all(parameter.grad is None for parameter in net.parameters())
    assert not torch.equal(state, torch.get_rng_state())  # by the inputs alone
    state = torch.get_rng_state()
    order_units(net, Taylor([torch.ones(8, 2)]))
    assert torch.equal(state, torch.get_rng_state())


def test_tensors_that_share_memory_and_differ_in_axes_are_refused():
    hidden = knob().axis(4)
    net = nn.Sequential(VariableLinear(4, hidden), nn.Linear(4, 4), VariableLinear(hidden, 4))
    net[1].weight = net[0].weight
    before = net[0].weight.clone()
    with pytest.raises(ValueError, match=r"must have the same axes .* '0.weight' and '1.weight'"):
        order_units(net)
    net[1].weight = nn.Parameter(net[2].weight.data.T)
    with pytest.raises(ValueError, match=r"must have the same axes .* '1.weight' and '2.weight'"):
        order_units(net)
    assert torch.equal(net[0].weight, before)


@pytest.mark.parametrize(
    "recompute",
    [
        lambda layer: prune.l1_unstructured(layer, "weight", 2),
        parametrizations.weight_norm,
        parametrizations.orthogonal,
    ],
)
def test_recomputed_weights_are_refused_by_name(recompute):
    net = mlp()
    recompute(net[2])
    with pytest.raises(ValueError, match=r"weight of the layer '2' must be a parameter"):
        order_units(net)


def test_layers_with_tensors_of_their_own_for_widths_are_refused():
    hidden = Width(4)
    net = nn.Sequential(own_linear(3, hidden), VariableLinear(hidden, 2))
    with pytest.raises(ValueError, match=r"got own_weights in the layer '0'"):
        order_units(net)


@pytest.mark.parametrize(
    "scores", [None, [1.0, 2.0], [1.0, 2.0, float("nan"), 0.0], torch.ones(4, 1), [1j] * 4]
)
def test_scores_must_be_one_finite_number_for_each_unit(scores):
    hidden = Width(4)
    net = nn.Sequential(VariableConv1d(1, hidden, 1), VariableConv1d(hidden, 1, 1))
    with pytest.raises(
        ValueError, match=r"order must give a finite number for each of the 4 units"
    ):
        order_units(net, lambda axis: scores)


@pytest.mark.parametrize("order", ["size", None, 3])
def test_an_order_must_be_known(order):
    with pytest.raises(TypeError, match=r'order must be "magnitude", a Taylor score or a function'):
        order_units(mlp(), order)


def test_taylor_says_what_its_batches_must_be():
    with pytest.raises(TypeError, match="batches must be an iterable of inputs"):
        Taylor(ROWS)
    with pytest.raises(TypeError, match="loss must be a function of output and target"):
        Taylor([], loss="mse")
    with pytest.raises(ValueError, match="batches must hold at least one batch, got none"):
        order_units(mlp(), Taylor([]))
    with pytest.raises(TypeError, match="batches must hold pairs"):
        order_units(mlp(), Taylor([torch.ones(2, 3)], F.mse_loss))
