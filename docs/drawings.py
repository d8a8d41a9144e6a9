"""Pictures of the package, drawn when the documentation is built: its rooms, and calls among them.

They are SVG within the page, so that they follow its theme; ``_static/site.css`` has the colours.
"""

import re
from collections.abc import Sequence
from functools import partial
from html import escape
from importlib import import_module
from itertools import combinations, pairwise, permutations
from statistics import mean
from textwrap import wrap
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs.rooms import FILES, Imports, direct_imports, room_imports, storeys

# Sizes in the unit of the pictures, which is about a pixel.
_WIDTH = 736
_BOX = 206, 70
_LANE = 16  # what an arrow takes that passes a storey
_APART = 14, 34  # between boxes of a storey, and between storeys
_LINE = 16  # from one line of text to the next
_HEAD = 7  # the head of an arrow
_COLUMN = 40  # at the top of a picture of calls, for the names of rooms
_CALL = 46  # from one call to the next

# A room, ``(room,)``; or where an arrow passes a storey, ``(from, to, storey)``.
Place = tuple[str] | tuple[str, str, int]
Links = list[tuple[Place, Place]]


class Call(NamedTuple):
    """One room calls what is in another.

    Attributes:
        caller: The room that calls.
        called: The name of what it calls, within ``vsnn_lab``.
        carries: Whose way it is, "batch" or "width".
        says: What happens, in a few words.
    """

    caller: str
    called: str
    carries: str
    says: str

    @property
    def room(self) -> str:
        """The room that is called."""
        module, _, name = f"vsnn_lab.{self.called}".rpartition(".")
        return getattr(import_module(module), name).__module__.split(".")[1]


CALLS = {
    "training": [
        Call("train", "data.batches.TensorBatches", "batch", "the next batch"),
        Call("train", "Stratified", "width", "widths for its samples"),
        Call("train", "forward_at_widths", "batch", "a run of samples for each width"),
        Call("networks", "at_width", "width", "turns the knob to the run's width"),
        Call("networks", "VariableLinear", "batch", "the run, layer by layer"),
        Call("layers", "WidthControl", "width", "where does it stand?"),
    ],
    "slider": [
        Call("explore", "width_sweep", "batch", "once: test images, to be measured"),
        Call("measure", "at_width", "width", "turns the knob to every width"),
        Call("measure", "VariableLinear", "batch", "the images, layer by layer"),
        Call("layers", "WidthControl", "width", "where does it stand?"),
        Call("explore", "save_weights", "width", "the button: a file of this width"),
        Call("export", "extract", "width", "cut out, as plain layers"),
    ],
}


def rooms_picture(imports: Imports) -> str:
    """Draw rooms as boxes on storeys, and arrows from each to the rooms it rests on.

    Args:
        imports: For each room those that it imports from, ordered so that they come before it.

    Returns:
        An ``svg`` element, without the arrows that follow from others.
    """
    floor = storeys(imports)
    rows: list[list[Place]] = [[] for _ in range(max(floor.values()) + 1)]
    ways: list[list[Place]] = []
    for room, below in direct_imports(imports).items():
        rows[floor[room]].append((room,))
        for other in sorted(below):
            lanes: list[Place] = []
            for storey in range(floor[room] - 1, floor[other], -1):
                lanes.append((room, other, storey))
                rows[storey].append(lanes[-1])
            ways.append([(room,), *lanes, (other,)])
    links = [link for way in ways for link in pairwise(way)]
    rows = _untangled(rows, links)
    middle = _spread(rows, links)
    tops = [1 + (_BOX[1] + _APART[1]) * above for above in reversed(range(len(rows)))]
    drawn = [_box(room, middle[room,], tops[floor[room]]) for room in imports]
    drawn += [_arrow(way, links, middle, tops[floor[way[0][0]]]) for way in ways]
    return _svg("The rooms of vsnn_lab, and which imports from which", tops[0] + _BOX[1], drawn)


def _untangled(rows: list[list[Place]], links: Links) -> list[list[Place]]:
    """Order each storey so that few arrows cross: by the one above, by the one below, and again."""

    def crossings(upper: Sequence[Place], lower: Sequence[Place]) -> int:
        met = [(upper.index(a), lower.index(b)) for a, b in links if a in upper and b in lower]
        return sum((a - c) * (b - d) < 0 for (a, b), (c, d) in combinations(met, 2))

    tried = [rows]
    for _ in range(3):
        rows = [*rows]
        for storey in reversed(range(len(rows) - 1)):
            above = partial(crossings, rows[storey + 1])
            rows[storey] = [*min(permutations(rows[storey]), key=above)]
        tried.append(rows)
        rows = [*rows]
        for storey in range(1, len(rows)):
            below = partial(crossings, lower=rows[storey - 1])
            rows[storey] = [*min(permutations(rows[storey]), key=below)]
        tried.append(rows)
    return min(tried, key=lambda rows: sum(crossings(b, a) for a, b in pairwise(rows)))


