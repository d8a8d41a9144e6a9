"""One palette and one meaning everywhere; told apart by shape and dash as well as by colour."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Any

import numpy as np
import plotly.graph_objects as go

from vsnn_lab.widths import geometric_widths

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Style:
    """How one kind of network or reference looks in every figure."""

    name: str
    color: str
    symbol: str
    dash: str = "solid"

    @property
    def line(self) -> dict[str, Any]:
        """Plotly's line attributes."""
        return {"color": self.color, "dash": self.dash, "width": 2}

    @property
    def marker(self) -> dict[str, Any]:
        """Plotly's marker attributes."""
        return {"color": self.color, "symbol": self.symbol, "size": 8}


# Hues after Okabe & Ito, readable with any colour vision, at a lightness that stands out by 3:1
# from white and from black.
VARIABLE = Style("variable network", "#2b83c6", "circle")
DEDICATED = Style("dedicated networks", "#d5691e", "diamond")
PLAIN = Style("plain full-width network", "#8b6bd0", "cross", "dash")
PCA = Style("PCA", "#16936d", "square", "dashdot")
PCAAE = Style("PCAAE", "#b8609c", "triangle-up", "longdash")
REFERENCE = Style("reference", "#85888c", "line-ew", "dot")

PAGE = 840  # pixels of the screen: JupyterLab has 848 beside its side bar
# 4.5:1 on a white page, and no grey that has it comes closer to that on JupyterLab's dark one: 4.2.
TEXT_COLOR = "#73777c"
DIFFERENT = "#188293"  # of what is not as at full width; none of the hues of networks
POINTER = "#d03a4b"  # the marker that follows the slider
TRANSPARENT = "rgba(0,0,0,0)"
_GRID = "rgba(128, 132, 138, 0.22)"
_AXIS = {
    "gridcolor": _GRID,
    "linecolor": TEXT_COLOR,
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": TEXT_COLOR,
    "automargin": False,
    "title": {"standoff": 8},
}

_UPLOAD = "sendChartToCloud"
# Transparent, in greys that show on a light page and on a dark one.
TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": TRANSPARENT,
        "plot_bgcolor": TRANSPARENT,
        "font": {"color": TEXT_COLOR, "size": 13, "family": "system-ui, sans-serif"},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"x": 1, "xanchor": "right", "y": 1, "yanchor": "top", "bgcolor": TRANSPARENT},
        "margin": {"l": 64, "r": 16, "t": 40, "b": 56},
        "title": {"x": 0, "xref": "paper", "font": {"size": 15}},
        # Plotly's own would be a dark box, since it takes the transparent ground for black. What it
        # shows is not for a button that uploads it.
        "modebar": {
            "bgcolor": TRANSPARENT,
            "color": TEXT_COLOR,
            "activecolor": POINTER,
            "remove": [_UPLOAD],
        },
    }
)


def curve_trace(look: Style, x: Numbers, y: Numbers) -> go.Scatter:
    """Return a curve in a network's look."""
    # Markers tell curves apart in grey, but 256 of them would be a smear.
    mode = "lines+markers" if len(x) <= 40 else "lines"
    marker = look.marker | {"size": 6}
    return go.Scatter(x=x, y=y, name=look.name, mode=mode, line=look.line, marker=marker)


def slider_marker() -> go.Scatter:
    """Return the stem and the ring that stand at an instrument's width, not yet placed."""
    ring = {"color": TRANSPARENT, "size": 17, "line": {"color": POINTER, "width": 3}}
    return go.Scatter(
        mode="lines+markers",
        line={"color": POINTER, "width": 1.5, "dash": "dot"},
        marker=ring | {"opacity": [0, 1]},
        hoverinfo="skip",
        showlegend=False,
    )


def log2_ticks(steps: int) -> list[int]:
    """Return ticks of 1..steps on a logarithmic axis: the widths themselves."""
    # The last power of two would overlap a full width close above it.
    return [tick for tick in geometric_widths(steps) if tick == steps or tick * 1.25 < steps]


def log2_range(steps: int) -> tuple[float, float]:
    """Return the ends of a logarithmic axis over 1..steps."""
    return 0.88, steps * 1.14


def log2_axis(steps: int, title: str) -> dict[str, Any]:
    """Return a logarithmic axis over 1..steps whose ticks are the widths themselves.

    Plotly counts in powers of ten on a logarithmic axis, so the range is in those.
    """
    ticks = log2_ticks(steps)
    return {
        "type": "log",
        "range": [log10(end) for end in log2_range(steps)],
        "tickvals": ticks,
        "ticktext": [str(tick) for tick in ticks],
        "title": {"text": title},
        "minor": {"ticks": ""},
    }


def pixel_axes() -> dict[str, dict[str, Any]]:
    """Return the axes of a picture: no lines, square pixels, first row on top."""
    lines = {"showgrid": False, "zeroline": False, "showline": False}
    bare = lines | {"ticks": "", "fixedrange": True}
    return {
        "xaxis": bare | {"showticklabels": False, "constrain": "domain"},
        "yaxis": bare | {"autorange": "reversed", "scaleanchor": "x", "constrain": "domain"},
    }
