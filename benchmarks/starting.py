"""What one waits for: the import, and the kernel's answer to a move of the slider."""

import json
import subprocess
import sys
from collections.abc import Iterator

import nbformat
import numpy as np
from nbclient import NotebookClient

from benchmarks.timing import Measurement

# Rounds of milliseconds, one for each width.
_CALLBACK = """
import json, time, torch
from vsnn_lab import Autoencoder, Width
from vsnn_lab.explore import AutoencoderExplorer

torch.set_num_threads(1)
images = torch.rand(16, 1, 28, 28)
explorer = AutoencoderExplorer(Autoencoder((1, 28, 28), Width(32)), images, shown=16)

def moved(width):
    start = time.perf_counter()
    explorer.width = width
    return 1e3 * (time.perf_counter() - start)

print(json.dumps([[moved(width) for width in range(1, 33)] for _ in range(10)][1:]))
"""
_IMPORT = """
import torch, time
start = time.perf_counter()
import vsnn_lab
print(1e3 * (time.perf_counter() - start))
"""


def importing() -> Iterator[Measurement]:
    """Import the package where torch is there already, each time in a process of its own."""
    times = [
        float(subprocess.run([sys.executable, "-c", _IMPORT], check=True, stdout=-1).stdout)
        for _ in range(9)
    ]
    what = "import vsnn_lab beyond import torch"
    yield Measurement(what, np.array(times), 60, unit="ms", threads=0)


def callback() -> Iterator[Measurement]:
    """Move the slider of an autoencoder of 16 images to every width, in a kernel."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_CALLBACK)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    said = "".join(each.text for each in notebook.cells[0].outputs if each.output_type == "stream")
    times = np.array(json.loads(said.splitlines()[-1]))
    what = "slider callback in the kernel, 16 images, the slowest of 32 widths"
    yield Measurement(what, times[:, np.median(times, 0).argmax()], 10, unit="ms")
