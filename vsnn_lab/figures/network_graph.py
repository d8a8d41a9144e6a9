"""A network as a graph from top to bottom, each layer in the colour and shape of its knob."""

from collections.abc import Iterable, Mapping, Sequence
from math import comb
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from vsnn_lab._basics.checks import check_collection, check_int, short_repr
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_text
from vsnn_lab.figures.labels import LETTER, as_label, check_label
from vsnn_lab.figures.layered import Place, layered
from vsnn_lab.figures.names import short_names

_LOOKS = (style.VARIABLE, style.DEDICATED, style.PCA, style.PLAIN, style.PCAAE)
_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "star")
_ROW = 22  # pixels of the screen from one node to that below
_MARGINS = {"l": 8, "r": 8, "t": 44, "b": 12}
_TITLE = 24  # more above, if there is one
_BESIDE = 14  # from the middle of a node to its label
_BEND = 40  # how far an edge that passes nodes by goes aside
_MOST_IN_LEGEND = 8
# The weights of the four points of a cubic Bezier curve along it, shape (4, points).
_SHARE = np.linspace(0, 1, 16)
_BEZIER = np.stack([comb(3, k) * _SHARE**k * (1 - _SHARE) ** (3 - k) for k in range(4)])


class _Kind(NamedTuple):
    """Nodes that look alike."""

    name: str
    color: str
    symbol: str


_FIXED = _Kind("stays", style.REFERENCE.color, "circle-open")
_OTHER = _Kind("operation", style.REFERENCE.color, "line-ew-open")
_PLAIN_KINDS = ("input", "output", "operation")


def network_graph(
    nodes: Sequence[tuple[str, str, int | None]],
    edges: Iterable[tuple[int, int]],
    *,
    title: str | None = None,
) -> go.Figure:
    """Draw a network's layers from top to bottom, each in the colour and the shape of its knob.

    A label says a node's name, and before it the number of its knob: neither colour nor shape has
    to be told apart. What stays is a grey ring; what is no layer is a dash.

    Args:
        nodes: Name, kind and number of the knob of each, from 1; None for one that stays. Those of
            the kinds "input", "output" and "operation" are no layers. `explain` has them.
        edges: Pairs of places in ``nodes``; each leads to a later node. Without any the nodes are
            drawn one below the other.
        title: Above the figure.

    Returns:
        A figure of 840 pixels width, and as high as the longest path is.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is no node, or an edge does not lead to a later one.

    Example:
        >>> nodes = [("input", "input", None), ("0", "Linear", 1), ("2", "Linear", 1)]
        >>> network_graph(nodes, [(0, 1), (1, 2)]).layout.width
        840
    """
    nodes = _check_nodes(nodes)
    edges = _check_edges(edges, len(nodes))
    title = check_label("title", title)
    places = layered(len(nodes), edges)
    lanes = 1 + max(place.lane for place in places)
    rows = 1 + max(place.row for place in places)
    room = (style.PAGE - _MARGINS["l"] - _MARGINS["r"] - _BEND) / lanes
    spots = [(_BEND + _BESIDE + place.lane * room, place.row * _ROW) for place in places]
    figure = go.Figure()
    figure.add_scatter(**_lines(places, spots, edges))
    for group, members in _groups(nodes).items():
        figure.add_scatter(**_marks(group, [spots[at] for at in members], nodes, members))
    labels = _labels(nodes, int((room - 2 * _BESIDE) / LETTER))
    for (x, y), label in zip(spots, labels, strict=True):
        figure.add_annotation(
            x=x + _BESIDE - 2, y=y, text=label, showarrow=False, xanchor="left", font={"size": 12}
        )
    top = _MARGINS["t"] + (_TITLE if title else 0)
    height = (rows + 1) * _ROW
    figure.update_layout(
        template=style.TEMPLATE,
        title=title and {"text": title, "y": 1, "yref": "container", "yanchor": "top", "pad_t": 8},
        width=style.PAGE,
        height=height + top + _MARGINS["b"],
        margin=_MARGINS | {"t": top},
        # Above what is drawn, and within the page however many there are.
        legend={
            "orientation": "h", "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom",
            "itemclick": False, "itemdoubleclick": False,
        },
        hovermode="closest",
    )  # fmt: skip
    bare = {"visible": False, "fixedrange": True}
    figure.update_xaxes(range=[0, style.PAGE - _MARGINS["l"] - _MARGINS["r"]], **bare)
    figure.update_yaxes(range=[height - _ROW, -_ROW], **bare)
    return figure


def _check_nodes(nodes: Any) -> list[tuple[str, str, int | None]]:
    check_collection("nodes", nodes, "name, kind and knob of each node")
    found = []
    for node in nodes:
        if not isinstance(node, tuple | list) or len(node) != 3:
            raise ValueError(f"nodes must hold name, kind and knob each, got {short_repr(node)}")
        name, kind, knob = node
        for text in (name, kind):
            if check_text("a name or a kind in nodes", text) is None:
                raise TypeError("nodes must have names and kinds, got None")
        found.append((name, kind, None if knob is None else check_int("a knob in nodes", knob)))
    if not found:
        raise ValueError("nodes must have one node at least, got none")
    return found


