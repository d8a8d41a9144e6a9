"""Layers with weights of their own for narrow widths: nested, folded away, and no pull upwards."""

import copy

import pytest
import torch
from torch import nn

from tests.networks.test_ordering import NETWORKS, Concatenation, Residual, mlp, network
from vsnn_lab import (
    VariableBatchNorm1d,
    VariableConv1d,
    VariableConv3d,
    VariableConvTranspose1d,
    VariableConvTranspose3d,
    VariableEmbedding,
    VariableLinear,
    VariableRMSNorm,
    Width,
    WidthControl,
    at_width,
    count_parameters,
    extract,
    forward_at_widths,
)
from vsnn_lab.layers.levels import level_of, level_tops, levels_of
from vsnn_lab.layers.own_weights import SwitchableLayer
from vsnn_lab.layers.switchable import SWITCHABLE
from vsnn_lab.networks import condition, order_units
from vsnn_lab.widths import width_controls, with_setting

STEPS = 12


def knob():
    return WidthControl(STEPS, rounded=True)


def volumes():
    a, b = knob().axis(7), knob().axis(6)
    return nn.Sequential(
        VariableConv3d(2, a, 1), nn.SiLU(), VariableConvTranspose3d(a, b, 2, stride=2, bias=False),
        nn.Flatten(2), VariableConv1d(b, a, 3), VariableBatchNorm1d(a), nn.Tanh(),
        VariableConvTranspose1d(a, b, 3), nn.Flatten(), VariableLinear(b * 64, 3, bias=False),
    )  # fmt: skip


def norms():
    a = Width(9)
    return nn.Sequential(
        VariableLinear(3, a, bias=False), VariableRMSNorm(a), nn.Softplus(),
        VariableBatchNorm1d(a), VariableLinear(a, 2),
    )  # fmt: skip


VOLUMES = torch.randn(3, 2, 2, 2, 2, dtype=torch.float64)
EVERY = NETWORKS | {volumes: VOLUMES, norms: NETWORKS[mlp]}
each_network = pytest.mark.parametrize("build", EVERY, ids=lambda build: build.__name__)


def conditioned_network(build, own_share=1.0):
    """Return a network with random weights of its own for narrow widths."""
    net = network(build)
    condition(net, own_share)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in own_parameters(net).values():
            parameter.copy_(torch.rand(parameter.shape, generator=generator).double() - 0.5)
    return net


def own_parameters(net):
    return {name: value for name, value in net.named_parameters() if ".own_" in f".{name}"}


def positions(net):
    """List positions of all knobs: together, apart, and one alone."""
    knobs = width_controls(net)
    for share in (1 / STEPS, 0.3, 0.5, 0.7, 1 - 1 / STEPS):
        yield {each: max(1, round(share * each.steps)) for each in knobs}
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        yield {
            each: int(torch.randint(1, each.steps + 1, (), generator=generator)) for each in knobs
        }
    for each in knobs:
        yield dict.fromkeys(knobs, 1) | {each: each.steps}


@each_network
@pytest.mark.parametrize("own_share", [1.0, 0.5])
def test_a_cut_is_what_the_network_computes(build, own_share):
    net, x = conditioned_network(build, own_share), EVERY[build]
    plain = network(build)
    for turned in positions(net):
        with at_width(net, turned):
            y = net(x)
        small = extract(net, turned)
        assert not any(isinstance(part, SwitchableLayer) for part in small.modules())
        torch.testing.assert_close(y, small(x), rtol=1e-9, atol=1e-9)
        assert count_parameters(net, turned) == sum(p.numel() for p in small.parameters())
        as_plain = dict(zip(width_controls(plain), turned.values(), strict=True))
        assert small.state_dict().keys() == extract(plain, as_plain).state_dict().keys()


@pytest.mark.parametrize("build", [mlp, Concatenation, volumes, norms], ids=lambda b: b.__name__)
def test_a_width_for_each_sample_gives_each_its_cut(build):
    net, x = conditioned_network(build), EVERY[build]
    knobs = width_controls(net)
    for seed in range(4):
        generator = torch.Generator().manual_seed(seed)
        vectors = {k: torch.randint(1, k.steps + 1, (len(x),), generator=generator) for k in knobs}
        if seed == 3:
            vectors[knobs[0]] = 2
        with at_width(net, vectors):
            y = net(x)
        for row in range(len(x)):
            turned = {k: each if k is knobs[0] and seed == 3 else int(each[row])
                      for k, each in vectors.items()}  # fmt: skip
            with at_width(net, turned):
                alone = net(x[row : row + 1])
            torch.testing.assert_close(y[row : row + 1], alone, rtol=1e-9, atol=1e-9)


def test_forward_at_widths_gives_each_sample_its_width():
    net, x = conditioned_network(norms), EVERY[norms]
    widths = torch.tensor([9, 2, 5])
    expected = torch.cat(
        [extract(net, int(w))(row[None]) for w, row in zip(widths, x, strict=True)]
    )
    torch.testing.assert_close(forward_at_widths(net, x, widths), expected)
    with at_width(net, widths), with_setting(width_controls(net)[0], widest=9):
        torch.testing.assert_close(net(x), expected)


@each_network
def test_full_width_is_what_it_was_to_the_bit(build):
    plain, net, x = network(build), conditioned_network(build), EVERY[build]
    assert torch.equal(net(x), plain(x))
    own = own_parameters(net)
    kept = {name: value for name, value in net.state_dict().items() if name not in own}
    assert kept.keys() == plain.state_dict().keys()
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in kept.items())
    assert not net.load_state_dict(plain.state_dict(), strict=False).unexpected_keys


