"""Execute a run and keep it: once, whole, or not at all."""

import json
import os
import platform
import shutil
import subprocess
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from vsnn_lab._basics.checks import short_repr
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.headless.runs.execute import OnCell, run_notebook
from vsnn_lab.headless.runs.folder import (
    FILES,
    NOTEBOOK,
    PART,
    RECORD,
    RESULTS,
    Run,
    write_record,
)
from vsnn_lab.headless.runs.results import recorded_metrics, recorded_values

_PACKAGES = ("torch", "numpy", "vsnn-lab")


def keep(
    run: Run, *, again: bool = False, progress: bool = True, on_cell: OnCell | None = None
) -> dict[str, Any]:
    """Execute a run, unless it is there already, and return what is recorded of it.

    Its folder holds the executed notebook, the results that it recorded (``results.json``), what it
    wrote to its `output_folder` (``files``), and ``run.json``: parameters, versions, git commit,
    seed, timings and the hashes of notebook and results. That file is written last: a run that was
    killed has none, and is executed again. A second process that asks for the same run waits for
    the first.

    Args:
        run: What to execute.
        again: Execute it even if its results are there.
        progress: Show a bar over the cells.
        on_cell: As in `run_notebook`.

    Raises:
        TypeError: If ``run`` is none.
        papermill.PapermillExecutionError: If a cell or a widget's callback failed; that is
            recorded, and the next call tries again.
        nbclient.exceptions.DeadKernelError: If the kernel died; that is recorded, too.
        ValueError: If the notebook was edited since the run was made or names no kernel that is
            installed, or a kept file is damaged.
    """
    if not isinstance(run, Run):
        raise TypeError(
            f"run must be a run, got {short_repr(run)}; Run.of(notebook, parameters) makes one"
        )
    with run.lock():
        if not again and run.state == "done":
            return run.read()
        if run.edited:
            raise ValueError(
                f"run must be of code as it is now, got {run.notebook}: it or vsnn_lab was edited"
            )
        (run.folder / RECORD).unlink(missing_ok=True)
        _execute(run, progress, on_cell)
        return run.read()


def _execute(run: Run, progress: bool, on_cell: OnCell | None) -> None:
    from nbclient.exceptions import DeadKernelError
    from papermill import PapermillExecutionError

    part, started, clock = run.folder / PART, datetime.now(UTC), time.perf_counter()
    error, seed = None, run.parameters.get("SEED")
    record: dict[str, Any] = {
        "notebook": run.notebook.stem,
        "parameters": run.parameters,
        "started": started.isoformat(timespec="seconds"),
        "versions": {
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{name: version(name) for name in _PACKAGES},
        },
        "commit": _git_commit(run.notebook.parent),
        "seed": seed if isinstance(seed, int) else None,
        "failure": None,
    }
    # What an earlier execution wrote is none of this one's.
    shutil.rmtree(run.folder / FILES, ignore_errors=True)
    try:
        run_notebook(
            run.notebook,
            part,
            run.parameters,
            progress=progress,
            on_cell=on_cell,
            files=run.folder / FILES,
        )
    except PapermillExecutionError as failed:
        error = failed
        message = f"{failed.ename}: {failed.evalue}"
        record["failure"] = {"cell": failed.exec_count, "source": failed.source, "error": message}
    except DeadKernelError as died:
        error = died
        record["failure"] = {"cell": None, "source": "", "error": f"DeadKernelError: {died}"}
    record["state"] = "done" if error is None else "failed"
    record |= {"seconds": time.perf_counter() - clock, "cells": _cell_seconds(part)}
    values = {} if error else recorded_values(part)
    record["metrics"] = {} if error else recorded_metrics(part)
    with atomic_write(run.folder / RESULTS) as text:
        text.write_text(json.dumps(values, indent=1), encoding="utf-8")
    os.replace(part, run.folder / NOTEBOOK)
    write_record(run.folder, record, [NOTEBOOK, RESULTS])
    if error is not None:
        raise error


def _cell_seconds(notebook: Path) -> dict[str, float]:
    """Return the seconds of each code cell, by its id."""
    import nbformat

    found = {}
    for cell in nbformat.read(notebook, 4).cells:
        seconds = cell.metadata.get("papermill", {}).get("duration")
        if cell.cell_type == "code" and seconds is not None:
            found[cell.id] = float(seconds)
    return found


def _git_commit(folder: Path) -> str | None:
    """Return the git commit of a folder, with a + where something is not committed."""
    try:
        commit, changed = (
            subprocess.run(["git", "-C", str(folder), *command], capture_output=True, check=True)
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.decode().strip() + ("+" if changed.stdout.strip() else "")
