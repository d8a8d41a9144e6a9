"""What an instrument shows at every width, as data for a page without a kernel."""

import json
from typing import Any, Protocol

import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder

from vsnn_lab._basics.checks import check_int
from vsnn_lab.explore.controls import WidthSlider, log2_positions

MIME = "application/vnd.vsnn_lab.instrument+json"
_LAYOUT = -1  # in place of the index of a trace
_MOST = 2_500_000  # bytes: with all that is around it, a page stays below 3 MB


class Instrument(Protocol):
    """An explorer whose figure and read-outs follow one width slider.

    Attributes:
        slider: Its `WidthSlider`.
    """

    slider: WidthSlider

    def static_figure(self) -> go.Figure:
        """Return what it shows."""

    def move_figure(self, figure: go.Figure, width: int) -> None:
        """Put such a figure to another width."""

    def read_out(self, width: int) -> dict[str, tuple[str, str]]:
        """Return what the read-outs say at a width: number and small print by name."""


class Portable:
    """Base of an `Instrument` that leaves what it shows at every width in the notebook.

    JupyterLab shows the live widget as ever; what else is in the output lets `build_report` show
    the instrument, slider included, where no kernel runs.
    """

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any] | None:
        bundle = super()._repr_mimebundle_(**options)
        return bundle and bundle | {MIME: portable(self)}


def portable(instrument: Instrument, most: int = _MOST) -> dict[str, Any]:
    """Return all that an instrument shows, at every width, ready for JSON.

    Its figure is put to each width, and what differs from the figure at the start is kept. Where
    that is too much, widths are left out: those of the log2 scale stay, then every second of them
    and so on; the first, the last and the one at the start always do.

    Args:
        instrument: What to show.
        most: Bytes that the widths may take.

    Returns:
        A dictionary of the ``label`` of the slider; the ``widths``; the width at the ``start``; the
        ``figure`` at that width, as Plotly has it; the ``picture``, which is the index of the trace
        that is an image, or None; ``pictures``, the PNG data address of it at each width;
        ``changes``, for each width the other properties that change, by index of their trace;
        ``layouts``, for each width the parts of the layout that change; and ``readouts``, for each
        width a list of name, number and remark.
    """
    most = check_int("most", most)
    slider, figure = instrument.slider, instrument.static_figure()
    shown, first = json.loads(figure.to_json()), _parts(figure)
    differing, readouts = {}, {}
    for width in range(1, slider.linear.max + 1):
        instrument.move_figure(figure, width)
        parts = _parts(figure)
        differing[width] = {key: parts[key] for key in parts if parts[key] != first.get(key)}
        readouts[width] = [[name, *said] for name, said in instrument.read_out(width).items()]
    # What changes at one width has to change back at the others.
    varied = {key: first.get(key) for parts in differing.values() for key in parts}
    frames = {width: varied | parts for width, parts in differing.items()}
    sizes = {w: len(json.dumps([*frames[w].values(), readouts[w]])) for w in frames}
    widths = _thinned(sizes, slider.value, most)
    picture, pictures = _taken_out(frames, widths, shown["data"])
    return {
        "label": slider.linear.description,
        "widths": widths,
        "start": slider.value,
        "figure": {name: shown[name] for name in ("data", "layout")},
        "picture": picture,
        "pictures": pictures,
        "changes": [_by_trace(frames[width]) for width in widths],
        "layouts": [
            {key: value for (trace, key), value in frames[width].items() if trace == _LAYOUT}
            for width in widths
        ],
        "readouts": [readouts[width] for width in widths],
    }


def _parts(figure: go.Figure) -> dict[tuple[int, str], Any]:
    """Return the properties of a figure by trace and name, in plain lists that compare."""
    whole = json.loads(json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder))
    traces = {_LAYOUT: whole["layout"], **dict(enumerate(whole["data"]))}
    return {(trace, key): part for trace, parts in traces.items() for key, part in parts.items()}


def _thinned(sizes: dict[int, int], start: int, most: int) -> list[int]:
    """Return the widths to keep, as many as fit."""
    ends = {1, start, len(sizes)}
    chosen = list(sizes)
    stops = log2_positions(len(sizes))
    while sum(sizes[width] for width in chosen) > most and set(chosen) != ends:
        chosen = sorted({*stops, *ends})
        stops = stops[::2] if len(stops) > 1 else []
    return chosen


def _taken_out(
    frames: dict[int, dict], widths: list[int], traces: list[dict]
) -> tuple[int | None, list[str]]:
    """Take the first image that changes out of the frames; return its trace and its sources."""
    changing = (trace for trace, key in frames[widths[0]] if key == "source" and trace != _LAYOUT)
    image = next((trace for trace in changing if traces[trace]["type"] == "image"), None)
    if image is None:
        return None, []
    return image, [frames[width].pop((image, "source")) for width in widths]


def _by_trace(frame: dict[tuple[int, str], Any]) -> dict[str, dict[str, Any]]:
    """Return the properties of the traces that change; the indices are text, as JSON has them."""
    found: dict[str, dict[str, Any]] = {}
    for (trace, key), value in frame.items():
        if trace != _LAYOUT:
            found.setdefault(str(trace), {})[key] = value
    return found
