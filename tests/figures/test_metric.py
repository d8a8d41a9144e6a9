"""A metric says which of two values is better, and how a value is shown."""

import math
import random

import numpy as np
import pandas as pd
import pytest
from plotly.colors import unlabel_rgb

from vsnn_lab import explore, figures
from vsnn_lab.figures import Metric

ACCURACY = Metric("test accuracy", "higher", unit="%", scale=100)
ERROR = Metric("test MSE", "lower", unit="×10⁻³", scale=1000)
PERPLEXITY = Metric("perplexity", "lower")
CURVES = {"a": {1: 0.2, 2: 0.9}, "b": {1: 0.3, 2: 0.8}, "c": {1: 0.1, 4: 0.95}}


@pytest.mark.parametrize(
    ("metric", "value", "text"),
    [
        (ACCURACY, 0.90126, "90.13 %"),
        (ERROR, 0.00804, "8.04 ×10⁻³"),
        (PERPLEXITY, 12345.6, "12,346"),
        (PERPLEXITY, math.nan, "nan"),
        (ACCURACY, -math.inf, "-inf %"),
        (ACCURACY, 1, "100 %"),
    ],
)
def test_a_value_is_shown_with_its_unit(metric, value, text):
    assert metric.text(value) == text


def test_a_label_is_name_and_unit():
    assert (ACCURACY.label, PERPLEXITY.label) == ("test accuracy (%)", "perplexity")
    assert (ACCURACY.extreme, ERROR.extreme) == ("highest", "lowest")


def test_values_sort_from_the_best_to_the_worst_with_nan_last():
    values = [0.5, -1.0, math.nan, 3.0, -math.inf, math.inf]
    random.Random(0).shuffle(values)
    assert sorted(values, key=ACCURACY.rank)[:-2] == [math.inf, 3.0, 0.5, -1.0]
    assert sorted(values, key=ERROR.rank)[:4] == [-math.inf, -1.0, 0.5, 3.0]


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        (("a", "more"), ValueError, "better must be one of 'lower', 'higher', got 'more'"),
        (("", "lower"), ValueError, "name must not be empty"),
        ((3, "lower"), TypeError, "name must be a string, got 3"),
        (("a", "lower", None), TypeError, "unit must be a string, got None"),
        (("a", "lower", "", -1), ValueError, r"scale must be above 0, got -1\.0; better says"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields, error, message):
    with pytest.raises(error, match=message):
        Metric(*fields)


@pytest.mark.parametrize(
    ("metric", "best", "told"),
    [
        (ACCURACY, {1: "b", 2: "a", 4: "c"}, "best (highest)"),
        (ERROR, {1: "c", 2: "b", 4: "c"}, "best (lowest)"),
        (None, {1: "c", 2: "b", 4: "c"}, "lowest"),
    ],
    ids=["higher", "lower", "unknown"],
)
def test_the_best_run_is_that_of_the_better_value(metric, best, told):
    explorer = explore.RunsExplorer(CURVES, metric=metric)
    assert explorer.best_at() == best
    assert explorer.description["parts"][1]["says"] == told


@pytest.mark.parametrize("metric", [ACCURACY, ERROR, PERPLEXITY])
def test_figures_show_a_metric_in_its_unit(metric):
    figure = figures.overlay_curves(CURVES, metric=metric)
    assert figure.layout.yaxis.title.text == metric.label
    for trace, curve in zip(figure.data, CURVES.values(), strict=True):
        assert list(trace.y) == pytest.approx([metric.scale * value for value in curve.values()])
    table = pd.DataFrame({"SEED": [0, 1], "loss": [0.25, 0.5]})
    figure = figures.parallel_parameters(table, ["SEED"], "loss", measures=metric)
    assert figure.layout.xaxis.ticktext[-1] == metric.label
    notes = [note.text for note in figure.layout.annotations]
    assert notes[-3:-1] == [f"{loss * metric.scale:.4g}" for loss in (0.25, 0.5)]
    assert notes[-1] == f"{metric.better} is better"
    lightness = [np.dot(unlabel_rgb(line.line.color), (0.3, 0.6, 0.1)) for line in figure.data]
    assert (lightness[0] < lightness[1]) == (metric.better == "higher")


def test_values_below_zero_are_in_the_picture():
    explorer = explore.RunsExplorer({"a": {1: -4.0, 2: -1.0}}, metric=Metric("score", "higher"))
    assert explorer.description["parts"][0]["y"]["range"] == [-4.32, 0]


def test_another_factor_or_label_goes_before_the_metrics():
    figure = figures.overlay_curves(CURVES, metric=ACCURACY, scale=1, label="share")
    assert figure.layout.yaxis.title.text == "share"
    assert list(figure.data[0].y) == [0.2, 0.9]
    with pytest.raises(TypeError, match="metric must be a Metric or None, got 'accuracy'"):
        figures.overlay_curves(CURVES, metric="accuracy")
