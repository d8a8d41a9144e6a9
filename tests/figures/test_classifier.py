"""The classifier's picture: captions, frames and discs where they belong, read back."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image

from vsnn_lab.figures import classifier_figure
from vsnn_lab.figures.classifier import show_predictions
from vsnn_lab.figures.picture_grid import PictureGrid
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.measure.metrics import accuracy

NAMES = ["Bag", "a<b", "Trousers and socks"]
LABELS = np.array([0, 1, 2, 0, 1, 2, 0])
PREDICTED = np.array([0, 2, 2, 1, 1, 2, 0])
AT_FULL = np.array([0, 1, 2, 1, 1, 2, 2])
CONFUSION = np.array([[6, 2, 0], [0, 1, 3], [0, 0, 0]])
SWEEP = WidthSweep("accuracy", np.arange(1, 9), np.linspace(0.1, 0.8, 8), 8)
TOLD = {"labels": LABELS, "predicted": PREDICTED, "at_full": AT_FULL, "confusion": CONFUSION}
HEIGHT, WIDTH = 28, 20


def pictures(count: int = 7, channels: int = 1) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (count, HEIGHT, WIDTH, channels), np.uint8)


def drawn(**others) -> go.Figure:
    options = {"pictures": pictures(), **TOLD, "sweep": SWEEP, "width": 4, "class_names": NAMES}
    return classifier_figure(**(options | others))


def paths(trace) -> list[list[tuple[float, float]]]:
    """Split a trace of lines into its closed paths."""
    found, path = [], []
    for x, y in zip(trace.x, trace.y, strict=True):
        if x is None:
            found.append(path)
            path = []
        else:
            path.append((x, y))
    assert not path
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_is_there_pixel_by_pixel_above_its_caption(channels):
    given = pictures(channels=channels)
    figure = drawn(pictures=given)
    body = figure.data[0].source.partition(",")[2]
    canvas = np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))
    for index, (x, y) in enumerate(zip(figure.data[2].x, figure.data[2].y, strict=True)):
        left = round(x - (WIDTH - 1) / 2)
        top = round(y - 2 - (HEIGHT - 0.5))  # 4 pixels of the screen are 2 of the picture
        found = canvas[top : top + HEIGHT, left : left + WIDTH]
        assert (found[..., -1] == 255).all()
        # Pillow writes one channel as grey with opacity, three as colours.
        np.testing.assert_array_equal(found[..., :-1], given[index])
    assert (canvas[..., -1] == 255).sum() == len(given) * HEIGHT * WIDTH


def test_pixels_of_the_pictures_are_square_and_whole_pixels_of_the_screen():
    figure = drawn()
    x, y = figure.layout.xaxis, figure.layout.yaxis
    across = (x.domain[1] - x.domain[0]) * figure.layout.width / (x.range[1] - x.range[0])
    down = (y.domain[1] - y.domain[0]) * figure.layout.height / (y.range[0] - y.range[1])
    assert across == pytest.approx(2)
    assert down == pytest.approx(2)


@pytest.mark.parametrize("shape", [(15, 28, 28), (1, 8, 8), (15, 2, 2), (15, 40, 300), (7, 300, 9)])
def test_pictures_of_any_size_and_their_captions_stay_in_the_box(shape):
    box = (0, 370, 0, 338)
    grid = PictureGrid(np.zeros((*shape, 1), np.uint8), box)
    scale = 370 / (grid.x_range[1] - grid.x_range[0])
    assert 338 / (grid.y_range[0] - grid.y_range[1]) == pytest.approx(scale)
    assert max(grid.x) + shape[2] / 2 <= grid.x_range[1] + 1e-9
    assert max(grid.caption_y) <= grid.y_range[0] + grid.caption_gap
    assert grid.canvas.shape[0] <= grid.y_range[0] + 0.5 + 1e-9


def test_captions_tell_right_from_wrong_by_text_and_by_a_frame():
    figure = drawn()
    _, frames, right, wrong = figure.data[:4]
    # Plotly draws no text again that was once empty.
    assert all(right.text + wrong.text)
    said, mistaken = ([text.strip() for text in trace.text] for trace in (right, wrong))
    assert said == ["Bag", "", "Trousers an…", "", "a&lt;b", "Trousers an…", "Bag"]
    assert mistaken[1::2] == ["✗ Trousers an…<br>(a&lt;b)", "✗ a&lt;b<br>(Bag)", ""]
    assert not any(mistaken[0::2])
    for path, index in zip(paths(frames), (1, 3), strict=True):
        (left, low), (far, high) = min(path), max(path)
        assert len(set(path)) == 4
        assert path[0] == path[-1]
        assert (left + far) / 2 == right.x[index]
        assert (abs(high - low), far - left) == (HEIGHT, WIDTH)


def test_discs_mark_what_full_width_says_otherwise():
    figure = drawn()
    discs, right = figure.data[4], figure.data[2]
    assert discs.text == ("⇄", "⇄")
    assert discs.x == (right.x[1] + WIDTH / 2, right.x[6] + WIDTH / 2)


def test_the_matrix_shows_shares_of_rows_on_a_fixed_scale():
    heat = drawn().data[5]
    assert [list(row) for row in heat.z] == [[0.75, 0.25, 0], [0, 0.25, 0.75], [0, 0, 0]]
    assert (heat.zmin, heat.zmax) == (0, 1)
    assert heat.text[1][0] == "true: a&lt;b<br>predicted: Bag"


def test_the_curve_is_in_percent_beside_dedicated_and_plain_networks():
    figure = drawn(dedicated={2: [0.3, 0.4], 4: 0.5}, plain=0.75)
    variable, plain, alone = figure.data[6:9]
    np.testing.assert_allclose(variable.y, 100 * SWEEP.values)
    np.testing.assert_allclose(plain.y, [75, 75])
    np.testing.assert_allclose(alone.y, [35, 50])
    np.testing.assert_allclose(alone.error_y.array, [5, 0])
    assert figure.data[-1].x == (4, 4)
    np.testing.assert_allclose(figure.data[-1].y, (0, 40))
    assert figure.layout.yaxis2.range[0] == 0


def test_a_moved_figure_is_the_one_drawn_at_that_width():
    there = {
        "labels": LABELS,
        "predicted": AT_FULL,
        "at_full": AT_FULL,
        "confusion": CONFUSION.T.copy(),
    }
    figure = drawn(plain=0.7)
    layout = figure.layout.to_plotly_json()
    show_predictions(figure, *there.values(), SWEEP, 8, NAMES)
    assert figure.layout.to_plotly_json() == layout
    assert figure == drawn(**there, width=8, plain=0.7)


def test_names_of_many_classes_are_thinned():
    names = [f"class {index}" for index in range(60)]
    figure = drawn(class_names=names, confusion=np.eye(60, dtype=int))
    assert figure.layout.xaxis3.ticktext == tuple(names[::3])


@pytest.mark.parametrize(
    ("others", "error", "message"),
    [
        ({"pictures": pictures(16)}, ValueError, "pictures must be at most 15, got 16"),
        ({"labels": LABELS[:3]}, ValueError, r"labels must be integers of shape \(7,\), got int64"),
        ({"predicted": LABELS + 1}, ValueError, r"predicted must lie in 0\.\.2, got 3; class_na"),
        ({"at_full": LABELS - 1}, ValueError, r"at_full must lie in 0\.\.2, got -1"),
        ({"at_full": [1, 2]}, TypeError, r"at_full must be an array .* got \[1, 2\]"),
        ({"confusion": CONFUSION[:2]}, ValueError, r"confusion must be .*\(3, 3\), got int64 of"),
        ({"confusion": -CONFUSION}, ValueError, "confusion must hold counts, got -6"),
        ({"confusion": 3}, TypeError, "confusion must be an array or a tensor of counts, got 3"),
        ({"width": 9}, ValueError, "width must be one of those swept, got 9"),
        ({"plain": 88.4}, ValueError, r"plain must be a share in \[0, 1\], got 88.4; 0.9 is 90 %"),
        ({"dedicated": {2: 70}}, ValueError, r"each value of dedicated must be a share .* got 70"),
        (
            {"sweep": WidthSweep("mse", np.array([4]), np.array([1.5]), 4)},
            ValueError,
            r"sweep must hold accuracies in \[0, 1\], got mse 1.5",
        ),
    ],
)
def test_what_does_not_fit_is_refused(others, error, message):
    with pytest.raises(error, match=message):
        drawn(**others)


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
