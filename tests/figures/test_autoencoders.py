"""Pictures of an autoencoder: every pixel where it belongs, read back from the figure."""

import base64
import io

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image

from vsnn_lab import figures
from vsnn_lab.figures.diverging import COLORSCALE, colorize
from vsnn_lab.figures.images import GAP

COUNT, HEIGHT, WIDTH = 3, 4, 5


def images(channels: int = 1, rows: int = COUNT) -> torch.Tensor:
    return torch.rand(rows, channels, HEIGHT, WIDTH)


def pixels_of(figure: go.Figure, trace: int = 0) -> np.ndarray:
    """Decode a picture of a figure: grey or colours, then opacity."""
    head, _, body = figure.data[trace].source.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def tile_at(canvas: np.ndarray, row: int, column: int) -> np.ndarray:
    """Cut one picture out, opacity checked and left off."""
    top, left = row * (HEIGHT + GAP), column * (WIDTH + GAP)
    found = canvas[top : top + HEIGHT, left : left + WIDTH]
    assert (found[..., -1] == 255).all()
    return found[..., :-1].astype(float)


def rows_of(figure: go.Figure) -> dict[str, float]:
    return dict(zip(figure.layout.yaxis.ticktext, figure.layout.yaxis.tickvals, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_has_a_row_for_each_width_and_one_grey_scale(channels):
    originals = images(channels)
    rebuilt = {4: originals * 0.5, 1: originals * 2 - 0.5}
    figure = figures.width_grid(originals, rebuilt)
    canvas = pixels_of(figure)
    for row, expected in enumerate((originals, rebuilt[1], rebuilt[4])):
        for column in range(COUNT):
            shown = tile_at(canvas, row, column) / 255
            wanted = expected[column].clamp(0, 1).permute(1, 2, 0)
            np.testing.assert_allclose(shown, wanted, atol=0.5 / 255 + 1e-6)
    assert rows_of(figure) == {"original": 1.5, "1 unit": 7.5, "4 units": 13.5}


def test_a_grid_keeps_the_aspect_of_its_pixels():
    figure = figures.width_grid(images(), {1: images()}, errors={1: 0.01}, title="a")
    margin, canvas = figure.layout.margin, pixels_of(figure)
    plot = (
        figure.layout.height - margin.t - margin.b,
        figure.layout.width - margin.l - margin.r,
    )
    assert plot[0] / canvas.shape[0] == pytest.approx(plot[1] / canvas.shape[1], rel=0.01)
    assert figure.layout.yaxis.scaleanchor == "x"
    assert figure.layout.width <= 840


def test_many_columns_fit_into_a_page():
    many = images(rows=40)
    assert figures.width_grid(many, {1: many}).layout.width == 840


def test_errors_stand_beside_their_rows_times_a_thousand():
    rebuilt = {w: images() for w in (1, 2)}
    figure = figures.width_grid(images(), rebuilt, errors={1: 0.0414, 2: 0.0267, 8: 1.0})
    notes = {note.y: note.text for note in figure.layout.annotations}
    assert notes == {1: "MSE × 1000", 7.5: "41.4", 13.5: "26.7"}


def test_differences_are_grey_at_zero_and_symmetric_around_it():
    low, middle, high = (np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for _, c in (
        COLORSCALE[0], COLORSCALE[2], COLORSCALE[-1]
    ))  # fmt: skip
    assert np.ptp(middle) < 10
    changes = np.array([-0.8, -0.4, 0, 0.4, 0.8]).reshape(1, 1, 5)
    shown = colorize(changes, 0.4)[0].astype(int)
    np.testing.assert_array_equal(shown, [low, low, middle, high, high])


def test_the_scale_of_differences_rises_in_lightness_so_that_it_reads_in_greyscale():
    shown = colorize(np.linspace(-1, 1, 101).reshape(1, 1, 101), 1.0)[0]
    lightness = shown @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_unit_differences_share_a_scale_up_to_the_largest_change(channels):
    originals = images(channels)
    changes = {1: images(channels) - 0.5, 2: (images(channels) - 0.5) / 10}
    figure = figures.unit_differences(originals, changes)
    means = {unit: change.mean(1).numpy() for unit, change in changes.items()}
    limit = max(abs(mean).max() for mean in means.values())
    marker = figure.data[1].marker
    assert (marker.cmin, marker.cmax) == pytest.approx((-limit, limit))
    assert "clipped" not in figure.layout.annotations[0].text
    canvas = pixels_of(figure)
    places = np.array([place for place, _ in COLORSCALE]) * 2 - 1
    stops = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for _, c in COLORSCALE])
    for row, mean in enumerate(means.values(), start=1):
        for column in range(COUNT):
            for channel in range(3):
                expected = np.interp(mean[column] / limit, places, stops[:, channel])
                shown = tile_at(canvas, row, column)[..., channel]
                np.testing.assert_allclose(shown, expected, atol=0.51)
    original = originals.expand(-1, 3, -1, -1)[1].permute(1, 2, 0)
    np.testing.assert_allclose(tile_at(canvas, 0, 1) / 255, original, atol=0.5 / 255 + 1e-6)
    assert list(rows_of(figure)) == ["original", "unit 1", "unit 2"]


