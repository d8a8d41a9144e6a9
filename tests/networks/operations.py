"""See what an operation really does to units, by brute force: perturb them, and leave some out."""

import dataclasses
import itertools
import random

import torch
from torch import nn

from tests.networks.operation_examples import Bools, Ints
from vsnn_lab.networks.graph import walk as walking
from vsnn_lab.networks.graph.capture import capture, tensors_in
from vsnn_lab.networks.graph.compare import first_difference
from vsnn_lab.networks.graph.learned import Learned
from vsnn_lab.networks.graph.sizes_alone import sizes_alone
from vsnn_lab.networks.graph.units import SAMPLES, Segment, fixed, has_samples
from vsnn_lab.networks.graph.walk import Walk

# Beyond what an operation numbers its own axes.
_FIRST_AXIS = 10_000
# Of an axis the share that stays, another one for each so that none is taken for another.
_SHARES = (0.5, 0.34, 0.67, 0.75, 0.25)


class Network(nn.Module):
    """One call of a function, or of a layer named ``function``."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    @property
    def layers(self):
        return ["function"] if isinstance(self.function, nn.Module) else []

    def forward(self, *inputs):
        return self.function(*inputs)


def tensor_of(spec, generator):
    """Return a tensor as an example wants it."""
    if isinstance(spec, Ints):
        return torch.randint(spec.high, spec.shape, generator=generator)
    if isinstance(spec, Bools):
        return torch.rand(spec.shape, generator=generator) < 0.5
    return 0.1 + 0.8 * torch.rand(spec.shape, generator=generator, dtype=torch.float64)


def run(function, inputs):
    """Return the tensors that a function gives; what it draws is the same each time."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return [each.clone() for each in tensors_in(function(*(each.clone() for each in inputs)))]


