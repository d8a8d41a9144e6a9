"""Run a network on sizes alone, and write down what it does.

The graph holds torch's core operations in the order in which they run, and the calls of layers that
are known as one step each. It is made anew of what really runs, so a branch that is not taken, on
``self.training`` say, is not in it.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

# An operation of our own that does nothing: it shows in the graph where a layer begins and ends.
_library = torch.library.Library("vsnn_lab", "FRAGMENT")
_library.define("mark(Tensor x, str where) -> Tensor")
_library.impl("mark", lambda x, where: x.clone(), "CompositeExplicitAutograd")
torch.library.register_fake("vsnn_lab::mark", lambda x, where: torch.empty_like(x), lib=_library)
_MARK = torch.ops.vsnn_lab.mark.default
_fake = logging.getLogger("torch._subclasses.fake_tensor")
_ENTER, _LEAVE = "enter", "leave"


@dataclass
class Step:
    """One operation, or one call of a known layer.

    Attributes:
        name: Of the operation, or of the layer as in ``named_modules``.
        layer: Whether it is a layer.
        inputs: The nodes that a layer takes, by the names or places of its arguments.
        outputs: The nodes that it gives; of an operation, its own.
    """

    name: str
    layer: bool
    inputs: dict[str, fx.Node] = field(default_factory=dict)
    outputs: list[fx.Node] = field(default_factory=list)

    @property
    def nodes(self) -> list[fx.Node]:
        """All nodes that it takes and gives."""
        own = [*self.inputs.values(), *self.outputs]
        return [*own, *(source for node in own for source in node.all_input_nodes)]

    @property
    def node(self) -> fx.Node:
        """The node of an operation."""
        return self.outputs[0]


@dataclass(frozen=True)
class Graph:
    """What a network does with inputs of certain sizes.

    Attributes:
        steps: In the order in which they run.
        samples: The nodes of its inputs.
        state: The names of its parameters and buffers by their nodes.
        results: The nodes that it returns.
        constants: Tensors that it makes of numbers.
        failure: What stopped it; then the steps end where it did.
    """

    steps: list[Step]
    samples: list[fx.Node]
    state: dict[fx.Node, str]
    results: list[fx.Node]
    constants: dict[fx.Node, Tensor]
    failure: Exception | None


class _Keep(TorchFunctionMode):
    """Keeps what each operation gives, so that nothing that ran is left out of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.kept += [each for each in pytree.tree_leaves(found) if isinstance(each, Tensor)]
        return found


def capture(
    model: nn.Module, args: Sequence[Any], options: Mapping[str, Any], layers: Iterable[str]
) -> Graph:
    """Run a network on tensors of sizes alone.

    Args:
        model: A network; it is left as it is.
        args: Its inputs; all that are no tensors stay what they are.
        options: Inputs by name.
        layers: The names of modules whose calls are one step.
    """
    state = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    failures: list[Exception] = []
    returned: list[list[Tensor]] = []
    leaves, spec = pytree.tree_flatten((tuple(args), dict(options)))
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor)]

    def run(tensors: dict[str, Tensor], inputs: list[Tensor]) -> list[Tensor]:
        given = list(leaves)
        for place, tensor in zip(places, inputs, strict=True):
            given[place] = tensor
        positional, named = pytree.tree_unflatten(given, spec)
        with _Keep() as keep:
            try:
                found = torch.func.functional_call(model, tensors, positional, named)
            except Exception as error:
                # The graph is wanted as far as it goes.
                failures.append(error)
                found = ()
        returned.append(tensors_in(found))
        return [*returned[-1], *keep.kept]

    with torch.no_grad(), _marked(model, layers), sizes_alone():
        module = make_fx(run, tracing_mode="fake", pre_dispatch=True)(
            state, [leaves[place] for place in places]
        )
    nodes = list(module.graph.nodes)
    given = [node for node in nodes if node.op == "placeholder"]
    results = next(node for node in nodes if node.op == "output").args[0]
    count = len(state)
    return Graph(
        _steps(nodes),
        given[count:],
        dict(zip(given[:count], state, strict=True)),
        [node for node in results[: len(returned[-1])] if isinstance(node, fx.Node)],
        {node: getattr(module, node.target) for node in nodes if node.op == "get_attr"},
        failures[0] if failures else None,
    )


@contextmanager
def sizes_alone() -> Iterator[None]:
    """Keep random states as they are, and torch from logging what fails: that is found out here."""
    disabled, _fake.disabled = _fake.disabled, True
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        _fake.disabled = disabled


def tensors_in(found: Any) -> list[Tensor]:
    """Return the tensors in what a network returns, wherever they are."""
    leaves = pytree.tree_leaves(found)
    more = [leaf for leaf in leaves if not isinstance(leaf, Tensor) and hasattr(leaf, "__dict__")]
    inner = [value for leaf in more for value in pytree.tree_leaves(vars(leaf))]
    return [leaf for leaf in [*leaves, *inner] if isinstance(leaf, Tensor)]


@contextmanager
def _marked(model: nn.Module, layers: Iterable[str]) -> Iterator[None]:
    """Mark where known layers begin and end, for a while."""
    handles = []
    for name in layers:
        module = model.get_submodule(name)
        # Last before the forward and first after it: other hooks are no part of the layer.
        handles.append(module.register_forward_pre_hook(_enter(name), with_kwargs=True))
        handles.append(module.register_forward_hook(_leave(name), prepend=True))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _enter(name: str) -> Any:
    def mark(module: nn.Module, args: Any, options: Any) -> tuple[Any, Any]:
        def marked(where: str, value: Any) -> Any:
            return _MARK(value, f"{_ENTER} {where} {name}") if isinstance(value, Tensor) else value

        def each(where: str, value: Any) -> Any:
            return pytree.tree_map(lambda leaf: marked(where, leaf), value)

        return (
            tuple(each(str(place), value) for place, value in enumerate(args)),
            {key: each(key, value) for key, value in options.items()},
        )

    return mark


def _leave(name: str) -> Any:
    def mark(module: nn.Module, args: Any, output: Any) -> Any:
        def marked(value: Any) -> Any:
            return _MARK(value, f"{_LEAVE} - {name}") if isinstance(value, Tensor) else value

        return pytree.tree_map(marked, output)

    return mark


def _steps(nodes: Iterable[fx.Node]) -> list[Step]:
    """Return operations and calls of layers, what runs inside a layer left out."""
    steps: list[Step] = []
    inside: Step | None = None
    leaving = False
    for node in nodes:
        if node.op not in ("call_function", "get_attr"):
            continue
        if node.target is not _MARK:
            if inside is None or leaving:
                inside, leaving = None, False
                name = _name(node)
                steps.append(Step("constant" if node.op == "get_attr" else name, False, {}, [node]))
            continue
        what, where, name = str(node.args[1]).split(" ", 2)
        if what == _ENTER:
            if inside is None or leaving:
                inside, leaving = Step(name, True), False
                steps.append(inside)
            inside.inputs.setdefault(where, node)
        else:
            assert inside is not None
            inside.outputs.append(node)
            leaving = True
    return steps


def _name(node: fx.Node) -> str:
    """Return the name of a core operation; of others, one that is no core operation's."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return getattr(node.target, "__name__", str(node.target))
