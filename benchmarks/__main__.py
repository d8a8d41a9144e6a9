"""Measure and print the table: ``python -m benchmarks``, or some lines by name."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping

import torch
from tqdm import tqdm

from benchmarks import (
    evaluating,
    growth,
    memory,
    report,
    slider,
    starting,
    threads,
    training,
    workers,
)
from benchmarks.timing import Measurement, on_device

Lines = Callable[[], Iterator[Measurement]]

BENCHMARKS: dict[str, Lines] = {
    "runs": training.runs,
    "wide": training.wide,
    "convolutional": training.convolutional,
    "triangle": training.triangle,
    "recipe": training.recipe,
    "compiled": training.compiled,
    "memory": memory.peak,
    "sweep": evaluating.sweep,
    "autoencoder": evaluating.autoencoder,
    "extracted": evaluating.extracted,
    "turned": evaluating.turned,
    "import": starting.importing,
    "callback": starting.callback,
    "browser": slider.browser,
    "workers": workers.workers,
    "threads": threads.spinning,
}

# What a card is measured by: training steps, and what they hold.
ON_A_CARD: dict[str, Lines] = {
    **{name: BENCHMARKS[name] for name in ("runs", "wide", "convolutional", "triangle", "recipe")},
    "language": training.language,
    "bf16": training.half,
    "memory": memory.peak,
    "compiled": training.compiled,
}


def main() -> None:
    """Run what is named, or everything: then the table and the pictures are kept."""
    names = list(dict.fromkeys([*BENCHMARKS, *ON_A_CARD, "growth"]))
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(names))
    parser.add_argument(
        "--device", default="cpu", choices=("cpu", "cuda"), help="cuda: training steps on a card"
    )
    arguments = parser.parse_args()
    wanted, device = arguments.names, arguments.device
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda needs a card that torch can use, and there is none")
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"name must be one of {', '.join(names)}, got {', '.join(unknown)}")
    known = ON_A_CARD if device == "cuda" else BENCHMARKS
    if off := [name for name in wanted if name not in known and name != "growth"]:
        parser.error(f"{', '.join(off)} cannot be measured on {device}")
    with on_device(device):
        # Time on a card is short: the pictures only by name.
        every = [*known] if device == "cuda" else [*known, "growth"]
        chosen = [name for name in [*known, "growth"] if name in (wanted or every)]
        measurements = _measure({name: known.get(name) for name in chosen})
        if not wanted:
            report.write_results(measurements)
    sys.exit(0 if all(measurement.met for measurement in measurements) else 1)


def _measure(chosen: Mapping[str, Lines | None]) -> list[Measurement]:
    """Measure what is chosen, by name, and print the table."""
    measurements = []
    bar = tqdm(chosen.items(), disable=None)
    try:
        for name, lines in bar:
            bar.set_description(name)
            if lines is None:
                growth.draw()
            else:
                measurements += lines()
    finally:
        # What was measured before one failed is not lost.
        report.print_table(measurements)
    return measurements


if __name__ == "__main__":
    main()
