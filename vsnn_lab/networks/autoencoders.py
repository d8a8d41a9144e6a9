"""Autoencoders, dense and convolutional, whose code may be a `Width`."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from vsnn_lab._basics.checks import check_flag, check_int, check_tensor
from vsnn_lab.layers import VariableConvTranspose2d
from vsnn_lab.networks.blocks import (
    Activation,
    Axis,
    Chain,
    check_axes,
    check_convolutions,
    check_image_shape,
    check_shape,
    dense_layers,
    halved_size,
    halving_convolution,
    linear_layer,
    make_activation,
)
from vsnn_lab.widths import Width, WidthControl, check_axis


class _Autoencoder(Chain):
    """Two children, ``encoder`` and ``decoder``, and a check of the images."""

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, shape: tuple[int, ...], code: Axis
    ) -> None:
        super().__init__(OrderedDict(encoder=encoder, decoder=decoder))
        self.shape = shape
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction of images of shape ``(batch, *shape)``.

        Raises:
            ValueError: If the images have another shape.
        """
        check_tensor("x", x)
        if tuple(x.shape[1:]) != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"x must have shape (batch, {wanted}), got {tuple(x.shape)}")
        return super().forward(x)


class Autoencoder(_Autoencoder):
    """A fully connected autoencoder whose code may be a `Width`.

    ``encoder`` and ``decoder`` are its two children, mirror images of each other; the
    reconstruction ends in a sigmoid, for pixels in [0, 1].

    Args:
        shape: Shape of one image, (channels, height, width), or (features,).
        code: Axis of the code: an int, or a `Width`.
        hidden: Axes of the encoder's hidden layers, from the image inwards.
        activation: Makes the module between two layers.
        conditioned: Whether the decoder's layers have a scale and a shift for each width of the
            code (`ConditionedLinear`); extracted, they are ordinary ones.

    Shape:
        ``(batch, *shape)`` to ``(batch, *shape)``.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235, section on autoencoders;
        the layer sizes are ours.

    Example:
        >>> import torch
        >>> from vsnn_lab import Width
        >>> model = Autoencoder((1, 28, 28), Width(32))
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        shape: Sequence[int],
        code: Axis,
        hidden: Sequence[Axis] = (512, 256),
        activation: Activation = nn.ReLU,
        conditioned: bool = False,
    ) -> None:
        shape = check_shape(shape)
        pixels = check_int("pixels of shape", math.prod(shape))
        axes = [pixels, *check_axes("hidden", hidden), check_axis("code", code)]
        knob = _conditioning_knob(conditioned, code)
        super().__init__(
            nn.Sequential(nn.Flatten(), *dense_layers(axes, activation)),
            nn.Sequential(
                *dense_layers(axes[::-1], activation, knob), nn.Sigmoid(), nn.Unflatten(1, shape)
            ),
            shape,
            code,
        )


class ConvAutoencoder(_Autoencoder):
    """A convolutional autoencoder whose code may be a `Width`.

    Each convolution of the encoder halves height and width, rounded up; a linear layer makes the
    code of what is left. The decoder is its mirror image and ends in a sigmoid.

    Args:
        shape: Shape of one image, (channels, height, width).
        code: Axis of the code: an int, or a `Width`.
        channels: Axes of the convolutions' outputs, from the image inwards.
        activation: Makes the module between two layers.
        conditioned: Whether the decoder's linear layer has a scale and a shift for each width of
            the code (`ConditionedLinear`); extracted, it is an ordinary one.

    Shape:
        ``(batch, *shape)`` to ``(batch, *shape)``.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235, section on autoencoders;
        the layer sizes are ours.

    Example:
        >>> import torch
        >>> from vsnn_lab import Width
        >>> model = ConvAutoencoder((3, 25, 25), Width(32))
        >>> model.encoder(torch.zeros(2, 3, 25, 25)).shape
        torch.Size([2, 32])
    """

    def __init__(
        self,
        shape: Sequence[int],
        code: Axis,
        channels: Sequence[Axis] = (32, 64),
        activation: Activation = nn.ReLU,
        conditioned: bool = False,
    ) -> None:
        shape = check_image_shape(shape)
        channels = check_convolutions("channels", channels)
        check_axis("code", code)
        sizes = [shape[1:]]
        for _ in channels:
            height, width = sizes[-1]
            sizes.append((halved_size(height), halved_size(width)))
        pixels, inner = math.prod(sizes[-1]), [shape[0], *channels]
        flat = channels[-1] * pixels
        down: list[nn.Module] = []
        for fan_in, fan_out in zip(inner, channels, strict=False):
            down += [halving_convolution(fan_in, fan_out), make_activation(activation)]
        up: list[nn.Module] = []
        for index in reversed(range(len(channels))):
            fan_in, fan_out = inner[index + 1], inner[index]
            height, width = sizes[index]
            # Twice the smaller size less one, and what the halving had rounded up.
            rest = (height - 1) % 2, (width - 1) % 2
            up.append(make_activation(activation))
            if isinstance(fan_in, Width) or isinstance(fan_out, Width):
                up.append(VariableConvTranspose2d(fan_in, fan_out, 3, 2, 1, rest))
            else:
                up.append(nn.ConvTranspose2d(fan_in, fan_out, 3, 2, 1, rest))
        knob = _conditioning_knob(conditioned, code)
        super().__init__(
            nn.Sequential(*down, nn.Flatten(), linear_layer(flat, code)),
            nn.Sequential(
                linear_layer(code, flat, knob), nn.Unflatten(1, (-1, *sizes[-1])), *up, nn.Sigmoid()
            ),
            shape,
            code,
        )


def _conditioning_knob(conditioned: bool, code: Axis) -> WidthControl | None:
    """Return the knob that conditions a decoder, if any does."""
    if not check_flag("conditioned", conditioned):
        return None
    if not isinstance(code, Width):
        raise ValueError(f"conditioned must be False where the code is fixed, got code={code!r}")
    return code.control
