"""The atlas in the documentation: the fence of its page, and the files beside it."""

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.atlas.files import CSV, PAGE, write_files
from docs.atlas.fragment import atlas_html
from docs.atlas.rows import COLLECTIONS, RESULTS, read_rows
from docs.atlas.tasks import summarise

_STATIC = "_static"
_PLOTLY = f"{_STATIC}/plotly.min.js"  # `docs.plots` puts it there


class Atlas(SphinxDirective):
    """The atlas of widths."""

    def run(self) -> list[nodes.Node]:
        """Return the atlas, to be made anew when a file of results changes or comes."""
        for collection in COLLECTIONS:
            self.env.note_dependency(str(RESULTS / f"{collection.name}.json"))
        above = "../" * self.env.docname.count("/")
        files = [f"{above}{_STATIC}/{name}" for name in (CSV, PAGE)]
        html = atlas_html(summarise(read_rows()), *files)
        script = f'<script src="{above}{_PLOTLY}"></script>'
        return [nodes.raw("", script + html, format="html")]


def _write_files(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        write_files(Path(app.outdir) / _STATIC)


def setup(app: Sphinx) -> dict[str, bool]:
    """Let a page ask for the atlas."""
    app.add_directive("atlas", Atlas)
    app.connect("build-finished", _write_files)
    return {"parallel_read_safe": True}
