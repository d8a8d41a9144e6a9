"""Pictures: one scale for all of them, sharp pixels."""

import base64
import io

import numpy as np
import torch
from torch import Tensor

GAP = 2  # pixels between pictures, transparent
MSE_SCALE = 1000  # pixels lie in [0, 1], so errors are a few thousandths


def to_bytes(images: Tensor | np.ndarray) -> np.ndarray:
    """Return pixels in [0, 1] as bytes on one scale for all pictures, colours last.

    Args:
        images: Shape (n, 1 or 3, height, width); values outside [0, 1] are clipped.

    Returns:
        uint8, shape (n, height, width, 1 or 3).
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(images.astype(np.float64))
    # Half precision has too few digits for 255 steps.
    images = images.detach().cpu().to(torch.promote_types(images.dtype, torch.float32))
    clipped = images.clamp(0, 1)
    return (clipped * 255).round().byte().permute(0, 2, 3, 1).numpy()


def tile(grid: np.ndarray) -> np.ndarray:
    """Lay a grid of pictures out, with transparent gaps.

    Args:
        grid: uint8, shape (rows, columns, height, width, channels); the last channel is opacity.

    Returns:
        uint8, shape (height, width, channels) of the whole.
    """
    cells = np.pad(grid, ((0, 0), (0, 0), (0, GAP), (0, GAP), (0, 0)))
    return join_grid(cells)[:-GAP, :-GAP]


def join_grid(grid: np.ndarray) -> np.ndarray:
    """Return pictures of a grid (rows, columns, height, width, channels) as one, without gaps."""
    rows, columns, height, width, channels = grid.shape
    return grid.swapaxes(1, 2).reshape(rows * height, columns * width, channels)


def tile_centers(count: int, size: int) -> list[float]:
    """Return the middle of each picture along one side of a `tile`, in its pixels."""
    return [index * (size + GAP) + (size - 1) / 2 for index in range(count)]


def add_opacity(pictures: np.ndarray) -> np.ndarray:
    """Return pictures, colours last, with a last channel in which they are opaque."""
    opaque = np.full((*pictures.shape[:-1], 1), 255, np.uint8)
    return np.concatenate([pictures, opaque], -1)


def png(pixels: np.ndarray) -> str:
    """Return pixels with opacity as a PNG data address, which a browser shows without a request.

    Args:
        pixels: uint8, shape (height, width, 2 or 4): grey or colour, then opacity.
    """
    from PIL import Image

    buffer = io.BytesIO()
    mode = {2: "LA", 4: "RGBA"}[pixels.shape[-1]]
    # A low level: pictures this small travel faster than they compress.
    Image.fromarray(pixels, mode).save(buffer, "png", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
