"""Sweeps: many runs, several at a time, each executed once, whatever dies on the way."""

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from tests.tiny import RECORDS, fake_execution, lines, tiny
from vsnn_lab._basics.threads import SPIN_COUNT_LINE
from vsnn_lab.headless.runs import Run, load_runs
from vsnn_lab.headless.sweeps import Outcome, grid, slurm_cluster, sweep

# dask and the kernels' clients warn about their own dependencies.
pytestmark = pytest.mark.filterwarnings("default")
PARAMETERS = "SEED = 0\nFOLDER = ''"
PAUSE = "import time\n\ntime.sleep(0.2)"
# The kernel's parent is the worker.
VICTIM = """import os, time
from pathlib import Path

note = Path(FOLDER, "victim")
if SEED == 1 and not note.exists():
    note.with_suffix(".part").write_text(str(os.getppid()))
    note.with_suffix(".part").rename(note)
    time.sleep(600)"""
# The run of seed 0 keeps its worker until all others are done.
LAST = """import time
from pathlib import Path

log = Path(FOLDER, "log")
while SEED == 0 and (not log.exists() or log.read_text().count("\\n") < 4):
    time.sleep(0.1)"""
LOGS = """with open(f"{FOLDER}/log", "a") as log:
    log.write(f"{SEED}\\n")"""


@pytest.fixture(autouse=True)
def own_results(tmp_path, monkeypatch):
    monkeypatch.setenv("VSNN_LAB_DATA", str(tmp_path / "data"))


def asked(notebook, folder, seeds):
    return [Run.of(notebook, {"SEED": seed, "FOLDER": str(folder)}) for seed in seeds]


def command(notebook, folder, seeds):
    given = [notebook, "-p", f"FOLDER={folder}", "-g", f"SEED={seeds}", "--workers", "2"]
    return [sys.executable, "-m", "vsnn_lab.headless.cli", "sweep", *map(str, given)]


def wait_until(true, seconds=300):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.05)


class TestGrid:
    def test_every_combination_is_there_once_the_last_name_fastest(self):
        found = grid({"EPOCHS": [5, 10], "DATA": ["mnist", "emoji"], "SEED": range(2)})
        expected = [(e, d, s) for e in (5, 10) for d in ("mnist", "emoji") for s in (0, 1)]
        assert [tuple(each.values()) for each in found] == expected
        assert grid({}) == [{}]

    def test_a_name_without_values_is_refused(self):
        with pytest.raises(ValueError, match="SEED must have at least one value, got none"):
            grid({"EPOCHS": [5], "SEED": []})
        with pytest.raises(TypeError, match=r"SEED must be a sequence .* got 8 .*; \[8\] is a"):
            grid({"SEED": 8})