class Case:
    """One call of a function, of which the dimensions of inputs are supposed to be something.

    Args:
        example: The call.
        shapes: The dimensions of its inputs.
    """

    def __init__(self, example, graph, shapes):
        self.example, self.graph, self.shapes = example, graph, shapes
        self.model = Network(example.function).double()
        generator = torch.Generator().manual_seed(0)
        self.inputs = [tensor_of(spec, generator) for spec in example.inputs]
        self.stopped, self.varying = {}, {}
        self._walk()

    def _walk(self):
        given = iter(self.shapes)
        sample_shape, walking.sample_shape = walking.sample_shape, lambda *_: next(given)
        try:
            graph = dataclasses.replace(self.graph, results=[])
            learned = Learned(self.stopped, self.varying, {}, {}, ())
            self.walk = Walk(self.model, [graph], set(), learned, {})
        finally:
            walking.sample_shape = sample_shape

    @property
    def given(self):
        """The dimensions of the inputs, as far as they vary still."""
        return [self.walk.dims(node)[0] for node in self.graph.samples]

    @property
    def found(self):
        """The dimensions of what comes out."""
        return [shape for node in self.graph.results for shape in self.walk.dims(node)]

    @property
    def axes(self):
        """The axes that vary."""
        dims = itertools.chain.from_iterable(self.given)
        return {part.axis: part.units for dim in dims for part in dim if part.varies}

    def moved_wrongly(self, but=(), every=True):
        """Perturb units, in one sample; return the first that moves what is not its own.

        Args:
            but: Axes to leave alone.
            every: Whether all units, or the first and the last of each axis alone.
        """
        before = run(self.model, self.inputs)
        axes = {axis: units for axis, units in self.axes.items() if axis not in but}
        for axis, units in axes.items():
            for unit in range(units) if every else (0, units - 1):
                for row in self._rows():
                    found = self._perturb(axis, unit, row, before)
                    if found is not None:
                        return f"unit {unit} of axis {axis} in row {row} moves {found}"
        return None

    def samples_meet(self):
        """Perturb one sample; return whether another moves where samples are said to lie apart."""
        if self.walk._samples.mixed:
            return None  # All that they are made of stays.
        before = run(self.model, self.inputs)
        places = [
            [place for place, dim in enumerate(shape) if has_samples(dim)] for shape in self.found
        ]
        for row in self._rows()[1:]:
            where = [elements_on(shape, SAMPLES, row) for shape in self.given]
            for attempt in range(2):
                inputs = [
                    torch.where(each, other_values(tensor, attempt), tensor)
                    for tensor, each in zip(self.inputs, where, strict=True)
                ]
                after = run(self.model, inputs)
                for one, other, shape, along in zip(before, after, self.found, places, strict=True):
                    same = torch.isclose(one, other, rtol=0, atol=1e-12, equal_nan=True)
                    if len(along) == 1 and (~same & ~elements_on(shape, SAMPLES, row)).any():
                        return f"row {row} moves others"
        return None

    def _rows(self):
        """List a row for tensors that have samples, and None for those that have none."""
        dims = itertools.chain.from_iterable(self.given)
        units = [part.units for dim in dims for part in dim if part.axis == SAMPLES]
        return [None, min(units) // 2] if units else [None]

    def _perturb(self, axis, unit, row, before):
        changed = []
        for shape in self.given:
            has_rows = any(part.axis == SAMPLES for dim in shape for part in dim)
            where = elements_on(shape, axis, unit)
            if has_rows == (row is None):
                where = torch.zeros_like(where)
            elif has_rows:
                where &= elements_on(shape, SAMPLES, row)
            changed.append(where)
        if not any(where.any() for where in changed):
            return None
        for attempt in range(3):
            inputs = [
                torch.where(where, other_values(tensor, attempt), tensor)
                for tensor, where in zip(self.inputs, changed, strict=True)
            ]
            after = run(self.model, inputs)
            for one, other, shape in zip(before, after, self.found, strict=True):
                allowed = elements_on(shape, axis, unit)
                if row is not None:
                    allowed = allowed & elements_on(shape, SAMPLES, row)
                moved = ~torch.isclose(one, other, rtol=0, atol=1e-12, equal_nan=True) & ~allowed
                if moved.any():
                    return f"{moved.sum()} others of {moved.numel()}"
        return None

    def settle(self):
        """Look at what happens below full width, as the converter does, until all is foreseen."""
        while self.axes:
            counts = self.counts
            with sizes_alone():
                graph = capture(self.model, self.narrow(counts), {}, [])
            found = first_difference(self.walk, [self.graph], [graph], _counter(counts))
            if found is None:
                return
            if found.varying is None or found.place in self.varying:
                if found.place in self.stopped:
                    number, _ = found.place
                    everywhere = range(len(self.graph.steps))
                    self.stopped |= {(number, at): found.reason for at in everywhere}
                self.stopped[found.place] = found.reason
            else:
                self.varying[found.place] = found.varying
            self._walk()

    @property
    def counts(self):
        """How many units of each axis stay."""
        shares = itertools.cycle(_SHARES)
        return {
            axis: min(max(1, round(units * share)), units - 1)
            for (axis, units), share in zip(sorted(self.axes.items()), shares, strict=False)
        }

    def narrow(self, counts):
        """Return the inputs without the units that do not stay."""
        return [
            kept_elements(tensor, shape, counts)
            for tensor, shape in zip(self.inputs, self.given, strict=True)
        ]

    def cut_wrongly(self):
        """Leave units out; return whether what comes out is not what is foreseen."""
        counts = self.counts
        whole = run(self.model, self.inputs)
        narrow = run(self.model, self.narrow(counts))
        for one, other, shape in zip(whole, narrow, self.found, strict=True):
            expected = kept_elements(one, shape, counts)
            if expected.shape != other.shape:
                return f"sizes {tuple(other.shape)}, not {tuple(expected.shape)}"
            same = torch.allclose(expected, other, rtol=0, atol=1e-12, equal_nan=True)
            if not same and not self.example.random:
                return "other numbers"
        return None


def _counter(counts):
    return lambda part: counts.get(part.axis, part.units)


def other_values(tensor, attempt):
    """Return numbers that a tensor might hold as well."""
    if tensor.dtype == torch.bool:
        return ~tensor
    generator = torch.Generator().manual_seed(attempt + 1)
    if not tensor.is_floating_point():
        return (tensor + attempt + 1) % (tensor.max() + 1)
    scale, shift = ((0.8, 0.1), (200.0, -100.0), (0.0, 0.0))[attempt]
    return scale * torch.rand(tensor.shape, generator=generator, dtype=tensor.dtype) + shift


def elements_on(shape, axis, unit):
    """Return which elements of a tensor lie on a unit of an axis."""
    sizes = [sum(part.size for part in dim) for dim in shape]
    found = torch.zeros(sizes, dtype=torch.bool)
    for place, dim in enumerate(shape):
        flags = []
        for part in dim:
            units = torch.arange(part.units) == unit
            here = units if part.axis == axis else torch.zeros_like(units)
            flags.append(here.repeat_interleave(part.repeats))
        found |= torch.cat(flags).view(-1, *[1] * (len(sizes) - place - 1))
    return found


def kept_elements(tensor, shape, counts):
    """Return a tensor without the units that do not stay."""
    for place, dim in enumerate(shape):
        flags = [
            (torch.arange(part.units) < counts.get(part.axis, part.units)).repeat_interleave(
                part.repeats
            )
            for part in dim
        ]
        tensor = tensor[(slice(None),) * place + (torch.cat(flags),)]
    return tensor


def graph_of(example):
    """Return what the call of an example does, in core operations."""
    generator = torch.Generator().manual_seed(0)
    inputs = [tensor_of(spec, generator) for spec in example.inputs]
    with sizes_alone():
        model = Network(example.function).double()
        graph = capture(model, inputs, {}, model.layers)
    if graph.failure is not None:
        raise graph.failure
    return graph


def suppositions(example, seed):
    """List what the dimensions of an example's inputs may be.

    One at a time a fresh axis; all of them at once; and samples in each place, the others sums of
    axes of all kinds.
    """
    shapes = [spec.shape for spec in example.inputs]
    for number, shape in enumerate(shapes):
        for place, size in enumerate(shape):
            if size > 1 and (place or len(shape) == 1):
                yield _dims(shapes, 4, {(number, place): (Segment(_FIRST_AXIS, size),)})
    numbers = itertools.count(_FIRST_AXIS)
    each = {
        (number, place): (Segment(next(numbers), size),)
        for number, shape in enumerate(shapes)
        for place, size in enumerate(shape)
        if size > 1
    }
    yield _dims(shapes, 4, each)
    draw = random.Random(seed)
    for size in dict.fromkeys(shapes[0]):
        mixed = {place: _sum(segment.size, numbers, draw) for place, (segment,) in each.items()}
        yield _dims(shapes, size, mixed, draw.choice([1, 2]))


def _dims(shapes, samples, given, repeats=1):
    """Return dimensions: those given, samples wherever there are so many, and what stays."""

    def dim(number, place, size):
        if size == samples and not size % repeats and place == shapes[number].index(size):
            return (Segment(SAMPLES, size // repeats, repeats),)
        return given.get((number, place), fixed(size))

    return [
        tuple(dim(number, place, size) for place, size in enumerate(shape))
        for number, shape in enumerate(shapes)
    ]


def _sum(size, numbers, draw):
    """Return a dimension joined of several axes, some repeated, and of what stays."""
    parts = []
    while size:
        repeats = draw.choice([1, 1, 2, 3]) if size > 3 else 1
        units = draw.randint(1, size // repeats)
        axis = next(numbers) if units > 1 and draw.random() < 0.75 else None
        parts.append(Segment(axis, units, repeats) if axis else Segment(None, units * repeats))
        size -= units * repeats
    return tuple(parts)


def step_names(graph):
    """Return the names of what runs."""
    return {step.name for step in graph.steps}
