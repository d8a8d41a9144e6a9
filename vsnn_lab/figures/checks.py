"""What figures are drawn from, checked before anything is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vsnn_lab._basics.checks import check_int, check_number
from vsnn_lab.measure.ablation import WidthSweep


def check_sweep(sweep: Any) -> WidthSweep:
    """Return a width sweep, or say what there is instead."""
    if not isinstance(sweep, WidthSweep):
        raise TypeError(f"sweep must be a WidthSweep, got {sweep!r}; width_sweep makes one")
    return sweep


def check_text(name: str, text: Any) -> str | None:
    """Return a text or None, or say what there is instead."""
    if text is None or isinstance(text, str):
        return text
    raise TypeError(f"{name} must be a string or None, got {text!r}")


def check_curve(name: str, curve: Any) -> dict[int, float]:
    """Return numbers by width, widths ascending; none for None."""
    points = check_points(name, curve)
    for width, numbers in points.items():
        if len(numbers) > 1:
            raise ValueError(f"{name} must have one number a width, got {numbers} at {width}")
    return {width: numbers[0] for width, numbers in points.items()}


def check_points(name: str, points: Any) -> dict[int, list[float]]:
    """Return one or several numbers by width, widths ascending; none for None."""
    if points is None:
        return {}
    if not isinstance(points, Mapping):
        raise TypeError(f"{name} must map widths to numbers, got {points!r}")
    widths = {check_int(f"each width of {name}", width): width for width in points}
    return {width: _numbers(name, points[widths[width]]) for width in sorted(widths)}


def _numbers(name: str, value: Any) -> list[float]:
    several = isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
    numbers = np.ravel(value).tolist() if isinstance(value, np.ndarray) else value
    found = [check_number(f"each value of {name}", v) for v in (numbers if several else [value])]
    if not found:
        raise ValueError(f"{name} must have a number at each of its widths, got {value!r}")
    return found


def check_mask(name: str, mask: Any) -> np.ndarray:
    """Return a mask as an array of zeros and ones, or say what is wrong with it."""
    if not isinstance(mask, Tensor | np.ndarray):
        raise TypeError(f"{name} must be a mask of shape (batch, units), got {mask!r}")
    kept = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else mask
    if kept.ndim != 2 or 0 in kept.shape or kept.dtype.kind not in "bui":
        raise ValueError(
            f"{name} must be boolean of shape (batch, units), got {kept.dtype} of shape "
            f"{kept.shape}"
        )
    return kept.astype(np.uint8)


def check_pictures(name: str, pictures: Any) -> np.ndarray:
    """Return pictures as bytes, or say what is wrong with them."""
    if not isinstance(pictures, np.ndarray):
        raise TypeError(f"{name} must be an array of pictures, got {pictures!r}")
    fits = pictures.ndim == 4 and pictures.shape[-1] in (1, 3) and 0 not in pictures.shape
    if not fits or pictures.dtype != np.uint8:
        raise ValueError(
            f"{name} must be uint8 of shape (n, height, width, 1 or 3), got {pictures.dtype} of "
            f"shape {pictures.shape}"
        )
    return pictures
