"""Where a narrow network does something else than was foreseen of it."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import fx
from torch._subclasses.fake_tensor import FakeTensor

from vsnn_lab.networks.graph.capture import Graph, Step
from vsnn_lab.networks.graph.learned import Place
from vsnn_lab.networks.graph.operations import operation, sizes_of, value_of
from vsnn_lab.networks.graph.units import Dim, Segment, kept
from vsnn_lab.networks.graph.walk import Walk

Count = Callable[[Segment], int]


class Difference(NamedTuple):
    """A step that does something else when its inputs are narrow.

    Attributes:
        place: The step.
        reason: What differs.
        varying: The dimension that varied instead of another, if one did.
        runs: Whether it runs at all.
    """

    place: Place
    reason: str
    varying: int | None = None
    runs: bool = True


def first_difference(
    walk: Walk, full: Sequence[Graph], narrow: Sequence[Graph], count: Count
) -> Difference | None:
    """Return the first step of a network that narrow widths change otherwise than foreseen.

    Args:
        walk: What is foreseen.
        full: What the network does at full width.
        narrow: What it does below.
        count: How many units of an axis are left there.
    """
    for number, (before, after) in enumerate(zip(full, narrow, strict=True)):
        found = _Comparison(walk, number, before, after, count).first()
        if found is not None:
            return found
    return None


class _Comparison:
    """Two graphs of one network, step by step."""

    def __init__(self, walk: Walk, number: int, full: Graph, narrow: Graph, count: Count) -> None:
        self._walk, self._number, self._count = walk, number, count
        self._full, self._narrow = full, narrow
        # Which node of the full graph one of the narrow graph stands for.
        self._same = dict(zip(narrow.samples, full.samples, strict=True))
        names = {name: node for node, name in full.state.items()}
        self._same |= {node: names[name] for node, name in narrow.state.items() if name in names}

    def first(self) -> Difference | None:
        """Return the first step that differs."""
        steps = self._full.steps
        for place, (step, other) in enumerate(zip(steps, self._narrow.steps, strict=False)):
            if (step.name, step.layer) != (other.name, other.layer):
                return self._at(place, f"{other.name} instead of {step.name} below full width")
            found = (self._layer if step.layer else self._operation)(step, other)
            if found is not None:
                reason, varying = found
                behind = [each.name for each in steps[:place] if each.layer][-1:]
                where = f" behind {behind[0]!r}" if behind and not step.layer else ""
                runs = step.layer or value_of(other.node) is not None
                return self._at(place, f"{step.name}{where}: {reason}", varying, runs=runs)
            self._same |= dict(zip(other.outputs, step.outputs, strict=False))
        short = min(len(steps), len(self._narrow.steps))
        if self._narrow.failure is not None:
            name = steps[min(short, len(steps) - 1)].name
            what = str(self._narrow.failure).partition("\n")[0]
            if short and steps[short - 1].layer and not self._narrow.steps[short - 1].outputs:
                short -= 1  # It was inside of a layer.
                name = steps[short].name
            why = f"{name} fails below full width: {what}"
            return self._at(min(short, len(steps) - 1), why, runs=False)
        if len(steps) != len(self._narrow.steps):
            return self._at(min(short, len(steps) - 1), "other operations below full width")
        return None

    def _at(
        self, place: int, reason: str, varying: int | None = None, *, runs: bool = True
    ) -> Difference:
        return Difference((self._number, place), reason, varying, runs)

    def _foreseen(self, node: fx.Node) -> list[tuple[int, ...]]:
        shapes = self._walk.dims(node)
        return [tuple(kept(dim, self._count) for dim in shape) for shape in shapes]

    def _layer(self, step: Step, other: Step) -> tuple[str, None] | None:
        if [*step.inputs] != [*other.inputs]:
            return "other inputs below full width", None
        for node, narrow in zip(step.inputs.values(), other.inputs.values(), strict=True):
            if self._same.get(narrow.all_input_nodes[0]) is not node.all_input_nodes[0]:
                return "other inputs below full width", None
        for node, narrow in zip(step.outputs, other.outputs, strict=False):
            if self._foreseen(node) != sizes_of(value_of(narrow)):
                return "other sizes below full width", None
        return None

    def _operation(self, step: Step, other: Step) -> tuple[str, int | None] | None:
        node, narrow = step.node, other.node
        constant = self._full.constants.get(node)
        if constant is not None and not _equal(constant, self._narrow.constants.get(narrow)):
            return "another number below full width", None
        known = operation(step.name)
        fails = self._arguments(step.name, node, narrow, free=bool(known and known.sizes))
        sizes = sizes_of(value_of(narrow))
        foreseen = self._foreseen(node)
        if not fails and foreseen == sizes:
            return None
        varying = None
        full = sizes_of(value_of(node))
        if known and known.sizes and len(sizes) == len(full) == 1 and len(sizes[0]) == len(full[0]):
            changed = [
                at for at, pair in enumerate(zip(*sizes, *full, strict=True)) if pair[0] != pair[1]
            ]
            varying = changed[0] if len(changed) == 1 else None
        if fails:
            return "other arguments below full width", None
        return f"sizes {sizes} below full width, not {foreseen}", varying

    def _arguments(self, name: str, node: fx.Node, narrow: fx.Node, *, free: bool) -> bool:
        """Whether arguments differ that should not."""
        if name in ("slice", "narrow"):
            return self._slices(node, narrow)
        if len(node.args) != len(narrow.args) or node.kwargs.keys() != narrow.kwargs.keys():
            return True
        pairs = [*zip(node.args, narrow.args, strict=True)]
        pairs += [(value, narrow.kwargs[key]) for key, value in node.kwargs.items()]
        return any(not self._alike(a, b, free) for a, b in pairs)

    def _alike(self, full: Any, narrow: Any, free: bool) -> bool:
        if isinstance(full, fx.Node) or isinstance(narrow, fx.Node):
            return isinstance(narrow, fx.Node) and self._same.get(narrow) is full
        if isinstance(full, list | tuple) and isinstance(narrow, list | tuple):
            if len(full) != len(narrow):
                return False
            return all(self._alike(a, b, free) for a, b in zip(full, narrow, strict=True))
        if free and isinstance(full, int) and isinstance(narrow, int):
            return True
        return bool(full == narrow) and type(full) is type(narrow)

    def _slices(self, node: fx.Node, narrow: fx.Node) -> bool:
        """Whether a slice begins elsewhere than where it did; its size is compared by itself."""
        source = node.args[0]
        if self._same.get(narrow.args[0]) is not source:  # type: ignore[arg-type]
            return True
        dim: Any = node.args[1] if len(node.args) > 1 else 0
        if (narrow.args[1] if len(narrow.args) > 1 else 0) != dim:
            return True
        assert isinstance(source, fx.Node)
        (shape,) = self._walk.dims(source)
        whole = kept(shape[dim], lambda part: part.units)
        starts = [
            _start(each, size)
            for each, size in ((node, whole), (narrow, kept(shape[dim], self._count)))
        ]
        return starts[1] != kept(_before(shape[dim], starts[0]), self._count)


def _start(node: fx.Node, size: int) -> int:
    start: Any = node.args[2] if len(node.args) > 2 else 0
    return slice(start, None).indices(size)[0]


def _before(dim: Dim, end: int) -> Dim:
    """Return what comes before an element of a dimension."""
    found, done = [], 0
    for part in dim:
        if done + part.size > end:
            if end > done:
                found.append(Segment(None, end - done))
            break
        found.append(part)
        done += part.size
    return tuple(found)


def _equal(first: torch.Tensor, second: torch.Tensor | None) -> bool:
    if isinstance(first, FakeTensor):
        return False  # Of unknown numbers: the tracer has lost where it comes from.
    return second is not None and first.shape == second.shape and torch.equal(first, second)
