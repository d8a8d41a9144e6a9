import ast
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import nbformat
import pytest
import yaml
from papermill import PapermillExecutionError

from tests.notebooks import FOLDER, NOTEBOOKS, QUICK, data_beside, quick_copy
from tests.tiny import tiny
from vsnn_lab.headless.runs import (
    Run,
    check_parameters,
    notebook_parameters,
    results,
    run_notebook,
)

# Of these two runs are made at the same time: what else than the quick profile the second has.
TWICE = {"00_quickstart": {"SEED": 1}, "04_classifier_widths": {"SEED": 1, "POINTS": 5.0}}
COMPARE = FOLDER / "09_compare_runs.ipynb"  # it has a test of its own
NOT_CHECKED = "what the introduction expects is not checked"
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
# papermill and its kernel's client warn about their own dependencies.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def own_results(tmp_path, monkeypatch):
    """Give kernels the real data and an empty place for results."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("VSNN_LAB_DATA", str(data_beside(tmp_path / "data")))
    return tmp_path


def code_cells(notebook):
    return [cell for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"]


def checked_outputs(notebook):
    """Return what each cell shows that nbval would compare, by the cell's id."""
    found = {}
    for cell in code_cells(notebook):
        if "nbval-ignore-output" not in cell.metadata.get("tags", []):
            streams = [(out.name, out.text) for out in cell.outputs if out.output_type == "stream"]
            text = {name: "".join(t for n, t in streams if n == name) for name, _ in streams}
            found[cell.id] = text, [out for out in cell.outputs if out.output_type != "stream"]
    return found


def test_every_notebook_has_a_quick_profile_of_parameters_that_it_knows():
    assert set(QUICK) == {path.stem for path in NOTEBOOKS}
    for notebook in NOTEBOOKS:
        check_parameters(notebook, QUICK[notebook.stem])


@pytest.mark.parametrize(
    ("profiles", "notebook"),
    [("figures.yaml", "03_autoencoder_figures"), ("gap.yaml", "05_closing_the_gap")],
)
def test_what_make_runs_in_full_are_parameters_that_the_notebook_knows(profiles, notebook):
    found = yaml.safe_load((FOLDER / profiles).read_text())
    assert found
    for parameters in found.values():
        check_parameters(FOLDER / f"{notebook}.ipynb", parameters)


@each_notebook
def test_a_notebook_opens_with_its_question_and_its_parameters(notebook):
    first, second = nbformat.read(notebook, 4).cells[:2]
    assert first.cell_type == "markdown"
    for promise in ("?", "**What to expect.**", "**How long.**"):
        assert promise in first.source
    assert "parameters" in second.metadata.tags


@each_notebook
def test_a_notebook_holds_no_class_no_long_cell_and_ran_in_order(notebook):
    cells = code_cells(notebook)
    for cell in cells:
        assert len(cell.source.splitlines()) <= 15, cell.source
        assert not any(isinstance(node, ast.ClassDef) for node in ast.walk(ast.parse(cell.source)))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


@each_notebook
def test_a_claim_for_the_defaults_is_told_as_one(notebook):
    conditional = any("made for the defaults" in cell.source for cell in code_cells(notebook))
    conditional |= any(
        "claims are for the defaults" in cell.source for cell in code_cells(notebook)
    )
    first = nbformat.read(notebook, 4).cells[0].source
    assert ("**What to expect.** With the defaults" in first) == conditional
    assert any(NOT_CHECKED in cell.source for cell in code_cells(notebook)) == conditional


def keep_at_once(asked, own_results):
    """Keep runs at the same time, each of which shows a figure and says what it does not check."""
    with ThreadPoolExecutor() as threads:
        # Processes, since a kernel's client wants the signals of a main thread.
        finished = list(threads.map(kept_elsewhere, asked))
    for run, done in zip(asked, finished, strict=True):
        assert done.returncode == 0, done.stderr
        cells = code_cells(run.folder / "notebook.ipynb")
        outputs = [out for cell in cells for out in cell.outputs]
        assert any("application/vnd.plotly.v1+json" in out.get("data", {}) for out in outputs)
        streams = [out for out in outputs if out.output_type == "stream"]
        assert not any("Traceback" in out.text for out in streams if out.name == "stderr")
        checked = not any(NOT_CHECKED in cell.source for cell in cells)
        assert any(NOT_CHECKED in out.text for out in streams) != checked
    # What a notebook writes is in the folder of its run, and nowhere else.
    data = own_results / "data"
    assert not (data / "outputs").exists()
    assert not (data / "submodels").exists()


