"""A classifier's instrument as a figure: captions, frames, discs and shares, read back."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image

from vsnn_lab.figures.instrument import instrument_figure
from vsnn_lab.measure.metrics import accuracy

NAMES = ["Bag", "a<b", "Trousers"]
LABELS = [0, 1, 2, 0, 1, 2, 0]
SAID = {4: [0, 2, 2, 1, 1, 2, 0], 8: [0, 1, 2, 1, 1, 2, 2]}
CONFUSION = np.array([[[6, 2, 0], [0, 1, 3], [0, 0, 0]], [[8, 0, 0], [0, 4, 0], [0, 0, 0]]])
HEIGHT, WIDTH = 28, 20


def held(values, *by: str) -> dict:
    array = np.array(values)
    return {
        "dtype": array.dtype.name,
        "shape": list(array.shape),
        "by": list(by),
        "data": array.tobytes(),
    }


def pictures(channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (7, HEIGHT, WIDTH, channels), np.uint8)


def drawn(width: int = 4, channels: int = 1, names: list[str] = NAMES, confusion=CONFUSION):
    captions = {"said": "said", "truth": "truth", "full": "full", "names": names, "short": names}
    track = {"label": "", "source": "pictures", "captions": captions}
    shown = {"type": "pictures", "size": [HEIGHT, WIDTH, channels], "count": 7, "columns": 5}
    matrix = {"type": "matrix", "source": "confusion", "names": names, "short": names}
    slider = {"type": "width", "name": "width", "axis": "width", "values": [4, 8], "of": 8}
    arrays = {
        "pictures": held(pictures(channels)),
        "truth": held(LABELS),
        "full": held(SAID[8]),
        "said": held([SAID[4], SAID[8]], "width"),
        "confusion": held(confusion, "width"),
    }
    parts = [shown | {"tracks": [track]}, matrix]
    return instrument_figure({"controls": [slider], "parts": parts}, arrays, {"width": width})


def scatter(figure: go.Figure, mode: str) -> go.Scatter:
    (found,) = [each for each in figure.data if each.type == "scatter" and each.mode == mode]
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_is_there_pixel_by_pixel_above_its_caption(channels):
    figure = drawn(channels=channels)
    body = figure.data[0].source.partition(",")[2]
    canvas = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    captions = scatter(figure, "text")
    for index, (x, y) in enumerate(zip(captions.x, captions.y, strict=True)):
        left = round(x - (WIDTH - 1) / 2)
        # A caption stands in the middle of the margin below, half as high as a picture.
        top = round(y - 0.5 - HEIGHT * 1.25 + 1)
        found = canvas[top : top + HEIGHT, left : left + WIDTH]
        assert (found[..., -1] == 255).all()
        # Pillow writes one channel as grey with opacity, three as colours.
        np.testing.assert_array_equal(found[..., :-1], pictures(channels)[index])


def test_captions_tell_right_from_wrong_by_text_and_by_a_frame():
    figure = drawn()
    captions, frames = scatter(figure, "text"), scatter(figure, "lines")
    right, wrong = ("Bag", "a&lt;b"), ("✗ Trousers<br>(a&lt;b)", "✗ a&lt;b<br>(Bag)")
    assert captions.text == (right[0], wrong[0], "Trousers", wrong[1], right[1], "Trousers", "Bag")
    assert len(set(captions.textfont.color)) == 2
    for path, index in enumerate((1, 3)):
        corners = [(frames.x[6 * path + i], frames.y[6 * path + i]) for i in range(5)]
        (left, low), (far, high) = min(corners), max(corners)
        assert len(set(corners)) == 4
        assert (left + far) / 2 == captions.x[index]
        assert (high - low, far - left) == (HEIGHT, WIDTH)
        assert np.isnan(frames.x[6 * path + 5])


def test_discs_mark_what_full_width_says_otherwise():
    figure = drawn()
    discs, captions = scatter(figure, "markers+text"), scatter(figure, "text")
    assert discs.text == ("⇄", "⇄")
    assert list(discs.x) == [captions.x[i] + WIDTH / 2 for i in (1, 6)]
    assert not scatter(drawn(8), "markers+text").text


def test_the_matrix_shows_shares_of_rows_on_a_fixed_scale():
    for width, expected in (
        (4, [[0.75, 0.25, 0], [0, 0.25, 0.75], [0, 0, 0]]),
        (8, [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
    ):
        (heat,) = [trace for trace in drawn(width).data if trace.type == "heatmap"]
        np.testing.assert_array_equal(np.array(heat.z), expected)
        assert (heat.zmin, heat.zmax) == (0, 1)


def test_names_of_many_classes_are_thinned():
    names = [f"class {index}" for index in range(60)]
    confusion = np.stack([np.eye(60, dtype=int)] * 2)
    figure = drawn(names=names, confusion=confusion)
    assert figure.layout.xaxis2.ticktext == figure.layout.yaxis2.ticktext == tuple(names[::5])


def test_parts_stand_beside_each_other_within_the_figure():
    figure = drawn()
    first, second = figure.layout.xaxis.domain, figure.layout.xaxis2.domain
    assert 0 < first[0] < first[1] < second[0] < second[1] < 1
    assert figure.layout.width <= 840


class TestAccuracy:
    def test_it_is_the_share_of_samples_that_a_loop_finds_right(self):
        output, target = torch.randn(50, 4), torch.randint(4, (50,))
        right = 0
        for row, label in zip(output.tolist(), target.tolist(), strict=True):
            right += row.index(max(row)) == label
        assert accuracy(output, target).item() == pytest.approx(right / 50)

    @pytest.mark.parametrize(
        ("output", "target", "error", "message"),
        [
            (torch.zeros(3), torch.zeros(3).long(), ValueError, r"output must .* \(n, classes\)"),
            (torch.zeros(0, 2), torch.zeros(0).long(), ValueError, "output must hold at least one"),
            (torch.zeros(3, 2), torch.zeros(3), ValueError, r"target must be integers of shape \("),
            (
                torch.zeros(3, 2),
                torch.zeros(2).long(),
                ValueError,
                r"shape \(3,\), .* got .*\(2,\)",
            ),
            (
                torch.zeros(2, 2),
                torch.tensor([0, 2]),
                ValueError,
                r"target must lie in 0\.\.1, got",
            ),
            (torch.zeros(2, 2), [0, 1], TypeError, "target must be a tensor, got list"),
            *[
                (
                    torch.zeros(3, 2),
                    torch.zeros(shape).long(),
                    ValueError,
                    r"of shape \(3,\), .* got .*; target\.flatten\(\) has it",
                )
                for shape in ((3, 1), (1, 3), (3, 1, 1))
            ],
        ],
    )
    def test_what_does_not_fit_is_refused(self, output, target, error, message):
        with pytest.raises(error, match=message):
            accuracy(output, target)
