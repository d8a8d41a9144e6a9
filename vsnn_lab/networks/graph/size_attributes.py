"""Numbers in modules that are the size of an axis: heads that a reshape names, say.

A constant in an attribute stops the axis that it is the size of, for the operation that it goes
into does something else below full width. So there it is supposed that each number of the module
around, if it equals the size of a dimension that should vary, is that size; and it is tried, as
everything is. What does not get further is taken back, and the axis stays.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import nn

from vsnn_lab.networks.graph.capture import Graph
from vsnn_lab.networks.graph.compare import Difference
from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.networks.graph.units import size_of
from vsnn_lab.networks.graph.walk import Number, Place, Walk, Where


class SizeAttributes:
    """What is supposed of numbers in attributes.

    Attributes:
        followed: Of each, the dimension whose size it is.
    """

    def __init__(self, model: nn.Module, graphs: Sequence[Graph]) -> None:
        self._model, self._graphs = model, graphs
        self.followed: dict[Number, Where] = {}
        self._refused: set[Number] = set()
        self._latest: dict[Number, Where] = {}
        self._reached: Place = (0, 0)

    def suppose(
        self, walk: Walk, found: Difference, alike: Callable[[Place], Iterable[Place]]
    ) -> bool:
        """Suppose something, or take it back; return whether the network is to be tried again.

        Args:
            walk: Where units come from and go to.
            found: Where a narrow network does something else.
            alike: Lists the steps that repeat one.
        """
        if self._latest and found.place <= self._reached:
            for number in self._latest:
                del self.followed[number]
            self._refused |= {*self._latest}
            self._latest = {}
            return True
        self._latest = {}
        if found.varying is not None:
            return False
        for place in [found.place, *alike(found.place)]:
            for number, where in self._candidates(walk, place):
                if number not in self.followed and number not in self._refused:
                    self._latest.setdefault(number, where)
        self.followed |= self._latest
        self._reached = found.place
        return bool(self._latest)

    def _candidates(self, walk: Walk, place: Place) -> Iterator[tuple[Number, Where]]:
        """List numbers that equal the size of a dimension that should vary in what a step gives."""
        number, at = place
        step = self._graphs[number].steps[at]
        if step.layer:
            return
        for name in self._around(place):
            module = self._model.get_submodule(name)
            for output, shape in enumerate(walk.dims(step.node)):
                for dim, units in enumerate(shape):
                    if not walk.axes.varies(units):
                        continue
                    for key, value in vars(module).items():
                        if type(value) is int and value == size_of(units):
                            yield (name, key), (number, at, output, dim)

    def _around(self, place: Place) -> list[str]:
        """Return the names of the module that runs at a step, as far as layers near it tell."""
        number, at = place
        steps = self._graphs[number].steps
        before = [step.name for step in steps[:at] if step.layer][-1:]
        after = [step.name for step in steps[at:] if step.layer][:1]
        found = dict.fromkeys(name.rpartition(".")[0] for name in [*before, *after])
        return [name for name in found if _may_follow(self._model.get_submodule(name))]


def _may_follow(module: nn.Module) -> bool:
    kind = type(module)
    known = kind in LAYERS or kind.__module__.startswith("torch.nn") or type(kind) is not type
    return not known and "forward" not in vars(module)