def _spread(rows: list[list[Place]], links: Links) -> dict[Place, float]:
    """Return the middle of each place: below what leads there, none over another."""
    middle: dict[Place, float] = {}
    for row in reversed(rows):
        above = [[middle[a] for a, b in links if b == place] for place in row]
        wanted = [mean(found or [_WIDTH / 2]) for found in above]
        halves = [(_BOX[0] if len(place) == 1 else _LANE) / 2 for place in row]
        found = wanted[:1]
        for (half, other), x in zip(pairwise(halves), wanted[1:], strict=True):
            found.append(max(x, found[-1] + half + _APART[0] + other))
        shift = mean(a - b for a, b in zip(wanted, found, strict=True))
        shift = min(shift, _WIDTH - 1 - halves[-1] - found[-1])
        shift = max(shift, 1 + halves[0] - found[0])
        middle |= {place: x + shift for place, x in zip(row, found, strict=True)}
    return middle


def _box(room: str, middle: float, top: float) -> str:
    """Draw a room with its name and what it says it is for."""
    about = re.split(r"[:;.]", import_module(f"vsnn_lab.{room}").__doc__)[0]
    while len(lines := wrap(about, 31)) > 2 and "," in about:
        about = about.rpartition(",")[0]
    first = top + _BOX[1] / 2 + 5 - _LINE * len(lines) / 2
    text = "".join(
        _text(line, middle, first + _LINE * number, kind)
        for number, (line, kind) in enumerate(
            [(room, "name"), *((line, "about") for line in lines)]
        )
    )
    left, (width, height) = middle - _BOX[0] / 2, _BOX
    return (
        f'<g class="room" data-room="{room}"><rect x="{left:.1f}" y="{top}" width="{width}" '
        f'height="{height}" rx="5"/>{text}</g>'
    )


def _arrow(way: list[Place], links: Links, middle: dict[Place, float], top: float) -> str:
    """Draw an arrow down from the first room of a way to the last, past others."""

    def port(place: Place, towards: Place, linked: list[Place]) -> float:
        """Return where on the edge of a box an arrow is: in the order of where they lead."""
        order = sorted(linked, key=lambda other: middle[other])
        return middle[place] + _BOX[0] * ((order.index(towards) + 1) / (len(order) + 1) - 0.5)

    first, last = way[0], way[-1]
    xs = [middle[place] for place in way]
    xs[0] = port(first, way[1], [b for a, b in links if a == first])
    xs[-1] = port(last, way[-2], [a for a, b in links if b == last])
    y = top + _BOX[1]
    line = f"M{xs[0]:.1f} {y}"
    for place, (x, following) in zip(way[1:], pairwise(xs), strict=True):
        y += _APART[1]
        half, end = y - _APART[1] / 2, y - _HEAD * (place == last)
        line += f"C{x:.1f} {half} {following:.1f} {half} {following:.1f} {end}"
        if place != last:
            y += _BOX[1]
            line += f"V{y}"
    return (
        f'<path class="import" data-from="{first[0]}" data-to="{last[0]}" d="{line}"/>'
        f'<path class="head" d="M{xs[-1]:.1f} {y}l-4 -{_HEAD}h8z"/>'
    )


def calls_picture(calls: list[Call], imports: Imports) -> str:
    """Draw calls one below the other, each an arrow from room to room.

    Args:
        calls: What happens, in order.
        imports: For each room those that it imports from, ordered so that they come before it.

    Returns:
        An ``svg`` element; what others rest on is on the right, so that calls lead there.

    Raises:
        ValueError: If a room does not import from the one that it is said to call.
    """
    for call in calls:
        if call.room not in imports[call.caller]:
            raise ValueError(f"{call.caller} must import from {call.room} to call {call.called}")
    floor = storeys(imports)
    rooms = sorted({room for call in calls for room in (call.caller, call.room)})
    rooms.sort(key=floor.get, reverse=True)
    middle = {room: _WIDTH * (place + 0.5) / len(rooms) for place, room in enumerate(rooms)}
    height = _COLUMN + _CALL * len(calls) + 10
    drawn = []
    for room, x in middle.items():
        drawn.append(f'<path class="lifeline" d="M{x:.1f} {_COLUMN - 8}V{height}"/>')
        drawn.append(_text(room, x, _COLUMN - 20, "name"))
    for number, call in enumerate(calls, 1):
        start, end = middle[call.caller], middle[call.room]
        y = _COLUMN + _CALL * number - 8
        side = (start + end) / 2
        label = call.called.rpartition(".")[2]
        drawn.append(
            f'<g class="call {call.carries}" data-from="{call.caller}" data-to="{call.room}">'
            f"{_text(label, side, y - 22, 'called')}{_text(call.says, side, y - 7, 'about')}"
            f'<path d="M{start:.1f} {y}H{end - _HEAD:.1f}"/>'
            f'<path class="head" d="M{end:.1f} {y}l-{_HEAD} -4v8z"/></g>'
        )
    return _svg("Calls among the rooms of vsnn_lab, in order", height, drawn)


def _text(text: str, x: float, y: float, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _svg(title: str, height: float, parts: list[str]) -> str:
    return (
        f'<svg class="drawing" role="img" xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {_WIDTH} {height + 1}"><title>{title}</title>{"".join(parts)}</svg>'
    )


class Drawing(SphinxDirective):
    """``{drawing} rooms``, or the name of one of `CALLS`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the picture, to be drawn anew when a file of the package changes."""
        for path in FILES:
            self.env.note_dependency(str(path))
        (name,), imports = self.arguments, room_imports()
        svg = rooms_picture(imports) if name == "rooms" else calls_picture(CALLS[name], imports)
        return [nodes.raw("", svg, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Let pages ask for pictures."""
    app.add_directive("drawing", Drawing)
    return {"parallel_read_safe": True}
