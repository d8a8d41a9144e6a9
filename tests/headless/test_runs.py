"""Runs of notebooks: told apart by what they depend on, executed once, kept whole or not at all."""

import importlib
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import nbformat
import pandas as pd
import pytest
import torch
from jupyter_client.connect import LocalPortCache
from nbclient.exceptions import DeadKernelError
from papermill import PapermillExecutionError

from tests.tiny import RECORDS, fake_execution, lines, tiny
from vsnn_lab.figures import Metric
from vsnn_lab.headless.runs import Run, keep, load_runs, metrics, record, results, run_notebook
from vsnn_lab.headless.runs.folder import write_record

# papermill and its kernel's client warn about their own dependencies.
pytestmark = pytest.mark.filterwarnings("default")
KEEPING = importlib.import_module(
    "vsnn_lab.headless.runs.keep"
)  # the package's own `keep` is the function
SLEEPS = """import time
from pathlib import Path

Path(FOLDER, "started").touch()
while not Path(FOLDER, "go").exists():
    time.sleep(0.1)"""
LOGS = """with open(f"{FOLDER}/log", "a") as log:
    log.write(f"{SEED}\\n")"""
IN_FOLDER = "SEED = 0\nFOLDER = ''"
BARS = """import time
from tqdm.auto import tqdm

for _ in range(2):
    for _ in tqdm(range(4), mininterval=0):
        time.sleep(0.6)"""


@pytest.fixture(autouse=True)
def own_results(tmp_path, monkeypatch):
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / "data"))


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setattr(KEEPING, "run_notebook", fake_execution)


def keeping(notebook, **parameters):
    """Start a process that keeps a run."""
    run = f"Run.of({str(notebook)!r}, {parameters})"
    code = f"from vsnn_lab.headless.runs import Run, keep\nkeep({run})"
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)


def wait_for(path, process, seconds=300):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < end, f"no {path.name} after {seconds} s"
        time.sleep(0.1)


def kept_results(folder, monkeypatch, seed, **values):
    """Keep a run whose last cell recorded some values, and return what is found of it."""
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    record(**values)
    # As a kernel's message, which has no NaN.
    data = json.loads(json.dumps(shown[0], allow_nan=False))

    def execute(notebook, output, parameters, **_):
        fake_execution(notebook, output, parameters)
        executed = nbformat.read(output, 4)
        executed.cells[-1].outputs = [nbformat.v4.new_output("display_data", data)]
        nbformat.write(executed, output)

    monkeypatch.setattr(KEEPING, "run_notebook", execute)
    run = Run.of(tiny(folder, "SEED"), {"SEED": seed})
    keep(run)
    return results(run.folder)


