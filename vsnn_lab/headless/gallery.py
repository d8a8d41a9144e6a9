"""Every figure of a notebook, for several data sets: one command, files to look at and link to."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_path
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.headless.runs import Run
from vsnn_lab.headless.runs.folder import NOTEBOOK
from vsnn_lab.headless.sweeps import sweep

_PLOTLY, _HTML = "application/vnd.plotly.v1+json", "text/html"
_SCRIPT = "plotly.min.js"
_SCALE = 2  # pixels of a PNG for each of the figure's


def export_figures(notebook: str | Path, folder: str | Path) -> list[Path]:
    """Write the figures and tables of an executed notebook, each named by its cell.

    A Plotly figure becomes an interactive page and a PNG, a table a page. The second of a cell has
    the cell's name and ``-2``, and so on; cells without a name, as in notebooks before version 4.5
    of the format, are called ``cell`` and their number. The pages share one copy of plotly.js
    beside them.

    Args:
        notebook: An executed notebook.
        folder: Where to; it is made.

    Returns:
        The files, in the order of the notebook.

    Raises:
        FileNotFoundError: If there is no such notebook.
        RuntimeError: If there is no Chromium, which Kaleido draws the PNG with.
    """
    import nbformat
    import plotly.io
    from plotly.offline import get_plotlyjs

    notebook, folder = check_path("notebook", notebook, "file"), check_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for number, cell in enumerate(nbformat.read(notebook, 4).cells, 1):
        # Cells have names of their own since version 4.5 of the format.
        name = cell.get("id", f"cell{number}")
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            if _PLOTLY in shown:
                page = _unused_page(folder / f"{name}.html", written)
                figure = {part: shown[_PLOTLY][part] for part in ("data", "layout")}
                _write_if_changed(folder / _SCRIPT, get_plotlyjs())
                _write_if_changed(page, plotly.io.to_html(figure, include_plotlyjs=_SCRIPT))
                picture = page.with_suffix(".png")
                with atomic_write(picture) as part:
                    plotly.io.write_image(figure, part, format="png", scale=_SCALE)
                written += [page, picture]
            elif "<table" in shown.get(_HTML, ""):
                page = _unused_page(folder / f"{name}.html", written)
                _write_if_changed(page, shown[_HTML])
                written.append(page)
    return written


def _unused_page(page: Path, written: list[Path]) -> Path:
    """Return where a page goes: a number follows the name when the name is taken."""
    stem, number = page.stem, 1
    while page in written:
        number += 1
        page = page.with_stem(f"{stem}-{number}")
    return page


def _write_if_changed(path: Path, text: str) -> None:
    """Write a text whole, unless it is there."""
    new = text.encode()
    if not (path.is_file() and path.read_bytes() == new):
        with atomic_write(path) as part:
            part.write_bytes(new)


def draw(
    notebook: str | Path,
    profiles: Mapping[str, Mapping[str, Any]],
    folder: str | Path,
    *,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, list[Path]]:
    """Run a notebook for each profile of parameters, several at a time, and export its figures.

    Each run is kept, and so is what the notebook keeps of its own, such as the checkpoints of
    `fit`: a call that was killed goes on where it was.

    Args:
        notebook: What to run.
        profiles: Parameters of each run, by the run's name.
        folder: Each run has a folder of its own in it.
        workers: Runs at a time; by default one a core.
        progress: Show a bar over the cells of all runs.

    Returns:
        The files of each run, its executed notebook first.

    Raises:
        TypeError: If a parameter is not of its default's type; nothing has run then.
        ValueError: If a parameter is unknown; nothing has run then.
        RuntimeError: If runs failed, after the others; the message shows the cell.
    """
    notebook, folder = check_path("notebook", notebook, "file"), check_path("folder", folder)
    runs = {name: Run.of(notebook, parameters) for name, parameters in profiles.items()}
    cells: dict[Path, str] = {}
    failures = []
    with tqdm(total=len(runs), unit="run", disable=not progress) as bar:

        def on_cell(run: Run, done: float, total: int) -> None:
            cells[run.folder] = f"{done:.1f} of {total} cells"
            begun = {name: cells[run.folder] for name, run in runs.items() if run.folder in cells}
            bar.set_postfix_str(", ".join(f"{name}: {count}" for name, count in begun.items()))

        for outcome in sweep(list(runs.values()), workers=workers, on_cell=on_cell):
            bar.update()
            if outcome.error:
                failures.append(f"{outcome.run.parameters}: {outcome.error}")
    if failures:
        raise RuntimeError("\n".join(failures))
    return {name: _copy_and_export(run, folder / name) for name, run in runs.items()}


def _copy_and_export(run: Run, folder: Path) -> list[Path]:
    """Copy the executed notebook of a run that was kept, and export its figures."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / run.notebook.name) as part:
        shutil.copy(run.folder / NOTEBOOK, part)
    return [folder / run.notebook.name, *export_figures(run.folder / NOTEBOOK, folder)]
