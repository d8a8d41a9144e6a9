"""What a terminal shows of runs: bars while they go, results and failures when they end."""

import functools
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vsnn_lab.headless import runs
from vsnn_lab.headless.cli.arguments import split_pairs
from vsnn_lab.headless.runs import Run, notebooks_folder
from vsnn_lab.headless.runs.results import is_scalar

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
    for name, value in runs.results(run.folder).items():
        shown = value.to_string(index=False) if hasattr(value, "to_string") else value
        out.print(f"  {escape(name)} = {escape(str(shown))}", soft_wrap=True)


@functools.cache
def _default_parameters(stem: str) -> dict[str, Any]:
    """Return the defaults of a notebook that is there still."""
    path = notebooks_folder() / f"{stem}.ipynb"
    if not path.is_file():
        return {}
    return {name: each.default for name, each in runs.notebook_parameters(path).items()}


def status_row(folder: Path) -> list[str]:
    """Return a run's row of the table: parameters that differ from the defaults, results."""
    try:
        record = runs.read_record(folder)
    except FileNotFoundError:
        return [folder.parent.name, runs.folder_state(folder), "", "", "", folder.name]
    except ValueError as error:
        return [folder.parent.name, "damaged", "", "", str(error), folder.name]
    state, defaults = record["state"], _default_parameters(folder.parent.name)
    changed = {k: v for k, v in record["parameters"].items() if defaults.get(k, ...) != v}
    results = runs.results(folder) if state == "done" else {"error": record["failure"]["error"]}
    return [
        folder.parent.name,
        state,
        f"{record['seconds']:.1f}",
        ", ".join(f"{name}={value}" for name, value in changed.items()),
        ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in results.items()
            if is_scalar(value)
        ),
        folder.name,
    ]
