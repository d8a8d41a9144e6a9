"""How images lie in memory: only where nothing but the time tells."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab import ConvNet, VariableConv2d, VariableLinear, Width, at_width, forward_at_widths
from vsnn_lab.networks.channels_last import channels_last


class Viewing(nn.Module):
    """Takes images of the usual layout alone."""

    def forward(self, x):
        return x.view(len(x), -1)


def network(*after: nn.Module) -> nn.Sequential:
    channels = Width(4)
    convolutions = [VariableConv2d(3, channels, 3), nn.ReLU(), VariableConv2d(channels, 6, 3)]
    return nn.Sequential(*convolutions, *after)


def classifier() -> nn.Sequential:
    return network(nn.MaxPool2d(2), nn.Flatten(), VariableLinear(24, 5))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_lie_channels_last_and_hold_what_they_held(channels):
    width = Width(8)
    model = ConvNet((channels, 8, 8), (width, width), 5)
    x = torch.randn(2, channels, 8, 8)
    found = channels_last(model, x)
    assert found.stride() == (64 * channels, 1, 8 * channels, channels)
    assert torch.equal(found, x)
    hidden = model[0](found)
    assert hidden.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    "model",
    [
        network(Viewing()),
        network(nn.ReLU()),  # whoever takes its images may view them
        nn.Sequential(nn.Flatten(), nn.Linear(192, 5)),
        Viewing(),
    ],
    ids=["a module of one's own", "images come out", "no convolutions", "no chain"],
)
def test_other_models_get_their_images_as_they_are(model):
    x = torch.randn(2, 3, 8, 8)
    assert channels_last(model, x) is x


def test_a_model_that_views_its_images_runs_at_many_widths():
    model = nn.Sequential(network(Viewing()), VariableLinear(96, 5))
    assert forward_at_widths(model, torch.randn(2, 3, 8, 8), torch.tensor([1, 3])).shape == (2, 5)


def test_the_layout_changes_neither_outputs_nor_gradients():
    model, x = classifier().double(), torch.randn(96, 3, 8, 8).double()
    y, widths = torch.arange(96) % 5, torch.tensor([1, 2, 4]).repeat_interleave(32)

    def gradients(value):
        model.zero_grad()
        value.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    found = forward_at_widths(model, x, widths)
    plain = []
    for width in (1, 2, 4):
        with at_width(model, width):
            plain.append(model(x[widths == width]))
    torch.testing.assert_close(found, torch.cat(plain))
    pairs = zip(
        gradients(F.cross_entropy(found, y)),
        gradients(F.cross_entropy(torch.cat(plain), y)),
        strict=True,
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other)
