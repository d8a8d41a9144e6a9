"""Make every network of the table variable: ``python -m docs.zoo``, or some by name.

It goes on where it was stopped: what is in the results is not done again unless it is named.
"""

import argparse
import gc
import json
from pathlib import Path
from typing import Any

from tqdm import tqdm

from docs.zoo.entries import FAMILIES
from docs.zoo.examine import examine
from docs.zoo.table import as_markdown
from vsnn_lab._basics.files import atomic_write

DOCS = Path(__file__).parents[1]
RESULTS, TABLE = DOCS / "results" / "zoo.json", DOCS / "converted_networks.md"
# The lines of the page between which the table stands.
_MARKS = "<!-- table -->\n", "<!-- end of table -->\n"


def main() -> None:
    """Examine what is named, or what has no results yet; write the results and the table."""
    parser = argparse.ArgumentParser(prog="python -m docs.zoo", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="a network")
    parser.add_argument("--families", nargs="+", choices=[*FAMILIES], default=[*FAMILIES])
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--table", type=Path, default=TABLE)
    options = parser.parse_args()
    entries = [entry for family in options.families for entry in FAMILIES[family]()]
    unknown = {*options.names} - {entry.name for entry in entries}
    if unknown:
        parser.error(f"name must be one of a network, got {', '.join(sorted(unknown))}")
    # In the order of the list, so that a family is one table.
    order = [(entry.family, entry.name) for entry in entries]
    rows = _read(options.results)
    wanted = [
        entry
        for entry in entries
        if entry.name in options.names
        or (not options.names and (entry.family, entry.name) not in rows)
    ]
    bar = tqdm(wanted)
    for entry in bar:
        bar.set_description(entry.name)
        rows[entry.family, entry.name] = examine(entry)
        gc.collect()
        _write(options.results, rows)
    known = sorted(rows, key=lambda key: order.index(key) if key in order else len(order))
    _renew(options.table, as_markdown([rows[key] for key in known]))


def _read(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    rows = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.exists() else []
    return {(row["family"], row["name"]): row for row in rows}


def _write(path: Path, rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    lines = ",\n".join(json.dumps(row) for row in rows.values())
    with atomic_write(path) as part:
        part.write_text(f'{{"networks": [\n{lines}\n]}}\n', encoding="utf-8")


def _renew(path: Path, table: str) -> None:
    text = path.read_text(encoding="utf-8") if path.exists() else "".join(_MARKS)
    (before, rest), end = text.split(_MARKS[0]), _MARKS[1]
    with atomic_write(path) as part:
        part.write_text(before + _MARKS[0] + table + end + rest.split(end)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
