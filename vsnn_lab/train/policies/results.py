"""Results of many trainings: made side by side, kept, and read as returns by width."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from vsnn_lab._basics.checks import check_fraction
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.train.by_position import collect_by_position
from vsnn_lab.train.kept_runs import Result, RunCollection
from vsnn_lab.train.policies.experiment import Run
from vsnn_lab.train.policies.files import SHIPPED

POLICIES = RunCollection("policies", ("task", "method", "seed"))
results_folder, keep_runs = POLICIES.folder, POLICIES.keep
tracked_results, track_results = POLICIES.tracked, POLICIES.track


def ship_policies(runs: Iterable[Run], folder: Path, shipped: Path = SHIPPED) -> None:
    """Copy the variable policy that earns most over all widths to the package, for each task."""
    best: dict[str, tuple[float, Path]] = {}
    for run in runs:
        if run.policy_file(folder).is_file() and run.file(folder).is_file():
            earned = sum(run.keep(folder)["returns"].values())
            best[run.task] = max(
                best.get(run.task, (earned, run.policy_file(folder))),
                (earned, run.policy_file(folder)),
            )
    for task, (_, path) in best.items():
        with atomic_write(shipped / f"{task}.safetensors") as part:
            shutil.copyfile(path, part)


def returns_by_width(results: Iterable[Result], method: str) -> dict[int, list[float]]:
    """Return the mean returns of a method by width, one a seed.

    Args:
        results: Of one task.
        method: One of ``METHODS``, or "dedicated" for all of that kind. A linear policy, which has
            no units, stands at 0.
    """
    return collect_by_position(
        result["returns"]
        for result in results
        if result["method"] == method or result["method"].startswith(f"{method}-")
    )


def smallest_width(returns: Mapping[int, Sequence[float]], tolerance: float = 0.05) -> int:
    """Return the smallest width from which on all lose at most a share of full width's return.

    Args:
        returns: By width, one a seed; of their means.
        tolerance: The share.

    Example:
        >>> smallest_width({1: [10.0], 2: [97.0], 4: [90.0], 8: [96.0], 16: [100.0]})
        8
    """
    means = {width: fmean(values) for width, values in sorted(returns.items())}
    full = means[max(means)]
    least = full - check_fraction("tolerance", tolerance) * abs(full)
    found = max(means)
    for width in reversed(means):
        if means[width] < least:
            break
        found = width
    return found
