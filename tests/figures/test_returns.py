import pytest

from vsnn_lab.figures import return_curves

VARIABLE = {1: [10.0, 20.0], 2: [90.0, 110.0], 4: [100.0, 120.0]}


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def test_a_line_runs_through_the_means_in_a_band_of_the_seeds():
    found = traces(return_curves(VARIABLE))
    assert [*found] == ["variable policy, seeds", "variable policy"]
    assert list(found["variable policy"].y) == [15, 100, 110]
    assert list(found["variable policy, seeds"].y) == [20, 110, 120, 100, 90, 10]


def test_what_it_is_compared_with_stands_beside_it():
    figure = return_curves(
        VARIABLE,
        dedicated={2: [80.0, 100.0]},
        acting={1: 5.0, 4: 60.0},
        ordinary=[100.0, 120.0],
        linear=[-30.0],
        title="title",
    )
    found = traces(figure)
    assert list(found["ordinary policy"].x) == [1, 4]
    assert list(found["ordinary policy"].y) == [110, 110]
    assert list(found["linear policy"].y) == [-30, -30]
    assert list(found["widths that act while learning"].y) == [5, 60]
    whiskers = found["dedicated policies"]
    assert (list(whiskers.y), list(whiskers.error_y.array)) == ([90], [10])
    assert figure.layout.xaxis.type == "log"
    assert figure.layout.title.text == "title"


def test_a_curve_of_no_width_is_refused():
    with pytest.raises(ValueError, match=r"variable must hold at least one width, got \{\}"):
        return_curves({})
