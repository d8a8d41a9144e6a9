"""``vsnn-lab``: list, run, sweep, compare and show notebooks, from a terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import TaskID
from rich.table import Table

from vsnn_lab import data
from vsnn_lab._basics.threads import spin_count
from vsnn_lab.headless import runs
from vsnn_lab.headless.cli.arguments import parse_parameters, read_profiles, requested_runs
from vsnn_lab.headless.cli.interrupt import INTERRUPTED, interruptible
from vsnn_lab.headless.cli.show import (
    err,
    out,
    progress_bars,
    run_label,
    show_failure,
    show_results,
    status_row,
)
from vsnn_lab.headless.runs import Run, notebooks_folder
from vsnn_lab.headless.runs.folder import NOTEBOOK
from vsnn_lab.headless.runs.notebooks import COPIES, copy_notebooks, lab_folder

app = typer.Typer(
    help="Notebooks of variable-width networks, headless.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
NotebookName = Annotated[str, typer.Argument(help="Path, name or number of a notebook.")]
NotebooksFolder = Annotated[
    Path | None,
    typer.Option(help=f"Folder of notebooks; by default notebooks or {COPIES} here, or our own."),
]
GRID_HELP = "Values, or 0..4; a text with a comma in quotes. Repeatable."
Parameters = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Repeatable.")
]
ProfileName = Annotated[
    str, typer.Option(help="A set of parameters: quick (of quick.yaml) or full (the defaults).")
]


def main() -> None:
    """Run the command line; an error of the caller is one line, and the exit code 1."""
    os.environ.update(spin_count(os.environ))  # for all that is started from here
    try:
        app()
    except ModuleNotFoundError:
        raise
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


@app.command()
def lab(
    folder: Annotated[
        Path | None,
        typer.Argument(help=f"Where copies go: {COPIES}; in a checkout its own notebooks open."),
    ] = None,
    copy_only: Annotated[bool, typer.Option("--copy-only", help="Open nothing.")] = False,
) -> None:
    """Copy the notebooks to a folder, never over a file changed there, and open JupyterLab."""
    if not copy_only:  # before anything is copied: it may not be installed
        from vsnn_lab.headless.cli.lab import open_jupyterlab
    folder = folder or lab_folder()
    states = copy_notebooks(folder)
    written = [name for name, state in states.items() if state in ("copied", "renewed")]
    if written:
        out.print(f"copied to {escape(str(folder))}: {', '.join(written)}", soft_wrap=True)
    for name, state in states.items():
        if state == "changed":
            out.print(
                f"{name}: kept, since it was changed in {escape(str(folder))}", soft_wrap=True
            )
    if not copy_only:
        open_jupyterlab(folder)


@app.command("list")
def list_notebooks(notebooks: NotebooksFolder = None) -> None:
    """List the notebooks: their question, and their parameters with default and unit."""
    for path in sorted((notebooks or notebooks_folder()).glob("*.ipynb")):
        out.print(f"[bold]{escape(path.stem)}[/]  {escape(runs.notebook_question(path))}")
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 4))
        for parameter in runs.notebook_parameters(path).values():
            default = escape(repr(parameter.default))
            table.add_row(parameter.name, default, f"[dim]{escape(parameter.help)}[/]")
        out.print(table)


@app.command()
def run(
    notebook: NotebookName,
    parameter: Parameters = None,
    profile: ProfileName = "full",
    again: Annotated[bool, typer.Option("--again", help="Even if the results are there.")] = False,
    notebooks: NotebooksFolder = None,
) -> None:
    """Run a notebook once and keep it; a run that is there already is not repeated."""
    (requested,) = requested_runs(notebook, parameter, None, profile, notebooks)
    name = requested.notebook.stem
    if not again and requested.state == "done":
        out.print(f"{name}: there already, in {requested.folder}", soft_wrap=True)
        show_results(requested)
        return
    with progress_bars() as bars:
        bar = bars.add_task(name, total=None)

        def on_cell(done: float, cells: int) -> None:
            bars.update(bar, completed=done, total=cells)

        try:
            with interruptible():
                runs.keep(requested, again=again, progress=False, on_cell=on_cell)
        except KeyboardInterrupt:
            err.print(
                f"stopped; what ran until then is in {escape(str(requested.folder))}; "
                "the same command runs it again",
                soft_wrap=True,
            )
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            # By name, since their packages take seconds to load.
            if type(error).__name__ not in ("PapermillExecutionError", "DeadKernelError"):
                raise
            show_failure(requested, str(error))
            raise typer.Exit(1) from None
    out.print(f"{name}: done, in {requested.folder}", soft_wrap=True)
    show_results(requested)


@app.command()
def sweep(
    notebook: NotebookName,
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            "-g",
            metavar="NAME=A,B",
            help="Values, or 0..4; a text with a comma in quotes.",
        ),
    ] = None,
    parameter: Parameters = None,
    profile: ProfileName = "full",
    workers: Annotated[int | None, typer.Option(help="Processes on this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler.")] = None,
    slurm: Annotated[int | None, typer.Option(help="Number of Slurm jobs to ask for.")] = None,
    notebooks: NotebooksFolder = None,
) -> None:
    """Run a notebook with every combination of some parameters, several at a time.

    What is there already is not repeated: a sweep that was stopped goes on where it was.
    """
    from vsnn_lab.headless import sweeps

    requested = requested_runs(notebook, parameter, grid, profile, notebooks)
    counts = {"done": 0, "failed": 0, "lost": 0}
    bars = progress_bars()
    tasks: dict[Path, TaskID] = {}

    def on_cell(run: Run, done: float, cells: int) -> None:
        if run.folder not in tasks:
            tasks[run.folder] = bars.add_task(f"  {run_label(run, grid)}")
        bars.update(tasks[run.folder], completed=done, total=cells)

    # What makes no sense is refused here.
    outcomes = sweeps.sweep(
        requested, scheduler=scheduler, slurm=slurm, workers=workers, on_cell=on_cell
    )
    try:
        with bars, interruptible(), closing(outcomes):
            total = bars.add_task(f"{len(requested)} runs", total=len(requested))
            for outcome in outcomes:
                counts[outcome.state] += 1
                bars.advance(total)
                if outcome.run.folder in tasks:
                    bars.remove_task(tasks.pop(outcome.run.folder))
                there = outcome.state == "done" and not outcome.executed
                state = "there already" if there else outcome.state
                bars.print(f"{escape(run_label(outcome.run, grid))}: {state}", soft_wrap=True)
                if outcome.error:
                    show_failure(outcome.run, outcome.error)
    except KeyboardInterrupt:
        err.print(
            f"stopped; {counts['done']} of {len(requested)} runs are kept; the same command goes on"
        )
        raise typer.Exit(INTERRUPTED) from None
    out.print(", ".join(f"{count} {state}" for state, count in counts.items() if count))
    if counts["done"] < len(requested):
        raise typer.Exit(1)


@app.command()
def status(
    notebook: Annotated[str | None, typer.Argument(help="Only of notebooks that begin so.")] = None,
) -> None:
    """Show all runs: state, parameters, time, results."""
    table = Table(box=None, header_style="bold")
    for column in ("notebook", "state", "seconds", "parameters", "results", "run"):
        table.add_column(column, overflow="fold")
    root = runs.runs_root()
    folders = sorted(root.glob("*/*/"))
    chosen = [each for each in folders if each.parent.name.startswith(notebook or "")]
    if folders and not chosen:
        known = ", ".join(dict.fromkeys(folder.parent.name for folder in folders))
        raise ValueError(f"notebook must be one that has runs in {root}, {known}, got {notebook}")
    for folder in chosen:
        table.add_row(*(escape(cell) for cell in status_row(folder)))
    out.print(table if table.rows else f"no runs yet in {root}; vsnn-lab run makes one")


@app.command()
def report(
    output: Annotated[Path | None, typer.Option(help="Folder of the site.")] = None,
    notebook: Annotated[list[Path] | None, typer.Argument(help="Executed notebooks.")] = None,
) -> None:
    """Build a site of kept runs, or of executed notebooks; its width sliders need no kernel."""
    from vsnn_lab.headless.report import build_report

    found = notebook or list(_notebooks_of_done_runs())
    if not found:
        raise ValueError(f"no runs yet in {runs.runs_root()}; vsnn-lab run makes one")
    folder = output or data.data_root() / "report"
    out.print(f"the first page is {build_report(found, folder)}", soft_wrap=True)


def _notebooks_of_done_runs() -> Iterator[Path]:
    """Yield the notebooks of the runs that ended well, those of each in the order of their start.

    Which runs are damaged is said.
    """
    found = []
    for folder in sorted(runs.runs_root().glob("*/*/")):
        try:
            record = runs.read_record(folder)
        except FileNotFoundError:
            continue
        except ValueError as damaged:
            err.print(f"left out: {escape(str(damaged))}", soft_wrap=True)
            continue
        if record["state"] == "done":
            started = datetime.fromisoformat(record["started"])
            found.append((folder.parent.name, started, folder / NOTEBOOK))
    yield from (notebook for *_, notebook in sorted(found))


@app.command()
def figures(
    notebook: NotebookName,
    profiles: Annotated[Path, typer.Argument(help="YAML: parameters by name of the run.")],
    only: Annotated[list[str] | None, typer.Option(help="Some of the runs; repeatable.")] = None,
    parameter: Parameters = None,
    output: Annotated[Path | None, typer.Option(help="Where the files go.")] = None,
    notebooks: NotebooksFolder = None,
) -> None:
    """Draw every figure of a notebook for several sets of parameters, as pages and pictures."""
    from vsnn_lab.headless.gallery import draw

    path = runs.find_notebook(notebook, notebooks)
    chosen = read_profiles(profiles)
    for name in only or []:
        if name not in chosen:
            raise ValueError(f"--only must name runs among {', '.join(chosen)}, got {name}")
    common = parse_parameters(path, parameter)
    wanted = {name: chosen[name] | common for name in only or chosen}
    try:
        with interruptible():
            drawn = draw(path, wanted, output or data.data_root() / "figures")
    except KeyboardInterrupt:
        err.print("stopped; the same command goes on")
        raise typer.Exit(INTERRUPTED) from None
    for name, files in drawn.items():
        out.print(f"{name}: {len(files)} files in {files[0].parent}", soft_wrap=True)


@app.command("data")
def fetch_data(
    names: Annotated[list[str], typer.Argument(help=", ".join(data.NAMES))],
    root: Annotated[Path | None, typer.Option(help="Where to put them.")] = None,
) -> None:
    """Fetch data sets and verify their hashes."""
    from vsnn_lab.data.__main__ import main as fetch

    raise typer.Exit(fetch([*names, *(["--root", str(root)] if root else [])]))
