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
    from vsnn_lab import Autoencoder, Distilled, LogUniform, Width, data, explore, fit
    shown = data.load("fashion-mnist", "test")
    train = shown.images[:2000]
    images, labels = shown.images[:{IMAGES}], shown.labels[:{IMAGES}]
    torch.manual_seed(0)
    model = Autoencoder(tuple(images.shape[1:]), Width({STEPS}), hidden=(64,))
    fit(model, (train, train), F.mse_loss, recipe=Distilled(LogUniform()), epochs=3, lr=6e-3)
    named = {{"labels": labels, "class_names": shown.class_names}}
    print(*(shown.class_names[label] for label in labels), sep=";")
    """,
    "explore.WidthComparison(model, images, **named)",
    "explore.CodeExplorer(model, images, **named)",
    """
    early = explore.WidthComparison(model, images, **named)
    early.image, early.first = 5, 6
    early
    """,
]
KERNEL = {"name": "python3", "display_name": "Python 3"}
PATIENCE = 300  # tenths of a second that a change may take on a busy machine

# In one go: read one after the other, some would be those of the move before.
READ = """
root => {
    const all = (selector, value) => [...root.querySelectorAll(selector)].map(value);
    const named = (selector, name, value) => Object.fromEntries(
        all(selector, each => [each.getAttribute(name), value(each)]));
    return {
        pictures: all('.vsnn-pictures canvas', each => each.toDataURL()),
        numbers: named('[data-readout]', 'data-readout', each => each.textContent),
        remarks: named('[data-readout]', 'data-readout', n => n.nextElementSibling?.textContent),
        sliders: named('input[type=range]', 'aria-label', s => s.getAttribute('aria-valuetext')),
        units: all('.vsnn-ranges input', each => each.disabled),
        busy: root.getAttribute('aria-busy') === 'true',
    };
}
"""


@dataclass(frozen=True)
class Reading:
    """What an instrument shows; of a unit, whether its slider is disabled."""

    pictures: list[str]
    numbers: dict[str, str]
    remarks: dict[str, str]
    sliders: dict[str, str]
    units: list[bool]
    busy: bool


class Instrument:
    """One of the two, driven by keyboard."""

    def __init__(self, page, place: int) -> None:
        self.page = page
        self.root = page.locator("[data-vsnn-instrument]").nth(place)
        # Shown once a kernel answers.
        self.slider("image").wait_for()

    def slider(self, label: str):
        return self.root.locator(f"input[type=range][aria-label='{label}']")

    def read(self) -> Reading:
        return Reading(**self.root.evaluate(READ))

    def until(self, condition: Callable[[Reading], bool]) -> Reading:
        """Return the first reading at rest that meets a condition; fail after a while."""
        for _ in range(PATIENCE):
            reading = self.read()
            if not reading.busy and condition(reading):
                return reading
            self.page.wait_for_timeout(100)
        raise AssertionError(f"it still shows {reading.sliders}: {reading.numbers}")

    def press(self, slider: str, key: str) -> None:
        self.slider(slider).focus()
        self.page.keyboard.press(key)

    def choose(self, category: str) -> None:
        self.root.locator("select").select_option(category)


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


def changed(before: Reading, after: Reading) -> list[int]:
    """Return which pictures differ."""
    pairs = zip(before.pictures, after.pictures, strict=True)
    return [index for index, (one, other) in enumerate(pairs) if one != other]


def test_what_was_moved_before_it_is_shown_is_shown(page, comparison):
    early, before = Instrument(page, 2), comparison.read()
    reading = early.read()
    assert (reading.numbers["image"], reading.sliders["width A"]) == ("5", f"6 of {STEPS}")
    assert changed(before, reading) == [0, 1, 2, 3]


def test_an_arrow_key_changes_one_width_at_once_and_leaves_the_other(comparison):
    before = comparison.read()
    comparison.press("width A", "ArrowRight")
    after = comparison.read()
    assert changed(before, after) == [1, 3]
    assert after.sliders["width A"] == f"2 of {STEPS}"
    assert after.sliders["width B"] == f"{STEPS} of {STEPS}"
    for number in ("MSE × 1000 at A", "change × 1000"):
        assert after.numbers[number] != before.numbers[number]
    for number in ("image", "MSE × 1000 at B"):
        assert after.numbers[number] == before.numbers[number]
    comparison.press("width A", "ArrowLeft")
    assert comparison.read() == before


def test_equal_widths_show_equal_pictures_and_no_change(comparison):
    before = comparison.read()
    comparison.press("width A", "End")
    after = comparison.read()
    assert after.pictures[1] == after.pictures[2] == before.pictures[2]
    assert after.numbers["change × 1000"] == "0.0"
    assert after.numbers["error of B against A"] == "1.00 ×"
    comparison.press("width A", "Home")
    assert comparison.read() == before


@pytest.mark.parametrize("name", ["comparison", "codes"])
def test_another_image_and_another_class_change_the_pictures(name, request, classes):
    instrument = request.getfixturevalue(name)
    before = instrument.read()
    assert (before.numbers["image"], before.remarks["image"]) == ("0", classes[0])
    instrument.press("image", "ArrowRight")
    second = instrument.until(lambda now: now.numbers["image"] == "1")
    assert {0, 1, 2} <= set(changed(before, second))
    assert second.remarks["image"] == classes[1]
    instrument.choose("Trouser")
    places = [index for index, name in enumerate(classes) if name == "Trouser"]
    for key, index in ((None, places[0]), ("ArrowRight", places[1]), ("End", places[-1])):
        if key:
            instrument.press("image", key)
        now = instrument.until(lambda now, index=index: now.numbers["image"] == str(index))
        assert now.remarks["image"] == "Trouser"
    assert now.sliders["image"] == f"{len(places)} of {len(places)}"
    # What was not touched stays.
    widths = {"width A", "width B", "code units"} & set(before.sliders)
    assert all(now.sliders[width] == before.sliders[width] for width in widths)
    instrument.choose("all classes")
    instrument.until(lambda now: now == before)


def test_moving_a_unit_decodes_it_at_every_width_and_the_button_undoes_it(codes):
    before = codes.read()
    assert before.numbers["units moved"] == "0"
    codes.press("unit 1", "End")
    after = codes.until(lambda now: now.remarks["units moved"] == "unit 1")
    assert changed(before, after) == [2, 3]
    assert after.numbers["MSE × 1000, own"] == before.numbers["MSE × 1000, own"]
    for number in ("MSE × 1000, moved", "change × 1000", "unit 1"):
        assert after.numbers[number] != before.numbers[number]
    # All widths have come: nobody is asked for another one.
    codes.press("code units", "ArrowLeft")
    narrower = codes.read()
    assert not narrower.busy
    assert changed(after, narrower) == [1, 2, 3]
    codes.press("code units", "ArrowRight")
    codes.press("unit 3", "ArrowLeft")
    codes.until(lambda now: now.remarks["units moved"] == "units 1 3")
    codes.root.get_by_role("button", name="Back to the image's own code").click()
    codes.until(lambda now: now == before)


def test_a_narrower_width_disables_the_units_beyond_it(codes):
    before = codes.read()
    assert not any(before.units)
    codes.press("code units", "Home")
    for width in (1, 2):
        narrow = codes.read()
        assert narrow.numbers["code units kept"] == f"{width}"
        assert narrow.units == [False] * width + [True] * (UNITS - width)
        beyond = {narrow.numbers[f"unit {unit}"] for unit in range(width + 1, UNITS + 1)}
        assert beyond == {"\N{EN DASH}"}
        codes.press("code units", "ArrowRight")
    codes.press("code units", "End")
    assert codes.read() == before
