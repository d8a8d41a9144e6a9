"""The images that an instrument shows."""

import numpy as np
import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_tensor


def to_floats(images: Tensor) -> np.ndarray:
    """Return images as the figures take them."""
    return images.detach().cpu().to(torch.float64).numpy()


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
