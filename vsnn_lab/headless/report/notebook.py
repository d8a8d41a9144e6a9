"""Read an executed notebook as what its page shows."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
from markupsafe import Markup

from vsnn_lab._basics.checks import check_path
from vsnn_lab.figures import Metric
from vsnn_lab.headless.report.outputs import Block, output_blocks
from vsnn_lab.headless.report.text import Place, highlighted_code, markdown
from vsnn_lab.headless.runs import notebook_parameters

_MARKER = "papermill-error-cell-tag"  # what papermill adds to say that a cell failed
_HEADING = re.compile(r"<h[1-6][^>]*>(.*?)</h[1-6]>", re.DOTALL)
_PARAGRAPH = re.compile(r"<p>(.*?)</p>", re.DOTALL)


@dataclass(frozen=True)
class Cell:
    """A cell of a page.

    Attributes:
        text: A markdown cell as HTML, or the code of a code cell.
        lines: Lines of code, none for markdown.
        blocks: What the code put out.
    """

    text: Markup
    lines: int = 0
    blocks: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Notebook:
    """An executed notebook.

    Attributes:
        path: Where it is.
        question: Its heading, or its name where it has none.
        lead: The paragraph below.
        cells: All that is shown, top to bottom.
        parameters: What it ran with, by name.
        results: What it recorded, by name.
        metrics: What these measure, where that was recorded.
        started: When it was executed, as far as papermill tells.
        stopped: Whether some of its cells did not run.
    """

    path: Path
    question: str
    lead: Markup
    cells: tuple[Cell, ...]
    parameters: Mapping[str, Any]
    results: Mapping[str, Any]
    metrics: Mapping[str, Metric]
    started: datetime | None
    stopped: bool

    @property
    def cover(self) -> Block | None:
        """The picture that stands for it: its first figure, or else its first picture."""
        blocks = [block for kind in ("figure", "picture") for block in self.blocks(kind)]
        return next(iter(blocks), None)

    @property
    def failure(self) -> str | None:
        """What stopped it, if it did not end: the name of an error, or else an interruption."""
        errors = (block.value["name"] for block in self.blocks("error"))
        return next(errors, "an interruption" if self.stopped else None)

    @property
    def kinds(self) -> set[str]:
        """The kinds of its blocks."""
        return {block.kind for cell in self.cells for block in cell.blocks}

    def blocks(self, kind: str) -> list[Block]:
        """Return what its code put out of one kind."""
        return [block for cell in self.cells for block in cell.blocks if block.kind == kind]


def read_notebook(path: Path, files: Collection[str] = ()) -> Notebook:
    """Return an executed notebook.

    Args:
        path: Where it is.
        files: Names of the files beside its page, which its texts may link to.

    Raises:
        FileNotFoundError: If there is no such notebook.
        ValueError: If it is no notebook, or was never executed.
    """
    path = check_path("each of notebooks", path, "file")
    if not path.is_file():
        raise FileNotFoundError(f"no such notebook: {path}")
    try:
        found = nbformat.read(path, 4)
    except Exception as error:  # nbformat's and json's own
        raise ValueError(f"notebooks must be Jupyter notebooks, got {path}: {error}") from error
    stopped = any(_papermill_status(cell) in ("pending", "running") for cell in found.cells)
    if not any(map(_has_run, found.cells)):
        raise ValueError(
            f"notebooks must be executed ones, got {path} without outputs; "
            "vsnn_lab.headless.runs.run_notebook writes it with them"
        )
    language = found.metadata.get("language_info", {}).get("pygments_lexer", "ipython3")
    place = Place(path.parent, files)
    cells = tuple(
        _cell(cell, place, language)
        for cell in found.cells
        if cell.source.strip() and cell.cell_type != "raw" and _MARKER not in _tags(cell)
    )
    first_text = next((cell.text for cell in cells if not cell.lines), Markup())
    heading, paragraph = _HEADING.search(first_text), _PARAGRAPH.search(first_text)
    results: dict[str, Any] = {}
    metrics: dict[str, Metric | None] = {}
    for block in (block for cell in cells for block in cell.blocks if block.kind == "record"):
        results |= block.value["values"]
        metrics |= dict.fromkeys(block.value["values"], block.value["metric"])
    return Notebook(
        path,
        question=Markup(heading[1]).striptags() if heading else path.stem,
        lead=Markup(paragraph[1]) if paragraph else Markup(),
        cells=cells,
        parameters=_parameters(path, found.metadata),
        results=results,
        metrics={name: metric for name, metric in metrics.items() if metric is not None},
        started=_start_time(found.metadata),
        stopped=stopped,
    )


def _tags(cell: Mapping[str, Any]) -> list[str]:
    return cell["metadata"].get("tags", [])


def _has_run(cell: Mapping[str, Any]) -> bool:
    """Whether a cell ran here; outputs tagged keep_output are in the notebook before it runs."""
    outputs = cell.get("outputs") and "keep_output" not in _tags(cell)
    return bool(outputs) or _papermill_status(cell) in ("completed", "failed")


def _papermill_status(cell: Mapping[str, Any]) -> str | None:
    """Return what papermill says about a cell."""
    return cell["metadata"].get("papermill", {}).get("status")


def _cell(cell: Mapping[str, Any], place: Place, language: str) -> Cell:
    if cell["cell_type"] == "markdown":
        return Cell(markdown(cell["source"], place, cell.get("attachments")))
    lines = len(cell["source"].splitlines())
    return Cell(
        highlighted_code(cell["source"], language),
        lines,
        tuple(output_blocks(cell["outputs"], place)),
    )


def _start_time(metadata: Mapping[str, Any]) -> datetime | None:
    try:
        return datetime.fromisoformat(metadata.get("papermill", {}).get("start_time") or "")
    except (ValueError, TypeError):  # not executed by papermill
        return None


def _parameters(path: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a notebook ran with: its defaults, and what papermill was told instead."""
    try:
        defaults = {name: each.default for name, each in notebook_parameters(path).items()}
    except ValueError:  # another language, or no literals
        defaults = {}
    return defaults | metadata.get("papermill", {}).get("parameters", {})
