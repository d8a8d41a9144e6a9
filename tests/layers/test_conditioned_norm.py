import copy
import pickle

import pytest
import torch
from torch import nn

from vsnn_lab import (
    ConditionedRMSNorm,
    VariableLinear,
    Width,
    WidthControl,
    at_width,
    condition_norms,
    extract,
    forward_at_widths,
    layers,
    make_variable,
)
from vsnn_lab.layers.conditioned_norm import _PACE

STEPS = 6
NORMS = {
    "RMSNorm": ((2, 12), lambda axis: layers.VariableRMSNorm(axis, eps=1e-5)),
    "LayerNorm": ((2, 12), layers.VariableLayerNorm),
    "GroupNorm": ((2, 12, 3), lambda axis: layers.VariableGroupNorm(2, axis)),
    "BatchNorm1d": ((2, 12, 3), layers.VariableBatchNorm1d),
    "BatchNorm2d": ((2, 12, 3, 2), layers.VariableBatchNorm2d),
    "BatchNorm3d": ((2, 12, 3, 2, 2), layers.VariableBatchNorm3d),
}
FIXED = {
    "RMSNorm": lambda: nn.RMSNorm(12, eps=1e-5),
    "LayerNorm": lambda: nn.LayerNorm(12),
    "GroupNorm": lambda: nn.GroupNorm(2, 12),
    "BatchNorm1d": lambda: nn.BatchNorm1d(12),
    "BatchNorm2d": lambda: nn.BatchNorm2d(12),
    "BatchNorm3d": lambda: nn.BatchNorm3d(12),
}


def randomized(net):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) / 3)
    return net.double().eval()


def variable(kind, per="position"):
    shape, make = NORMS[kind]
    axis = WidthControl(2 if kind == "GroupNorm" else STEPS).axis(12)
    net = nn.Sequential(make(axis))
    assert condition_norms(net, per) == ["0"]
    return randomized(net), torch.randn(shape).double()


def units_last(y, norm):
    return y.movedim(1, -1) if norm.unit_dim == 1 else y


@pytest.mark.parametrize("kind", NORMS)
def test_each_position_scales_the_plain_norm_by_its_own_gain(kind):
    net, x = variable(kind)
    norm = net[0]
    plain = copy.deepcopy(FIXED[kind]().double().eval())
    nn.init.ones_(plain.weight)
    steps = norm.axis.control.steps
    for position in range(1, steps + 1):
        kept = norm.axis.at(position)
        if kind == "GroupNorm":
            plain.num_groups = kept // 6
        first = x[:, :kept]
        small = type(plain)(*( (plain.num_groups, kept) if kind == "GroupNorm" else (kept,)),
                            eps=plain.eps).double().eval()  # fmt: skip
        expected = units_last(small(first), norm)
        weight = norm.weight[:kept] * (1 + _PACE * norm.gain[position - 1, :kept])
        expected = expected * weight
        if getattr(norm, "bias", None) is not None:
            expected = expected + norm.bias[:kept] + _PACE * norm.own_shift[position - 1, :kept]
        with at_width(net, position):
            torch.testing.assert_close(units_last(net(x), norm), expected)


@pytest.mark.parametrize("per", ["position", "octave"])
@pytest.mark.parametrize("kind", NORMS)
def test_sliced_masked_and_cut_agree_and_a_cut_is_torchs_norm(kind, per):
    net, x = variable(kind, per)
    steps = net[0].axis.control.steps
    widths = torch.tensor([1, steps])
    with at_width(net, widths):
        masked = net(x)
    torch.testing.assert_close(forward_at_widths(net, x, widths)[1], masked[1])
    for width in range(1, steps + 1):
        with at_width(net, width):
            sliced = net(x)
        cut = extract(net, width)
        assert type(cut[0]).__module__.startswith("torch.nn.modules.")
        torch.testing.assert_close(cut(x[:, : net[0].axis.at(width)]), sliced)
        for row in (widths == width).nonzero().flatten().tolist():
            torch.testing.assert_close(masked[row, : sliced.shape[1]], sliced[row])


