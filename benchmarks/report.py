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

from benchmarks.timing import Figure
from vsnn_lab._basics.files import replacing

_RESULTS = Path(__file__).with_name("RESULTS.md")
_LOG = 160  # columns of a line in a file
_COLUMNS = ("what", "measured", "half of the rounds", "target", "", "threads")


def show(figures: list[Figure]) -> None:
    """Print the table."""
    table = Table(*_COLUMNS, caption=machine())
    for figure in figures:
        table.add_row(*_cells(figure), style=None if figure.met else "bold")
    # A screen has a width of its own.
    Console(width=None if sys.stdout.isatty() else _LOG).print(table)


def keep(figures: list[Figure]) -> None:
    """Write the table beside this file."""
    rows = [_COLUMNS, ["---"] * len(_COLUMNS), *(_cells(figure) for figure in figures)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    page = _PAGE.format(machine=machine(), day=date.today(), table=table)
    with replacing(_RESULTS) as part:
        part.write_text(page, encoding="utf-8")


def machine() -> str:
    """Say what the figures were measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy"))
    return f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {packages}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (
        f"{names[0] if names else platform.processor()} ({torch.backends.cpu.get_cpu_capability()})"
    )


def _cells(figure: Figure) -> list[str]:
    low, high = figure.quartiles
    target = f"at most {_number(figure.most)}"
    if figure.least:
        target = f"{_number(figure.least)} to {_number(figure.most)}"
    return [
        figure.what,
        f"{_number(figure.value)} {figure.unit}",
        f"{_number(low)} to {_number(high)}",
        target,
        "met" if figure.met else "missed",
        str(figure.threads or ""),
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
