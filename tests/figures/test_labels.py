"""Texts from outside are never markup, and where there is no room for all, fewer stand."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vsnn_lab import figures
from vsnn_lab.figures.instrument import instrument_figure
from vsnn_lab.figures.labels import LETTER, LINE
from vsnn_lab.measure.ablation import WidthSweep

OURS = re.compile("</?b>|<br>|<extra></extra>")  # what our own texts are set with
NASTY = "<b>$x$</b> & <a href='javascript:bad()'>%{x}</a>"
CURVE = {1: 0.5, 2: 0.25}
ARRAY = {"dtype": "uint8", "shape": [2, 4, 4, 1], "by": [], "data": bytes(32)}
SAID = {"dtype": "uint8", "shape": [2], "by": [], "data": b"\0\1"}
COUNTS = {"dtype": "uint8", "shape": [2, 2], "by": [], "data": b"\1\0\0\1"}
POINTS, PICTURES = np.array([[0.0, 1.0], [2.0, 3.0]]), np.zeros((2, 1, 4, 4))


def sweep(metric):
    return WidthSweep(metric, np.array([1, 2]), np.array([0.5, 0.4]), 2)


def instrument(text):
    """Draw an instrument of which every text is this one."""
    look = {"name": text, "color": "#000000", "symbol": "circle", "dash": "solid"}
    captions = {"names": [text, "b"], "short": [text, "b"], "full": "said"}
    captions |= {"said": "said", "truth": "said"}
    pictures = {"type": "pictures", "size": [4, 4, 1], "count": 2, "columns": 2}
    pictures["tracks"] = [{"source": "pictures", "label": text, "captions": captions}]
    axes = {"x": {"range": [1, 2], "ticks": [1, 2], "label": "w"}}
    axes["y"] = {"range": [0, 1], "label": text}
    series = [look | {"x": [1, 2], "y": [0.5, 0.4]}, look | {"level": 0.3}]
    curve = {"type": "curve", "by": "width", "series": series} | axes
    matrix = {"type": "matrix", "source": "counts", "names": [text, "b"], "short": [text, "b"]}
    tiles = {"type": "tiles", "by": "width", "items": [{"name": text, "values": text}]}
    control = {"type": "width", "name": "width", "values": [1, 2]}
    parts = {"controls": [control], "parts": [pictures, curve, matrix, tiles]}
    arrays = {"pictures": ARRAY, "said": SAID, "counts": COUNTS}
    return instrument_figure(parts, arrays, {"width": 1})


DRAWN = {
    "an instrument": instrument,
    "overlay_curves": lambda text: figures.overlay_curves({text: CURVE}, label=text, title=text),
    "a metric": lambda text: figures.overlay_curves(
        {"a": CURVE}, metric=figures.Metric(f"m{text}", "lower", unit=text)
    ),
    "parallel_parameters": lambda text: figures.parallel_parameters(
        pd.DataFrame({f"p{text}": [text, "b"], f"m{text}": [1.0, 2.0]}),
        [f"p{text}"],
        f"m{text}",
        title=text,
    ),
    "recipe_curves": lambda text: figures.recipe_curves({text: CURVE}, CURVE, title=text),
    "recommended": lambda text: figures.recipe_curves({text: CURVE}, CURVE, recommended=text),
    "code_scatter": lambda text: figures.code_scatter(
        POINTS, np.array([0, 1]), [text, "b"], title=text
    ),
    "mask_gallery": lambda text: figures.mask_gallery({text: np.tri(3, dtype=bool)}),
    "sweep_figure": lambda text: figures.sweep_figure(sweep(f"m{text}"), title=text),
    "a label": lambda text: figures.sweep_figure(sweep("mse"), label=text),
    "comparison_curves": lambda text: figures.comparison_curves(
        {"pca": CURVE}, label=text, title=text
    ),
    "width_needed": lambda text: figures.width_needed({"pca": CURVE}, label=text, title=text),
    "width_grid": lambda text: figures.width_grid(PICTURES, {1: PICTURES}, title=text),
    "unit_differences": lambda text: figures.unit_differences(PICTURES, {1: PICTURES}, title=text),
    "traversal": lambda text: figures.traversal(PICTURES[None], [0.0, 1.0], title=text),
}


def texts(part):
    """Return all texts of a figure but those of its template and of its pictures."""
    if isinstance(part, dict):
        return [t for key, each in part.items() if key != "template" for t in texts(each)]
    if isinstance(part, list | tuple):
        return [text for each in part for text in texts(each)]
    return [part] if isinstance(part, str) and not part.startswith("data:") else []


@given(st.sampled_from(sorted(DRAWN)), st.text(max_size=80) | st.just(NASTY))
def test_a_text_from_outside_is_never_markup_nor_a_formula(name, text):
    for shown in texts(DRAWN[name](text).to_plotly_json()):
        # A text from outside has none of these, not even one that looks like ours.
        ours = OURS.sub("", shown)
        assert not {*ours} & {"<", ">", "$"}
        assert re.fullmatch(r"([^&]|&(lt|gt|amp|#36);)*", ours, re.DOTALL)


def test_a_long_name_is_whole_where_the_mouse_points_and_leaves_the_curves_their_width():
    names = [f"DATA=mnist EPOCHS={epochs} {'x' * 60} SEED=0" for epochs in range(20)]
    figure = figures.overlay_curves(dict.fromkeys(names, CURVE))
    assert [trace.text for trace in figure.data] == names
    assert len({trace.name for trace in figure.data}) == 20
    few = figures.overlay_curves({"a": CURVE, "b": CURVE})
    for one in (figure, few):
        layout = one.layout
        assert layout.legend.y < 0
        assert layout.margin.r is None
        assert layout.height - layout.margin.b == 420 - 56


@pytest.mark.parametrize("count", [2, 20, 120])
def test_captions_of_many_pictures_do_not_touch(count):
    pictures = np.zeros((count, 1, 28, 28))
    figure = figures.traversal(pictures[None], np.linspace(-3, 3, count).round(2))
    (image,) = figure.select_traces()
    across = (840 - 84 - 16) / (30 * count - 2)
    places, words = figure.layout.xaxis.tickvals, figure.layout.xaxis.ticktext
    assert image.source
    room = np.diff(places).min() * min(across, 96 / 28)
    assert room >= LETTER * (max(map(len, words)) + 0.99)
    assert places[0] == 13.5


@pytest.mark.parametrize(("count", "labelled"), [(6, 4), (120, 1)])
def test_rows_lower_than_a_line_of_text_are_labelled_now_and_then_with_their_errors(
    count, labelled
):
    pictures = np.zeros((count, 1, 28, 28))
    grid = dict.fromkeys((1, 2, 3), pictures)
    figure = figures.width_grid(pictures, grid, errors=dict.fromkeys(grid, 0.1))
    assert len(figure.layout.yaxis.ticktext) == labelled
    # Errors stand at the same rows, and their heading above.
    assert len(figure.layout.annotations) == labelled
    scale = (840 - 84 - 104) / (30 * count - 2)
    places = figure.layout.yaxis.tickvals
    assert len(places) < 2 or np.diff(places).min() * scale >= LINE
