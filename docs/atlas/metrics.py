"""How the atlas shows each metric, and says how far two values of it are apart."""

from collections.abc import Callable
from typing import NamedTuple


class ShownMetric(NamedTuple):
    """A metric as people read it.

    Attributes:
        label: Name and unit.
        convert: Makes a value of the results one that is shown.
        text: A shown value in words.
        gap: What a shown value is worse by than another, at most as good as 0 if it is not.
        gap_text: How much that is, in words.
    """

    label: str
    convert: Callable[[float], float]
    text: Callable[[float], str]
    gap: Callable[[float, float], float]
    gap_text: str

    def difference(self, value: float, other: float) -> str:
        """Return how a shown value stands beside another."""
        gap = self.gap(value, other)
        amount = self.gap_text.format(abs(gap))
        if amount == self.gap_text.format(0.0):
            return "level"
        return f"{amount} {'worse' if gap > 0 else 'better'}"


def _percent_above(value: float, other: float) -> float:
    return 100 * (value / other - 1)


METRICS = {
    "accuracy": ShownMetric(
        "test error, %",
        lambda share: 100 * (1 - share),
        "{:.2f}\xa0% error".format,
        lambda value, other: value - other,
        "{:.2f} points",
    ),
    "mse": ShownMetric(
        "test MSE × 1000",
        lambda error: 1000 * error,
        "MSE × 1000: {:.2f}".format,
        _percent_above,
        "{:.1f}\xa0%",
    ),
    "bits_per_byte": ShownMetric(
        "bits per byte",
        float,
        "{:.3f} bits a byte".format,
        _percent_above,
        "{:.1f}\xa0%",
    ),
    "returns": ShownMetric(
        "return (more is better)",
        float,
        "return {:,.0f}".format,
        lambda value, other: other - value,
        "{:,.0f}",
    ),
}
