"""Frames of an animation for each position of a slider: checked, and packed to travel."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vsnn_lab._basics.checks import check_collection, check_int, short_repr
from vsnn_lab.explore.parts import array, counts
from vsnn_lab.figures.frames import encode_frames, sheet_columns

_PIXELS = 5_000_000  # of all frames of a position; a browser holds four bytes of each
_BYTES = 1_600_000  # of all sheets, about, so that a saved page stays below 3 MB
_QUALITIES = (80, 65, 50, 35, 20)


def check_frames(count: Any, size: Any) -> tuple[int, int, int]:
    """Return how many frames of what height and width, or say why they are too many."""
    sides = [
        check_int("each of size", side, 8, 1024) for side in check_collection("size", size, "sides")
    ]
    if len(sides) != 2:
        raise ValueError(f"size must be a height and a width, got {short_repr(size)}")
    count, (height, width) = check_int("frames", count), sides
    if count * height * width > _PIXELS:
        raise ValueError(
            f"frames times size must be at most {_PIXELS:,} pixels, got {count} of "
            f"{height} x {width}"
        )
    return count, height, width


def check_strips(strips: Any) -> dict[int, np.ndarray]:
    """Return frames by width, or say what is wrong with them."""
    if not isinstance(strips, Mapping) or not strips:
        raise TypeError(f"strips must map widths to frames, got {short_repr(strips)}")
    first = next(iter(strips.values()))
    for width, strip in strips.items():
        fits = isinstance(strip, np.ndarray) and strip.dtype == np.uint8 and strip.ndim == 4
        if not fits or strip.shape[-1] != 3 or strip.shape != first.shape:
            what = f"{strip.dtype} {strip.shape}" if hasattr(strip, "dtype") else short_repr(strip)
            raise ValueError(
                "each of strips must be uint8 of one shape (n, height, width, 3), "
                f"got {what} at {short_repr(width)}"
            )
    check_frames(len(first), first.shape[1:3])
    return dict(strips)


def frames_part(
    strips: Sequence[np.ndarray], rate: float, tracks: Mapping[str, bool], note: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the part that plays frames, and its arrays: sheets, as fine as they may be.

    Args:
        strips: For each position of ``width``, uint8 of shape (n, height, width, 3).
        rate: Frames a second.
        tracks: What is played beside each other, by its label: whether it stays at the last
            position.
        note: A line below.
    """
    count, height, width = strips[0].shape[:3]
    ends = strips[0], strips[-1]
    sizes = ((q, max(len(encode_frames(end, q)) for end in ends)) for q in _QUALITIES)
    quality = next((q for q, size in sizes if size * len(strips) <= _BYTES), _QUALITIES[-1])
    sheets = [encode_frames(strip, quality) for strip in strips]
    lengths = np.array([len(sheet) for sheet in sheets])
    packed = np.zeros((len(sheets), lengths.max()), np.uint8)
    for row, sheet in zip(packed, sheets, strict=True):
        row[: len(sheet)] = np.frombuffer(sheet, np.uint8)
    part = {
        "type": "frames",
        "by": "width",
        "source": "sheets",
        "lengths": "lengths",
        "count": count,
        "columns": sheet_columns(count, height, width),
        "size": [height, width],
        "rate": rate,
        "tracks": [{"label": label, "last": last} for label, last in tracks.items()],
        "note": note,
    }
    return part, {"sheets": array(packed, "width"), "lengths": counts(lengths, "width")}
