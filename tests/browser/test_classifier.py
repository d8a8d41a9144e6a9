"""The classifier's notebook as a person meets it: the slider, a budget, a width taken home."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browser import instrument, lab
from tests.notebooks import FOLDER, QUICK, data_beside, quick_copy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

NOTEBOOK = "04_classifier_widths.ipynb"
STEPS = QUICK["04_classifier_widths"]["WIDTH"]
PIXELS, CLASSES = 784, 10
SHOWN = 15
PATIENCE = 300  # tenths of a second that a change may take on a busy machine

# In one go: read one after the other, some would be those of the move before.
READ = """
cell => {
    const of = (selector, value) => [...cell.querySelectorAll(selector)].map(value);
    const heat = cell.querySelector('.heatmaplayer image');
    const image = cell.querySelector('.imagelayer image');
    const href = found => found
        ? found.getAttribute('href') || found.getAttribute('xlink:href') : '';
    return {
        slider: cell.querySelector('.widget-readout').textContent,
        numbers: Object.fromEntries(of('[data-readout]',
            n => [n.getAttribute('data-readout'), n.textContent])),
        captions: of('.scatterlayer .textpoint text', t => t.textContent),
        matrix: href(heat),
        pictures: href(image),
        budget: cell.querySelector('.widget-text input').value,
    };
}
"""
# In a process that cannot import the package: it would raise if anything asked for it.
ELSEWHERE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "vsnn_lab":
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
import torch
from safetensors.torch import load_file
from torch import nn
width = int(sys.argv[2])
net = nn.Sequential(
    nn.Linear(784, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10)
)
net.load_state_dict(load_file(sys.argv[1]))
print(tuple(net(torch.rand(3, 784)).shape), "vsnn_lab" in sys.modules)
try:
    import vsnn_lab
except ImportError:
    print("blocked")
"""


@dataclass(frozen=True)
class Reading:
    """What the instrument shows: number beside the slider, read-outs, captions, pictures."""

    slider: str
    numbers: dict[str, str]
    captions: list[str]
    matrix: str
    pictures: str
    budget: str

    @property
    def said(self) -> list[str]:
        """What the samples are taken for, and nothing of what is hidden."""
        return [caption for caption in self.captions if caption.strip() not in ("", "⇄")]

    @property
    def at_one_width(self) -> bool:
        """Whether slider and read-outs agree, and the figure is drawn."""
        return self.slider == self.numbers.get("width") and bool(self.matrix and self.said)


class Explorer:
    """The live instrument, driven by keyboard."""

    def __init__(self, page, submodels: Path) -> None:
        self.page, self.submodels = page, submodels
        self.cell = page.locator(".jp-CodeCell:has(.noUi-handle)")
        self.cell.evaluate("cell => cell.querySelector('.jp-Cell-outputWrapper').scrollIntoView()")
        self.until(lambda now: now.at_one_width)

    def read(self) -> Reading:
        return Reading(**self.cell.evaluate(READ))

    def until(self, condition: Callable[[Reading], bool]) -> Reading:
        """Return the first reading that meets a condition; fail with the last after a while."""
        for _ in range(PATIENCE):
            reading = self.read()
            if condition(reading):
                return reading
            self.page.wait_for_timeout(100)
        raise AssertionError(f"it still shows {reading}")

    def at(self, width: int, before: Reading | None = None) -> Reading:
        """Wait until everything shows a width; the marks of ``before`` are gone by then."""
        return self.until(
            lambda now: (
                now.at_one_width
                and now.slider == f"{width}"
                and (before is None or now.matrix != before.matrix)
            )
        )

    def press(self, key: str) -> None:
        self.cell.locator(".noUi-handle").focus()
        self.page.keyboard.press(key)

    def choose(self, kind: str, before: Reading) -> None:
        """Choose a kind of budget; wait for the number that the kernel starts it with."""
        self.cell.locator("select").select_option(kind)
        self.until(lambda now: now.budget != before.budget)

    def ask(self, number: float) -> None:
        field = self.cell.locator(".widget-text input")
        field.fill(f"{number}")
        field.press("Enter")

    def told(self, text: str) -> str:
        """Wait for the status line to say something; return all that it says."""
        line = self.cell.get_by_text(text)
        line.wait_for()
        return line.inner_text()


