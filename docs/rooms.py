"""The rooms of the package, and which of them imports from which, read from the source."""

import ast
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import vsnn_lab

PACKAGE = Path(vsnn_lab.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")

Imports = Mapping[str, set[str]]


def room_of(path: Path) -> str:
    """Return the room that a file of the package is in."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_modules(source: str, package: str) -> list[str]:
    """List the full names that a module imports, also inside functions, relative ones resolved."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1]
            module = ".".join(
                (start if node.level else []) + ([node.module] if node.module else [])
            )
            found += [f"{module}.{alias.name}" for alias in node.names]
    return found


def imported_rooms(path: Path) -> set[str]:
    """List the rooms a file imports from; a name of the top package counts as the room it is in."""
    package = ".".join(("vsnn_lab", *path.relative_to(PACKAGE).parts[:-1]))
    entries, rooms = {entry.stem for entry in PACKAGE.iterdir()}, set()
    for name in imported_modules(path.read_text(encoding="utf-8"), package):
        top, _, rest = name.partition(".")
        if top != "vsnn_lab":
            continue
        room = rest.partition(".")[0]
        if room not in entries and hasattr(vsnn_lab, room):
            room = getattr(vsnn_lab, room).__module__.split(".")[1]
        rooms.add(room)
    return rooms - {room_of(path)}


def room_imports() -> dict[str, set[str]]:
    """Return for each room those that its files import from; what others rest on comes first."""
    found: dict[str, set[str]] = {room_of(path): set() for path in FILES}
    for path in FILES:
        found[room_of(path)] |= imported_rooms(path)
    order = TopologicalSorter({room: sorted(below) for room, below in found.items()})
    return {room: found[room] for room in order.static_order()}


def all_below(imports: Imports, room: str) -> set[str]:
    """Return what a room rests on, also by way of others."""
    return imports[room].union(*(all_below(imports, below) for below in imports[room]))


def direct_imports(imports: Imports) -> dict[str, set[str]]:
    """Leave out what follows from the rest: imports of rooms that lie below another import."""
    return {
        room: below - set().union(*(all_below(imports, other) for other in below))
        for room, below in imports.items()
    }


def storeys(imports: Imports) -> dict[str, int]:
    """Return on which storey each room is: above all it imports, close below who imports it."""
    found: dict[str, int] = {}
    for room, below in imports.items():
        found[room] = max((found[other] + 1 for other in below), default=0)
    for room in reversed(imports):
        above = [found[other] for other in imports if room in imports[other]]
        found[room] = min(above) - 1 if above else found[room]
    return found