def test_a_limit_below_the_largest_change_is_said_to_clip():
    changes = {1: images() - 0.5}
    figure = figures.unit_differences(images(), changes, limit=0.01)
    assert figure.data[1].marker.cmax == 0.01
    assert figure.layout.annotations[0].text.endswith("clipped")


def test_a_unit_that_changes_nothing_is_grey():
    figure = figures.unit_differences(images(), {5: torch.zeros(COUNT, 1, HEIGHT, WIDTH)})
    grey = [int(COLORSCALE[2][1][i : i + 2], 16) for i in (1, 3, 5)]
    assert (tile_at(pixels_of(figure), 1, 2) == grey).all()


def test_a_traversal_has_a_row_for_each_unit_and_a_column_for_each_value():
    pictures = torch.rand(2, 3, 1, HEIGHT, WIDTH)
    figure = figures.traversal(pictures, [-1.5, 0, 2.0], units=[1, 7])
    canvas = pixels_of(figure)
    for row in range(2):
        for column in range(3):
            shown = tile_at(canvas, row, column)[..., 0] / 255
            np.testing.assert_allclose(shown, pictures[row, column, 0], atol=0.5 / 255 + 1e-6)
    assert rows_of(figure) == {"unit 1": 1.5, "unit 7": 7.5}
    assert figure.layout.xaxis.ticktext == ("\N{MINUS SIGN}1.5", "0", "+2")
    assert figure.layout.xaxis.tickvals == (2, 9, 16)


def test_a_codes_scatter_holds_the_first_two_units_of_each_class():
    codes, labels = torch.randn(50, 4), torch.arange(50) % 3
    figure = figures.code_scatter(codes, labels, ["a", "b", "c"])
    for index, trace in enumerate(figure.data):
        own = codes[labels == index]
        shown = np.stack([trace.x, trace.y], 1)
        assert sorted(map(tuple, shown.tolist())) == sorted(map(tuple, own[:, :2].tolist()))
    assert [trace.name for trace in figure.data] == ["a", "b", "c"]
    for note in figure.layout.annotations:
        own = codes[labels == "abc".index(note.text)].double().numpy()
        assert (note.x, note.y) == pytest.approx((np.median(own[:, 0]), np.median(own[:, 1])))
    assert figure.layout.xaxis.title.text == "unit 1"
    assert figure.layout.yaxis.title.text == "unit 2"


def test_a_scatter_of_many_codes_draws_some_and_names_the_medians_of_all():
    codes, labels = np.random.default_rng(0).normal(size=(900, 2)), np.arange(900) % 2
    drawn = figures.code_scatter(codes, labels, ["a", "b"], most=100)
    assert sum(len(trace.x) for trace in drawn.data) == 100
    medians = [note.x for note in drawn.layout.annotations]
    assert medians == [np.median(codes[labels == label, 0]) for label in (0, 1)]
    again = figures.code_scatter(codes, labels, ["a", "b"], most=100)
    assert drawn.to_plotly_json() == again.to_plotly_json()


def test_names_of_classes_at_one_place_do_not_overlap():
    codes, labels = torch.zeros(5, 2), torch.arange(5)
    figure = figures.code_scatter(codes, labels, list("abcde"))
    shifts = sorted(note.yshift for note in figure.layout.annotations)
    assert min(np.diff(shifts)) >= 20


