"""A VGG-11 with batch norm for small images: plain at any size, and variable in one line."""

from collections import OrderedDict

import torch
from torch import nn

from vsnn_lab._basics.checks import check_int
from vsnn_lab.data._torchvision import models
from vsnn_lab.networks import make_variable
from vsnn_lab.networks.knob_choice import Knobs
from vsnn_lab.networks.ordering import Order
from vsnn_lab.widths import WidthControl

STEPS = 32  # positions of the knob
SIDE = 32  # of an image, in pixels; five poolings leave one
CLASSES = 10
# A quarter of those of VGG-11; "M" is a pooling, as torchvision writes it.
CHANNELS: tuple[int | str, ...] = (
    *(16, "M", 32, "M", 64, 64, "M", 128, 128, "M", 128, 128, "M"),
)  # fmt: skip
UNITS = 128  # of both hidden linear layers


def plain_vgg(position: int = STEPS) -> nn.Sequential:
    """Return an untrained VGG of the size that the variable one has at a position.

    Torchvision's convolutions, batch norms and poolings, for grey images of 32x32 pixels; after
    them a single pixel is left, so that the linear layers need no pooling of their own.

    Args:
        position: Every layer has ``ceil(size * position / 32)`` of its units.

    Raises:
        TypeError: If ``position`` is no integer.
        ValueError: If it lies outside 1..32.

    References:
        Simonyan & Zisserman 2014, "Very Deep Convolutional Networks", arXiv 1409.1556.

    Example:
        >>> plain_vgg(8).classifier[0]
        Linear(in_features=32, out_features=32, bias=True)
    """
    check_int("position", position, 1, STEPS)

    def kept(units: int) -> int:
        return -(-units * position // STEPS)

    channels = [each if isinstance(each, str) else kept(each) for each in CHANNELS]
    last, hidden = channels[-2], kept(UNITS)
    assert isinstance(last, int)
    features = models.vgg.make_layers(channels, batch_norm=True)
    features[0] = nn.Conv2d(1, features[0].out_channels, 3, padding=1)  # of grey images
    classifier = nn.Sequential(
        nn.Linear(last, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, CLASSES),
    )  # fmt: skip
    parts = OrderedDict(features=features, flatten=nn.Flatten(), classifier=classifier)
    return nn.Sequential(parts)


def variable_vgg(
    plain: nn.Module | None = None, *, order: Order | None = None, knobs: Knobs | None = None
) -> nn.Module:
    """Return a VGG all of whose channels and hidden units vary.

    Args:
        plain: The network to make variable, by default an untrained one of full size.
        order: What its units are sorted by, as in `make_variable`.
        knobs: As in `make_variable`; by default one knob of 32 positions.

    Example:
        >>> from vsnn_lab import extract
        >>> extract(variable_vgg(), 8).classifier[0]
        Linear(in_features=32, out_features=32, bias=True)
    """
    return make_variable(
        plain_vgg() if plain is None else plain,
        torch.zeros(2, 1, SIDE, SIDE),
        knobs={"*": WidthControl(STEPS, rounded=True)} if knobs is None else knobs,
        order=order,
    )
