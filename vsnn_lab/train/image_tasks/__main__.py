"""``python -m vsnn_lab.train.image_tasks classifiers`` trains them by every method."""

import argparse
import sys

from vsnn_lab.train.image_tasks.experiment import Run
from vsnn_lab.train.image_tasks.results import COLLECTIONS, summary
from vsnn_lab.train.image_tasks.tasks import KINDS

_SEEDS = {"classifiers": 5, "autoencoders": 3}


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet, several runs side by side; write the table of results."""
    arguments = _parser().parse_args(argv)
    # Seed by seed, so that what is stopped early has something of every method; components have
    # nothing that a seed would change.
    runs = [
        Run(arguments.kind, task, method, seed, arguments.epochs, arguments.images)
        for seed in range(arguments.seeds)
        for task in arguments.tasks
        for method in KINDS[arguments.kind][task].methods
        if method in arguments.methods and not (method == "pca" and seed)
    ]
    results, status = COLLECTIONS[arguments.kind].command(runs, arguments)
    print("\n".join(summary(arguments.kind, results)))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.image_tasks",
        description="Train networks of every width and of single ones, and measure them.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind, tasks in KINDS.items():
        options = kinds.add_parser(kind, help=", ".join(tasks))
        options.add_argument(
            "--tasks", nargs="+", choices=tasks, default=[*tasks], metavar="NAME",
            help=", ".join(tasks),
        )  # fmt: skip
        methods = dict.fromkeys(method for task in tasks.values() for method in task.methods)
        COLLECTIONS[kind].add_options(options, [*methods])
        options.add_argument("--epochs", type=int, help="instead of each task's own")
        options.add_argument("--images", type=int, help="to train on, the first ones (all)")
        options.set_defaults(seeds=_SEEDS[kind])
    return parser


if __name__ == "__main__":
    sys.exit(main())
