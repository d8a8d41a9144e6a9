"""Dimensions of tensors as rows of units, and which of them are one.

A dimension is a sum of segments, each all units of one axis, every unit repeated as neighbours; or
a number of elements that stay. Axes that must keep the same units are united; an axis is split
where a part of it goes another way, and grouped where only several units together may go.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

# Longer sums are left fixed: they come of reshapes that spread units over other dimensions.
_LONGEST = 512

# The axis of samples, which never varies and is followed all the same.
SAMPLES = -1


class Segment(NamedTuple):
    """All units of an axis, in a dimension of a tensor.

    Attributes:
        axis: Which one; None for elements that stay.
        units: How many there are.
        repeats: Neighbouring elements of each.
    """

    axis: int | None
    units: int
    repeats: int = 1

    @property
    def size(self) -> int:
        """Elements."""
        return self.units * self.repeats

    @property
    def varies(self) -> bool:
        """Whether it is of an axis that may vary."""
        return self.axis is not None and self.axis != SAMPLES


Dim = tuple[Segment, ...]
Shape = tuple[Dim, ...]


def fixed(size: int) -> Dim:
    """Return a dimension of elements that stay."""
    return (Segment(None, size),)


def size_of(dim: Dim) -> int:
    """Return how many elements a dimension has."""
    return sum(segment.size for segment in dim)


def has_samples(dim: Dim) -> bool:
    """Return whether samples lie along a dimension."""
    return any(segment.axis == SAMPLES for segment in dim)


class Axes:
    """All axes of a network, and what has become of each.

    Attributes:
        reasons: Why an axis was fixed.
    """

    def __init__(self) -> None:
        self._becomes: dict[int, Dim] = {}
        self._count = 0
        self.reasons: dict[int, str] = {}

    def new(self, units: int) -> Dim:
        """Return a dimension whose units may vary."""
        if units < 2:
            return fixed(units)
        self._count += 1
        return (Segment(self._count, units),)

    def resolve(self, dim: Dim) -> Dim:
        """Return a dimension in terms of axes that have become nothing else."""
        found: list[Segment] = []
        todo = list(reversed(dim))
        while todo:
            segment = todo.pop()
            becomes = None if segment.axis is None else self._becomes.get(segment.axis)
            if becomes is not None:
                repeats = segment.repeats
                todo += [part._replace(repeats=part.repeats * repeats) for part in becomes[::-1]]
            elif segment.axis is None:
                # What stays and is neighbours is one.
                before = found.pop().size if found and found[-1].axis is None else 0
                found.append(Segment(None, before + segment.size))
            else:
                found.append(segment)
        return tuple(found)

    def varies(self, dim: Dim) -> bool:
        """Whether some of a dimension may vary."""
        return any(segment.varies for segment in self.resolve(dim))

    def fix(self, dim: Dim, reason: str) -> Dim:
        """Let all units of a dimension stay; return it."""
        for segment in self.resolve(dim):
            if segment.varies:
                self._rewrite(segment, fixed(segment.units), reason)
        return self.resolve(dim)

    def reason(self, dim: Dim) -> str:
        """Return why a dimension, or a part of it, stays; empty if it varies or always stayed."""
        todo = list(dim)
        while todo:
            axis = todo.pop(0).axis
            if axis in self.reasons:
                return self.reasons[axis]
            todo = [*self._becomes.get(axis, ()), *todo] if axis is not None else todo
        return ""

    def group(self, dim: Dim, size: int, reason: str) -> Dim:
        """Let neighbouring elements go together, so many of them; all stay where that cannot be."""
        for segment in self.resolve(dim):
            together = size // math.gcd(segment.repeats, size)
            if segment.varies and segment.units % together == 0:
                self._gather(segment, together)
            elif segment.size % size:
                return self.fix(dim, reason)
        return self.resolve(dim)

    def split(self, dim: Dim, sizes: Sequence[int], reason: str) -> list[Dim]:
        """Split a dimension, and the axes in it, into parts of these sizes."""
        ends = [sum(sizes[: count + 1]) for count in range(len(sizes))]
        for end in ends:
            self._part(dim, end, reason)
        parts: list[list[Segment]] = [[] for _ in sizes]
        done = 0
        for segment in self.resolve(dim):
            if segment.varies:
                parts[next(at for at, end in enumerate(ends) if end > done)].append(segment)
                done += segment.size
                continue
            start, done = done, done + segment.size
            for place, size in enumerate(sizes):
                within = min(done, ends[place]) - max(start, ends[place] - size)
                if within > 0:
                    whole = within == segment.size
                    parts[place].append(segment if whole else Segment(None, within))
        return [tuple(part) or fixed(0) for part in parts]

    def _part(self, dim: Dim, end: int, reason: str) -> None:
        """Split the axis that goes beyond an element of a dimension, if one does."""
        done = 0
        for segment in self.resolve(dim):
            within, done = end - done, done + segment.size
            if 0 < within < segment.size and segment.varies:
                units, rest = divmod(within, segment.repeats)
                if rest:
                    self._rewrite(segment, fixed(segment.units), reason)
                else:
                    parts = self.new(units) + self.new(segment.units - units)
                    self._rewrite(segment, parts)
                # The same axis may stand in the dimension more than once.
                self._part(dim, end, reason)
                return

    def unite(self, first: Dim, second: Dim, reason: str) -> Dim:
        """Make two dimensions one; what stays in either stays in both.

        Raises:
            ValueError: If they have different sizes.
        """
        if size_of(first) != size_of(second):
            raise ValueError(f"got {size_of(first)} and {size_of(second)} elements")
        while self._unite_one(first, second, reason):
            pass
        one, other = self.resolve(first), self.resolve(second)
        # Rows of one sample may meet those of another.
        met = has_samples(one) and has_samples(other) and one != other
        return fixed(size_of(one)) if met else one if has_samples(one) else other

    def _unite_one(self, first: Dim, second: Dim, reason: str) -> bool:
        """Bring two dimensions one step nearer; return whether there was one to go."""
        left, right = list(self.resolve(first)), list(self.resolve(second))
        if max(len(left), len(right)) > _LONGEST:
            self.fix(first, reason)
            self.fix(second, reason)
            return False
        done = 0
        while left and right:
            a, b = left.pop(0), right.pop(0)
            size = min(a.size, b.size)
            if a.varies and b.varies:
                if a.size == b.size == size:
                    if a != b:
                        self._unite_segments(a, b, reason)
                        return True
                else:
                    self._part(first, done + size, reason)
                    self._part(second, done + size, reason)
                    return True
            elif a.varies or b.varies:
                varying, whole = (a, first) if a.varies else (b, second)
                if varying.size > size:
                    self._part(whole, done + size, reason)
                else:
                    why = self.reason(second if a.varies else first) or reason
                    self._rewrite(varying, fixed(varying.units), why)
                return True
            # What is left of the longer one is compared with what follows.
            if a.size > size:
                left.insert(0, Segment(None, a.size - size))
            if b.size > size:
                right.insert(0, Segment(None, b.size - size))
            done += size
        return False

    def _unite_segments(self, a: Segment, b: Segment, reason: str) -> None:
        repeats = math.lcm(a.repeats, b.repeats)
        together = repeats // a.repeats, repeats // b.repeats
        if a.axis == b.axis or a.units % together[0] or b.units % together[1]:
            for segment in (a, b):
                self.fix((segment,), reason)
            return
        a, b = (self._gather(each, count) for each, count in zip((a, b), together, strict=True))
        if a.axis != b.axis:
            self._rewrite(b, (a._replace(repeats=1),))

    def _gather(self, segment: Segment, together: int) -> Segment:
        """Let so many neighbouring units of an axis be one."""
        if together == 1:
            return segment
        (group,) = self.new(segment.units // together)
        self._rewrite(segment, (group._replace(repeats=group.repeats * together),))
        return group._replace(repeats=segment.repeats * together)

    def _rewrite(self, segment: Segment, becomes: Dim, reason: str = "") -> None:
        assert segment.axis is not None
        self._becomes[segment.axis] = becomes
        if reason:
            self.reasons[segment.axis] = reason

    def times(self, dim: Dim, inner: Dim, reason: str) -> Dim:
        """Return the dimension of two that are flattened into one, the second the faster."""
        dim, inner = self.resolve(dim), self.resolve(inner)
        count, size = size_of(dim), size_of(inner)
        # Units are neighbours, or rows of units, but of one sample: these go before them.
        if has_samples(dim) or count * len(inner) > _LONGEST:
            inner = self.fix(inner, reason)
        if any(part.varies for part in dim) and any(part.axis is not None for part in inner):
            dim = self.fix(dim, reason)
            inner = inner if has_samples(inner) else self.fix(inner, reason)
        if all(part.axis is None for part in inner):
            return self.resolve(tuple(part._replace(repeats=part.repeats * size) for part in dim))
        return inner * count if count * len(inner) <= _LONGEST else fixed(count * size)

    def apart(self, dim: Dim, sizes: Sequence[int], varying: int | None, reason: str) -> list[Dim]:
        """Return the dimensions that one is unflattened into.

        Args:
            dim: The one.
            sizes: Theirs.
            varying: Which of them has fewer elements when there are fewer in the one, if known.
            reason: Why all stay where nothing fits.
        """
        count, inner = sizes[0], math.prod(sizes[1:])
        if len(sizes) == 1:
            return [dim]
        dim = self.resolve(dim)
        if count == 1 or inner == 1:
            others = self.apart(dim, sizes[1:], None if not varying else varying - 1, reason)
            return [fixed(1), *others] if count == 1 else [dim, *map(fixed, sizes[1:])]
        alike, rest = divmod(len(dim), count)
        if not rest and dim == dim[:alike] * count and size_of(dim[:alike]) == inner:
            after = None if not varying else varying - 1
            return [fixed(count), *self.apart(dim[:alike], sizes[1:], after, reason)]
        if not any(part.varies for part in dim):
            whole = has_samples(dim) and all(part.repeats % inner == 0 for part in dim)
            return [self._divided(dim, inner) if whole else fixed(count), *map(fixed, sizes[1:])]
        if varying is None and not all(part.repeats % inner == 0 for part in dim):
            varying = 1 if len(sizes) > 2 and count <= 3 else 0
        if varying:
            first, *others = self.split(dim, [inner] * count, reason)
            for other in others:
                first = self.unite(first, other, reason)
            return [fixed(count), *self.apart(first, sizes[1:], varying - 1, reason)]
        return [self._divided(self.group(dim, inner, reason), inner), *map(fixed, sizes[1:])]

    def _divided(self, dim: Dim, size: int) -> Dim:
        """Return a dimension of whole groups as that of the groups."""
        stays = (Segment(None, part.size // size) for part in dim)
        groups = (part._replace(repeats=part.repeats // size) for part in dim)
        pairs = zip(dim, stays, groups, strict=True)
        return self.resolve(tuple(a if part.axis is None else b for part, a, b in pairs))


def kept(dim: Dim, count: Callable[[Segment], int]) -> int:
    """Return the elements of a dimension where ``count`` says how many units of an axis stay."""
    return sum(count(part) * part.repeats if part.varies else part.size for part in dim)
