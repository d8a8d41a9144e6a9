"""Autoencoders, dense and convolutional, whose code may be a `Width`."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, check_tensor
from vsnn_lab.networks.blocks import (
    Activation,
    Axis,
    Chain,
    check_axes,
    check_convolutions,
    check_image_shape,
    check_shape,
    dense_layers,
    doubling_convolution,
    halved_size,
    halving_convolution,
    linear_layer,
    make_activation,
    shared_knob,
)
from vsnn_lab.networks.conditioning import condition_on
from vsnn_lab.widths import check_axis

# Of what narrow codes have of their own; chosen on validation images of MNIST.
_PACE, _RANK = 1.0, 32


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
        conditioned: Whether narrow codes have weights of their own in every layer (`condition`), so
            that they take nothing from full width, and a code is the beginning of wider ones of its
            octave alone; extracted, layers are ordinary ones. All variable axes must be on one
            knob.

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
        knob = shared_knob(conditioned, axes)
        own = knob is not None
        super().__init__(
            nn.Sequential(nn.Flatten(), *dense_layers(axes, activation, own)),
            nn.Sequential(
                *dense_layers(axes[::-1], activation, own), nn.Sigmoid(), nn.Unflatten(1, shape)
            ),
            shape,
            code,
        )
        condition_on(self, knob, _PACE, _RANK)


class ConvAutoencoder(_Autoencoder):
    """A convolutional autoencoder whose code may be a `Width`.

    Each convolution of the encoder halves height and width, rounded up; a linear layer makes the
    code of what is left. The decoder is its mirror image and ends in a sigmoid.

    Args:
        shape: Shape of one image, (channels, height, width).
        code: Axis of the code: an int, or a `Width`.
        channels: Axes of the convolutions' outputs, from the image inwards.
        activation: Makes the module between two layers.
        conditioned: Whether narrow codes have weights of their own in every layer (`condition`), so
            that they take nothing from full width, and a code is the beginning of wider ones of its
            octave alone; extracted, layers are ordinary ones. All variable axes must be on one
            knob.

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
        knob = shared_knob(conditioned, [*channels, code])
        own = knob is not None
        down: list[nn.Module] = []
        for fan_in, fan_out in zip(inner, channels, strict=False):
            down += [halving_convolution(fan_in, fan_out, own), make_activation(activation)]
        up: list[nn.Module] = []
        for index in reversed(range(len(channels))):
            height, width = sizes[index]
            # Twice the smaller size less one, and what the halving had rounded up.
            rest = (height - 1) % 2, (width - 1) % 2
            layer = doubling_convolution(inner[index + 1], inner[index], rest, own)
            up += [make_activation(activation), layer]
        super().__init__(
            nn.Sequential(*down, nn.Flatten(), linear_layer(flat, code)),
            nn.Sequential(
                linear_layer(code, flat), nn.Unflatten(1, (-1, *sizes[-1])), *up, nn.Sigmoid()
            ),
            shape,
            code,
        )
        condition_on(self, knob, _PACE, _RANK)
