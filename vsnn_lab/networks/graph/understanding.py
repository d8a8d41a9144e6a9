"""Find out which axes of a network may vary: suppose, turn them, look, and think again.

Whatever `Walk` supposes is tried: the network runs on sizes alone with every axis at a width of its
own, and each operation is compared with what was foreseen. Where it does something else, because of
a number in its code say, what reaches that step stays. What is left was seen to work.
"""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from torch import nn

from vsnn_lab.layers.own_forward import Layout
from vsnn_lab.networks.graph.capture import Graph, Step, capture
from vsnn_lab.networks.graph.compare import Difference, first_difference
from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.networks.graph.learned import Learned, Place
from vsnn_lab.networks.graph.other_layers import other_layers
from vsnn_lab.networks.graph.suppositions import Suppositions
from vsnn_lab.networks.graph.units import Segment
from vsnn_lab.networks.graph.walk import Walk
from vsnn_lab.networks.restoring import restored

# Of each axis another share, so that two axes that look alike are told apart.
_SHARES = (0.5, 0.34, 0.67, 0.42, 0.75, 0.25)

Turn = Callable[[Walk, Mapping[int, int]], Any]
"""Makes the network narrow, given how many units each axis keeps: a context manager of another one,
in which layers have the sizes of the cut."""


@dataclass
class Understanding:
    """What is known of a network's axes.

    Attributes:
        walk: Where units come from and go to.
        graphs: What the network does, in evaluation and, if that could be seen, in training.
        training: Why it could not be looked at in training; empty if it could.
    """

    walk: Walk
    graphs: list[Graph]
    training: str


def understand(
    model: nn.Module,
    args: Sequence[Any],
    options: Mapping[str, Any],
    excluded: Collection[str],
    turn: Turn,
) -> Understanding:
    """Return what is known of a network's axes, after all of it was tried.

    Raises:
        ValueError: If the network does not run on sizes alone.
    """
    others = other_layers(model, args, options, excluded)
    layers = [*known_layers(model, excluded), *others]
    graphs, training = [], ""
    for train, graph in enumerate(_captured(model, args, options, layers)):
        if graph.failure is None:
            graphs.append(graph)
        elif train:
            training = _line(graph.failure)
        else:
            raise ValueError(
                f"model must run on the example, on sizes alone, got: {_line(graph.failure)}"
            ) from graph.failure

    def run(walk: Walk, counts: Mapping[int, int], modes: int) -> Generator[list[Graph]]:
        with turn(walk, counts) as sizes_of_cut:
            yield [*islice(_captured(model, args, options, layers), modes)]
            # A cut has other numbers as sizes of its layers, which forwards may read.
            with sizes_of_cut():
                yield [*islice(_captured(model, args, options, layers), modes)]

    walk = _Inquiry(model, graphs, {*excluded}, run, 0, others).settle()
    if walk.elsewhere:
        # Layers of sequences take samples from their second dimension.
        other = _Inquiry(model, graphs, {*excluded}, run, 1, others).settle()
        if _units(other) > _units(walk):
            walk = other
    return Understanding(walk, graphs, training)


