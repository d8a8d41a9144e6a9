"""Follow the units of a network's layers along its graph, to find which axes must agree."""

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.fx
from torch import nn
from torch.fx import Node
from torch.nn.utils.parametrize import is_parametrized

from vsnn_lab.layers import VariableLayer

_CONVOLUTION = {
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
}
_BATCH_NORM = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}
# Modules by name, as torch calls them.
_POOLING = {
    f"{name}Pool{dims}d"
    for name in ("Max", "Avg", "AdaptiveAvg", "AdaptiveMax")
    for dims in (1, 2, 3)
} | {"Upsample"}
_ELEMENTWISE = {
    *("AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "Identity"),
    *("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU"),
    *("LogSigmoid", "Mish", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink"),
    *("Softsign", "Tanh", "Tanhshrink", "Threshold"),
}
# Functions and methods by name: torch has each under several roofs.
_SUMS = {
    *("add", "add_", "iadd", "sub", "sub_", "isub", "mul", "mul_", "imul", "div", "truediv"),
    *("maximum", "minimum"),
}
_EACH = {
    *("abs", "clamp", "clone", "contiguous", "detach", "exp", "float", "half", "neg", "sqrt"),
    *("square", "dropout", "dropout2d", "celu", "elu", "gelu", "hardsigmoid", "hardswish"),
    *("hardtanh", "leaky_relu", "logsigmoid", "mish", "relu", "relu6", "relu_", "selu", "sigmoid"),
    *("silu", "softplus", "stochastic_depth", "tanh"),
}
_POOLS = {
    f"{name}_pool{dims}d"
    for name in ("max", "avg", "adaptive_avg", "adaptive_max")
    for dims in (1, 2, 3)
} | {"interpolate", "boolean_dispatch"}  # what fx calls functional max pooling
_SHAPES = {"size", "dim", "getattr"}
_PARAMETRIZED = (
    "; parametrize it after make_variable, or take that off it by "
    "torch.nn.utils.parametrize.remove_parametrizations"
)


@dataclass(frozen=True)
class Flow:
    """Units on their way: an element of the union of axes, and where in the tensor they lie.

    Attributes:
        axis: The element.
        place: "channels" in dimension 1, "last" in the last one, "flat" in dimension 1 of two with
            each unit repeated as neighbours.
        spatial: Dimensions behind the channels.
    """

    axis: int
    place: str
    spatial: int = 0


class Trace:
    """Which axes of a network's layers are one, and which must stay fixed.

    Args:
        model: A plain network.
        excluded: Names of modules that keep their sizes.

    Attributes:
        layers: For each layer with units the elements of its input and output, None if fixed.

    Raises:
        ValueError: If the network cannot be traced, mixes units or holds a variable layer.
    """

    def __init__(self, model: nn.Module, excluded: set[str]) -> None:
        for name, module in model.named_modules():
            if isinstance(module, VariableLayer):
                raise ValueError(f"model must be plain, got {type(module).__name__} at {name!r}")
        try:
            graph = torch.fx.Tracer().trace(model)
        except Exception as error:
            raise ValueError(f"model must be traceable by torch.fx, got: {error}") from error
        self._model, self._excluded = model, excluded
        self.layers: dict[nn.Module, tuple[int | None, int | None]] = {}
        self._parent: list[int] = []
        self._sizes: list[list[int]] = []
        self._fixed: list[bool] = []
        self._complaints: list[tuple[int, str]] = []
        self._flows: dict[Node, Flow | None] = {}
        for node in graph.nodes:
            self._flows[node] = self._visit(node)
        for axis, complaint in self._complaints:
            if not self._fixed[self.find(axis)]:
                raise ValueError(f"model must not mix units that vary: {complaint}")

    def find(self, axis: int) -> int:
        """Return the element that stands for all that are one with ``axis``."""
        while self._parent[axis] != axis:
            axis = self._parent[axis]
        return axis

    def variable(self) -> dict[int, list[int]]:
        """Return the sizes that the steps of each variable axis must divide, by its element."""
        return {
            axis: sizes
            for axis, sizes in enumerate(self._sizes)
            if self.find(axis) == axis and not self._fixed[axis]
        }

    def _new_axis(self, size: int) -> int:
        self._parent.append(len(self._parent))
        self._sizes.append([size])
        self._fixed.append(False)
        return len(self._parent) - 1

    def _unite(self, first: int | None, second: int | None) -> None:
        """Make two axes one; with a fixed one the other is fixed, too."""
        if first is None or second is None:
            for axis in (first, second):
                self._fix(axis)
            return
        first, second = self.find(first), self.find(second)
        if first != second:
            self._parent[second] = first
            self._sizes[first] += self._sizes[second]
            self._fixed[first] |= self._fixed[second]

    def _fix(self, axis: int | None) -> None:
        if axis is not None:
            self._fixed[self.find(axis)] = True

    def _size(self, flow: Flow) -> int:
        return self._sizes[flow.axis][0]

    def _visit(self, node: Node) -> Flow | None:
        flows = [flow for source in node.all_input_nodes if (flow := self._flows[source])]
        if node.op == "output":
            for flow in flows:
                self._fix(flow.axis)
        if node.op == "call_module":
            return self._module(node, flows)
        if node.op in ("call_function", "call_method") and flows:
            return self._operation(node, flows)
        return None

    def _refuse(self, node: Node, flows: list[Flow], what: str, way_out: str = "") -> None:
        for flow in flows:
            where = node.target if node.op == "call_module" else node.name
            self._complaints.append((flow.axis, f"{what} at {where!r}{way_out}"))

    def _record(self, module: nn.Module, flow: Flow | None, fan_out: int) -> int:
        """Note a layer's axes; a layer that is used twice has the same ones both times."""
        fan_in = flow.axis if flow else None
        if module in self.layers:
            known_in, known_out = self.layers[module]
            self._unite(known_in, fan_in)
            self._unite(known_out, fan_out)
        self.layers[module] = (fan_in, fan_out)
        return fan_out

    def _module(self, node: Node, flows: list[Flow]) -> Flow | None:
        module = self._model.get_submodule(str(node.target))
        if node.target in self._excluded:
            for excluded in flows:
                self._fix(excluded.axis)
            return None
        flow = flows[0] if flows else None
        name = type(module).__name__
        if type(module) is nn.Linear:
            self._check_place(node, flow, name, module.in_features, ("last", "flat"))
            return Flow(self._record(module, flow, self._new_axis(module.out_features)), "last")
        if isinstance(module, nn.modules.conv._ConvNd) and type(module) in _CONVOLUTION:
            return self._convolution(node, module, flow)
        if type(module) is nn.Embedding and not (module.max_norm or module.sparse):
            return Flow(self._record(module, None, self._new_axis(module.embedding_dim)), "last")
        if flow is None:
            return None
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and type(module) in _BATCH_NORM:
            self._check_place(node, flow, name, module.num_features, ("channels", "last", "flat"))
        elif type(module) is nn.LayerNorm or type(module) is nn.RMSNorm:
            self._check_place(node, flow, name, module.normalized_shape[-1], ("last", "flat"))
            if len(module.normalized_shape) > 1:
                self._refuse(node, flows, f"{name} over several dimensions")
        elif type(module) is nn.GroupNorm:
            self._check_place(node, flow, name, module.num_channels, ("channels", "last"))
            if module.num_groups > 1:
                self._sizes[self.find(flow.axis)].append(module.num_groups)
        elif name in _POOLING and flow.place == "channels":
            return flow
        elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            return self._flat(flow)
        elif name in _ELEMENTWISE or (isinstance(module, nn.PReLU) and module.num_parameters == 1):
            return flow
        else:
            self._refuse(node, flows, name, _PARAMETRIZED if is_parametrized(module) else "")
            return flow
        self._record(module, flow, flow.axis)
        return flow

    def _check_place(
        self, node: Node, flow: Flow | None, name: str, size: int, places: tuple[str, ...]
    ) -> None:
        """Refuse units that do not lie where a layer takes them from."""
        if flow is None:
            return
        repeats, rest = divmod(size, self._size(flow))
        if flow.place not in places or rest or (repeats > 1 and flow.place != "flat"):
            self._refuse(node, [flow], f"{name} of {size}, where {self._size(flow)} units are in "
                         f"place {flow.place!r},")  # fmt: skip

    def _convolution(self, node: Node, module: nn.modules.conv._ConvNd, flow: Flow | None) -> Flow:
        self._check_place(node, flow, type(module).__name__, module.in_channels, ("channels",))
        fan_out = self._new_axis(module.out_channels)
        if module.groups > 1:
            # Groups are cut whole, so both sides turn with one knob whose steps divide them.
            self._sizes[fan_out].append(module.groups)
            self._unite(flow.axis if flow else None, fan_out)
        spatial = len(module.kernel_size)
        return Flow(self._record(module, flow, fan_out), "channels", spatial)

    def _flat(self, flow: Flow) -> Flow:
        # Flattening what lies last repeats units in turns, not as neighbours; it stays "last", and
        # only a consumer of just as many features (then nothing was flattened) will take it.
        return replace(flow, place="flat", spatial=0) if flow.place == "channels" else flow

    def _operation(self, node: Node, flows: list[Flow]) -> Flow | None:
        name = node.target if isinstance(node.target, str) else _name(node.target)
        flow = flows[0]
        if name in _SHAPES:
            return None
        if name in _EACH or (name in _POOLS and flow.place == "channels"):
            return flow
        if name in _SUMS:
            return self._sum(node, flows)
        if _flattens(node, name):
            return self._flat(flow)
        if name == "mean" and flow.place == "channels":
            dims: Any = node.kwargs.get("dim", node.args[1] if len(node.args) > 1 else None)
            dims = [dims] if isinstance(dims, int) else sorted(dims) if dims else None
            if dims == list(range(2, 2 + flow.spatial)):
                keeps = node.kwargs.get("keepdim")
                return flow if keeps else replace(flow, place="last", spatial=0)
        self._refuse(node, flows, name)
        return flow

    def _sum(self, node: Node, flows: list[Flow]) -> Flow:
        first = flows[0]
        for other in flows[1:]:
            alike = (first.place, self._size(first)) == (other.place, self._size(other))
            if not alike or first.place == "flat":
                self._refuse(node, [first, other], "a sum of different layouts")
            self._unite(first.axis, other.axis)
        # A tensor that does not vary keeps what it is added to fixed; a number does not.
        for source in node.all_input_nodes:
            is_number = source.op != "placeholder" and _name(source.target) in _SHAPES
            if source.op == "get_attr":
                is_number = operator.attrgetter(str(source.target))(self._model).numel() == 1
            if self._flows[source] is None and not is_number:
                self._fix(first.axis)
        return first


def _name(target: Callable[..., Any] | str) -> str:
    return target if isinstance(target, str) else getattr(target, "__name__", str(target))


def _flattens(node: Node, name: str) -> bool:
    """Whether an operation makes (batch, everything else) of its input."""
    if name == "flatten":
        start = node.kwargs.get("start_dim", node.args[1] if len(node.args) > 1 else 0)
        end = node.kwargs.get("end_dim", node.args[2] if len(node.args) > 2 else -1)
        return (start, end) == (1, -1)
    if name in ("view", "reshape"):
        shape: Any = node.args[1:] if len(node.args) != 2 else node.args[1]
        return len(shape) == 2 and shape[1] == -1 and isinstance(shape[0], Node)
    return False