def test_ten_classes_have_ten_colours_and_each_of_seventy_a_look_of_its_own():
    codes, labels = torch.randn(70, 2), torch.arange(70)
    figure = figures.code_scatter(codes, labels, [f"{i}" for i in range(70)])
    looks = [(trace.marker.color, trace.marker.symbol) for trace in figure.data]
    assert len({color for color, _ in looks[:10]}) == 10
    assert len(set(looks)) == 70


def test_a_single_class_has_no_name_over_its_points():
    figure = figures.code_scatter(torch.randn(9, 2), torch.zeros(9).long(), ["emoji"])
    assert not figure.layout.annotations


GOOD = torch.zeros(2, 1, 4, 4)
SHAPE = r"\(n, 1 or 3, height, width\)"


@pytest.mark.parametrize(
    ("originals", "rebuilt", "options", "error", "message"),
    [
        ([[0.5]], {1: GOOD}, {}, TypeError, rf"originals must be an array .* of shape {SHAPE}"),
        (GOOD[0], {1: GOOD}, {}, ValueError, rf"originals must be floats of shape {SHAPE}, got"),
        (GOOD.byte(), {1: GOOD}, {}, ValueError, "originals must be floats .* got torch.uint8"),
        (GOOD.expand(2, 2, 4, 4), {1: GOOD}, {}, ValueError, r"originals must have 1 or 3 chan"),
        (GOOD / 0, {1: GOOD}, {}, ValueError, "originals must be finite, got nan"),
        (GOOD, GOOD, {}, TypeError, "reconstructions must map numbers of units to images"),
        (GOOD, {}, {}, ValueError, "reconstructions must hold at least one width, got none"),
        (GOOD, {0: GOOD}, {}, ValueError, "each width of reconstructions must be at least 1"),
        (GOOD, {3: GOOD[:1]}, {}, ValueError, r"reconstructions\[3\] must have the originals' sha"),
        (GOOD, {3: GOOD}, {"errors": {1: 2}}, ValueError, r"errors must hold .* \[3\], got \[1\]"),
        (GOOD, {3: GOOD}, {"title": 3}, TypeError, "title must be a string or None, got 3"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(originals, rebuilt, options, error, message):
    with pytest.raises(error, match=message):
        figures.width_grid(originals, rebuilt, **options)


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_scale_without_extent_is_refused(limit):
    with pytest.raises(ValueError, match="limit must be"):
        figures.unit_differences(GOOD, {1: GOOD}, limit=limit)


@pytest.mark.parametrize(
    ("values", "units", "error", "message"),
    [
        ([0, 1], None, ValueError, r"values must number 3 for pictures of shape .* got 2"),
        ([0, 1, 2], [1], ValueError, r"units must number 2 for pictures of shape .* got 1"),
        ([0, 1, "2"], None, TypeError, "each of values must be a finite number, got '2'"),
        ([0, 1, 2], [0, 1], ValueError, "each of units must be at least 1, got 0"),
        (3, None, TypeError, "values must be a sequence of numbers, got 3"),
    ],
)
def test_a_traversal_with_labels_that_do_not_fit_is_refused(values, units, error, message):
    with pytest.raises(error, match=message):
        figures.traversal(torch.zeros(2, 3, 1, 4, 4), values, units)


@pytest.mark.parametrize(
    ("codes", "labels", "names", "error", "message"),
    [
        (torch.zeros(4, 1), torch.zeros(4).long(), ["a"], ValueError, "codes must have two units"),
        (torch.zeros(4, 2), torch.zeros(3).long(), ["a"], ValueError, r"labels .* shape \(4,\)"),
        (torch.zeros(4, 2), torch.zeros(4), ["a"], ValueError, "labels must be integers of shape"),
        (torch.zeros(4, 2), torch.ones(4).long(), ["a"], ValueError, r"labels must lie in 0\.\.0"),
        (torch.zeros(4, 2), torch.ones(4).long(), "ab", TypeError, "class_names must be a seq"),
        (torch.zeros(4, 2), torch.ones(4).long(), [1, 2], TypeError, "class_names must be strings"),
        (torch.zeros(4, 2), torch.ones(4).long(), [], ValueError, r"class_names must name 1\.\.70"),
    ],
)
def test_codes_without_a_class_each_are_refused(codes, labels, names, error, message):
    with pytest.raises(error, match=message):
        figures.code_scatter(codes, labels, names)
