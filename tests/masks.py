"""Networks that hold a mask, and what they compute where it is zeros that are written by hand."""

import copy

import pytest
import torch
from torch import nn

from vsnn_lab import TriangularDropout, VariableLinear, WidthControl, at_width
from vsnn_lab.widths import width_controls

STEPS = 5


def knob():
    return WidthControl(STEPS, rounded=True)


def dense():
    return nn.Sequential(
        nn.Linear(6, 8), TriangularDropout(knob().axis(8)), nn.Softplus(), nn.Linear(8, 2)
    )


def first_of_all():
    return nn.Sequential(TriangularDropout(knob().axis(6)), nn.LayerNorm(6), nn.Linear(6, 2))


def last_of_all():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), TriangularDropout(knob().axis(8)))


def channels():
    width = knob().axis(6)
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 6, 1), TriangularDropout(width, 1),
        nn.ConvTranspose2d(6, 3, 2), nn.Softplus(), nn.Flatten(), nn.Linear(36, 2),
    )  # fmt: skip


def channels_from_the_end():
    width = knob().axis(6)
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 6, 1), TriangularDropout(width, -3),
        nn.BatchNorm2d(6), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6, 2),
    )  # fmt: skip


def twice_on_one_knob():
    control = knob()
    return nn.Sequential(
        nn.Linear(6, 9), TriangularDropout(control.axis(9)), nn.Softmax(-1),
        nn.Linear(9, 4), TriangularDropout(control.axis(2) * 2), nn.Linear(4, 2),
    )  # fmt: skip


def beside_layers_that_are_cut():
    control = knob()
    width = control.axis(7)
    return nn.Sequential(
        VariableLinear(6, width), TriangularDropout(width), nn.Tanh(), VariableLinear(width, 8),
        TriangularDropout(control.axis(8)), nn.Softplus(), nn.Linear(8, 2),
    )  # fmt: skip


def before_and_after_a_cut():
    control = knob()
    width = control.axis(7)
    return nn.Sequential(
        TriangularDropout(control.axis(6)), nn.Linear(6, 6), VariableLinear(6, width), nn.Tanh(),
        TriangularDropout(width), TriangularDropout(width),
    )  # fmt: skip


class Tokens(nn.Module):
    """Not a chain: attention, a recurrent layer and a residual sum around a mask."""

    def __init__(self, batch_dims=1):
        super().__init__()
        self.embed = nn.Linear(2, 8)
        self.attend = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.mask = TriangularDropout(knob().axis(8), batch_dims=batch_dims)
        self.recur = nn.GRU(8, 4, batch_first=True)
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        tokens = self.embed(x.unflatten(1, (3, 2)))
        tokens = tokens + self.mask(self.attend(tokens))
        return self.last(self.recur(tokens)[0]).flatten(1)


BUILDS = [dense, first_of_all, last_of_all, channels, channels_from_the_end, twice_on_one_knob]
BUILDS += [beside_layers_that_are_cut, before_and_after_a_cut, Tokens]
each_network = pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)


class Zero(nn.Module):
    def __init__(self, kept, dim):
        super().__init__()
        self.kept, self.dim = kept, dim

    def forward(self, x):
        x = x.clone()
        x.movedim(self.dim, 0)[self.kept :] = 0
        return x


def network(build):
    return build().double().eval()


def zeroed(net, position):
    """Return a copy in which each mask is zeros that are written by hand."""
    twin = copy.deepcopy(net)
    for name, module in net.named_modules():
        if isinstance(module, TriangularDropout):
            zeros = Zero(module.width.at(position), module.dim)
            parent, _, own = name.rpartition(".")
            setattr(twin.get_submodule(parent), own, zeros)
    return twin


def turned(twin, x, position):
    if not width_controls(twin):
        return twin(x)
    with at_width(twin, position):
        return twin(x)


def by_hand(net, x, position):
    return turned(zeroed(net, position), x, position)


def inputs(samples=STEPS):
    return torch.randn(samples, 6, dtype=torch.float64)


def assert_close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
