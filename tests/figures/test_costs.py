import pytest

from vsnn_lab.figures import cost_curves

VARIABLE = {1: [2.0, 2.2], 3: [1.8, 1.8]}
COSTS = {"parameters": {1: 4e5, 2: 8e5, 3: 1.6e6}, "products": {3: 30, 2: 20, 1: 10}}


def panels(figure, name):
    return [trace for trace in figure.data if trace.name == name]


def test_each_cost_has_a_panel_with_the_means_and_the_band_of_the_seeds():
    figure = cost_curves(VARIABLE, COSTS, label="bits", title="title")
    lines = panels(figure, "variable network")
    assert [list(line.x) for line in lines] == [[4e5, 1.6e6], [10, 30]]
    assert all(list(line.y) == pytest.approx([2.1, 1.8]) for line in lines)
    bands = panels(figure, "variable network, seeds")
    assert [list(band.x) for band in bands] == [[4e5, 1.6e6, 1.6e6, 4e5], [10, 30, 30, 10]]
    assert all(list(band.y) == [2.2, 1.8, 1.8, 2.0] for band in bands)
    assert [axis.title.text for axis in figure.select_xaxes()] == ["parameters", "products"]
    assert figure.layout.yaxis.title.text == "bits"
    assert [line.showlegend for line in lines] == [None, False]


def test_what_it_is_compared_with_stands_at_the_cost_of_its_width():
    figure = cost_curves(VARIABLE, COSTS, dedicated={2: [1.9, 2.0]}, mixed={3: 1.7})
    (points, _) = panels(figure, "dedicated networks")
    assert (list(points.x), list(points.y)) == ([8e5], [pytest.approx(1.95)])
    assert list(points.error_y.array) == [pytest.approx(0.05)]
    assert list(panels(figure, "mixed widths, at equal cost")[1].x) == [30]


def test_ticks_lie_on_the_axis_and_are_round():
    axis = cost_curves({1: 1.0, 2: 1.0}, {"a": {1: 390_000, 2: 1_500_000}}).layout.xaxis
    assert list(axis.tickvals) == [5e5, 1e6]
    assert 10 ** axis.range[0] < 390_000 < 1_500_000 < 10 ** axis.range[1]


@pytest.mark.parametrize(
    ("costs", "error", "message"),
    [
        ({}, TypeError, r"costs must map at least one name to costs by width, got \{\}"),
        ({"a": 3}, TypeError, "costs must map each name to costs by width, got 3"),
        ({"a": {1: 3}}, ValueError, "costs must be above 0 at each width, got none at width 3"),
        ({"a": {1: 0, 3: 1}}, ValueError, "costs must be above 0 at each width, got 0.0 at width"),
    ],
)
def test_a_width_without_a_cost_is_refused(costs, error, message):
    with pytest.raises(error, match=message):
        cost_curves(VARIABLE, costs)


def test_a_curve_of_no_width_is_refused():
    with pytest.raises(ValueError, match=r"variable must hold at least one width, got \{\}"):
        cost_curves({}, COSTS)
