"""What is supposed where a narrow network does something else than was foreseen, and tried.

A number in an attribute stops the axis that it is the size of, for the operation that it goes into
does something else below full width: heads that a reshape names, say. So there it is supposed that
each number of the module around, if it equals the size of a dimension that should vary, is that
size. And a reshape to the size of another tensor needs as many units as that one has: so there it
is supposed that they have one axis. Both are tried, as everything is; what does not get further is
taken back, and the axis stays.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

from torch import nn

from vsnn_lab.networks.graph.capture import Graph
from vsnn_lab.networks.graph.compare import Difference
from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.networks.graph.learned import Number, Place, Spot
from vsnn_lab.networks.graph.units import size_of
from vsnn_lab.networks.graph.walk import Walk

Supposition = tuple[Number | Spot, Spot]
"""A number that is the size of a dimension, or a dimension that has the axis of another."""

_MOST = 3  # dimensions of one size that another is united with, one after the other


class Suppositions:
    """What is supposed of numbers in attributes and of dimensions of one size.

    Args:
        model: The network.
        graphs: What it does at full width.

    Attributes:
        followed: Of numbers, the dimension whose size each is.
        united: Pairs of dimensions that have one axis.
    """

    def __init__(self, model: nn.Module, graphs: Sequence[Graph]) -> None:
        self._model, self._graphs = model, graphs
        self.followed: dict[Number, Spot] = {}
        self.united: dict[tuple[Spot, Spot], None] = {}
        self._refused: set[frozenset[Supposition]] = set()
        self._latest: frozenset[Supposition] = frozenset()
        self._reached = (0, 0), False

    def suppose(
        self, walk: Walk, found: Difference, alike: Callable[[Place], Iterable[Place]]
    ) -> bool:
        """Suppose something, or take it back; return whether the network is to be tried again.

        Args:
            walk: Where units come from and go to.
            found: Where a narrow network does something else.
            alike: Lists the steps that repeat one.
        """
        if self._latest:
            latest, self._latest = self._latest, frozenset()
            if (found.place, found.runs) <= self._reached:
                self._take_back(latest)
                self._refused.add(latest)
                return True
            # What was of no use before may be now.
            self._refused.clear()
        places = [found.place, *(place for place in alike(found.place) if place != found.place)]
        for some in self._choices(walk, places):
            if some and some not in self._refused:
                self._latest, self._reached = some, (found.place, found.runs)
                for what, spot in some:
                    if isinstance(what, Spot):
                        self.united[what, spot] = None
                    else:
                        self.followed[what] = spot
                return True
        return False

    def _take_back(self, some: Iterable[Supposition]) -> None:
        for what, spot in some:
            if isinstance(what, Spot):
                del self.united[what, spot]
            else:
                del self.followed[what]

    def _choices(self, walk: Walk, places: Sequence[Place]) -> Iterator[frozenset[Supposition]]:
        """List what may be supposed, at a step and at those alike, one after the other."""
        numbers: dict[Number, Spot] = {}
        for place in places:
            for number, spot in self._numbers(walk, place):
                if number not in self.followed:
                    numbers.setdefault(number, spot)
        # All of them, or those of one name: another may be of the same size by chance.
        names = dict.fromkeys(name for _, name in numbers)
        some = [frozenset(numbers.items())]
        if len(names) > 1:
            some += [frozenset(pair for pair in some[0] if pair[0][1] == name) for name in names]
        yield from some
        of_each = [[*islice(self._pairs(walk, place), _MOST)] for place in places]
        for turn in range(len(of_each[0])):
            pairs = frozenset(each[turn] for each in of_each if turn < len(each))
            yield from (pairs, *(pairs | each for each in some))

    def _numbers(self, walk: Walk, place: Place) -> Iterator[tuple[Number, Spot]]:
        """List numbers that equal the size of a dimension that should vary at a step."""
        for name in self._around(place):
            for spot in self._spots(walk, place):
                size = size_of(walk.dim(spot))
                for key, value in vars(self._model.get_submodule(name)).items():
                    if type(value) is int and value == size:
                        yield (name, key), spot

    def _pairs(self, walk: Walk, place: Place) -> Iterator[tuple[Spot, Spot]]:
        """List dimensions of one size, of a step and of what ran before it, the nearest first."""
        number, at = place
        steps = self._graphs[number].steps
        if steps[at].layer:
            return
        before = [node for step in steps[:at] for node in step.outputs][::-1]
        near = [*steps[at].node.all_input_nodes, steps[at].node]
        for spot in [spot for node in near for spot in _varying(walk, node)]:
            dim = walk.dim(spot)
            known = {dim}
            for other in (other for node in before for other in _varying(walk, node)):
                another = walk.dim(other)
                if size_of(another) == size_of(dim) and another not in known:
                    known.add(another)
                    yield spot, other

    def _spots(self, walk: Walk, place: Place) -> Iterator[Spot]:
        """List the dimensions that should vary: of what an operation gives, or a layer takes."""
        step = self._graphs[place[0]].steps[place[1]]
        nodes = [node.all_input_nodes[0] for node in step.inputs.values()]
        for node in nodes if step.layer else [step.node]:
            yield from _varying(walk, node)

    def _around(self, place: Place) -> list[str]:
        """Return the names of the modules that run at a step, as far as layers near it tell."""
        number, at = place
        steps = self._graphs[number].steps
        if steps[at].layer:
            # What any module around it checks before.
            parts = steps[at].name.split(".")
            found = dict.fromkeys(".".join(parts[:end]) for end in range(len(parts)))
        else:
            before = [step.name for step in steps[:at] if step.layer][-1:]
            after = [step.name for step in steps[at:] if step.layer][:1]
            found = dict.fromkeys(name.rpartition(".")[0] for name in [*before, *after])
        return [name for name in found if _may_follow(self._model.get_submodule(name))]


def _varying(walk: Walk, node: object) -> Iterator[Spot]:
    for output, shape in enumerate(walk.shapes.get(node, ())):  # type: ignore[call-overload]
        for place, dim in enumerate(shape):
            if walk.axes.varies(dim):
                yield Spot(node, output, place)  # type: ignore[arg-type]


def _may_follow(module: nn.Module) -> bool:
    kind = type(module)
    return kind not in LAYERS and type(kind) is type and "forward" not in vars(module)