@pytest.mark.parametrize("kind", FIXED)
def test_a_norm_over_a_fixed_axis_knows_the_knobs_of_the_network(kind):
    shape = NORMS[kind][0]
    hidden = Width(STEPS)
    last = {1: nn.Identity(), 2: nn.Flatten(2)}.get(len(shape) - 1, nn.Flatten(2))
    size = torch.zeros(shape).flatten(2).shape[-1] if len(shape) > 2 else 12
    layers_of = [FIXED[kind](), last, VariableLinear(size, hidden), VariableLinear(hidden, 2)]
    net = nn.Sequential(*layers_of)
    x = torch.randn(shape).double()
    before = copy.deepcopy(net).double().eval()(x)
    assert condition_norms(net) == ["0"]
    torch.testing.assert_close(net.double().eval()(x), before)
    randomized(net)
    widths = torch.tensor([2, 5])
    with at_width(net, widths):
        masked = net(x)
    for row, width in enumerate(widths.tolist()):
        with at_width(net, width):
            sliced = net(x)
        cut = extract(net, width)
        assert type(cut[0]) is type(FIXED[kind]())
        torch.testing.assert_close(cut(x), sliced)
        torch.testing.assert_close(masked[row], sliced[row])
    with at_width(net, 2):
        other = net(x)
    assert not torch.allclose(other, net(x))


def test_of_several_knobs_the_mean_gain_counts():
    one, two = WidthControl(2), WidthControl(3)
    norm = randomized(ConditionedRMSNorm(4, [one, two], eps=1e-5))
    x = torch.randn(1, 4).double()
    with at_width(norm, {one: 1, two: 2}):
        found = norm(x)
    gain = (norm.gain[0] + norm.gain[2 + 1]) / 2
    expected = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(found, expected * norm.weight * (1 + _PACE * gain))


def test_positions_of_an_octave_share_a_gain_and_full_width_has_its_own():
    axis = Width(6)  # octaves 1, 2, 3..4, 5, and 6
    norm = randomized(ConditionedRMSNorm(4, axis.control, "octave"))
    assert norm.gain.shape == (5, 4)
    x = torch.randn(1, 4).double()

    def at(position):
        with at_width(norm, position):
            return norm(x)

    assert torch.equal(at(3), at(4))
    assert len({tuple(at(position).flatten().tolist()) for position in range(1, 7)}) == 5


def test_a_position_trains_its_own_gain_alone():
    axis = Width(4)
    norm = ConditionedRMSNorm(axis, axis.control)
    with at_width(norm, 3):
        norm(torch.randn(2, 4)).pow(3).sum().backward()
    assert (norm.gain.grad.abs().sum(1) > 0).tolist() == [False, False, True, False]


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_copy_has_knobs_of_its_own(clone):
    norm = randomized(ConditionedRMSNorm(Width(4), WidthControl(3)))
    other, x = clone(norm), torch.randn(1, 4).double()
    knob = other.condition.control
    with at_width(knob, 2):
        assert not torch.equal(other(x), norm(x))
    torch.testing.assert_close(other(x), norm(x))


def test_weights_that_were_saved_before_load_into_norms_with_gains():
    net = nn.Sequential(nn.LayerNorm(4), VariableLinear(4, Width(3)))
    state = copy.deepcopy(net.state_dict())
    condition_norms(net)
    missing = net.load_state_dict(state, strict=False)
    assert missing.missing_keys == ["0.gain", "0.own_shift"]
    assert not missing.unexpected_keys


def test_an_encoder_layer_in_evaluation_asks_its_norms():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    net = make_variable(nn.Sequential(layer, nn.Linear(8, 3)), torch.randn(2, 5, 8))
    names = condition_norms(net)
    assert any("norm1" in name for name in names)
    net = randomized(net)
    x = torch.randn(2, 5, 8).double()
    with torch.no_grad():
        fast = net(x)
    torch.testing.assert_close(fast, net.train()(x))


def test_what_has_no_norm_to_give_a_gain_is_refused():
    net = nn.Sequential(VariableLinear(3, Width(4)))
    with pytest.raises(ValueError, match="model must have a norm with a weight over one axis"):
        condition_norms(net)
    with pytest.raises(ValueError, match="model must have a variable axis, got none"):
        condition_norms(nn.LayerNorm(3))
    with pytest.raises(ValueError, match="per must be"):
        condition_norms(nn.Sequential(nn.LayerNorm(3), *net), "width")
    with pytest.raises(TypeError, match=r"controls must be WidthControls, got Width\(4\)"):
        ConditionedRMSNorm(4, Width(4))
    norm = ConditionedRMSNorm(4, WidthControl(2))
    with (
        at_width(norm, torch.tensor([1, 2])),
        pytest.raises(ValueError, match="input must have one row for each of the 2 widths"),
    ):
        norm(torch.ones(3, 4))
