"""What a terminal shows of runs: bars while they go, results and failures when they end."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from vsnn_lab.headless import runs
from vsnn_lab.headless.cli.arguments import pairs
from vsnn_lab.headless.runs import Run, notebooks_folder
from vsnn_lab.headless.runs.results import single

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


def counting(bars: Progress, bar: Any) -> Callable[[float, int], None]:
    """Return what moves a bar with the cells."""
    return lambda cells_done, cells: bars.update(bar, completed=cells_done, total=cells)


def named(which: Run, grid: list[str] | None) -> str:
    """Return the parameters that tell one run of a sweep from another."""
    names = [name for name, _ in pairs("-g", grid)]
    chosen = ", ".join(f"{name}={which.parameters[name]}" for name in names)
    return f"{which.notebook.stem} {chosen}".strip()


def show_failure(notebook: Path, folder: Path, error: str) -> None:
    """Print what went wrong in a notebook, and where what ran of it is."""
    err.print(f"[red]{escape(notebook.stem)} failed[/]", soft_wrap=True)
    err.print(escape(error.strip()), soft_wrap=True)
    err.print(f"what ran until then is in {escape(str(folder))}", soft_wrap=True)


@contextmanager
def showing_failures(notebook: Path, folder: Path) -> Iterator[None]:
    """Show the cell that failed, instead of the traceback of what ran it, and exit with 1."""
    try:
        yield
    except Exception as error:
        # By name, since their packages take seconds to load and are loaded when these are raised.
        if type(error).__name__ not in ("PapermillExecutionError", "DeadKernelError"):
            raise
        show_failure(notebook, folder, str(error))
        raise typer.Exit(1) from None


def show_results(which: Run) -> None:
    """Print what a run recorded."""
    for name, value in runs.results(which.folder).items():
        shown = value.to_string(index=False) if hasattr(value, "to_string") else value
        out.print(f"  {escape(name)} = {escape(str(shown))}", soft_wrap=True)


@functools.cache
def _defaults(stem: str) -> dict[str, Any]:
    """Return the defaults of a notebook that is there still."""
    path = notebooks_folder() / f"{stem}.ipynb"
    if not path.is_file():
        return {}
    return {name: each.default for name, each in runs.notebook_parameters(path).items()}


def status_line(folder: Path) -> list[str]:
    """Return what the table says of a run: parameters that differ from the defaults, results."""
    try:
        told = runs.read_record(folder)
    except FileNotFoundError:
        return [folder.parent.name, runs.folder_state(folder), "", "", "", folder.name]
    except ValueError as error:
        return [folder.parent.name, "damaged", "", "", str(error), folder.name]
    state, defaults = told["state"], _defaults(folder.parent.name)
    changed = {k: v for k, v in told["parameters"].items() if defaults.get(k, ...) != v}
    found = runs.results(folder) if state == "done" else {"error": told["failure"]["error"]}
    return [
        folder.parent.name,
        state,
        f"{told['seconds']:.1f}",
        ", ".join(f"{name}={value}" for name, value in changed.items()),
        ", ".join(
            f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
            for name, value in found.items()
            if single(value)
        ),
        folder.name,
    ]
