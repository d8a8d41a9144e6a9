"""The classifier instrument's picture: what samples are taken for, accuracy, and confusion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import check_int
from vsnn_lab.figures import style
from vsnn_lab.figures.captioned import PictureGrid
from vsnn_lab.figures.checks import check_pictures
from vsnn_lab.figures.classes import (
    captions,
    check_accuracies,
    check_classes,
    check_confusion,
    check_share,
    check_shares,
    row_shares,
)
from vsnn_lab.figures.curves import sweep_figure, width_axis
from vsnn_lab.figures.images import png
from vsnn_lab.figures.scatter import check_class_names
from vsnn_lab.measure.ablation import WidthSweep

PERCENT = 100
MOST_SHOWN = 15  # three rows; captions of four would touch
# Beside the palette of networks, and none of its hues; a frame and a disc tell them apart, too.
WRONG, FLIP = "#b98300", "#1b93a6"

# Pixels of the screen. Boxes are left, right, top, bottom.
_WIDTH, _HEIGHT = 1000, 400
_PICTURES = (4, 374, 60, 398)
_CURVE = (432, 648, 60, 350)
_MATRIX = (752, 988, 60, 296)
_TEXT = 11
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
        class_names: What each class is called, at most seventy.
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
    names = check_class_names(class_names)
    told = _Told(labels, predicted, at_full, confusion, names, len(pictures))
    check_accuracies(sweep)
    width = check_int("width", width)
    dedicated = check_shares("dedicated", dedicated)
    plain = None if plain is None else check_share("plain", plain)

    grid = PictureGrid(pictures, _PICTURES)
    figure = go.Figure(go.Image(source=png(grid.canvas), hoverinfo="skip"))
    silent = {"hoverinfo": "skip", "showlegend": False, "cliponaxis": False}
    figure.add_trace(go.Scatter(mode="lines", line={"color": WRONG, "width": 3}, **silent))
    for color in (style.INK, WRONG):
        caption = {"x": grid.x, "y": grid.below, "textposition": "bottom center"}
        font = {"color": color, "size": _TEXT}
        figure.add_trace(go.Scatter(mode="text", textfont=font, **caption, **silent))
    disc = {"color": FLIP, "size": 17, "line": {"color": "#ffffff", "width": 1}}
    arrows = {"color": "#ffffff", "size": 13}
    figure.add_trace(go.Scatter(mode="markers+text", marker=disc, textfont=arrows, **silent))
    figure.add_trace(_heatmap(captions(names)))
    for curve in sweep_figure(sweep, scale=PERCENT, dedicated=dedicated, plain=plain).data:
        figure.add_trace(curve.update(xaxis="x2", yaxis="y2"))
    figure.add_trace(_ring())
    _lay_out(figure, grid, sweep, captions(names))
    _show(figure, told, sweep, width)
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
    count = len(figure.data[_RIGHT].x)
    told = _Told(labels, predicted, at_full, confusion, check_class_names(class_names), count)
    _show(figure, told, check_accuracies(sweep), check_int("width", width))


class _Told:
    """What is said of the samples at one width, checked."""

    def __init__(
        self,
        labels: Any,
        predicted: Any,
        at_full: Any,
        confusion: Any,
        names: Sequence[str],
        count: int,
    ) -> None:
        self.labels = check_classes("labels", labels, count, len(names))
        self.predicted = check_classes("predicted", predicted, count, len(names))
        self.at_full = check_classes("at_full", at_full, count, len(names))
        self.shares = row_shares(check_confusion(confusion, len(names)))
        self.names = captions(names)


def _show(figure: go.Figure, told: _Told, sweep: WidthSweep, width: int) -> None:
    level = sweep.at(width) * PERCENT
    wrong = (told.predicted != told.labels).tolist()
    flipped = (told.predicted != told.at_full).tolist()
    said, true = ([told.names[i] for i in classes] for classes in (told.predicted, told.labels))
    mistakes = [f"✗ {each}<br>({other})" for each, other in zip(said, true, strict=True)]
    # Captions stand in the middle below their pictures; frames and discs go by that.
    tall, wide, below = figure.layout.meta
    middles = [
        (x, y - below) for x, y in zip(figure.data[_RIGHT].x, figure.data[_RIGHT].y, strict=True)
    ]
    frames: tuple[list, list] = [], []
    for x, y in (middle for middle, is_wrong in zip(middles, wrong, strict=True) if is_wrong):
        left, right = x - wide / 2, x + wide / 2
        frames[0].extend((left, right, right, left, left, None))
        frames[1].extend((y, y, y - tall, y - tall, y, None))
    corners = [
        (x + wide / 2, y - tall) for (x, y), is_ in zip(middles, flipped, strict=True) if is_
    ]
    with figure.batch_update():
        figure.data[_FRAMES].x, figure.data[_FRAMES].y = frames
        figure.data[_RIGHT].text = _where(said, [not each for each in wrong])
        figure.data[_MISTAKEN].text = _where(mistakes, wrong)
        figure.data[_FLIPPED].x = [x for x, _ in corners]
        figure.data[_FLIPPED].y = [y for _, y in corners]
        figure.data[_FLIPPED].text = ["⇄"] * len(corners)
        figure.data[_SHARES].z = told.shares
        figure.data[_MARKER].x = [width, width]
        figure.data[_MARKER].y = [0, level]


def _where(texts: Sequence[str], shown: Sequence[bool]) -> list[str]:
    return [text if is_shown else _NOTHING for text, is_shown in zip(texts, shown, strict=True)]


def _heatmap(names: Sequence[str]) -> go.Heatmap:
    left, right, top, _ = _MATRIX
    bar = {
        "orientation": "h",
        "x": (left + right) / 2 / _WIDTH,
        "y": 1 - (top - 34) / _HEIGHT,
        "yanchor": "top",
        "len": right - left,
        "lenmode": "pixels",
        "thickness": 8,
        "xpad": 0,
        "ypad": 0,
        "outlinewidth": 0,
        "tickvals": [0, 0.25, 0.5, 0.75, 1],
        "ticktext": ["0", "25", "50", "75", "100"],
        "tickfont": {"size": _TEXT},
        "ticklabeloverflow": "allow",
        "ticks": "",
    }
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


def _ring() -> go.Scatter:
    ring = {"color": "rgba(0,0,0,0)", "size": 17, "line": {"color": style.HERE, "width": 3}}
    return go.Scatter(
        mode="lines+markers",
        line={"color": style.HERE, "width": 1.5, "dash": "dot"},
        marker=ring | {"opacity": [0, 1]},
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
        xaxis="x2",
        yaxis="y2",
    )


def _lay_out(figure: go.Figure, grid: PictureGrid, sweep: WidthSweep, names: Sequence[str]) -> None:
    # Boxes are of the whole figure, and nothing may push them.
    none = {"l": 0, "r": 0, "t": 0, "b": 0, "autoexpand": False}
    size = {"width": _WIDTH, "height": _HEIGHT, "margin": none}
    figure.update_layout(template=style.TEMPLATE, **size)
    figure.update_layout(meta=[grid.tall, grid.wide, grid.shift])
    left, _, top, _ = _CURVE
    legend = {"x": (left - 8) / _WIDTH, "y": 1 - top / _HEIGHT}
    legend |= {"xanchor": "left", "yanchor": "bottom", "font": {"size": _TEXT}}
    figure.update_layout(style.STILL, legend=legend)
    bare = style.pixel_axes()["xaxis"] | {"constrain": None}
    small = {"tickfont": {"size": _TEXT}, "fixedrange": True}
    edge = {"showline": True, "mirror": True, "linecolor": style.INK, "showgrid": False}
    # Beyond some classes not every name has room.
    step = -(-len(names) // 20)
    ticks = {"tickvals": list(range(0, len(names), step)), "ticktext": names[::step], "ticks": ""}
    ends = [-0.5, len(names) - 0.5]
    angle = -45 if max(map(len, names)) > 2 else 0
    curve = width_axis(sweep) | small
    curve["title"] |= {"font": {"size": 12}}
    figure.update_layout(
        xaxis=bare | {"range": grid.x_range},
        yaxis=bare | {"range": grid.y_range},
        xaxis2=curve,
        yaxis2={"range": [0, 103], "title": _titled("test accuracy (%)")} | small,
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
    _note(figure, _PICTURES[0], 8, "predicted class below each picture")
    _note(figure, _PICTURES[0], 27, key)
    left, _, _, bottom = _MATRIX
    _note(figure, left - 12, bottom + 78, "% of each true class (row) by prediction")


def _titled(text: str) -> dict[str, Any]:
    return {"text": text, "font": {"size": 12}, "standoff": 6}


def _note(figure: go.Figure, left: float, top: float, text: str) -> None:
    """Write a line of text at a place of the figure, in pixels of the screen."""
    where = {"x": left / _WIDTH, "y": 1 - top / _HEIGHT, "xref": "paper", "yref": "paper"}
    corner = {"xanchor": "left", "yanchor": "top", "showarrow": False, "align": "left"}
    figure.add_annotation(text=text, font={"size": 12}, borderpad=0, **where, **corner)
