"""What descriptions are made of."""

import numpy as np
import pytest

from vsnn_lab.explore.parts import array, counts, log2_positions, width_control, widths_that_fit


@pytest.mark.parametrize("steps", [1, 2, 7, 256, 1000])
def test_log2_positions_hold_every_power_and_both_ends(steps):
    stops = log2_positions(steps)
    assert (stops[0], stops[-1]) == (1, steps)
    assert {2**p for p in range(20) if 2**p <= steps} <= set(stops)
    assert stops == sorted(set(stops))


@pytest.mark.parametrize("most", [10_000, 640, 300, 90, 1])
def test_widths_that_fit_are_few_enough_and_hold_the_ends_and_what_is_asked_for(most):
    chosen = widths_that_fit(10, 64, most, [37])
    assert {1, 37, 64} <= set(chosen)
    assert chosen == sorted(set(chosen))
    assert len(chosen) <= max(most // 10, 3)


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0, 255], "uint8"), ([256], "uint16"), ([2**16], "uint32"), ([], "uint8")],
)
def test_counts_take_as_few_bytes_as_hold_them(values, kind):
    held = counts(np.array(values, int), "width")
    assert held["dtype"] == kind
    assert np.frombuffer(held["data"], kind).tolist() == values


def test_an_array_travels_as_bytes_of_float32_row_by_row():
    values = np.arange(6.0).reshape(2, 3).T
    held = array(values, "width")
    assert (held["dtype"], held["shape"], held["by"]) == ("float32", [3, 2], ["width"])
    assert np.frombuffer(held["data"], "float32").tolist() == [0, 3, 1, 4, 2, 5]


def test_the_log2_stops_of_a_slider_are_its_own_widths_nearest_to_them():
    control = width_control("width", "units", [1, 3, 8, 9, 32], 32)
    assert [control["values"][place] for place in control["log2"]] == [1, 3, 8, 9, 32]
    assert (control["axis"], control["of"]) == ("width", 32)
    every = width_control("first", "A", list(range(1, 65)), 64)
    assert [every["values"][place] for place in every["log2"]] == log2_positions(64)
