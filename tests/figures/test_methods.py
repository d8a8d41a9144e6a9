"""Methods compared over code widths: the numbers in the figures, by hand."""

import numpy as np
import plotly.graph_objects as go
import pytest
import torch

from vsnn_lab import figures
from vsnn_lab.figures import style

CURVES = {
    "pca": {1: 0.06, 2: 0.05, 3: 0.045, 4: 0.03},
    "variable": {1: [0.05, 0.07], 2: [0.04, 0.04], 4: [0.02, 0.03]},
    "dedicated": {1: [0.04, 0.05, 0.09], 4: [0.02, 0.02, 0.02]},
    "pcaae": {1: 0.055, 2: 0.05, 4: 0.04},
}


def on(figure: go.Figure, axis: str) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data if trace.xaxis == axis}


def test_each_method_is_drawn_at_its_mean_in_its_own_look():
    traces = on(figures.comparison_curves(CURVES), "x")
    np.testing.assert_allclose(traces["variable network"].y, [60, 40, 25])
    np.testing.assert_allclose(traces["dedicated networks"].y, [60, 20])
    np.testing.assert_allclose(traces["PCA"].y, [60, 50, 45, 30])
    np.testing.assert_allclose(traces["PCAAE"].y, [55, 50, 40])
    for look in (style.VARIABLE, style.DEDICATED, style.PCA, style.PCAAE):
        assert traces[look.name].marker.color == look.color
        assert traces[look.name].marker.symbol == look.symbol
    assert traces["dedicated networks"].mode == "markers"


def test_seeds_are_a_band_or_whiskers_from_the_least_to_the_largest():
    traces = on(figures.comparison_curves(CURVES), "x")
    band = traces["variable network, seeds"]
    np.testing.assert_allclose(band.x, [1, 2, 4, 4, 2, 1])
    np.testing.assert_allclose(band.y, [70, 40, 30, 20, 40, 50])
    assert band.fill == "toself"
    whiskers = traces["dedicated networks"].error_y
    np.testing.assert_allclose(whiskers.array, [30, 0], atol=1e-12)
    np.testing.assert_allclose(whiskers.arrayminus, [20, 0], atol=1e-12)
    assert "PCAAE, seeds" not in traces


def test_ratios_are_to_the_dedicated_networks_mean_where_there_are_some():
    figure = figures.comparison_curves(CURVES)
    traces = on(figure, "x2")
    np.testing.assert_allclose(traces["ratio 1"].y, [1, 1])
    np.testing.assert_array_equal(traces["variable network"].x, [1, 4])
    np.testing.assert_allclose(traces["variable network"].y, [1, 1.25])
    np.testing.assert_allclose(traces["PCA"].y, [1, 1.5])
    np.testing.assert_allclose(traces["dedicated networks"].y, [1, 1])
    np.testing.assert_allclose(traces["dedicated networks"].error_y.array, [0.5, 0], atol=1e-12)
    assert not any(trace.showlegend for trace in traces.values())
    assert figure.layout.yaxis2.title.text == "ratio to dedicated networks"


def test_error_axes_start_at_zero_and_widths_are_ticks():
    figure = figures.comparison_curves(CURVES)
    assert figure.layout.yaxis.rangemode == "tozero"
    for axis in (figure.layout.xaxis, figure.layout.xaxis2):
        assert axis.type == "log"
        assert axis.ticktext == ("1", "2", "4")


def test_without_dedicated_networks_there_is_no_second_panel():
    figure = figures.comparison_curves({"pca": CURVES["pca"]}, label="a", scale=1)
    assert "xaxis2" not in figure.to_plotly_json()["layout"]
    assert figure.layout.yaxis.title.text == "a"
    np.testing.assert_allclose(figure.data[0].y, [0.06, 0.05, 0.045, 0.03])


def test_seeds_may_be_a_tensor_or_an_array():
    curves = {"variable": {1: torch.tensor([0.5, 1.5]), 2: np.array([1.0, 2.0])}}
    figure = figures.comparison_curves(curves, scale=1)
    np.testing.assert_allclose(figure.data[1].y, [1, 1.5])


@pytest.mark.parametrize("error", np.linspace(0, 0.08, 33))
@pytest.mark.parametrize("method", CURVES)
def test_the_fewest_units_are_the_first_width_that_reaches_the_error(method, error):
    expected = None
    for width in sorted(CURVES[method], reverse=True):
        if np.mean(CURVES[method][width]) <= error:
            expected = width
    assert figures.fewest_units(CURVES[method], error) == expected


@pytest.mark.parametrize("method", CURVES)
def test_a_step_line_stands_at_the_fewest_units_for_every_error(method):
    figure = figures.width_needed({method: CURVES[method]}, scale=1)
    (line,) = figure.data
    assert line.line.shape == "hv"
    assert (np.diff(line.x) > 0).all()
    for error in np.linspace(line.x[0], line.x[-1], 57):
        drawn = line.y[np.flatnonzero(np.array(line.x) <= error)[-1]]
        assert drawn == figures.fewest_units(CURVES[method], float(error))


def test_the_end_of_the_steps_has_no_marker_and_the_legend_a_whole_one():
    (line,) = figures.width_needed({"pca": {1: 0.4, 2: 0.2}}).data
    # Plotly's legend shows the first colour, but the mean of opacities.
    assert line.marker.color == (style.PCA.color, style.PCA.color, "rgba(0,0,0,0)")
    assert line.marker.opacity is None


def test_a_width_that_is_worse_than_a_smaller_one_is_never_needed():
    figure = figures.width_needed({"variable": {1: 0.4, 2: 0.2, 3: 0.3, 4: 0.1}}, scale=10)
    np.testing.assert_allclose(figure.data[0].x, [1, 2, 4, 4.2])
    assert tuple(figure.data[0].y) == (4, 2, 1, 1)
    assert figure.layout.yaxis.ticktext == ("1", "2", "4")
    assert figure.layout.xaxis.range == (0, 4.2)


@pytest.mark.parametrize("draw", [figures.comparison_curves, figures.width_needed])
@pytest.mark.parametrize(
    ("curves", "error", "message"),
    [
        ([1, 2], TypeError, r"curves must map methods to errors by width, got \[1, 2\]"),
        ({}, ValueError, "curves must hold at least one of variable, dedicated, pca, pcaae, got"),
        ({"vae": {1: 1.0}}, ValueError, "each method of curves must be one of 'variable', .*'vae'"),
        ({"pca": [1.0]}, TypeError, r"curves\['pca'\] must map widths to numbers, got \[1.0\]"),
        ({"pca": {}}, ValueError, r"curves\['pca'\] must hold at least one width, got {}"),
        ({"pca": {0: 1.0}}, ValueError, r"each width of curves\['pca'\] must be at least 1, got 0"),
        ({"pca": {1: -1.0}}, ValueError, r"curves\['pca'\] must be errors of at least 0, got -1.0"),
        ({"pca": {1: []}}, ValueError, r"curves\['pca'\] must have a number at each of its widths"),
    ],
)
def test_curves_that_are_none_are_refused(draw, curves, error, message):
    with pytest.raises(error, match=message):
        draw(curves)


def test_a_ratio_to_nothing_is_refused():
    with pytest.raises(ValueError, match=r"curves\['dedicated'\] must be above 0 .* got 0 at 2"):
        figures.comparison_curves({"dedicated": {2: 0.0}})
