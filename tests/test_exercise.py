"""Moving every control finds callbacks that fail, wherever in the range."""

import ipywidgets as widgets
import pytest

from vsnn_lab.explore.exercise import move_every_slider

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ipywidgets")


@pytest.fixture(autouse=True)
def no_other_widgets():
    widgets.Widget.close_all()
    yield
    widgets.Widget.close_all()


@pytest.mark.parametrize(
    ("control", "stops"),
    [
        (lambda: widgets.IntSlider(3, 1, 9), [1, 5, 9, 3]),
        (lambda: widgets.FloatSlider(0.5, min=0.0, max=2.0), [0.0, 1.0, 2.0, 0.5]),
        (lambda: widgets.Dropdown(options=["a", "b", "c"], value="b"), ["a", "b", "c", "b"]),
        (lambda: widgets.SelectionSlider(options=[4, 8, 16, 32]), [16, 32, 4]),
        (lambda: widgets.Checkbox(True), [False, True]),
        (
            lambda: widgets.SelectMultiple(options=["a", "b"], value=["a", "b"]),
            [(), ("a",), ("a", "b")],
        ),
    ],
)
def test_a_control_goes_through_its_range_and_back(control, stops):
    control, seen = control(), []
    control.observe(lambda change: seen.append(change.new), "value")
    assert move_every_slider() == 1
    assert seen == stops


@pytest.mark.parametrize("value", [1, 5, 9])
def test_a_callback_that_fails_anywhere_is_found_and_named(value):
    def fail(change):
        assert change.new != value, "the claim"

    slider = widgets.IntSlider(3, 1, 9, description="width")
    slider.observe(fail, "value")
    told = rf"a callback of IntSlider 'width' failed at {value}: the claim"
    with pytest.raises(RuntimeError, match=told):
        move_every_slider()


def test_buttons_and_what_is_disabled_stay_as_they_are():
    pressed = []
    widgets.Button().on_click(pressed.append)
    slider = widgets.IntSlider(3, 1, 9, disabled=True)
    slider.observe(pressed.append, "value")
    assert move_every_slider() == 0
    assert not pressed
