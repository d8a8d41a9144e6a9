"""Every instrument as a page without a kernel: the slider moves pictures, curves and numbers."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.browser import lab
from tests.explore.shown import numbers, tiles
from vsnn_lab import Autoencoder, Stratified, Triangular, Width
from vsnn_lab.explore import (
    AutoencoderExplorer,
    CodeExplorer,
    MaskExplorer,
    RunsExplorer,
    WidthComparison,
)
from vsnn_lab.explore.portable import portable_html
from vsnn_lab.figures import Metric

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
PICTURES = ".vsnn-pictures canvas, .vsnn-mask canvas"
NAME = "<b>a</b>"  # of a run; nothing from outside is markup
CURVES = {NAME: {1: 0.5, 2: 0.7, 4: 0.81234}, "b": {1: 0.6, 4: 0.8}}


@pytest.fixture(scope="module")
def chromium_page(chromium):
    with lab.browser_page(chromium) as page:
        yield page


class Opened:
    """An instrument in a page of its own."""

    def __init__(self, page, folder, explorer) -> None:
        (folder / "page.html").write_text(f"<!doctype html><body>{portable_html(explorer)}")
        self.page, self.errors = page, []
        page.on("pageerror", lambda error: self.errors.append(f"{error}"))
        page.goto((folder / "page.html").as_uri())
        self.root = page.locator("[data-vsnn-instrument]")
        self.root.wait_for()

    def press(self, label: str, key: str) -> None:
        self.root.locator(f"input[type=range][aria-label='{label}']").focus()
        self.page.keyboard.press(key)

    def number(self, name: str) -> str:
        return self.root.locator(f"[data-readout='{name}']").inner_text()

    def pictures(self) -> list[str]:
        return self.root.locator(PICTURES).evaluate_all("all => all.map(c => c.toDataURL())")

    def pixels(self, place: int) -> np.ndarray:
        """Return what a canvas holds, shape (height, width, 4)."""
        _, _, body = self.pictures()[place].partition(",")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGBA"))


@pytest.fixture
def show(chromium_page, tmp_path):
    """Open an instrument; at the end nothing may have failed in the page."""
    opened = []

    def open_it(explorer) -> Opened:
        opened.append(Opened(chromium_page, tmp_path, explorer))
        return opened[-1]

    yield open_it
    assert not [error for each in opened for error in each.errors]


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Autoencoder((1, 6, 5), Width(12), hidden=(9,))


def images() -> torch.Tensor:
    return torch.rand(8, 1, 6, 5)


def test_the_autoencoders_slider_moves_pictures_and_numbers(show, model):
    explorer = AutoencoderExplorer(model, images(), shown=3)
    explorer.width = 4
    page = show(explorer)
    before = page.pictures()
    page.press("code units", "ArrowRight")
    assert page.number("code units kept") == "5"
    assert page.number("test MSE × 1000") == f"{explorer.sweep.at(5) * 1000:.2f}"
    changed = [one != other for one, other in zip(before, page.pictures(), strict=True)]
    assert changed == [False] * 3 + [True] * 3
    for place in range(3):
        shown = page.pixels(3 + place)
        np.testing.assert_array_equal(shown[..., :1], numbers(explorer, "rebuilt")[4, place])


def test_each_of_two_widths_moves_its_own_picture_and_the_difference(show, model):
    explorer = WidthComparison(model, images(), widths=(3, 12))
    page = show(explorer)
    before = page.pictures()
    page.press("width A", "ArrowLeft")
    changed = [one != other for one, other in zip(before, page.pictures(), strict=True)]
    assert changed == [False, True, False, True]
    page.press("width B", "Home")
    errors, change = numbers(explorer, "errors"), numbers(explorer, "change")
    for name, width in (("A", 2), ("B", 1)):
        assert page.number(f"MSE × 1000 at {name}") == f"{errors[width - 1]:.2f}"
    assert page.number("error of B against A") == f"{errors[0] / errors[1]:.2f} ×"
    assert page.number("change × 1000") == f"{change[1, 0]:.1f}"
    for place, width in ((1, 2), (2, 1)):
        expected = numbers(explorer, "rebuilt")[width - 1, 0]
        np.testing.assert_array_equal(page.pixels(place)[..., :1], expected)
    page.press("width A", "Home")
    # Grey where nothing changes, and the scale tells both signs from zero.
    assert {*map(tuple, page.pixels(3).reshape(-1, 4))} == {(138, 141, 145, 255)}
    low, zero, high = page.root.locator(".vsnn-scale span").all_inner_texts()[1:]
    assert (low[0], zero, high) == (MINUS, "0", f"+{low[1:]}")
    assert page.root.locator("[aria-label='image']").is_hidden()


def test_the_codes_width_moves_without_a_kernel_and_its_units_say_why_they_do_not(show, model):
    explorer = CodeExplorer(model, images())
    explorer.units = [2.0, *[None] * 7]
    explorer.width = 3
    page = show(explorer)
    before = page.pictures()
    page.press("code units", "ArrowRight")
    changed = [one != other for one, other in zip(before, page.pictures(), strict=True)]
    assert changed == [False, True, True, True]
    for name, array in (
        ("MSE × 1000, own", "own error"),
        ("MSE × 1000, moved", "moved error"),
    ):
        assert page.number(name) == f"{numbers(explorer, array)[3]:.2f}"
    assert page.number("units moved") == tiles(explorer)["units moved"]["values"][3] == "1"
    homes = numbers(explorer, "ends")[3, :, 2]
    said = ["+2.00", *[f"{MINUS if value < 0 else '+'}{abs(value):.2f}" for value in homes[1:4]]]
    assert [page.number(f"unit {unit}") for unit in range(1, 9)] == said + [DASH] * 4
    units = page.root.locator(".vsnn-ranges input")
    assert units.evaluate_all("all => all.every(each => each.disabled)")
    assert page.root.get_by_text("decoded by a Python kernel").is_visible()
    assert page.root.get_attribute("aria-busy") == "false"


def test_masks_show_what_each_sampler_draws(show):
    explorer = MaskExplorer({"triangle": Triangular(), "runs": Stratified(2)}, most=12)
    explorer.batch, explorer.units = 5, 6
    page = show(explorer)
    before = page.pictures()
    page.root.get_by_label("sampler").select_option("runs")
    page.press("samples", "ArrowRight")
    drawn = Stratified(2)(6, 6, torch.Generator().manual_seed(0))
    assert page.number("samples") == "6"
    assert page.number("runs of equal width") == f"{len(drawn.unique())}"
    assert page.number("units kept") == f"{100 * drawn.float().mean() / 6:.0f} %"
    assert page.pictures()[0] != before[0]
    assert page.pictures()[1] != before[1]
    cells, bars = page.pixels(0), page.pixels(1)
    size = cells.shape[0] / 12
    middle = [round((place + 0.4) * size) for place in range(12)]
    opaque = cells[np.ix_(middle, middle)][..., 3] == 255
    np.testing.assert_array_equal(opaque[:6, :6], np.arange(6) < drawn.numpy()[:, None])
    assert not opaque[6:].any()
    heights = (bars[:, middle, 3] == 255).mean(0)
    shares = [(drawn > unit).float().mean() for unit in range(6)] + [0] * 6
    np.testing.assert_allclose(heights, shares, atol=0.01)


def test_runs_are_picked_and_ranked_without_a_kernel(show):
    metric = Metric("accuracy", "higher", "%", 100)
    explorer = RunsExplorer(CURVES, metric=metric)
    page = show(explorer)
    assert (page.number("best run"), page.number("best value")) == (NAME, "81.23")
    assert metric.text(0.81234) == "81.23 %"
    rings = page.root.locator(".vsnn-ring[visibility=visible]")
    assert rings.count() == 2
    page.press("width", "ArrowLeft")
    assert (page.number("width"), page.number("best run")) == ("2", NAME)
    assert rings.count() == 1
    rows = page.root.locator("tbody tr")
    assert rows.all_inner_texts() == [f"{NAME}\t70\t2", f"b\t{DASH}\t1"]
    page.root.get_by_label(NAME).uncheck()
    assert page.number("best run") == "no run picked has this width"
    assert rows.all_inner_texts() == [f"b\t{DASH}\t2"]
    page.press("width", "Home")
    assert (page.number("best run"), page.number("best value")) == ("b", "60")
    page.root.get_by_role("button", name="None of runs").click()
    assert page.root.get_by_text("no run picked", exact=True).is_visible()
    page.root.get_by_role("button", name="All of runs").click()
    assert rows.count() == 2
    assert page.root.locator("b b").count() == 0
