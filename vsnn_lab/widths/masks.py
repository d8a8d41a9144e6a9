"""Prefix masks: which units of which sample stay.

Row i of a batch keeps its first units; a batch whose widths count from 1 to W makes a lower
triangle, which gave the method its name (Staley & Markowitz 2022, arXiv 2205.01235).
"""

import torch
from torch import Tensor

from vsnn_lab._basics.checks import check_int, check_tensor
from vsnn_lab.widths.axes import Width, kept_parts, kept_ranges, kept_size, take_units
from vsnn_lab.widths.knob import WidthControl, check_widths


def prefix_mask(widths: Tensor, max_width: int) -> Tensor:
    """Keep the first ``widths[i]`` units of sample ``i``.

    Args:
        widths: Units kept per sample, shape (batch,), each in 1..max_width.
        max_width: Units in the full layer.

    Returns:
        Boolean mask, shape (batch, max_width), on the device of ``widths``.

    Raises:
        TypeError: If ``widths`` is not an integer tensor.
        ValueError: If a width lies outside 1..max_width.

    References:
        Staley & Markowitz 2022, "Triangular Dropout", arXiv 2205.01235.

    Example:
        >>> prefix_mask(torch.tensor([1, 3]), 3).int()
        tensor([[1, 0, 0],
                [1, 1, 1]], dtype=torch.int32)
    """
    max_width = check_int("max_width", max_width)
    hint = f"max_width={max_width} sets the range"
    return _prefix(check_widths("widths", widths, max_width, hint=hint), max_width)


def _prefix(widths: Tensor, max_width: int) -> Tensor:
    return torch.arange(max_width, device=widths.device) < widths.unsqueeze(1)


def keep_prefix(x: Tensor, axis: int | Width, dim: int = -1) -> Tensor:
    """Give a layer the units of ``x`` that its input axis keeps now.

    This is where an axis is consumed. With the knob at an int the rest is cut off; with one
    width per sample the rest becomes zero, so that a bias or an activation with f(0) != 0
    in between cannot leak into the next layer, and no gradient reaches a unit beyond the width.

    Args:
        x: Activations, shape (batch, ...), ``axis`` along ``dim``: all its units, or just those
            that are kept.
        axis: The axis, fixed or variable.
        dim: Where it lies.

    Raises:
        TypeError: If ``x`` is no tensor.
        ValueError: If ``x`` has neither size, or not as many samples as there are widths.
    """
    if isinstance(axis, int):
        return x
    check_tensor("x", x)
    if not -x.dim() <= dim < x.dim():
        raise ValueError(f"x must have units in dimension {dim}, got shape {tuple(x.shape)}")
    if axis.is_prefix and isinstance(position := axis.controls[0].position, int):
        kept = axis.parts[0].kept(position)
        if x.shape[dim] == kept:
            return x
        if x.shape[dim] == axis.max_width:
            return x.narrow(dim, 0, kept)
    positions = {control: control.position for control in axis.controls}
    fixed = {control: each for control, each in positions.items() if isinstance(each, int)}
    if len(fixed) == len(positions):
        return _slice(x, axis, dim, fixed)
    _check_rows(
        x, axis, dim, {len(each) for each in positions.values() if isinstance(each, Tensor)}
    )
    widest = {control: control.widest for control in axis.controls}
    ranges, size = kept_ranges(axis, widest), x.shape[dim]
    most = sum(length for _, length in ranges)
    if size not in (most, axis.max_width):
        raise ValueError(
            f"x must have {axis.max_width} units in dimension {dim} when each sample has its own "
            f"width, got shape {tuple(x.shape)}"
        )
    x = x if size == most else take_units(x, ranges, dim)
    # `where`, not a product: an infinity beyond the width must not become a NaN.
    return torch.where(mask_like(x, axis, dim), x, 0.0)


def _check_rows(x: Tensor, axis: Width, dim: int, widths: set[int]) -> None:
    """Refuse a tensor whose rows are not those of samples that have widths of their own."""
    most = max(widths)
    place, several = axis.rows
    rows = x.shape[place] if x.dim() > max(1, place) and dim % x.dim() != place else 0
    if len(widths) > 1 or not rows or (rows % most if several else rows != most):
        raise ValueError(
            f"x must have one row for each of the {most} widths, got shape {tuple(x.shape)}"
        )


def _slice(x: Tensor, axis: Width, dim: int, positions: dict[WidthControl, int]) -> Tensor:
    kept = kept_size(axis, positions)
    if x.shape[dim] == kept:
        return x
    if x.shape[dim] == axis.max_width:
        return take_units(x, kept_ranges(axis, positions), dim)
    where = [f"{position} of {control.steps}" for control, position in positions.items()]
    raise ValueError(
        f"x must have {kept} or {axis.max_width} units in dimension {dim} at width "
        f"{', '.join(where)}, got shape {tuple(x.shape)}"
    )


def mask_like(x: Tensor, axis: Width, dim: int = -1) -> Tensor:
    """Return the mask of an axis whose samples have widths of their own, shaped to act on ``x``.

    Args:
        x: Activations, shape (batch, ...), ``axis`` along ``dim``.
        axis: The axis; a knob of it stands at a width vector.
        dim: Where it lies.

    Returns:
        Boolean, batch and units in their places and 1 everywhere else.
    """
    place, several = axis.rows
    parts = []
    for part, most in kept_parts(axis):
        position = None if part.control is None else part.control.position
        if isinstance(position, Tensor):
            units = part.kept(position.to(x.device))
            if several:
                units = units.repeat_interleave(x.shape[place] // len(units))
            parts.append(_prefix(units, most))
        else:
            parts.append(torch.ones(x.shape[place], most, dtype=torch.bool, device=x.device))
    return spread(parts[0] if len(parts) == 1 else torch.cat(parts, 1), x, dim, place)


def spread(mask: Tensor, x: Tensor, dim: int, rows: int = 0) -> Tensor:
    """Shape a mask (rows, units) to act on ``x``, whose units lie along ``dim``."""
    shape = [1] * x.dim()
    shape[rows], shape[dim] = mask.shape
    units_first = dim % x.dim() in range(rows)
    return mask.T.reshape(shape) if units_first else mask.view(shape)
