"""The command line: what it says, what it refuses, and with which exit code it ends."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time

import nbformat
import pytest

from tests.tiny import RECORDS, fake_execution, lines, tiny
from vsnn_lab.headless import cli
from vsnn_lab.headless.cli import show
from vsnn_lab.headless.cli.arguments import requested_runs
from vsnn_lab.headless.runs import Run, keep
from vsnn_lab.headless.runs.folder import write_record

# papermill, dask and the kernels' clients warn about their own dependencies.
pytestmark = pytest.mark.filterwarnings("default")
KEEPING = importlib.import_module("vsnn_lab.headless.runs.keep")
SLEEPS = "import time\nopen(f'{FOLDER}/started', 'w').close()\ntime.sleep(600)"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Work in a folder with one notebook, its quick profile, and no runs."""
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notebooks").mkdir()
    told = "SEED = 0  # of the weights\nRATE = 0.1\nDATA = 'mnist'\nSIZES = [1]\nBY_NAME = {}"
    tiny(tmp_path / "notebooks", RECORDS, parameters=told, name="00_tiny")
    (tmp_path / "notebooks/quick.yaml").write_text("00_tiny: {SEED: 5}")
    return tmp_path


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setattr(KEEPING, "run_notebook", fake_execution)


@pytest.fixture
def vsnn_lab(monkeypatch, capsys):
    """Return what runs a command in this process: exit code, output, errors."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vsnn-lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run


def test_list_shows_each_notebooks_question_and_parameters(vsnn_lab):
    code, out, _ = vsnn_lab("list")
    assert code == 0
    assert out.splitlines()[0] == "00_tiny  00_tiny"
    assert out.splitlines()[1].split() == ["SEED", "0", "of", "the", "weights"]


@pytest.mark.slow
def test_run_executes_once_and_shows_what_was_recorded(vsnn_lab):
    for said in ("done", "there already"):
        code, out, err = vsnn_lab("run", "00", "-p", "SEED=4")
        assert code == 0, err
        assert f"00_tiny: {said}, in " in out
        assert "twice = 8" in out
        assert "Kernel is running over TCP" not in err


@pytest.mark.usefixtures("without_kernels")
def test_run_takes_a_profile_below_what_is_named(vsnn_lab):
    assert "twice = 10" in vsnn_lab("run", "00", "--profile", "quick")[1]
    assert "twice = 6" in vsnn_lab("run", "00", "--profile", "quick", "-p", "SEED=3")[1]
    assert "twice = 0" in vsnn_lab("run", "00")[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "00", "-p", "SED=1"], "got 'SED'; did you mean SEED?"),
        (["run", "00", "-p", "SEED=1.5"], "SEED must be an int, as its default 0 is, got 1.5"),
        (["run", "00", "-p", "SEED"], "-p must be NAME=VALUE, got SEED"),
        (["run", "00", "-p", "SEED=1", "-p", "SEED=2"], "-p must name SEED once, got 1 and 2"),
        (["run", "07"], "no notebook 07 in notebooks, which has 00_tiny"),
        (["run", "00", "--profile", "slow"], "no such file of profiles: notebooks/slow.yaml"),
        (["run", "00", "--notebooks", "data"], "no notebook 00 in data, which has none"),
        (["sweep", "00", "-g", "SEED=4..0"], "the end of 4..0 must be at least 4, got 0"),
        (["sweep", "00", "-g", "SEED=1,a"], "SEED must be an int, as its default 0 is, got 'a'"),
        (["sweep", "00", "-g", "SED=1"], "got 'SED'; did you mean SEED?"),
        (["sweep", "00", "-g", "SEED=1", "--workers", "0"], "workers must be at least 1, got 0"),
        (
            ["sweep", "00", "--slurm", "2", "--scheduler", "tcp://a:1"],
            "slurm must be None beside a scheduler",
        ),
        (
            ["sweep", "00", "--slurm", "2", "--workers", "3"],
            "workers must be None beside a scheduler or Slurm, got 3 and slurm=2",
        ),
        (
            ["sweep", "00", "-p", "SEED=1", "-g", "SEED=1,2"],
            "-g must name what -p does not, got SEED in both",
        ),
        (
            ["sweep", "00", "-g", "SEED=1,0..99999999999"],
            "-g must have spans of at most 10,000 values, got SEED=0..99999999999",
        ),
        (["figures", "00", "missing.yaml"], "no such file of profiles: missing.yaml"),
        (
            ["figures", "00", "notebooks/quick.yaml", "--only", "cifar"],
            "--only must name runs among 00_tiny, got cifar",
        ),
        (["figures", "00", "notebooks/quick.yaml", "-p", "SEED"], "-p must be NAME=VALUE"),
        (["report"], "no runs yet in "),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_what_makes_no_sense_is_refused_in_one_line(arguments, message, vsnn_lab, folder):
    code, _, err = vsnn_lab(*arguments)
    assert code == 1
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (folder / "data").exists()


@pytest.mark.parametrize("text", ["{", "[1, 2]", "a: 1", "a: \ud800".encode("utf-8", "replace")])
def test_profiles_of_another_kind_are_refused(text, vsnn_lab, folder):
    path = folder / "junk.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    code, _, err = vsnn_lab("figures", "00", path)
    assert code == 1
    assert "error: profiles must " in err
    assert "junk.yaml" in err


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (["SEED=0..4"], [0, 1, 2, 3, 4]),
        (["SEED=5,10"], [5, 10]),
        (["SEED=-1..1,7"], [-1, 0, 1, 7]),
        (["RATE=1,0.5"], [1.0, 0.5]),
        (["DATA=mnist,fashion-mnist"], ["mnist", "fashion-mnist"]),
        (["SIZES=[1,2],[3]"], [[1, 2], [3]]),
        (["SIZES=[1, 2]"], [[1, 2]]),
        (["BY_NAME={'a': 1, 'b': 2},{}"], [{"a": 1, "b": 2}, {}]),
        (["SEED=1,1,0..1"], [1, 0]),
        (["RATE=1,1.0"], [1.0]),
        (["DATA='/a,b/c'"], ["/a,b/c"]),
        (["DATA=\"/a,b/c\", /d ,'0..2'"], ["/a,b/c", "/d", "0..2"]),
        (["DATA=it's,that's"], ["it's", "that's"]),
        (["DATA='a' or 'b',c"], ["'a' or 'b'", "c"]),
        (["DATA=C:\\x (1,/d]"], ["C:\\x (1", "/d]"]),
        (["BY_NAME={'a]': [1, 2]},{'b': ','}"], [{"a]": [1, 2]}, {"b": ","}]),
        (["DATA="], [""]),
    ],
    ids=str,
)
def test_a_grid_is_values_spans_or_lists(grid, expected):
    name = grid[0].partition("=")[0]
    found = requested_runs("00", ["DATA=emoji"] if name != "DATA" else None, grid, "full", None)
    assert [run.parameters[name] for run in found] == expected
    assert all(run.parameters["DATA"] == "emoji" for run in found if name != "DATA")


def test_a_grid_of_two_names_is_every_combination():
    found = requested_runs("00", None, ["SEED=0..2", "RATE=0.1,0.2"], "quick", None)
    pairs = [(run.parameters["SEED"], run.parameters["RATE"]) for run in found]
    assert pairs == [(seed, rate) for seed in range(3) for rate in (0.1, 0.2)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "cell",
    [
        "raise ValueError('the claim')",
        "import ipywidgets\n\n\ndef fail(change):\n    raise ValueError('the claim')\n\n\n"
        "slider = ipywidgets.IntSlider(1, 1, 9)\nslider.observe(fail, 'value')",
    ],
    ids=["cell", "callback"],
)
def test_a_failing_cell_or_callback_exits_with_1_and_is_shown(cell, vsnn_lab, folder):
    tiny(folder / "notebooks", cell, name="01_fails")
    code, _, err = vsnn_lab("run", "01")
    assert code == 1
    assert "01_fails failed" in err
    assert "raise ValueError('the claim')" in err
    assert f"what ran until then is in {folder}/data/runs/notebooks/01_fails/" in err
    code, out, _ = vsnn_lab("status")
    assert code == 0
    assert "failed" in out


@pytest.mark.usefixtures("without_kernels")
def test_a_run_that_is_named_twice_is_one_run_of_the_sweep(vsnn_lab, folder):
    keep(Run.of(folder / "notebooks/00_tiny.ipynb", {"SEED": 1}))
    code, out, err = vsnn_lab("sweep", "00", "-g", "SEED=1,1")
    assert (code, out) == (0, "1 done\n"), err


@pytest.mark.usefixtures("without_kernels")
def test_status_lists_runs_of_every_state(vsnn_lab, folder, monkeypatch):
    monkeypatch.setattr(show.out, "width", 2000)  # no row is broken
    assert "no runs yet in " in vsnn_lab("status")[1]
    path = folder / "notebooks/00_tiny.ipynb"
    runs = [Run.of(path, {"SEED": seed}) for seed in (1, 2, 3, 4, 5)]
    for run in runs[:2]:
        keep(run)
    (runs[1].folder / "results.json").write_text("{")
    begun = {"SEED": 3, "RATE": 0.1, "SIZES": [1]}
    for run, metadata in ((runs[2], {"papermill": {"parameters": begun}}), (runs[3], None)):
        run.folder.mkdir()
        notebook = nbformat.v4.new_notebook(metadata=metadata or {})
        nbformat.write(notebook, run.folder / "running.ipynb")
    runs[4].folder.mkdir()
    (runs[4].folder / "running.ipynb").write_text('{"cells": [')
    code, out, _ = vsnn_lab("status", "00_tiny")
    assert code == 0
    found = sorted(" ".join(line.split()) for line in out.splitlines()[1:])
    rows = {run.folder.name: row for run in runs for row in found if run.folder.name in row}
    assert re.fullmatch(rf"00_tiny done [\d.]+ SEED=1 twice=2 {runs[0].folder.name}", found[1])
    assert "00_tiny damaged" in found[0]
    assert rows[runs[2].folder.name] == f"00_tiny stopped SEED=3 {runs[2].folder.name}"
    assert rows[runs[3].folder.name] == f"00_tiny stopped {runs[3].folder.name}"
    assert "00_tiny stopped running.ipynb cannot be read" in rows[runs[4].folder.name]


@pytest.mark.usefixtures("without_kernels")
def test_status_of_an_unknown_name_says_which_have_runs(vsnn_lab, folder):
    assert "no runs yet in " in vsnn_lab("status", "other")[1]
    tiny(folder / "notebooks", RECORDS, name="01_other")
    for name in ("00_tiny", "01_other"):
        keep(Run.of(folder / f"notebooks/{name}.ipynb", {"SEED": 1}))
    for unknown in ("02", "other", "[0"):
        code, _, err = vsnn_lab("status", unknown)
        assert code == 1
        assert "notebook must be one that has runs in " in err
        assert f"notebooks, 00_tiny, 01_other, got {unknown}\n" in err
    assert vsnn_lab("status", "01")[1].count("_other") == 1


@pytest.mark.parametrize(
    "arguments", [["run", "00"], ["status"], ["sweep", "00", "-g", "SEED=1"], ["report"]]
)
@pytest.mark.parametrize("place", ["data", "data/runs", "data/runs/notebooks"])
def test_a_file_where_the_runs_should_be_is_named(place, arguments, vsnn_lab, folder):
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).touch()
    code, _, err = vsnn_lab(*arguments)
    assert code == 1
    message = f"runs must be kept in a folder, got the file {folder / place}; move it"
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


@pytest.mark.usefixtures("without_kernels")
def test_a_file_in_place_of_one_run_is_named(vsnn_lab, folder):
    run = Run.of(folder / "notebooks/00_tiny.ipynb")
    run.folder.parent.mkdir(parents=True)
    run.folder.touch()
    code, _, err = vsnn_lab("run", "00")
    assert code == 1
    assert f"got the file {run.folder}; move it" in err


@pytest.mark.usefixtures("without_kernels")
def test_a_report_shows_runs_in_the_order_in_which_they_began(vsnn_lab, folder, monkeypatch):
    seeds = (4, 1, 3, 0, 2)
    folders = []
    for day, seed in enumerate(seeds, 1):
        run = Run.of(folder / "notebooks/00_tiny.ipynb", {"SEED": seed})
        keep(run)
        told = run.read() | {"started": f"2026-01-0{day}T00:00:00+00:00"}
        write_record(run.folder, told, ["notebook.ipynb", "results.json"])
        folders.append(run.folder.name)
    assert vsnn_lab("report", "--output", folder / "site")[0] == 0
    front = (folder / "site" / "index.html").read_text()
    places = [front.index(f">00_tiny-{name}<") for name in folders]
    assert places == sorted(places)


@pytest.mark.usefixtures("without_kernels")
def test_a_damaged_run_is_made_anew_by_again_and_left_out_of_a_report(vsnn_lab, folder):
    runs = [Run.of(folder / "notebooks/00_tiny.ipynb", {"SEED": seed}) for seed in (1, 2)]
    for run in runs:
        keep(run)
    (runs[1].folder / "results.json").write_text("{")
    code, out, err = vsnn_lab("report", "--output", folder / "site")
    assert code == 0, err
    assert f"left out: {runs[1].folder}/results.json is damaged" in err
    pages = sorted(path.name for path in (folder / "site").glob("*.html"))
    assert len(pages) == 2
    assert runs[0].folder.name in pages[0]
    assert "is damaged" in vsnn_lab("run", "00", "-p", "SEED=2")[2]
    code, out, err = vsnn_lab("run", "00", "-p", "SEED=2", "--again")
    assert code == 0, err
    assert "twice = 4" in out
    assert runs[1].state == "done"


def test_data_that_does_not_exist_is_refused(vsnn_lab):
    code, _, err = vsnn_lab("data", "imagenet")
    assert code == 2
    assert "imagenet" in err


def test_a_text_may_be_empty_or_hold_spaces_and_equals_signs():
    for text in ("", " a = b ", "a=b,c"):
        (found,) = requested_runs("00", [f"DATA={text}"], None, "full", None)
        assert found.parameters["DATA"] == text


def test_ctrl_c_hides_how_abandoned_tasks_fail():
    program = """
