"""Gradient checkpointing runs layers again in backward, when their width has been left."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from vsnn_lab import VariableConv2d, VariableLinear, Width, at_width, fit, forward_at_widths, layers
from vsnn_lab.measure.ablation import width_sweep

REFUSED = "gradient checkpointing must be off where widths are trained, got a layer at"
# Torch's own advice on its two kinds.
pytestmark = pytest.mark.filterwarnings("ignore:.*requires_grad=True:UserWarning")


class Block(nn.Module):
    def __init__(self, reentrant=False):
        super().__init__()
        width = Width(8)
        self.stem = nn.Linear(3, 3)
        self.a, self.b = VariableLinear(3, width), VariableLinear(width, 2)
        self.reentrant = reentrant

    def block(self, x):
        return self.b(self.a(x).tanh())

    def forward(self, x):
        return checkpoint(self.block, self.stem(x), use_reentrant=self.reentrant)


class Images(nn.Module):
    def __init__(self, reentrant=False):
        super().__init__()
        width = Width(8)
        self.stem = nn.Unflatten(1, (3, 1, 1))
        self.block = nn.Sequential(VariableConv2d(3, width, 1), VariableConv2d(width, 2, 1))
        self.reentrant = reentrant

    def forward(self, x):
        parts = {"segments": 2, "use_reentrant": self.reentrant}
        return checkpoint_sequential(self.block, input=self.stem(x), **parts).flatten(1)


@pytest.fixture(params=[Block, Images])
def kind(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["reentrant", "not reentrant"])
def reentrant(request):
    return request.param


def inputs(rows=8):
    return torch.randn(rows, 3, requires_grad=True)


@pytest.mark.parametrize("width", [2, torch.tensor([1, 2, 3, 4, 5, 6, 7, 8])])
def test_a_narrow_layer_is_refused_before_anything_is_forgotten(kind, reentrant, width):
    net = kind(reentrant)
    with at_width(net, width), pytest.raises(RuntimeError, match=REFUSED):
        net(inputs())


def test_a_layer_that_was_evaluated_before_is_refused_too(kind, reentrant):
    net, x = kind(reentrant), inputs()
    with at_width(net, 3):
        with torch.no_grad():
            net.eval()(x.detach())
        with pytest.raises(RuntimeError, match=f"{REFUSED} width 3 of 8"):
            net.train()(x)


ALONE = {
    "depthwise": lambda axis: VariableConv2d(axis, axis, 1, groups=8),
    "BatchNorm2d": layers.VariableBatchNorm2d,
    "GroupNorm": lambda axis: layers.VariableGroupNorm(1, axis),
    "InstanceNorm2d": layers.VariableInstanceNorm2d,
    "LayerNorm": layers.VariableLayerNorm,
    "PReLU": layers.VariablePReLU,
    "RMSNorm": layers.VariableRMSNorm,
}


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("width", [2, torch.tensor([1, 2, 3])])
def test_a_layer_that_is_alone_in_it_is_refused_too(name, width, reentrant):
    layer = ALONE[name](Width(8))
    with at_width(layer, width), pytest.raises(RuntimeError, match=REFUSED):
        checkpoint(layer, torch.randn(3, 8, 8, 8, requires_grad=True), use_reentrant=reentrant)


def test_mixed_widths_are_refused(kind, reentrant):
    net = kind(reentrant)
    with pytest.raises(RuntimeError, match=f"{REFUSED} width 2 of 8"):
        forward_at_widths(net, inputs(), torch.tensor([2] * 4 + [8] * 4))


@pytest.mark.parametrize("recipe", ["distilled", "stratified", "sandwich", "triangular"])
def test_fit_refuses_it_before_any_step(recipe):
    net = Block()
    before = [parameter.clone() for parameter in net.parameters()]
    data = torch.randn(64, 3), torch.randn(64, 2)
    with pytest.raises(RuntimeError, match=REFUSED):
        fit(net, data, F.mse_loss, recipe=recipe, epochs=1, batch_size=32, progress=False)
    assert all(torch.equal(*pair) for pair in zip(before, net.parameters(), strict=True))


def test_full_width_has_the_gradients_that_it_has_without(kind, reentrant):
    net, x = kind(reentrant), inputs()
    net(x).square().sum().backward()
    found = [parameter.grad.clone() for parameter in net.parameters()]
    net.zero_grad()
    stem = net.stem(x)
    net.block(stem).flatten(1).square().sum().backward()
    for one, parameter in zip(found, net.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad)


def test_a_layer_run_again_at_another_width_is_refused(reentrant):
    net = Block(reentrant)
    loss = net(inputs()).sum()
    with at_width(net, 3), pytest.raises(RuntimeError, match=REFUSED):
        loss.backward()


def test_without_gradients_every_width_runs(kind, reentrant):
    net = kind(reentrant)
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    sweep = width_sweep(net, F.mse_loss, (x, y), progress=False)
    with torch.no_grad(), at_width(net, 3):
        expected = F.mse_loss(net.block(net.stem(x)).flatten(1), y)
    assert sweep.at(3) == pytest.approx(expected.item())
