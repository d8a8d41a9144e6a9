"""``python -m vsnn_lab.train.top`` trains variable tops on the features of a frozen backbone."""

import argparse
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from vsnn_lab.train.kept_runs import Result, write_result
from vsnn_lab.train.loop import PRECISIONS
from vsnn_lab.train.top.backbones import BACKBONES
from vsnn_lab.train.top.experiment import METHODS, Run, kept_features
from vsnn_lab.train.top.results import results_folder, summary, track_results
from vsnn_lab.train.top.setup import STARTS, Setup

_IMAGENET_SIDE = 224


def main(argv: list[str] | None = None) -> int:
    """Train what is not there yet; print the curve and the targets, and write the results."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        setup = _setup(arguments)
        # In processes that `accelerate launch` starts together, one would compute, all would wait.
        together = int(os.environ.get("WORLD_SIZE", "1")) > 1
        kept_features(setup, workers=arguments.workers, compute=not together)
        if arguments.features_only:
            return 0
        # Seed by seed, so that what is stopped early has something of every method.
        runs = [
            Run(method, seed, setup)
            for seed in range(arguments.seeds)
            for method in arguments.methods
            if int(method.partition("-")[2] or 0) < setup.steps
        ]
        folder = arguments.folder or results_folder()
        results = [_keep(run, folder, together) for run in runs]
        if together:
            from accelerate import PartialState

            PartialState().destroy_process_group()
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if all(results):
        if arguments.results:
            track_results(results, arguments.results)
        print("\n".join(summary(results)))
        print(f"{len(results)} runs are in {setup.folder(folder)}")
    return 0


def _keep(run: Run, folder: Path, together: bool) -> Result:
    """Return a run's result; of several processes that train together, the first one measures."""
    if not together or run.file(folder).is_file():
        return run.keep(folder)
    from accelerate import Accelerator

    processes = Accelerator()  # lets them meet
    result = run.execute(folder, measures=processes.is_main_process)
    if processes.is_main_process:
        result = write_result(run.file(folder), result)
    processes.wait_for_everyone()
    return result


def _setup(arguments: argparse.Namespace) -> Setup:
    given: dict[str, Any] = {
        field.name: value
        for field in fields(Setup)
        if (value := getattr(arguments, field.name, None)) is not None
    }
    if arguments.data is not None:
        # Of images in files, all, in the size that published weights are for.
        given = {"side": _IMAGENET_SIDE, "images": None} | given
    if arguments.units is not None:
        given["units"] = tuple(arguments.units)
    return Setup(**given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.train.top",
        description="Train variable tops on the features of a frozen backbone, beside tops of one "
        "size. What was stopped goes on.",
    )
    for name, kind, told in (
        ("weights", str, "of the backbone: published (the default), random or a file"),
        ("data", str, "a folder with folders train and val, as ImageNet has (Fashion-MNIST)"),
        ("side", int, "of the images, in pixels"),
        ("images", int, "to train on at most, spread evenly"),
        ("test-images", int, "to measure on at most, spread evenly"),
        ("steps", int, "positions of the knob"),
        ("epochs", int, "passes over the features"),
        ("batch-size", int, "samples of a step"),
        ("lr", float, "learning rate at its peak"),
        ("folder", Path, "where results are kept (data/top)"),
        ("results", Path, "a JSON file that all of them are added to"),
    ):
        parser.add_argument(f"--{name}", type=kind, help=told)
    parser.add_argument("--backbone", choices=BACKBONES, help="what makes the features")
    parser.add_argument("--start", choices=STARTS, help="of full and variable tops")
    parser.add_argument("--precision", choices=PRECISIONS, help="of forwards while training")
    parser.add_argument("--units", type=int, nargs="+", help="of the hidden layers")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME",
        help=", ".join(METHODS),
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=3, help="how many; 0 is the first")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode images")
    parser.add_argument(
        "--features-only", action="store_true", help="compute and keep features, and end"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
