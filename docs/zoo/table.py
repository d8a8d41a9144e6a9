"""The results, as a table in Markdown."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

Row = dict[str, Any]
_HEAD = (
    "| network | parameters | positions | vary | full | sliced | masked | time | what stays |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)


def as_markdown(rows: Sequence[Row]) -> str:
    """Return a section for each family, with a line for each network."""
    parts = []
    for family, members in groupby(rows, key=lambda row: row["family"]):
        parts.append(f"## {family}\n\n{_HEAD}" + "".join(map(_line, members)))
    return "\n".join(parts)


def _line(row: Row) -> str:
    name, size = f"`{row['name']}`", _count(row["parameters"])
    if not row["converts"]:
        return f"| {name} | {size} | | | | | | | refused: {_escaped(row['reason'])} |\n"
    gaps = row["deviations"]
    dtype = "" if row["dtype"] == "float64" else f" ({row['dtype']})"
    cells = [
        name,
        size,
        ", ".join(map(str, row["positions"])),
        f"{100 * row['share']:.1f} %",
        _gap(gaps["full"]),
        _gap(gaps["cut"]) + dtype,
        _gap(gaps["masked"]) + dtype,
        f"{row['seconds']:.1f} s",
        _staying(row),
    ]
    return f"| {' | '.join(cells)} |\n"


def _staying(row: Row) -> str:
    """Return what fixes a hundredth of the parameters or more, and which checks fail."""
    large = [each for each in row["stays"] if each["share"] >= 0.01]
    said = [f"{100 * each['share']:.0f} %: {_escaped(each['reason'])}" for each in large]
    said += [f"not: {name}" for name, holds in row.get("checks", {}).items() if not holds]
    return "; ".join(said)


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:.1f} M" if parameters >= 1e5 else f"{parameters / 1e3:.0f} k"


def _gap(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}"


def _escaped(text: str) -> str:
    return text.partition("\n")[0].replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
