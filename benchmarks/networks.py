"""The networks that are measured: written by hand in plain PyTorch, and variable."""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab import MLP, VariableConv2d, VariableLinear, Width, WidthControl

# Channels of the convolutions, two in each block; the variable network's knob has as many steps as
# the first block has channels.
_CHANNELS = (32, 64, 128)


def plain_mlp(width: int, depth: int = 3, features: int = 32, outputs: int = 32) -> nn.Sequential:
    """Return linear layers with ReLU between them."""
    sizes = [features, *[width] * depth]
    layers = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def variable_mlp(
    width: int, depth: int = 3, features: int = 32, outputs: int = 32, conditioned: bool = False
) -> MLP:
    """Return the same with one knob for all hidden layers."""
    hidden = Width(width)
    return MLP(features, (hidden,) * depth, outputs, conditioned=conditioned)


def plain_autoencoder(code: int) -> nn.Sequential:
    """Return what `Autoencoder` is for images of 28 by 28 pixels."""
    sizes = [784, 512, 256, code]
    encoder, decoder = ([], [])
    for layers, ends in ((encoder, sizes), (decoder, sizes[::-1])):
        for fan_in, fan_out in pairwise(ends):
            layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(
        nn.Flatten(), *encoder[:-1], *decoder[:-1], nn.Sigmoid(), nn.Unflatten(1, (1, 28, 28))
    )


class PlainVGG(nn.Module):
    """Two convolutions a block, each block followed by a pooling; 32 by 32 pixels."""

    def __init__(self) -> None:
        super().__init__()
        sizes = [3, *(size for size in _CHANNELS for _ in range(2))]
        pairs = pairwise(sizes)
        self.convolutions = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in pairs)
        self.last = nn.Linear(_CHANNELS[-1], 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        for index, layer in enumerate(self.convolutions):
            x = F.relu(layer(x))
            if index % 2:
                x = F.max_pool2d(x, 2)
        return self.last(x.mean((2, 3)))


def variable_vgg() -> nn.Sequential:
    """Return the same with one knob for all channels."""
    knob = WidthControl(_CHANNELS[0])
    axes = [3, *(knob.axis(size) for size in _CHANNELS for _ in range(2))]
    layers = []
    for index, pair in enumerate(pairwise(axes)):
        layers += [VariableConv2d(*pair, 3, padding=1), nn.ReLU()]
        if index % 2:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), VariableLinear(axes[-1], 10)
    )