class TestIdentity:
    def test_a_default_that_is_named_makes_no_other_run(self, tmp_path):
        path = tiny(tmp_path)
        assert Run.of(path) == Run.of(path, {"SEED": 0})
        assert Run.of(path).state == "new"
        assert Run.of(path).folder.parent == tmp_path / "data/runs/notebooks/tiny"

    def test_prose_and_outputs_make_no_other_run(self, tmp_path):
        path = tiny(tmp_path, "SEED")
        before = Run.of(path)
        fake_execution(path, path, {"SEED": 3})
        assert Run.of(path) == before

    def test_another_parameter_cell_or_source_of_the_package_makes_another(
        self, tmp_path, monkeypatch
    ):
        found = {Run.of(tiny(tmp_path, "SEED")).folder, Run.of(tiny(tmp_path, "SEED + 1")).folder}
        found.add(Run.of(tmp_path / "tiny.ipynb", {"SEED": 1}).folder)
        folder = importlib.import_module("vsnn_lab.headless.runs.folder")
        monkeypatch.setattr(folder, "_package_digest", lambda: "edited")
        found.add(Run.of(tmp_path / "tiny.ipynb", {"SEED": 1}).folder)
        assert len(found) == 4

    def test_what_a_parameter_names_is_part_of_the_run(self, tmp_path, monkeypatch):
        path = tiny(tmp_path, parameters="FOLDER = ''\nFILES = ['']\nDEEP = {}")
        images = tmp_path / "here" / "images"
        (images / "cats").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / "here")

        def names():
            told = {"FOLDER": "images"}, {"FILES": ["a", "images"]}, {"DEEP": {"of": ["images"]}}
            return [Run.of(path, each).folder.name for each in told]

        found = [names()]
        assert names() == found[0]
        picture = images / "cats" / "1.png"
        picture.write_text("one")
        found.append(names())
        os.utime(picture, ns=(1, 1))
        found.append(names())
        picture.write_text("another")
        os.utime(picture, ns=(1, 1))
        found.append(names())
        picture.rename(images / "1.png")
        found.append(names())
        elsewhere = tmp_path / "there"
        shutil.copytree(tmp_path / "here", elsewhere)
        monkeypatch.chdir(elsewhere)
        found.append(names())
        for several in zip(*found, strict=True):
            assert len(set(several)) == len(found)

    def test_a_file_that_a_parameter_names_is_part_of_the_run(self, tmp_path):
        path, file = tiny(tmp_path, parameters="FILE = ''"), tmp_path / "table.csv"
        names = []
        for text in ("1", "22"):
            file.write_text(text)
            names.append(Run.of(path, {"FILE": str(file)}).folder.name)
        file.unlink()
        names.append(Run.of(path, {"FILE": str(file)}).folder.name)
        assert len(set(names)) == 3
        assert re.fullmatch("[0-9a-f]{12}", names[-1])  # as that of any run which names no file

    @pytest.mark.parametrize(
        "name", ["", "data", ".", "data/runs/notebooks", "link", "\0", "a" * 999]
    )
    def test_what_holds_the_runs_or_is_no_file_is_no_part_of_the_run(
        self, name, tmp_path, monkeypatch
    ):
        path = tiny(tmp_path, "SEED", parameters=IN_FOLDER)
        (tmp_path / "data/runs/notebooks").mkdir(parents=True)
        (tmp_path / "link").symlink_to(tmp_path / "data")
        monkeypatch.chdir(tmp_path)
        run = Run.of(path, {"FOLDER": name})
        (tmp_path / "data/runs/notebooks/log").touch()
        assert Run.of(path, {"FOLDER": name}) == run
        assert re.fullmatch("[0-9a-f]{12}", run.folder.name)
        mine = Run.of(path, {"FOLDER": str(tmp_path / "own")}, tmp_path / "own" / "runs")
        mine.lock()
        assert Run.of(path, {"FOLDER": str(tmp_path / "own")}, tmp_path / "own" / "runs") == mine

    def test_links_that_lead_back_or_nowhere_are_looked_at_once(self, tmp_path):
        images = tmp_path / "images"
        for one, other in (("a", "b"), ("b", "a")):
            (images / one).mkdir(parents=True)
            (images / one / "picture").touch()
            (images / one / "link").symlink_to(images / other)
        (images / "nowhere").symlink_to(images / "gone")
        path = tiny(tmp_path, parameters=IN_FOLDER)
        run = Run.of(path, {"FOLDER": str(images)})
        assert Run.of(path, {"FOLDER": str(images)}) == run
        (images / "b" / "more").touch()
        assert Run.of(path, {"FOLDER": str(images)}) != run

    @pytest.mark.usefixtures("without_kernels")
    def test_a_run_goes_on_though_another_wrote_to_the_folder_that_both_name(self, tmp_path):
        path, shared = tiny(tmp_path, "SEED", parameters=IN_FOLDER), tmp_path / "shared"
        run = Run.of(path, {"FOLDER": str(shared)})
        shared.mkdir()
        (shared / "figure").touch()
        assert keep(run)["state"] == "done"

    def test_a_notebook_that_was_edited_since_is_not_run(self, tmp_path):
        run = Run.of(tiny(tmp_path, "SEED"))
        tiny(tmp_path, "SEED + 1")
        with pytest.raises(ValueError, match=r"run must be of code as it is now, got .*tiny"):
            keep(run)


