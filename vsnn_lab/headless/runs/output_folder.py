"""Where a notebook puts the files that it writes: each run of it has a folder of its own."""

import functools
import os
import tempfile
from datetime import datetime
from pathlib import Path

from vsnn_lab.data import data_root

OUTPUT_VARIABLE = "VSNN_LAB_OUTPUT"  # in the environment of a kernel: the folder of its run


def output_folder() -> Path:
    """Return the folder for the files that a notebook writes, which no other run shares.

    A run that is kept has it in its own folder, as ``files``; `run_notebook` puts it beside the
    executed notebook. Elsewhere, as in JupyterLab, each process has one in ``outputs`` among the
    data, named by the time at which it was first asked for.

    Example:
        >>> path = output_folder() / "classifier.safetensors"  # doctest: +SKIP
    """
    told = os.environ.get(OUTPUT_VARIABLE)
    folder = Path(told).absolute() if told else _folder_of_process(os.getpid(), data_root())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@functools.cache
def _folder_of_process(process: int, root: Path) -> Path:
    """Make a folder; a process that was forked has another, and so has one with other data."""
    outputs = root / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{datetime.now():%Y-%m-%d_%H-%M-%S}-", dir=outputs))
