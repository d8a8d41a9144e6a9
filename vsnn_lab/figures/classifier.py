"""The classifier instrument's picture: what samples are taken for, accuracy, and confusion."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import check_int
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import (
    check_accuracies,
    check_class_names,
    check_classes,
    check_integers,
    check_pictures,
    check_share,
    check_shares,
)
from vsnn_lab.figures.curves import sweep_figure, width_axis
from vsnn_lab.figures.images import png
from vsnn_lab.figures.names import short_names
from vsnn_lab.figures.picture_grid import PictureGrid
from vsnn_lab.measure.ablation import WidthSweep

PERCENT = 100
MOST_SHOWN = 15  # three rows; captions of four would touch
# Beside the palette of networks, and none of its hues; a frame and a disc tell them apart, too.
WRONG, FLIP = "#9c6e00", "#188293"

# Pixels of the screen. Boxes are left, right, top, bottom.
_WIDTH, _HEIGHT = 1000, 400
_PICTURES = (4, 374, 60, 398)
_CURVE = (432, 648, 60, 350)
_MATRIX = (752, 988, 60, 296)
_TEXT = 11
_LETTERS = 12  # of a name that fits below a picture
_NOTHING = "\N{NO-BREAK SPACE}"  # a text that was once empty Plotly never draws again
# Positions among the figure's traces.
_FRAMES, _RIGHT, _MISTAKEN, _FLIPPED, _SHARES, _MARKER = 1, 2, 3, 4, 5, -1
# Shares of a row are mostly near 0 or near 1, and the small ones are what there is to see.
_COLORSCALE = [
    [share, f"rgba(43, 131, 198, {share**0.5:.3f})"]
    for share in (0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1)
]


def classifier_figure(
    pictures: np.ndarray,
    labels: np.ndarray | Tensor,
    predicted: np.ndarray | Tensor,
    at_full: np.ndarray | Tensor,
    confusion: np.ndarray | Tensor,
    sweep: WidthSweep,
    width: int,
    class_names: Sequence[str],
    *,
    dedicated: Mapping[int, float | Sequence[float]] | None = None,
    plain: float | None = None,
) -> go.Figure:
    """Draw what samples are taken for at one width, the accuracy at every width, and confusion.

    Below each picture stands the predicted class. Wrong ones have a frame, a cross and the true
    class; those that differ from what full width says have a disc with arrows.

    Args:
        pictures: uint8, shape (n, height, width, channels), as from ``images.to_bytes``; at most
            15.
        labels: True class of each, integers, shape (n,).
        predicted: Class predicted at ``width``, shape (n,).
        at_full: Class predicted at full width, shape (n,).
        confusion: Samples of each true class (rows) that are taken for each class (columns) at
            ``width``; the figure shows shares of a row.
        sweep: Accuracy at each width, in [0, 1].
        width: Where the marker stands; one of those swept.
        class_names: What each class is called, at most a thousand.
        dedicated: Accuracy of a network trained at one width, by width; several values (one a
            seed) become a point with whiskers from the least to the largest.
        plain: Accuracy of a plain network of full width, a horizontal line.

    Returns:
        A figure of 1000 by 400 pixels. `show_predictions` puts it to another width.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If shapes do not fit each other, a class has no name, or an accuracy lies
            outside [0, 1].
    """
    if len(check_pictures("pictures", pictures)) > MOST_SHOWN:
        raise ValueError(f"pictures must be at most {MOST_SHOWN}, got {len(pictures)}")
    names = captions(check_class_names(class_names))
    check_accuracies(sweep)
    dedicated, plain = check_shares("dedicated", dedicated), check_share("plain", plain)

    grid = PictureGrid(pictures, _PICTURES)
    figure = go.Figure(go.Image(source=png(grid.canvas), hoverinfo="skip"))
    silent = {"hoverinfo": "skip", "showlegend": False, "cliponaxis": False}
    figure.add_trace(go.Scatter(mode="lines", line={"color": WRONG, "width": 3}, **silent))
    caption = {"x": grid.x, "y": grid.caption_y, "mode": "text", "textposition": "bottom center"}
    for color in (style.TEXT_COLOR, WRONG):
        font = {"color": color, "size": _TEXT}
        figure.add_trace(go.Scatter(textfont=font, **caption, **silent))
    disc = {"color": FLIP, "size": 17, "line": {"color": "#ffffff", "width": 1}}
    arrows = {"color": "#ffffff", "size": 13}
    figure.add_trace(go.Scatter(mode="markers+text", marker=disc, textfont=arrows, **silent))
    figure.add_trace(_confusion_heatmap(names))
    curves = sweep_figure(sweep, scale=PERCENT, dedicated=dedicated, plain=plain).data
    for curve in (*curves, style.slider_marker().update(cliponaxis=False)):
        figure.add_trace(curve.update(xaxis="x2", yaxis="y2"))
    _place_parts(figure, grid, sweep, names)
    show_predictions(figure, labels, predicted, at_full, confusion, sweep, width, class_names)
    return figure


def show_predictions(
    figure: go.Figure,
    labels: np.ndarray | Tensor,
    predicted: np.ndarray | Tensor,
    at_full: np.ndarray | Tensor,
    confusion: np.ndarray | Tensor,
    sweep: WidthSweep,
    width: int,
    class_names: Sequence[str],
) -> None:
    """Show another width in a `classifier_figure`: predictions, matrix, marker in one message.

    Args:
        figure: The figure, or the widget made of it.
        labels: As in `classifier_figure`, and so are the others.
        predicted: Class predicted at that width.
        at_full: Class predicted at full width.
        confusion: At that width.
        sweep: The accuracies that the figure was drawn with.
        width: The width.
        class_names: What each class is called.
    """
    names = check_class_names(class_names)
    # Captions stand in the middle below their pictures; frames and discs go by that.
    tall, wide, below = figure.layout.meta
    x, y = np.array(figure.data[_RIGHT].x), np.array(figure.data[_RIGHT].y) - below
    true, said, full = (
        check_classes(name, value, len(x), names)
        for name, value in (("labels", labels), ("predicted", predicted), ("at_full", at_full))
    )
    counts = check_integers("confusion", confusion, (len(names), len(names)), "counts")
    if counts.min() < 0:
        raise ValueError(f"confusion must hold counts, got {counts.min()}")
    width = check_int("width", width)
    level = check_accuracies(sweep).at(width) * PERCENT
    wrong, flipped = said != true, said != full
    short = captions(names)
    right = [_NOTHING if is_wrong else short[i] for i, is_wrong in zip(said, wrong, strict=True)]
    mistaken = [
        f"✗ {short[i]}<br>({short[j]})" if i != j else _NOTHING
        for i, j in zip(said, true, strict=True)
    ]
    frames: tuple[list[float | None], list[float | None]] = [], []
    for middle, bottom in zip(x[wrong], y[wrong], strict=True):
        ends = middle - wide / 2, middle + wide / 2
        frames[0].extend((ends[0], ends[1], ends[1], ends[0], ends[0], None))
        frames[1].extend((bottom, bottom, bottom - tall, bottom - tall, bottom, None))
    with figure.batch_update():
        figure.data[_FRAMES].x, figure.data[_FRAMES].y = frames
        figure.data[_RIGHT].text, figure.data[_MISTAKEN].text = right, mistaken
        figure.data[_FLIPPED].x = (x[flipped] + wide / 2).tolist()
        figure.data[_FLIPPED].y = (y[flipped] - tall).tolist()
        figure.data[_FLIPPED].text = ["⇄"] * int(flipped.sum())
        figure.data[_SHARES].z = row_shares(counts.astype(np.int64))
        figure.data[_MARKER].x = [width, width]
        figure.data[_MARKER].y = [0, level]


def captions(names: Sequence[str]) -> list[str]:
    """Return names of classes as text that Plotly shows as it is, short enough for a caption.

    Example:
        >>> captions(["Shirt", "a<b>", "Trousers and socks"])
        ['Shirt', 'a&lt;b&gt;', 'Trousers an…']
    """
    return [escape(name, quote=False) for name in short_names(names, _LETTERS)]


def row_shares(confusion: np.ndarray) -> list[list[float]]:
    """Return each count as a share of its row; zeros where a class has no sample.

    Example:
        >>> row_shares(np.array([[3, 1], [0, 0]]))
        [[0.75, 0.25], [0.0, 0.0]]
    """
    totals = confusion.sum(1, keepdims=True)
    # As short as the eye allows: a page without a kernel holds them for every width.
    return (confusion / totals.clip(1)).round(4).tolist()


def _confusion_heatmap(names: Sequence[str]) -> go.Heatmap:
    left, right, top, _ = _MATRIX
    place = {"x": (left + right) / 2 / _WIDTH, "y": 1 - (top - 34) / _HEIGHT, "yanchor": "top"}
    size = {"len": right - left, "lenmode": "pixels", "thickness": 8, "xpad": 0, "ypad": 0}
    ticks = {"tickvals": [0, 0.25, 0.5, 0.75, 1], "ticktext": ["0", "25", "50", "75", "100"]}
    labels = {"ticks": "", "tickfont": {"size": _TEXT}, "ticklabeloverflow": "allow"}
    bar = {"orientation": "h", "outlinewidth": 0} | place | size | ticks | labels
    return go.Heatmap(
        x=list(range(len(names))),
        y=list(range(len(names))),
        text=[[f"true: {true}<br>predicted: {said}" for said in names] for true in names],
        hovertemplate="%{text}<br>%{z:.1%} of the true class<extra></extra>",
        colorscale=_COLORSCALE,
        zmin=0,
        zmax=1,
        colorbar=bar,
        xaxis="x3",
        yaxis="y3",
    )


def _place_parts(
    figure: go.Figure, grid: PictureGrid, sweep: WidthSweep, names: Sequence[str]
) -> None:
    # Boxes are of the whole figure, and nothing may push them.
    none = {"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False}
    figure.update_layout(template=style.TEMPLATE, width=_WIDTH, height=_HEIGHT, margin=none)
    left, _, top, _ = _CURVE
    corner = {"x": (left - 8) / _WIDTH, "y": 1 - top / _HEIGHT}
    legend = corner | {"xanchor": "left", "yanchor": "bottom", "font": {"size": _TEXT}}
    shape = [grid.tall, grid.wide, grid.caption_gap]
    figure.update_layout(style.FIXED_VIEW, legend=legend, meta=shape)
    bare = style.pixel_axes()["xaxis"] | {"constrain": None}
    small = {"tickfont": {"size": _TEXT}, "fixedrange": True}
    edge = {"showline": True, "mirror": True, "linecolor": style.TEXT_COLOR, "showgrid": False}
    # Beyond some classes not every name has room.
    step = -(-len(names) // 20)
    ticks = {"tickvals": list(range(0, len(names), step)), "ticktext": names[::step], "ticks": ""}
    ends = [-0.5, len(names) - 0.5]
    angle = -45 if max(map(len, names)) > 2 else 0
    curve = width_axis(sweep) | small
    curve["title"] |= {"font": {"size": 12}}
    accuracy = {"text": "test accuracy (%)", "font": {"size": 12}, "standoff": 6}
    figure.update_layout(
        xaxis=bare | {"range": grid.x_range},
        yaxis=bare | {"range": grid.y_range},
        xaxis2=curve,
        yaxis2={"range": [0, 103], "title": accuracy} | small,
        xaxis3=edge | ticks | small | {"range": ends, "tickangle": angle},
        yaxis3=edge | ticks | small | {"range": ends[::-1]},
    )
    for number, box in (("", _PICTURES), ("2", _CURVE), ("3", _MATRIX)):
        left, right, top, bottom = box
        across, down = [left / _WIDTH, right / _WIDTH], [1 - bottom / _HEIGHT, 1 - top / _HEIGHT]
        figure.layout[f"xaxis{number}"].update(domain=across, anchor=f"y{number}")
        figure.layout[f"yaxis{number}"].update(domain=down, anchor=f"x{number}")
    key = (
        f'<span style="color:{WRONG}"><b>✗ framed</b></span>: wrong (true class)   '
        f'<span style="color:{FLIP}"><b>⇄</b></span> not as at full width'
    )
    _write_line(figure, _PICTURES[0], 8, "predicted class below each picture")
    _write_line(figure, _PICTURES[0], 27, key)
    left, _, _, bottom = _MATRIX
    _write_line(figure, left - 12, bottom + 78, "% of each true class (row) by prediction")


def _write_line(figure: go.Figure, left: float, top: float, text: str) -> None:
    """Write a line of text at a place of the figure, in pixels of the screen."""
    where = {"x": left / _WIDTH, "y": 1 - top / _HEIGHT, "xref": "paper", "yref": "paper"}
    corner = {"xanchor": "left", "yanchor": "top", "showarrow": False, "align": "left"}
    figure.add_annotation(text=text, font={"size": 12}, borderpad=0, **where, **corner)
