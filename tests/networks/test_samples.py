"""Where a converted network mixes samples, a width for each of them is that of all, or none."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import at_width, extract, make_variable
from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.widths import width_controls


class Between(nn.Module):
    """A function between two layers, and two layers behind it."""

    def __init__(self, function, size=16):
        super().__init__()
        self.first = nn.Linear(6, 16)
        self.function = function
        self.second = nn.Linear(size, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        x = self.function(self, self.first(x).relu())
        return self.head(self.second(x).relu())


def check_masks(model, x):
    """Every row of a vector of widths is what all rows at its width give."""
    knobs = width_controls(model)
    widths = {knob: torch.arange(len(x)) % knob.steps + 1 for knob in knobs}
    with torch.no_grad(), at_width(model, widths):
        masked = model(x)
    for row in range(len(x)):
        positions = {knob: int(vector[row]) for knob, vector in widths.items()}
        with torch.no_grad(), at_width(model, positions):
            torch.testing.assert_close(masked[row], model(x)[row], rtol=0, atol=1e-9)


# What mixes samples, and joins it with single ones again.
MIXED = {
    "mean": (lambda net, x: x - x.mean(0), 16),
    "norm": (lambda net, x: x / x.norm(), 16),
    "flip": (lambda net, x: x + x.flip(0), 16),
    "linear": (lambda net, x: F.linear(x, x) @ x + x, 16),
    "repeated": (lambda net, x: (x.repeat(2, 1) + x.repeat_interleave(2, 0))[: len(x)] + x, 16),
    "written": (lambda net, x: x + x.new_zeros(16).add_(x.mean(0)), 16),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_mixed_samples_are_made_of_stays(name):
    function, size = MIXED[name]
    model = Between(function, size).double().eval()
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    variable = make_variable(model, x, verify=False)
    assert isinstance(variable.first.out_features, int)
    assert type(variable.first) is nn.Linear
    assert type(variable.head) is not nn.Linear
    check_masks(variable, x)


@pytest.mark.parametrize(
    ("function", "size"),
    [
        (lambda net, x: torch.cat([x.t().reshape(x.shape), x], 1), 32),
        (lambda net, x: (x @ x.t()).softmax(-1) @ x, 16),
    ],
    ids=["reordered", "similar"],
)
def test_a_network_whose_output_is_all_of_mixed_samples_is_refused(function, size):
    with pytest.raises(ValueError, match=r"got none: .*, which mixes samples keep what there is"):
        make_variable(Between(function, size), torch.randn(4, 6))


def test_a_loss_beside_the_output_fixes_nothing():
    class WithLoss(Between):
        def forward(self, x):
            return super().forward(x), self.first(x).square().mean()

    model = WithLoss(lambda net, x: x).double()
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    variable = make_variable(model, x)
    assert [knob.steps for knob in width_controls(variable)] == [32]


# Operations that no table knows; the last one mixes samples.
UNKNOWN = {
    "spectrum": (lambda net, x: torch.fft.fft(x).abs(), True),
    "distances": (
        lambda net, x: torch.cdist(x[:, None], x[:, None] + 1).expand(-1, -1, 16)[:, 0],
        True,
    ),
    "spectrum of samples": (lambda net, x: x + torch.fft.fft(x, dim=0).abs(), False),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_operation_is_tried_for_whether_it_mixes_samples(name):
    function, apart = UNKNOWN[name]
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 6), Between(function))
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    variable = make_variable(model.double(), x)
    # The first two layers are before it, the last two behind it.
    assert (type(variable[0]) is not nn.Linear) == apart
    assert type(variable[3].head) is not nn.Linear
    check_masks(variable, x)


def test_a_size_of_a_layer_that_code_reads_fixes_it():
    model = Between(lambda net, x: x * net.first.out_features**-0.5).double()
    x = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    variable = make_variable(model, x, verify=False)
    assert type(variable.first) is nn.Linear
    cut = extract(variable, 2)
    with at_width(variable, 2), torch.no_grad():
        torch.testing.assert_close(variable(x), cut(x), rtol=0, atol=1e-9)


def test_norms_of_images_that_share_their_weights_are_converted():
    first, second = nn.LayerNorm((4, 16)), nn.LayerNorm((4, 16))
    second.weight = first.weight
    model = nn.Sequential(nn.Linear(6, 16), first, second, nn.Linear(16, 12), nn.Linear(12, 3))
    variable = make_variable(model, torch.randn(2, 4, 6))
    assert type(variable[0]) is nn.Linear
    assert type(variable[4]) is not nn.Linear
    assert nn.LayerNorm in LAYERS


def test_a_concatenation_of_no_units_with_some_is_these():
    model = Between(lambda net, x: torch.cat([x[:, 16:], x], 1)).double()
    variable = make_variable(model, torch.randn(4, 6, dtype=torch.float64))
    assert type(variable.first) is not nn.Linear