class TestKept:
    def test_a_kernel_that_is_not_installed_is_refused_before_anything_starts(self, tmp_path):
        run = Run.of(tiny(tmp_path, "SEED", kernel="myenv"))
        told = r"notebook must name an installed kernel, got myenv; installed: .*python3"
        with pytest.raises(ValueError, match=told):
            keep(run, progress=False)
        assert run.state == "new"
        nbformat.write(nbformat.v4.new_notebook(), tmp_path / "none.ipynb")
        with pytest.raises(ValueError, match=r"installed kernel, got none; installed: .*python3"):
            run_notebook(tmp_path / "none.ipynb", tmp_path / "out" / "none.ipynb")
        assert not (tmp_path / "out").exists()

    @pytest.mark.slow
    def test_a_kernel_whose_port_another_program_took_is_started_again(self, tmp_path, monkeypatch):
        chosen, taken = LocalPortCache.find_available_port, socket.create_server(("127.0.0.1", 0))
        ports = [taken.getsockname()[1]]
        monkeypatch.setattr(
            LocalPortCache,
            "find_available_port",
            lambda cache, ip: ports.pop() if ports else chosen(cache, ip),
        )
        with taken:
            notebook = tiny(tmp_path, "print(SEED)")
            output = run_notebook(notebook, tmp_path / "out.ipynb", {"SEED": 5}, progress=False)
        assert not ports
        assert nbformat.read(output, 4).cells[-1].outputs[0].text == "5\n"

    @pytest.mark.slow
    def test_a_run_executes_once_and_tells_all_about_itself(self, tmp_path):
        git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
        for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
            subprocess.run([*git, *command], check=True)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True).stdout
        run = Run.of(
            tiny(tmp_path, RECORDS, LOGS, parameters=IN_FOLDER),
            {"SEED": 4, "FOLDER": str(tmp_path)},
        )
        cells = []
        told = keep(run, progress=False, on_cell=lambda *done: cells.append(done))
        assert keep(run) == run.read() == told
        assert lines(tmp_path / "log") == ["4"]
        # The parameters, those injected, two more, and the move of the sliders.
        assert cells == [(done, 5) for done in range(1, 6)]
        assert run.state == told["state"] == "done"
        assert told["parameters"] == {"SEED": 4, "FOLDER": str(tmp_path)}
        assert told["commit"] == head.strip() + "+"
        assert told["versions"]["torch"] == torch.__version__
        assert told["seed"] == 4
        assert {"parameters", "cell-0", "cell-1"} <= told["cells"].keys()
        assert 0 < sum(told["cells"].values()) < told["seconds"]
        assert results(run.folder) == {"twice": 8}
        names = {"notebook.ipynb", "run.json", "results.json"}
        assert {path.name for path in run.folder.iterdir()} - {".lock"} == names
        keep(run, again=True, progress=False)
        assert lines(tmp_path / "log") == ["4", "4"]

    @pytest.mark.slow
    def test_a_cell_tells_how_far_its_progress_bars_are(self, tmp_path):
        told = []
        keep(Run.of(tiny(tmp_path, BARS)), progress=False, on_cell=lambda *far: told.append(far))
        # The bars' cell comes third, after the parameters and those injected.
        shares = [done - 2 for done, _ in told if done != int(done)]
        assert set(shares) == {0.25, 0.5, 0.75}
        assert len(shares) > 4  # of either bar
        assert [done for done, _ in told if done == int(done)] == [1, 2, 3, 4]

    @pytest.mark.slow
    def test_a_failed_cell_is_recorded_and_the_run_tried_again(self, tmp_path):
        fails = (
            f"from pathlib import Path\nassert Path({str(tmp_path)!r}, 'go').exists(), 'the claim'"
        )
        run = Run.of(tiny(tmp_path, RECORDS, fails))
        with pytest.raises(PapermillExecutionError, match="the claim"):
            keep(run, progress=False)
        failure = run.read()["failure"]
        assert run.state == "failed"
        assert failure["error"] == "AssertionError: the claim"
        assert failure["source"] == fails
        assert results(run.folder) == {}
        (tmp_path / "go").touch()
        assert keep(run, progress=False)["failure"] is None
        assert run.state == "done"

    @pytest.mark.slow
    def test_a_kernel_that_dies_fails_the_run(self, tmp_path):
        run = Run.of(tiny(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)"))
        with pytest.raises(DeadKernelError):
            keep(run, progress=False)
        assert run.state == "failed"
        assert "DeadKernelError" in run.read()["failure"]["error"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "source",
        [
            "slider = widgets.IntSlider(1, 1, 9)\nslider.observe(lambda change: 1 / 0, 'value')",
            "button = widgets.Button()\nbutton.on_click(lambda b: 1 / 0)\nbutton.click()",
        ],
        ids=["slider", "button"],
    )
    def test_a_callback_that_fails_fails_the_run(self, source, tmp_path):
        run = Run.of(tiny(tmp_path, f"import ipywidgets as widgets\n{source}"))
        with pytest.raises(PapermillExecutionError, match="division by zero"):
            keep(run, progress=False)
        assert run.state == "failed"

    @pytest.mark.slow
    def test_a_run_that_was_killed_is_stopped_and_runs_again(self, tmp_path):
        path = tiny(tmp_path, RECORDS, SLEEPS, LOGS, parameters=IN_FOLDER)
        run = Run.of(path, {"FOLDER": str(tmp_path)})
        process = keeping(path, FOLDER=str(tmp_path))
        wait_for(tmp_path / "started", process)
        assert run.state == "running"
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert run.state == "stopped"
        with pytest.raises(FileNotFoundError, match="no run has ended in "):
            run.read()
        assert load_runs().empty
        time.sleep(3)  # its kernel looks every second whether it is an orphan
        (tmp_path / "go").touch()
        keep(run, progress=False)
        assert run.state == "done"
        assert lines(tmp_path / "log") == ["0"]

    @pytest.mark.slow
    def test_two_processes_that_ask_for_the_same_run_execute_it_once(self, tmp_path):
        (tmp_path / "go").touch()
        path = tiny(tmp_path, SLEEPS, LOGS, parameters=IN_FOLDER)
        processes = [keeping(path, FOLDER=str(tmp_path)) for _ in range(2)]
        for process in processes:
            assert process.communicate()[1] is not None
            assert process.returncode == 0
        assert lines(tmp_path / "log") == ["0"]

    @pytest.mark.usefixtures("without_kernels")
    @pytest.mark.parametrize("step", ["results", "run.json"])
    def test_what_is_half_written_is_no_result(self, step, tmp_path, monkeypatch):
        class Killed(BaseException):
            pass

        def kill(*_, **__):
            raise Killed

        run = Run.of(tiny(tmp_path, "SEED"), {"SEED": 3})
        with monkeypatch.context() as patch:
            patch.setattr(KEEPING, "recorded_values" if step == "results" else "write_record", kill)
            with pytest.raises(Killed):
                keep(run)
        assert run.state == ("stopped" if step == "results" else "new")
        assert load_runs().empty
        with pytest.raises(FileNotFoundError, match="no run has ended"):
            results(run.folder)
        keep(run)
        assert results(run.folder) == {"twice": 6}


class TestTable:
    @pytest.mark.usefixtures("without_kernels")
    def test_many_runs_are_one_table(self, tmp_path):
        path = tiny(tmp_path, "SEED")
        for seed in (2, 0, 1):
            keep(Run.of(path, {"SEED": seed}))
        keep(Run.of(tiny(tmp_path, "SEED", name="other")))
        table = load_runs(notebook="tiny").sort_values("SEED")
        assert table["SEED"].tolist() == [0, 1, 2]
        assert table["twice"].tolist() == [0, 2, 4]
        assert table["commit"].isna().all()
        assert len(load_runs()) == 4
        assert len(load_runs(tmp_path / "elsewhere")) == 0

    @pytest.mark.usefixtures("without_kernels")
    def test_a_run_that_is_being_made_again_is_not_there(self, tmp_path):
        run = Run.of(tiny(tmp_path, "SEED"))
        keep(run)
        (run.folder / "run.json").rename(tmp_path / "run.json")
        assert load_runs().empty

    def test_what_is_recorded_is_in_the_cells_output(self, capsys):
        frame = pd.DataFrame({"loss": [0.5, 0.25]}, index=pd.Index([1, 2], name="width"))
        record(loss=0.5, widths=torch.tensor([1, 2]), name="mnist", sweep=frame)
        assert "recorded: loss = 0.5, widths = a list of 2, name = 'mnist', sweep" in (
            capsys.readouterr().out
        )

    def test_every_number_comes_back_as_it_was(self, tmp_path, monkeypatch):
        table = pd.DataFrame(
            {
                "width": [1, 2, 3],
                "loss": [math.nan, -math.inf, 1.23456789012e-10],
                "none": [math.nan] * 3,
                "name": ["a", "nan", None],
                "day": pd.to_datetime(["2026-01-02"] * 3),
            }
        )
        values = {"loss": math.nan, "float": "nan", "big": [torch.inf, None, 0.1], "table": table}
        values |= {"text": "inf", "scalar": torch.tensor(-math.inf), "flag": True}
        found = kept_results(tmp_path, monkeypatch, 1, **values)
        assert math.isnan(found["loss"])
        assert (found["float"], found["text"], found["flag"]) == ("nan", "inf", True)
        assert found["scalar"] == -math.inf
        assert found["big"] == [math.inf, None, 0.1]
        days = ["2026-01-02 00:00:00"] * 3
        pd.testing.assert_frame_equal(found["table"], table.assign(day=days), check_exact=True)

    def test_runs_are_sorted_by_a_result_that_is_not_finite_in_some(self, tmp_path, monkeypatch):
        for seed, loss in enumerate((math.inf, math.nan, 0.5)):
            kept_results(tmp_path, monkeypatch, seed, loss=loss)
        table = load_runs().sort_values("loss")
        assert table["SEED"].tolist() == [2, 0, 1]
        assert table["loss"].tolist()[:2] == [0.5, math.inf]

    def test_results_of_before_non_finite_numbers_were_kept_load_still(self, tmp_path, monkeypatch):
        old = {"loss": "nan", "table": {"columns": ["a", "b"], "data": [[1, None], [2, 0.5]]}}
        monkeypatch.setattr(KEEPING, "recorded_values", lambda _: old)
        found = kept_results(tmp_path, monkeypatch, 0)
        assert found["loss"] == "nan"
        expected = pd.DataFrame({"a": [1, 2], "b": [math.nan, 0.5]})
        pd.testing.assert_frame_equal(found["table"], expected)

    def test_a_metric_is_kept_with_what_it_measures(self, tmp_path, monkeypatch):
        accuracy = Metric("test accuracy", "higher", unit="%", scale=100)
        frame = pd.DataFrame({"width": [1, 2], "accuracy": [0.5, 0.9]})
        shown = []
        monkeypatch.setattr(
            "IPython.display.display", lambda data, **more: shown.append((data, more))
        )
        record(accuracy, best=0.9, count=3, curve=frame)
        record(loss=0.1, count=4)
        record(Metric("loss", "lower"), loss=0.2)

        def execute(notebook, output, parameters, **_):
            fake_execution(notebook, output, parameters)
            executed = nbformat.read(output, 4)
            executed.cells[-1].outputs = [
                nbformat.v4.new_output("display_data", data, metadata=more.get("metadata", {}))
                for data, more in json.loads(json.dumps(shown))
            ]
            nbformat.write(executed, output)

        monkeypatch.setattr(KEEPING, "run_notebook", execute)
        run = Run.of(tiny(tmp_path, "SEED"))
        keep(run)
        found = {"best": accuracy, "curve": accuracy, "loss": Metric("loss", "lower")}
        assert metrics(run.folder) == found
        assert results(run.folder)["loss"] == 0.2
        assert load_runs()["count"].tolist() == [4]
        assert shown[0][0]["text/plain"].startswith("recorded: best = 90 %, count = 300 %, curve")
        with pytest.raises(TypeError, match="metric must be a Metric or None, got 'accuracy'"):
            record("accuracy", best=0.9)

    @pytest.mark.usefixtures("without_kernels")
    def test_runs_that_were_kept_without_metrics_have_none(self, tmp_path):
        run = Run.of(tiny(tmp_path, "SEED"))
        keep(run)
        told = run.read()
        del told["metrics"], told["files"]
        write_record(run.folder, told, ["notebook.ipynb", "results.json"])
        assert metrics(run.folder) == {}
        assert results(run.folder) == {"twice": 0}

    @pytest.mark.parametrize("value", [object(), {"a": 1}, [[1]], 1j, b"x"])
    def test_what_no_file_can_hold_is_not_recorded(self, value):
        with pytest.raises(TypeError, match=r"loss must be a number, a text, .* got "):
            record(loss=value)


def test_recording_loads_no_machinery_of_notebooks():
    code = "import sys, vsnn_lab.headless.runs\n"
    code += "print([m for m in ('papermill', 'nbclient', 'nbformat') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
