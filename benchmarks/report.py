"""The table: on the screen, and in RESULTS.md with what it was measured on."""

import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.timing import Measurement, device, device_name
from vsnn_lab._basics.files import atomic_write

_RESULTS = Path(__file__).with_name("RESULTS.md")
_RESULTS_OF_A_CARD = Path(__file__).with_name("RESULTS-gpu.md")
_LOG = 160  # columns of a line in a file
_COLUMNS = ("what", "measured", "half of the rounds", "target", "", "threads", "on")


def print_table(measurements: list[Measurement]) -> None:
    """Print the table."""
    table = Table(*_COLUMNS, caption=machine())
    for measurement in measurements:
        table.add_row(*_table_row(measurement), style=None if measurement.met else "bold")
    # A screen has a width of its own.
    Console(width=None if sys.stdout.isatty() else _LOG).print(table)


def write_results(measurements: list[Measurement]) -> None:
    """Write the table beside this file."""
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *map(_table_row, measurements)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    page = _PAGE.format(machine=machine(), day=date.today(), table=table)
    kept = _RESULTS_OF_A_CARD if device().type == "cuda" else _RESULTS
    with atomic_write(kept) as part:
        part.write_text(page, encoding="utf-8")


def machine() -> str:
    """Return what the measurements were made on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    card = f"{device_name()} (CUDA {torch.version.cuda}), " if device().type == "cuda" else ""
    python = f"Python {platform.python_version()}"
    return f"{card}{_processor()}, {os.cpu_count()} cores, {python}, {packages}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()} ({torch.backends.cpu.get_cpu_capability()})"
    )


def _table_row(measurement: Measurement) -> list[str]:
    low, high = measurement.quartiles
    target = f"at most {_number(measurement.most)}"
    if measurement.least:
        target = f"{_number(measurement.least)} to {_number(measurement.most)}"
    return [
        measurement.what,
        f"{_number(measurement.value)} {measurement.unit}",
        f"{_number(low)} to {_number(high)}",
        target,
        "met" if measurement.met else "missed",
        str(measurement.threads or ""),
        measurement.device,
    ]


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


_PAGE = """\
# Speed

Written by `make bench`. × is the time, or the memory, of what plain PyTorch takes for the same
work with hand-written `nn.Linear` and `nn.Conv2d` networks, in the same run and in turns with it;
the median over the rounds, and the quartiles between which half of them lie. One line alone:
`.venv/bin/python -m benchmarks recipe`; `--help` names them all.

{machine}; {day}.

{table}
"""
