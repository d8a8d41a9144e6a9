"""What a person draws, or opens as a file, as an input, and what becomes of it at each width."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsnn_lab.explore.parts import array
from vsnn_lab.export.dense import pack_dense
from vsnn_lab.figures.images import to_bytes
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.networks.forward import forward_at_widths
from vsnn_lab.widths import joint_positions

Pad = tuple[dict[str, Any], dict[str, Any], Callable[[Any], np.ndarray]]
_COMPARED = 32  # images that a network in the page is compared on before it is sent


def drawing_pad(
    model: nn.Module,
    images: Tensor,
    inputs: Tensor,
    widths: Sequence[int],
    classes: Sequence[str] | None = None,
) -> Pad | None:
    """Return a pad to draw inputs of a model on, or None where no image becomes an input.

    Args:
        model: A network with one knob.
        images: Shape (n, channels, height, width), in [0, 1].
        inputs: What the model takes for each of them.
        widths: Knob positions of the slider.
        classes: Names of its classes; without them it returns images.

    Returns:
        The part; its arrays, which hold a small dense network itself, so that the pad works without
        a kernel; and what to call with the bytes of a drawing.
    """
    to_input = input_of(images, inputs)
    if to_input is None:
        return None
    shape, paper = list(images.shape[1:]), paper_of(images)
    packed = pack_dense(model, inputs[:_COMPARED])
    part = {"type": "pad", "by": "width", "shape": shape, "paper": paper}
    part |= {"center": shape[0] == 1 and not paper, "network": packed and packed[0]}
    part |= {"mode": "pictures"} if classes is None else {"mode": "classes", "classes": [*classes]}
    arrays = {"network": array(np.frombuffer(packed[1], np.uint8))} if packed else {}

    def run(pixels: bytes | memoryview) -> np.ndarray:
        return run_drawing(model, pixels, shape, to_input, widths, classes is not None)

    return part, arrays, run


def input_of(images: Tensor, inputs: Tensor) -> Callable[[Tensor], Tensor] | None:
    """Return how an image becomes a model's input: as it is, or flat; None if it is neither.

    Args:
        images: Shape (n, channels, height, width).
        inputs: What the model takes for each, shape (n, ...).
    """
    for to_input in (_as_it_is, _flat):
        known = to_input(images)
        if inputs is known or (
            inputs.shape == known.shape and torch.equal(inputs, known.to(inputs))
        ):
            return to_input
    return None


def _as_it_is(images: Tensor) -> Tensor:
    return images


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1)


def paper_of(images: Tensor) -> int:
    """Return what a drawing on images like these is made on: 255 (white), or 0 (black)."""
    edges = [images[..., 0, :], images[..., -1, :], images[..., 0], images[..., -1]]
    return 255 * int(torch.cat([edge.flatten() for edge in edges]).float().mean() > 0.5)


def run_drawing(
    model: nn.Module,
    pixels: bytes | memoryview,
    shape: Sequence[int],
    to_input: Callable[[Tensor], Tensor],
    widths: Sequence[int],
    classes: bool,
) -> np.ndarray:
    """Run a drawing at all widths in one go, where the network is proven to allow it.

    Args:
        model: A network with one knob, or several that are turned together.
        pixels: One byte each, channels first.
        shape: Of the image: (channels, height, width).
        to_input: As from `input_of`.
        widths: Knob positions.
        classes: Whether the outputs are numbers for classes; else they are images.

    Returns:
        By width, probabilities of the classes, float32, shape (widths, classes); or images, uint8,
        shape (widths, height, width, channels).

    Raises:
        ValueError: If there are more or fewer pixels than the shape says, or the model returns
            something else.
    """
    size = int(np.prod(shape))
    if len(pixels) != size:
        raise ValueError(f"pixels must be {size} bytes for shape {tuple(shape)}, got {len(pixels)}")
    image = torch.tensor(np.frombuffer(pixels, np.uint8)).view(1, *shape)
    x = to_input(to_device_of(model, image.div(255)))
    with evaluation_mode(model):
        output = forward_at_widths(
            model,
            x.expand(len(widths), *x.shape[1:]),
            joint_positions(model, torch.tensor([*widths])),
        )
    output = output.float().cpu()
    if not output.isfinite().all():
        raise ValueError("model must return finite numbers, got NaN or infinity for the drawing")
    if classes:
        return output.softmax(1).numpy()
    if output.shape[1:] != tuple(shape):
        raise ValueError(
            f"model must return images of shape {tuple(shape)}, got {tuple(output.shape[1:])}"
        )
    return to_bytes(output)
