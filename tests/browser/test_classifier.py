"""The classifier's notebook as a person meets it: the slider, a budget, a width taken home."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.browser import lab
from tests.notebooks import FOLDER, QUICK, data_beside, quick_copy

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

NOTEBOOK = "04_classifier_widths.ipynb"
STEPS = QUICK["04_classifier_widths"]["WIDTH"]
PIXELS, CLASSES = 784, 10
SHOWN = 15
PATIENCE = 300  # tenths of a second that a change may take on a busy machine

# In one go: read one after the other, some would be those of the move before.
READ = """
instrument => {
    const of = (selector, value) => [...instrument.querySelectorAll(selector)].map(value);
    return {
        slider: instrument.querySelector('.vsnn-width input[type=number]').value,
        numbers: Object.fromEntries(of('.vsnn-tiles [data-readout]',
            n => [n.dataset.readout, n.textContent])),
        captions: of('.vsnn-captioned figcaption', t => t.textContent),
        flips: of('.vsnn-flip', n => n).length,
        matrix: instrument.querySelector('.vsnn-matrix canvas').toDataURL(),
        pictures: of('.vsnn-captioned canvas', c => c.toDataURL()).join(),
        status: instrument.querySelector('.vsnn-status').textContent,
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
    """What the instrument shows: number by the slider, read-outs, captions, and so on."""

    slider: str
    numbers: dict[str, str]
    captions: list[str]
    flips: int
    matrix: str
    pictures: str
    status: str


class Explorer:
    """The live instrument, driven by keyboard."""

    def __init__(self, page, submodels: Path) -> None:
        self.page, self.submodels = page, submodels
        self.root = page.locator("[data-vsnn-instrument=classifier]")
        self.root.wait_for()
        self.slider = self.root.locator("input[type=range]")
        # Buttons are there once the kernel has answered.
        self.root.get_by_role("button", name="New images").wait_for()

    def read(self) -> Reading:
        return Reading(**self.root.evaluate(READ))

    def until(self, condition: Callable[[Reading], bool]) -> Reading:
        """Return the first reading that meets a condition; fail with the last after a while."""
        for _ in range(PATIENCE):
            reading = self.read()
            if condition(reading):
                return reading
            self.page.wait_for_timeout(100)
        raise AssertionError(f"it still shows {reading}")

    def press(self, key: str) -> Reading:
        """Press a key on the slider; return what is shown at once: no kernel is asked."""
        self.slider.press(key)
        reading = self.read()
        assert reading.slider == reading.numbers["width"]
        return reading

    def ask(self, kind: str, number: float) -> Reading:
        self.root.locator(".vsnn-budget select").select_option(kind)
        field = self.root.locator(".vsnn-budget input")
        field.fill(f"{number}")
        field.press("Enter")
        return self.read()


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
        yield Explorer(page, folder / "data" / "submodels")


def size(width: int) -> int:
    """Return the parameters of 784-w-w-10."""
    return (PIXELS + 1) * width + (width + 1) * width + (width + 1) * CLASSES


def test_the_whole_instrument_is_in_sight_beside_the_side_bar(explorer):
    explorer.page.keyboard.press("Control+b")
    explorer.page.locator("#jp-left-stack").wait_for()
    explorer.root.evaluate("root => root.scrollIntoView()")
    window = explorer.page.locator(".jp-WindowedPanel-outer").bounding_box()
    own = explorer.root.bounding_box()
    assert own["x"] + own["width"] <= window["x"] + window["width"]
    assert own["height"] <= window["height"]
    inside = explorer.root.evaluate(
        """root => {
            const own = root.getBoundingClientRect();
            return [...root.querySelectorAll('canvas, svg, input, button, select, dd')].every(
                each => each.getBoundingClientRect().right <= own.right + 1);
        }"""
    )
    assert inside
    explorer.page.keyboard.press("Control+b")


def test_arrow_keys_change_accuracy_parameters_predictions_and_matrix_together(explorer):
    full = explorer.press("End")
    assert full.numbers["flips vs full width"] == "0"
    assert full.flips == 0
    narrow = explorer.press("Home")
    for number in ("test accuracy", "against full width", "parameters", "MACs a sample"):
        assert narrow.numbers[number] != full.numbers[number]
    assert narrow.numbers["parameters"] == f"{size(1):,}"
    assert full.numbers["parameters"] == f"{size(STEPS):,}"
    assert narrow.captions != full.captions
    assert len(full.captions) == len(narrow.captions) == SHOWN
    assert narrow.flips > 0
    assert narrow.matrix != full.matrix
    assert narrow.pictures == full.pictures
    second = explorer.press("ArrowRight")
    assert second.numbers["parameters"] == f"{size(2):,}"
    assert explorer.press("End") == full


def test_a_budget_that_is_typed_moves_the_slider_to_the_right_width(explorer):
    there = explorer.ask("parameters", 10_000)
    largest = max(width for width in range(1, STEPS + 1) if size(width) <= 10_000)
    says = f"width {largest} of {STEPS}: the last with {size(largest):,} parameters, within 10,000"
    assert (there.slider, there.status) == (f"{largest}", says)
    after = explorer.ask("parameters", 100)
    assert f"width 1 comes nearest, with {size(1)} parameters" in after.status
    assert after.numbers == there.numbers


def test_a_goal_for_the_accuracy_moves_to_the_first_width_that_reaches_it(explorer):
    there = explorer.ask("accuracy", 60)
    width = int(re.match(r"width (\d+) of", there.status)[1])
    assert "the first to reach 60 %" in there.status
    assert there.slider == f"{width}"
    assert float(there.numbers["test accuracy"].split()[0]) >= 60
    for _ in range(width - 1):
        reading = explorer.press("ArrowLeft")
        assert float(reading.numbers["test accuracy"].split()[0]) < 60


def test_the_button_writes_a_file_that_loads_where_the_package_cannot_be_imported(explorer):
    explorer.press("Home")
    for _ in range(4):
        explorer.press("ArrowRight")
    explorer.root.get_by_role("button", name="Extract this width and save").click()
    said = explorer.until(lambda now: now.status.startswith("saved classifier-width-5.")).status
    assert "classifier-width-5.onnx" in said
    path = explorer.submodels / "classifier-width-5.safetensors"
    assert path.with_suffix(".onnx").is_file()
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE, path, "5"], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["(3, 10) False", "blocked"], done.stderr


def test_new_images_are_other_pictures_at_the_same_width(explorer):
    before = explorer.read()
    explorer.root.get_by_role("button", name="New images").click()
    after = explorer.until(lambda now: now.pictures != before.pictures)
    assert (after.slider, after.numbers) == (before.slider, before.numbers)
