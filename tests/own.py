"""Layers with weights of their own for narrow widths, as tests build them."""

import torch
from torch import nn

from vsnn_lab import VariableConv2d, VariableLinear, WidthControl
from vsnn_lab.networks import condition


def own_linear(fan_in, fan_out, control: WidthControl | None = None, **options) -> nn.Linear:
    """Return a linear layer whose narrow widths have weights of their own, zero at first."""
    layer = VariableLinear(fan_in, fan_out)
    condition(layer, control=control, **options)
    return layer


def own_conv(fan_in, fan_out, kernel_size, control: WidthControl | None = None) -> nn.Conv2d:
    """Return a convolution of that kind."""
    layer = VariableConv2d(fan_in, fan_out, kernel_size)
    condition(layer, control=control)
    return layer


def stir(net: nn.Module, deviation: float = 0.3) -> nn.Module:
    """Give all parameters values, own ones too."""
    with torch.no_grad():
        for parameter in net.parameters():
            nn.init.normal_(parameter, 0, deviation)
    return net
