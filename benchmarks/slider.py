"""How long a move of an instrument's slider takes to reach the eye.

The instruments run as they do for a person: headless Chromium, real key presses at a hand's pace.
The clock runs in the page, from the key press to the second animation frame after it; a press that
changed no picture or no number by then voids the run. A handler is the page's own work on a move.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np

from benchmarks.timing import Measurement
from tests.browser import lab
from tests.browser.instrument import Instrument, opened, quickstart
from vsnn_lab.headless.report import build_report

_THERE, _BACK = ["ArrowRight"] * 20, ["ArrowLeft"] * 20  # three of the five seconds of _BUSY
_MOVES = [*_THERE, *_BACK, *_THERE, *_BACK, *_THERE]
# Chunks of C that let no other thread of the kernel answer.
_BUSY = """
import time
end = time.monotonic() + 5
while time.monotonic() < end:
    sum(range(10**7))
"""
_CLASSIFIER = """
import torch
import torch.nn.functional as F
from vsnn_lab import MLP, Distilled, LogUniform, Width, data, explore, fit
shown, train = (data.load("fashion-mnist", part) for part in ("test", "train"))
hidden = Width(256)
torch.manual_seed(0)
model = MLP(784, (hidden, hidden), 10)
pairs = train.images[:6000].flatten(1), train.labels[:6000]
_ = fit(model, pairs, F.cross_entropy, recipe=Distilled(LogUniform()), epochs=1)
rows = {"inputs": shown.images.flatten(1), "class_names": shown.class_names}
explore.ClassifierExplorer(model, shown.images, shown.labels, **rows)
"""


def browser() -> Iterator[Measurement]:
    """Move sliders by key presses: in JupyterLab, beside a busy kernel, in a report."""
    chromium = lab.find_chromium()
    if chromium is None:
        raise RuntimeError("no Chromium found; install chromium (apt-get install chromium)")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with quickstart(chromium, folder, cells=[_BUSY]) as page:
            yield from _measure("quickstart", [_times(page, _MOVES)])
            busy = [
                _times_beside_busy_kernel(page, moves) for moves in 2 * (_THERE, _BACK) + (_THERE,)
            ]
            yield from _measure("quickstart beside a busy kernel", busy)
            lab.command(page, "docmanager:save")
        with _report_page(chromium, folder / "00_quickstart.ipynb") as page:
            yield from _measure("quickstart in a report", [_times(page, _MOVES)])
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "classifier.ipynb"
        nbformat.write(lab.new_notebook([_CLASSIFIER]), path)
        with opened(chromium, path.parent, path.name) as page:
            what = "classifier, 256 widths, 10,000 images"
            yield from _measure(what, [_times(page, _MOVES)])


def _times(page, moves: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Move the last instrument of a page; return what the presses took."""
    return _at_the_start(page, moves).time_moves(moves)


def _at_the_start(page, moves: Sequence[str]) -> Instrument:
    one = Instrument.last(page)
    one.press("Home" if moves[0] == "ArrowRight" else "End")
    page.wait_for_timeout(1000)  # until whatever the page still does at rest is done
    return one


def _times_beside_busy_kernel(page, moves: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    one, cell = _at_the_start(page, moves), page.locator(".jp-CodeCell").last
    lab.start_cell(cell)
    times = one.time_moves(moves)
    if "*" not in cell.locator(".jp-InputPrompt").inner_text():
        raise RuntimeError("the kernel was no longer busy at the last move")
    lab.wait_until_idle(page)
    return times


@contextmanager
def _report_page(chromium: str, notebook: Path) -> Iterator:
    build_report([notebook], notebook.parent / "site")
    with lab.browser_page(chromium, offline=True) as page:
        page.goto((notebook.parent / "site" / f"{notebook.stem}.html").as_uri())
        yield page


def _measure(what: str, times: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[Measurement]:
    frames, handlers = (np.concatenate(each) for each in zip(*times, strict=True))
    told = f"{what}: key press to second frame, {len(frames)} moves"
    yield Measurement(f"{told}, median", frames, 25, unit="ms", threads=0)
    yield Measurement(f"{told}, 95th percentile", frames, 34, unit="ms", threads=0, percentile=95)
    handler = f"{what}: handler of a move, 95th percentile"
    yield Measurement(handler, handlers, 3, unit="ms", threads=0, percentile=95)