@each_network
def test_narrow_widths_pull_at_their_own_weights_alone(build):
    net, x = conditioned_network(build), EVERY[build]
    for turned in (dict.fromkeys(width_controls(net), each) for each in (1, 2)):
        net.zero_grad()
        with at_width(net, turned):
            net(x).square().sum().backward()
        own = own_parameters(net)
        moved = {name for name, value in net.named_parameters() if value.grad is not None}
        assert moved - {"table.weight"} <= own.keys()
        assert moved
        assert any(parameter.grad.any() for name, parameter in own.items() if name in moved)
    net.zero_grad()
    net(x).square().sum().backward()
    assert not any(parameter.grad is not None for parameter in own_parameters(net).values())


@each_network
def test_nothing_is_changed_before_own_weights_are_trained(build):
    plain, net = network(build), network(build)
    condition(net)
    for turned, theirs in zip(positions(net), positions(plain), strict=True):
        with at_width(net, turned), at_width(plain, theirs):
            torch.testing.assert_close(net(EVERY[build]), plain(EVERY[build]), rtol=0, atol=0)


def test_widths_of_an_octave_share_what_they_have():
    hidden = Width(8)
    net = nn.Sequential(VariableLinear(2, hidden), VariableLinear(hidden, 2))
    condition(net)
    # Octaves 7..5, 4..3, 2 and 1: so many units, and twice as many weights.
    assert {name: [*each.shape] for name, each in net[0].own_weights.named_parameters()} == {
        **{"weight_0": [7, 2], "weight_narrow": [(4 + 2 + 1) * 2]},
        **{"bias_0": [7], "bias_narrow": [4 + 2 + 1]},
    }
    assert [net[0].widest_alike(position) for position in range(1, 9)] == [
        1,
        2,
        4,
        4,
        7,
        7,
        7,
        None,
    ]
    with torch.no_grad():
        net[0].own_weights.weight_narrow[4:6] = 1.0  # the third unit of the octave up to 4
    before = net[0].weight.detach()
    for position in range(1, 9):
        row = extract(net, position)[0].weight.detach() - before[:position]
        assert row.any() == (position in (3, 4))


def test_levels_count_from_full_width_down_and_follow_the_widest_knob():
    small, large, single = WidthControl(8), WidthControl(32), WidthControl(1)
    both = [small, large]
    assert [[*tops.values()] for tops in level_tops(both)] == [[7, 31], [4, 16], [2, 8], [1, 4]]
    assert level_tops([]) == []
    known = {(8, 32): -1, (8, 1): 0, (5, 3): 0, (4, 32): 0, (4, 9): 1, (1, 1): 3, (1, 5): 2}
    for pair, level in known.items():
        assert level_of(dict(zip(both, pair, strict=True)), both) == level
    vectors = (torch.tensor(each) for each in zip(*known, strict=True))
    assert levels_of(dict(zip(both, vectors, strict=True)), both).tolist() == [*known.values()]
    hidden = single.axis(3)
    net = nn.Sequential(VariableLinear(2, hidden), VariableLinear(hidden, Width(4)))
    assert condition(net) == ["1"]
    assert extract(net, dict(zip(width_controls(net), (1, 2), strict=True)))[1].weight.shape == (
        2,
        3,
    )


def test_every_kind_of_layer_is_made_from_the_variable_one_of_its_name():
    for variable, switchable in SWITCHABLE.items():
        assert switchable.__name__ == variable.__name__.replace("Variable", "Switchable")
        assert issubclass(switchable, variable)


def test_a_conditioned_network_is_copied_saved_and_loaded():
    net, x = conditioned_network(Residual), EVERY[Residual]
    clone = copy.deepcopy(net)
    other = network(Residual, seed=3)
    condition(other)
    other.load_state_dict(net.state_dict())
    for each in (clone, other):
        with at_width(each, dict.fromkeys(width_controls(each), 2)):
            y = each(x)
        with at_width(net, dict.fromkeys(width_controls(net), 2)):
            assert torch.equal(y, net(x))


def test_what_cannot_have_weights_of_its_own_is_refused():
    hidden = Width(4)
    for net in (nn.Linear(2, 2), VariableEmbedding(3, hidden), VariableLinear(2, 2)):
        with pytest.raises(ValueError, match="model must have a variable linear layer, conv"):
            condition(net)
    net = nn.Sequential(VariableLinear(2, hidden))
    condition(net)
    with pytest.raises(ValueError, match="for narrow widths yet, got none"):
        condition(net)
    with pytest.raises(ValueError, match=r"ordered before .* own_weights in the layer '0'"):
        order_units(net)
    with pytest.raises(ValueError, match=r"own_share must lie in \[0, 1\], got 2"):
        condition(mlp(), own_share=2)


def test_rows_and_widths_must_be_as_many():
    net = nn.Sequential(VariableLinear(2, Width(4)))
    condition(net)
    with at_width(net, torch.tensor([1, 2])), pytest.raises(ValueError, match="one row for each"):
        net(torch.ones(3, 2))


def test_octaves_up_to_the_share_have_weights_of_their_own():
    net = nn.Sequential(VariableLinear(4, Width(8)), nn.ReLU())
    condition(net, own_share=0.5)
    # Up to 1, 2 and 4 units of four inputs; the octave that ends at 7 shares those of full width.
    found = {name: each.numel() for name, each in net[0].own_weights.named_parameters()}
    assert found == {"weight_narrow": (4 + 2 + 1) * 4, "bias_narrow": 4 + 2 + 1}
