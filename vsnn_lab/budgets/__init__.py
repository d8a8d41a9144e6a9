"""What a width costs, and which width a budget affords."""

from vsnn_lab.budgets.choices import choose_width, choose_widths
from vsnn_lab.budgets.costs import Latency, count_macs, count_parameters, measure_latency

__all__ = [
    "Latency",
    "choose_width",
    "choose_widths",
    "count_macs",
    "count_parameters",
    "measure_latency",
]
