"""Chains of modules: what they apply one after the other, and how images lie best for them."""

from collections.abc import Iterator

from torch import Tensor, nn

# Modules that leave every axis where it is. Another one after a variable layer may move its units
# (a flatten does), and then only the model itself can tell where they are.
ELEMENTWISE = (
    nn.Dropout,
    nn.ELU,
    nn.GELU,
    nn.Hardswish,
    nn.Identity,
    nn.LeakyReLU,
    nn.ReLU,
    nn.ReLU6,
    nn.SiLU,
    nn.Sigmoid,
    nn.Softplus,
    nn.Tanh,
)


def flatten_sequential(model: nn.Module) -> Iterator[nn.Module]:
    """List what a chain applies one after the other, chains inside it opened up."""
    plain = type(model).forward is nn.Sequential.forward or getattr(model, "is_chain", False)
    # A hook wants to see the whole chain run.
    hooked = model._forward_hooks or model._forward_pre_hooks
    if not (isinstance(model, nn.Sequential) and plain) or hooked:
        yield model
        return
    for child in model:
        yield from flatten_sequential(child)


def channels_last(model: nn.Module, x: Tensor) -> Tensor:
    """Return images with the channels of a pixel beside each other, where that is faster.

    So it is on a CPU: convolutions of some of their channels, 21 of 32 say, take up to two fifths
    less time. Only torch's own modules and this package's are sure to take images either way, and
    only of a chain that flattens its images nothing else sees that they lay otherwise; any other
    gets them as they are.

    Args:
        model: What is about to be applied to them.
        x: Inputs, of any shape.

    Returns:
        A tensor of the same shape and values.
    """
    if x.dim() != 4 or x.device.type != "cpu" or not isinstance(model, nn.Sequential):
        return x
    kinds = [type(module) for module in flatten_sequential(model)]
    known = {kind.__module__.partition(".")[0] for kind in kinds} <= {"torch", "vsnn_lab"}
    if not (known and nn.Flatten in kinds and any(issubclass(kind, nn.Conv2d) for kind in kinds)):
        return x
    laid = x.permute(0, 2, 3, 1).contiguous()
    count, height, width, channels = laid.shape
    # Strides as convolutions know them: those of a single channel are anything to torch.
    strides = (height * width * channels, 1, width * channels, channels)
    return laid.as_strided((count, channels, height, width), strides)
