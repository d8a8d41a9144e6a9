"""Every figure of a notebook, for several data sets: one command, files to look at and link to."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from vsnn_lab._checks import check_path
from vsnn_lab.data import data_root
from vsnn_lab.files import replacing
from vsnn_lab.runs import check_parameters, run_notebook

_PLOTLY, _HTML = "application/vnd.plotly.v1+json", "text/html"
_SCALE = 2  # pixels of a PNG for each of the figure's


def export_figures(notebook: str | Path, folder: str | Path) -> list[Path]:
    """Write the figures and tables of an executed notebook, each named by its cell.

    A Plotly figure becomes an interactive page and a PNG, a table a page. The pages share one copy
    of plotly.js beside them.

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

    notebook, folder = check_path("notebook", notebook, "file"), check_path("folder", folder)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for cell in nbformat.read(notebook, 4).cells:
        for output in cell.get("outputs", []):
            shown = output.get("data", {})
            page, picture = folder / f"{cell.id}.html", folder / f"{cell.id}.png"
            if _PLOTLY in shown:
                figure = {name: shown[_PLOTLY][name] for name in ("data", "layout")}
                plotly.io.write_html(figure, page, include_plotlyjs="directory")
                with replacing(picture) as part:
                    plotly.io.write_image(figure, part, format="png", scale=_SCALE)
                written += [page, picture]
            elif "<table" in shown.get(_HTML, ""):
                with replacing(page) as part:
                    part.write_text(shown[_HTML], encoding="utf-8")
                written.append(page)
    return written


def draw(
    notebook: str | Path,
    profiles: Mapping[str, Mapping[str, Any]],
    folder: str | Path,
    *,
    progress: bool = True,
) -> dict[str, list[Path]]:
    """Run a notebook once for each profile of parameters, and export its figures.

    What the notebook keeps of its own, such as the checkpoints of `fit`, is there when it runs
    again: a call that was killed goes on where it was.

    Args:
        notebook: What to run.
        profiles: Parameters of each run, by the run's name.
        folder: Each run has a folder of its own in it.
        progress: Show a bar over the runs, and one over the cells of each.

    Returns:
        The files of each run, its executed notebook first.

    Raises:
        ValueError: If a parameter is unknown; nothing has run then.
        papermill.PapermillExecutionError: If a cell failed.
    """
    notebook, folder = check_path("notebook", notebook, "file"), check_path("folder", folder)
    for parameters in profiles.values():
        check_parameters(notebook, parameters)
    written = {}
    for name in (bar := tqdm(profiles, disable=not progress)):
        bar.set_description(name)
        executed = folder / name / notebook.name
        run_notebook(notebook, executed, profiles[name], progress=progress)
        written[name] = [executed, *export_figures(executed, folder / name)]
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw the profiles of a YAML file; return the exit code."""
    import yaml

    parser = argparse.ArgumentParser(prog="python -m vsnn_lab.gallery", description=main.__doc__)
    parser.add_argument("notebook", type=Path)
    parser.add_argument("profiles", type=Path, help="YAML: parameters by name of the run")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="some of the runs")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="parameters for every run"
    )
    parser.add_argument("--output", type=Path, default=data_root() / "figures")
    given = parser.parse_args(arguments)
    profiles = yaml.safe_load(given.profiles.read_text(encoding="utf-8"))
    for name in given.only or []:
        if name not in profiles:
            parser.error(f"--only must name runs among {', '.join(profiles)}, got {name}")
    common = {}
    for pair in given.set:
        name, equals, value = pair.partition("=")
        if not equals:
            parser.error(f"--set must be NAME=VALUE, got {pair}")
        common[name] = yaml.safe_load(value)
    chosen = {name: profiles[name] | common for name in given.only or profiles}
    for name, files in draw(given.notebook, chosen, given.output).items():
        print(f"{name}: {len(files)} files in {files[0].parent}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
