"""What was learned of a network by trying, and what places in its graphs are called."""

from collections.abc import Collection
from typing import NamedTuple

from torch import fx

Place = tuple[int, int]
"A step: which graph, and which of its steps."
Number = tuple[str, str]
"A number in an attribute: the name of the module, and the attribute's."


class Spot(NamedTuple):
    """A dimension of what a node gives: of which of its tensors, and which one."""

    node: fx.Node
    output: int
    place: int


class Learned(NamedTuple):
    """What was learned by trying.

    Attributes:
        stopped: Steps that did something else at another width than was foreseen: what reaches
            them stays, for the reason given.
        varying: Of steps that take a dimension apart, which part varies.
        held: Axes of layers that stay, by the layer and the attribute, for the reason given.
        followed: Of numbers in attributes, the dimension whose size they are supposed to be.
        united: Pairs of dimensions that are supposed to have one axis.
    """

    stopped: dict[Place, str]
    varying: dict[Place, int]
    held: dict[tuple[str, str], str]
    followed: dict[Number, Spot]
    united: Collection[tuple[Spot, Spot]]

    @property
    def size(self) -> int:
        """How much it is."""
        return len(self.stopped) + len(self.varying) + len(self.held)
