"""How dimensions go through operations that only move and gather entries."""

from collections.abc import Sequence

from vsnn_lab.networks.graph.calls import Call, broadcast, fix_all, mixed, places_of
from vsnn_lab.networks.graph.units import SAMPLES, Dim, Shape, fixed, has_samples, size_of


def view(call: Call) -> list[Shape]:
    """Flatten neighbouring dimensions and take them apart again."""
    (tensor, *_) = call.tensors
    if 0 in call.sizes[0] or 0 in tensor.sizes:
        return fix_all(call)
    shape: list[Dim] = []
    varying = call.varying
    if varying is None:
        given = call.argument(1, "size", call.argument(1, "shape"))
        if isinstance(given, list | tuple) and -1 in given and len(given) == len(call.sizes[0]):
            # Whoever leaves a size open says which one follows from the others.
            varying = list(given).index(-1)
    for dims, sizes in _blocks(tensor.shape, call.sizes[0]):
        flat = dims[0] if dims else fixed(1)
        for dim in dims[1:]:
            flat = call.axes.times(flat, dim, call.reason)
        place = None if varying is None else varying - len(shape)
        known = place is not None and 0 <= place < len(sizes)
        if len(dims) == len(sizes) == 1:
            shape.append(dims[0])
        elif sizes:
            shape += call.axes.apart(flat, sizes, place if known else None, call.reason)
    return [tuple(shape)]


def _blocks(shape: Shape, sizes: Sequence[int]) -> list[tuple[list[Dim], list[int]]]:
    """Pair neighbouring dimensions with the sizes that hold as many elements, as few as can be."""
    blocks: list[tuple[list[Dim], list[int]]] = []
    before, after = list(shape), list(sizes)
    while before or after:
        dims, given = before[:1], after[:1]
        del before[:1], after[:1]
        have, want = (size_of(dims[0]) if dims else 1), (given[0] if given else 1)
        while have != want:
            if have < want:
                dims.append(before.pop(0))
                have *= size_of(dims[-1])
            else:
                given.append(after.pop(0))
                want *= given[-1]
        blocks.append((dims, given))
    return blocks


def turn(call: Call) -> list[Shape]:
    """Exchange rows and columns of matrices.

    Samples are no rows of a matrix: whoever turns a batch of vectors around does something that
    one sample alone does not have, or forgot that the batch is there.
    """
    shape = call.tensors[0].shape
    if len(shape) < 2 or any(map(has_samples, shape[-2:])):
        call.turns = True
        return fix_all(call)
    if call.name == "numpy_T":
        return [shape[::-1]]
    return [(*shape[:-2], shape[-1], shape[-2])]


def permute(call: Call) -> list[Shape]:
    """Move dimensions to other places."""
    shape = list(call.tensors[0].shape)
    match call.name.rstrip("_"):
        case "permute":
            order = [place % len(shape) for place in call.argument(1, "dims")]
            return [tuple(shape[place] for place in order)]
        case "t":
            first, second = -1, -2
        case _:
            first = call.argument(1, "dim0", call.argument(1, "axis0"))
            second = call.argument(2, "dim1", call.argument(2, "axis1"))
    if len(shape) > 1:
        shape[first], shape[second] = shape[second], shape[first]
    return [tuple(shape)]


def move(call: Call) -> list[Shape]:
    """Move some dimensions to other places, the rest in order."""
    tensor = call.tensors[0]
    sources, targets = (
        [each % tensor.dims for each in (value if isinstance(value, list | tuple) else [value])]
        for value in (call.argument(1, "source"), call.argument(2, "destination"))
    )
    places = dict(zip(targets, sources, strict=True))
    rest = (place for place in range(tensor.dims) if place not in sources)
    order = [places[at] if at in places else next(rest) for at in range(tensor.dims)]
    return [tuple(tensor.shape[place] for place in order)]


def expand(call: Call) -> list[Shape]:
    """Repeat dimensions of one entry, and add some in front."""
    return [broadcast(call, call.tensors[:1], call.sizes[0])]


def repeat(call: Call) -> list[Shape]:
    """Repeat a tensor along dimensions, which stay unless they are taken once."""
    tensor, sizes = call.tensors[0], call.sizes[0]
    new = len(sizes) - tensor.dims
    shape = [fixed(size) for size in sizes[:new]]
    for dim, size in zip(tensor.shape, sizes[new:], strict=True):
        count = size // max(size_of(dim), 1)
        # A second time the same units: the row of both keeps the same of each.
        shape.append(dim if count == 1 else call.axes.resolve(dim) * count)
    return [tuple(shape)]


def select(call: Call) -> list[Shape]:
    """Take one entry of a dimension, which stays; keep the others."""
    tensor = call.tensors[0]
    place = call.argument(1, "dim", 0) % tensor.dims
    mixed(call, tensor.shape[place], 1)
    shape = tensor.shape[:place] + tensor.shape[place + 1 :]
    return [shape for _ in call.sizes]


def slice_(call: Call) -> list[Shape]:
    """Take neighbouring entries of a dimension."""
    tensor = call.tensors[0]
    place = call.argument(1, "dim", 0) % tensor.dims
    dim, size = tensor.shape[place], call.sizes[0][place]
    whole = size_of(dim)
    if size != whole:
        start, end, step = _bounds(call, whole)
        if step != 1 or SAMPLES in {part.axis for part in dim}:
            dim = mixed(call, dim, size)
        else:
            dim = call.axes.split(dim, [start, end - start, whole - end], call.reason)[1]
    return [(*tensor.shape[:place], dim, *tensor.shape[place + 1 :])]