def _check_edges(edges: Any, count: int) -> list[tuple[int, int]]:
    check_collection("edges", edges, "pairs of nodes")
    found = []
    for edge in edges:
        if not isinstance(edge, tuple | list) or len(edge) != 2:
            raise ValueError(f"edges must be pairs of nodes, got {short_repr(edge)}")
        first, second = (check_int("a node in edges", place, 0, count - 1) for place in edge)
        if first >= second:
            raise ValueError(f"edges must lead to a later node, got {short_repr(edge)}")
        found.append((first, second))
    # One below the other where nothing is known.
    return found or [(place, place + 1) for place in range(count - 1)]


def _look(node: tuple[str, str, int | None]) -> _Kind:
    _, kind, knob = node
    if knob is None:
        return _OTHER if kind in _PLAIN_KINDS else _FIXED
    place, turn = (knob - 1) % len(_LOOKS), (knob - 1) // len(_LOOKS)
    # Each shape meets each colour once before a pair comes back.
    symbol = _SYMBOLS[(place + turn) % len(_SYMBOLS)]
    return _Kind(f"knob {knob}", _LOOKS[place].color, symbol)


def _groups(nodes: Sequence[tuple[str, str, int | None]]) -> Mapping[_Kind, list[int]]:
    found: dict[_Kind, list[int]] = {}
    for place in sorted(range(len(nodes)), key=lambda at: (nodes[at][2] or 0, at)):
        found.setdefault(_look(nodes[place]), []).append(place)
    # Knobs first in the legend, then what stays.
    return dict(sorted(found.items(), key=lambda pair: pair[0] in (_FIXED, _OTHER)))


def _marks(
    group: _Kind,
    spots: Sequence[tuple[float, float]],
    nodes: Sequence[tuple[str, str, int | None]],
    members: Sequence[int],
) -> dict[str, Any]:
    x, y = zip(*spots, strict=True)
    number = group.name.removeprefix("knob ")
    shown = group is not _OTHER and not (number.isdigit() and int(number) > _MOST_IN_LEGEND)
    line = {"width": 2, "color": group.color}
    return {
        "x": x,
        "y": y,
        "name": group.name,
        "mode": "markers",
        "showlegend": shown,
        "marker": {"color": group.color, "symbol": group.symbol, "size": 11, "line": line},
        "text": [f"{as_label(nodes[at][0])}<br>{as_label(nodes[at][1])}" for at in members],
        "hovertemplate": f"%{{text}}<br>{group.name}<extra></extra>",
    }


def _lines(
    places: Sequence[Place],
    spots: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
) -> dict[str, Any]:
    taken = {(place.lane, place.row) for place in places}
    longest = max((places[second].row - places[first].row for first, second in edges), default=1)
    x: list[float | None] = []
    y: list[float | None] = []
    for first, second in edges:
        (left, top), (right, bottom) = spots[first], spots[second]
        rows = range(places[first].row + 1, places[second].row)
        if left != right:
            # Between two rows, where no label is; and down in the lane that is further out.
            level = top + _ROW / 2 if right > left else bottom - _ROW / 2
            x += [left, left, right, right, None]
            y += [top, level, level, bottom, None]
        elif any((places[first].lane, row) in taken for row in rows):
            # Longer ones bow further, so that they stay apart.
            bow = _BEND * (0.35 + 0.65 * (len(rows) + 1) / longest) * 4 / 3
            x += [*np.dot([left, left - bow, left - bow, left], _BEZIER), None]
            y += [*np.dot([top, top, bottom, bottom], _BEZIER), None]
        else:
            x += [left, right, None]
            y += [top, bottom, None]
    return {
        "x": x,
        "y": y,
        "mode": "lines",
        "line": {"color": style.REFERENCE.color, "width": 1.2},
        "opacity": 0.6,
        "hoverinfo": "skip",
        "showlegend": False,
    }


def _labels(nodes: Sequence[tuple[str, str, int | None]], letters: int) -> list[str]:
    """Return the labels beside the nodes: number of the knob, name and kind, as far as they fit."""
    several = len({knob for _, _, knob in nodes if knob is not None}) > 1
    labels = []
    for name, kind, knob in nodes:
        number = f"{knob} · " if several and knob is not None else ""
        labels.append(
            f"{number}{name}" if kind in _PLAIN_KINDS else f"{number}{name}  {kind}".strip()
        )
    if max(map(len, labels)) > letters:
        labels = [
            label if kind in _PLAIN_KINDS else label.removesuffix(f"  {kind}")
            for label, (_, kind, _) in zip(labels, nodes, strict=True)
        ]
    return [as_label(label) for label in short_names(labels, max(letters, 4))]
