"""Follow every dimension of every tensor through the graphs of a network."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import fx, nn

from vsnn_lab.layers.own_forward import Layout
from vsnn_lab.networks.graph.calls import Call, Known, fix_all
from vsnn_lab.networks.graph.capture import Graph, Step
from vsnn_lab.networks.graph.holders import holders, owners, tied, weight_dims
from vsnn_lab.networks.graph.layer_rules import LAYERS, LayerCall, stays
from vsnn_lab.networks.graph.learned import Learned, Place, Spot
from vsnn_lab.networks.graph.operations import operation, sizes_of, value_of
from vsnn_lab.networks.graph.other_layers import layer_rule
from vsnn_lab.networks.graph.rules_of_values import made
from vsnn_lab.networks.graph.samples import Samples, rows_of, sample_shape, tried
from vsnn_lab.networks.graph.units import SAMPLES, Axes, Dim, Segment, Shape, fixed, size_of

_log = logging.getLogger(__name__)


class Walk:
    """Where units come from and go to in the graphs of one network.

    Args:
        model: The network.
        graphs: What it does, in evaluation and in training say; their layers' axes are the same.
        excluded: Names of modules that keep their sizes, each a step of its own.
        learned: What was learned by trying.
        others: The layers of classes that are not known, and how they are laid out.
        samples: The dimension of samples in its inputs.

    Attributes:
        axes: All axes.
        layers: The axes of each known layer, by its name.
        others: Those of classes that are not known, and how they are laid out.
        held: The dimensions of parameters of other modules, by the modules' names and theirs.
        sizes: The dimensions whose sizes numbers in modules are, by the modules' names and theirs.
        shapes: The dimensions of what each node gives.
        rows: Where samples lie in what each known layer is given, of all its calls.
        turned: Whether a matrix is turned around whose rows or columns are samples.
    """

    def __init__(
        self,
        model: nn.Module,
        graphs: Sequence[Graph],
        excluded: set[str],
        learned: Learned,
        others: Mapping[str, Layout],
        samples: int = 0,
    ) -> None:
        self._model, self._excluded, self.others = model, excluded, others
        self.held: dict[str, dict[str, Shape]] = {}
        self.sizes: dict[str, dict[str, Dim]] = {}
        self._holders = holders(model, others, excluded)
        self._learned, self._place = learned, samples
        self.axes = Axes()
        self.layers: dict[str, dict[str, Dim]] = {}
        self.shapes: dict[fx.Node, list[Shape]] = {}
        self.rows: dict[str, set[tuple[int, bool] | None]] = {}
        self._owners = owners(model, others)
        self._outside: dict[str, str] = {}
        self._samples, self.turned = Samples(self.axes, self.shapes), False
        for number, graph in enumerate(graphs):
            self._graph(number, graph)
        for one, other in learned.united:
            self.axes.unite(self.dim(one), self.dim(other), "a reshape to another's size")
        self._settle()
        for (name, key), spot in learned.followed.items():
            self.sizes.setdefault(name, {})[key] = self.dim(spot)

    def _graph(self, number: int, graph: Graph) -> None:
        self._behind = ""
        for node in graph.samples:
            sizes = sizes_of(value_of(node))
            self.shapes[node] = [sample_shape(each, self._place) for each in sizes]
        self._batches = {
            part.units
            for each in graph.samples
            for shape in self.shapes[each]
            for dim in shape
            for part in dim
            if part.axis == SAMPLES
        }
        for node, name in graph.state.items():
            self.shapes[node] = [self._held(name, *sizes_of(value_of(node)))]
        for count, step in enumerate(graph.steps):
            place = number, count
            (self._layer if step.layer else self._operation)(step, place, graph)
            if place in self._learned.stopped:
                self._stop(step, self._learned.stopped[place])
        for node in graph.results:
            self._fix(node, "the network's output")
            if any({*each} & self._batches for each in sizes_of(value_of(node))):
                self._samples.fix_before([node], "the network's output")

    def _held(self, name: str, sizes: Sequence[int]) -> Shape:
        """Return the dimensions of a tensor; what no layer holds has units of its own."""
        if name not in self._holders:
            return tuple(map(fixed, sizes))
        holder, _, key = name.rpartition(".")
        held = self.held.setdefault(holder, {})
        if key not in held:
            held[key] = tuple(self.axes.new(size) for size in sizes)
        return held[key]

    def every_dim(self) -> Iterator[Dim]:
        """List the dimensions of all that may vary: layers first."""
        for dims in self.layers.values():
            yield from dims.values()
        for shapes in self.held.values():
            for shape in shapes.values():
                yield from shape

    def dim(self, spot: Spot) -> Dim:
        """Return one dimension, as far as axes are known now."""
        return self.axes.resolve(self.shapes[spot.node][spot.output][spot.place])

    def dims(self, node: fx.Node) -> list[Shape]:
        """Return the dimensions of what a node gives, as far as axes are known now."""
        return [tuple(self.axes.resolve(dim) for dim in shape) for shape in self.shapes[node]]

    def rows_of(self, name: str) -> tuple[int, bool] | None:
        """Return where samples lie in what a layer is given, and whether each has several rows."""
        found = self.rows[name]
        if None in found or len({each[0] for each in found if each is not None}) != 1:
            return None
        return max(each for each in found if each is not None)

    def _fix(self, node: fx.Node, reason: str) -> None:
        for shape in self.shapes.get(node, ()):
            for dim in shape:
                self.axes.fix(dim, reason)

    def _stop(self, step: Step, reason: str) -> None:
        for node in step.nodes:
            self._fix(node, reason)
        for dims in self.layers.get(step.name, {}).values() if step.layer else ():
            self.axes.fix(dims, reason)

    def _layer(self, step: Step, place: Place, graph: Graph) -> None:
        module, self._behind = self._model.get_submodule(step.name), step.name
        inputs = {
            key: self.shapes[source][0]
            for key, node in step.inputs.items()
            for source in [_marked(node)]
        }
        for node in step.inputs.values():
            self.shapes[node] = self.shapes[_marked(node)]
        known = self.layers.setdefault(step.name, {})
        sizes = [size for node in step.outputs for size in sizes_of(value_of(node))]
        call = LayerCall(step.name, module, self.axes, known, inputs, sizes)
        self.rows.setdefault(step.name, set()).add(rows_of(call.input))
        if step.name in self._excluded:
            rule: Any = stays
        elif step.name in self.others:
            rule = partial(layer_rule, self.others[step.name])
        else:
            rule = LAYERS[type(module)]
        found = rule(call)
        sources = [node for source in step.inputs.values() for node in source.all_input_nodes]
        for node, shape in zip(step.outputs, found, strict=False):
            self.shapes[node] = [shape]
            self._samples.follow(node, sources, call.reason)

    def _operation(self, step: Step, place: Place, graph: Graph) -> None:
        node = step.node
        for source in node.all_input_nodes:
            self._read(source, graph)
        if step.name == "getitem":
            self.shapes[node] = self._part(node)
            self._samples.follow(node, node.all_input_nodes, step.name)
            return
        call = Call(
            step.name,
            self.axes,
            [self._given(value) for value in node.args],
            {key: self._given(value) for key, value in node.kwargs.items()},
            sizes_of(value_of(node)),
            self._behind,
            self._learned.varying.get(place),
        )
        known = operation(step.name)
        try:
            found = known.rule(call) if known else tried(node, self.shapes, fix_all(call))
            self.turned |= call.turns
            if call.mixes:
                found = fix_all(call)
            if [tuple(map(size_of, shape)) for shape in found] != call.sizes:
                raise ValueError(f"got sizes {call.sizes}")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            # A form of it that the table does not foresee.
            _log.debug("%s is not understood: %r", step.name, error)
            found = fix_all(call)
        self.shapes[node] = list(found)
        if known is None or known.rule is not made:
            self._samples.follow(node, node.all_input_nodes, call.reason)
            if step.name.endswith("_"):
                self._samples.fix_before(node.all_input_nodes, call.reason)

    def _part(self, node: fx.Node) -> list[Shape]:
        source, place = node.args
        assert isinstance(source, fx.Node)
        before = value_of(source)
        assert isinstance(before, list | tuple)
        assert isinstance(place, int)
        counts = [len(sizes_of(each)) for each in before]
        start = sum(counts[:place])
        return self.shapes[source][start : start + counts[place]]

    def _read(self, node: fx.Node, graph: Graph) -> None:
        """Note which layers' parameters are read outside of their forwards."""
        name = graph.state.get(node)
        for owner in self._owners.get(name or "", ()):
            self._outside[owner] = f"{name!r} is read outside of its layer"

    def varying(self) -> dict[int, Segment]:
        """Return the axes of layers that vary, in the order of the layers."""
        return {
            part.axis: part
            for dim in self.every_dim()
            for part in self.axes.resolve(dim)
            if part.axis is not None and part.varies
        }

    def known(self, node: fx.Node) -> list[Dim]:
        """Return all dimensions of what a node gives, if they are known."""
        return [dim for shape in self.dims(node) for dim in shape] if node in self.shapes else []

    @property
    def elsewhere(self) -> bool:
        """Whether a layer of sequences takes samples from where there are none."""
        kinds = nn.MultiheadAttention | nn.RNNBase
        modules = {name: self._model.get_submodule(name) for name in self.layers}
        sequences = [name for name, module in modules.items() if isinstance(module, kinds)]
        return any(not self.layers[name] for name in sequences)

    def _settle(self) -> None:
        """Fix and unite what shows only when all graphs are known."""
        for (name, key), reason in self._learned.held.items():
            self.axes.fix(self.layers[name].get(key, ()), reason)
        for owner, reason in self._outside.items():
            for dim in self.layers.get(owner, {}).values():
                self.axes.fix(dim, reason)
        for name, dims in self.layers.items():
            # A layer that leaves units out for some samples must know where these lie.
            for key in dims if self.rows_of(name) is None else ():
                if key != "out_axis":
                    self.axes.fix(dims[key], f"{name!r}, where samples have no rows of their own")
        for names in tied(self._model, self.layers).values():
            (first, *others) = [weight_dims(self._model, each, self.layers) for each in names]
            for other in others:
                for one, another in zip(first, other, strict=False):
                    self.axes.unite(one, another, f"weights that {names} share")
        in_layers = {
            part.axis
            for dims in self.layers.values()
            for dim in dims.values()
            for part in self.axes.resolve(dim)
        }
        for name, shapes in self.held.items():
            for key, shape in shapes.items():
                for dim in shape:
                    if not in_layers >= {part.axis for part in self.axes.resolve(dim)}:
                        self.axes.fix(dim, f"parameter {key!r} of {name!r}, which no layer takes")

    def _given(self, value: Any) -> Any:
        if isinstance(value, fx.Node):
            shapes = self.shapes[value]
            return Known(shapes[0]) if len(shapes) == 1 else [Known(shape) for shape in shapes]
        if isinstance(value, list | tuple):
            return [self._given(each) for each in value]
        return value


def _marked(node: fx.Node) -> fx.Node:
    (source,) = node.all_input_nodes
    return source
