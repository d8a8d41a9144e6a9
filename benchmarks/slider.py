"""How long a move of the quickstart's slider takes to reach the eye.

The instrument runs as it does for a person: JupyterLab, headless Chromium, a key press at a hand's
pace. The clock runs in the page, from the key press to the frame after picture and numbers changed.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.timing import Measurement
from tests.browser import instrument
from tests.browser.lab import find_chromium

_MOVES = 50


def browser() -> Iterator[Measurement]:
    """Move the slider by key presses in JupyterLab."""
    chromium = find_chromium()
    if chromium is None:
        raise RuntimeError("no Chromium found; install chromium (apt-get install chromium)")
    with (
        tempfile.TemporaryDirectory() as folder,
        instrument.quickstart(chromium, Path(folder)) as page,
    ):
        times = np.array(instrument.time_moves(page, _MOVES))
    what = f"slider key press to changed pixels in the browser, {_MOVES} moves"
    yield Measurement(f"{what}, median", times, 50, unit="ms", threads=0)
    yield Measurement(f"{what}, 95th percentile", times, 100, unit="ms", threads=0, percentile=95)