@pytest.fixture(scope="module")
def explorer(chromium, tmp_path_factory):
    """The instrument of the notebook, run in the quick profile."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "data").mkdir()
    quick_copy(FOLDER / NOTEBOOK, folder)
    served = lab.serve(folder, data_beside(folder / "data"))
    with served as address, lab.browser_page(chromium) as page:
        lab.open_notebook(page, address.format(NOTEBOOK))
        lab.run_all(page)
        page.locator(instrument.HANDLE).first.wait_for()
        yield Explorer(page, folder / "data" / "submodels")


def size(width: int) -> int:
    """Return the parameters of 784-w-w-10."""
    return (PIXELS + 1) * width + (width + 1) * width + (width + 1) * CLASSES


def test_the_whole_instrument_is_in_sight_at_1280_by_800(explorer):
    window = explorer.page.locator(".jp-WindowedPanel-outer").bounding_box()
    output = explorer.cell.locator(".jp-Cell-outputWrapper").bounding_box()
    assert output["y"] >= window["y"] - 1
    assert output["y"] + output["height"] <= window["y"] + window["height"] + 1
    for part in (".noUi-target", ".js-plotly-plot", "[data-readout]", ".widget-button", "select"):
        for each in explorer.cell.locator(f".jp-OutputArea-output {part}").all():
            place = each.bounding_box()
            assert place["x"] + place["width"] <= output["x"] + output["width"]
            assert place["y"] + place["height"] <= output["y"] + output["height"]


def test_no_text_of_the_figure_leaves_it_and_no_caption_covers_another(explorer):
    boxes = explorer.cell.evaluate(
        """cell => {
            const rect = found => {
                const r = found.getBoundingClientRect();
                return [r.left, r.top, r.right, r.bottom];
            };
            const plot = cell.querySelector('.js-plotly-plot');
            const of = selector => [...plot.querySelectorAll(selector)].map(rect);
            return [rect(plot), of('text'), of('.scatterlayer .textpoint text')];
        }"""
    )
    (left, top, right, bottom), texts, captions = boxes
    for x0, y0, x1, y1 in texts:
        assert left - 1 <= x0 <= x1 <= right + 1
        assert top - 1 <= y0 <= y1 <= bottom + 1
    # The arrows of a disc lie over a picture's corner, and have one letter.
    words = sorted(box for box in captions if box[2] - box[0] > 20)
    for index, one in enumerate(words):
        for other in words[:index]:
            aside = one[0] >= other[2] - 1 or other[0] >= one[2] - 1
            assert aside or one[1] >= other[3] - 1 or other[1] >= one[3] - 1


def test_arrow_keys_change_accuracy_parameters_predictions_and_matrix_together(explorer):
    explorer.press("End")
    full = explorer.at(STEPS)
    assert full.numbers["flips vs full width"] == "0"
    assert "⇄" not in full.captions
    explorer.press("Home")
    narrow = explorer.at(1, full)
    for number in ("test accuracy", "against full width", "parameters", "MACs a sample"):
        assert narrow.numbers[number] != full.numbers[number]
    assert narrow.numbers["parameters"] == f"{size(1):,}"
    assert full.numbers["parameters"] == f"{size(STEPS):,}"
    assert narrow.captions != full.captions
    # Plotly hides a text for good in more ways than one.
    assert len(full.said) == len(narrow.said) == SHOWN
    assert "⇄" in narrow.captions
    assert narrow.pictures == full.pictures
    explorer.press("ArrowRight")
    second = explorer.at(2, narrow)
    assert second.numbers["parameters"] == f"{size(2):,}"
    explorer.press("End")
    explorer.until(
        lambda now: (
            now.numbers == full.numbers
            and sorted(now.said) == sorted(full.said)
            and "⇄" not in now.captions
        )
    )


def test_a_budget_that_is_typed_moves_the_slider_to_the_right_width(explorer):
    before = explorer.read()
    explorer.ask(10_000)
    largest = max(width for width in range(1, STEPS + 1) if size(width) <= 10_000)
    explorer.told(f"width {largest} of {STEPS}: the last with {size(largest):,} parameters")
    there = explorer.at(largest, before)
    explorer.ask(100)
    said = explorer.told("no width meets max_parameters=100")
    assert f"width 1 comes nearest, with {size(1)} parameters" in said
    assert explorer.read().numbers == there.numbers


def test_a_goal_for_the_accuracy_moves_to_the_first_width_that_reaches_it(explorer):
    before = explorer.read()
    explorer.choose("accuracy in %, at least", before)
    explorer.ask(60)
    said = explorer.told("the first to reach 60 %")
    width = int(re.match(r"width (\d+) of", said)[1])
    there = explorer.at(width)
    assert float(there.numbers["test accuracy"].split()[0]) >= 60
    for narrower in range(width - 1, 0, -1):
        explorer.press("ArrowLeft")
        reading = explorer.at(narrower)
        assert float(reading.numbers["test accuracy"].split()[0]) < 60


def test_the_button_writes_a_file_that_loads_where_the_package_cannot_be_imported(explorer):
    explorer.press("Home")
    explorer.at(1)
    for width in range(2, 6):
        explorer.press("ArrowRight")
        explorer.at(width)
    explorer.cell.get_by_role("button", name="Extract this width and save").click()
    said = explorer.told("saved classifier-width-5.safetensors")
    assert "classifier-width-5.onnx" in said
    path = explorer.submodels / "classifier-width-5.safetensors"
    assert path.with_suffix(".onnx").is_file()
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, path, "5"], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["(3, 10) False", "blocked"], done.stderr


def test_new_images_are_other_pictures_at_the_same_width(explorer):
    before = explorer.read()
    explorer.cell.get_by_role("button", name="New images").click()
    after = explorer.until(lambda now: now.pictures not in ("", before.pictures))
    assert (after.slider, after.numbers) == (before.slider, before.numbers)
