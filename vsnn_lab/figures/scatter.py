"""A code of two units as a plane."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from vsnn_lab._basics.checks import check_int
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_class_names, check_classes, check_floats
from vsnn_lab.figures.labels import check_label, short_labels

# Ten colours to be told apart with any colour vision: Petroff 2021, "Accessible Color Sequences for
# Data Visualization", arXiv 2107.02270.
CLASS_COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
CLASS_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down")
# Seven shapes against ten colours: each pair is met once in so many classes.
_MOST_CLASSES = len(CLASS_COLORS) * len(CLASS_SYMBOLS)
_LEFT, _RIGHT = 64, 140  # pixels of the screen: for the labels, for the legend
_AREA = (style.PAGE - _LEFT - _RIGHT, 472)  # between the axes
_LETTERS = 14  # of a name
_NAME = (84, 22)  # that a name takes, its frame included


def code_scatter(
    codes: np.ndarray | Tensor,
    labels: np.ndarray | Tensor,
    class_names: Sequence[str],
    *,
    most: int = 2000,
    seed: int = 0,
    title: str | None = None,
) -> go.Figure:
    """Draw the first two units of codes, coloured by class, with the name of each at its median.

    Args:
        codes: Floats, shape (n, units), two units at least.
        labels: Class of each, integers, shape (n,).
        class_names: What each class is called, at most seventy.
        most: Points drawn; of more a random part is, while the medians are those of all.
        seed: Chooses that part.
        title: Above the figure.

    Returns:
        A figure of 840 pixels width.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If shapes do not fit each other, or a label has no name.
    """
    points = check_floats("codes", codes, "(n, units)", 2)
    if points.shape[1] < 2:
        raise ValueError(f"codes must have two units at least, got shape {points.shape}")
    names = check_class_names(class_names, _MOST_CLASSES)
    classes = check_classes("labels", labels, len(points), names)
    most, seed = check_int("most", most), check_int("seed", seed, 0)
    title = check_label("title", title)
    drawn = np.random.default_rng(seed).permutation(len(points))[:most]
    figure, medians = go.Figure(), []
    for index, name in enumerate(short_labels(names, _LETTERS)):
        members = classes == index
        if not members.any():
            continue
        color = CLASS_COLORS[index % len(CLASS_COLORS)]
        symbol = CLASS_SYMBOLS[index % len(CLASS_SYMBOLS)]
        some = points[drawn[members[drawn]], :2].astype(np.float32)
        medians.append((name, color, *np.median(points[members, :2], 0).tolist()))
        figure.add_scatter(
            x=some[:, 0],
            y=some[:, 1],
            name=name,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 5, "opacity": 0.8},
            hovertemplate="unit 1: %{x:.2f}, unit 2: %{y:.2f}",
        )
    top = 40 if title else 16
    size = {"width": style.PAGE, "height": _AREA[1] + 56 + top}
    figure.update_layout(template=style.TEMPLATE, title=title, **size)
    figure.update_layout(margin={"l": _LEFT, "r": _RIGHT, "t": top, "b": 56})
    figure.update_layout(legend={"x": 1.02, "xanchor": "left", "itemsizing": "constant"})
    figure.update_xaxes(title="unit 1")
    figure.update_yaxes(title="unit 2")
    if len(medians) > 1:  # the name of a single class would tell nothing and hide its points
        _name_medians(figure, medians)
    return figure


def _name_medians(figure: go.Figure, medians: Sequence[tuple[str, str, float, float]]) -> None:
    """Write each class's name at its median, or a little above where another name is."""
    scales = []
    for axis, size in zip("xy", _AREA, strict=True):
        values = np.concatenate([trace[axis] for trace in figure.data]).astype(np.float64)
        # One point alone has a unit around it.
        margin = 0.04 * (values.max() - values.min()) or 0.5
        low, high = values.min() - margin, values.max() + margin
        figure.layout[f"{axis}axis"].range = [low, high]
        scales.append(size / (high - low))
    # Pixels of the screen, so that it shows which names overlap.
    across, up = scales
    taken: list[tuple[float, float]] = []
    for name, color, x, y in sorted(medians, key=lambda median: median[3]):
        right, level = x * across, y * up
        for other, there in sorted(taken, key=lambda place: place[1]):
            if abs(right - other) < _NAME[0] and abs(level - there) < _NAME[1]:
                level = there + _NAME[1]
        taken.append((right, level))
        paint = {"font": {"color": "#ffffff", "size": 12}, "bgcolor": "rgba(24, 26, 30, 0.8)"}
        frame = {"bordercolor": color, "borderwidth": 2, "borderpad": 2, "showarrow": False}
        figure.add_annotation(x=x, y=y, yshift=level - y * up, text=name, **paint, **frame)
