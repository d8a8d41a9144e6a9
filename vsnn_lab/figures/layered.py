"""Where the nodes of a graph stand: each below all that lead to it, side by side where they must.

After Sugiyama, Tagawa & Toda 1981, "Methods for Visual Understanding of Hierarchical System
Structures": rows by the longest path, lanes near those of the nodes above.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """Where a node stands.

    Attributes:
        row: Counted from the top.
        lane: Counted from the left.
    """

    row: int
    lane: int


def layered(count: int, edges: Sequence[tuple[int, int]]) -> list[Place]:
    """Return the places of nodes whose edges all lead to later ones.

    Example:
        >>> [tuple(place) for place in layered(4, [(0, 1), (0, 2), (1, 3), (2, 3)])]
        [(0, 0), (1, 0), (1, 1), (2, 0)]
    """
    above: list[list[int]] = [[] for _ in range(count)]
    for first, second in sorted(edges):
        above[second].append(first)
    rows: list[int] = []
    for before in above:
        rows.append(max((rows[each] + 1 for each in before), default=0))
    members: dict[int, list[int]] = {}
    for node, row in enumerate(rows):
        members.setdefault(row, []).append(node)
    lanes: dict[int, int] = {}
    for row in sorted(members):
        taken: set[int] = set()
        # The one that ends the longest way keeps its lane; others take the nearest that is free.
        for node in sorted(members[row], key=lambda node: (_wish(above[node], lanes), node)):
            lane = _wish(above[node], lanes)
            while lane in taken:
                lane += 1
            lanes[node] = lane
            taken.add(lane)
    return [Place(rows[node], lanes[node]) for node in range(count)]


def _wish(before: Sequence[int], lanes: dict[int, int]) -> int:
    """Return the lane of the leftmost node above."""
    return min((lanes[each] for each in before), default=0)
