"""An instrument at one position as a figure: for headless runs and print."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from vsnn_lab.figures import style
from vsnn_lab.figures.diverging import colorize
from vsnn_lab.figures.frames import decode_frames
from vsnn_lab.figures.images import add_opacity, png, tile, tile_centers
from vsnn_lab.figures.labels import LINE, as_label, short_labels
from vsnn_lab.figures.masks import mask_heatmap
from vsnn_lab.figures.reader import Reader
from vsnn_lab.figures.text import ROW, count_rows, draw_texts, texts_shown
from vsnn_lab.figures.tiles import label_ticks

_WIDTH, _HEIGHT = style.PAGE, 380  # pixels of the screen
_TOP, _RIGHT, _BOTTOM = 92, 16, 64
# Pixels of the screen to the left of a part, for its labels, and its share of what is left.
_ROOM = {
    "pictures": (24, 0.45),
    "frames": (24, 0.55),
    "curve": (64, 0.38),
    "matrix": (84, 0.27),
    "mask": (64, 0.5),
    "texts": (8, 0.62),
}
_LETTERS = 28  # of a curve's name; longer ones would cover the curves
_PICTURES = (240, 270)  # pixels of the screen, down and across, that pictures have
_STILLS = 4  # frames of an animation that are shown
_NAMES = 12  # that have room along a side of a matrix
# Beside the palette of networks, and none of its hues; a frame and a disc tell them apart, too.
WRONG, FLIP = "#9c6e00", style.DIFFERENT
# Shares of a row are mostly near 0 or near 1, and the small ones are what there is to see.
_COLORSCALE = [
    [share, f"rgba(43, 131, 198, {share**0.5:.3f})"]
    for share in (0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1)
]


def instrument_figure(
    description: Mapping[str, Any], arrays: Mapping[str, Any], positions: Mapping[str, Any]
) -> go.Figure:
    """Draw what an instrument shows where its controls stand.

    Args:
        description: Of the instrument: its controls and parts; pictures, curves and matrices are
            drawn beside each other, read-outs in a line above.
        arrays: What the parts show, by name.
        positions: Value of each control, by its name.

    Returns:
        A figure 840 pixels wide.
    """
    reader = Reader(description, arrays, positions)
    texts = texts_shown(description, reader)
    shown = [{"type": "texts"}] if texts else []
    shown += [part for part in description["parts"] if part["type"] in _ROOM]
    room = [_ROOM[part["type"]] for part in shown]
    figure = make_subplots(1, len(shown))
    high = max(_HEIGHT, _TOP + _BOTTOM + ROW * count_rows(texts))
    margin = {"l": 0, "r": 0, "t": _TOP, "b": _BOTTOM}
    figure.update_layout(template=style.TEMPLATE, width=_WIDTH, height=high, margin=margin)
    small = {"tickfont_size": 11, "title_font_size": 12}
    draw = {"pictures": _draw_pictures, "curve": _draw_curve, "matrix": _draw_matrix}
    draw |= {"mask": _draw_mask, "frames": _draw_frames}
    if texts:
        draw["texts"] = lambda *_: draw_texts(figure, texts, 1)
    left, rest = 0.0, _WIDTH - _RIGHT - sum(labels for labels, _ in room)
    for column, (part, (labels, share)) in enumerate(zip(shown, room, strict=True), 1):
        start = left + labels
        left = start + rest * share / sum(share for _, share in room)
        figure.update_xaxes(small, domain=[start / _WIDTH, left / _WIDTH], col=column)
        # Beside texts, which may be long, what is no text is as high as elsewhere.
        low = 0.0 if part["type"] == "texts" else (high - _HEIGHT) / (high - _TOP - _BOTTOM)
        figure.update_yaxes(small, domain=[low, 1], col=column)
        draw[part["type"]](figure, part, reader, column)
        # Names of runs are long and many: they stay in the corner, where the template has them.
        if part["type"] == "curve" and "picked" not in part:
            above = {"x": start / _WIDTH, "xanchor": "left", "y": 1, "yanchor": "bottom"}
            figure.update_layout(legend=above)
    figure.update_layout(legend_font_size=11)
    said = [
        f"{as_label(item['name'])} <b>{reader.text(item, part.get('by', ''))}</b>"
        for part in description["parts"]
        for item in part.get("items", ())
    ]
    line = "   ".join(said[:4])
    title = {"text": line, "font_size": 13, "x": room[0][0] / _WIDTH}
    return figure.update_layout(title=title | {"y": 1 - 20 / high})


def _draw_pictures(figure: go.Figure, part: Mapping[str, Any], reader: Reader, column: int) -> None:
    """Draw a row of pictures for each track, in bands, or all tracks in one row."""
    height, width, _ = part["size"]
    across, count = part.get("layout") == "columns", part["count"]
    rows = [_pixels(track, reader) for track in part["tracks"]]
    if across:
        # Grey ones beside a difference, which has colours.
        most = max(row.shape[-1] for row in rows)
        alike = [row[..., [0, 0, 0, 1]] if row.shape[-1] < most else row for row in rows]
        grid = np.concatenate(alike)[None]
        labels, columns = [""], len(rows)
    else:
        columns = min(part["columns"], count)
        bands = -(-count // columns)
        room = ((0, bands * columns - count), (0, 0), (0, 0), (0, 0))
        filled = [np.pad(row, room).reshape(bands, columns, *row.shape[1:]) for row in rows]
        grid = np.stack(filled, 1).reshape(-1, columns, *rows[0].shape[1:])
        labels = [as_label(track.get("label", "")) for track in part["tracks"]] * bands
    # Captions stand in a margin below each picture.
    captions = part["tracks"][0].get("captions")
    below = round(0.5 * height) if captions else 0
    pixels = tile(np.pad(grid, ((0, 0), (0, 0), (0, below), (0, 0), (0, 0))))
    figure.add_trace(go.Image(source=png(pixels), hoverinfo="skip"), 1, column)
    axes = style.pixel_axes()
    centers = tile_centers(len(labels), height + below)
    scale = min(room / size for room, size in zip(_PICTURES, pixels.shape[:2], strict=True))
    ticks = label_ticks(labels, height + below, LINE / scale)
    figure.update_yaxes(
        axes["yaxis"] | ticks, tickangle=-90, ticklabelstandoff=2, row=1, col=column
    )
    figure.update_xaxes(axes["xaxis"], row=1, col=column)
    if across:
        named = {"tickvals": tile_centers(columns, width), "showticklabels": True, "side": "top"}
        titles = [as_label(track["label"]) + _ends(track) for track in part["tracks"]]
        figure.update_xaxes(named, ticktext=titles, row=1, col=column)
    if captions:
        places = [divmod(index, columns) for index in range(count)]
        x = np.array([tile_centers(columns, width)[place] for _, place in places])
        y = np.array([centers[row] - below / 2 for row, _ in places])
        for trace in _captions(captions, reader, x, y, (width, height, below)):
            figure.add_trace(trace, 1, column)


def _draw_frames(figure: go.Figure, part: Mapping[str, Any], reader: Reader, column: int) -> None:
    """Draw some frames of each track, evenly spaced, as a row of pictures."""
    sheets, lengths = (reader.at({"array": part[name], "by": []}) for name in ("source", "lengths"))
    stills = np.linspace(0, part["count"] - 1, _STILLS).round().astype(int)
    tracks = []
    for track in part["tracks"]:
        place = -1 if track.get("last") else reader.index[part["by"]]
        data = sheets[place, : lengths[place]].tobytes()
        frames = decode_frames(data, part["count"], tuple(part["size"]))[stills]
        tracks.append({"label": track["label"], "pixels": frames})
    size = [*part["size"], 3]
    shown = {"size": size, "count": _STILLS, "columns": _STILLS, "tracks": tracks}
    _draw_pictures(figure, shown, reader, column)


def _ends(track: Mapping[str, Any]) -> str:
    """Return the ends of the scale of a difference, which is drawn in colours."""
    return f" (±{track['limit'] / 255:.2g})" if "minus" in track else ""


def _pixels(track: Mapping[str, Any], reader: Reader) -> np.ndarray:
    """Return the pictures of a track with opacity, shape (n, height, width, channels + 1)."""
    pixels = track["pixels"] if "pixels" in track else reader.at(track["source"])
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    if "minus" in track:
        change = pixels.astype(float) - reader.at(track["minus"])
        pixels = colorize(np.moveaxis(change, -1, 1), track["limit"])
    return add_opacity(pixels)


def _captions(
    captions: Mapping[str, Any],
    reader: Reader,
    x: np.ndarray,
    y: np.ndarray,
    size: tuple[int, int, int],
) -> list[go.Scatter]:
    """Return what pictures around x and y are taken for, frames of wrong ones, discs of flips.

    Wrong ones have a cross and the true class, too; ``size`` is width, height, and room below.
    """
    width, height, below = size
    names = [as_label(name) for name in captions["short"]]
    said, truth, full = (reader.at(captions[kind]) for kind in ("said", "truth", "full"))
    wrong, flipped = said != truth, said != full
    texts = [
        names[i] if i == j else f"✗ {names[i]}<br>({names[j]})"
        for i, j in zip(said, truth, strict=True)
    ]
    silent = {"hoverinfo": "skip", "showlegend": False, "cliponaxis": False}
    colors = np.where(wrong, WRONG, style.TEXT_COLOR)
    frame = {"mode": "lines", "line": {"color": WRONG, "width": 2}}
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1], [np.nan, np.nan]]) / 2
    centers = np.stack([x, y], 1)[wrong]
    paths = (centers[:, None] + corners * (width, height)).reshape(-1, 2)
    disc = {"mode": "markers+text", "marker": {"color": FLIP, "size": 13}}
    arrows = {"text": ["⇄"] * int(flipped.sum()), "textfont": {"color": "#ffffff", "size": 10}}
    corner = {"x": (x + width / 2)[flipped], "y": (y - height / 2)[flipped]}
    text = {"x": x, "y": y + (height + below) / 2, "text": texts, "mode": "text"}
    return [
        go.Scatter(text | silent, textfont={"size": 8, "color": colors}),
        go.Scatter(frame | silent, x=paths[:, 0], y=paths[:, 1]),
        go.Scatter(disc | arrows | corner | silent),
    ]


def _draw_curve(figure: go.Figure, part: Mapping[str, Any], reader: Reader, column: int) -> None:
    shown = part["series"]
    if "picked" in part:
        shown = [shown[place] for place in reader.positions[part["picked"]]]
    for series in shown:
        figure.add_trace(_series(series, part["x"]["range"], reader), 1, column)
    width = reader.positions.get(part.get("by", ""))
    for series in shown:
        if series.get("follow") and width in series["x"]:
            level = _heights(series, reader)[series["x"].index(width)]
            marker = style.slider_marker().update(cliponaxis=False)
            marker.update(x=[width] * 2, y=[part["y"]["range"][0], level])
            figure.add_trace(marker, 1, column)
    figure.update_xaxes(
        style.log2_axis(part["x"]["ticks"][-1], part["x"]["label"]), row=1, col=column
    )
    label = as_label(part["y"]["label"])
    figure.update_yaxes(range=part["y"]["range"], title_text=label, row=1, col=column)


def _heights(series: Mapping[str, Any], reader: Reader) -> Sequence[float]:
    y = series["y"]
    return reader.at({"array": y, "by": []}).tolist() if isinstance(y, str) else y


def _series(series: Mapping[str, Any], ends: Sequence[float], reader: Reader) -> go.Scatter:
    looks = (series[part] for part in ("color", "symbol", "dash"))
    look = style.Style(short_labels([series["name"]], _LETTERS)[0], *looks)
    if "level" in series:
        return style.curve_trace(look, ends, [series["level"]] * 2).update(mode="lines")
    y = _heights(series, reader)
    trace = style.curve_trace(look, series["x"], y)
    if "low" in series:
        above = np.subtract(series["high"], y)
        below = np.subtract(y, series["low"])
        whiskers = {"array": above, "arrayminus": below, "visible": bool((above + below).any())}
        trace.update(error_y=whiskers)
    if series.get("points"):
        trace.update(mode="markers", marker_size=10)
    return trace


def _draw_mask(figure: go.Figure, part: Mapping[str, Any], reader: Reader, column: int) -> None:
    """Draw which units each sample keeps, first sample on top."""
    rows, units = (reader.positions[part[name]] for name in ("rows", "columns"))
    kept = np.arange(units) < reader.at(part["source"])[:rows, None]
    figure.add_trace(mask_heatmap(kept), 1, column)
    ends = [0.5, part["most"] + 0.5]
    figure.update_xaxes(range=ends, title="unit", constrain="domain", row=1, col=column)
    square = {"scaleanchor": "x", "constrain": "domain", "title": "sample"}
    figure.update_yaxes(square | {"range": ends[::-1]}, row=1, col=column)


def _draw_matrix(figure: go.Figure, part: Mapping[str, Any], reader: Reader, column: int) -> None:
    counts = reader.at(part["source"]).astype(float)
    names = [as_label(name) for name in part["short"]]
    step = -(-len(names) // _NAMES)  # beyond some classes not every name has room
    ticks = {"tickvals": list(range(0, len(names), step)), "ticktext": names[::step], "ticks": ""}
    shares = counts / counts.sum(1, keepdims=True).clip(1)
    heat = go.Heatmap(z=shares, colorscale=_COLORSCALE, zmin=0, zmax=1, showscale=False)
    figure.add_trace(heat, 1, column)
    edge = {"showline": True, "mirror": True, "showgrid": False, "tickfont": {"size": 10}}
    figure.update_xaxes(edge | ticks, tickangle=-90, row=1, col=column)
    figure.update_yaxes(edge | ticks, autorange="reversed", row=1, col=column)
