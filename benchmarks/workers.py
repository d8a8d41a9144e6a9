"""How much faster a sweep is with two workers than with one: `make bench`.

Each run is notebook 02 in its quick profile with a seed of its own, and each worker has one thread.
Both sweeps start from nothing and hold all that a person waits for, workers' starts included.
"""

import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from tests.notebooks import FOLDER, QUICK, data_beside

RUNS = 8
TARGET = 0.7  # of the time that one worker takes
NOTEBOOK = FOLDER / "02_match_static_network.ipynb"


def seconds(workers: int, folder: Path, count: int = RUNS) -> float:
    """Return how long the runs take, from an empty folder."""
    from vsnn_lab.runs import Run
    from vsnn_lab.sweeps import grid, sweep

    runs = [
        Run.of(NOTEBOOK, QUICK[NOTEBOOK.stem] | each, folder)
        for each in grid({"SEED": range(count)})
    ]
    start = time.perf_counter()
    for outcome in sweep(runs, workers=workers):
        if outcome.state != "done":
            raise RuntimeError(f"a run {outcome.state}: {outcome.error}")
    return time.perf_counter() - start


def main() -> int:
    """Measure, print one line, and return 1 if the target is missed."""
    # The share of a worker is what a worker alone has, too.
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").mkdir()
        os.environ["VSNN_LAB_DATA"] = str(data_beside(Path(folder) / "data"))
        seconds(1, Path(folder) / "warm", count=1)  # else the first sweep alone reads from the disk
        one, two = (seconds(workers, Path(folder) / f"runs-{workers}") for workers in (1, 2))
    met = two <= TARGET * one
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(
        f"sweep of {RUNS} quick runs: {one:.0f} s with one worker, {two:.0f} s with two, "
        f"{two / one:.2f} of it; target {TARGET}: {'met' if met else 'missed'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
