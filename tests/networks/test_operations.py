"""The table of operations holds: no unit moves more than the table says, none of them too few.

Each line is tried on real calls: every unit is perturbed by itself, in one sample, and whatever
moves must be foreseen; units are left out, and what comes out must be what is foreseen of it.
"""

import os
import zlib

import pytest
import torch
from torch import nn

from tests.networks.operation_examples import EXAMPLES, IMAGE, MORE, ROWS, Ints, of
from tests.networks.operations import (
    Case,
    elements_on,
    graph_of,
    other_values,
    run,
    step_names,
    suppositions,
)
from vsnn_lab.networks.graph import rules_of_values as values
from vsnn_lab.networks.graph.layer_rules import LAYERS, WEIGHTS
from vsnn_lab.networks.graph.operations import OPERATIONS
from vsnn_lab.networks.graph.walk import weight_dims

# All suppositions, where `make fuzz` or a person asks for them.
ALL = "VSNN_LAB_FUZZ" in os.environ

# What may keep no axis: made of sizes alone, or given sizes in numbers, which stop it elsewhere.
STAYS = {
    *("empty_permuted", "empty_strided", "expand_as", "eye", "full", "new_empty", "new_ones"),
    *("new_zeros", "ravel", "reshape_as", "view_as", "_reshape_alias"),
}


def cases_of(name, example):
    """List the suppositions about an example that are tried: all, or one of each kind."""
    graph = graph_of(example)
    found = list(suppositions(example, zlib.crc32(name.encode())))
    if not ALL:
        sizes = len(dict.fromkeys(example.inputs[0].shape))
        # All dimensions at once, and sums of axes with samples first.
        found = found[-sizes - 1 : -sizes + 1 or None]
        if name in OPERATIONS and OPERATIONS[name].rule is values.each:
            found = found[:1]
    return graph, [Case(example, graph, shapes) for shapes in found]


def check(case):
    assert case.moved_wrongly(every=ALL) is None, case.given
    assert case.samples_meet() is None, case.given
    case.settle()
    assert case.cut_wrongly() is None, case.given


@pytest.mark.parametrize("name", EXAMPLES)
def test_operation_moves_what_its_line_says_and_no_more(name):
    names, kept = set(), 0
    alike = not ALL and OPERATIONS[name].rule is values.each
    for example in EXAMPLES[name][: 2 if alike else None]:
        graph, cases = cases_of(name, example)
        names |= step_names(graph)
        for case in cases:
            check(case)
            kept += bool(case.axes)
    assert {name, f"{name}_"} & names
    assert kept or name in STAYS


@pytest.mark.parametrize("number", range(len(MORE)))
def test_what_is_not_in_the_table_fixes_what_it_mixes(number):
    for case in cases_of(str(number), MORE[number])[1]:
        check(case)


def test_every_line_has_an_example():
    assert {*OPERATIONS} == {*EXAMPLES}


def _layers():
    """Name the layers that are known, in forms that differ: what it is, of which input."""
    image, cube = IMAGE, (4, 8, 6, 10, 2)
    return {
        nn.Linear: [of(nn.Linear(6, 10), ROWS), of(nn.Linear(8, 10, bias=False), (4, 8))],
        nn.Conv1d: [of(nn.Conv1d(8, 10, 3), ROWS), of(nn.Conv1d(8, 12, 3, groups=2), ROWS)],
        nn.Conv2d: [
            of(nn.Conv2d(8, 12, 3, padding=1), image),
            of(nn.Conv2d(8, 16, 3, groups=8), image),
            of(nn.Conv2d(8, 12, 1, groups=4), image),
            of(nn.Conv2d(8, 12, 3, padding=1), (8, 6, 10)),
        ],
        nn.Conv3d: [of(nn.Conv3d(8, 10, (3, 3, 1)), cube)],
        nn.ConvTranspose1d: [of(nn.ConvTranspose1d(8, 10, 3), ROWS)],
        nn.ConvTranspose2d: [
            of(nn.ConvTranspose2d(8, 10, 3, 2), image),
            of(nn.ConvTranspose2d(8, 12, 2, groups=4), image),
        ],
        nn.ConvTranspose3d: [of(nn.ConvTranspose3d(8, 10, 2), cube)],
        nn.BatchNorm1d: [of(nn.BatchNorm1d(8).eval(), ROWS), of(nn.BatchNorm1d(8).eval(), (4, 8))],
        nn.BatchNorm2d: [of(nn.BatchNorm2d(8).eval(), image)],
        nn.BatchNorm3d: [of(nn.BatchNorm3d(8, affine=False).eval(), cube)],
        nn.LayerNorm: [of(nn.LayerNorm(6), ROWS), of(nn.LayerNorm((8, 6)), ROWS)],
        nn.RMSNorm: [of(nn.RMSNorm(6), ROWS)],
        nn.GroupNorm: [
            of(nn.GroupNorm(2, 8), image),
            of(nn.GroupNorm(1, 8), ROWS),
            of(nn.GroupNorm(4, 8), (4, 8)),
        ],
        nn.Embedding: [
            of(nn.Embedding(9, 10), Ints((4, 6), 9)),
            of(nn.Embedding(9, 10, max_norm=1.0), Ints((4, 6), 9)),
        ],
        nn.InstanceNorm1d: [of(nn.InstanceNorm1d(8), ROWS)],
        nn.InstanceNorm2d: [of(nn.InstanceNorm2d(8, affine=True), image)],
        nn.InstanceNorm3d: [of(nn.InstanceNorm3d(8), cube)],
        nn.PReLU: [of(nn.PReLU(8), ROWS), of(nn.PReLU(), (4, 8))],
        nn.Bilinear: [of(nn.Bilinear(6, 5, 7), ROWS, (4, 8, 5))],
        nn.MultiheadAttention: [
            of(nn.MultiheadAttention(6, 2, batch_first=True).eval(), ROWS, ROWS, ROWS),
            of(nn.MultiheadAttention(6, 3, kdim=5, vdim=7).eval(), ROWS, (9, 8, 5), (9, 8, 7)),
        ],
        nn.RNN: [of(nn.RNN(6, 10, batch_first=True), ROWS)],
        nn.LSTM: [of(nn.LSTM(6, 10, 2, bidirectional=True, batch_first=True), ROWS)],
        nn.GRU: [of(nn.GRU(6, 10, batch_first=True), ROWS, (1, 4, 10))],
    }


