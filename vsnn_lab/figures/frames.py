"""Frames of an animation as one picture: a sheet, read line by line."""

import io
import math

import numpy as np
from PIL import Image

from vsnn_lab.figures.images import join_grid


def sheet_columns(count: int, height: int, width: int) -> int:
    """Return how many frames stand in a line of a sheet that is about square.

    Example:
        >>> sheet_columns(60, 120, 160)
        7
    """
    return max(1, min(count, round(math.sqrt(count * height / width))))


def encode_frames(frames: np.ndarray, quality: int) -> bytes:
    """Return frames as a sheet in WebP, which every browser decodes.

    Args:
        frames: uint8, shape (n, height, width, 3).
        quality: 0 to 100.
    """
    columns = sheet_columns(*frames.shape[:3])
    room = -len(frames) % columns
    filled = np.concatenate([frames, np.repeat(frames[-1:], room, 0)])
    sheet = join_grid(filled.reshape(-1, columns, *frames.shape[1:]))
    written = io.BytesIO()
    Image.fromarray(sheet).save(written, "WEBP", quality=quality)
    return written.getvalue()


def decode_frames(data: bytes, count: int, size: tuple[int, int]) -> np.ndarray:
    """Return the frames of a sheet, shape (count, height, width, 3)."""
    with Image.open(io.BytesIO(data)) as picture:
        sheet = np.asarray(picture.convert("RGB"))
    height, width = size
    grid = sheet.reshape(-1, height, sheet.shape[1] // width, width, 3).swapaxes(1, 2)
    return grid.reshape(-1, height, width, 3)[:count]
