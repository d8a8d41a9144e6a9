"""Rows and columns of pictures as one picture: one scale, sharp pixels, aspect kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor

from vsnn_lab.figures import style
from vsnn_lab.figures.images import png, to_bytes

GAP = 2  # pixels between pictures, transparent
_WIDEST = 900  # pixels of the screen, the width of the README's text
_LARGEST = 96  # pixels of the screen that a picture's longer side takes at most
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 16, 12, 12
_LABELS = 44  # pixels of the screen for a line of labels and its title


def check_floats(name: str, value: Any, shape: str, dimensions: int) -> np.ndarray:
    """Return an array or a tensor of finite floats as float64, or say what is wrong with it.

    Args:
        name: The argument.
        value: What was passed.
        shape: Its shape in words, such as "(n, units)".
        dimensions: How many those are.
    """
    if not isinstance(value, Tensor | np.ndarray):
        raise TypeError(f"{name} must be an array or a tensor of shape {shape}, got {value!r}")
    tensor = isinstance(value, Tensor)
    floats = value.is_floating_point() if tensor else value.dtype.kind == "f"
    if not floats or value.ndim != dimensions or 0 in value.shape:
        raise ValueError(
            f"{name} must be floats of shape {shape}, got {value.dtype} of shape "
            f"{tuple(value.shape)}"
        )
    array = value.detach().cpu().double().numpy() if tensor else value.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array


def check_images(name: str, images: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return images as float64 of shape (n, 1 or 3, height, width), or say what is wrong.

    Args:
        name: The argument.
        images: What was passed.
        shape: Shape that they have to have, that of other images beside them.
    """
    array = check_floats(name, images, "(n, 1 or 3, height, width)", 4)
    if array.shape[1] not in (1, 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have the originals' shape {shape}, got {array.shape}")
    return array


def as_bytes(images: np.ndarray) -> np.ndarray:
    """Return float images, shape (n, channels, height, width), as bytes with colours last."""
    return to_bytes(torch.from_numpy(np.array(images, np.float64)))


def as_colors(pictures: np.ndarray) -> np.ndarray:
    """Return pictures of one or three channels with three, so that they share a grid."""
    return np.broadcast_to(pictures, (*pictures.shape[:-1], 3))


def tile(grid: np.ndarray) -> np.ndarray:
    """Lay a grid of pictures out.

    Args:
        grid: uint8, shape (rows, columns, height, width, channels).

    Returns:
        uint8, shape (height, width, channels + 1) of the whole; the last channel is opacity, zero
        in the gaps.
    """
    rows, columns, height, width, channels = grid.shape
    canvas = np.zeros((rows, height + GAP, columns, width + GAP, channels + 1), np.uint8)
    canvas[:, :height, :, :width, :channels] = grid.transpose(0, 2, 1, 3, 4)
    canvas[:, :height, :, :width, channels] = 255
    whole = canvas.reshape(rows * (height + GAP), columns * (width + GAP), channels + 1)
    return whole[:-GAP, :-GAP]


def centers(count: int, size: int) -> list[float]:
    """Return the middle of each picture along one side of the whole, in its pixels."""
    return [index * (size + GAP) + (size - 1) / 2 for index in range(count)]


def tiles_figure(
    grid: np.ndarray,
    rows: Sequence[str],
    columns: Sequence[str] = (),
    *,
    columns_title: str | None = None,
    title: str | None = None,
    right: int = _RIGHT,
    header: bool = False,
) -> go.Figure:
    """Draw a grid of pictures with labels, as large as fits into 900 pixels.

    Args:
        grid: uint8, shape (rows, columns, height, width, channels).
        rows: A label left of each row.
        columns: A label above each column, or none.
        columns_title: Above those.
        title: Above the figure.
        right: Pixels of the screen kept free on the right.
        header: Keep a line free above the pictures.

    Returns:
        A figure whose size follows from the pictures'; its axes count their pixels.
    """
    _, count, height, width, _ = grid.shape
    pixels = tile(grid)
    tall, wide = pixels.shape[:2]
    scale = min((_WIDEST - _LEFT - right) / wide, _LARGEST / max(height, width))
    above = (36 if title else 0) + (_LABELS if columns else 24 if header else _TOP)
    figure = go.Figure(go.Image(source=png(pixels), hoverinfo="skip"))
    figure.update_layout(
        template=style.TEMPLATE,
        title=title,
        width=round(wide * scale) + _LEFT + right,
        height=round(tall * scale) + above + _BOTTOM,
        margin={"l": _LEFT, "r": right, "t": above, "b": _BOTTOM},
    )
    axes = style.pixel_axes()
    figure.update_yaxes(
        axes["yaxis"] | {"tickvals": centers(len(rows), height), "ticktext": list(rows)},
        ticklabelstandoff=6,
    )
    figure.update_xaxes(axes["xaxis"])
    if columns:
        figure.update_xaxes(
            side="top",
            showticklabels=True,
            tickvals=centers(count, width),
            ticktext=list(columns),
            title={"text": columns_title, "standoff": 4},
        )
    return figure
