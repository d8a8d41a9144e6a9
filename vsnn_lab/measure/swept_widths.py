"""Which widths a sweep measures: positions of one slider, or dicts of those of several knobs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, short_repr
from vsnn_lab.networks.extraction import cut_positions
from vsnn_lab.widths import WidthControl, check_controls, most_steps, turn_together


def check_swept(model: nn.Module, widths: Any) -> list[Any]:
    """Return the widths asked for, each once: integers ascending, or dicts of all knobs.

    Raises:
        TypeError: If they are neither.
        ValueError: If one lies outside its range, there is none, or they are a matrix.
    """
    controls = check_controls(model)
    steps = most_steps(controls)
    rule = f"widths must be a vector or another iterable of integers in 1..{steps}"
    if isinstance(widths, Tensor | np.ndarray) and widths.dtype != object:
        if widths.ndim != 1:
            raise ValueError(f"{rule}, got shape {tuple(widths.shape)}: {short_repr(widths)}")
        widths = widths.tolist()
    if not isinstance(widths, Iterable) or isinstance(widths, str | Mapping):
        raise TypeError(
            f"{rule}, got {short_repr(widths)}; [{short_repr(widths)}] measures a single width"
        )
    hint = f"{max(controls, key=lambda control: control.steps)} sets the range"
    dicts: list[dict[WidthControl, int]] = []
    numbers: set[int] = set()
    for width in widths:  # one by one, since there may be no end to them
        if isinstance(width, Mapping):
            positions = cut_positions(model, width)
            dicts += [] if positions in dicts else [positions]
        # An index of its own has a vector of one width, too.
        elif isinstance(width, Tensor | np.ndarray) and width.ndim:
            raise TypeError(f"widths must be integers, got {short_repr(width)}")
        else:
            numbers.add(check_int("widths", width, 1, steps, hint=hint))
        if dicts and numbers:
            raise TypeError(
                f"widths must be dicts all of them or none, got {short_repr(width)} among others"
            )
    if not (dicts or numbers):
        raise ValueError(f"widths must name at least one width, got {short_repr(widths)}")
    return dicts or sorted(numbers)


def turns_of(controls: Sequence[WidthControl], wanted: Sequence[Any]) -> Sequence[Any]:
    """Return what `extract` takes for each of the widths swept."""
    if isinstance(wanted[0], int) and len(controls) > 1:
        return [turn_together(controls, position) for position in wanted]
    return wanted
