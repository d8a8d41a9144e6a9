"""Layers with weights for each octave: sliced, masked, side by side and extracted are one thing."""

import copy
import pickle

import pytest
import torch
from torch import nn

from vsnn_lab import (
    MLP,
    ConvNet,
    OctaveConv2d,
    OctaveLinear,
    Width,
    WidthControl,
    at_width,
    count_parameters,
    extract,
)
from vsnn_lab.layers.by_octave import _OWN_PACE, _PACE
from vsnn_lab.layers.octaves import octave_of, octave_tops, octaves_with_weights
from vsnn_lab.layers.side_by_side import at_several_positions


def filled(net: nn.Module) -> nn.Module:
    """Give corrections values, too, which start at zero."""
    for parameter in net.parameters():
        nn.init.normal_(parameter, 0, 0.3)
    return net.double()


def dense(steps: int = 20) -> MLP:
    hidden = WidthControl(steps)
    # Two units a step, then one: the knob counts positions, not units.
    axes = hidden.axis(2 * steps), hidden.axis(steps)
    return filled(MLP(7, axes, 3, nn.Tanh, conditioned=True))


def convolutional() -> ConvNet:
    channels = Width(20)
    return filled(ConvNet((2, 9, 6), (channels, channels), 3, nn.Tanh, conditioned=True))


def inputs(net: nn.Module, rows: int) -> torch.Tensor:
    shape = getattr(net, "shape", (7,))
    return torch.randn(rows, *shape, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 8, 20, 32, 33, 64])
def test_octaves_cover_every_width_below_the_full_one_once(steps):
    tops = octave_tops(steps)
    found = [octave_of(position) for position in range(1, steps)]
    by_hand = [next(i for i, top in enumerate(tops) if p <= top) for p in range(1, steps)]
    assert found == by_hand
    assert set(found) == set(range(len(tops)))
    share = 2 if steps <= 32 else 4
    own = octaves_with_weights(steps)
    assert all(top <= steps / share for top in tops[:own])
    assert all(top > steps / share for top in tops[own:])


@pytest.mark.parametrize("build", [dense, convolutional])
@pytest.mark.parametrize("width", range(1, 21))
def test_sliced_masked_and_extracted_agree_and_what_an_octave_adds_folds_away(build, width):
    net = build()
    x = inputs(net, 5)
    cut = extract(net, width)
    with at_width(net, width):
        torch.testing.assert_close(net(x), cut(x), rtol=1e-10, atol=1e-12)
    mixed = torch.tensor([width, 1, 20, width, 6])
    with at_width(net, mixed):
        masked = net(x)
    expected = torch.cat([extract(net, int(w))(x[i : i + 1]) for i, w in enumerate(mixed)])
    torch.testing.assert_close(masked, expected, rtol=1e-10, atol=1e-12)
    assert not any(type(module).__module__.startswith("vsnn_lab") for module in cut.modules())
    assert count_parameters(net, width) == sum(p.numel() for p in cut.parameters())
    plain = MLP(7, (2 * width, width), 3) if build is dense else ConvNet((2, 9, 6), (width,) * 2, 3)
    assert {n: p.shape for n, p in cut.named_parameters()} == {
        n: p.shape for n, p in plain.named_parameters()
    }


def test_several_widths_side_by_side_are_what_each_is_alone():
    net = dense(40)
    x = inputs(net, 6)
    knob = net[0].control
    for positions in ([1, 2, 3, 5], [1, 2, 4, 8], [1, 2, 3, 7]):
        with at_several_positions(knob, positions):
            found = net(x)
        assert found.shape == (6, 4, 3)
        for index, position in enumerate(positions):
            with at_width(net, position):
                torch.testing.assert_close(found[:, index], net(x), rtol=1e-10, atol=1e-12)
    assert knob.position == 40


def test_side_by_side_trains_what_each_width_would_train_alone():
    net = dense(40)
    x, positions = inputs(net, 6), [1, 2, 3, 7]
    with at_several_positions(net[0].control, positions):
        net(x).square().sum().backward()
    together = {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}
    net.zero_grad()
    for position in positions:
        with at_width(net, position):
            net(x).square().sum().backward()
    for name, gradient in together.items():
        alone = dict(net.named_parameters())[name].grad
        torch.testing.assert_close(gradient, alone, rtol=1e-9, atol=1e-12, msg=name)
    # A narrow width is built on what all share, and does not pull at it.
    assert {name.partition(".")[2] for name in together} == {"own_weight", "own_bias"}


@pytest.mark.parametrize("build", [dense, convolutional])
def test_widths_of_their_own_train_the_weights_that_one_width_for_all_would(build):
    net, widths = build(), [1, 3, 5, 4, 7, 19, 20]
    x = inputs(net, len(widths))
    with at_width(net, torch.tensor(widths)):
        net(x).square().sum().backward()
    masked = {name: p.grad.clone() for name, p in net.named_parameters()}
    net.zero_grad()
    for row, width in zip(x, widths, strict=True):
        with at_width(net, width):
            net(row.unsqueeze(0)).square().sum().backward()
    for name, parameter in net.named_parameters():
        close = torch.testing.assert_close
        close(masked[name], parameter.grad, rtol=1e-9, atol=1e-12, msg=name)


def test_an_octave_adds_its_own_weights_at_their_pace():
    knob = WidthControl(8)
    layer = OctaveLinear(3, knob.axis(8), knob).double()
    own = nn.init.ones_(layer.own_weight)
    x = torch.randn(4, 3).double()
    with at_width(knob, 2):
        found = layer(x)
    weight = layer.weight[:2] + _OWN_PACE * own[-6:].view(2, 3)
    torch.testing.assert_close(found, x @ weight.T + layer.bias[:2])


