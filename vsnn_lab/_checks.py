"""Refusals in one wording: the argument, the rule, the value and what to do."""

import operator
from typing import Any


def check_int(
    name: str, value: Any, low: int | None = 1, high: int | None = None, *, hint: str = ""
) -> int:
    """Return ``value`` as an int within ``low..high``, or say what is wrong with it.

    NumPy integers pass; a bool or a float does not, because ``1`` and ``1.0`` mean different
    widths to many people and guessing would hide the mistake.

    Raises:
        TypeError: If ``value`` is not an integer.
        ValueError: If it lies outside the range.
    """
    rule = "" if low is None else f" at least {low}" if high is None else f" in {low}..{high}"
    tail = f"; {hint}" if hint else ""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(
            f"{name} must be an integer{rule}, got {value!r} of type {type(value).__name__}{tail}"
        )
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer{rule}, got {value!r}{tail}") from None
    if low is None:
        return number
    if number < low or (high is not None and number > high):
        verb = "be" if high is None else "lie"
        raise ValueError(f"{name} must {verb}{rule}, got {number}{tail}")
    return number


def check_fraction(name: str, value: Any, *, hint: str = "") -> float:
    """Return ``value`` as a float within [0, 1], or say what is wrong with it."""
    tail = f"; {hint}" if hint else ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{name} must be a number in [0, 1], got {value!r} of type {type(value).__name__}{tail}"
        )
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}{tail}")
    return float(value)