@pytest.mark.parametrize("kind", LAYERS)
def test_layer_moves_what_its_rule_says_and_no_more(kind):
    examples = _layers()[kind]
    kept = 0
    for example in examples:
        graph = graph_of(example)
        for shapes in suppositions(example, zlib.crc32(kind.__name__.encode())):
            case = Case(example, graph, shapes)
            known = case.walk.layers["function"]
            own = {part.axis for dim in known.values() for part in case.walk.axes.resolve(dim)}
            kept += bool(own - {None, -1})
            assert case.moved_wrongly(but=own, every=ALL) is None, case.given
            assert case.samples_meet() is None, case.given
            check_weights(case, known)
    assert kept


def check_weights(case, known):
    """Perturb a layer's own units one after the other."""
    layer = case.model.function
    before = run(case.model, case.inputs)
    if type(layer) not in WEIGHTS or getattr(layer, "max_norm", None):
        return
    dims = [
        case.walk.axes.resolve(dim) for dim in weight_dims(case.model, "function", case.walk.layers)
    ]
    made_by, *rest = dims[::-1] if isinstance(layer, nn.Embedding) else dims
    weight = layer.weight.detach().clone()
    for axis, unit in _units(made_by):
        where = _along(weight, -1 if isinstance(layer, nn.Embedding) else 0, made_by, axis, unit)
        if isinstance(layer, nn.modules.conv._ConvTransposeNd):
            return
        with torch.no_grad():
            layer.weight.copy_(torch.where(where, other_values(weight, 0), weight))
        after = run(case.model, case.inputs)
        with torch.no_grad():
            layer.weight.copy_(weight)
        for one, other, shape in zip(before, after, case.found, strict=True):
            assert torch.equal((one != other) & ~elements_on(shape, axis, unit), one != one)
            assert (one != other).any()
    for dim in rest:
        for axis, unit in _units(dim) if not isinstance(layer, nn.Embedding) else ():
            where = _along(weight, 1, dim, axis, unit)
            check_column(case, layer, weight, where, axis, unit)


def check_column(case, layer, weight, where, axis, unit):
    """Without the weights of a unit nothing that comes out depends on it."""
    with torch.no_grad():
        layer.weight.copy_(torch.where(where, 0.0, weight))
    inputs = [
        torch.where(elements_on(shape, axis, unit), other_values(tensor, 1), tensor)
        for tensor, shape in zip(case.inputs, case.given, strict=True)
    ]
    assert all(map(torch.equal, run(case.model, case.inputs), run(case.model, inputs)))
    with torch.no_grad():
        layer.weight.copy_(weight)
    assert not all(map(torch.equal, run(case.model, case.inputs), run(case.model, inputs)))


def _units(dim):
    parts = {part.axis: part.units for part in dim if part.varies}
    return [(axis, unit) for axis, units in parts.items() for unit in range(units)]


def _along(weight, place, dim, axis, unit):
    """Return which elements of a weight lie on a unit of one of its dimensions."""
    flags = elements_on((dim,), axis, unit)
    sizes = [1] * weight.dim()
    sizes[place] = -1
    return flags.view(sizes).expand_as(weight)
