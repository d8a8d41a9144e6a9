"""What a width is worth and what it costs: metrics at each width, counts, latency, budgets.

May import ``_basics``, ``widths``, ``samplers``, ``layers``, ``networks``.
"""

from vsnn_lab.measure.ablation import WidthSweep, width_sweep
from vsnn_lab.measure.budgets import choose_width, choose_widths
from vsnn_lab.measure.costs import Latency, count_macs, count_parameters, measure_latency
from vsnn_lab.measure.recalibration import recalibrate, recalibrate_widths
from vsnn_lab.measure.text import BitsPerByte, next_token_agreement, token_cross_entropy

__all__ = [
    "BitsPerByte",
    "Latency",
    "WidthSweep",
    "choose_width",
    "choose_widths",
    "count_macs",
    "count_parameters",
    "measure_latency",
    "next_token_agreement",
    "recalibrate",
    "recalibrate_widths",
    "token_cross_entropy",
    "width_sweep",
]
