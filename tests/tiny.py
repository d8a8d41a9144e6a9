"""Notebooks of a few quick cells, for tests of what runs them."""

import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

RECORDS = """from IPython.display import display

MIME = "application/vnd.vsnn_lab.record+json"
display({MIME: {"twice": 2 * SEED}}, raw=True)"""  # as `record` does, without a second for torch


def tiny(
    folder: Path,
    *cells: str,
    parameters: str = "SEED = 0",
    name: str = "tiny",
    kernel: str = "python3",
) -> Path:
    """Write a notebook of a cell of parameters and others."""
    first = new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]})
    others = [new_code_cell(source, id=f"cell-{n}") for n, source in enumerate(cells)]
    told = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    path = folder / f"{name}.ipynb"
    nbformat.write(new_notebook(cells=[first, *others], metadata=told), path)
    return path


def fake_execution(notebook, output, parameters, **_) -> None:
    """Stand in for `run_notebook`: write what an executed notebook would record."""
    executed = nbformat.read(notebook, 4)
    told = {"application/vnd.vsnn_lab.record+json": {"twice": 2 * parameters["SEED"]}}
    executed.cells[-1].outputs = [nbformat.v4.new_output("display_data", told)]
    for cell in executed.cells:
        cell.metadata["papermill"] = {"duration": 0.5}
    Path(output).write_text(json.dumps(executed))


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
