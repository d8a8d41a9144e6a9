"""What a width is: axes, the knob behind them, and the masks that keep a prefix of units.

May import ``_basics``.
"""

from vsnn_lab.widths.axes import (
    Position,
    VariableSize,
    Width,
    WidthControl,
    check_axis,
    check_widths,
    full_size,
    geometric_widths,
    kept_size,
)
from vsnn_lab.widths.masks import keep_prefix, mask_like, prefix_mask, spread
from vsnn_lab.widths.setting import Series, Setting, SeveralPositions
from vsnn_lab.widths.turning import (
    at_width,
    positions_of,
    single_control,
    width_controls,
    with_setting,
)

__all__ = [
    "Position",
    "Series",
    "Setting",
    "SeveralPositions",
    "VariableSize",
    "Width",
    "WidthControl",
    "at_width",
    "check_axis",
    "check_widths",
    "full_size",
    "geometric_widths",
    "keep_prefix",
    "kept_size",
    "mask_like",
    "positions_of",
    "prefix_mask",
    "single_control",
    "spread",
    "width_controls",
    "with_setting",
]
