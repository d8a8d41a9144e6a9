"""Filters in the order in which they are kept, and what each of them adds."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from vsnn_lab.figures import Metric, filter_gallery

ACCURACY = Metric("accuracy", "higher", unit="%", scale=100)
LOSS = Metric("loss", "lower")
VALUES = {1: 0.5, 2: 0.7, 4: 0.6}


def pixels(figure):
    """Return the picture of all filters, shape (height, width, 4)."""
    source = next(trace.source for trace in figure.data if trace.type == "image")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def bars(figure):
    (found,) = (trace for trace in figure.data if trace.type == "bar")
    return found


def test_a_change_is_that_of_each_filter_and_up_where_it_is_better():
    filters = torch.randn(5, 1, 3, 3)
    for metric, sign in ((ACCURACY, 100), (LOSS, -1)):
        drawn = bars(filter_gallery(filters, VALUES, metric=metric))
        assert list(drawn.x) == [2, 3, 4]
        assert drawn.y == pytest.approx([sign * 0.2, sign * -0.05, sign * -0.05])
        better, *worse = drawn.marker.color if sign > 0 else reversed(drawn.marker.color)
        assert len({better, *worse}) == 2


def test_the_curve_is_the_metric_as_it_is_shown():
    backwards = dict(reversed(VALUES.items()))
    figure = filter_gallery(torch.randn(5, 1, 3, 3), backwards, metric=ACCURACY)
    (curve,) = (trace for trace in figure.data if trace.yaxis == "y2")
    assert list(curve.x) == [1, 2, 4]
    assert curve.y == pytest.approx([50, 70, 60])
    assert figure.layout.yaxis2.title.text == "accuracy (%)"


def test_filters_lie_in_rows_in_their_order_on_one_scale():
    filters = torch.arange(-9.0, 9).reshape(18, 1, 1, 1).expand(18, 1, 3, 3)
    figure = filter_gallery(filters, VALUES, metric=ACCURACY)
    image = pixels(figure)
    cell = (image.shape[1] + 2) // 16
    assert image.shape[0] == 2 * cell - 2
    first = [image[4, number * cell + 4] for number in range(16)]
    light = [int(pixel[:3].astype(int).sum()) for pixel in first]
    assert light == sorted(light), "from dark blue to light orange"
    assert len(set(light)) == 16
    assert (image[4, :, 3] == 255).sum() == 16 * (cell - 2)
    assert (image[cell + 4, :, 3] == 255).sum() == 2 * (cell - 2), "two in the last row"
    assert figure.layout.yaxis.ticktext == ("1–16", "17–18")  # noqa: RUF001


def test_three_channels_are_colours_in_which_grey_is_zero():
    filters = torch.zeros(2, 3, 2, 2)
    filters[1, 0], filters[1, 2] = 2.0, -2.0
    image = pixels(filter_gallery(filters, {1: 0.1, 2: 0.2}, metric=ACCURACY))
    assert image[0, 0].tolist() == [128, 128, 128, 255]
    assert image[0, -1].tolist() == [255, 128, 0, 255]


def test_filters_of_nothing_but_zeros_are_grey():
    image = pixels(filter_gallery(np.zeros((2, 1, 3, 3)), {1: 0.1, 2: 0.2}, metric=ACCURACY))
    assert len(np.unique(image[image[..., 3] == 255], axis=0)) == 1


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"filters": torch.ones(3, 3)},
            ValueError,
            r"filters must be floats of shape \(filters, channels, height, width\), got",
        ),
        (
            {"filters": torch.ones(0, 1, 3, 3)},
            ValueError,
            r"filters must be floats of shape .*, got torch\.float32 of shape \(0, 1, 3, 3\)",
        ),
        ({"values": {1: 0.1}}, ValueError, r"values must name two numbers .* at most 4, got \[1\]"),
        ({"values": {1: 0.1, 5: 0.2}}, ValueError, r"at most 4, got \[1, 5\]"),
        ({"metric": None}, TypeError, "metric must be a Metric, got None"),
        ({"metric": "accuracy"}, TypeError, "metric must be a Metric or None, got 'accuracy'"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changed, error, message):
    asked = {"filters": torch.ones(4, 1, 3, 3), "values": VALUES, "metric": ACCURACY}
    with pytest.raises(error, match=message):
        filter_gallery(**asked | changed)
