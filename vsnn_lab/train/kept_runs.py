"""Many long runs: made side by side, each kept as it ends, and the tracked file of all of them."""

import json
import multiprocessing
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from tqdm.auto import tqdm

from vsnn_lab._basics.checks import check_int
from vsnn_lab._basics.files import atomic_write

Result = dict[str, Any]


class KeptRun(Protocol):
    """A run that is asked for, whose result is a file."""

    def file(self, folder: Path) -> Path:
        """Return where its result is kept."""
        ...

    def keep(self, folder: Path) -> Result:
        """Return the result, from its file if it is there; run and write it otherwise."""
        ...


def keep_all(
    runs: Sequence[KeptRun],
    folder: Path,
    processes: int = 2,
    failures: list[str] | None = None,
) -> list[Result]:
    """Return the results of runs; make those that are not there yet, several side by side.

    Each is kept as it ends, so that what is stopped goes on from there.

    Args:
        runs: What is asked for.
        folder: Where results are kept.
        processes: How many run at once, in one thread each.
        failures: Takes a line for each run that fails; without it the first failure is raised.
    """
    missing = [run for run in runs if not run.file(folder).is_file()]
    if missing:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(check_int("processes", processes), context) as pool:
            futures = {pool.submit(run.keep, folder): run for run in missing}
            for future in tqdm(as_completed(futures), total=len(futures), desc="trainings"):
                error = future.exception()
                if error is None:
                    continue
                if failures is None:
                    pool.shutdown(cancel_futures=True)
                    raise error
                failures.append(f"{futures[future]}: {error!r}")
    return [run.keep(folder) for run in runs if run.file(folder).is_file()]


def read_tracked(path: Path) -> list[Result]:
    """Return the long runs that a checkout keeps; none where there is no checkout."""
    if not path.is_file():
        return []
    found: list[Result] = json.loads(path.read_text(encoding="utf-8"))["runs"]
    return found


def write_tracked(
    results: Iterable[Result], path: Path, identity: Callable[[Result], Hashable]
) -> None:
    """Write results to the file of long runs; what it has of other runs stays.

    Args:
        results: New ones.
        path: The file.
        identity: What tells runs apart, and what they are sorted by.
    """
    merged = {identity(each): each for each in [*read_tracked(path), *results]}
    runs = [merged[key] for key in sorted(merged)]  # type: ignore[type-var]
    with atomic_write(path) as part:
        # A line for each, so that a diff shows which are others.
        lines = ",\n".join(json.dumps(run) for run in runs)
        part.write_text(f'{{"runs": [\n{lines}\n]}}\n', encoding="utf-8")


def write_result(path: Path, result: Result) -> Result:
    """Write a run's result; return what later calls will read."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(result, indent=1), encoding="utf-8")
    found: Result = json.loads(path.read_text(encoding="utf-8"))
    return found
