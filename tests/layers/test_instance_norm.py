"""Instance norms in training: running statistics are those of the samples that keep a channel."""

import pytest
import torch
from torch import nn

from vsnn_lab import WidthControl, at_width, layers
from vsnn_lab.networks.gate import is_maskable

KINDS = [(layers.VariableInstanceNorm1d, nn.InstanceNorm1d, (5,))]
KINDS += [(layers.VariableInstanceNorm2d, nn.InstanceNorm2d, (3, 2))]
KINDS += [(layers.VariableInstanceNorm3d, nn.InstanceNorm3d, (2, 3, 2))]
each_kind = pytest.mark.parametrize(("kind", "plain", "size"), KINDS)
OPTIONS = {"affine": True, "track_running_stats": True, "momentum": 0.3, "dtype": torch.float64}


def norms(kind, plain, channels):
    """Return a variable norm over 6 channels and torch's over some, with the same weights."""
    norm, small = kind(WidthControl(3).axis(6), **OPTIONS), plain(channels, **OPTIONS)
    with torch.no_grad():
        for name, tensor in norm.state_dict().items():
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5)
                small.state_dict()[name].copy_(tensor[:channels])
    return norm, small


@each_kind
@pytest.mark.parametrize("masked", [False, True])
def test_training_at_one_width_is_that_of_torchs_norm_of_its_channels(kind, plain, size, masked):
    for position in (1, 2, 3):
        norm, small = norms(kind, plain, 2 * position)
        x, before = torch.randn(4, 6, *size).double(), norm.running_mean.clone()
        with at_width(norm, torch.full((4,), position) if masked else position):
            found = norm(x)[:, : 2 * position]
        torch.testing.assert_close(found, small(x[:, : 2 * position]), rtol=1e-12, atol=1e-12)
        for name, value in small.state_dict().items():
            kept = (
                norm.state_dict()[name][: 2 * position] if value.dim() else norm.state_dict()[name]
            )
            torch.testing.assert_close(kept, value, rtol=1e-12, atol=1e-12)
        assert torch.equal(norm.running_mean[2 * position :], before[2 * position :])


def test_each_channel_tracks_the_samples_that_keep_it():
    norm, _ = norms(*KINDS[0][:2], 6)
    x, widths = torch.randn(3, 6, 5).double(), torch.tensor([1, 2, 1])
    before = norm.running_mean.clone(), norm.running_var.clone()
    with at_width(norm, widths):
        norm(x)
    for channel in range(6):
        rows = x[2 * widths > channel, channel]
        if not len(rows):
            rows = None
        for running, old, statistic in (
            (norm.running_mean, before[0], torch.mean),
            (norm.running_var, before[1], torch.var),
        ):
            expected = old[channel]
            if rows is not None:
                expected = (
                    0.7 * expected + 0.3 * torch.stack([statistic(row) for row in rows]).mean()
                )
            torch.testing.assert_close(running[channel], expected, rtol=1e-12, atol=1e-12)


@each_kind
def test_an_input_without_a_batch_is_one_sample(kind, plain, size):
    norm, small = norms(kind, plain, 4)
    x = torch.randn(6, *size).double()
    with at_width(norm, 2):
        torch.testing.assert_close(norm(x), small(x[:4]), rtol=1e-12, atol=1e-12)


@each_kind
def test_a_norm_over_a_fixed_axis_is_torchs(kind, plain, size):
    norm, x = kind(6), torch.randn(2, 6, *size)
    assert torch.equal(norm(x), plain(6)(x))
    with pytest.raises(ValueError, match="expected input's size at dim=1"):
        kind(6, affine=True)(x[:, :4])


def test_halves_are_those_of_torchs_norm():
    norm, plain = layers.VariableInstanceNorm2d(WidthControl(3).axis(6)), nn.InstanceNorm2d(4)
    x = (3 + 20 * torch.randn(5, 6, 4, 4)).bfloat16()
    expected = plain.bfloat16()(x[:, :4])
    for width in (2, torch.full((5,), 2)):
        with at_width(norm.bfloat16(), width):
            found = norm(x)[:, :4]
        assert found.dtype == expected.dtype
        assert torch.equal(found, expected)


def test_the_gate_knows_what_keeps_units_apart():
    axis = WidthControl(3).axis(6)
    first, last = layers.VariableConv2d(2, axis, 1), layers.VariableConv2d(axis, 2, 1)
    for between in (
        layers.VariableInstanceNorm2d(axis),
        layers.VariablePReLU(axis),
        layers.VariablePReLU(),
        nn.PReLU(),
    ):
        assert is_maskable(nn.Sequential(first, between, nn.AvgPool2d(2), last))
    for mixing in (nn.PReLU(6), nn.InstanceNorm2d(6)):
        assert not is_maskable(nn.Sequential(first, mixing, last))


def test_pools_over_what_may_be_units_are_run_one_width_at_a_time():
    knob = WidthControl(3)
    axis = knob.axis(6)
    for between in (layers.VariableBatchNorm1d(axis), layers.VariablePReLU(axis)):
        net = nn.Sequential(
            layers.VariableLinear(4, axis), between, nn.AvgPool1d(3, 1, 1),
            layers.VariableLinear(axis, 2),
        )  # fmt: skip
        assert not is_maskable(net)
    pixels = [layers.VariableConv1d(2, axis, 1), nn.Flatten(), nn.AvgPool1d(3, 1, 1)]
    assert not is_maskable(nn.Sequential(*pixels, layers.VariableLinear(axis * 4, 2)))
    tokens = [layers.VariableConv1d(2, 5, 1), layers.VariableLayerNorm(axis), nn.AvgPool1d(3, 1, 1)]
    assert not is_maskable(nn.Sequential(*tokens, layers.VariableLinear(axis, 2)))
