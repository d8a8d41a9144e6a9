"""The autoencoder instrument's picture: reconstructions left, the error curve right."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vsnn_lab._basics.checks import check_int
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_curve, check_sweep
from vsnn_lab.figures.curves import variable_curve, width_axis
from vsnn_lab.figures.images import mosaic, png, tile_centers
from vsnn_lab.measure.ablation import WidthSweep

MSE_SCALE = 1000  # pixels lie in [0, 1], so errors are a few thousandths
COLUMNS = 5
_HEIGHT = 380
_PICTURE, _MARKER = 0, -1  # positions among the figure's traces


def autoencoder_figure(
    originals: np.ndarray,
    reconstructions: np.ndarray,
    sweep: WidthSweep,
    width: int,
    *,
    pca: Mapping[int, float] | None = None,
    columns: int = COLUMNS,
) -> go.Figure:
    """Draw reconstructions at one width beside the error at every width.

    Args:
        originals: uint8, shape (n, height, width, channels), as from ``images.to_bytes``.
        reconstructions: The same shape, at ``width``.
        sweep: Mean square error at each width.
        width: Where the marker stands; one of those swept.
        pca: Mean square error of principal components, by their number.
        columns: Pictures in a row.

    Returns:
        A figure of 1000 by 380 pixels. `show_width` puts it to another width.
    """
    check_sweep(sweep)
    pca = check_curve("pca", pca)
    source = png(mosaic(originals, reconstructions, columns))
    figure = make_subplots(1, 2, column_widths=[0.43, 0.57], horizontal_spacing=0.09)
    figure.add_trace(go.Image(hoverinfo="skip"), 1, 1)
    curves = [variable_curve(sweep, MSE_SCALE), style.slider_marker()]
    if pca:
        errors = [error * MSE_SCALE for error in pca.values()]
        components = style.curve_trace(style.PCA, list(pca), errors)
        curves.insert(1, components.update(mode="lines+markers"))
    figure.add_traces(curves, rows=1, cols=2)
    figure.update_layout(template=style.TEMPLATE, width=1000, height=_HEIGHT, margin_t=24)
    figure.update_layout(style.FIXED_VIEW)
    pixels = style.pixel_axes()
    rows = 2 * -(-len(originals) // columns)
    labels = {
        "tickvals": tile_centers(rows, originals.shape[1]),
        "ticktext": ["original", "rebuilt"] * (rows // 2),
        "tickangle": -90,
    }
    figure.update_xaxes(pixels["xaxis"], row=1, col=1)
    figure.update_yaxes(pixels["yaxis"] | labels, row=1, col=1)
    figure.update_xaxes(width_axis(sweep), row=1, col=2)
    top = max([sweep.values.max(), *pca.values()]) * MSE_SCALE
    figure.update_yaxes(range=[0, top * 1.08], title="test MSE per pixel × 1000", row=1, col=2)
    show_width(figure, source, sweep, width)
    return figure


def show_width(figure: go.Figure, source: str, sweep: WidthSweep, width: int) -> None:
    """Show another width in an `autoencoder_figure`: picture and marker in one message.

    Args:
        figure: The figure, or the widget made of it.
        source: The picture at that width, from ``images.png``.
        sweep: The errors that the figure was drawn with.
        width: The width.
    """
    width = check_int("width", width)
    error = sweep.at(width) * MSE_SCALE
    with figure.batch_update():
        figure.data[_PICTURE].source = source
        figure.data[_MARKER].x = [width, width]
        figure.data[_MARKER].y = [0, error]
