"""The classifier's instrument in a report, where no kernel runs."""

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.browser import lab
from vsnn_lab import MLP, Width
from vsnn_lab.explore import ClassifierExplorer
from vsnn_lab.explore.instrument import MIME, instrument_data
from vsnn_lab.headless.report import build_report

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]

# What a page without a kernel shows: captions, discs, marker and matrix as Plotly holds them and as
# they are drawn, and the read-outs.
REPORTED = """
() => {
    const instrument = document.querySelector('[data-instrument]');
    const plot = instrument.querySelector('.js-plotly-plot');
    return {
        captions: [...plot.querySelectorAll('.scatterlayer .textpoint text')].map(
            t => t.textContent.trim()).filter(text => text),
        marker: [...plot.data.at(-1).x],
        matrix: plot.data[5].z.map(row => [...row]),
        numbers: Object.fromEntries([...instrument.querySelectorAll('[data-readout]')].map(
            item => [item.dataset.readout, item.innerText])),
    };
}
"""


def untrained():
    """An instrument of few widths, whose predictions change at each."""
    hidden, images = Width(8), torch.rand(60, 1, 6, 5)
    model = MLP(30, (hidden, hidden), 4)
    labels = torch.arange(60) % 4
    return ClassifierExplorer(model, images, labels, inputs=images.flatten(1), plain=0.5)


def captions_of(explorer) -> list[str]:
    """List what a page should show, Plotly's line breaks taken out."""
    texts = [text for trace in explorer.figure.data[2:5] for text in trace.text]
    return sorted(text.replace("<br>", "") for text in texts if text.strip())


def test_in_a_report_the_slider_moves_predictions_matrix_and_read_outs(chromium, tmp_path):
    explorer = untrained()
    told = new_output("display_data", {"text/plain": "explorer", MIME: instrument_data(explorer)})
    path = tmp_path / "one.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("explorer", outputs=[told])]), path)
    build_report([path], tmp_path / "site")
    with lab.browser_page(chromium) as page:
        page.goto((tmp_path / "site" / "one.html").as_uri())
        page.wait_for_selector("[data-instrument][data-ready]")
        # Every width is reached twice, from either side: a text that was hidden has to come back.
        for key, widths in (("ArrowLeft", range(7, 0, -1)), ("ArrowRight", range(2, 9))):
            for width in widths:
                page.locator("[data-instrument] input").focus()
                page.keyboard.press(key)
                page.wait_for_function(
                    "w => document.querySelector('.js-plotly-plot').data.at(-1).x[0] === w",
                    arg=width,
                )
                explorer.slider.value = width
                found = page.evaluate(REPORTED)
                assert sorted(found["captions"]) == captions_of(explorer)
                assert found["marker"] == [width, width]
                assert found["matrix"] == [list(row) for row in explorer.figure.data[5].z]
                told = {name: number for name, (number, _) in explorer.read_out(width).items()}
                assert found["numbers"] == told
