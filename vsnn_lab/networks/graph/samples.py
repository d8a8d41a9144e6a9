"""Where samples lie in every tensor, and where they are mixed.

Each sample may have a width of its own as long as nothing of another reaches it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from vsnn_lab.networks.graph.units import SAMPLES, Axes, Segment, Shape, fixed, has_samples

# An operation that is not known is not tried on more numbers than these.
_MOST = 10_000_000

Shapes = dict[fx.Node, list[Shape]]


def sample_shape(sizes: Sequence[int], samples: int) -> Shape:
    """Return the dimensions of an input: samples along one, and numbers that stay."""
    return tuple(
        (Segment(SAMPLES, size),) if place == samples else fixed(size)
        for place, size in enumerate(sizes)
    )


def rows_of(shape: Shape) -> tuple[int, bool] | None:
    """Return where samples lie, and whether each has several rows there."""
    found = [
        (place, dim[0].repeats > 1)
        for place, dim in enumerate(shape)
        if [part.axis for part in dim] == [SAMPLES]
    ]
    return found[0] if len(found) == 1 else None


class Samples:
    """What comes of mixed samples tells nothing of a single one any more: a loss, say.

    Where it is joined with what does, all that it was made of stays.

    Args:
        axes: All axes.
        shapes: The dimensions of what each node gives.

    Attributes:
        mixed: The nodes that give what is made of mixed samples.
    """

    def __init__(self, axes: Axes, shapes: Shapes) -> None:
        self._axes, self._shapes = axes, shapes
        self.mixed: set[fx.Node] = set()

    def follow(self, node: fx.Node, sources: Sequence[fx.Node], reason: str) -> None:
        """Note whether what a node gives is made of mixed samples."""
        found = self._shapes[node]
        given = [shape for source in sources for shape in self._shapes[source]]
        if any(source in self.mixed for source in sources):
            if any(map(_known, found)):
                self.fix_before(sources, reason)
            else:
                self.mixed.add(node)
        elif any(map(_known, given)) and not all(map(_known, found)):
            self.mixed.add(node)
            for shape in [*given, *found]:
                self._fix(shape, reason)

    def fix_before(self, nodes: Iterable[fx.Node], reason: str) -> None:
        """Let all stay that mixed samples are made of."""
        todo, seen = [node for node in nodes if node in self.mixed], set[fx.Node]()
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                for shape in self._shapes.get(node, ()):
                    self._fix(shape, f"{reason}, which mixes samples")
                todo += node.all_input_nodes

    def _fix(self, shape: Shape, reason: str) -> None:
        for dim in shape:
            self._axes.fix(dim, reason)


def _known(shape: Shape) -> bool:
    """Return whether samples lie along one dimension."""
    return sum(map(has_samples, shape)) == 1


def tried(node: fx.Node, shapes: Shapes, found: Sequence[Shape]) -> list[Shape]:
    """Return the dimensions of what an unknown operation gives: samples, where a run shows them.

    It runs on numbers of the right sizes; where those of one sample move a part of its own and
    nothing else, there samples lie.

    Args:
        node: The operation.
        shapes: The dimensions of what it is given.
        found: Those of what it gives, all of which stay.
    """
    places = {
        source: [_place(shape) for shape in shapes[source]] for source in node.all_input_nodes
    }
    dims = {
        shapes[key][at][place]
        for key, each in places.items()
        for at, place in enumerate(each)
        if place is not None
    }
    if len(dims) != 1:
        return list(found)
    (dim,) = dims
    ((samples, repeats),) = ((part.units, part.repeats) for part in dim)
    rows = [0, samples - 1]
    try:
        moved = [_moved(node, places, row * repeats, repeats) for row in rows]
    except Exception:
        return list(found)  # It takes other numbers than these.
    if samples == 1 or not moved[0]:
        return list(found)
    new = []
    for at, shape in enumerate(found):
        where = [
            place
            for place, size in enumerate(moved[0][at].shape)
            if size == samples * repeats
            and all(
                _only(each[at], place, row * repeats, repeats)
                for each, row in zip(moved, rows, strict=True)
            )
        ]
        new.append((*shape[: where[0]], dim, *shape[where[0] + 1 :]) if where else shape)
    return new


def _place(shape: Shape) -> int | None:
    found = rows_of(shape)
    return None if found is None else found[0]


def _moved(
    node: fx.Node, places: Mapping[fx.Node, Sequence[int | None]], start: int, length: int
) -> list[Tensor]:
    """Return which numbers of what an operation gives change with those of one sample."""
    noise = torch.Generator().manual_seed(0)
    before: dict[fx.Node, Any] = {}
    after: dict[fx.Node, Any] = {}
    for source, dims in places.items():
        leaves, spec = pytree.tree_flatten(source.meta["val"])
        if sum(leaf.numel() for leaf in leaves) > _MOST:
            raise ValueError("too large to be tried")
        one = [_numbers(leaf, noise) for leaf in leaves]
        other = [leaf.clone() for leaf in one]
        for leaf, place in zip(other, dims, strict=True):
            if place is not None and leaf.is_floating_point():
                part = leaf.narrow(place, start, length)
                part.copy_(_numbers(part, noise))
        before[source] = pytree.tree_unflatten(one, spec)
        after[source] = pytree.tree_unflatten(other, spec)
    results = []
    for values in (before, after):
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            # Not those of other devices, whose states nobody puts back.
            torch.default_generator.manual_seed(0)
            args = fx.map_arg((node.args, node.kwargs), lambda each, values=values: values[each])  # type: ignore[misc]
            target: Any = node.target
            results.append(pytree.tree_leaves(target(*args[0], **args[1])))
    return [
        (one != other) & ~(one.isnan() & other.isnan()) for one, other in zip(*results, strict=True)
    ]


def _numbers(like: Tensor, noise: torch.Generator) -> Tensor:
    """Return numbers of the sizes of a tensor; indices are 0, which is always one."""
    if like.is_floating_point():
        return torch.rand(like.shape, generator=noise).to(like.dtype)
    return torch.zeros(like.shape, dtype=like.dtype)


def _only(moved: Tensor, place: int, start: int, length: int) -> bool:
    """Return whether something moved, along a dimension in one part alone."""
    inside = moved.narrow(place, start, length)
    return bool(inside.any()) and int(inside.sum()) == int(moved.sum())
