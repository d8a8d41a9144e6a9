"""Three pictures and the difference of the last two, side by side."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vsnn_lab._basics.checks import check_collection, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.diverging import add_color_bar, check_limit, colorize
from vsnn_lab.figures.images import add_opacity, png, to_bytes

_COUNT = 3
_PANEL, _HIGHEST = 215, 260  # pixels of the screen across a panel, and down at most


def panels_figure(images: np.ndarray, titles: Sequence[str], limit: float) -> go.Figure:
    """Draw three images and, in blue and orange, the third minus the second.

    Args:
        images: Floats in [0, 1], shape (3, 1 or 3, height, width).
        titles: Above each of the four panels.
        limit: The change in pixel units that has the last colour.

    Returns:
        A figure of 1000 pixels width. `show_panels` puts other images in.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the images have another shape, there are not four titles, or the limit is
            not above 0.
    """
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images must be an array of shape (3, ...), got {short_repr(images)}")
    if images.ndim != 4 or images.shape[0] != _COUNT or images.shape[1] not in (1, 3):
        raise ValueError(f"images must have shape (3, 1 or 3, height, width), got {images.shape}")
    if len(check_collection("titles", titles, "strings")) != _COUNT + 1:
        raise ValueError(f"titles must be {_COUNT + 1} strings, got {short_repr(titles)}")
    limit = check_limit(limit, images[2] - images[1])
    figure = make_subplots(1, _COUNT + 1, subplot_titles=list(titles), horizontal_spacing=0.015)
    for column in range(1, _COUNT + 2):
        figure.add_trace(go.Image(hoverinfo="skip"), 1, column)
    add_color_bar(figure, limit, "change of the pixel", _COUNT + 1)
    tall, wide = images.shape[-2:]
    height = min(round(_PANEL * tall / wide), _HIGHEST) + 40
    figure.update_layout(template=style.TEMPLATE, width=1000, height=height)
    figure.update_layout(style.FIXED_VIEW, margin={"l": 8, "r": 92, "t": 32, "b": 8})
    figure.update_annotations(font_size=13)
    axes = style.pixel_axes()
    figure.update_xaxes(axes["xaxis"] | {"range": [-0.5, wide - 0.5]})
    rows = {"autorange": False, "range": [tall - 0.5, -0.5], "showticklabels": False}
    for column in range(1, _COUNT + 2):
        anchor = {"scaleanchor": "x" if column == 1 else f"x{column}"}
        figure.update_yaxes(axes["yaxis"] | rows | anchor, row=1, col=column)
    show_panels(figure, images, limit)
    return figure


def show_panels(figure: go.Figure, images: np.ndarray, limit: float) -> None:
    """Put other images into a `panels_figure`, all in one message.

    Args:
        figure: The figure, or the widget made of it.
        images: As in `panels_figure`.
        limit: As in `panels_figure`.
    """
    pictures = [*to_bytes(images), colorize(images[2] - images[1], limit)]
    with figure.batch_update():
        for trace, pixels in zip(figure.data[: _COUNT + 1], pictures, strict=True):
            trace.source = png(add_opacity(pixels))
        marker = figure.data[_COUNT + 1].marker
        marker.cmin, marker.cmax = -limit, limit
