"""What figures are drawn from, checked before anything is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_collection, check_int, check_number, short_repr
from vsnn_lab.measure.ablation import WidthSweep

MOST_CLASSES = 1000  # as many as ImageNet has; a confusion matrix has the square of it


def check_sweep(sweep: Any, steps: int | None = None) -> WidthSweep:
    """Return a width sweep, of all widths where their number is given, or say what is wrong."""
    if not isinstance(sweep, WidthSweep):
        raise TypeError(
            f"sweep must be a WidthSweep, got {short_repr(sweep)}; width_sweep makes one"
        )
    sweep.check_ordered()
    if steps is not None and list(sweep.widths) != list(range(1, steps + 1)):
        found = np.array2string(sweep.widths, threshold=10)
        raise ValueError(f"sweep must hold every width 1..{steps}, got {found}")
    return sweep


def check_accuracies(sweep: Any, steps: int | None = None) -> WidthSweep:
    """Return a sweep whose values are shares, or say what is wrong; see `check_sweep`."""
    values = check_sweep(sweep, steps).values
    outside = values[~((values >= 0) & (values <= 1))]
    if len(outside):
        raise ValueError(
            f"sweep must hold accuracies in [0, 1], got {sweep.metric} {outside[0]:g}; "
            "width_sweep with metrics.accuracy measures them"
        )
    return sweep


def check_text(name: str, text: Any) -> str | None:
    """Return a text or None, or say what there is instead."""
    if text is None or isinstance(text, str):
        return text
    raise TypeError(f"{name} must be a string or None, got {short_repr(text)}")


def check_curve(name: str, curve: Any) -> dict[int, float]:
    """Return numbers by width, widths ascending; none for None."""
    points = check_points(name, curve)
    for width, numbers in points.items():
        if len(numbers) > 1:
            raise ValueError(
                f"{name} must have one number a width, got {short_repr(numbers)} at {width}"
            )
    return {width: numbers[0] for width, numbers in points.items()}


def check_points(name: str, points: Any) -> dict[int, list[float]]:
    """Return one or several numbers by width, widths ascending; none for None."""
    if points is None:
        return {}
    if not isinstance(points, Mapping):
        raise TypeError(f"{name} must map widths to numbers, got {short_repr(points)}")
    found: dict[int, list[float]] = {}
    for width, value in sorted_by_width(name, points).items():
        numbers = np.ravel(value).tolist() if isinstance(value, np.ndarray) else value
        if isinstance(numbers, str | range) or not isinstance(numbers, Sequence):
            numbers = [numbers]
        found[width] = [check_number(f"each value of {name}", number) for number in numbers]
        if not found[width]:
            raise ValueError(
                f"{name} must have a number at each of its widths, got {short_repr(value)}"
            )
    return found


def sorted_by_width(name: str, values: Mapping[Any, Any]) -> dict[int, Any]:
    """Return a mapping with its keys as ints, ascending, or say which is no width."""
    widths = {check_int(f"each width of {name}", width): width for width in values}
    return {width: values[widths[width]] for width in sorted(widths)}


def check_share(name: str, value: Any) -> float | None:
    """Return a number in [0, 1] or None, or say what there is instead."""
    if value is None:
        return None
    number = check_number(name, value, 0, hint="an accuracy is a share in [0, 1]")
    if number > 1:
        raise ValueError(f"{name} must be a share in [0, 1], got {value}; 0.9 is 90 %")
    return number


def check_shares(name: str, value: Any) -> dict[int, list[float]]:
    """Return one or several numbers in [0, 1] by width; none for None."""
    points = check_points(name, value)
    for numbers in points.values():
        for number in numbers:
            check_share(f"each value of {name}", number)
    return points


def check_class_names(names: Any, most: int = MOST_CLASSES) -> list[str]:
    """Return the names of at most so many classes, or say what is wrong with them."""
    check_collection("class_names", names, "names")
    if not 1 <= len(names) <= most:
        raise ValueError(f"class_names must name 1..{most} classes, got {len(names)}")
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"class_names must be strings, got {short_repr(name)}")
    return list(names)


def check_classes(
    name: str, value: Any, count: int, names: Sequence[str] | None = None
) -> np.ndarray:
    """Return one class for each of ``count`` samples as int64, each with a name; or say why not."""
    array = check_integers(name, value, (count,))
    low, high = (array.min(), array.max()) if count else (0, 0)
    top = high if names is None else len(names) - 1
    if low < 0 or high > top:
        raise ValueError(
            f"{name} must lie in 0..{top}, got {low if low < 0 else high}; class_names names each "
            "class"
        )
    return array.astype(np.int64)


def check_integers(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array or a tensor of integers as an array, or say what is wrong with it."""
    if not isinstance(value, Tensor | np.ndarray):
        raise TypeError(f"{name} must be an array or a tensor of integers, got {short_repr(value)}")
    array = as_array(value)
    if array.dtype.kind not in "ui" or array.shape != shape:
        raise ValueError(
            f"{name} must be integers of shape {shape}, got {array.dtype} of shape {array.shape}"
        )
    return array


