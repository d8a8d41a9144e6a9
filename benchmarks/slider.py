"""How long a move of the quickstart's slider takes to reach the eye: `make bench`.

The instrument runs as it does for a person: JupyterLab, headless Chromium, a key press at a hand's
pace. The clock runs in the page, from the key press to the frame after picture and numbers changed.
"""

import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

from tests.browser import instrument
from tests.browser.lab import find_chromium

MOVES = 20
TARGET = 100  # milliseconds, median


def main() -> int:
    """Measure, print one line, and return 1 if the target is missed."""
    chromium = find_chromium()
    if chromium is None:
        print("no Chromium found; install chromium (apt-get install chromium)", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory() as folder,
        instrument.quickstart(chromium, Path(folder)) as page,
    ):
        times = sorted(instrument.time_moves(page, MOVES))
    median = statistics.median(times)
    met = median <= TARGET
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        f"slider to changed pixels, {MOVES} moves: median {median:.0f} ms, "
        f"{times[0]:.0f} to {times[-1]:.0f} ms; target {TARGET} ms: {'met' if met else 'missed'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