class _Inquiry:
    """Suppose, try, and think again, until what is supposed is what happens.

    Args:
        model: The network.
        graphs: What it does at full width.
        excluded: Names of modules that keep their sizes.
        run: Lists what it does where each axis keeps so many units, and what its cut does: in
            evaluation, or in both modes.
        samples: The dimension of samples in its inputs.
        others: The layers of classes that are not known, and how they are laid out.
    """

    def __init__(
        self,
        model: nn.Module,
        graphs: Sequence[Graph],
        excluded: set[str],
        run: Callable[[Walk, Mapping[int, int], int], Generator[list[Graph]]],
        samples: int,
        others: Mapping[str, Layout],
    ) -> None:
        self._model, self._graphs, self._excluded = model, graphs, excluded
        self._run, self._samples = run, samples
        self._others, self._supposed = others, Suppositions(model, graphs)
        self._known = Learned({}, {}, {}, self._supposed.followed, self._supposed.united)

    def settle(self) -> Walk:
        """Return a walk of which all that it foresees was seen to happen."""
        while True:
            walk = Walk(
                self._model,
                self._graphs,
                self._excluded,
                self._known,
                self._others,
                self._samples,
            )
            counts = _counts(walk)
            found = self._try(walk, counts) if counts else None
            if found is None:
                # What looked right by chance, or turns out otherwise next to nothing: a comparison
                # with a size.
                for counts in _extremes(walk):
                    found = self._try(walk, counts, 1)
                    if found is not None:
                        break
                else:
                    return walk
            self._learn(walk, counts, found)

    def _try(
        self, walk: Walk, counts: Mapping[int, int], modes: int | None = None
    ) -> Difference | None:
        known = self._graphs[:modes]

        def count(part: Segment) -> int:
            return counts.get(part.axis, part.units) if part.axis is not None else part.units

        with closing(self._run(walk, counts, len(known))) as narrow:
            found = (first_difference(walk, known, graphs, count) for graphs in narrow)
            return next(filter(None, found), None)

    def _learn(self, walk: Walk, counts: Mapping[int, int], found: Difference) -> None:
        """Learn from a difference what varies otherwise, or what has to stay."""
        if self._supposed.suppose(walk, found, partial(_alike, self._model, self._graphs)):
            return
        step = self._graphs[found.place[0]].steps[found.place[1]]
        units = _axes(walk)
        parts = [part for node in step.nodes for dim in walk.known(node) for part in dim]
        near = {part.axis for part in parts if part.axis is not None} & counts.keys()
        if near and len(near) < len(counts):
            # With all else at full width: does it come of the axes that reach the step at all?
            alone = {axis: counts[axis] if axis in near else units[axis] for axis in counts}
            nearer = self._try(walk, alone)
            if nearer is None or nearer.place != found.place:
                self._blame(walk, counts, found, [*near])
                return
            found = nearer
        known = self._known.size
        for place in _alike(self._model, self._graphs, found.place):
            if found.varying is None or place in self._known.varying:
                self._known.stopped.setdefault(place, found.reason)
            else:
                self._known.varying[place] = found.varying
        if self._known.size == known and not _spread(self._graphs, self._known.stopped):
            # It cannot be said where the difference comes from.
            for number, graph in enumerate(self._graphs):
                all_of_them = {(number, at): found.reason for at in range(len(graph.steps))}
                self._known.stopped.update(all_of_them)

    def _blame(
        self, walk: Walk, counts: Mapping[int, int], found: Difference, near: Sequence[int]
    ) -> None:
        """Let the axis stay whose size is a number somewhere else in the network."""
        units, suspects = _axes(walk), [axis for axis in counts if axis not in near]
        while len(suspects) > 1:
            half = suspects[: len(suspects) // 2]
            narrow = {*near, *half}
            again = self._try(walk, {a: counts[a] if a in narrow else units[a] for a in counts})
            blamed = again is not None and again.place == found.place
            suspects = half if blamed else suspects[len(half) :]
        for name, dims in walk.layers.items():
            for key, dim in dims.items():
                if any(part.axis == suspects[0] for part in walk.axes.resolve(dim)):
                    self._known.held[name, key] = f"its size counts elsewhere: {found.reason}"


def known_layers(model: nn.Module, excluded: Collection[str]) -> Iterator[str]:
    """List the layers that are one step, and the excluded modules, by their names."""
    inside: tuple[str, ...] = tuple(f"{name}." for name in excluded)
    for name, module in model.named_modules():
        if name.startswith(inside) and inside:
            continue
        if name in excluded or (type(module) in LAYERS and "forward" not in vars(module)):
            yield name


def _captured(
    model: nn.Module, args: Sequence[Any], options: Mapping[str, Any], layers: Sequence[str]
) -> Iterator[Graph]:
    """Return what a network does in evaluation and in training, and leave it as it was."""
    for train in (False, True):
        with restored(model):
            model.train(train)
            graph = capture(model, args, options, layers)
        yield graph


def _axes(walk: Walk) -> dict[int, int]:
    """Return the units of each axis that varies."""
    return {axis: part.units for axis, part in walk.varying().items()}


def _units(walk: Walk) -> int:
    return sum(_axes(walk).values())


def _counts(walk: Walk) -> dict[int, int]:
    """Return how many units of each axis to keep in order to see what narrow widths do."""
    return {
        axis: min(max(1, round(units * _SHARES[place % len(_SHARES)])), units - 1)
        for place, (axis, units) in enumerate(sorted(_axes(walk).items()))
    }


def _extremes(walk: Walk) -> Iterator[dict[int, int]]:
    """List how many units to keep: of one axis the least, of the next all but one, and so on."""
    axes = sorted(_axes(walk).items())
    for turn in (0, 1) if axes else ():
        yield {
            axis: 1 if place % 2 == turn else units - 1 for place, (axis, units) in enumerate(axes)
        }


def _alike(model: nn.Module, graphs: Sequence[Graph], place: Place) -> list[Place]:
    """Return the steps that repeat one, in blocks of the same kind, say."""
    number, at = place
    kind = _kind(model, graphs[number].steps, at)
    return [
        (other, index)
        for other, graph in enumerate(graphs)
        for index in range(len(graph.steps))
        if _kind(model, graph.steps, index) == kind
    ]


def _kind(model: nn.Module, steps: Sequence[Step], at: int) -> list[str]:
    near = steps[max(0, at - 3) : at + 2]
    return [
        type(model.get_submodule(step.name)).__name__ if step.layer else step.name for step in near
    ]


def _spread(graphs: Sequence[Graph], stopped: dict[Place, str]) -> bool:
    """Stop at the steps that use what stopped steps give, too; return whether there are any."""
    before = len(stopped)
    for number, graph in enumerate(graphs):
        nodes = {
            node: reason
            for (of, at), reason in stopped.items()
            if of == number
            for node in graph.steps[at].outputs
        }
        for at, step in enumerate(graph.steps):
            used = [*step.inputs.values(), *step.outputs]
            for node in [source for each in used for source in each.all_input_nodes]:
                if node in nodes:
                    stopped.setdefault((number, at), nodes[node])
    return len(stopped) > before


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
