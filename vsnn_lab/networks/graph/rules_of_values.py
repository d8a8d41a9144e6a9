"""How dimensions go through operations that compute entries of entries."""

from vsnn_lab.networks.graph.calls import Call, Known, broadcast, fix_all, mixed, places_of
from vsnn_lab.networks.graph.units import SAMPLES, Dim, Shape, fixed, size_of


def each(call: Call) -> list[Shape]:
    """Bring tensors to one shape; each entry is made of those in its place."""
    return [broadcast(call, call.tensors, sizes) for sizes in call.sizes]


def like(call: Call) -> list[Shape]:
    """Leave the dimensions of the first tensor where they are, whatever else is given."""
    return [call.tensors[0].shape for _ in call.sizes]


def windows(call: Call) -> list[Shape]:
    """Keep leading dimensions; those whose size changes mix their entries."""
    (tensor, *others) = call.tensors
    for other in others:
        for dim in other.shape:
            mixed(call, dim, 1)
    if call.name in WINDOWED:
        last = WINDOWED[call.name]
    else:
        # Two numbers for each dimension, the last one first; as much as is added may be cut off.
        last = len(call.argument(1, "pad")) // 2
        while last and not any(call.argument(1, "pad")[2 * last - 2 : 2 * last]):
            last -= 1
    first = tensor.dims - last
    shape = list(tensor.shape[:first])
    for dim, size in zip(tensor.shape[first:], call.sizes[0][first:], strict=True):
        shape.append(mixed(call, dim, size))
    return [tuple(shape) for _ in call.sizes]


WINDOWED = {
    **{f"{name}_pool{n}d": n for name in ("max", "avg") for n in (1, 2, 3)},
    **{f"adaptive_{name}_pool{n}d": n for name in ("max", "avg") for n in (1, 2, 3)},
    **{f"max_pool{n}d_with_indices": n for n in (1, 2, 3)},
    **{f"{kind}_pad{n}d": n for kind in ("reflection", "replication") for n in (1, 2, 3)},
    **{f"upsample_{kind}2d": 2 for kind in ("nearest", "bilinear", "bicubic")},
    **{f"_upsample_{kind}2d_aa": 2 for kind in ("bilinear", "bicubic")},
    **{f"_upsample_nearest_exact{n}d": n for n in (1, 2, 3)},
    **{"upsample_linear1d": 1, "upsample_trilinear3d": 3},
    **{"upsample_nearest1d": 1, "upsample_nearest3d": 3, "_adaptive_avg_pool2d": 2},
}


def reduce(call: Call) -> list[Shape]:
    """Mix the dimensions that are summed over; keep the others."""
    if call.name in ("max", "min") and len(call.tensors) > 1:
        return each(call)  # The larger of two.
    tensor = call.tensors[0]
    gone = places_of(call, tensor.dims, 2 if "norm" in call.name else 1)
    for other in call.tensors[1:]:
        for dim in other.shape:
            mixed(call, dim, 1)
    for place in gone:
        mixed(call, tensor.shape[place], 1)
    kept = [dim for place, dim in enumerate(tensor.shape) if place not in gone]
    found: list[Shape] = []
    for sizes in call.sizes:
        if len(sizes) == tensor.dims:
            found.append(
                tuple(fixed(1) if p in gone else dim for p, dim in enumerate(tensor.shape))
            )
        else:
            found.append(tuple(kept))
    return found


def along(call: Call) -> list[Shape]:
    """Mix one dimension, and keep the size of all."""
    tensor = call.tensors[0]
    default = [-1] if call.name in _LAST_BY_DEFAULT else None
    given = call.argument(_PLACES_OF_DIM.get(call.name, 1), "dim", default)
    given = call.options.get("dims", given)
    places = given if isinstance(given, list | tuple) else [given]
    if not places or places == [None]:
        return fix_all(call)
    at = [each % tensor.dims for each in places]
    for each in at:
        mixed(call, tensor.shape[each], size_of(tensor.shape[each]))
    found = []
    for sizes in call.sizes:
        if len(sizes) != tensor.dims:
            return fix_all(call)
        dims = zip(tensor.shape, sizes, strict=True)
        found.append(tuple(d if size_of(d) == size else fixed(size) for d, size in dims))
    return found


