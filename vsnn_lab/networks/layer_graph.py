"""The layers of a network and what flows between them, as nodes and edges of a picture."""

import re
from collections.abc import Iterable

from torch import fx, nn

from vsnn_lab.networks.graph.capture import Graph, Step

INPUT, OUTPUT, JOIN = "input", "output", "operation"
"""The kinds of nodes that are no layers."""

_SIGNS = {
    "add": "+",
    "sub": "-",
    "mul": "×",
    "div": "÷",
    "scaled_dot_product_attention": "attention",
}


class LayerGraph:
    """Nodes of layers, of modules with parameters of their own, and of operations that join paths.

    Args:
        model: The network.
        graph: What it does.

    Attributes:
        nodes: Name and kind of each, in the order in which they run.
        edges: Pairs of nodes, the earlier one first.
    """

    def __init__(self, model: nn.Module, graph: Graph) -> None:
        self.nodes: list[tuple[str, str]] = [(INPUT, INPUT)]
        self._edges: dict[tuple[int, int], None] = {}
        self._model, self._state = model, graph.state
        self._parameters = dict(model.named_parameters(remove_duplicate=False))
        self._sources: dict[fx.Node, frozenset[int]] = dict.fromkeys(graph.samples, frozenset({0}))
        self._latest: dict[str, int] = {}
        for step in graph.steps:
            self._layer(step) if step.layer else self._operation(step)
        self._node(OUTPUT, OUTPUT, self._given(graph.results))

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of nodes, each once."""
        return list(self._edges)

    def _given(self, nodes: Iterable[fx.Node]) -> frozenset[int]:
        return frozenset().union(*(self._sources.get(node, frozenset()) for node in nodes))

    def _node(self, name: str, kind: str, sources: Iterable[int]) -> frozenset[int]:
        self.nodes.append((name, kind))
        place = len(self.nodes) - 1
        self._edges |= {(source, place): None for source in sorted(sources)}
        return frozenset({place})

    def _layer(self, step: Step) -> None:
        given = [source for node in step.inputs.values() for source in node.all_input_nodes]
        found = self._node(step.name, self._kind(step.name), self._given(given))
        self._sources |= dict.fromkeys(step.outputs, found)

    def _operation(self, step: Step) -> None:
        inputs = step.node.all_input_nodes
        given = self._given(inputs)
        owner = self._owner(inputs)
        if owner is not None:
            found = self._owned(owner, given)
        elif len({self._sources[node] for node in inputs if self._sources.get(node)}) > 1:
            name = step.name.rstrip("_")
            found = self._node(_SIGNS.get(name, name), JOIN, given)
        else:
            found = given
        self._sources[step.node] = found

    def _owned(self, owner: str, given: frozenset[int]) -> frozenset[int]:
        """Return the node of a module whose parameters an operation reads."""
        latest = self._latest.get(owner)
        if latest is None or any(source > latest for source in given):
            found = self._node(owner, self._kind(owner), given)
            (self._latest[owner],) = found
            return found
        # One of several operations of the same module.
        self._edges |= {(source, latest): None for source in sorted(given - {latest})}
        return frozenset({latest})

    def _owner(self, inputs: Iterable[fx.Node]) -> str | None:
        names = [self._state.get(node, "") for node in inputs]
        found = [name.rpartition(".")[0] for name in names if name in self._parameters]
        # What parametrizations hold is the parametrized layer's own.
        owners = [re.sub(r"\.?\bparametrizations\b.*", "", name) for name in found]
        return owners[0] if owners else None

    def _kind(self, name: str) -> str:
        return type(self._model.get_submodule(name)).__name__.removeprefix("Variable")
