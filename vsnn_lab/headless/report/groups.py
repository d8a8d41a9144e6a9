"""Runs that belong together on the front page of a report, and which of them are the best."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from vsnn_lab.headless.report.notebook import Notebook
from vsnn_lab.headless.runs.results import is_number


@dataclass(frozen=True)
class Group:
    """Pages that ask the same question with the same words.

    Attributes:
        pages: Each by its file's name.
        shared: Parameters that are the same in all.
        best: File and result of each value that is the best of several.
    """

    pages: Mapping[str, Notebook]
    shared: Mapping[str, Any]
    best: Collection[tuple[str, str]]


def group_pages(pages: Mapping[str, Notebook]) -> list[Group]:
    """Return the pages in their order, those of one introduction together."""
    together: dict[tuple[str, str], dict[str, Notebook]] = {}
    for page, notebook in pages.items():
        together.setdefault((notebook.question, str(notebook.lead)), {})[page] = notebook
    return [Group(each, _shared_parameters(each), _best(each)) for each in together.values()]


def _shared_parameters(pages: Mapping[str, Notebook]) -> dict[str, Any]:
    first, *others = (notebook.parameters for notebook in pages.values())
    return {
        name: value
        for name, value in first.items()
        if all(name in each and each[name] == value for each in others)
    }


def _best(pages: Mapping[str, Notebook]) -> set[tuple[str, str]]:
    """Return each page and result that is the best of several runs, by their common metric."""
    found: set[tuple[str, str]] = set()
    for name in {name for notebook in pages.values() for name in notebook.metrics}:
        known = {page: each for page, each in pages.items() if is_number(each.results.get(name))}
        if len(known) < 2:
            continue
        metrics = {each.metrics.get(name) for each in known.values()}
        metric = metrics.pop()
        if metrics or metric is None:
            continue
        ranks = {page: metric.rank(each.results[name]) for page, each in known.items()}
        first = min(ranks.values())
        found |= {(page, name) for page, rank in ranks.items() if rank == first < math.inf}
    return found
