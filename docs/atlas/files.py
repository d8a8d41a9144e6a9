"""The files of the atlas: the table as CSV, and the page of its own."""

import csv
import io
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from plotly.offline import get_plotlyjs

from docs.atlas.fragment import atlas_html
from docs.atlas.rows import RESULTS, Row, read_rows
from docs.atlas.tasks import summarise
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.figures import style

CSV, PAGE = "width_atlas.csv", "width_atlas.html"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>What does width cost?</title>
<link rel="icon" href="data:,">
<style>:root {{ --accent: {accent}; --here: {here}; }}
{css}</style>
<script>{plotly}</script>
</head>
<body>
<main>
<h1>What does width cost?</h1>
<p class="lead">Every task of vsnn_lab on one page: what networks of every width are worth at each
of them, beside networks trained for one width alone. The slider moves all tasks: each shows its
widest measured width within that share of full width.</p>
{atlas}
</main>
</body>
</html>
"""


def write_files(folder: Path, results: Path = RESULTS) -> list[Path]:
    """Write the table and the page of its own; return where they are.

    Args:
        folder: Where to.
        results: Where files of results are.
    """
    rows = read_rows(results)
    texts = {CSV: csv_text(rows), PAGE: page_html(rows)}
    for name, text in texts.items():
        with atomic_write(folder / name) as part:
            part.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def csv_text(rows: Iterable[Row]) -> str:
    """Return rows as CSV (RFC 4180, but lines end in a line feed); what is unknown is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return text.getvalue()


def page_html(rows: Iterable[Row]) -> str:
    """Return the page of its own, with all that it needs, in the look of the reports."""
    pages = resources.files("vsnn_lab.headless.report") / "pages"
    return _PAGE.format(
        accent=style.VARIABLE.color,
        here=style.POINTER,
        css=(pages / "report.css").read_text(encoding="utf-8"),
        plotly=get_plotlyjs(),
        atlas=atlas_html(summarise(rows), CSV),
    )
