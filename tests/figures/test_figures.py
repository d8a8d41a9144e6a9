import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from plotly.colors import unlabel_rgb

from vsnn_lab import Triangular, figures, prefix_mask
from vsnn_lab.figures import instrument, style
from vsnn_lab.figures.images import to_bytes
from vsnn_lab.figures.overlay import run_style
from vsnn_lab.measure.ablation import WidthSweep

RUN_COLORS = [
    [round(float(part)) for part in unlabel_rgb(run_style(index, 12, "run").color)]
    for index in range(12)
]
STYLES = [value for value in vars(style).values() if isinstance(value, style.Style)]


@pytest.fixture
def sweep():
    widths = np.arange(1, 9)
    return WidthSweep("mse_loss", widths, 1.0 / widths, 8)


def named(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data}


def luminance(color: str) -> float:
    """Compute the relative luminance of WCAG 2.1."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(color: str, page: str) -> float:
    """Compute the contrast ratio of WCAG 2.1."""
    dark, light = sorted([luminance(color), luminance(page)])
    return (light + 0.05) / (dark + 0.05)


RUNS = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in RUN_COLORS]


@pytest.mark.parametrize("color", [s.color for s in STYLES] + [style.POINTER, *RUNS])
def test_every_line_stands_out_by_three_to_one_on_light_and_on_dark_pages(color):
    assert contrast(color, "#ffffff") >= 3
    assert contrast(color, "#111111") >= 3


@pytest.mark.parametrize("color", [style.TEXT_COLOR, instrument.WRONG, instrument.FLIP])
def test_every_text_stands_out_from_a_light_page_and_from_a_dark_one_as_far_as_it_then_can(color):
    assert contrast(color, "#ffffff") >= 4.5
    # What is just 4.5:1 on white has 18.88 / 4.5 on JupyterLab's dark page, and 18.88 is white's.
    assert contrast(color, "#111111") >= 0.99 * contrast("#ffffff", "#111111") / 4.5


def test_nobody_is_offered_to_upload_a_figure():
    assert "sendChartToCloud" in style.TEMPLATE.layout.modebar.remove


def test_no_two_kinds_share_a_colour_a_marker_or_a_name():
    for attribute in ("color", "symbol", "name"):
        assert len({getattr(s, attribute) for s in STYLES}) == len(STYLES)


def test_a_sweep_figure_draws_each_number_where_it_belongs(sweep):
    figure = figures.sweep_figure(
        sweep, scale=10, plain=0.05, dedicated={4: [0.1, 0.2, 0.6], 2: 0.3}, pca={1: 2.0, 2: 1.0}
    )
    traces = named(figure)
    np.testing.assert_allclose(traces["variable network"].y, 10 / np.arange(1, 9))
    np.testing.assert_allclose(traces["plain full-width network"].y, [0.5, 0.5])
    points = traces["dedicated networks"]
    np.testing.assert_allclose(points.x, [2, 4])
    np.testing.assert_allclose(points.y, [3, 3])
    np.testing.assert_allclose(points.error_y.array, [0, 3])
    np.testing.assert_allclose(points.error_y.arrayminus, [0, 2])
    np.testing.assert_allclose(traces["PCA"].y, [20, 10])
    assert figure.layout.yaxis.rangemode == "tozero"
    assert figure.layout.yaxis.title.text == "mse_loss"


def test_the_fraction_axis_divides_every_width_by_the_full_one(sweep):
    figure = figures.sweep_figure(sweep, fraction=True, dedicated={4: 0.1}, plain=0.1)
    np.testing.assert_allclose(named(figure)["variable network"].x, np.arange(1, 9) / 8)
    assert list(named(figure)["dedicated networks"].x) == [0.5]
    assert list(named(figure)["plain full-width network"].x) == [0.125, 1]


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [(1, [1]), (8, [1, 2, 4, 8]), (20, [1, 2, 4, 8, 20]), (24, [1, 2, 4, 8, 16, 24])],
)
def test_a_log2_axis_has_the_widths_themselves_as_ticks(steps, ticks):
    axis = style.log2_axis(steps, "width")
    assert axis["type"] == "log"
    assert list(axis["tickvals"]) == ticks
    assert axis["ticktext"] == [str(tick) for tick in ticks]
    low, high = axis["range"]
    assert 10**low < 1
    assert 10**high > steps


def test_pixels_keep_one_scale_and_are_clipped():
    images = torch.tensor([0.0, 0.5, 1.0, 7.0, -3.0, 0.2]).view(1, 1, 2, 3)
    assert to_bytes(images).tolist() == [[[[0], [128], [255]], [[255], [0], [51]]]]


def test_a_gallery_shows_every_mask_under_its_title():
    masks = {"a": prefix_mask(Triangular()(4, 4), 4), "b": prefix_mask(Triangular()(2, 8), 8)}
    figure = figures.mask_gallery(masks)
    assert [note.text for note in figure.layout.annotations] == ["a", "b"]
    np.testing.assert_array_equal(figure.data[0].z, np.tri(4))
    assert figure.data[1].z.shape == (2, 8)
