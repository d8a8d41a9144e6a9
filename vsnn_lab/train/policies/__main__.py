"""``python -m vsnn_lab.train.policies`` trains policies by every method and collects returns."""

import argparse
import sys
from pathlib import Path
from typing import Any

from vsnn_lab.train.policies.experiment import METHODS, Run
from vsnn_lab.train.policies.results import (
    keep_runs,
    results_folder,
    ship_policies,
    track_results,
)
from vsnn_lab.train.policies.tasks import TASKS


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet, several runs side by side; write the table of returns."""
    arguments = _parser().parse_args(argv)
    folder = arguments.folder or results_folder()
    # Seed by seed, so that what is stopped early has something of every task.
    runs = [
        Run(task, method, seed, arguments.steps, arguments.episodes)
        for method in arguments.methods
        for seed in range(arguments.seeds)
        for task in arguments.tasks
    ]
    failures: list[str] = []
    results = keep_runs(runs, folder, arguments.processes, failures)
    if arguments.results:
        track_results(results, arguments.results)
    if arguments.ship:
        ship_policies(runs, folder, arguments.ship)
    print(f"{len(results)} of {len(runs)} runs are in {folder}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.policies",
        description="Train control policies by every method, and collect their returns.",
    )
    choices: dict[str, Any] = {"tasks": tuple(TASKS), "methods": METHODS}
    for name, known in choices.items():
        text = ", ".join(known)
        parser.add_argument(
            f"--{name}", nargs="+", choices=known, default=known, metavar="NAME", help=text
        )
    parser.add_argument("--seeds", type=int, default=3, help="how many; 0 is the first")
    parser.add_argument("--steps", type=int, help="instead of each task's own")
    parser.add_argument("--episodes", type=int, default=50, help="evaluated at each width")
    parser.add_argument("--processes", type=int, default=2, help="trainings side by side")
    parser.add_argument("--folder", type=Path, help="where results are kept (data/policies)")
    parser.add_argument("--results", type=Path, help="a JSON file that all of them are added to")
    parser.add_argument("--ship", type=Path, help="where each task's best variable policy goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
