"""``vsnn-lab``: list, run, sweep, compare and show notebooks, from a terminal."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from vsnn_lab import data
from vsnn_lab._basics.threads import spin_count
from vsnn_lab.headless import runs
from vsnn_lab.headless.cli.arguments import asked_for, parsed, profiles_of
from vsnn_lab.headless.cli.show import (
    counting,
    err,
    named,
    out,
    progress_bars,
    show_failure,
    show_results,
    showing_failures,
    status_line,
)
from vsnn_lab.headless.runs import Run, notebooks_folder
from vsnn_lab.headless.runs.folder import NOTEBOOK

app = typer.Typer(
    help="Notebooks of variable-width networks, headless.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
Name = Annotated[str, typer.Argument(help="Path, name or number of a notebook.")]
Notebooks = Annotated[
    Path | None,
    typer.Option("--notebooks", help="Folder of the notebooks; by default notebooks/ here."),
]
Values = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", metavar="NAME=VALUE", help="Repeatable.")
]
Profile = Annotated[
    str, typer.Option(help="A set of parameters: quick (of quick.yaml) or full (the defaults).")
]


def main() -> None:
    """Run the command line; an error of the caller is one line, and the exit code 1."""
    os.environ.update(spin_count(os.environ))  # for all that is started from here
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        err.print(f"[red]error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)


@app.command("list")
def list_notebooks(notebooks: Notebooks = None) -> None:
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
    notebook: Name,
    parameter: Values = None,
    profile: Profile = "full",
    again: Annotated[bool, typer.Option("--again", help="Even if the results are there.")] = False,
    notebooks: Notebooks = None,
) -> None:
    """Run a notebook once and keep it; a run that is there already is not repeated."""
    (asked,) = asked_for(notebook, parameter, None, profile, notebooks)
    if not again and asked.state == "done":
        out.print(f"{asked.notebook.stem}: there already, in {asked.folder}", soft_wrap=True)
        show_results(asked)
        return
    with progress_bars() as bars:
        bar = bars.add_task(asked.notebook.stem, total=None)
        with showing_failures(asked.notebook, asked.folder):
            runs.keep(asked, again=again, progress=False, on_cell=counting(bars, bar))
    out.print(f"{asked.notebook.stem}: done, in {asked.folder}", soft_wrap=True)
    show_results(asked)


@app.command()
def sweep(
    notebook: Name,
    grid: Annotated[
        list[str] | None,
        typer.Option("--grid", "-g", metavar="NAME=A,B", help="Values, or 0..4; repeatable."),
    ] = None,
    parameter: Values = None,
    profile: Profile = "full",
    workers: Annotated[int | None, typer.Option(help="Processes on this machine.")] = None,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler.")] = None,
    slurm: Annotated[int | None, typer.Option(help="Number of Slurm jobs to ask for.")] = None,
    notebooks: Notebooks = None,
) -> None:
    """Run a notebook with every combination of some parameters, several at a time.

    What is there already is not repeated: a sweep that was stopped goes on where it was.
    """
    from vsnn_lab.headless.sweeps import sweep as swept

    asked = asked_for(notebook, parameter, grid, profile, notebooks)
    states = {"done": 0, "failed": 0, "lost": 0}
    bars = progress_bars()
    tasks: dict[Path, Any] = {}

    def on_cell(which: Run, cells_done: float, cells: int) -> None:
        if which.folder not in tasks:
            tasks[which.folder] = bars.add_task(f"  {named(which, grid)}")
        bars.update(tasks[which.folder], completed=cells_done, total=cells)

    options = {"scheduler": scheduler, "slurm": slurm, "workers": workers, "on_cell": on_cell}
    outcomes = swept(asked, **options)  # what makes no sense is refused here
    try:
        with bars:
            total = bars.add_task(f"{len(asked)} runs", total=len(asked))
            for outcome in outcomes:
                states[outcome.state] += 1
                bars.advance(total)
                if outcome.run.folder in tasks:
                    bars.remove_task(tasks.pop(outcome.run.folder))
                told = "done" if outcome.executed else "there already"
                said = outcome.state if outcome.error else told
                bars.print(f"{escape(named(outcome.run, grid))}: {said}", soft_wrap=True)
                if outcome.error:
                    show_failure(outcome.run.notebook, outcome.run.folder, outcome.error)
    except KeyboardInterrupt:
        err.print(
            f"stopped; {states['done']} of {len(asked)} runs are kept; the same command goes on"
        )
        raise typer.Exit(130) from None
    out.print(", ".join(f"{count} {state}" for state, count in states.items() if count))
    if states["done"] < len(asked):
        raise typer.Exit(1)


@app.command()
def status(
    notebook: Annotated[str | None, typer.Argument(help="Only of notebooks that begin so.")] = None,
) -> None:
    """Show all runs: state, parameters, time, results."""
    table = Table(box=None, header_style="bold")
    for column in ("notebook", "state", "seconds", "parameters", "results", "run"):
        table.add_column(column, overflow="fold")
    for folder in sorted(runs.runs_root().glob(f"{notebook or ''}*/*/")):
        table.add_row(*(escape(cell) for cell in status_line(folder)))
    out.print(table if table.rows else f"no runs yet in {runs.runs_root()}; vsnn-lab run makes one")


@app.command()
def report(
    output: Annotated[Path | None, typer.Option(help="Folder of the site.")] = None,
    notebook: Annotated[list[Path] | None, typer.Argument(help="Executed notebooks.")] = None,
) -> None:
    """Build a site of kept runs, or of executed notebooks; its width sliders need no kernel."""
    from vsnn_lab.headless.report import build_report

    found = notebook or list(_kept_notebooks())
    if not found:
        raise ValueError(f"no runs yet in {runs.runs_root()}; vsnn-lab run makes one")
    folder = output or data.data_root() / "report"
    out.print(f"the first page is {build_report(found, folder)}", soft_wrap=True)


def _kept_notebooks() -> Iterator[Path]:
    """Yield the notebooks of the runs that ended well, and say which runs are damaged."""
    for folder in sorted(runs.runs_root().glob("*/*/")):
        try:
            state = runs.folder_state(folder)
        except ValueError as damaged:
            err.print(f"left out: {escape(str(damaged))}", soft_wrap=True)
            continue
        if state == "done":
            yield folder / NOTEBOOK


@app.command()
def figures(
    notebook: Name,
    profiles: Annotated[Path, typer.Argument(help="YAML: parameters by name of the run.")],
    only: Annotated[list[str] | None, typer.Option(help="Some of the runs; repeatable.")] = None,
    parameter: Values = None,
    output: Annotated[Path | None, typer.Option(help="Where the files go.")] = None,
    notebooks: Notebooks = None,
) -> None:
    """Draw every figure of a notebook for several sets of parameters, as pages and pictures."""
    from vsnn_lab.headless.gallery import draw

    path = runs.find_notebook(notebook, notebooks)
    chosen = profiles_of(profiles)
    for name in only or []:
        if name not in chosen:
            raise ValueError(f"--only must name runs among {', '.join(chosen)}, got {name}")
    common = parsed(path, parameter)
    wanted = {name: chosen[name] | common for name in only or chosen}
    for name, files in draw(path, wanted, output or data.data_root() / "figures").items():
        out.print(f"{name}: {len(files)} files in {files[0].parent}", soft_wrap=True)


@app.command("data")
def fetch_data(
    names: Annotated[list[str], typer.Argument(help=", ".join(data.NAMES))],
    root: Annotated[Path | None, typer.Option(help="Where to put them.")] = None,
) -> None:
    """Fetch data sets and verify their hashes."""
    from vsnn_lab.data.__main__ import main as fetch

    raise typer.Exit(fetch([*names, *(["--root", str(root)] if root else [])]))
