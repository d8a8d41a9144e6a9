"""The instruments of notebook 03 as a person meets them: by keyboard, in JupyterLab."""

from collections.abc import Callable
from dataclasses import dataclass

import nbformat
import pytest

from tests.browser import lab
from tests.notebooks import data_beside

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

STEPS, UNITS = 12, 8  # units of the code; those with a slider
IMAGES = 50
# Trained a little, so that every width and every unit changes some pixels.
CELLS = [
    f"""
    import torch
    import torch.nn.functional as F
    from vsnn_lab import Autoencoder, FullAndNarrow, Width, data, explore, fit
    shown = data.load("fashion-mnist", "test")
    train = shown.images[:2000]
    images, labels = shown.images[:{IMAGES}], shown.labels[:{IMAGES}]
    torch.manual_seed(0)
    model = Autoencoder(tuple(images.shape[1:]), Width({STEPS}), hidden=(64,))
    fit(model, (train, train), F.mse_loss, recipe=FullAndNarrow(), epochs=3, lr=6e-3)
    named = {{"labels": labels, "class_names": shown.class_names}}
    print(*(shown.class_names[label] for label in labels), sep=";")
    """,
    "explore.WidthComparison(model, images, **named)",
    "explore.CodeExplorer(model, images, **named)",
    """
    early = explore.WidthComparison(model, images, **named)
    early.picker.position.value, early.first.value = 5, 6
    early
    """,
]
KERNEL = {"name": "python3", "display_name": "Python 3"}
PATIENCE = 300  # tenths of a second that a change may take on a busy machine

# In one go: read one after the other, some would be those of the move before.
READ = """
cell => {
    const of = (selector, value) => [...cell.querySelectorAll(selector)].map(value);
    const row = slider => slider.closest('.widget-inline-hbox');
    return {
        pictures: of('.imagelayer image', i => i.getAttribute('href')
            || i.getAttribute('xlink:href')),
        numbers: Object.fromEntries(of('[data-readout]',
            n => [n.getAttribute('data-readout'), n.textContent])),
        remarks: Object.fromEntries(of('[data-readout]',
            n => [n.getAttribute('data-readout'), n.nextElementSibling.textContent])),
        sliders: Object.fromEntries(of('.noUi-handle', h => [
            row(h).querySelector('.widget-label').textContent,
            Math.round(h.getAttribute('aria-valuenow'))])),
        units: of('.widget-gridbox .widget-hbox', u => [
            u.querySelector(':scope > .widget-label').textContent,
            u.querySelector('.noUi-target').hasAttribute('disabled')]),
    };
}
"""

# Every combination of pictures that a frame shows from now on, by their places in the order seen.
WATCH = """
cell => {
    const seen = [];
    window.seenFrames = seen;
    const look = () => {
        const now = [...cell.querySelectorAll('.imagelayer image')].map(
            i => i.getAttribute('href') || i.getAttribute('xlink:href'));
        const last = seen[seen.length - 1];
        if (!last || last.some((picture, index) => picture !== now[index])) seen.push(now);
        if (window.seenFrames === seen) requestAnimationFrame(look);
    };
    look();
}
"""


@dataclass(frozen=True)
class Reading:
    """What an instrument shows; a unit is its number and whether its slider is disabled."""

    pictures: list[str]
    numbers: dict[str, str]
    remarks: dict[str, str]
    sliders: dict[str, int]
    units: list[tuple[str, bool]]


class Instrument:
    """One of the two, driven by keyboard."""

    def __init__(self, page, place: int) -> None:
        self.page = page
        self.cell = page.locator(".jp-CodeCell:has(.noUi-handle)").nth(place)
        self.cell.locator(".imagelayer image").nth(3).wait_for()

    def read(self) -> Reading:
        return Reading(**self.cell.evaluate(READ))

    def until(self, condition: Callable[[Reading], bool]) -> Reading:
        """Return the first reading that meets a condition; fail with the last after a while."""
        for _ in range(PATIENCE):
            reading = self.read()
            if condition(reading):
                return reading
            self.page.wait_for_timeout(100)
        raise AssertionError(f"it still shows {reading.sliders}: {reading.numbers}")

    def press(self, slider: str, key: str) -> None:
        label = self.page.get_by_text(slider, exact=True)
        self.cell.locator(".widget-inline-hbox", has=label).locator(".noUi-handle").focus()
        self.page.keyboard.press(key)

    def choose(self, category: str) -> None:
        self.cell.locator("select").select_option(category)


