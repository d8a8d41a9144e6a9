"""Networks built from layers. One without a `Width` is plain PyTorch throughout."""

import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

from torch import Tensor, nn

from vsnn_lab._checks import check_collection, check_int, check_module, check_tensor
from vsnn_lab.layers import VariableLinear
from vsnn_lab.widths import Width, check_axis

Activation = Callable[[], nn.Module]


def _linear(in_features: int | Width, out_features: int | Width) -> nn.Linear:
    if isinstance(in_features, Width) or isinstance(out_features, Width):
        return VariableLinear(in_features, out_features)
    return nn.Linear(in_features, out_features)


def _dense(axes: Sequence[int | Width], activation: Activation) -> list[nn.Module]:
    """Return linear layers from axis to axis with an activation between any two."""
    if isinstance(activation, nn.Module) or not callable(activation):
        raise TypeError(
            f"activation must make a module each time it is called, got {activation!r}; "
            "nn.ReLU does, nn.ReLU() is one"
        )
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(axes):
        layers += [_linear(fan_in, fan_out), check_module("what activation makes", activation())]
    return layers[:-1]


def _hidden(axes: Collection[int | Width]) -> list[int | Width]:
    check_collection("hidden", axes, "axes", hint="(256,) is a single layer")
    return [check_axis("hidden", axis) for axis in axes]


class _Chain(nn.Sequential):
    """A ``Sequential`` with a constructor of its own: a slice of it is a plain ``Sequential``."""

    def __getitem__(self, index: int | slice) -> nn.Module:
        if isinstance(index, slice):
            return nn.Sequential(OrderedDict(list(self.named_children())[index]))
        return super().__getitem__(index)


class MLP(_Chain):
    """A fully connected network; each of its axes may be a `Width`.

    Args:
        in_features: Input axis.
        hidden: Axes of the hidden layers, any number.
        out_features: Output axis.
        activation: Makes the module between two layers.

    Shape:
        (batch, in_features) to (batch, out_features).

    Example:
        >>> MLP(784, (Width(256), Width(256)), 10)[0]
        VariableLinear(784, Width(256), bias=True)
    """

    def __init__(
        self,
        in_features: int | Width,
        hidden: Sequence[int | Width],
        out_features: int | Width,
        activation: Activation = nn.ReLU,
    ) -> None:
        axes = [check_axis("in_features", in_features)]
        axes += _hidden(hidden)
        axes += [check_axis("out_features", out_features)]
        super().__init__(*_dense(axes, activation))


class Autoencoder(_Chain):
    """A fully connected autoencoder whose code may be a `Width`.

    ``encoder`` and ``decoder`` are its two children, mirror images of each other; the
    reconstruction ends in a sigmoid, for pixels in [0, 1].

    Args:
        shape: Shape of one image, (channels, height, width), or (features,).
        code: Axis of the code: an int, or a `Width`.
        hidden: Axes of the encoder's hidden layers, from the image inwards.
        activation: Makes the module between two layers.

    Shape:
        ``(batch, *shape)`` to ``(batch, *shape)``.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235, section on autoencoders;
        the layer sizes are ours.

    Example:
        >>> import torch
        >>> model = Autoencoder((1, 28, 28), Width(32))
        >>> model(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        shape: Sequence[int],
        code: int | Width,
        hidden: Sequence[int | Width] = (512, 256),
        activation: Activation = nn.ReLU,
    ) -> None:
        check_collection("shape", shape, "sizes", hint="(1, 28, 28) is one of MNIST's images")
        shape = tuple(check_int("shape", size) for size in shape)
        if not shape:
            raise ValueError(f"shape must name at least one dimension, got {shape!r}")
        axes = [check_int("pixels of shape", math.prod(shape))]
        axes += _hidden(hidden)
        axes += [check_axis("code", code)]
        encoder = nn.Sequential(nn.Flatten(), *_dense(axes, activation))
        decoder = nn.Sequential(
            *_dense(axes[::-1], activation), nn.Sigmoid(), nn.Unflatten(1, shape)
        )
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
