"""Threads that wait for each other sleep soon, in every process that is started from here."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.tiny import tiny
from vsnn_lab._basics.threads import SPIN_COUNT_LINE, spin_count
from vsnn_lab.headless import cli
from vsnn_lab.headless.cli import commands
from vsnn_lab.headless.runs import Run, results, run_notebook
from vsnn_lab.headless.runs.results import recorded_values
from vsnn_lab.headless.sweeps import sweep

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "KMP_BLOCKTIME")
# What a person may have set, and what a process then finds.
CASES = {
    "nothing": ({}, {"GOMP_SPINCOUNT": "1500"}),
    "another count": ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    "a policy": ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE"}),
    "another runtime's": (
        {"KMP_BLOCKTIME": "5"},
        {"KMP_BLOCKTIME": "5", "GOMP_SPINCOUNT": "1500"},
    ),
}
ROOT = Path(__file__).parents[2]


def reading(environ: str) -> str:
    """Return a cell that records what of an environment is ours, without a second for torch."""
    return f"""import os

import psutil
from IPython.display import display

environ = {environ}
found = {{name: environ[name] for name in {NAMES} if name in environ}}
display({{"application/vnd.vsnn_lab.record+json": found}}, raw=True)"""


@pytest.fixture(params=CASES)
def expected(request):
    """Set what a person may have set; return what a process then finds."""
    before, after = CASES[request.param]
    with without_ours(), patch.dict(os.environ, before):
        yield after


@contextmanager
def without_ours():
    with patch.dict(os.environ):
        for name in NAMES:
            os.environ.pop(name, None)
        yield


def in_shell(*command: str, script: str | None = None) -> dict[str, str]:
    """Run what prints its environment; return our part of it."""
    done = subprocess.run(command, input=script, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    pairs = re.findall(r"^(\w+)=(.*)$", done.stdout, re.MULTILINE)
    return {name: value for name, value in pairs if name in NAMES}


def test_an_environment_gets_what_nobody_has_chosen(expected):
    environ = {name: os.environ[name] for name in NAMES if name in os.environ}
    assert environ | spin_count(environ) == expected


def test_a_shell_sets_the_same(expected):
    assert in_shell("sh", script=f"{SPIN_COUNT_LINE}\nenv\n") == expected


@pytest.mark.skipif(shutil.which("make") is None, reason="no make found")
def test_make_sets_the_same(expected):
    command = ("make", "--file=Makefile", "--file=-", "environment")
    assert in_shell(*command, script="environment:\n\t@env\n") == expected


def test_the_command_line_sets_the_same(expected, monkeypatch):
    told = {}
    monkeypatch.setattr(commands, "app", lambda: told.update(os.environ))
    cli.main()
    assert {name: value for name, value in told.items() if name in NAMES} == expected


@pytest.mark.filterwarnings("default")
def test_a_kernel_finds_the_same_and_its_parent_is_left_alone(expected, tmp_path):
    before = dict(os.environ)
    executed = run_notebook(
        tiny(tmp_path, reading("os.environ")), tmp_path / "out.ipynb", progress=False
    )
    assert recorded_values(executed) == expected
    assert dict(os.environ) == before


def test_a_process_that_imports_the_package_is_left_alone():
    script = "import os, vsnn_lab.headless.sweeps; print('GOMP_SPINCOUNT' in os.environ)"
    with without_ours():
        done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert done.stdout.split() == [b"False"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("expected", ["nothing", "a policy"], indirect=True)
def test_a_worker_finds_the_same(expected, tmp_path):
    # The kernel's parent is the worker.
    path = tiny(tmp_path, reading("psutil.Process(os.getppid()).environ()"))
    run = Run.of(path, root=tmp_path)
    (outcome,) = sweep([run], workers=1)
    assert outcome.state == "done", outcome.error
    assert results(run.folder) == expected
