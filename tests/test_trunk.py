import pytest
import torch
from torch import nn

from vsnn_lab import MLP, Autoencoder, ConvAutoencoder, VariableLinear, Width, at_width
from vsnn_lab.forward import output_axis
from vsnn_lab.masks import keep_prefix
from vsnn_lab.trunk import split_trunk

knob = Width(6)


class Reversed(nn.Sequential):
    """A ``Sequential`` that is no chain."""

    def forward(self, x):
        for module in reversed(self):
            x = module(x)
        return x


@pytest.mark.parametrize(
    ("build", "shared"),
    [
        (lambda: MLP(4, (knob, knob), 2), 2),
        (lambda: MLP(4, (5, knob), 2), 4),
        (lambda: MLP(4, (knob,), 2, nn.Sigmoid), 2),
        (lambda: MLP(4, (5,), 2), 3),
        (lambda: Autoencoder((4,), knob, (5,)), 4),
        (lambda: Autoencoder((4,), knob, (5,), conditioned=True), 4),
        (lambda: Autoencoder((4,), knob, (knob,)), 3),
        (lambda: ConvAutoencoder((4, 1, 1), knob, (3,)), 4),
        (lambda: nn.Sequential(VariableLinear(4, knob), nn.Softmax(1), VariableLinear(knob, 2)), 1),
        (lambda: nn.Sequential(nn.Softmax(1), VariableLinear(4, knob), VariableLinear(knob, 2)), 2),
        (lambda: nn.Sequential(MLP(4, (3,), 4), MLP(4, (knob,), 2)), 5),
        (lambda: Reversed(VariableLinear(knob, 2), VariableLinear(4, knob)), 0),
        (lambda: VariableLinear(4, knob), 1),
    ],
)
def test_the_trunk_ends_before_the_width_first_matters(build, shared):
    model = build()
    trunk, rest = split_trunk(model)
    assert len(trunk) == shared
    x = torch.randn(3, 4, 1, 1) if isinstance(model, ConvAutoencoder) else torch.randn(3, 4)
    once = trunk(x)
    for width in (1, 4, 6):
        with at_width(knob.control, width):
            found = rest(keep_prefix(once, *output_axis(trunk)))
            torch.testing.assert_close(found, model(x))


def test_the_parts_hold_the_models_own_modules():
    model = MLP(4, (knob, knob), 2)
    trunk, rest = split_trunk(model)
    assert [*trunk, *rest] == list(model)