def kept_elsewhere(run):
    """Keep a run in a process of its own."""
    code = f"from vsnn_lab.headless.runs import Run, keep\nkeep(Run.of({str(run.notebook)!r}, "
    code += f"{run.parameters!r}), progress=False)"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "notebook", [path for path in NOTEBOOKS if path != COMPARE], ids=lambda path: path.stem
)
def test_a_notebook_runs_in_the_quick_profile_and_shows_a_figure_and_what_it_stores(
    notebook, own_results
):
    quick, other = QUICK[notebook.stem], TWICE.get(notebook.stem)
    asked = [Run.of(notebook, quick)] + ([Run.of(notebook, quick | other)] if other else [])
    keep_at_once(asked, own_results)
    stored = checked_outputs(notebook)
    if any(text for text, _ in stored.values()):
        executed = checked_outputs(asked[0].folder / "notebook.ipynb")
        assert {name: executed[name] for name in stored} == stored


@pytest.mark.slow
def test_runs_are_compared_twice_at_once_by_the_direction_of_their_metric(own_results):
    """Runs of the quickstart, and three with accuracies 0.5, 0.4, 0.9 and 0.8, 0.7, 0.6."""
    records = """import pandas as pd
from vsnn_lab.figures import Metric
from vsnn_lab.headless.runs import record

one, two = [(0.5, 0.8), (0.4, 0.7), (0.9, 0.6)][SEED]
curve = pd.DataFrame({"width": [1, 2], "fraction": [0.5, 1.0], "accuracy": [one, two]})
record(Metric("test accuracy", "higher", unit="%", scale=100), accuracy=two, curve=curve)"""
    told = {"NOTEBOOK": str(tiny(own_results, records)), "GRID": {"SEED": [0, 1, 2]}}
    other = told | {"FIXED": {}, "METRIC": "accuracy"}
    quick, compare = (Run.of(COMPARE, each) for each in (QUICK[COMPARE.stem], other))
    keep_at_once([quick, compare], own_results)
    lower = results(quick.folder)["best"]
    assert lower.columns.tolist()[:2] == ["units at most", "best run"]
    best = results(compare.folder)["best"]
    assert best.columns.tolist() == ["units at most", "best run", "test accuracy (%)"]
    assert best.to_numpy().tolist() == [[1, "SEED=2", 90.0], [2, "SEED=0", 80.0]]


@pytest.mark.slow
def test_nbval_finds_the_one_output_that_was_changed(own_results):
    copy = quick_copy(FOLDER / "01_masks.ipynb", own_results)
    text = copy.read_text()
    assert "position 2: 4 of 6" in text
    copy.write_text(text.replace("position 2: 4 of 6", "position 2: 5 of 6"))
    # Without our own configuration: what is compared is the notebook, not the package.
    command = [sys.executable, "-m", "pytest", "--nbval", "-q", "-c", "/dev/null"]
    command += ["-p", "no:cacheprovider", "--rootdir", str(copy.parent), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=copy.parent)
    assert done.returncode == 1, done.stdout
    assert f"1 failed, {len(code_cells(copy)) - 1} passed" in done.stdout


@pytest.mark.slow
def test_papermill_runs_the_quickstart_from_any_folder(own_results):
    """Another one than the root, where the notebooks above run."""
    output = own_results / "out.ipynb"
    command = [sys.executable, "-m", "papermill", FOLDER / "00_quickstart.ipynb", output]
    command += [part for item in QUICK["00_quickstart"].items() for part in ("-p", *map(str, item))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=own_results)
    assert done.returncode == 0, done.stderr
    assert all(cell.execution_count for cell in code_cells(output))


def test_an_unknown_parameter_is_refused_before_anything_runs(tmp_path):
    with pytest.raises(ValueError, match=r"among DATA, CODE, .* got 'EPOCH'; did you mean EPOCHS"):
        run_notebook(FOLDER / "00_quickstart.ipynb", tmp_path / "out.ipynb", {"EPOCH": 1})
    assert not (tmp_path / "out.ipynb").exists()
    with pytest.raises(FileNotFoundError, match="no such notebook: "):
        notebook_parameters(tmp_path / "missing.ipynb")


@pytest.mark.slow
def test_a_failing_claim_fails_the_run(tmp_path):
    path = tiny(tmp_path, "assert LIMIT < 1, 'the claim'", parameters="LIMIT = 1")
    with pytest.raises(PapermillExecutionError, match="the claim"):
        run_notebook(path, tmp_path / "out.ipynb", progress=False)
    run_notebook(path, tmp_path / "out.ipynb", {"LIMIT": 0}, progress=False)
