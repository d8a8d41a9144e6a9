"""papermill's engine with two habits of our own; loading it loads papermill, which is slow."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nbformat.v4 import new_code_cell
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from papermill.log import logger

from vsnn_lab._basics.threads import spin_count
from vsnn_lab.headless.runs.execute import OnCell
from vsnn_lab.headless.runs.output_folder import OUTPUT_VARIABLE

NAME, _CELL_ID = "vsnn_lab", "every-slider-moved"
# A notebook that has loaded no widgets has none to move.
_MOVE_SLIDERS = """import sys

if "ipywidgets" in sys.modules:
    from vsnn_lab.explore.move_every_slider import move_every_slider

    move_every_slider()"""
_START_TIMEOUT = 300  # seconds that a kernel may take to start, on a machine with much else to do
_REPORT_INTERVAL = 0.5  # seconds


class _Engine(Engine):
    """papermill's own engine, which reports progress and moves the sliders at the end."""

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: NotebookExecutionManager,
        kernel_name: str,
        on_cell: OnCell | None = None,
        exercise: bool = True,
        files: Path | None = None,
        **_: Any,
    ) -> None:
        cells = nb_man.nb.cells
        if exercise:
            cells.append(new_code_cell(_MOVE_SLIDERS, id=_CELL_ID))
            # As papermill gives every cell that it loads.
            cells[-1].metadata["papermill"] = {"status": NotebookExecutionManager.PENDING}
        client = _Client(
            nb_man,
            kernel_name=kernel_name,
            startup_timeout=_START_TIMEOUT,
            # A kernel warns of listening on this machine, and tells of being interrupted.
            extra_arguments=["--log-level=CRITICAL"],
            log=logger,
        )
        if on_cell is not None:
            client.report_progress = lambda done: on_cell(done, len(cells))
            complete = nb_man.cell_complete

            def complete_and_report(cell: Any, cell_index: int, **options: Any) -> None:
                complete(cell, cell_index, **options)
                on_cell(cell_index + 1, len(cells))

            nb_man.cell_complete = complete_and_report
        try:
            place = {} if files is None else {OUTPUT_VARIABLE: str(files)}
            client.execute(env=os.environ | spin_count(os.environ) | place)
        finally:
            # One whose callback failed stays, to be shown.
            if exercise and not any(out.output_type == "error" for out in cells[-1].outputs):
                cells.pop()


class _Client(PapermillNotebookClient):
    """papermill's client; it starts a kernel twice, and looks at the bars that a cell shows."""

    report_progress: Callable[[float], None] | None = None
    _reported_at = 0.0

    def start_new_kernel(self, **options: Any) -> None:
        """Start the kernel, and keep how."""
        self._options = options
        super().start_new_kernel(**options)

    def start_new_kernel_client(self) -> Any:
        """Reach the kernel; if it died at its start, start another.

        Between the choice of its ports and its use of them any other program may take one.
        """
        try:
            return super().start_new_kernel_client()
        except RuntimeError as error:
            if "died" not in str(error):
                raise
        self.km = self.create_kernel_manager()
        self.start_new_kernel(**self._options)
        return super().start_new_kernel_client()

    def handle_comm_msg(self, outs: list[Any], msg: dict[str, Any], cell_index: int) -> None:
        """Take in a widget's message, and report how far a bar is."""
        super().handle_comm_msg(outs, msg, cell_index)
        bar = self.widget_state.get(msg["content"]["comm_id"], {})
        if self.report_progress is None or bar.get("_model_name") != "FloatProgressModel":
            return
        now, share = time.monotonic(), bar["value"] / max(bar["max"], 1e-9)
        # A bar that is full may be the first of many; only the cell's end completes it.
        if now - self._reported_at >= _REPORT_INTERVAL and 0 < share < 1:
            self._reported_at = now
            self.report_progress(cell_index + share)


papermill_engines.register(NAME, _Engine)
