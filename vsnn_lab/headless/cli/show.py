"""What a terminal shows of runs: bars while they go, results and failures when they end."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vsnn_lab.headless import runs
from vsnn_lab.headless.cli.arguments import split_pairs
from vsnn_lab.headless.runs import Run, notebooks_folder
from vsnn_lab.headless.runs.folder import PART
from vsnn_lab.headless.runs.notebooks import load_notebook
from vsnn_lab.headless.runs.results import is_scalar, result_text

out, err = Console(highlight=False), Console(stderr=True, highlight=False)


def progress_bars() -> Progress:
    """Return bars that go when they are done, so that a log holds what ended."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=err,
        transient=True,
    )


def run_label(run: Run, grid: list[str] | None) -> str:
    """Return the notebook and the parameters that tell one run of a sweep from another."""
    names = [name for name, _ in split_pairs("-g", grid)]
    chosen = ", ".join(f"{name}={run.parameters[name]}" for name in names)
    return f"{run.notebook.stem} {chosen}".strip()


def show_failure(run: Run, error: str) -> None:
    """Print what went wrong in a run, and where what ran of it is."""
    err.print(f"[red]{escape(run.notebook.stem)} failed[/]", soft_wrap=True)
    err.print(escape(error.strip()), soft_wrap=True)
    err.print(f"what ran until then is in {escape(str(run.folder))}", soft_wrap=True)


def show_results(run: Run) -> None:
    """Print what a run recorded."""
    metrics = runs.metrics(run.folder)
    for name, value in runs.results(run.folder).items():
        if is_scalar(value) and name in metrics:
            shown = result_text(value, metrics[name])
        else:
            shown = value.to_string(index=False) if hasattr(value, "to_string") else str(value)
        out.print(f"  {escape(name)} = {escape(shown)}", soft_wrap=True)


@functools.cache
def _default_parameters(stem: str) -> dict[str, Any]:
    """Return the defaults of a notebook that is there still."""
    path = notebooks_folder() / f"{stem}.ipynb"
    if not path.is_file():
        return {}
    try:
        known = runs.notebook_parameters(path)
    except ValueError:  # edited since, and not readable now
        return {}
    return {name: each.default for name, each in known.items()}


def status_row(folder: Path) -> list[str]:
    """Return a run's row of the table: parameters that differ from the defaults, results."""
    notebook, name = folder.parent.name, folder.name
    try:
        record = runs.read_record(folder)
    except FileNotFoundError:
        # It has no record before it ends, but its notebook is written cell by cell.
        return [notebook, runs.folder_state(folder), "", _begun_with(folder), "", name]
    except ValueError as error:
        return [notebook, "damaged", "", "", str(error), name]
    state, metrics = record["state"], runs.metrics(folder)
    results = runs.results(folder) if state == "done" else {"error": record["failure"]["error"]}
    return [
        notebook,
        state,
        f"{record['seconds']:.1f}",
        _changed_parameters(notebook, record["parameters"]),
        ", ".join(
            f"{each}={result_text(value, metrics.get(each))}"
            for each, value in results.items()
            if is_scalar(value)
        ),
        name,
    ]


def _begun_with(folder: Path) -> str:
    """Return the parameters of a run that goes on or was stopped."""
    try:
        about = load_notebook(folder / PART).metadata.get("papermill", {})
    except FileNotFoundError:  # of a run that did not get that far
        return ""
    except ValueError:  # cut off while it was written
        return f"{PART} cannot be read"
    return _changed_parameters(folder.parent.name, about.get("parameters", {}))


def _changed_parameters(stem: str, parameters: Mapping[str, Any]) -> str:
    """Return the parameters that differ from the defaults of a notebook."""
    defaults = json.loads(json.dumps(_default_parameters(stem)))  # as records have them
    changed = {name: each for name, each in parameters.items() if defaults.get(name, ...) != each}
    return ", ".join(f"{name}={each}" for name, each in changed.items())