import asyncio, gc, os, signal
from vsnn_lab.headless.cli.interrupt import interruptible

async def fail():
    raise ValueError("the kernel died")

async def wait():
    task = asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGINT)

loop = asyncio.new_event_loop()
try:
    with interruptible():
        loop.run_until_complete(wait())
except KeyboardInterrupt:
    gc.collect()
    print("stopped")
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr.strip()) == (
        "stopped\n",
        "stopping; Ctrl-C again leaves at once",
    )


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("asked", [["run"], ["sweep", "-g", "SEED=0..1", "--workers", "1"]])
def test_ctrl_c_ends_with_130_at_once(asked, times, folder):
    path = tiny(folder, SLEEPS, parameters="SEED = 0\nFOLDER = ''")
    name, *options = asked
    command = [
        sys.executable,
        "-m",
        "vsnn_lab.headless.cli",
        name,
        str(path),
        "-p",
        f"FOLDER={folder}",
    ]
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (folder / "started").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.1)
    err = ""
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)
        # Whatever it does by then.
        while times == 2 and "stopping" not in err and process.poll() is None:
            err += process.stderr.readline()
    err += process.communicate()[1]
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "stopping; Ctrl-C again leaves at once" in err
    if times == 2:
        return
    told = {
        "run": f"stopped; what ran until then is in {folder}/data/runs/notebooks/tiny/",
        "sweep": "stopped; 0 of 2 runs are kept; the same command goes on",
    }
    assert told[name] in err
    assert lines(folder / "log") == []
    states = {Run.of(path, {"FOLDER": str(folder), "SEED": seed}).state for seed in (0, 1)}
    assert states == {"stopped", "new"}
