"""Figures of executed notebooks as files, for several profiles of parameters."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.notebooks import FOLDER, QUICK, data_beside
from vsnn_lab.gallery import draw, export_figures

# papermill and its kernel's client warn about their own dependencies.
pytestmark = [pytest.mark.filterwarnings("default"), pytest.mark.slow]
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


@pytest.mark.usefixtures("chromium")
def test_the_papers_figures_are_drawn_for_a_colour_set_in_the_quick_profile(tmp_path, own_results):
    quick = QUICK[NOTEBOOK.stem] | {"TRAIN": 400, "TEST": 100, "SEEDS": 1, "EPOCHS": 1}
    profiles = {"emoji": {"DATA": "emoji", "MODEL": "convolutional", **quick}}
    files = draw(NOTEBOOK, profiles, tmp_path / "out", progress=False)["emoji"]
    assert len(files) == 18
    figures = "grid", "curves", "needed", "units", "traversal", "scatter", "comparison", "codes"
    assert {path.stem for path in files if path.suffix == ".png"} == set(figures)


def test_a_failing_run_does_not_stop_the_others_and_is_told_with_its_cell(tmp_path, own_results):
    notebook = small(tmp_path, "assert LAST < 3, 'too far'\ngo.Figure()")
    with pytest.raises(RuntimeError, match=r"(?s)'LAST': 3.*too far"):
        draw(notebook, {"three": {"LAST": 3}, "two": {}}, tmp_path / "out", progress=False)
