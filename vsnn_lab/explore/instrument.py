"""An explorer of one width slider, and what it shows at every width for a page without a kernel."""

import json
from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
from plotly.utils import PlotlyJSONEncoder

from vsnn_lab._basics.checks import check_int
from vsnn_lab.explore.controls import ReadOuts, WidthSlider, log2_positions
from vsnn_lab.explore.figure_box import FigureBox

MIME = "application/vnd.vsnn_lab.instrument+json"
_LAYOUT = "layout"  # in place of the index of a trace
_MOST = 2_500_000  # bytes: with all that is around it, a page stays below 3 MB


class Instrument(FigureBox):
    """Base of an explorer whose figure and read-outs follow one width slider.

    Its buttons call ``new_images`` and ``save``, which an explorer has of its own.

    JupyterLab shows the live widget as ever; what else is in the output lets `build_report` show
    the instrument, slider included, where no kernel runs.

    Args:
        steps: Positions of the slider.
        description: Its label.
        more: Widgets between the read-outs and the buttons.

    Attributes:
        slider: The `WidthSlider`.
        width: The width shown.
    """

    def __init__(self, steps: int, description: str, more: Sequence[Any] = ()) -> None:
        self.slider = WidthSlider(steps, description=description)
        self.read_outs = ReadOuts()
        self.status = widgets.HTML(layout={"flex": "1 1 auto"})
        self.new_button = widgets.Button(
            description="New images", icon="refresh", layout={"flex": "0 0 auto"}
        )
        self.save_button = widgets.Button(
            description="Extract this width and save",
            icon="scissors",
            layout={"width": "250px", "flex": "0 0 auto"},
        )
        self.figure = go.FigureWidget(self.static_figure())
        self.show(self.width)
        self.slider.observe(lambda change: self.show(change.new), "value")
        self.new_button.on_click(lambda button: self.new_images())
        self.save_button.on_click(lambda button: self.save())
        buttons = widgets.HBox(
            [self.new_button, self.save_button, self.status], layout={"align_items": "center"}
        )
        super().__init__(
            [self.slider, self.figure, self.read_outs, *more, buttons],
            layout={"max_width": "1016px"},
        )

    @property
    def width(self) -> int:
        """The width shown."""
        return self.slider.value

    def show(self, width: int) -> None:
        """Put figure and read-outs to a width: the slider's callback, look-ups only."""
        self.move_figure(self.figure, width)
        self.read_outs.show(self.read_out(width))

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        raise NotImplementedError

    def move_figure(self, figure: go.Figure, width: int) -> None:
        """Put the figure, or one like it, to a width."""
        raise NotImplementedError

    def read_out(self, width: int) -> dict[str, tuple[str, str]]:
        """Return what the read-outs say at a width: number and small print by name."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any] | None:
        bundle = super()._repr_mimebundle_(**options)
        return bundle and bundle | {MIME: instrument_data(self)}


def instrument_data(instrument: Instrument, most: int = _MOST) -> dict[str, Any]:
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
    shown, first = json.loads(figure.to_json()), _properties(figure)
    differing, readouts = {}, {}
    for width in range(1, slider.linear.max + 1):
        instrument.move_figure(figure, width)
        found = _properties(figure)
        differing[width] = {key: found[key] for key in found if found[key] != first.get(key)}
        readouts[width] = [[name, *texts] for name, texts in instrument.read_out(width).items()]
    # What changes at one width has to change back at the others.
    varied = {key: first.get(key) for parts in differing.values() for key in parts}
    frames = {width: varied | parts for width, parts in differing.items()}
    sizes = {w: len(json.dumps([*frames[w].values(), readouts[w]])) for w in frames}
    widths = _widths_that_fit(sizes, slider.value, most)
    images = {f"{i}" for i, trace in enumerate(shown["data"]) if trace["type"] == "image"}
    sources = (trace for trace, key in varied if key == "source" and trace in images)
    picture, pictures = next(sources, None), []
    if picture is not None:
        pictures = [frames[width].pop((picture, "source")) for width in widths]
    changes: list[dict[str, dict[str, Any]]] = [{} for _ in widths]
    for width, change in zip(widths, changes, strict=True):
        for (trace, key), value in frames[width].items():
            change.setdefault(trace, {})[key] = value
    return {
        "label": slider.linear.description,
        "widths": widths,
        "start": slider.value,
        "figure": {name: shown[name] for name in ("data", "layout")},
        "picture": None if picture is None else int(picture),
        "pictures": pictures,
        "layouts": [change.pop(_LAYOUT, {}) for change in changes],
        "changes": changes,
        "readouts": [readouts[width] for width in widths],
    }


def _properties(figure: go.Figure) -> dict[tuple[str, str], Any]:
    """Return the properties of a figure by trace and name, in plain lists that compare."""
    whole = json.loads(json.dumps(figure.to_plotly_json(), cls=PlotlyJSONEncoder))
    traces = {_LAYOUT: whole["layout"]} | {f"{i}": each for i, each in enumerate(whole["data"])}
    return {(trace, key): part for trace, parts in traces.items() for key, part in parts.items()}


def _widths_that_fit(sizes: dict[int, int], start: int, most: int) -> list[int]:
    ends = {1, start, len(sizes)}
    chosen = list(sizes)
    stops = log2_positions(len(sizes))
    while sum(sizes[width] for width in chosen) > most and set(chosen) != ends:
        chosen = sorted({*stops, *ends})
        stops = stops[::2] if len(stops) > 1 else []
    return chosen