def check_mask(name: str, mask: Any) -> np.ndarray:
    """Return a mask as an array of zeros and ones, or say what is wrong with it."""
    if not isinstance(mask, Tensor | np.ndarray):
        raise TypeError(f"{name} must be a mask of shape (batch, units), got {short_repr(mask)}")
    kept = as_array(mask)
    if kept.ndim != 2 or 0 in kept.shape or kept.dtype.kind not in "bui":
        raise ValueError(
            f"{name} must be boolean of shape (batch, units), got {kept.dtype} of shape "
            f"{kept.shape}"
        )
    return kept.astype(np.uint8)


def check_floats(name: str, value: Any, shape: str, dimensions: int) -> np.ndarray:
    """Return an array or a tensor of finite floats as float64, or say what is wrong with it.

    ``shape`` says in words what it should be, such as "(n, units)".
    """
    if not isinstance(value, Tensor | np.ndarray):
        raise TypeError(
            f"{name} must be an array or a tensor of shape {shape}, got {short_repr(value)}"
        )
    floats = value.is_floating_point() if isinstance(value, Tensor) else value.dtype.kind == "f"
    if not floats or value.ndim != dimensions or 0 in value.shape:
        raise ValueError(
            f"{name} must be floats of shape {shape}, got {value.dtype} of shape "
            f"{tuple(value.shape)}"
        )
    array = as_array(value.double() if isinstance(value, Tensor) else value).astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array


def check_images(name: str, images: Any, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Return images as float64 of shape (n, 1 or 3, height, width), or say what is wrong.

    ``shape`` is that of other images beside them, the originals.
    """
    array = check_floats(name, images, "(n, 1 or 3, height, width)", 4)
    if array.shape[1] not in (1, 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have the originals' shape {shape}, got {array.shape}")
    return array


def check_images_by_width(name: str, images: Any, shape: tuple[int, ...]) -> dict[int, np.ndarray]:
    """Return images by number of units, ascending, all of one shape; or say what is wrong."""
    if not isinstance(images, Mapping):
        raise TypeError(f"{name} must map numbers of units to images, got {short_repr(images)}")
    if not images:
        raise ValueError(f"{name} must hold at least one width, got none")
    found = sorted_by_width(name, images)
    return {width: check_images(f"{name}[{width}]", found[width], shape) for width in found}


def as_array(value: Tensor | np.ndarray) -> np.ndarray:
    """Return a tensor's numbers as an array, and an array as it is."""
    if not isinstance(value, Tensor):
        return value
    # NumPy has no bfloat16.
    own = value.float() if value.dtype is torch.bfloat16 else value
    return own.detach().cpu().numpy()
