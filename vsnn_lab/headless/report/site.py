"""Write the pages of a report."""

import warnings
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from vsnn_lab._basics.checks import check_collection, check_path
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.explore import front
from vsnn_lab.figures import Metric, style
from vsnn_lab.figures.checks import check_text
from vsnn_lab.headless.report.groups import group_pages
from vsnn_lab.headless.report.notebook import read_notebook
from vsnn_lab.headless.runs.folder import NOTEBOOK
from vsnn_lab.headless.runs.results import is_number, is_scalar

_LARGE_PAGE = 3_000_000  # bytes; an instrument's share is limited so that its page stays below


def build_report(
    notebooks: Sequence[str | Path], folder: str | Path, *, title: str = "vsnn_lab"
) -> Path:
    """Write executed notebooks as a folder of pages for any browser.

    A front page shows each notebook's question once, and below it picture, date, results and
    parameters of each of its runs; where they recorded a metric, which of several is the best. A
    page for each run shows all of it, and its instruments move. Where one needs a kernel, its page
    says so. Nothing of a notebook runs, and the pages ask no server for anything: the folder
    can be opened from a disk, sent to somebody, or put on any web server. Links to files that are
    not in it become text.

    Args:
        notebooks: Paths of executed notebooks, in the order of the front page.
        folder: Where to; it is made.
        title: Heading of the front page.

    Returns:
        The front page, ``index.html`` in the folder.

    Raises:
        FileNotFoundError: If there is no such notebook; nothing is written then.
        ValueError: If one is no notebook, was never executed, or is there twice; nothing is
            written then.
        OSError: If the folder cannot be written.

    Warns:
        UserWarning: If a page takes more than 3 MB; names the page and its size.
    """
    paths = [
        check_path("each of notebooks", path, "file")
        for path in check_collection("notebooks", notebooks, "paths of executed notebooks")
    ]
    folder, title = check_path("folder", folder), check_text("title", title) or "vsnn_lab"
    if not paths:
        raise ValueError("notebooks must hold at least one executed notebook, got none")
    names = _page_names(paths)
    files = frozenset(["index.html", *(f"{name}.html" for name in names)])
    read = [read_notebook(path, files) for path in paths]
    pages = {f"{name}.html": notebook for name, notebook in zip(names, read, strict=True)}
    templates = _templates(title)
    texts = {
        page: templates.get_template("notebook.html").render(
            page=page, notebook=each, pages=pages, kinds=each.kinds
        )
        for page, each in pages.items()
    }
    groups = group_pages(pages)
    covers = {each.cover.kind for each in pages.values() if each.cover}
    texts["index.html"] = templates.get_template("index.html").render(
        pages=pages, groups=groups, kinds=covers
    )
    # What pages use is there before they are, and they before the front page.
    own = resources.files("vsnn_lab.headless.report") / "pages"
    assets = {
        name: (own / name).read_text(encoding="utf-8") for name in ("report.css", "report.js")
    }
    kinds = {kind for each in pages.values() for kind in each.kinds}
    if "figure" in kinds:
        assets["plotly.min.js"] = get_plotlyjs()
    if "instrument" in kinds:
        assets |= {"instrument.js": front.classic_script(), "instrument.css": front.style()}
    for name, text in (assets | texts).items():
        with atomic_write(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    for name in texts:
        size = (folder / name).stat().st_size
        if size > _LARGE_PAGE:
            warnings.warn(
                f"{folder / name} takes {size / 1e6:.1f} MB, more than {_LARGE_PAGE / 1e6:.0f} MB, "
                "and opens slowly; fewer figures in a notebook make its page smaller",
                stacklevel=2,
            )
    return folder / "index.html"


def _page_names(paths: Sequence[Path]) -> list[str]:
    """Name the page of each notebook: as it is called, with its folders where two are alike."""
    whole = [_path_parts(path) for path in paths]
    names = []
    for path, own in zip(paths, whole, strict=True):
        if whole.count(own) > 1:
            raise ValueError(f"notebooks must differ from each other, got {path} twice")
        # A run that is kept bears the name of its folder, and its notebook's that of the one above.
        least = 2 if path.name == NOTEBOOK or own[-1].casefold() == "index" else 1
        alike = (sum(each[-n:] == own[-n:] for each in whole) > 1 for n in range(least, len(own)))
        names.append("-".join(own[-least - sum(alike) :]))
    return names


def _path_parts(path: Path) -> tuple[str, ...]:
    """Return the folders of a notebook and its name, without the file that all kept runs have."""
    whole = path.resolve().with_suffix("")
    return (whole.parent if path.name == NOTEBOOK else whole).parts[1:]


def _templates(title: str) -> Environment:
    templates = Environment(
        loader=PackageLoader("vsnn_lab.headless.report", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"number": _number, "scalars": _scalars}
    templates.filters |= {"moment": _moment, "without": _without}
    templates.globals |= {"title": title, "accent": style.VARIABLE.color, "here": style.POINTER}
    return templates


def _scalars(results: dict[str, Any]) -> dict[str, Any]:
    """Return the results that fit on a line."""
    return {name: value for name, value in results.items() if is_scalar(value)}


def _moment(time: datetime) -> str:
    """Return a date and a time of day, in UTC where the zone is known."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if time.tzinfo else f"{time:%Y-%m-%d %H:%M}"


def _without(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in others}


def _number(value: Any, metric: Metric | None = None) -> str:
    """Return a value for people: as its metric has it, or four digits that count."""
    if metric is not None and is_number(value):
        return metric.text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1e4 <= abs(value) < 1e15 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(_number, value))
    return "–" if value is None else str(value)  # noqa: RUF001 - a dash: no value
