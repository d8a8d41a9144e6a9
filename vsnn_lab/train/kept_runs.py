"""Many long runs: made side by side, each kept as it ends, and the tracked file of all of them."""

import argparse
import json
import multiprocessing
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_int
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.data import data_root

Result = dict[str, Any]
# In a checkout.
_TRACKED = Path(__file__).parents[2] / "docs" / "results"


class KeptRun(Protocol):
    """A run that is asked for, whose result is a file."""

    def file(self, folder: Path) -> Path:
        """Return where its result is kept."""
        ...

    def keep(self, folder: Path) -> Result:
        """Return the result, from its file if it is there; run and write it otherwise."""
        ...


@dataclass(frozen=True)
class RunCollection:
    """The runs of one experiment: a folder of results, and a file of those that a checkout keeps.

    Attributes:
        name: Of the folder among the data, of the file in ``docs/results`` and of the `make` target
            that writes it.
        identity: Entries of a result that tell runs apart, and that they are sorted by.
    """

    name: str
    identity: tuple[str, ...]

    def folder(self) -> Path:
        """Return where runs are kept."""
        return data_root() / self.name

    def keep(
        self,
        runs: Sequence[KeptRun],
        folder: Path | None = None,
        processes: int = 2,
        failures: list[str] | None = None,
    ) -> list[Result]:
        """Return the results of runs; make those that are not there yet, several side by side.

        Each is kept as it ends, and what is stopped goes on from there.

        Args:
            runs: What is asked for. One with a run as attribute ``begins_with`` comes after that.
            folder: Where results are kept.
            processes: How many run at once, in one thread each.
            failures: Takes a line for each run that fails; without it the first failure is raised.
        """
        check_int("processes", processes)
        folder = folder or self.folder()
        before = dict.fromkeys(getattr(run, "begins_with", None) or run for run in runs)
        self._make([*before], folder, processes, failures)
        self._make([run for run in runs if run not in before], folder, processes, failures)
        return [run.keep(folder) for run in runs if run.file(folder).is_file()]

    def _make(
        self, runs: Iterable[KeptRun], folder: Path, processes: int, failures: list[str] | None
    ) -> None:
        missing = [run for run in runs if not run.file(folder).is_file()]
        if not missing:
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(processes, context) as pool:
            futures = {pool.submit(run.keep, folder): run for run in missing}
            for future in tqdm(as_completed(futures), total=len(futures), desc=self.name):
                error = future.exception()
                if error is None:
                    continue
                if failures is None:
                    pool.shutdown(cancel_futures=True)
                    raise error
                failures.append(f"{futures[future]}: {error!r}")

    def tracked(self, path: Path | None = None) -> list[Result]:
        """Return the long runs that a checkout keeps; none where there is no checkout."""
        path = path or _TRACKED / f"{self.name}.json"
        if not path.is_file():
            return []
        found: list[Result] = json.loads(path.read_text(encoding="utf-8"))["runs"]
        return found

    def track(self, results: Iterable[Result], path: Path | None = None) -> None:
        """Write results to the file of long runs; what it has of other runs stays."""
        path = path or _TRACKED / f"{self.name}.json"
        merged = {self._key(each): each for each in [*self.tracked(path), *results]}
        with atomic_write(path) as part:
            # A line for each, so that a diff shows which are others.
            lines = ",\n".join(json.dumps(merged[key]) for key in sorted(merged))
            part.write_text(f'{{"runs": [\n{lines}\n]}}\n', encoding="utf-8")

    def _key(self, result: Result) -> tuple[str | int, ...]:
        found = (result[name] for name in self.identity)
        return tuple(
            each if isinstance(each, str | int) else json.dumps(each, sort_keys=True)
            for each in found
        )

    def add_options(self, parser: argparse.ArgumentParser, methods: Iterable[str]) -> None:
        """Add what a command that makes runs by one or several of some methods may be told."""
        parser.add_argument(
            *("--methods",), nargs="+", choices=(known := [*methods]), default=known,
            metavar="NAME", help=", ".join(known),
        )  # fmt: skip
        parser.add_argument("--seeds", type=int, default=3, help="how many; 0 is the first")
        parser.add_argument("--processes", type=int, default=2, help="runs side by side")
        parser.add_argument("--folder", type=Path, help=f"where runs are kept (data/{self.name})")
        parser.add_argument("--results", type=Path, help="a JSON file that all are added to")

    def command(
        self, runs: Sequence[KeptRun], arguments: argparse.Namespace
    ) -> tuple[list[Result], int]:
        """Make what is missing as a command was told; return results, and its exit status."""
        folder, failures = arguments.folder or self.folder(), list[str]()
        results = self.keep(runs, folder, arguments.processes, failures)
        if arguments.results:
            self.track(results, arguments.results)
        print(f"{len(results)} of {len(runs)} runs are in {folder}")
        for failure in failures:
            print(f"error: {failure}", file=sys.stderr)
        return results, 1 if failures else 0


def measuring_device() -> torch.device:
    """Return where finished networks are measured: on a GPU where there is one, as they train."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """Return what networks train on, as a result says it."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def made_with(packages: Iterable[str]) -> dict[str, Any]:
    """Return what a result says of when it was made, and with which versions of some packages."""
    versions = {"python": platform.python_version()} | {name: version(name) for name in packages}
    return {"date": datetime.now(UTC).date().isoformat(), "versions": versions}


def read_or_make(path: Path, make: Callable[[], Result]) -> Result:
    """Return a run's result from its file; make and write it where there is none."""
    if not path.is_file():
        return write_result(path, make())
    found: Result = json.loads(path.read_text(encoding="utf-8"))
    return found


def write_result(path: Path, result: Result) -> Result:
    """Write a run's result; return what later calls will read."""
    text = json.dumps(result, indent=1)
    with atomic_write(path) as part:
        part.write_text(text, encoding="utf-8")
    found: Result = json.loads(text)
    return found
