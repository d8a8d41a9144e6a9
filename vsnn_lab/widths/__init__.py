"""What a width is: axes, the knob behind them, and the masks that keep a prefix of units.

May import ``_basics``.
"""

from vsnn_lab.widths.axes import (
    Part,
    Range,
    Rows,
    VariableSize,
    Width,
    check_axis,
    check_prefix,
    full_size,
    is_whole,
    kept_ranges,
    kept_size,
    knobs_of,
    put_units,
    take_units,
    widest_size,
    with_rows,
)
from vsnn_lab.widths.joint import (
    check_controls,
    check_joint,
    joint_positions,
    joint_steps,
    knob_layout,
    most_steps,
    turn_of,
    turn_together,
)
from vsnn_lab.widths.knob import Position, WidthControl, check_widths, geometric_widths
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
    "Part",
    "Position",
    "Range",
    "Rows",
    "Series",
    "Setting",
    "SeveralPositions",
    "VariableSize",
    "Width",
    "WidthControl",
    "at_width",
    "check_axis",
    "check_controls",
    "check_joint",
    "check_prefix",
    "check_widths",
    "full_size",
    "geometric_widths",
    "is_whole",
    "joint_positions",
    "joint_steps",
    "keep_prefix",
    "kept_ranges",
    "kept_size",
    "knob_layout",
    "knobs_of",
    "mask_like",
    "most_steps",
    "positions_of",
    "prefix_mask",
    "put_units",
    "single_control",
    "spread",
    "take_units",
    "turn_of",
    "turn_together",
    "widest_size",
    "width_controls",
    "with_rows",
    "with_setting",
]
