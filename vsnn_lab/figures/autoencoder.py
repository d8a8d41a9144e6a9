"""The autoencoder instrument's picture: reconstructions left, the error curve right."""

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vsnn_lab._basics.checks import check_int
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_curve, check_sweep
from vsnn_lab.figures.curves import variable_line, width_axis
from vsnn_lab.figures.images import mosaic, png, row_centers
from vsnn_lab.measure.ablation import WidthSweep

MSE_SCALE = 1000  # pixels lie in [0, 1], so errors are a few thousandths
COLUMNS = 5
_HEIGHT = 380
_PICTURE, _CURVE, _MARKER = 0, 1, -1  # positions among the figure's traces


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
        A figure of 1000 by 380 pixels. `move` puts it to another width.
    """
    x, y = marker_at(check_sweep(sweep), width)
    pca = check_curve("pca", pca)
    source = png(mosaic(originals, reconstructions, columns))
    figure = make_subplots(1, 2, column_widths=[0.43, 0.57], horizontal_spacing=0.09)
    figure.add_trace(go.Image(source=source, hoverinfo="skip"), 1, 1)
    figure.add_trace(variable_line(sweep, MSE_SCALE), 1, 2)
    if pca:
        figure.add_trace(
            go.Scatter(
                x=list(pca),
                y=[error * MSE_SCALE for error in pca.values()],
                name=style.PCA.name,
                mode="lines+markers",
                line=style.PCA.line,
                marker=style.PCA.marker | {"size": 6},
            ),
            1,
            2,
        )
    ring = {
        "color": "rgba(0,0,0,0)",
        "size": 17,
        "line": {"color": style.HERE, "width": 3},
    }
    stem = {"color": style.HERE, "width": 1.5, "dash": "dot"}
    figure.add_trace(
        go.Scatter(
            x=x,
            y=y,
            mode="lines+markers",
            line=stem,
            marker=ring | {"opacity": [0, 1]},
            hoverinfo="skip",
            showlegend=False,
        ),
        1,
        2,
    )
    figure.update_layout(template=style.TEMPLATE, width=1000, height=_HEIGHT, margin_t=24)
    figure.update_layout(style.STILL)
    pixels = style.pixel_axes()
    centers = row_centers(len(originals), originals.shape[1], columns)
    labels = ["original", "rebuilt"] * (len(centers) // 2)
    figure.update_xaxes(pixels["xaxis"], row=1, col=1)
    figure.update_yaxes(
        pixels["yaxis"] | {"tickvals": centers, "ticktext": labels, "tickangle": -90}, row=1, col=1
    )
    figure.update_xaxes(width_axis(sweep), row=1, col=2)
    top = max([sweep.values.max(), *pca.values()]) * MSE_SCALE
    figure.update_yaxes(range=[0, top * 1.08], title="test MSE per pixel × 1000", row=1, col=2)
    return figure


def marker_at(sweep: WidthSweep, width: int) -> tuple[list[int], list[float]]:
    """Return the points of the marker's stem and ring."""
    width = check_int("width", width)
    return [width, width], [0, sweep.at(width) * MSE_SCALE]


def move(figure: go.Figure, source: str, sweep: WidthSweep, width: int) -> None:
    """Show another width in an `autoencoder_figure`: picture and marker in one message.

    Args:
        figure: The figure, or the widget made of it.
        source: The picture at that width, from ``images.png``.
        sweep: The errors that the figure was drawn with.
        width: The width.
    """
    x, y = marker_at(sweep, width)
    with figure.batch_update():
        figure.data[_PICTURE].source = source
        figure.data[_MARKER].x = x
        figure.data[_MARKER].y = y
