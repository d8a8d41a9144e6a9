"""``python -m vsnn_lab.train.language`` trains language models by every method, side by side."""

import argparse
import sys
from pathlib import Path

from vsnn_lab.train.language.experiment import METHODS, Run
from vsnn_lab.train.language.results import keep_runs, results_folder, summary, track_results


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet, several runs side by side; write the table of results."""
    arguments = _parser().parse_args(argv)
    folder = arguments.folder or results_folder()
    # Seed by seed, so that what is stopped early has something of every method.
    runs = [
        Run(method, seed, arguments.steps)
        for seed in range(arguments.seeds)
        for method in arguments.methods
    ]
    failures: list[str] = []
    results = keep_runs(runs, folder, arguments.processes, failures)
    if arguments.results:
        track_results(results, arguments.results)
    print("\n".join(summary(results)))
    print(f"{len(results)} of {len(runs)} runs are in {folder}")
    for failure in failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.language",
        description="Train language models by every method, and measure them at every width.",
    )
    parser.add_argument(
        *("--methods",), nargs="+", choices=METHODS, default=METHODS, metavar="NAME",
        help=", ".join(METHODS),
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="how many; 0 is the first")
    parser.add_argument("--steps", type=int, default=1500, help="of the optimizer")
    parser.add_argument("--processes", type=int, default=2, help="trainings side by side")
    parser.add_argument("--folder", type=Path, help="where results are kept (data/language)")
    parser.add_argument("--results", type=Path, help="a JSON file that all of them are added to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
