"""A box around a figure that is up to date wherever it is displayed."""

from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go


class FigureBox(widgets.VBox):
    """A vertical box of widgets, one of them a figure.

    Plotly sends a figure's whole state to the browser where the figure itself is displayed, but not
    where it is part of another widget: what changed before its script was loaded would be lost, and
    the figure stay empty.

    Attributes:
        figure: The figure, a ``plotly.graph_objects.FigureWidget``.
    """

    figure: go.FigureWidget

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any] | None:
        self.figure._repr_mimebundle_()
        self.figure.send_state(("_widget_data", "_widget_layout"))
        return super()._repr_mimebundle_(**options)
