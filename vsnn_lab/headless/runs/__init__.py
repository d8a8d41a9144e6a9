"""Headless notebooks: parameters, runs that are kept, and what they found."""

from vsnn_lab.headless.runs.execute import run_notebook
from vsnn_lab.headless.runs.folder import Run, folder_state, read_record, runs_root
from vsnn_lab.headless.runs.keep import keep
from vsnn_lab.headless.runs.notebooks import find_notebook, notebooks_folder
from vsnn_lab.headless.runs.output_folder import output_folder
from vsnn_lab.headless.runs.parameters import (
    Parameter,
    check_parameters,
    notebook_parameters,
    notebook_question,
)
from vsnn_lab.headless.runs.results import load_runs, metrics, record, results

__all__ = [
    "Parameter",
    "Run",
    "check_parameters",
    "find_notebook",
    "folder_state",
    "keep",
    "load_runs",
    "metrics",
    "notebook_parameters",
    "notebook_question",
    "notebooks_folder",
    "output_folder",
    "read_record",
    "record",
    "results",
    "run_notebook",
    "runs_root",
]
