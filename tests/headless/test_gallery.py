"""Figures of executed notebooks as files, for several profiles of parameters."""

import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from plotly.offline import get_plotlyjs

from tests.notebooks import FOLDER, QUICK, data_beside
from tests.tiny import tiny
from vsnn_lab.headless.gallery import draw, export_figures

# papermill and its kernel's client warn about their own dependencies.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.slow]
PLOTLY = "application/vnd.plotly.v1+json"
NOTEBOOK = FOLDER / "03_autoencoder_figures.ipynb"


@pytest.fixture
def own_results(tmp_path, monkeypatch):
    """Give runs the real data and an empty place for what they keep."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("VSNN_LAB_DATA", str(data_beside(tmp_path / "data")))


def small(folder, source="go.Figure(go.Scatter(y=[1, LAST]))"):
    cells = [
        new_code_cell("LAST = 2", id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(f"import plotly.graph_objects as go\n{source}", id="line"),
        new_code_cell("import pandas as pd\npd.DataFrame({'last': [LAST]})", id="table"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path = folder / "small.ipynb"
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


@pytest.mark.usefixtures("chromium")
def test_each_figure_becomes_a_page_and_a_picture_and_each_table_a_page(tmp_path, own_results):
    profiles = {"two": {}, "three": {"LAST": 3}}
    written = draw(small(tmp_path), profiles, tmp_path / "out", progress=False)
    for name, last in (("two", 2), ("three", 3)):
        folder = tmp_path / "out" / name
        names = ["small.ipynb", "line.html", "line.png", "table.html"]
        assert written[name] == [folder / file for file in names]
        assert (folder / "line.png").read_bytes().startswith(b"\x89PNG")
        assert f"<td>{last}</td>" in (folder / "table.html").read_text()
        page = (folder / "line.html").read_text()
        assert 'src="plotly.min.js"' in page
        assert (folder / "plotly.min.js").stat().st_size > 1e6


def test_an_unknown_parameter_of_any_run_is_refused_before_the_first_runs(tmp_path):
    profiles = {"two": {}, "wrong": {"LATS": 3}}
    with pytest.raises(ValueError, match="got 'LATS'; did you mean LAST"):
        draw(small(tmp_path), profiles, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_a_notebook_without_figures_exports_nothing(tmp_path):
    assert export_figures(small(tmp_path), tmp_path / "out") == []


FIGURE = {"data": [{"y": [1, 2]}], "layout": {}}


def executed(path, *cells, minor=5):
    """Write a notebook whose cells, given by id, have shown these."""
    made = []
    for name, shown in cells:
        outputs = [new_output("display_data", data=data) for data in shown]
        made.append(new_code_cell("show()", id=name, outputs=outputs))
    notebook = new_notebook(cells=[new_markdown_cell("# A", id="title"), *made])
    notebook.nbformat_minor = minor
    if minor < 5:
        for cell in notebook.cells:
            del cell["id"]
    nbformat.write(notebook, path)
    return path


@pytest.fixture
def drawn(monkeypatch):
    """Draw PNGs without a browser."""
    import plotly.io

    monkeypatch.setattr(plotly.io, "write_image", lambda _, path, **__: path.write_bytes(b"png"))


@pytest.mark.usefixtures("drawn")
def test_every_output_of_a_cell_has_a_file_of_its_own(tmp_path):
    figures = [{PLOTLY: FIGURE | {"layout": {"title": {"text": f"number {n}"}}}} for n in (1, 2)]
    table = {"text/html": "<table><tr><td>3</td></tr></table>"}
    notebook = executed(tmp_path / "a.ipynb", ("line", [*figures, table]), ("line-2", figures[:1]))
    written = export_figures(notebook, tmp_path / "out")
    pages = ["line.html", "line-2.html", "line-3.html", "line-2-2.html"]
    assert [path.name for path in written if path.suffix == ".html"] == pages
    assert len(set(written)) == 7
    for page, text in zip(pages, ("number 1", "number 2", "<td>3</td>", "number 1"), strict=True):
        assert text in (tmp_path / "out" / page).read_text()


@pytest.mark.usefixtures("drawn")
def test_cells_without_a_name_are_called_by_their_number(tmp_path):
    notebook = executed(tmp_path / "a.ipynb", ("line", [{PLOTLY: FIGURE}]), minor=4)
    written = export_figures(notebook, tmp_path / "out")
    assert [path.name for path in written] == ["cell2.html", "cell2.png"]


@pytest.mark.usefixtures("drawn")
def test_pages_and_the_script_beside_them_are_written_whole_and_the_script_once(
    tmp_path, monkeypatch
):
    notebook = executed(
        tmp_path / "a.ipynb", ("one", [{PLOTLY: FIGURE}]), ("two", [{PLOTLY: FIGURE}])
    )
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "plotly.min.js").write_text("half")
    moved, replace = [], os.replace
    monkeypatch.setattr(os, "replace", lambda old, new: (moved.append(new.name), replace(old, new)))
    export_figures(notebook, tmp_path / "out")
    assert moved == ["plotly.min.js", "one.html", "one.png", "two.html", "two.png"]
    assert (tmp_path / "out" / "plotly.min.js").read_text() == get_plotlyjs()


@pytest.fixture
def one_browser(chromium):
    """Draw PNGs with one browser, instead of one for each; another test draws as users do."""
    import kaleido

    kaleido.start_sync_server()
    yield
    kaleido.stop_sync_server()


@pytest.mark.usefixtures("one_browser")
def test_the_papers_figures_are_drawn_for_a_colour_set_in_the_quick_profile(tmp_path, own_results):
    quick = QUICK[NOTEBOOK.stem] | {"TRAIN": 400, "TEST": 100, "SEEDS": 1, "EPOCHS": 1}
    profiles = {"emoji": {"DATA": "emoji", "MODEL": "convolutional", **quick}}
    files = draw(NOTEBOOK, profiles, tmp_path / "out", progress=False)["emoji"]
    assert len(files) == 18
    figures = "grid", "curves", "needed", "units", "traversal", "scatter", "comparison", "codes"
    assert {path.stem for path in files if path.suffix == ".png"} == set(figures)


def test_a_failing_run_does_not_stop_the_others_and_is_told_with_its_cell(tmp_path, own_results):
    notebook = tiny(tmp_path, "assert LAST < 3, 'too far'", parameters="LAST = 2")
    with pytest.raises(RuntimeError, match=r"(?s)'LAST': 3.*too far"):
        draw(notebook, {"three": {"LAST": 3}, "two": {}}, tmp_path / "out", progress=False)
