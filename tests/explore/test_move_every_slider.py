"""Moving every control finds callbacks that fail, wherever in the range."""

import subprocess
import sys

import ipywidgets as widgets
import pytest
import torch
from ipywidgets.widgets.widget import _instances
from traitlets import All

from vsnn_lab import Autoencoder, Triangular, Width, explore
from vsnn_lab.explore.move_every_slider import move_every_slider

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ipywidgets")

# Either shows the error where its output goes, and raises nothing.
SHOWN = """
import ipywidgets as widgets
from vsnn_lab.explore.move_every_slider import move_every_slider

def fail(x):
    assert x != 5, "the claim"

slider = widgets.IntSlider(3, 1, 9, description="x")
if "{way}" == "interact":
    widgets.interact(fail, x=slider)
else:
    shown = widgets.Output()
    slider.observe(shown.capture()(lambda change: fail(change.new)), "value")
try:
    move_every_slider()
except RuntimeError as error:
    print("found:", error)
"""


@pytest.fixture(autouse=True)
def no_other_widgets():
    others = dict(_instances)
    _instances.clear()
    yield
    widgets.Widget.close_all()
    _instances.update(others)


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
        (lambda: widgets.FloatLogSlider(10, min=-2, max=2), [0.01, 1, 100, 10]),
        (
            lambda: widgets.IntRangeSlider(value=(2, 4), min=0, max=9),
            [(0, 0), (0, 9), (9, 9), (2, 4)],
        ),
        (
            lambda: widgets.SelectionRangeSlider(options=["a", "b", "c"], index=(0, 1)),
            [("a", "a"), ("a", "c"), ("c", "c"), ("a", "b")],
        ),
        (lambda: widgets.Play(3, min=1, max=9), [1, 5, 9, 3]),
        (lambda: widgets.Dropdown(options=[("a", (2, 3)), ("b", (4, 5))]), [(4, 5), (2, 3)]),
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


@pytest.mark.parametrize("way", ["interact", "output"])
def test_a_failure_that_a_notebook_only_shows_is_found_too(way):
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--quick", "-c", SHOWN.format(way=way)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "found: a callback of IntSlider 'x' failed at 5: the claim" in done.stdout, done.stderr


def test_an_instruments_controls_go_through_their_ranges_and_back():
    model, images = Autoencoder((1, 3, 3), Width(5), hidden=(4,)), torch.rand(4, 1, 3, 3)
    comparison, seen = explore.WidthComparison(model, images, widths=(2, 5)), []
    comparison.observe(lambda change: seen.append((change.name, change.new)), All)
    explore.WidthComparison(model, images).close()
    assert move_every_slider() == 3
    positions = [each for each in seen if each[0] in ("first", "second", "image")]
    first, second = [("first", w) for w in (1, 3, 5, 2)], [("second", w) for w in (1, 3, 5)]
    assert positions == [*first, *second, *[("image", place) for place in (1, 3, 0)]]


def test_a_callback_of_an_instrument_that_fails_is_found_and_named():
    explorer = explore.MaskExplorer({"triangle": Triangular()}, most=8)

    def fail(change):
        assert change.new != 4, "the claim"

    explorer.observe(fail, "batch")
    told = "a callback of MaskExplorer 'batch' failed at 4: the claim"
    with pytest.raises(RuntimeError, match=told):
        move_every_slider()


def test_what_only_shows_a_number_is_not_moved():
    widgets.IntProgress(3, min=0, max=9)
    widgets.FloatProgress(3, min=0, max=9)
    assert move_every_slider() == 0
