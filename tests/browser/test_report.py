"""A report as the person it was sent to meets it: opened from a disk, without any network."""

import base64
import io
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from tests.browser import lab
from tests.notebooks import FOLDER, QUICK, data_beside
from vsnn_lab.headless.report import build_report
from vsnn_lab.headless.runs import run_notebook

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

# In one go: read one after the other, some would be those of the move before.
_READ = """
() => {
    const instrument = document.querySelector('[data-instrument]');
    const plot = instrument.querySelector('.js-plotly-plot');
    const image = plot.querySelector('.imagelayer image');
    const ring = [...plot.querySelectorAll('.scatterlayer .trace')].pop()
        .querySelector('.points path:last-child').getBoundingClientRect();
    const numbers = [...instrument.querySelectorAll('[data-readout]')].map(
        item => [item.dataset.readout, item.innerText]);
    return [
        instrument.querySelector('output').innerText,
        image.getAttribute('href') || image.getAttribute('xlink:href'),
        ring.x + ring.width / 2,
        [...plot.data.at(-1).x],
        Object.fromEntries(numbers),
    ];
}
"""
# What the eye could see: the state at the end of every frame after a key press.
_FRAMES = """
([read, frames]) => new Promise(resolve => {
    const seen = [];
    const look = () => {
        seen.push(eval(read)());
        seen.length < frames ? requestAnimationFrame(look) : resolve(seen);
    };
    document.querySelector('[data-instrument] input').stepUp();
    document.querySelector('[data-instrument] input').dispatchEvent(new Event('input'));
    requestAnimationFrame(look);
})
"""


@dataclass(frozen=True)
class Reading:
    """What the instrument shows."""

    slider: str
    picture: str
    ring: float  # pixels from the left
    marker: list[int]
    numbers: dict[str, str]

    @property
    def pixels(self) -> np.ndarray:
        body = base64.b64decode(self.picture.partition(",")[2])
        return np.asarray(Image.open(io.BytesIO(body)))


@pytest.fixture(scope="module")
def front(tmp_path_factory):
    """The front page of a report of the quickstart, run in the quick profile."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "data").mkdir()
    executed = folder / "00_quickstart.ipynb"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VSNN_LAB_DATA", str(data_beside(folder / "data")))
        run_notebook(FOLDER / executed.name, executed, QUICK[executed.stem], progress=False)
    return build_report([executed], folder / "site")


@pytest.fixture(scope="module")
def browser(chromium):
    """A page without network that fails if anything from outside is asked for, or goes wrong."""
    asked, wrong = [], []
    with lab.browser_page(chromium) as page:
        page.context.set_offline(True)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        yield page
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert wrong == []


@pytest.fixture
def page(browser, front):
    """The quickstart's page, reached by a click on the front page."""
    browser.set_viewport_size(lab.WINDOW)
    browser.goto(front.as_uri())
    browser.wait_for_selector("html[data-ready]", state="attached")
    assert browser.locator(".thumb .js-plotly-plot").count() == 1
    browser.get_by_role("link", name="Quickstart: what does each further").click()
    browser.wait_for_selector("[data-instrument][data-ready]")
    return browser


def read(page) -> Reading:
    return Reading(*page.evaluate(_READ))


def press(page, key: str, width: int) -> Reading:
    """Press a key on the slider; return what is shown once it stands at a width."""
    page.locator("[data-instrument] input").focus()
    page.keyboard.press(key)
    page.wait_for_function(
        "width => document.querySelector('[data-instrument] output').innerText === width",
        arg=str(width),
    )
    return read(page)


def test_arrow_keys_move_picture_marker_and_read_outs_from_the_first_width_to_the_last(page):
    readings = {8: read(page), 1: press(page, "Home", 1), 2: press(page, "ArrowRight", 2)}
    readings |= {32: press(page, "End", 32), 31: press(page, "ArrowLeft", 31)}
    for width, reading in readings.items():
        assert reading.marker == [width, width]
        assert reading.slider == reading.numbers["code units kept"] == str(width)
        assert reading.numbers["compression"] == f"{784 / width:.1f} : 1"
    rings = [readings[width].ring for width in (1, 2, 8, 31, 32)]
    assert rings == sorted(set(rings))
    # Octaves have one length on the log2 axis.
    assert rings[4] - rings[2] == pytest.approx(2 * (rings[1] - rings[0]), abs=1)
    pictures = [reading.pixels for reading in readings.values()]
    assert len({picture.shape for picture in pictures}) == 1
    for index, picture in enumerate(pictures):
        assert not any(np.array_equal(picture, other) for other in pictures[:index])
        # The first row shows originals, at every width the same ones.
        assert np.array_equal(picture[:28], pictures[0][:28])


def test_no_frame_shows_one_part_at_one_width_and_another_at_the_next(page):
    before = read(page)
    frames = [Reading(*each) for each in page.evaluate(_FRAMES, [_READ, 12])]
    after = read(page)
    assert before.slider != after.slider
    assert before.picture != after.picture
    assert set(map(repr, frames)) <= {repr(before), repr(after)}
    assert frames[-1] == after


def test_the_play_button_runs_on_and_stops(page):
    button = page.get_by_role("button", name="Play through the widths")
    button.click()
    page.wait_for_function("document.querySelector('[data-instrument] output').innerText === '10'")
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    before = read(page)
    page.wait_for_timeout(1000)
    assert read(page) == before


def test_the_whole_instrument_is_in_sight_at_1280_by_800_and_fits_a_telephone(page):
    box = page.locator("[data-instrument]").bounding_box()
    assert box["height"] < lab.WINDOW["height"]
    page.set_viewport_size({"width": 390, "height": 800})
    page.wait_for_function(
        "document.querySelector('.instrument .plot').getBoundingClientRect().height < 200"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_the_page_in_both_schemes(page, scheme):
    page.emulate_media(color_scheme=scheme)
    ground, ink = (
        page.evaluate(f"getComputedStyle(document.documentElement).{name}")
        for name in ("backgroundColor", "color")
    )
    light, dark = sorted((luminance(ground), luminance(ink)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 7
    assert (luminance(ground) > 0.5) == (scheme == "light")


def luminance(color: str) -> float:
    """Return the relative luminance of a colour such as rgb(1, 2, 3), as WCAG 2 defines it."""
    values = [int(part) / 255 for part in color.strip("rgb()").split(",")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))
