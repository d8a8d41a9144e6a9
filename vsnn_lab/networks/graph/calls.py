"""One operation as the rules see it, and what several of them do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from vsnn_lab.networks.graph.units import SAMPLES, Axes, Dim, Shape, fixed, size_of


@dataclass
class Call:
    """One operation in a graph.

    Attributes:
        name: Of the operation.
        axes: What is known of all axes.
        args: Its arguments, tensors as their dimensions.
        options: Arguments by name.
        sizes: The sizes of what it gives, one tuple for each tensor.
        behind: The last known layer that ran before it.
        varying: The dimension that is known to vary in what it gives, if one is.
        mixes: Whether it mixes samples, as its rule found out.
    """

    name: str
    axes: Axes
    args: list[Any]
    options: dict[str, Any]
    sizes: list[tuple[int, ...]]
    behind: str = ""
    varying: int | None = None
    mixes: bool = False

    @property
    def tensors(self) -> list["Known"]:
        """The tensors among its arguments, those in lists included."""
        found: list[Known] = []
        todo = [*self.args, *self.options.values()]
        while todo:
            value = todo.pop(0)
            if isinstance(value, Known):
                found.append(value)
            elif isinstance(value, list | tuple):
                todo = [*value, *todo]
        return found

    @property
    def reason(self) -> str:
        """What to say of units that stay because of it."""
        return f"{self.name} behind {self.behind!r}" if self.behind else self.name

    def argument(self, place: int, name: str, default: Any = None) -> Any:
        """Return an argument by its place or its name."""
        return self.options.get(name, self.args[place] if len(self.args) > place else default)


class Known(NamedTuple):
    """A tensor of which the dimensions are known."""

    shape: Shape

    @property
    def dims(self) -> int:
        """How many there are."""
        return len(self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Elements along each."""
        return tuple(map(size_of, self.shape))


Rule = Callable[[Call], Sequence[Shape]]


def fix_all(call: Call) -> list[Shape]:
    """Let everything that reaches an operation stay."""
    for tensor in call.tensors:
        for dim in tensor.shape:
            call.axes.fix(dim, call.reason)
    return [tuple(map(fixed, sizes)) for sizes in call.sizes]


def broadcast(call: Call, tensors: Sequence[Known], sizes: tuple[int, ...]) -> Shape:
    """Return the dimensions of what tensors of several shapes are brought to; they are united."""
    shape = []
    for place, size in enumerate(sizes):
        dim = None
        for tensor in tensors:
            own = place - len(sizes) + tensor.dims
            if own < 0 or size_of(tensor.shape[own]) != size:
                continue  # It is repeated along this one.
            given = tensor.shape[own]
            dim = given if dim is None else call.axes.unite(dim, given, call.reason)
        shape.append(fixed(size) if dim is None else dim)
    return tuple(shape)


def mixed(call: Call, dim: Dim, size: int) -> Dim:
    """Return a dimension whose entries are mixed, so that none of them may be left out."""
    if SAMPLES in {part.axis for part in call.axes.resolve(dim)}:
        call.mixes = True
    call.axes.fix(dim, call.reason)
    return dim if size_of(dim) == size else fixed(size)


def places_of(call: Call, dims: int, place: int = 1, name: str = "dim") -> list[int]:
    """Return which dimensions are meant, counted from the first."""
    given = call.argument(place, name)
    if given is None or given == [] or isinstance(given, bool):
        return list(range(dims))
    return [each % max(dims, 1) for each in (given if isinstance(given, list | tuple) else [given])]
