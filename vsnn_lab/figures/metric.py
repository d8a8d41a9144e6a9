"""What a number measures: how it is called and shown, and which of two is better."""

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from vsnn_lab._basics.checks import check_choice, check_number, short_repr


@dataclass(frozen=True)
class Metric:
    """What recorded or drawn numbers measure.

    Attributes:
        name: What it is called, such as "test accuracy".
        better: "lower" or "higher": which of two values is the better one.
        unit: Of the values as they are shown, such as "%".
        scale: Factor from a value to how it is shown, such as 100 for a share in percent.

    Raises:
        TypeError: If a field is of another type.
        ValueError: If the name is empty, ``better`` is neither, or the scale not above zero.

    Example:
        >>> accuracy = Metric("test accuracy", "higher", unit="%", scale=100)
        >>> accuracy.label, accuracy.text(0.90123), min([0.5, 0.9, 0.7], key=accuracy.rank)
        ('test accuracy (%)', '90.12 %', 0.9)
    """

    name: str
    better: Literal["lower", "higher"]
    unit: str = ""
    scale: float = 1.0

    def __post_init__(self) -> None:
        for field in ("name", "unit"):
            if not isinstance(getattr(self, field), str):
                raise TypeError(f"{field} must be a string, got {short_repr(getattr(self, field))}")
        if not self.name:
            raise ValueError("name must not be empty, got ''")
        check_choice("better", self.better, ("lower", "higher"))
        scale = check_number("scale", self.scale)
        if scale <= 0:
            raise ValueError(f"scale must be above 0, got {scale}; better says the direction")
        object.__setattr__(self, "scale", scale)

    @property
    def label(self) -> str:
        """Name and unit, for an axis or a column."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def extreme(self) -> Literal["lowest", "highest"]:
        """What the best of several values is among them."""
        return "lowest" if self.better == "lower" else "highest"

    def text(self, value: float) -> str:
        """Return a value as people read it: four digits that count, and the unit."""
        shown = _number(value) * self.scale
        digits = f"{shown:,.0f}" if 1e4 <= abs(shown) < 1e15 else f"{shown:.4g}"
        return f"{digits} {self.unit}".rstrip()

    def rank(self, value: float) -> float:
        """Return a number by which values sort from the best to the worst, nan last."""
        number = _number(value)
        if math.isnan(number):
            return math.inf
        return number if self.better == "lower" else -number


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"value must be a number, got {short_repr(value)}")
    try:
        return float(value)
    except OverflowError:  # an integer beyond all floats
        return math.copysign(math.inf, value)


def check_metric(name: str, metric: Any) -> Metric | None:
    """Return a metric or None, or say what there is instead."""
    if metric is None or isinstance(metric, Metric):
        return metric
    raise TypeError(
        f"{name} must be a Metric or None, got {short_repr(metric)}; "
        "Metric('accuracy', 'higher') is one"
    )
