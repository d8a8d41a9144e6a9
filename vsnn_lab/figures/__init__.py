"""Numbers in, Plotly figures out; nothing here knows a model.

May import ``_basics``, ``widths``, ``measure``.
"""

from vsnn_lab.figures.comparison import comparison_curves
from vsnn_lab.figures.costs import cost_curves
from vsnn_lab.figures.curves import sweep_figure
from vsnn_lab.figures.filters import filter_gallery
from vsnn_lab.figures.masks import mask_gallery
from vsnn_lab.figures.metric import Metric
from vsnn_lab.figures.network_graph import network_graph
from vsnn_lab.figures.overlay import overlay_curves, parallel_parameters
from vsnn_lab.figures.panel import panel_curves
from vsnn_lab.figures.recipes import recipe_curves
from vsnn_lab.figures.returns import return_curves
from vsnn_lab.figures.scatter import code_scatter
from vsnn_lab.figures.style import TEMPLATE
from vsnn_lab.figures.units import traversal, unit_differences
from vsnn_lab.figures.width_grid import width_grid
from vsnn_lab.figures.width_needed import fewest_units, width_needed

__all__ = [
    "TEMPLATE",
    "Metric",
    "code_scatter",
    "comparison_curves",
    "cost_curves",
    "fewest_units",
    "filter_gallery",
    "mask_gallery",
    "network_graph",
    "overlay_curves",
    "panel_curves",
    "parallel_parameters",
    "recipe_curves",
    "return_curves",
    "sweep_figure",
    "traversal",
    "unit_differences",
    "width_grid",
    "width_needed",
]
