"""``python -m vsnn_lab.train.policies`` trains policies by every method and collects returns."""

import argparse
import sys
from pathlib import Path

from vsnn_lab.train.policies.experiment import METHODS, Run
from vsnn_lab.train.policies.results import POLICIES, ship_policies
from vsnn_lab.train.policies.tasks import TASKS


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet, several runs side by side; write the table of returns."""
    arguments = _parser().parse_args(argv)
    # Seed by seed, so that what is stopped early has something of every task.
    runs = [
        Run(task, method, seed, arguments.steps, arguments.episodes)
        for method in arguments.methods
        for seed in range(arguments.seeds)
        for task in arguments.tasks
    ]
    status = POLICIES.command(runs, arguments)[1]
    if arguments.ship:
        ship_policies(runs, arguments.folder or POLICIES.folder(), arguments.ship)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.policies",
        description="Train control policies by every method, and collect their returns.",
    )
    parser.add_argument(
        "--tasks", nargs="+", choices=TASKS, default=[*TASKS], metavar="NAME", help=", ".join(TASKS)
    )
    POLICIES.add_options(parser, METHODS)
    parser.add_argument("--steps", type=int, help="instead of each task's own")
    parser.add_argument("--episodes", type=int, default=50, help="evaluated at each width")
    parser.add_argument("--ship", type=Path, help="where each task's best variable policy goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
