"""``python -m vsnn_lab.train.vgg`` trains VGGs by every method, side by side."""

import argparse
import sys

from vsnn_lab.train.vgg.experiment import TRAINING_IMAGES, Run
from vsnn_lab.train.vgg.methods import METHODS
from vsnn_lab.train.vgg.results import VGG, summary


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet, several runs side by side; write the table of results."""
    arguments = _parser().parse_args(argv)
    # Seed by seed, so that what is stopped early has something of every method.
    runs = [
        Run(method, seed, arguments.epochs, arguments.images)
        for seed in range(arguments.seeds)
        for method in arguments.methods
    ]
    results, status = VGG.command(runs, arguments)
    print("\n".join(summary(results)))
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.vgg",
        description="Train VGGs by every method, and measure them at every width.",
    )
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training images")
    parser.add_argument(
        "--images", type=int, default=TRAINING_IMAGES, help="how many to train on, the first ones"
    )
    VGG.add_options(parser, METHODS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