def test_full_width_is_an_ordinary_layer_that_corrections_leave_alone():
    net = dense()
    plain = MLP(7, (40, 20), 3, nn.Tanh).double()
    plain.load_state_dict(
        {name: value for name, value in net.state_dict().items() if name in plain.state_dict()}
    )
    x = inputs(net, 4)
    assert torch.equal(net(x), plain(x))
    net(x).sum().backward()
    touched = {name.partition(".")[2] for name, p in net.named_parameters() if p.grad is not None}
    assert touched == {"weight", "bias"}


def test_a_wider_octave_scales_and_shifts_the_outputs():
    knob = WidthControl(40)  # own weights up to 8, then 9..16, 17..32 and 33..39
    layer = OctaveLinear(3, knob.axis(40), knob).double()
    with torch.no_grad():
        layer.scale[1, :] = 0.2
        layer.shift[1, :] = -0.1
    x = torch.randn(4, 3).double()
    with at_width(knob, 20):
        found = layer(x)
    bare = x @ layer.weight[:20].T + layer.bias[:20]
    torch.testing.assert_close(found, bare * (1 + _PACE * 0.2) - _PACE * 0.1)


def test_untrained_it_is_the_variable_layer_at_every_width():
    knob = WidthControl(12)
    torch.manual_seed(0)
    net = MLP(5, (knob.axis(12),), 2, conditioned=True)
    torch.manual_seed(0)
    other = MLP(5, (Width(12),), 2)
    x = torch.randn(3, 5)
    for width in range(1, 13):
        with at_width(net, width), at_width(other, width):
            torch.testing.assert_close(net(x), other(x))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_a_knob_of_its_own_that_also_conditions_it(clone):
    net = dense()
    other = clone(net)
    x = inputs(net, 2)
    with at_width(net, 3):
        expected = net(x)
    with at_width(other, 3):
        torch.testing.assert_close(other(x), expected)
        assert net[0].control.position == 20


def test_what_cannot_be_conditioned_is_refused():
    with pytest.raises(TypeError, match=r"control must be a WidthControl, got Width\(4\)"):
        OctaveLinear(3, 4, Width(4))
    with pytest.raises(TypeError, match="groups must be left out, got 2"):
        OctaveConv2d(4, 4, 3, WidthControl(4), groups=2)
    with pytest.raises(ValueError, match=r"conditioned must be False unless all .* one knob, got"):
        MLP(3, (Width(4), Width(4)), 2, conditioned=True)
    with pytest.raises(ValueError, match=r"conditioned must be False unless .* got \[\]"):
        MLP(3, (4,), 2, conditioned=True)
    with pytest.raises(ValueError, match="channels must name at least one convolution, got none"):
        ConvNet((1, 8, 8), (), 2)
    with pytest.raises(ValueError, match=r"shape must be \(channels, height, width\), got \(8,\)"):
        ConvNet((8,), (4,), 2)
    knob = WidthControl(16)
    with pytest.raises(ValueError, match="first 4 octaves, one in each, got"):  # noqa: SIM117
        with at_several_positions(knob, [1, 3, 4]):
            pass
    assert knob.position == 16


@pytest.mark.parametrize("steps", [2, 20, 64])
def test_with_own_weights_for_all_octaves_full_width_shares_with_none(steps):
    units = Width(steps)
    layers = [
        OctaveLinear(fan_in, fan_out, units.control, own_share=1)
        for fan_in, fan_out in ((7, units), (units, units), (units, 3))
    ]
    net = filled(nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2]))
    x, tops = inputs(net, 6), octave_tops(steps)
    with torch.no_grad():
        full = nn.Sequential(*(each if isinstance(each, nn.Tanh) else plain(each) for each in net))
    torch.testing.assert_close(net(x), full(x), rtol=1e-12, atol=1e-12)
    with at_several_positions(units.control, tops, 1):
        found = net(x)
    for index, width in enumerate(tops):
        with at_width(net, width):
            torch.testing.assert_close(found[:, index], net(x), rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(net(x), extract(net, width)(x), rtol=1e-10, atol=1e-12)
    with at_width(net, torch.tensor([steps, 1, steps - 1, steps, 1, steps])):
        torch.testing.assert_close(net(x)[0], full(x)[0], rtol=1e-10, atol=1e-12)
    found.sum().backward()
    assert all(layer.weight.grad is None and layer.bias.grad is None for layer in layers)
    torch.testing.assert_close(extract(net, steps)(x), full(x), rtol=1e-12, atol=1e-12)


def plain(layer: OctaveLinear) -> nn.Linear:
    """Copy weight and bias into a layer of torch's."""
    copied = nn.Linear(layer.in_features, layer.out_features, dtype=torch.float64)
    copied.weight.copy_(layer.weight)
    copied.bias.copy_(layer.bias)
    return copied


def test_a_share_that_is_none_is_refused():
    with pytest.raises(ValueError, match=r"own_share must lie in \[0, 1\], got 2"):
        OctaveLinear(2, 2, WidthControl(4), own_share=2)


@pytest.mark.parametrize(("rows", "folded"), [(11, False), (12, True)])
def test_a_wider_octaves_scale_goes_to_the_weights_where_they_are_fewer(rows, folded, monkeypatch):
    calls, scaled = [], OctaveLinear._fold_scale
    monkeypatch.setattr(
        OctaveLinear, "_fold_scale", lambda *args: calls.append(args) or scaled(*args)
    )
    units = Width(16)
    layer = OctaveLinear(3, units, units.control)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(rows, 3)
    with at_width(layer, 11):
        found = layer(x)
    assert bool(calls) == folded
    torch.testing.assert_close(found, extract(layer, 11)(x))
