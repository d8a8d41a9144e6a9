"""papermill's engine with two habits of our own; loading it loads papermill, which is slow."""

from collections.abc import Callable
from typing import Any

from papermill.engines import NBClientEngine, NotebookExecutionManager, papermill_engines

NAME, _EXERCISE = "vsnn_lab", "every-slider-moved"
# A notebook that has loaded no widgets has none to move.
_MOVE = """import sys

if "ipywidgets" in sys.modules:
    from vsnn_lab.explore.exercise import move_every_slider

    move_every_slider()"""
_START = 300  # seconds that a kernel may take to start, on a machine with much else to do


class _Engine(NBClientEngine):
    """papermill's own engine, which tells how far it is and moves the sliders at the end."""

    @classmethod
    def execute_managed_notebook(cls, nb_man, kernel_name, on_cell=None, exercise=True, **kwargs):
        cells = nb_man.nb.cells
        if exercise:
            cells.append(_moving_cell())
        if on_cell is not None:
            nb_man.cell_complete = _telling(nb_man.cell_complete, on_cell, len(cells))
        # A kernel warns of listening on this machine, and tells of being interrupted.
        options = {"extra_arguments": ["--log-level=CRITICAL"], "start_timeout": _START}
        try:
            super().execute_managed_notebook(nb_man, kernel_name, **kwargs | options)
        finally:
            # One whose callback failed stays, to be shown.
            if exercise and not any(out.output_type == "error" for out in cells[-1].outputs):
                cells.pop()


def _moving_cell() -> Any:
    from nbformat.v4 import new_code_cell

    cell = new_code_cell(_MOVE, id=_EXERCISE)
    # As papermill gives every cell that it loads.
    cell.metadata["papermill"] = {"status": NotebookExecutionManager.PENDING}
    return cell


def _telling(complete: Callable, on_cell: Callable[[int, int], None], cells: int) -> Callable:
    """Return papermill's own word on a cell's end, passed on."""

    def told(cell, cell_index=None, **options):
        complete(cell, cell_index, **options)
        on_cell(cell_index + 1, cells)

    return told


papermill_engines.register(NAME, _Engine)
