"""What known layers do with the dimensions of their inputs, and which axes of theirs these are.

One line for each kind in `LAYERS`; the names of axes are those of the variable layer's attributes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from vsnn_lab.networks.graph.units import (
    SAMPLES,
    Axes,
    Dim,
    Shape,
    fixed,
    has_samples,
    size_of,
)


@dataclass
class LayerCall:
    """One call of a known layer.

    Attributes:
        name: Of the layer.
        module: The layer.
        axes: What is known of all axes.
        known: Its own axes by the names of the attributes that hold them, from earlier calls.
        inputs: The dimensions of the tensors it is given, by names or places of arguments.
        sizes: The sizes of the tensors that it gives.
    """

    name: str
    module: Any
    axes: Axes
    known: dict[str, Dim]
    inputs: dict[str, Shape]
    sizes: list[tuple[int, ...]]

    @property
    def input(self) -> Shape:
        """The dimensions of what it is given first."""
        return next(iter(self.inputs.values()))

    @property
    def reason(self) -> str:
        """What to say of units that stay because of it."""
        return f"{type(self.module).__name__} {self.name!r}"

    def is_axis(self, name: str, dim: Dim) -> Dim:
        """Note that a dimension is an axis of the layer; of one that is called again, the same."""
        before = self.known.get(name)
        if before is not None:
            dim = self.axes.unite(before, dim, self.reason)
        self.known[name] = dim
        return dim

    def own_axis(self, name: str, size: int) -> Dim:
        """Return an axis that the layer makes."""
        return self.known.setdefault(name, self.axes.new(size))

    def fix_inputs(self, *but: str) -> None:
        """Let all that it is given stay, but for some arguments."""
        for name, shape in self.inputs.items():
            for dim in shape if name not in but else ():
                self.axes.fix(dim, self.reason)


Rule = Callable[[LayerCall], Sequence[Shape]]


def _linear(call: LayerCall) -> list[Shape]:
    call.is_axis("in_axis", call.input[-1])
    return [(*call.input[:-1], call.own_axis("out_axis", call.module.out_features))]


def _convolution(call: LayerCall) -> list[Shape]:
    layer, place = call.module, -1 - len(call.module.kernel_size)
    channels = call.input[place]
    if layer.groups == 1:
        call.is_axis("in_axis", channels)
        out = call.own_axis("out_axis", layer.out_channels)
    else:
        # Groups are cut whole, and the same on both sides.
        into, of = layer.in_channels // layer.groups, layer.out_channels // layer.groups
        grouped = call.axes.group(call.is_axis("in_axis", channels), into, call.reason)
        (groups, *_) = call.axes.apart(grouped, [layer.groups, into], 0, call.reason)
        out = call.is_axis("out_axis", call.axes.times(groups, fixed(of), call.reason))
    image = [fixed(size) for size in call.sizes[0][place + 1 :]]
    for dim in call.input[place + 1 :]:
        call.axes.fix(dim, call.reason)
    return [(*call.input[:place], out, *image)]


def _norm(place: int) -> Rule:
    def rule(call: LayerCall) -> list[Shape]:
        for name in ("axis", "in_axis", "out_axis"):
            call.is_axis(name, call.input[place])
        return [call.input]

    return rule


def _last_norm(call: LayerCall) -> list[Shape]:
    count = len(call.module.normalized_shape)
    if count > 1 or has_samples(call.input[-1]):
        for dim in call.input[-count:]:
            call.axes.fix(dim, call.reason)
        return [(*call.input[:-count], *map(fixed, call.sizes[0][-count:]))]
    return list(_norm(-1)(call))


def _group_norm(call: LayerCall) -> list[Shape]:
    layer = call.module
    if layer.num_groups > 1:
        size = layer.num_channels // layer.num_groups
        call.axes.group(call.input[1], size, call.reason)
    return _instance_norm(call)


def _mixes(call: LayerCall) -> list[Shape]:
    """Let all stay that a layer is given and gives, where it mixes samples."""
    call.fix_inputs()
    return [tuple(map(fixed, sizes)) for sizes in call.sizes]


def stays(call: LayerCall) -> list[Shape]:
    """Let all stay that a layer is given and gives, samples where they are."""
    call.fix_inputs()
    return [
        tuple(
            call.input[place] if _is_row(call.input, place, size) else fixed(size)
            for place, size in enumerate(sizes)
        )
        for sizes in call.sizes
    ]


def _is_row(shape: Shape, place: int, size: int) -> bool:
    return place < len(shape) and has_samples(shape[place]) and size_of(shape[place]) == size


def _embedding(call: LayerCall) -> list[Shape]:
    layer = call.module
    if layer.max_norm or layer.sparse:
        return [(*call.input, fixed(layer.embedding_dim))]
    return [(*call.input, call.own_axis("out_axis", layer.embedding_dim))]


def _slopes(call: LayerCall) -> list[Shape]:
    if call.module.num_parameters == 1:
        call.known.update(dict.fromkeys(("axis", "in_axis", "out_axis"), fixed(1)))
        return [call.input]
    return list(_norm(1)(call))


def _bilinear(call: LayerCall) -> list[Shape]:
    first, second = call.inputs.values()
    call.is_axis("in1_axis", first[-1])
    call.is_axis("in2_axis", second[-1])
    for one, other in zip(first[:-1], second[:-1], strict=True):
        call.axes.unite(one, other, call.reason)
    return [(*first[:-1], call.own_axis("out_axis", call.module.out_features))]


def _instance_norm(call: LayerCall) -> list[Shape]:
    for dim in call.input[2:]:
        call.axes.fix(dim, call.reason)
    if any(map(has_samples, call.input[1:])):
        return _mixes(call)
    return list(_norm(1)(call))


def _attention(call: LayerCall) -> list[Shape]:
    layer, names = call.module, ("query", "key", "value")
    given = {
        name: str(place) if str(place) in call.inputs else name for place, name in enumerate(names)
    }
    query, key, value = (call.inputs.get(given[name], ()) for name in names)
    if not all(_in_sequences(each, layer) for each in (query, key, value)):
        return _mixes(call)
    call.fix_inputs(*given.values())
    for each in (query, key, value):
        call.axes.fix(each[1 - _batch(layer)], call.reason)
    embedding = call.is_axis("in_axis", query[-1])
    for name, each in (("key_axis", key), ("value_axis", value)):
        dim = call.is_axis(name, each[-1])
        if layer._qkv_same_embed_dim:
            # Torch packs their weights.
            embedding = call.axes.unite(embedding, dim, call.reason)
    call.is_axis("out_axis", embedding)
    call.own_axis("heads_axis", layer.num_heads)
    weights = call.sizes[1:]
    rest = [(query[_batch(layer)], *map(fixed, sizes[1:])) for sizes in weights]
    return [(*query[:-1], embedding), *rest]


def _recurrent(call: LayerCall) -> list[Shape]:
    layer = call.module
    sequences, *states = call.inputs.values()
    if not _in_sequences(sequences, layer):
        return _mixes(call)
    call.axes.fix(sequences[1 - _batch(layer)], call.reason)
    call.is_axis("in_axis", sequences[-1])
    hidden = call.own_axis("hidden_axis", layer.hidden_size)
    given = fixed(layer.proj_size) if layer.proj_size else hidden
    for state, dim in zip(states, (given, hidden), strict=False):
        call.axes.unite(state[-1], dim, call.reason)
    output = given * (2 if layer.bidirectional else 1)
    batch = sequences[_batch(layer)]
    ends = [
        (fixed(each[0]), batch, dim)
        for each, dim in zip(call.sizes[1:], (given, hidden), strict=False)
    ]
    return [(*sequences[:-1], output), *ends]


def _batch(layer: Any) -> int:
    return 0 if layer.batch_first else 1


def _in_sequences(shape: Shape, layer: Any) -> bool:
    """Whether a tensor holds sequences whose samples lie where the layer takes them from."""
    samples = [place for place, dim in enumerate(shape) if (dim[0].axis, len(dim)) == (SAMPLES, 1)]
    return len(shape) == 3 and samples == [_batch(layer)] and shape[_batch(layer)][0].repeats == 1


LAYERS: dict[type[nn.Module], Rule] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    **dict.fromkeys((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), _convolution),
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d), _norm(1)),
    **dict.fromkeys((nn.LayerNorm, nn.RMSNorm), _last_norm),
    nn.GroupNorm: _group_norm,
    nn.Embedding: _embedding,
    **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_norm),
    nn.PReLU: _slopes,
    nn.Bilinear: _bilinear,
    nn.MultiheadAttention: _attention,
    **dict.fromkeys((nn.RNN, nn.LSTM, nn.GRU), _recurrent),
}
"""The rule of each kind of layer that can be variable."""


def _convolved(layer: Any) -> tuple[str | None, ...]:
    return ("out_axis", "in_axis") if layer.groups == 1 else ("out_axis",)


WEIGHTS: dict[type[nn.Module], Callable[[Any], tuple[str | None, ...]]] = {
    nn.Linear: lambda layer: ("out_axis", "in_axis"),
    nn.Embedding: lambda layer: (None, "out_axis"),
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolved),
    **dict.fromkeys((nn.LayerNorm, nn.RMSNorm, nn.GroupNorm), lambda layer: ("axis",)),
}
"""The axes along the first dimensions of a weight that layers may share; None stays."""
