"""Find out which axes of a network may vary: suppose, turn them, look, and think again.

Whatever `Walk` supposes is tried: the network runs on sizes alone with every axis at a width of its
own, and each operation is compared with what was foreseen. Where it does something else, because of
a number in its code say, what reaches that step stays. What is left was seen to work.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from vsnn_lab.networks.graph.capture import Graph, Step, capture
from vsnn_lab.networks.graph.compare import Difference, first_difference
from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.networks.graph.other_layers import other_layers
from vsnn_lab.networks.graph.size_attributes import SizeAttributes
from vsnn_lab.networks.graph.units import Segment
from vsnn_lab.networks.graph.walk import Place, Walk

# Of each axis another share, so that two axes that look alike are told apart.
_SHARES = (0.5, 0.34, 0.67, 0.42, 0.75, 0.25)

Turn = Callable[[Walk, Mapping[int, int]], Any]
"""Makes the network narrow, given how many units each axis keeps: a context manager."""


@dataclass
class Understanding:
    """What is known of a network's axes.

    Attributes:
        walk: Where units come from and go to.
        graphs: What the network does, in evaluation and, if that could be seen, in training.
        stopped: Steps at which axes were fixed because a narrow network does something else.
        training: Why it could not be looked at in training; empty if it could.
    """

    walk: Walk
    graphs: list[Graph]
    stopped: dict[Place, str]
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
    for train in (False, True):
        with _mode(model, train):
            graph = capture(model, args, options, layers)
        if graph.failure is None:
            graphs.append(graph)
        elif train:
            training = _line(graph.failure)
        else:
            raise ValueError(
                f"model must run on the example, on sizes alone, got: {_line(graph.failure)}"
            ) from graph.failure
    stopped: dict[Place, str] = {}
    varying: dict[Place, int] = {}
    numbers = SizeAttributes(model, graphs)
    while True:
        walk = Walk(model, graphs, {*excluded}, stopped, varying, others, numbers.followed)
        counts = _counts(walk)
        found = _try(walk, model, args, options, layers, graphs, counts, turn) if counts else None
        if found is None:
            return Understanding(walk, graphs, stopped, training)
        if numbers.suppose(walk, found, lambda place: _alike(model, graphs, place)):
            continue
        known = len(stopped), len(varying)
        for place in _alike(model, graphs, found.place):
            if found.varying is None or place in varying:
                stopped.setdefault(place, found.reason)
            else:
                varying[place] = found.varying
        if (len(stopped), len(varying)) == known and not _spread(graphs, stopped):
            # It cannot be said where the difference comes from.
            for number, graph in enumerate(graphs):
                stopped |= {(number, at): found.reason for at in range(len(graph.steps))}


def known_layers(model: nn.Module, excluded: Collection[str]) -> Iterator[str]:
    """List the layers that are one step, and the excluded modules, by their names."""
    inside: tuple[str, ...] = tuple(f"{name}." for name in excluded)
    for name, module in model.named_modules():
        if name.startswith(inside) and inside:
            continue
        if name in excluded or (type(module) in LAYERS and "forward" not in vars(module)):
            yield name


@contextmanager
def _mode(model: nn.Module, train: bool) -> Iterator[None]:
    before = {module: module.training for module in model.modules()}
    model.train(train)
    try:
        yield
    finally:
        for module, flag in before.items():
            module.training = flag


def _counts(walk: Walk) -> dict[int, int]:
    """Return how many units of each axis to keep in order to see what narrow widths do."""
    axes: dict[int, Segment] = {}
    for dim in walk.every_dim():
        axes |= {part.axis: part for part in walk.axes.resolve(dim) if part.varies}  # type: ignore[misc]
    shares = {axis: _SHARES[place % len(_SHARES)] for place, axis in enumerate(sorted(axes))}
    return {
        axis: min(max(1, round(axes[axis].units * share)), axes[axis].units - 1)
        for axis, share in shares.items()
    }


def _try(
    walk: Walk,
    model: nn.Module,
    args: Sequence[Any],
    options: Mapping[str, Any],
    layers: Sequence[str],
    graphs: Sequence[Graph],
    counts: Mapping[int, int],
    turn: Turn,
) -> Difference | None:
    narrow = []
    with turn(walk, counts):
        for train in (False, True)[: len(graphs)]:
            with _mode(model, train):
                narrow.append(capture(model, args, options, layers))

    def count(part: Segment) -> int:
        return counts.get(part.axis, part.units) if part.axis is not None else part.units

    return first_difference(walk, graphs, narrow, count)


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