# Others name it second.
_PLACES_OF_DIM = {"roll": 2, "topk": 2}
_LAST_BY_DEFAULT = ("sort", "argsort", "topk")


def matmul(call: Call) -> list[Shape]:
    """Sum over the last dimension of one and the last but one of the other, which stay."""
    first, second = call.tensors[:2]
    if len(call.tensors) > 2 or min(first.dims, second.dims) < 2:
        return fix_all(call)
    mixed(call, first.shape[-1], 1)
    mixed(call, second.shape[-2], 1)
    if SAMPLES in {part.axis for part in second.shape[-1]}:
        return fix_all(call)
    sizes = call.sizes[0]
    lead = [Known(tensor.shape[:-2]) for tensor in (first, second)]
    return [(*broadcast(call, lead, sizes[:-2]), first.shape[-2], second.shape[-1])]


def linear(call: Call) -> list[Shape]:
    """Multiply by a matrix that is no known layer's: sum over the last dimension, which stays."""
    tensor, *others = call.tensors
    for other in others:
        for dim in other.shape:
            mixed(call, dim, 1)
    mixed(call, tensor.shape[-1], 1)
    return [(*tensor.shape[:-1], fixed(call.sizes[0][-1]))]


def einsum(call: Call) -> list[Shape]:
    """Sum over the letters that do not come back, which stay; unite those that do."""
    equation = str(call.args[0]).replace(" ", "")
    inputs, arrow, output = equation.partition("->")
    terms = inputs.split(",")
    plain = arrow and "." not in equation and all(len({*t}) == len(t) for t in [*terms, output])
    if not plain:
        return fix_all(call)
    known: dict[str, Dim] = {}
    for letters, tensor in zip(terms, call.tensors, strict=True):
        for letter, dim in zip(letters, tensor.shape, strict=True):
            if letter not in output:
                mixed(call, dim, 1)
            before = known.get(letter, dim)
            if size_of(before) != size_of(dim):
                return fix_all(call)
            known[letter] = call.axes.unite(before, dim, call.reason)
    return [tuple(known[letter] for letter in output)]


def attention(call: Call) -> list[Shape]:
    """Attend: the entries of queries and keys are summed over; heads and values' entries stay."""
    query, key, value, *masks = call.tensors
    for mask in masks:
        for dim in mask.shape[-2:]:
            mixed(call, dim, 1)
    # Who may look at whom depends on their places.
    causal = call.argument(5, "is_causal", False)
    for tensor, places in ((query, [-1, -2] if causal else [-1]), (key, [-1, -2]), (value, [-2])):
        for place in places:
            mixed(call, tensor.shape[place], 1)
    lead = [Known(tensor.shape[:-2]) for tensor in call.tensors]
    sizes = call.sizes[0]
    if len({each.sizes for each in lead[:3]}) > 1:
        return fix_all(call)  # Grouped queries, or broadcast ones.
    return [(*broadcast(call, lead, sizes[:-2]), query.shape[-2], value.shape[-1])]


def triangle(call: Call) -> list[Shape]:
    """Leave out entries by their places in the last two dimensions, which stay."""
    tensor = call.tensors[0]
    for dim in tensor.shape[-2:]:
        mixed(call, dim, size_of(dim))
    return [tensor.shape]


def made(call: Call) -> list[Shape]:
    """Make a tensor of sizes alone: it stays, whatever it is later added to."""
    return [tuple(map(fixed, sizes)) for sizes in call.sizes]


def index_select(call: Call) -> list[Shape]:
    """Take the entries of one dimension that an index names: it stays; keep the others."""
    tensor, index = call.tensors
    for dim in index.shape:
        mixed(call, dim, 1)
    place = call.argument(1, "dim") % tensor.dims
    dim = mixed(call, tensor.shape[place], call.sizes[0][place])
    return [(*tensor.shape[:place], dim, *tensor.shape[place + 1 :])]