@pytest.fixture(scope="module")
def page(chromium, tmp_path_factory):
    """A page with the notebook run in it."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "data").mkdir()
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": KERNEL})
    notebook.cells = [nbformat.v4.new_code_cell(_unindented(source)) for source in CELLS]
    nbformat.write(notebook, folder / "instruments.ipynb")
    served = lab.serve(folder, data_beside(folder / "data"))
    with served as address, lab.browser_page(chromium) as page:
        lab.open_notebook(page, address.format("instruments.ipynb"))
        lab.run_all(page)
        yield page


def _unindented(source: str) -> str:
    return "\n".join(line.strip() for line in source.strip().splitlines())


@pytest.fixture(scope="module")
def classes(page) -> list[str]:
    """The class of each image, by name."""
    stdout = "[data-mime-type='application/vnd.jupyter.stdout']"
    names = page.locator(stdout).first.inner_text().strip().split(";")
    assert len(names) == IMAGES
    return names


@pytest.fixture(scope="module")
def comparison(page):
    return Instrument(page, 0)


@pytest.fixture(scope="module")
def codes(page):
    return Instrument(page, 1)


def changed(before: list[str], after: list[str]) -> list[int]:
    """Return which pictures differ."""
    pairs = zip(before, after, strict=True)
    return [index for index, (one, other) in enumerate(pairs) if one != other]


def test_what_was_moved_before_it_is_shown_is_shown(page, comparison):
    early, before = Instrument(page, 2), comparison.read()
    reading = early.read()
    assert (reading.numbers["image"], reading.sliders["width A"]) == ("5", 6)
    assert changed(before.pictures, reading.pictures) == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["comparison", "codes"])
def test_the_whole_instrument_fits_on_the_screen(name, request, page):
    cell = request.getfixturevalue(name).cell
    output = cell.locator(".jp-Cell-outputWrapper")
    output.evaluate("output => output.scrollIntoView()")
    window = page.locator(".jp-WindowedPanel-outer").bounding_box()
    box = output.bounding_box()
    for start, size in (("x", "width"), ("y", "height")):
        assert box[start] >= window[start] - 1
        assert box[start] + box[size] <= window[start] + window[size] + 1
    # Nothing is cut off at the right, nor needs a bar to be scrolled to.
    for part in (".noUi-target", ".js-plotly-plot", "[data-readout]", ".widget-button"):
        for each in output.locator(part).all():
            place = each.bounding_box()
            assert place["x"] + place["width"] <= box["x"] + box["width"]
            assert place["y"] + place["height"] <= box["y"] + box["height"]


def test_an_arrow_key_changes_one_width_and_leaves_the_other(comparison, page):
    before = comparison.read()
    assert (before.sliders["width A"], before.sliders["width B"]) == (1, STEPS)
    comparison.cell.evaluate(WATCH)
    comparison.press("width A", "ArrowRight")
    after = comparison.until(
        lambda now: (
            now.remarks["MSE × 1000 at A"].startswith("2 of")
            and changed(before.pictures, now.pictures) == [1, 3]
        )
    )
    assert (after.sliders["width A"], after.sliders["width B"]) == (2, STEPS)
    for number in ("MSE × 1000 at A", "change × 1000"):
        assert after.numbers[number] != before.numbers[number]
    for number in ("image", "MSE × 1000 at B"):
        assert after.numbers[number] == before.numbers[number]
        assert after.remarks[number] == before.remarks[number]
    # No frame showed one of the two without the other.
    assert page.evaluate("window.seenFrames") == [before.pictures, after.pictures]
    page.evaluate("window.seenFrames = null")
    comparison.press("width A", "ArrowLeft")
    comparison.until(lambda now: now == before)


def test_equal_widths_show_equal_pictures_and_no_change(comparison):
    before = comparison.read()
    comparison.press("width A", "End")
    after = comparison.until(
        lambda now: now.numbers["change × 1000"] == "0.0" and now.pictures[1] == before.pictures[2]
    )
    assert after.pictures[2] == before.pictures[2]
    assert after.numbers["error of B against A"] == "1.00 ×"
    comparison.press("width A", "Home")
    comparison.until(lambda now: now == before)


@pytest.mark.parametrize("name", ["comparison", "codes"])
def test_another_image_and_another_class_change_the_pictures(name, request, classes):
    instrument = request.getfixturevalue(name)
    before = instrument.read()
    assert before.numbers["image"] == "0"
    assert before.remarks["image"] == classes[0]
    instrument.press("image", "ArrowRight")
    second = instrument.until(
        lambda now: now.numbers["image"] == "1" and {0, 1, 2} <= _new(before, now)
    )
    assert second.remarks["image"] == classes[1]
    instrument.choose("Trouser")
    places = [index for index, name in enumerate(classes) if name == "Trouser"]
    for key, index in ((None, places[0]), ("ArrowRight", places[1]), ("End", places[-1])):
        if key:
            instrument.press("image", key)
        now = instrument.until(lambda now, index=index: now.numbers["image"] == str(index))
        assert now.remarks["image"] == "Trouser"
    assert now.sliders["image"] == len(places) - 1
    # What was not touched stays.
    widths = {"width A", "width B", "code units"} & set(before.sliders)
    assert all(now.sliders[width] == before.sliders[width] for width in widths)
    instrument.choose("all")
    instrument.until(lambda now: now == before)


def _new(before: Reading, now: Reading) -> set[int]:
    return set(changed(before.pictures, now.pictures))


def test_moving_a_unit_changes_what_is_decoded_and_the_button_undoes_it(codes, page):
    before = codes.read()
    assert len(before.units) == UNITS
    assert before.numbers["units moved"] == "0"
    codes.cell.evaluate(WATCH)
    codes.press("unit 1", "End")
    after = codes.until(
        lambda now: now.remarks["units moved"] == "unit 1" and _new(before, now) == {2, 3}
    )
    assert page.evaluate("window.seenFrames") == [before.pictures, after.pictures]
    page.evaluate("window.seenFrames = null")
    assert after.numbers["units moved"] == "1"
    assert after.numbers["MSE × 1000, own"] == before.numbers["MSE × 1000, own"]
    for number in ("MSE × 1000, moved", "change × 1000"):
        assert after.numbers[number] != before.numbers[number]
    assert after.units[0] != before.units[0]
    assert after.units[1:] == before.units[1:]
    codes.press("unit 3", "ArrowLeft")
    codes.until(lambda now: now.remarks["units moved"] == "units 1 3")
    codes.cell.get_by_role("button", name="Back to the image's own code").click()
    codes.until(lambda now: now == before)


def test_a_narrower_width_disables_the_units_beyond_it(codes):
    before = codes.read()
    assert not any(disabled for _, disabled in before.units)
    codes.press("code units", "Home")
    for width in (1, 2):
        narrow = codes.until(
            lambda now, width=width: (
                now.numbers["code units kept"] == str(width)
                and [unit[1] for unit in now.units] == [False] * width + [True] * (UNITS - width)
                # A picture may be drawn a moment after the numbers are there.
                and now.pictures[1] == now.pictures[2] != before.pictures[1]
            )
        )
        assert all(number == "–" for number, _ in narrow.units[width:])  # noqa: RUF001
        assert "–" not in [number for number, _ in narrow.units[:width]]  # noqa: RUF001
        codes.press("code units", "ArrowRight")
    codes.press("code units", "End")
    codes.until(lambda now: now == before)
