"""Classes in figures: their names as captions, and checks of what is said about samples."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from torch import Tensor

from vsnn_lab._basics.checks import check_number
from vsnn_lab.figures.checks import check_points, check_sweep
from vsnn_lab.measure.ablation import WidthSweep

_LETTERS = 12  # of a name that fits below a picture


def captions(names: Sequence[str]) -> list[str]:
    """Return names of classes as text that Plotly shows as it is, short enough for a caption.

    Example:
        >>> captions(["Shirt", "a<b>", "Trousers and socks"])
        ['Shirt', 'a&lt;b&gt;', 'Trousers an…']
    """
    short = [
        name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1].rstrip()}…" for name in names
    ]
    return [escape(name, quote=False) for name in short]


def check_classes(name: str, value: Any, count: int, classes: int) -> np.ndarray:
    """Return one class for each of ``count`` samples as int64, or say what is wrong with them."""
    if not isinstance(value, Tensor | np.ndarray):
        raise TypeError(f"{name} must be an array or a tensor of integers, got {value!r}")
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    if array.dtype.kind not in "ui" or array.shape != (count,):
        raise ValueError(
            f"{name} must be integers of shape ({count},), got {array.dtype} of shape {array.shape}"
        )
    if count and not 0 <= array.min() <= array.max() < classes:
        worst = array.min() if array.min() < 0 else array.max()
        raise ValueError(
            f"{name} must lie in 0..{classes - 1}, got {worst}; class_names names each class"
        )
    return array.astype(np.int64)


def check_confusion(value: Any, classes: int) -> np.ndarray:
    """Return counts by true and predicted class as int64, or say what is wrong with them."""
    if not isinstance(value, Tensor | np.ndarray):
        raise TypeError(f"confusion must be an array or a tensor of counts, got {value!r}")
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    if array.dtype.kind not in "ui" or array.shape != (classes, classes):
        raise ValueError(
            f"confusion must be integers of shape ({classes}, {classes}), got {array.dtype} of "
            f"shape {array.shape}"
        )
    if array.min() < 0:
        raise ValueError(f"confusion must hold counts, got {array.min()}")
    return array.astype(np.int64)


def row_shares(confusion: np.ndarray) -> list[list[float]]:
    """Return each count as a share of its row; zeros where a class has no sample.

    Example:
        >>> row_shares(np.array([[3, 1], [0, 0]]))
        [[0.75, 0.25], [0.0, 0.0]]
    """
    totals = confusion.sum(1, keepdims=True)
    # As short as the eye allows: a page without a kernel holds them for every width.
    return (confusion / totals.clip(1)).round(4).tolist()


def check_share(name: str, value: Any) -> float:
    """Return a number in [0, 1], or say what there is instead."""
    number = check_number(name, value, 0, hint="an accuracy is a share in [0, 1]")
    if number > 1:
        raise ValueError(f"{name} must be a share in [0, 1], got {value}; 0.9 is 90 %")
    return number


def check_shares(name: str, value: Any) -> Mapping[int, list[float]]:
    """Return one or several numbers in [0, 1] by width; none for None."""
    points = check_points(name, value)
    for numbers in points.values():
        for number in numbers:
            check_share(f"each value of {name}", number)
    return points


def check_accuracies(sweep: Any) -> WidthSweep:
    """Return a sweep whose values are shares, or say what there is instead."""
    values = check_sweep(sweep).values
    outside = values[~((values >= 0) & (values <= 1))]
    if len(outside):
        raise ValueError(
            f"sweep must hold accuracies in [0, 1], got {sweep.metric} {outside[0]:g}; "
            "width_sweep with metrics.accuracy measures them"
        )
    return sweep
