"""``python -m vsnn_lab.train.vgg`` trains VGGs by every method, side by side."""

import argparse
import sys
from pathlib import Path

from vsnn_lab.train.vgg.experiment import TRAINING_IMAGES, Run
from vsnn_lab.train.vgg.methods import METHODS
from vsnn_lab.train.vgg.results import keep_runs, results_folder, summary, track_results


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet, several runs side by side; write the table of results."""
    arguments = _parser().parse_args(argv)
    folder = arguments.folder or results_folder()
    # Seed by seed, so that what is stopped early has something of every method.
    runs = [
        Run(method, seed, arguments.epochs, arguments.images)
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
        prog="python -m vsnn_lab.train.vgg",
        description="Train VGGs by every method, and measure them at every width.",
    )
    parser.add_argument(
        *("--methods",), nargs="+", choices=METHODS, default=[*METHODS], metavar="NAME",
        help=", ".join(METHODS),
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="how many; 0 is the first")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training images")
    parser.add_argument(
        "--images", type=int, default=TRAINING_IMAGES, help="how many to train on, the first ones"
    )
    parser.add_argument("--processes", type=int, default=2, help="trainings side by side")
    parser.add_argument("--folder", type=Path, help="where results are kept (data/vgg)")
    parser.add_argument("--results", type=Path, help="a JSON file that all of them are added to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
