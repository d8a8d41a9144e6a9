"""Runs laid over each other: curves, parameters, and the instrument that picks among them."""

import numpy as np
import pandas as pd
import pytest

from tests.explore.shown import numbers
from vsnn_lab import explore, figures

CURVES = {
    "EPOCHS=2": {1: 0.06, 2: 0.05, 4: 0.04},
    "EPOCHS=5": {1: 0.07, 2: 0.03, 4: 0.02},
    "EPOCHS=9": {1: 0.05, 2: 0.04},
}


def test_every_run_is_a_curve_of_its_own_colour_dash_and_symbol():
    traces = figures.overlay_curves(CURVES, scale=1000).data
    assert [trace.name for trace in traces] == list(CURVES)
    for trace, curve in zip(traces, CURVES.values(), strict=True):
        assert list(trace.x) == list(curve)
        assert list(trace.y) == pytest.approx([1000 * value for value in curve.values()])
    for looks in zip(*[(t.line.color, t.line.dash, t.marker.symbol) for t in traces], strict=True):
        assert len(set(looks)) == len(CURVES)


def test_a_run_is_a_line_through_its_parameters_to_its_result():
    table = pd.DataFrame(
        {"EPOCHS": [2, 5, 9], "DATA": ["mnist", "faces", "mnist"], "mse": [0.3, None, 0.1]}
    )
    figure = figures.parallel_parameters(table, ["EPOCHS", "DATA"], "mse")
    assert figure.layout.xaxis.ticktext == ("EPOCHS", "DATA", "mse")
    assert [trace.y for trace in figure.data] == [(0, 0.5, 1), (1, 0.5, 0)]
    assert figure.data[1].text == "EPOCHS: 9<br>DATA: mnist<br>mse: 0.1"
    ticks = {(note.x, note.y): note.text for note in figure.layout.annotations}
    assert ticks == {(0, 0): "2", (0, 1): "9", (1, 0.5): "mnist", (2, 0): "0.1", (2, 1): "0.3"}


def test_a_run_whose_value_is_no_number_has_a_gap_there():
    table = pd.DataFrame({"LR": [0.1, None, 0.2], "mse": [float("inf"), 2.0, 3.0]})
    lines = figures.parallel_parameters(table, ["LR"], "mse").data
    assert np.isnan([line.y for line in lines]).tolist() == [[0, 1], [1, 0], [0, 0]]
    assert "mse: inf" in lines[0].text


@pytest.mark.parametrize(
    "values", [[1e-4, 1e-3, 1e-2, 1], range(100), ["c" * n for n in range(60)]]
)
def test_ticks_of_a_parameter_do_not_touch(values):
    table = pd.DataFrame({"P": values, "mse": range(len(values))})
    notes = figures.parallel_parameters(table, ["P"], "mse").layout.annotations
    places = [note.y for note in notes if note.x == 0]
    assert (places[0], len(places) > 1) == (0, True)
    assert np.diff(places).min() * 380 * 0.7 > 12


def test_runs_that_are_not_picked_disappear_and_the_axes_stay():
    explorer = explore.RunsExplorer(CURVES)
    assert (explorer.picked, explorer.width) == ([0, 1, 2], 4)
    (graph, _), before = explorer.description["parts"], explorer.static_figure().layout.yaxis.range
    assert [line["name"] for line in graph["series"]] == list(CURVES)
    explorer.picked = [2, 0]
    figure = explorer.static_figure()
    assert [trace.name for trace in figure.data if trace.name] == ["EPOCHS=2", "EPOCHS=9"]
    assert figure.layout.yaxis.range == before
    assert explorer.best_at() == {1: "EPOCHS=9", 2: "EPOCHS=9", 4: "EPOCHS=2"}
    explorer.picked = []
    assert explorer.best_at() == {}
    assert not [trace.name for trace in explorer.static_figure().data if trace.name]


def test_what_is_sent_ranks_the_runs_at_each_width():
    metric = figures.Metric("accuracy", "higher", "%", 100)
    explorer = explore.RunsExplorer(CURVES | {"EPOCHS=0": {1: 0.06}}, metric=metric)
    _, table = explorer.description["parts"]
    assert [line["name"] for line in table["series"]] == [*CURVES, "EPOCHS=0"]
    # Of equal values the one whose name comes first: EPOCHS=0 before EPOCHS=2.
    expected = [[2, 0, 3, 1], [0, 2, 1, 4], [0, 1, 4, 4]]
    assert numbers(explorer, "places").tolist() == expected
    assert table["nowhere"] == 4
    assert [line["y"][-1] for line in table["series"]] == pytest.approx([4, 2, 4, 6])
    assert (table["unit"], table["says"]) == ("%", "best (highest)")


@pytest.mark.parametrize(
    ("picked", "error", "message"),
    [
        ([3], ValueError, r"each of picked must lie in 0\.\.2, got 3"),
        (["EPOCHS=2"], TypeError, "each of picked must be an int"),
    ],
)
def test_runs_that_there_are_not_are_refused(picked, error, message):
    explorer = explore.RunsExplorer(CURVES)
    with pytest.raises(error, match=message):
        explorer.picked = picked
    assert explorer.picked == [0, 1, 2]


@pytest.mark.parametrize(
    ("curves", "error", "message"),
    [
        ({}, ValueError, "curves must hold at least one run"),
        ({"a": {}}, ValueError, "curves must hold at least one run, each with a width"),
        ([1], TypeError, r"curves must map names of runs to curves, got \[1\]"),
        ({"a": {0: 1.0}}, ValueError, r"each width of curves\['a'\] must be at least 1, got 0"),
    ],
)
def test_curves_that_make_no_sense_are_refused(curves, error, message):
    with pytest.raises(error, match=message):
        figures.overlay_curves(curves)


def test_a_table_without_the_column_or_the_result_is_refused():
    table = pd.DataFrame({"SEED": [0], "mse": [None]})
    with pytest.raises(ValueError, match=r"table must have the column 'EPOCHS', got \['SEED'"):
        figures.parallel_parameters(table, ["EPOCHS"], "mse")
    with pytest.raises(ValueError, match="table must have a row with 'mse', got none"):
        figures.parallel_parameters(table, ["SEED"], "mse")
    with pytest.raises(TypeError, match="table must be a pandas table, got list"):
        figures.parallel_parameters([], ["SEED"], "mse")


def test_a_scale_beyond_all_numbers_is_refused():
    with pytest.raises(ValueError, match=r"scale must leave every value finite, got 1e\+308"):
        explore.RunsExplorer({"a": {1: 10.0}}, scale=1e308)
