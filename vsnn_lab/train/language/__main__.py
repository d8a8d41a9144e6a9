"""``python -m vsnn_lab.train.language`` trains language models by every method, side by side."""

import argparse
import sys

from vsnn_lab.train.language.experiment import METHODS, Run
from vsnn_lab.train.language.results import LANGUAGE, summary


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet, several runs side by side; write the table of results."""
    arguments = _parser().parse_args(argv)
    # Seed by seed, so that what is stopped early has something of every method.
    runs = [
        Run(method, seed, arguments.steps)
        for seed in range(arguments.seeds)
        for method in arguments.methods
    ]
    results, status = LANGUAGE.command(runs, arguments)
    print("\n".join(summary(results)))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.language",
        description="Train language models by every method, and measure them at every width.",
    )
    LANGUAGE.add_options(parser, METHODS)
    parser.add_argument("--steps", type=int, default=1500, help="of the optimizer")
    return parser


if __name__ == "__main__":
    sys.exit(main())