def _bounds(call: Call, size: int) -> tuple[int, int, int]:
    if call.name == "narrow":
        start = call.argument(2, "start") % size
        return start, start + call.argument(3, "length"), 1
    start, end, step = (
        call.argument(2, "start"),
        call.argument(3, "end"),
        call.argument(4, "step", 1),
    )
    return *slice(start, end).indices(size)[:2], step


def split(call: Call) -> list[Shape]:
    """Take a dimension apart into neighbouring parts, equal ones unless their sizes are given."""
    tensor = call.tensors[0]
    place = call.argument(2, "dim", 0) % tensor.dims
    sizes = [each[place] for each in call.sizes]
    given = isinstance(call.argument(1, "split_sizes"), list | tuple)
    if not given and len({*sizes}) > 1:
        # How much the last part lacks follows from the size of the whole.
        call.axes.fix(tensor.shape[place], call.reason)
    parts = call.axes.split(tensor.shape[place], sizes, call.reason)
    for other in () if given or len({*sizes}) > 1 else parts[1:]:
        call.axes.unite(parts[0], other, call.reason)
    return [(*tensor.shape[:place], part, *tensor.shape[place + 1 :]) for part in parts]


def cat(call: Call) -> list[Shape]:
    """Put tensors one after the other along a dimension; unite the other dimensions."""
    tensors = [tensor for tensor in call.tensors if tensor.sizes != (0,)]
    place = call.argument(1, "dim", 0) % tensors[0].dims
    shape = list(tensors[0].shape)
    for other in tensors[1:]:
        for at, dim in enumerate(other.shape):
            if at != place:
                shape[at] = call.axes.unite(shape[at], dim, call.reason)
    parts = [part for tensor in tensors for part in tensor.shape[place] if part.size]
    parts = parts or list(fixed(0))
    if any(part.axis == SAMPLES for part in parts):
        for tensor in tensors:
            mixed(call, tensor.shape[place], 1)
        parts = list(fixed(call.sizes[0][place]))
    shape[place] = tuple(parts)
    return [tuple(shape)]


def stack(call: Call) -> list[Shape]:
    """Put tensors side by side along a new dimension."""
    sizes = call.sizes[0]
    place = call.argument(1, "dim", 0) % len(sizes)
    inner = broadcast(call, call.tensors, sizes[:place] + sizes[place + 1 :])
    return [(*inner[:place], fixed(sizes[place]), *inner[place:])]


def squeeze(call: Call) -> list[Shape]:
    """Leave out dimensions of one entry, or add one."""
    tensor, sizes = call.tensors[0], call.sizes[0]
    if len(sizes) > tensor.dims:
        place = call.argument(1, "dim") % len(sizes)
        return [(*tensor.shape[:place], fixed(1), *tensor.shape[place:])]
    gone = places_of(call, tensor.dims)
    return [
        tuple(
            dim for place, dim in enumerate(tensor.shape) if place not in gone or size_of(dim) != 1
        )
    ]


def shuffle(call: Call) -> list[Shape]:
    """Spread groups of neighbouring channels over a finer image."""
    tensor, factor = call.tensors[0], call.argument(1, "upscale_factor")
    channels = tensor.shape[-3]
    grouped = call.axes.apart(channels, [size_of(channels) // factor**2, factor**2], 0, call.reason)
    image = [mixed(call, *each) for each in zip(tensor.shape[-2:], call.sizes[0][-2:], strict=True)]
    return [(*tensor.shape[:-3], grouped[0], *image)]


def unshuffle(call: Call) -> list[Shape]:
    """Let neighbouring pixels become neighbouring channels."""
    tensor, factor = call.tensors[0], call.argument(1, "downscale_factor")
    image = [mixed(call, *each) for each in zip(tensor.shape[-2:], call.sizes[0][-2:], strict=True)]
    channels = call.axes.times(tensor.shape[-3], fixed(factor**2), call.reason)
    return [(*tensor.shape[:-3], channels, *image)]


def interleave(call: Call) -> list[Shape]:
    """Take groups of channels and let those of the same place in each be neighbours."""
    tensor, groups = call.tensors[0], call.argument(1, "groups")
    size = tensor.sizes[1] // groups
    first, *others = call.axes.split(tensor.shape[1], [size] * groups, call.reason)
    for other in others:
        first = call.axes.unite(first, other, call.reason)
    return [
        (tensor.shape[0], call.axes.times(first, fixed(groups), call.reason), *tensor.shape[2:])
    ]


def patches(call: Call) -> list[Shape]:
    """Lay patches of an image side by side, channel by channel."""
    tensor, (_, channels, patches) = call.tensors[0], call.sizes[0]
    if tensor.dims != 4:
        return fix_all(call)
    for dim in tensor.shape[2:]:
        mixed(call, dim, 1)
    entries = fixed(channels // size_of(tensor.shape[1]))
    units = call.axes.times(tensor.shape[1], entries, call.reason)
    return [(tensor.shape[0], units, fixed(patches))]


def halves(call: Call) -> list[Shape]:
    """Weigh the first half of a dimension by the second."""
    tensor = call.tensors[0]
    place = call.argument(1, "dim", -1) % tensor.dims
    half = call.sizes[0][place]
    first, second = call.axes.split(tensor.shape[place], [half, half], call.reason)
    united = call.axes.unite(first, second, call.reason)
    return [(*tensor.shape[:place], united, *tensor.shape[place + 1 :])]
