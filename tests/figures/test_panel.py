import pytest

from vsnn_lab.figures import panel_curves

CURVES = {
    "variable": {1: [9.0, 10.0], 2: [7.0, 9.0], 4: 7.5},
    "dedicated": {2: [6.0, 7.0]},
    "plain": {4: [5.0, 6.0]},
    "linear": {1: [12.0, 14.0]},
}
PLACES = {"variable": {1: 100, 2: 250, 4: 800}, "dedicated": {2: 240}, "plain": {4: 810}}


def named(figure, name, mode=None):
    found = [each for each in figure.data if each.name == name]
    return [each for each in found if mode in (None, each.mode)]


def test_a_line_in_a_band_and_points_with_whiskers_stand_at_their_costs():
    figure = panel_curves(CURVES, PLACES)
    (line,) = named(figure, "variable network")
    assert (list(line.x), list(line.y)) == ([100, 250, 800], [9.5, 8.0, 7.5])
    (band,) = named(figure, "variable network, seeds")
    assert list(band.x) == [100, 250, 800, 800, 250, 100]
    assert list(band.y) == [10.0, 9.0, 7.5, 7.5, 7.0, 9.0]
    (point,) = named(figure, "dedicated networks")
    assert (list(point.x), list(point.y), list(point.error_y.array)) == ([240], [6.5], [0.5])
    (point,) = named(figure, "plain full-width network", "markers")
    assert (list(point.x), list(point.y)) == ([810], [5.5])


def test_levels_reach_over_the_whole_axis():
    figure = panel_curves(CURVES, PLACES)
    ends = [10**end for end in figure.layout.xaxis.range]
    assert ends[0] < 100 < 810 < ends[1]
    for name, level in (("plain full-width network", 5.5), ("no hidden units", 13.0)):
        (line,) = named(figure, name, "lines")
        assert list(line.x) == pytest.approx(ends)
        assert list(line.y) == [level] * 2


def test_the_vertical_axis_begins_at_zero_and_stays_for_every_cost():
    figure = panel_curves(CURVES, PLACES)
    low, high = figure.layout.yaxis.range
    assert low == 0
    assert 14.0 < high < 16.0
    fewer = panel_curves(CURVES, {"variable": {1: 3.0}})
    assert fewer.layout.yaxis.range == (low, high)
    (line,) = named(fewer, "variable network")
    assert list(line.x) == [3.0]
    below = panel_curves({"variable": {1: -40, 2: 100}}, {"variable": {1: 1, 2: 2}})
    assert below.layout.yaxis.range[0] < -40


def test_ticks_are_few_lie_on_the_axis_and_say_shares_as_fractions():
    share = {width: width / 256 for width in (1, 3, 256)}
    axis = panel_curves({"variable": dict.fromkeys(share, 1)}, {"variable": share}, steps=256)
    assert axis.layout.xaxis.ticktext == ("1", "1/8", "1/64")
    assert axis.layout.xaxis.tickvals == (1, 1 / 8, 1 / 64)
    alone = panel_curves({"variable": {1: 1}}, {"variable": {1: 1.0}}, steps=1).layout.xaxis
    assert alone.ticktext == ("1",)
    for costs in ((1e6, 1.01e6), (2e-5, 3e-1), (72_928, 1_635_648), (4.0, 4.0)):
        places = dict(enumerate(costs, 1))
        axis = panel_curves({"variable": {1: 1, 2: 1}}, {"variable": places}).layout.xaxis
        low, high = (10**end for end in axis.range)
        assert 2 <= len(axis.tickvals) <= 3
        assert all(low <= tick <= high for tick in axis.tickvals)
        assert low < min(costs) <= max(costs) < high
        # What hardly changes looks like that.
        assert high / low > 5


@pytest.mark.parametrize(
    ("curves", "places", "error", "message"),
    [
        ({"plain": {4: 1}}, PLACES, ValueError, "curves must hold a variable network, got"),
        ({"mine": {4: 1}}, PLACES, ValueError, "each network of curves must be one of 'variable'"),
        ([1], PLACES, TypeError, "curves must map networks to a metric by width, got"),
        (CURVES, {}, ValueError, "places must hold at least one width of curves, got"),
        (CURVES, {"variable": {1: 0}}, ValueError, "costs of variable must be above 0, got 0"),
        (CURVES, {"variable": 3}, TypeError, "places must map widths of variable to costs, got 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(curves, places, error, message):
    with pytest.raises(error, match=message):
        panel_curves(curves, places)


def test_a_knob_without_positions_is_refused():
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        panel_curves(CURVES, PLACES, steps=0)
