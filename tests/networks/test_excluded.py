"""Modules that keep their sizes, and what varies around them all the same."""

import torch
from torch import nn

from vsnn_lab import VariableBatchNorm2d, Width, at_width, extract
from vsnn_lab.networks import make_variable


class Residual(nn.Module):
    """Two blocks that add, whose inner channels alone are to vary."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                *(nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6), nn.ReLU()),
                *(nn.Conv2d(6, 4, 1), nn.BatchNorm2d(4)),
            )
            for _ in range(2)
        )

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return x.mean((2, 3))


def test_what_comes_after_an_excluded_norm_varies():
    """Its samples are rows of their own still: norms behind it can mask their statistics."""
    model, x = Residual().eval(), torch.randn(3, 4, 2, 2)
    net = make_variable(model, x, exclude=["blocks.0.4", "blocks.1.4"], steps=3)
    for block in net.blocks:
        assert isinstance(block[0].out_axis, Width)
        assert isinstance(block[1], VariableBatchNorm2d)
        assert (block[3].out_axis, type(block[4])) == (4, nn.BatchNorm2d)
    with torch.no_grad(), at_width(net, torch.tensor([1, 2, 3])):
        rows = net(x)
    cuts = [extract(net, width)(row[None])[0] for width, row in zip((1, 2, 3), x, strict=True)]
    torch.testing.assert_close(rows, torch.stack(cuts))
