"""What a run writes is in a folder that no other run shares."""

import importlib
import multiprocessing
import os

import nbformat
import pytest

from tests.tiny import fake_execution, lines, tiny
from vsnn_lab.headless.runs import Run, keep, output_folder, run_notebook

# papermill and its kernel's client warn about their own dependencies.
pytestmark = pytest.mark.filterwarnings("default")
WRITES = """from vsnn_lab.headless.runs import output_folder

path = output_folder() / "seed"
with path.open("a") as file:
    file.write(f"{SEED}\\n")
print(path)"""


@pytest.fixture(autouse=True)
def own_results(tmp_path, monkeypatch):
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("VSNN_LAB_OUTPUT", raising=False)


def folder_of_a_process(queue):
    queue.put(str(output_folder()))


@pytest.mark.slow
def test_each_process_has_a_folder_of_its_own_and_keeps_it(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    queue = spawn.Queue()
    processes = [spawn.Process(target=folder_of_a_process, args=(queue,)) for _ in range(2)]
    for process in processes:
        process.start()
    found = {queue.get(timeout=120) for _ in processes} | {str(output_folder())}
    for process in processes:
        process.join()
    assert len(found) == 3
    assert {os.path.dirname(path) for path in found} == {str(tmp_path / "data" / "outputs")}
    assert str(output_folder()) in found


def test_other_data_have_other_outputs(tmp_path, monkeypatch):
    first = output_folder()
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / "other"))
    assert output_folder().is_relative_to(tmp_path / "other")
    monkeypatch.setenv("VSNN_LAB_OUTPUT", str(tmp_path / "told"))
    assert output_folder() == tmp_path / "told"
    assert (tmp_path / "told").is_dir()
    assert first.is_dir()


@pytest.mark.slow
def test_a_kept_run_writes_to_its_own_folder_and_anew(tmp_path):
    runs = [Run.of(tiny(tmp_path, WRITES), {"SEED": seed}) for seed in (3, 4)]
    for run in runs:
        keep(run, progress=False)
    keep(runs[0], again=True, progress=False)
    assert [lines(run.folder / "files" / "seed") for run in runs] == [["3"], ["4"]]
    assert not (tmp_path / "data" / "outputs").exists()


@pytest.mark.slow
def test_an_executed_notebook_has_its_files_beside_it(tmp_path):
    output = run_notebook(
        tiny(tmp_path, WRITES), tmp_path / "a" / "out.ipynb", {"SEED": 5}, progress=False
    )
    path = tmp_path / "a" / "out_files" / "seed"
    assert nbformat.read(output, 4).cells[-1].outputs[0].text == f"{path}\n"
    run_notebook(tmp_path / "tiny.ipynb", output, files=tmp_path / "b", progress=False)
    assert (lines(path), lines(tmp_path / "b" / "seed")) == (["5"], ["0"])


def test_what_an_earlier_execution_wrote_is_gone(tmp_path, monkeypatch):
    def execute(notebook, output, parameters, files, **_):
        fake_execution(notebook, output, parameters)
        files.mkdir()

    # The package's own `keep` is the function.
    keeping = importlib.import_module("vsnn_lab.headless.runs.keep")
    monkeypatch.setattr(keeping, "run_notebook", execute)
    run = Run.of(tiny(tmp_path, "SEED"))
    for _ in range(2):
        keep(run, again=True)
        (run.folder / "files" / "left").touch()
    keep(run, again=True)
    assert list((run.folder / "files").iterdir()) == []
