"""A run: one notebook with one set of parameters, and the folder that keeps what it found."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from vsnn_lab._basics.checks import check_path
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.data import data_root
from vsnn_lab.headless.runs.inputs import input_digests
from vsnn_lab.headless.runs.notebooks import load_notebook
from vsnn_lab.headless.runs.parameters import all_parameters

NOTEBOOK, RECORD, RESULTS, PART = "notebook.ipynb", "run.json", "results.json", "running.ipynb"
FILES = "files"  # what the notebook writes
_LOCK = ".lock"
_DIGEST_LENGTH = 12  # hex digits of a digest in a folder's name
_PACKAGE = Path(__file__).parents[2]
# What `RECORD` holds, and of which type.
_FIELDS = {
    "notebook": str,
    "parameters": dict,
    "state": str,
    "started": str,
    "seconds": float,
    "cells": dict,
    "versions": dict,
    "commit": (str, type(None)),
    "seed": (int, type(None)),
    "failure": (dict, type(None)),
    "files": dict,
}
_FAILURE_FIELDS = {"cell": (int, type(None)), "source": str, "error": str}
State = Literal["new", "running", "stopped", "failed", "done"]


@dataclass(frozen=True)
class Run:
    """One notebook with one set of parameters.

    Two runs of the same code and parameters are the same run and share a folder; whoever changes a
    cell, a parameter or this package has another one. So has whoever changes, adds or removes a
    file in a folder that a parameter names, the run itself included; only a folder that holds the
    runs, as that of the data does, is not looked into.

    Attributes:
        notebook: What is run.
        parameters: Values of all its parameters, defaults included.
        folder: Where its results are, or will be.
    """

    notebook: Path
    parameters: dict[str, Any]
    folder: Path

    @classmethod
    def of(
        cls,
        notebook: str | Path,
        parameters: Mapping[str, Any] | None = None,
        root: str | Path | None = None,
    ) -> "Run":
        """Return the run of a notebook, whether or not it has run yet.

        Args:
            notebook: Its path.
            parameters: Values for some of its parameters, by name.
            root: Folder of all runs; by default ``runs/notebooks`` among the data.

        Raises:
            FileNotFoundError: If there is no such notebook.
            TypeError: If a parameter is not of its default's type.
            ValueError: If the notebook does not have one of the parameters.
        """
        notebook = check_path("notebook", notebook).absolute()
        values = all_parameters(notebook, {} if parameters is None else parameters)
        root = runs_root() if root is None else check_path("root", root)
        identity = json.dumps([_code_cells(notebook), values, _package_digest()], sort_keys=True)
        name = _text_digest(identity)[:_DIGEST_LENGTH]
        files = input_digests(values, [root, runs_root()])
        if files:
            name += f"-{_text_digest(json.dumps(files, sort_keys=True))[:_DIGEST_LENGTH]}"
        return cls(notebook, values, root / notebook.stem / name)

    @property
    def edited(self) -> bool:
        """Whether the notebook or this package is another one than when the run was made."""
        now = Run.of(self.notebook, self.parameters, self.folder.parents[2])
        # The files that it names may differ: runs of one sweep may write to the same folder.
        return now.folder.name[:_DIGEST_LENGTH] != self.folder.name[:_DIGEST_LENGTH]

    @property
    def state(self) -> State:
        """Whether the folder holds nothing, a run going on or cut off, a failure, or results."""
        return folder_state(self.folder)

    def read(self) -> dict[str, Any]:
        """Return what is recorded of the run, after a look at all its files.

        Raises:
            FileNotFoundError: If it has not ended yet.
            ValueError: If a file is damaged or missing; the message names it.
        """
        return read_record(self.folder)

    def lock(self) -> FileLock:
        """Return what keeps two processes from running the same run at once.

        Raises:
            NotADirectoryError: If a file is where the folder should be.
        """
        _check_no_file(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / _LOCK)


def folder_state(folder: str | Path) -> State:
    """Return the state of the run in a folder; see `Run.state`.

    Raises:
        ValueError: If a file of it is damaged.
    """
    folder = check_path("folder", folder)
    try:
        return read_record(folder)["state"]
    except FileNotFoundError:
        pass
    if not (folder / PART).exists():
        return "new"
    try:
        with FileLock(folder / _LOCK, timeout=0):
            return "stopped"
    except Timeout:
        return "running"


def runs_root() -> Path:
    """Return the folder of all runs of notebooks.

    Raises:
        NotADirectoryError: If a file is in its place.
    """
    root = data_root() / "runs" / "notebooks"
    _check_no_file(root)
    return root


def _check_no_file(folder: Path) -> None:
    for path in (folder, *folder.parents):
        if path.exists():
            if not path.is_dir():
                raise NotADirectoryError(
                    f"runs must be kept in a folder, got the file {path}; move it, or set "
                    "VSNN_LAB_DATA to another folder"
                )
            return


def write_record(folder: Path, record: Mapping[str, Any], names: list[str]) -> None:
    """Seal a run: with this file, written last, it has ended, and all its files are whole."""
    files = {name: _file_digest(folder / name) for name in names}
    with atomic_write(folder / RECORD) as part:
        body = json.dumps({**record, "files": files})
        part.write_text(json.dumps({"run": body, "digest": _text_digest(body)}), encoding="utf-8")


def read_record(folder: str | Path) -> dict[str, Any]:
    """Return what is recorded of the run in a folder; see `Run.read`."""
    folder = check_path("folder", folder)
    path = folder / RECORD
    if not path.exists():
        raise FileNotFoundError(f"no run has ended in {folder}")
    try:
        outer = json.loads(path.read_text(encoding="utf-8"))
        if outer["digest"] != _text_digest(outer["run"]):
            raise ValueError("it is not what was written")
        found = json.loads(outer["run"])
        _check_record(found)
        for name in (NOTEBOOK, RESULTS):
            path = folder / name
            if _file_digest(path) != found["files"][name]:
                raise ValueError("it is not what was written")
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise damaged_file_error(path, error) from error
    return found


def damaged_file_error(path: Path, reason: Exception) -> ValueError:
    """Return the error that refuses a file of a run and says what to do about it."""
    return ValueError(
        f"{path} is damaged ({reason!r}); restore it, or delete its folder to run again"
    )


def _check_record(found: dict[str, Any]) -> None:
    """Refuse a record that lacks something, or says what no run does."""
    _check_types(found, _FIELDS)
    if found["failure"] is not None:
        _check_types(found["failure"], _FAILURE_FIELDS)
    state = "done" if found["failure"] is None else "failed"
    if found["state"] != state:
        raise ValueError(f"state is {found['state']!r} and failure {found['failure']!r}")
    if not 0 <= found["seconds"] < math.inf:
        raise ValueError(f"seconds is {found['seconds']!r}")
    datetime.fromisoformat(found["started"])


def _check_types(found: dict[str, Any], kinds: Mapping[str, Any]) -> None:
    for name, kind in kinds.items():
        if not isinstance(found[name], kind):
            raise ValueError(f"{name} is {found[name]!r}")


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _code_cells(notebook: Path) -> list[str]:
    """Return the code of a notebook, cell by cell, without prose and outputs."""
    return [cell.source for cell in load_notebook(notebook).cells if cell.cell_type == "code"]


@functools.cache
def _package_digest() -> str:
    """Return a digest of this package's sources, which a notebook's results depend on."""
    files = sorted(_PACKAGE.rglob("*.py"))
    return _text_digest(
        "".join(f"{path.relative_to(_PACKAGE)} {_file_digest(path)}\n" for path in files)
    )
