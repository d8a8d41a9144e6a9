"""The classifier's instrument in a report, where no kernel runs."""

import nbformat
import numpy as np
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.browser import lab
from vsnn_lab import MLP, Width
from vsnn_lab.explore import ClassifierExplorer
from vsnn_lab.explore.portable import portable_html
from vsnn_lab.headless.report import build_report

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

NAMES = ["left", "right", "<b>up</b>", "down"]
# What a page without a kernel shows, the matrix as the opacity of its cells.
REPORTED = """
instrument => {
    const matrix = instrument.querySelector('.vsnn-matrix canvas');
    const { data } = matrix.getContext('2d').getImageData(0, 0, matrix.width, matrix.height);
    return {
        captions: [...instrument.querySelectorAll('.vsnn-captioned figure')].map(
            each => [each.innerText.trim().split('\\n'), each.classList.contains('vsnn-flip')]),
        matrix: [...data].filter((_, i) => i % 4 === 3),
        numbers: Object.fromEntries([...instrument.querySelectorAll('.vsnn-tiles [data-readout]')]
            .map(number => [number.dataset.readout, number.innerText])),
    };
}
"""


def expected(explorer, width: int) -> dict:
    """Return what a page should show, from what was predicted."""
    said, full = (explorer.predictions[at - 1][explorer.chosen] for at in (width, 8))
    captions = []
    for one, true, last in zip(said, explorer.labels[explorer.chosen], full, strict=True):
        right, name = one == true, NAMES[one]
        captions.append([[name] if right else [f"✗ {name}", f"({NAMES[true]})"], bool(one != last)])
    counts = np.zeros((4, 4))
    for one, true in zip(explorer.predictions[width - 1], explorer.labels, strict=True):
        counts[true, one] += 1
    shares = counts / counts.sum(1, keepdims=True)
    tiles = explorer.description["parts"][3]["items"]
    return {
        "captions": captions,
        "matrix": np.sqrt(shares).ravel() * 255,
        "numbers": {item["name"]: item["values"][width - 1] for item in tiles},
    }


def test_in_a_report_the_slider_moves_predictions_matrix_and_read_outs(chromium, tmp_path):
    hidden, images = Width(8), torch.rand(60, 1, 6, 5)
    model, labels = MLP(30, (hidden, hidden), 4), torch.arange(60) % 4
    explorer = ClassifierExplorer(
        model, images, labels, inputs=images.flatten(1), class_names=NAMES, plain=0.5
    )
    shown = new_output("display_data", {"text/html": portable_html(explorer)})
    path = tmp_path / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("explorer", outputs=[shown])]), path)
    build_report([path], tmp_path / "site")
    with lab.browser_page(chromium) as page:
        page.goto((tmp_path / "site" / "one.html").as_uri())
        instrument = page.locator("[data-vsnn-instrument=classifier]")
        slider = instrument.locator("input[type=range]")
        slider.focus()
        # Every width is reached twice, from either side.
        for key, widths in (("ArrowLeft", range(7, 0, -1)), ("ArrowRight", range(2, 9))):
            for width in widths:
                slider.press(key)
                found, wanted = instrument.evaluate(REPORTED), expected(explorer, width)
                np.testing.assert_allclose(found.pop("matrix"), wanted.pop("matrix"), atol=1)
                assert found == wanted
