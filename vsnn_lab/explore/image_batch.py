"""The images that an instrument shows."""

from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vsnn_lab._basics.checks import check_tensor, short_repr
from vsnn_lab.figures.images import to_bytes

_LARGEST = 144  # pixels: a picture of an instrument is no larger, also on a screen of two a pixel


def to_sprites(images: Tensor) -> np.ndarray:
    """Return images as bytes as an instrument shows them: colours last, large ones made smaller."""
    images = images.detach().cpu().float()
    scale = _LARGEST / max(images.shape[-2:])
    if scale < 1:
        size = [max(1, round(scale * side)) for side in images.shape[-2:]]
        images = F.interpolate(images, size, mode="area")
    return to_bytes(images)


def check_rebuilt(output: Any, shape: tuple[int, ...], where: str = "") -> Tensor:
    """Return what a model gives for images if it is images of that shape; or say what it is."""
    if not isinstance(output, Tensor) or tuple(output.shape) != shape:
        got = tuple(output.shape) if isinstance(output, Tensor) else short_repr(output)
        raise ValueError(f"model must return images of shape {shape}, got {got}")
    if not output.isfinite().all():
        raise ValueError(f"model must return finite pixels, got nan or inf{where}")
    return output


def check_image_batch(images: Tensor, shape: tuple[int, ...] | None) -> None:
    """Refuse what is not a batch of images; ``shape`` is that of one, where the model tells it."""
    check_tensor("images", images)
    if shape is not None and (len(shape) != 3 or shape[0] not in (1, 3)):
        raise ValueError(
            f"model must take images of shape (1 or 3, height, width), got {tuple(shape)}"
        )
    wanted = ", ".join(map(str, shape or ("1 or 3", "height", "width")))
    fits = images.dim() == 4 and tuple(images.shape[1:]) == tuple(shape or images.shape[1:])
    if not fits or images.shape[1] not in (1, 3) or images.numel() == 0:
        raise ValueError(f"images must have shape (n, {wanted}), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype}")
    low, high = (value.item() for value in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"images must be floats in [0, 1], got {images.dtype} in [{low}, {high}]")
