"""Measure and print the table: ``python -m benchmarks``, or some lines by name."""

import argparse
import sys
from collections.abc import Callable, Iterator

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
from benchmarks.timing import Measurement

BENCHMARKS: dict[str, Callable[[], Iterator[Measurement]]] = {
    "runs": training.runs,
    "wide": training.wide,
    "convolutional": training.convolutional,
    "triangle": training.triangle,
    "recipe": training.recipe,
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


def main() -> None:
    """Run what is named, or everything: then the table and the pictures are kept."""
    names = [*BENCHMARKS, "growth"]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(names))
    wanted = parser.parse_args().names
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"name must be one of {', '.join(names)}, got {', '.join(unknown)}")
    measurements = []
    bar = tqdm([name for name in names if not wanted or name in wanted], disable=None)
    try:
        for name in bar:
            bar.set_description(name)
            if name == "growth":
                growth.draw()
            else:
                measurements += BENCHMARKS[name]()
    finally:
        # What was measured before one failed is not lost.
        report.print_table(measurements)
    if not wanted:
        report.write_results(measurements)
    sys.exit(0 if all(measurement.met for measurement in measurements) else 1)


if __name__ == "__main__":
    main()
