"""Run a network on sizes alone, and write down what it does.

The graph holds torch's core operations in the order in which they run, and the calls of layers that
are known as one step each. It is made anew of what really runs, so a branch that is not taken, on
``self.training`` say, is not in it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, make_fx
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from vsnn_lab.layers.own_parts import cutting
from vsnn_lab.networks.graph.sizes_alone import sizes_alone
from vsnn_lab.widths import widest_size

# Operations of our own that show in the graph what a layer takes and what it gives. What runs in
# between is not written down, which is most of the work; so what it gives is told by its sizes.
_library = torch.library.Library("vsnn_lab", "FRAGMENT")
_library.define("enter(Tensor x, str where) -> Tensor")
_library.define("part(Tensor x, int[] size) -> Tensor")
_library.define("leave(Tensor x, str name, int[] size, int[] stride, ScalarType dtype) -> Tensor")


def _given(x: Tensor, name: str, size: Any, stride: Any, dtype: Any) -> Tensor:
    return x.new_empty_strided(size, stride, dtype=dtype)


_library.impl("enter", lambda x, where: x.clone(), "CompositeExplicitAutograd")


def _part(x: Tensor, size: Any) -> Tensor:
    return x.new_empty(size)


_library.impl("part", _part, "CompositeExplicitAutograd")
torch.library.register_fake("vsnn_lab::part", _part, lib=_library)
_PART = torch.ops.vsnn_lab.part.default
_library.impl("leave", _given, "CompositeExplicitAutograd")
torch.library.register_fake("vsnn_lab::enter", lambda x, where: torch.empty_like(x), lib=_library)
torch.library.register_fake("vsnn_lab::leave", _given, lib=_library)
_ENTER, _LEAVE = torch.ops.vsnn_lab.enter.default, torch.ops.vsnn_lab.leave.default


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
        state: The names of its parameters and buffers by their nodes, and by those of parts.
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
        with _Keep() as keep, _marked(model, layers), cutting(_first_units):
            try:
                found = torch.func.functional_call(model, tensors, positional, named)
            except Exception as error:
                # The graph is wanted as far as it goes.
                failures.append(error)
                found = ()
        returned.append(tensors_in(found))
        return [*returned[-1], *keep.kept]

    with torch.no_grad(), sizes_alone():
        module = make_fx(run, tracing_mode="fake", pre_dispatch=True)(
            state, [leaves[place] for place in places]
        )
    nodes = [node for node in module.graph.nodes if not _passes(node)]
    given = [node for node in nodes if node.op == "placeholder"]
    results = next(node for node in nodes if node.op == "output").args[0]
    count = len(state)
    return Graph(
        _steps(nodes),
        given[count:],
        _named(nodes, dict(zip(given[:count], state, strict=True))),
        [node for node in results[: len(returned[-1])] if isinstance(node, fx.Node)],
        {node: getattr(module, node.target) for node in nodes if node.op == "get_attr"},
        failures[0] if failures else None,
    )


def _passes(node: fx.Node) -> bool:
    """Whether a node gives what it takes, laid out anew; what uses it then uses what it takes.

    It is there at some widths alone: rows of one number always lie one behind the other.
    """
    passes = node.target is torch.ops.aten.contiguous.default
    if passes:
        node.replace_all_uses_with(node.all_input_nodes[0])
    return passes


def tensors_in(found: Any) -> list[Tensor]:
    """Return the tensors in what a network returns, wherever they are."""
    leaves = pytree.tree_leaves(found)
    more = [leaf for leaf in leaves if not isinstance(leaf, Tensor) and hasattr(leaf, "__dict__")]
    inner = [value for leaf in more for value in pytree.tree_leaves(vars(leaf))]
    return [leaf for leaf in [*leaves, *inner] if isinstance(leaf, Tensor)]


@contextmanager
def _marked(model: nn.Module, layers: Iterable[str]) -> Iterator[None]:
    """Write known layers down as one step each, for a while."""
    handles, norms = [], []
    inside = _Inside()
    for name in layers:
        module = model.get_submodule(name)
        # Last before the forward and first after it: other hooks are no part of the layer.
        handles.append(module.register_forward_pre_hook(partial(inside.enter, name), **_NAMED))
        handles.append(module.register_forward_hook(partial(inside.leave, name), prepend=True))
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            vars(module)["forward"] = partial(_batch_norm, module)
            norms.append(module)
    try:
        yield
    finally:
        inside.tracing.close()
        for module in norms:
            del vars(module)["forward"]
        for handle in handles:
            handle.remove()


_NAMED: Any = {"with_kwargs": True}


def _batch_norm(module: Any, input: Tensor) -> Tensor:
    """Return what a batch norm gives, by the sizes that it takes.

    Torch takes a batch norm apart before it knows, which is half the time of a DenseNet.
    """
    axis = getattr(module, "axis", module.num_features)
    if input.dim() > 1 and input.shape[1] == widest_size(axis):
        module._check_input_dim(input)
        return torch.empty_like(input)
    return type(module).forward(module, input)  # It says what is wrong.


class _Inside:
    """Keeps what known layers do out of the graph, and puts in what they take and give.

    Attributes:
        tracing: What to leave in order to trace again.
    """

    def __init__(self) -> None:
        self.tracing = ExitStack()
        self._name: str | None = None
        self._first: Tensor | None = None

    def enter(self, name: str, module: nn.Module, args: Any, options: Any) -> tuple[Any, Any]:
        if self._name is not None:
            return args, options  # It is a part of another one.
        marks: list[Tensor] = []

        def marked(where: str, value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            marks.append(_ENTER(value, f"{where} {name}"))
            return marks[-1]

        def each(where: str, value: Any) -> Any:
            return pytree.tree_map(lambda leaf: marked(where, leaf), value)

        found = (
            tuple(each(str(place), value) for place, value in enumerate(args)),
            {key: each(key, value) for key, value in options.items()},
        )
        if marks:
            self._name, self._first = name, marks[0]
            self.tracing.enter_context(disable_proxy_modes_tracing())
            self.tracing.enter_context(torch._C.DisableTorchFunction())
        return found

    def leave(self, name: str, module: nn.Module, args: Any, output: Any) -> Any:
        if self._name != name:
            return output
        first, self._name, self._first = self._first, None, None
        self.tracing.close()

        def marked(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return _LEAVE(first, name, value.shape, value.stride(), value.dtype)

        return pytree.tree_map(marked, output)


def _first_units(tensor: Tensor, axes: tuple[Any, ...]) -> Tensor:
    sizes = [*map(widest_size, axes), *tensor.shape[len(axes) :]]
    part: Tensor = _PART(tensor, sizes)
    return part


def _named(nodes: Iterable[fx.Node], state: dict[fx.Node, str]) -> dict[fx.Node, str]:
    """Return the names of tensors by their nodes, those of their first units included."""
    for node in nodes:
        if node.op == "call_function" and node.target is _PART:
            (source,) = node.all_input_nodes
            state[node] = state[source]
    return state


def _steps(nodes: Iterable[fx.Node]) -> list[Step]:
    """Return operations and calls of layers, what runs inside a layer left out."""
    steps: list[Step] = []
    inside: Step | None = None
    leaving = False
    for node in nodes:
        if node.op not in ("call_function", "get_attr") or node.target is _PART:
            continue
        if node.target is _ENTER:
            where, name = str(node.args[1]).split(" ", 1)
            if inside is None or leaving:
                inside, leaving = Step(name, True), False
                steps.append(inside)
            inside.inputs.setdefault(where, node)
        elif node.target is _LEAVE:
            assert inside is not None
            inside.outputs.append(node)
            leaving = True
        elif inside is None or leaving:
            inside, leaving = None, False
            name = "constant" if node.op == "get_attr" else _name(node)
            steps.append(Step(name, False, {}, [node]))
    return steps


def _name(node: fx.Node) -> str:
    """Return the name of a core operation; of others, one that is no core operation's."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return getattr(node.target, "__name__", str(node.target))
