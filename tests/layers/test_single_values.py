"""A channel that a batch leaves a single value is normalised by its running statistics."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import (
    Width,
    WidthControl,
    at_width,
    extract,
    fit,
    forward_at_widths,
    make_variable,
    recalibrate,
)
from vsnn_lab.layers import VariableBatchNorm1d, VariableBatchNorm2d, VariableLinear

KINDS = [
    (VariableBatchNorm1d, (6,)),
    (VariableBatchNorm1d, (6, 1)),
    (VariableBatchNorm2d, (6, 1, 1)),
]
each_kind = pytest.mark.parametrize(("kind", "shape"), KINDS)


def with_history(kind, momentum=0.1):
    norm = kind(Width(6), momentum=momentum)
    for part in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(part)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    norm.num_batches_tracked.fill_(3)
    return norm


def by_hand(norm, x, units):
    columns = [1, units, *[1] * (x.dim() - 2)]
    mean, variance, weight, bias = (
        part[:units].view(columns)
        for part in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    )
    return (x[:, :units] - mean) / (variance + norm.eps).sqrt() * weight + bias


@each_kind
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("position", [None, 1, 4])
def test_a_batch_of_one_value_uses_the_statistics_and_leaves_them_alone(
    kind, shape, momentum, position
):
    norm, x = with_history(kind, momentum), torch.randn(1, *shape)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with at_width(norm, 6 if position is None else position):
        found = norm(x)
    torch.testing.assert_close(found, by_hand(norm, x, position or 6))
    with at_width(norm, torch.tensor([position or 6])):
        torch.testing.assert_close(norm(x)[:, : position or 6], found)
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("widths", [[1, 2, 3], [3, 1, 1, 4, 1], [6, 1, 2, 2]])
def test_a_channel_that_one_sample_keeps_leaves_its_statistics_alone(widths, momentum):
    norm = with_history(VariableBatchNorm1d, momentum).double()
    x, widths = torch.randn(len(widths), 6, dtype=torch.float64), torch.tensor(widths)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with at_width(norm, widths):
        found = norm(x)
    share = 1 / 4 if momentum is None else momentum
    for channel in range(int(widths.max())):
        kept = x[widths > channel, channel]
        mean, variance = before["running_mean"][channel], before["running_var"][channel]
        if len(kept) == 1:
            torch.testing.assert_close(norm.running_mean[channel], mean)
            torch.testing.assert_close(norm.running_var[channel], variance)
        else:
            moved = mean + share * (kept.mean() - mean)
            torch.testing.assert_close(norm.running_mean[channel], moved)
            moved = variance + share * (kept.var() - variance)
            torch.testing.assert_close(norm.running_var[channel], moved)
            mean, variance = kept.mean(), kept.var(unbiased=False)
        expected = (kept - mean) / (variance + norm.eps).sqrt()
        expected = expected * norm.weight[channel] + norm.bias[channel]
        torch.testing.assert_close(found[widths > channel, channel], expected)


def test_one_sample_of_several_pixels_has_statistics_of_its_own():
    norm, plain = VariableBatchNorm2d(Width(4)), nn.BatchNorm2d(4)
    x = torch.randn(1, 4, 3, 2)
    torch.testing.assert_close(norm(x), plain(x))
    torch.testing.assert_close(norm.running_var, plain.running_var)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize(
    "norm",
    [
        VariableBatchNorm1d(4),
        VariableBatchNorm1d(Width(4), track_running_stats=False),
        nn.BatchNorm1d(4),
    ],
)
def test_fixed_norms_and_those_without_statistics_refuse_a_single_value_as_torch_does(norm):
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        norm(torch.randn(1, 4))


def test_runs_of_one_sample_train_and_pass_gradients_on():
    width = WidthControl(3).axis(6)
    net = nn.Sequential(
        VariableLinear(5, width), VariableBatchNorm1d(width), nn.ReLU(), VariableLinear(width, 2)
    )
    for sizes in ([1, 2, 3], [1, 1, 1, 2, 3, 3], [3, 2]):
        net.zero_grad()
        x = torch.randn(len(sizes), 5)
        forward_at_widths(net, x, torch.tensor(sizes)).square().sum().backward()
        assert net[0].weight.grad.isfinite().all()
        assert net[0].weight.grad.any()


@pytest.mark.parametrize("position", [2, 6])
def test_recalibration_leaves_out_a_last_batch_of_one_sample_and_wants_others(position):
    width, x = Width(6), torch.randn(9, 3)
    net = nn.Sequential(
        VariableLinear(3, width), VariableBatchNorm1d(width), VariableLinear(width, 2)
    )
    recalibrate(net, x.split(4), position)
    means = torch.stack([net[0](part).mean(0) for part in x.split(4)[:2]]).mean(0)
    torch.testing.assert_close(net[1].running_mean[:position], means[:position])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ValueError, match="several values to measure, got one sample in each"):
        recalibrate(net, x.split(1), position)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net[1]._forward_hooks


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["distilled", "sandwich", "stratified", "triangular"])
@pytest.mark.parametrize(("samples", "batch"), [(17, 8), (9, 4), (6, 2)])
def test_every_recipe_trains_where_the_last_batch_is_one_sample(recipe, samples, batch):
    net = make_variable(
        nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    )
    data = torch.randn(samples, 3), torch.randint(0, 2, (samples,))
    history = fit(
        net, data, F.cross_entropy, epochs=2, batch_size=batch, recipe=recipe, validation=None,
        progress=False,
    )  # fmt: skip
    assert len(history.epochs) == 2
    assert all(value.isfinite().all() for value in net.state_dict().values())


def test_the_triangle_at_as_many_samples_as_steps_leaves_variances_that_are_true():
    torch.manual_seed(0)
    width = Width(16)
    net = nn.Sequential(
        VariableLinear(8, width), VariableBatchNorm1d(width), nn.ReLU(), VariableLinear(width, 1)
    )
    x = torch.randn(1024, 8)
    for batch in x.split(16):
        forward_at_widths(net, batch, torch.arange(1, 17))
    true = net[0](x).var(0)
    # The last but one is measured on two samples a batch.
    assert (net[1].running_var > 0.2 * true).all()
    cut = extract(net, 16).eval()
    torch.testing.assert_close(cut(x), net.eval()(x))
