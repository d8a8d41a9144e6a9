"""Layers of other classes: recognised by what they do, run by their own forward at each width."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from vsnn_lab import at_width, count_parameters, extract, save_weights
from vsnn_lab.layers.own_forward import OwnForward
from vsnn_lab.networks.conversion import make_variable
from vsnn_lab.widths import width_controls


class Transposed(nn.Module):
    """A linear layer as GPT-2 has it: the weight lies the other way, and a number names a size."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.inputs, self.outputs = inputs, outputs
        self.weight = nn.Parameter(torch.randn(inputs, outputs) / 4)
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, x):
        size = (*x.shape[:-1], self.outputs)
        return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(size)


class RootMeanSquare(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(units) + 0.5)

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class NormAndActivation(nn.BatchNorm2d):
    """As in timm: a batch norm that applies its activation."""

    def __init__(self, channels):
        super().__init__(channels)
        self.act = nn.SiLU(inplace=True)
        with torch.no_grad():
            self.running_mean.normal_()
            self.running_var.uniform_(0.5, 2)
            self.weight.uniform_(0.5, 2)

    def forward(self, x):
        mean, variance = self.running_mean, self.running_var
        y = F.batch_norm(
            x, mean, variance, self.weight, self.bias, self.training, self.momentum, self.eps
        )
        return self.act(y)


class ChannelsFirstNorm(nn.LayerNorm):
    """A layer norm of images, whose sizes stand in a tuple."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        x = F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Standardised(nn.Conv2d):
    """A convolution of a weight that is standardised before each use."""

    def forward(self, x):
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


def text():
    return nn.Sequential(
        Transposed(6, 20), RootMeanSquare(20), nn.GELU(), Transposed(20, 20), nn.Linear(20, 3)
    )


def images():
    return nn.Sequential(
        Standardised(3, 10, 3, padding=1), NormAndActivation(10), nn.Conv2d(10, 14, 3),
        ChannelsFirstNorm(14), Standardised(14, 8, 1), nn.Flatten(), nn.Linear(8 * 36, 5),
    )  # fmt: skip


class Dense(nn.Module):
    """A norm over a concatenation."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 10, 1)
        self.norm, self.head = NormAndActivation(16), nn.Conv2d(16, 2, 1)

    def forward(self, x):
        return self.head(self.norm(torch.cat([self.one(x), self.two(x)], 1)))


NETWORKS = {
    "text": (text, (4, 5, 6), 3),
    "images": (images, (4, 3, 8, 8), 4),
    "summed": (Dense, (4, 3, 8, 8), 1),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_layer_of_another_class_is_its_smaller_self_at_each_width(name):
    build, shape, count = NETWORKS[name]
    torch.manual_seed(0)
    plain = build().double().eval()
    x = torch.randn(shape, dtype=torch.float64)
    variable = make_variable(plain, x)
    assert sum(isinstance(layer, OwnForward) for layer in variable.modules()) == count
    assert [*variable.state_dict()] == [*plain.state_dict()]
    assert torch.equal(variable(x), plain(x))
    (knob,) = width_controls(variable)
    cuts = []
    for position in (1, knob.steps // 3, knob.steps - 1, knob.steps):
        cut = extract(variable, position)
        assert [type(module) for module in cut.modules()] == [type(m) for m in plain.modules()]
        with at_width(variable, position):
            torch.testing.assert_close(variable(x), cut(x), rtol=0, atol=1e-12)
        assert count_parameters(variable, position) == sum(p.numel() for p in cut.parameters())
        cuts.append(cut)
    positions = torch.tensor([1, knob.steps // 3, knob.steps - 1, knob.steps])
    with at_width(variable, positions):
        masked = variable(x)
    for row, cut in enumerate(cuts):
        torch.testing.assert_close(masked[row], cut(x[row : row + 1])[0], rtol=0, atol=1e-12)


def test_a_cut_names_its_sizes_as_the_class_does():
    variable = make_variable(text(), torch.randn(2, 6), steps=20)
    cut = extract(variable, 7)
    assert (cut[0].inputs, cut[0].outputs, cut[3].inputs, cut[3].outputs) == (6, 7, 7, 7)
    cut = extract(make_variable(images(), torch.randn(2, 3, 8, 8), steps=2), 1)
    assert (cut[1].num_features, cut[3].normalized_shape, cut[4].in_channels) == (5, (7,), 7)


def test_training_moves_the_statistics_of_what_is_kept_alone():
    torch.manual_seed(0)
    plain = Dense().train()
    variable = make_variable(plain, torch.randn(2, 3, 4, 4), steps=2)
    x, before = torch.randn(5, 3, 4, 4), variable.norm.running_mean.clone()
    cut = extract(variable, 1)
    with at_width(variable, 1):
        variable(x).sum().backward()
    cut(x)
    kept = [*range(3), *range(6, 11)]
    rest = [place for place in range(16) if place not in kept]
    after = variable.norm.running_mean
    torch.testing.assert_close(after[kept], cut.norm.running_mean)
    assert torch.equal(after[rest], before[rest])
    assert variable.norm.weight.grad[kept].all()
    assert not variable.norm.weight.grad[rest].any()


@pytest.mark.parametrize("name", NETWORKS)
def test_forms_are_copied_and_pickled(name):
    build, shape, _ = NETWORKS[name]
    x = torch.randn(shape)
    variable = make_variable(build().eval(), x)
    for twin in (copy.deepcopy(variable), pickle.loads(pickle.dumps(variable))):
        with at_width(variable, 2), at_width(twin, 2):
            assert torch.equal(twin(x), variable(x))


def test_a_cut_is_saved_under_the_names_of_the_class(tmp_path):
    variable = make_variable(images(), torch.randn(2, 3, 8, 8))
    path = save_weights(variable, tmp_path / "cut.safetensors", width=9)
    cut = extract(variable, 9)
    cut.load_state_dict(load_file(path))


class Flipping(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units))

    def forward(self, x):
        return self.weight * x.flip(-1)


class AcrossSamples(nn.Module):
    def __init__(self, units):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(units))

    def forward(self, x):
        return self.weight * (x - x.mean(0))


class Remembering(RootMeanSquare):
    def forward(self, x):
        self.latest = x.shape
        return super().forward(x)


@pytest.mark.parametrize("kind", [Flipping, AcrossSamples])
def test_what_moves_units_or_mixes_samples_stays(kind):
    plain = nn.Sequential(nn.Linear(4, 9), kind(9), nn.Linear(9, 7), nn.Linear(7, 2)).eval()
    variable = make_variable(plain, torch.randn(3, 4))
    assert type(variable[1]) is kind
    assert isinstance(variable[0].out_features, int)
    assert extract(variable, 1)[0].out_features == 9


def test_what_notes_something_on_itself_is_no_such_layer():
    plain = nn.Sequential(nn.Linear(4, 9), Remembering(9), nn.Linear(9, 7), nn.Linear(7, 2))
    variable = make_variable(plain, torch.randn(3, 4))
    assert not isinstance(variable[1], OwnForward)
    x = torch.randn(3, 4)
    with at_width(variable, 2):
        torch.testing.assert_close(variable(x), extract(variable, 2)(x))