class TestRefused:
    def test_what_makes_no_sense_is_refused_before_anything_starts(self, tmp_path):
        run = Run.of(tiny(tmp_path))
        with pytest.raises(TypeError, match=r"runs must hold runs, got 'tiny'; Run\.of"):
            sweep(["tiny"])
        with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
            sweep([run], workers=0)
        with pytest.raises(ValueError, match="slurm must be None beside a scheduler, got 2"):
            sweep([run], slurm=2, scheduler="tcp://127.0.0.1:1")
        for other in ({"slurm": 2}, {"scheduler": "tcp://127.0.0.1:1"}):
            with pytest.raises(ValueError, match=r"workers must be None beside .* got 3 and s"):
                sweep([run], workers=3, **other)

    def test_slurm_is_refused_where_it_is_not(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PATH", str(tmp_path))
        run = Run.of(tiny(tmp_path))
        with pytest.raises(FileNotFoundError, match=r"slurm must be asked for on .* got 2 without"):
            sweep([run], slurm=2)
        (tmp_path / "sbatch").touch(0o755)
        sweep([run], slurm=2)  # nothing starts before the first outcome is asked for

    def test_a_scheduler_that_does_not_answer_is_named(self, tmp_path):
        pytest.importorskip("distributed")  # which brings the defaults that are set back below
        import dask

        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # nobody listens
            address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
            with (
                dask.config.set({"distributed.comm.timeouts.connect": "0.5s"}),
                pytest.raises(ConnectionError, match=f"scheduler must be .* got '{address}': "),
            ):
                next(sweep([Run.of(tiny(tmp_path))], scheduler=address))

    def test_runs_that_are_there_need_no_worker(self, tmp_path, monkeypatch):
        keeping = importlib.import_module("vsnn_lab.headless.runs.keep")
        monkeypatch.setattr(keeping, "run_notebook", fake_execution)
        kept, broken = (Run.of(tiny(tmp_path, "SEED"), {"SEED": seed}) for seed in (0, 1))
        keeping.keep(kept)
        keeping.keep(broken)
        (broken.folder / "results.json").write_text("")
        first, second = sweep([kept, kept, broken], scheduler="tcp://nowhere:1")
        assert first == Outcome(kept, "done", executed=False)
        assert second.state == "failed"
        assert "results.json is damaged" in second.error


@pytest.mark.slow
def test_a_sweep_that_is_killed_goes_on_where_it_was(tmp_path):
    path = tiny(tmp_path, PAUSE, RECORDS, LOGS, parameters=PARAMETERS)
    log, every = tmp_path / "log", [str(seed) for seed in range(9)]
    runs = asked(path, tmp_path, range(9))
    with (tmp_path / "terminal").open("w") as terminal:
        process = subprocess.Popen(
            command(path, tmp_path, "0..8"),
            stdout=terminal,
            stderr=terminal,
            start_new_session=True,
        )
        wait_until(lambda: len(lines(log)) >= 4 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(3)  # kernels look every second whether they are orphans
    done = [run.parameters["SEED"] for run in runs if run.state == "done"]
    assert 2 <= len(done) < 9, (tmp_path / "terminal").read_text()
    again = subprocess.run(command(path, tmp_path, "0..8"), capture_output=True, text=True)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stderr.count("there already") == len(done)
    assert "9 done" in again.stdout
    assert all(run.state == "done" for run in runs)
    table = load_runs().sort_values("SEED")
    assert table["SEED"].tolist() == list(range(9))
    assert table["twice"].tolist() == list(range(0, 18, 2))
    logged = lines(log)
    assert sorted(set(logged), key=int) == every
    assert [logged.count(str(seed)) for seed in done] == [1] * len(done)
    # Two workers, each of which may have died between a run's last cell and its record.
    assert len(logged) <= 11


@pytest.mark.slow
def test_the_run_of_a_worker_that_dies_goes_to_another(tmp_path, capfd):
    path = tiny(tmp_path, VICTIM, RECORDS, LOGS, parameters=PARAMETERS)
    note = tmp_path / "victim"

    def kill():
        wait_until(note.exists)
        os.kill(int(note.read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    cells = []
    outcomes = list(
        sweep(asked(path, tmp_path, range(4)), workers=2, on_cell=lambda *told: cells.append(told))
    )
    killer.join()
    assert [outcome.state for outcome in outcomes] == ["done"] * 4
    assert sorted(lines(tmp_path / "log")) == ["0", "1", "2", "3"]
    assert sorted(load_runs()["twice"]) == [0, 2, 4, 6]
    assert {run.parameters["SEED"] for run, *_ in cells} == {0, 1, 2, 3}
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.slow
def test_runs_begin_in_the_order_in_which_they_were_asked_for(tmp_path):
    path = tiny(tmp_path, LAST, LOGS, parameters=PARAMETERS)
    outcomes = list(sweep(asked(path, tmp_path, (0, 5, 4, 3, 2)), workers=2))
    assert len(outcomes) == 5
    assert lines(tmp_path / "log") == ["5", "4", "3", "2", "0"]


@pytest.mark.slow
def test_a_run_that_fails_does_not_stop_the_others(tmp_path):
    claim = "assert SEED != 1, 'the claim'"
    path = tiny(tmp_path, claim, RECORDS, LOGS, parameters=PARAMETERS)
    done = subprocess.run(command(path, tmp_path, "0..2"), capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 done, 1 failed" in done.stdout
    assert "tiny SEED=1: failed" in done.stderr
    assert "AssertionError: the claim" in done.stderr
    assert "distributed" not in done.stderr
    assert sorted(lines(tmp_path / "log")) == ["0", "2"]


@contextmanager
def cluster_of_others(folder):
    """Start a scheduler and two workers, as a person might on several machines."""
    contact = folder / "scheduler.json"
    start = [sys.executable, "-m"]
    told = ["--scheduler-file", str(contact), "--no-dashboard"]
    commands = [
        [*start, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *told],
        [*start, "distributed.cli.dask_worker", "--nworkers", "2", "--nthreads", "1", *told],
    ]
    commands[0] += ["--dashboard-address", "127.0.0.1:0"]
    commands[1] += ["--local-directory", str(folder), "--host", "127.0.0.1"]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
    try:
        # The scheduler opens the file before it has something to write.
        wait_until(lambda: contact.exists() and contact.read_text().endswith("}"))
        yield json.loads(contact.read_text())["address"]
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait()


@pytest.mark.slow
def test_a_sweep_runs_on_the_workers_of_a_scheduler(tmp_path):
    path = tiny(tmp_path, PAUSE, RECORDS, LOGS, parameters=PARAMETERS)
    with cluster_of_others(tmp_path) as address:
        outcomes = list(sweep(asked(path, tmp_path, range(3)), scheduler=address))
    assert [(outcome.state, outcome.executed) for outcome in outcomes] == [("done", True)] * 3
    assert sorted(lines(tmp_path / "log")) == ["0", "1", "2"]


def test_a_slurm_job_is_one_worker_of_one_run_at_a_time(tmp_path):
    dask = pytest.importorskip("dask")
    told = {"cores": 4, "memory": "8GB", "queue": "short", "local-directory": str(tmp_path)}
    told |= {"interface": "lo", "scheduler-options": {"dashboard_address": "127.0.0.1:0"}}
    told |= {"job-script-prologue": ["module load site"]}
    with dask.config.set({"jobqueue.slurm": told}), slurm_cluster() as cluster:
        script = cluster.job_script()
    assert "#SBATCH -p short" in script
    assert "--cpus-per-task=4" in script
    assert re.findall(r"--nthreads (\d+)", script)[-1] == "1"  # the last one counts
    assert "--nworkers" not in script or "--nworkers 1" in script
    assert f"module load site\n{SPIN_COUNT_LINE}\n" in script
