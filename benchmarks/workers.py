"""How much faster a sweep is with two workers than with one.

Each run is notebook 02 in its quick profile with a seed of its own, and each worker has one thread.
Both sweeps start from nothing and hold all that a person waits for, workers' starts included.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np

from benchmarks.timing import Measurement
from tests.notebooks import FOLDER, QUICK, data_beside

_RUNS = 8
_NOTEBOOK = FOLDER / "02_match_static_network.ipynb"


def workers() -> Iterator[Measurement]:
    """Run quick notebooks with one worker, then with two."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data").mkdir()
        data = str(data_beside(Path(folder) / "data"))
        # The share of a worker is what a worker alone has, too.
        with patch.dict(os.environ, OMP_NUM_THREADS="1", VSNN_LAB_DATA=data):
            _seconds(1, Path(folder) / "warm", 1)  # else the first sweep alone reads from the disk
            one, two = (_seconds(count, Path(folder) / f"runs-{count}", _RUNS) for count in (1, 2))
    what = f"a sweep of {_RUNS} quick runs with two workers, over one worker"
    yield Measurement(what, np.array([two / one]), 0.7)


def _seconds(workers: int, folder: Path, count: int) -> float:
    """Return how long the runs take, from an empty folder."""
    from vsnn_lab.headless.runs import Run
    from vsnn_lab.headless.sweeps import grid, sweep

    runs = [
        Run.of(_NOTEBOOK, QUICK[_NOTEBOOK.stem] | each, folder)
        for each in grid({"SEED": range(count)})
    ]
    start = time.perf_counter()
    for outcome in sweep(runs, workers=workers):
        if outcome.state != "done":
            raise RuntimeError(f"a run {outcome.state}: {outcome.error}")
    return time.perf_counter() - start
