"""Calls of every operation in the table, by its name: what to compute, and of which tensors.

The sizes of a tensor all differ, so that no dimension is taken for another; samples come first.
"""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

aten = torch.ops.aten


class Floats(NamedTuple):
    """Numbers between 0.1 and 0.9, in double precision."""

    shape: tuple[int, ...]


class Ints(NamedTuple):
    """Integers from 0 to less than ``high``."""

    shape: tuple[int, ...]
    high: int


class Bools(NamedTuple):
    """Truth values."""

    shape: tuple[int, ...]


class Example(NamedTuple):
    """A call.

    Attributes:
        function: What is computed.
        inputs: Of what tensors.
        random: Whether it draws numbers, of which narrow tensors need fewer.
    """

    function: Any
    inputs: tuple[Any, ...]
    random: bool = False


def of(function, *shapes, random=False):
    """Return an example with inputs of these shapes, numbers unless something else is said."""
    inputs = tuple(
        Floats(shape) if not isinstance(shape, Floats | Ints | Bools) else shape for shape in shapes
    )
    return Example(function, inputs, random)


FLAT, ROWS, IMAGE = (4, 8), (4, 8, 6), (4, 8, 6, 10)
COUNTS = Ints(ROWS, 9)


def named(name):
    """Return the core operation of a name."""
    return getattr(aten, name)


def _unary(names):
    return {name: [of(lambda x, n=name: named(n)(x), ROWS)] for name in names.split()}


def _binary(names, kind=None):
    found = {}
    for name in names.split():
        op = named(name)
        pairs = [(ROWS, ROWS), (ROWS, (8, 6)), (ROWS, (4, 1, 6)), (ROWS, (6,)), (ROWS, (8, 1))]
        found[name] = [of(op, *(kind(s) if kind else s for s in pair)) for pair in pairs]
    return found


EXAMPLES: dict[str, list[Example]] = {
    **_unary(
        "abs acos alias asin asinh atan atanh ceil celu clone cos cosh deg2rad detach elu erf erfc "
        "erfinv exp exp2 expm1 floor frac gelu hardshrink hardsigmoid hardswish hardtanh isfinite "
        "isinf isnan leaky_relu lgamma lift_fresh_copy log log10 log1p log2 log_sigmoid "
        "logical_not logit mish nan_to_num neg negative positive rad2deg reciprocal relu relu6 "
        "round rsqrt selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink "
        "special_expit sqrt square tan tanh trunc _neg_view resolve_conj "
        "resolve_neg contiguous"
    ),
    "_conj": [of(lambda x: aten._conj(x.to(torch.complex128)).abs(), ROWS)],
    "acosh": [of(lambda x: aten.acosh(x + 1), ROWS)],
    **_binary(
        "add atan2 copysign div divide eq floor_divide fmax fmin fmod ge gt heaviside hypot le "
        "ldexp logaddexp logaddexp2 logical_and logical_or logical_xor lt maximum minimum mul "
        "multiply ne nextafter pow remainder rsub sub subtract true_divide xlogy float_power"
    ),
    **_binary("bitwise_and bitwise_or bitwise_xor", lambda shape: Ints(shape, 9)),
    "bitwise_not": [of(aten.bitwise_not, COUNTS), of(aten.bitwise_not, Bools(ROWS))],
    "addcdiv": [
        of(lambda x, y, z: aten.addcdiv(x, y, z, value=0.5), ROWS, ROWS, ROWS),
        of(aten.addcdiv, ROWS, (8, 1), (4, 1, 6)),
    ],
    "addcmul": [
        of(lambda x, y, z: aten.addcmul(x, y, z, value=0.5), ROWS, ROWS, ROWS),
        of(aten.addcmul, (6,), ROWS, (8, 1)),
    ],
    "alpha_dropout": [
        of(lambda x: aten.alpha_dropout(x, 0.5, True), ROWS, random=True),
        of(lambda x: aten.alpha_dropout(x, 0.5, False), ROWS),
    ],
    "dropout": [
        of(lambda x: aten.dropout(x, 0.5, True), ROWS, random=True),
        of(lambda x: F.dropout(x, 0.5, False), ROWS),
    ],
    "native_dropout": [of(lambda x: aten.native_dropout(x, 0.5, True), ROWS, random=True)],
    "feature_dropout": [of(lambda x: F.dropout2d(x, 0.5, True), IMAGE, random=True)],
    "feature_alpha_dropout": [
        of(lambda x: F.feature_alpha_dropout(x, 0.5, True), IMAGE, random=True)
    ],
    "bernoulli": [of(lambda x: torch.bernoulli(x.clamp(0, 1)), ROWS, random=True)],
    "rrelu": [of(lambda x: F.rrelu(x, training=False), ROWS)],
    "clamp": [
        of(lambda x: x.clamp(0.2, 0.7), ROWS),
        of(lambda x, low, high: torch.clamp(x, low, high), ROWS, (8, 1), (6,)),
        of(lambda x, high: torch.clamp(x, max=high), ROWS, (8, 6)),
    ],
    "clip": [of(lambda x, low: torch.clip(x, min=low), ROWS, (4, 8, 1))],
    "clamp_max": [of(lambda x: aten.clamp_max(x, 0.5), ROWS), of(aten.clamp_max, ROWS, (8, 1))],
    "clamp_min": [of(lambda x: aten.clamp_min(x, 0.5), ROWS), of(aten.clamp_min, ROWS, (8, 1))],
    "lerp": [of(lambda x, y: x.lerp(y, 0.3), ROWS, ROWS), of(torch.lerp, ROWS, (8, 6), (6,))],
    "masked_fill": [
        of(lambda x, mask: x.masked_fill(mask, 0.0), ROWS, Bools(ROWS)),
        of(lambda x, mask: x.masked_fill(mask, -1.0), ROWS, Bools((4, 1, 6))),
        of(lambda x, mask: x.masked_fill(mask, 7.0), ROWS, Bools((8, 1))),
        of(lambda x, mask: x.clone().masked_fill_(mask, 7.0), ROWS, Bools((6,))),
    ],
    "mvlgamma": [of(lambda x: aten.mvlgamma(x + 9, 2), ROWS)],
    "threshold": [of(lambda x: F.threshold(x, 0.4, 0.0), ROWS)],
    "to": [of(lambda x: x.to(torch.float32), ROWS)],
    "_to_copy": [of(lambda x: aten._to_copy(x, dtype=torch.float32), ROWS)],
    "type_as": [of(lambda x, y: x.type_as(y), ROWS, (6,))],
    "where": [
        of(torch.where, Bools(ROWS), ROWS, ROWS),
        of(torch.where, Bools((8, 1)), ROWS, (6,)),
        of(torch.where, Bools((4, 1, 6)), (4, 8, 1), ROWS),
        of(lambda mask, x: torch.where(mask, x, 0.0), Bools((8, 6)), ROWS),
    ],
    "requires_grad_": [of(lambda x: aten.requires_grad_(x, False), ROWS)],
    # What is made like a tensor.
    "zeros_like": [of(torch.zeros_like, ROWS)],
    "ones_like": [of(torch.ones_like, ROWS)],
    "empty_like": [of(lambda x: torch.empty_like(x).zero_(), ROWS)],
    "zero": [of(lambda x: x.clone().zero_(), ROWS)],
    "fill": [of(lambda x: x.clone().fill_(0.5), ROWS)],
    "copy": [
        of(lambda x, y: x.clone().copy_(y), ROWS, (8, 1)),
        of(lambda x, y: torch.empty_like(x).copy_(y), ROWS, ROWS),
    ],
    "full_like": [of(lambda x: torch.full_like(x, 0.5), ROWS)],
    "rand_like": [of(torch.rand_like, ROWS, random=True)],
    "randn_like": [of(torch.randn_like, ROWS, random=True)],
    "randint_like": [of(lambda x: torch.randint_like(x, 9), ROWS, random=True)],
    # Windows.
    "max_pool1d": [of(lambda x: F.max_pool1d(x, 2), ROWS)],
    "max_pool2d": [of(lambda x: F.max_pool2d(x, 2), IMAGE)],
    "max_pool3d": [of(lambda x: F.max_pool3d(x, 2), (4, 8, 6, 10, 2))],
    "max_pool1d_with_indices": [of(lambda x: F.max_pool1d(x, 2, return_indices=True), ROWS)],
    "max_pool2d_with_indices": [of(lambda x: F.max_pool2d(x, 2, return_indices=True), IMAGE)],
    "max_pool3d_with_indices": [
        of(lambda x: F.max_pool3d(x, 2, return_indices=True), (4, 8, 6, 10, 2))
    ],
    "avg_pool1d": [of(lambda x: F.avg_pool1d(x, 3, 1, 1), ROWS)],
    "avg_pool2d": [of(lambda x: F.avg_pool2d(x, 3, 1, 1), IMAGE)],
    "avg_pool3d": [of(lambda x: F.avg_pool3d(x, 2), (4, 8, 6, 10, 2))],
    "adaptive_max_pool1d": [of(lambda x: F.adaptive_max_pool1d(x, 3), ROWS)],
    "adaptive_max_pool2d": [of(lambda x: F.adaptive_max_pool2d(x, 3), IMAGE)],
    "adaptive_max_pool3d": [of(lambda x: F.adaptive_max_pool3d(x, 1), (4, 8, 6, 10, 2))],
    "adaptive_avg_pool1d": [of(lambda x: F.adaptive_avg_pool1d(x, 6), ROWS)],
    "adaptive_avg_pool2d": [of(lambda x: F.adaptive_avg_pool2d(x, 1), IMAGE)],
    "_adaptive_avg_pool2d": [of(lambda x: aten._adaptive_avg_pool2d(x, [3, 5]), IMAGE)],
    "adaptive_avg_pool3d": [of(lambda x: F.adaptive_avg_pool3d(x, 1), (4, 8, 6, 10, 2))],
    **{
        f"{kind}_pad{n}d": [
            of(lambda x, kind=kind, n=n: named(f"{kind}_pad{n}d")(x, [1, 0] * n), shape)
        ]
        for kind in ("reflection", "replication")
        for n, shape in ((1, ROWS), (2, IMAGE), (3, (4, 8, 6, 10, 2)))
    },
    "constant_pad_nd": [
        of(lambda x: aten.constant_pad_nd(x, [1, 2]), ROWS),
        of(lambda x: aten.constant_pad_nd(x, [0, 0, 2, 0]), ROWS),
        of(lambda x: aten.constant_pad_nd(x, [0, 0, -2, -1]), ROWS),
        of(lambda x: aten.constant_pad_nd(x, [0, 0, -2, 2]), ROWS),
        of(lambda x: aten.constant_pad_nd(x, [0, 0, 0, 0, 1, -1]), ROWS),
    ],
    "pad": [
        of(lambda x: aten.pad(x, [1, 1]), ROWS),
        of(lambda x: aten.pad(x, [1, -1]), ROWS),
        of(lambda x: F.pad(x, (1, 1, 2, 2), "circular"), IMAGE),
        of(lambda x: F.pad(x, (2, -2, -1, 1)), IMAGE),
    ],
    "upsample_nearest1d": [of(lambda x: F.interpolate(x, scale_factor=2.0), ROWS)],
    "upsample_nearest2d": [
        of(lambda x: F.interpolate(x, scale_factor=2.0), IMAGE),
        of(lambda x: F.interpolate(x, size=(6, 10)), IMAGE),
    ],
    "upsample_nearest3d": [of(lambda x: F.interpolate(x, scale_factor=2.0), (4, 8, 6, 10, 2))],
    "_upsample_nearest_exact1d": [
        of(lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact"), ROWS)
    ],
    "_upsample_nearest_exact2d": [
        of(lambda x: F.interpolate(x, scale_factor=1.5, mode="nearest-exact"), IMAGE)
    ],
    "_upsample_nearest_exact3d": [
        of(lambda x: F.interpolate(x, scale_factor=2.0, mode="nearest-exact"), (4, 8, 6, 10, 2))
    ],
    **{
        f"_upsample_{mode}2d_aa": [
            of(lambda x, m=mode: F.interpolate(x, size=(3, 5), mode=m, antialias=True), IMAGE)
        ]
        for mode in ("bilinear", "bicubic")
    },
    "upsample_linear1d": [of(lambda x: F.interpolate(x, size=7, mode="linear"), ROWS)],
    "upsample_bilinear2d": [
        of(lambda x: F.interpolate(x, size=(6, 10), mode="bilinear", antialias=False), IMAGE),
        of(lambda x: F.interpolate(x, scale_factor=0.5, mode="bilinear"), IMAGE),
    ],
    "upsample_bicubic2d": [of(lambda x: F.interpolate(x, size=(3, 5), mode="bicubic"), IMAGE)],
    "upsample_trilinear3d": [
        of(lambda x: F.interpolate(x, scale_factor=2, mode="trilinear"), (4, 8, 6, 10, 2))
    ],
    # Reductions.
    **{
        name: [
            of(lambda x, n=name: named(n)(x), ROWS),
            of(lambda x, n=name: named(n)(x, [1]), ROWS),
            of(lambda x, n=name: named(n)(x, dim=[-1, 1], keepdim=True), ROWS),
            of(lambda x, n=name: named(n)(x, [-1], True), ROWS),
            of(lambda x, n=name: named(n)(x, [0]), ROWS),
        ]
        for name in ("mean", "sum", "nanmean", "nansum")
    },
    **{
        name: [
            of(lambda x, n=name: named(n)(x, [1]), ROWS),
            of(lambda x, n=name: named(n)(x, [-1, 1], True), ROWS),
            of(lambda x, n=name: named(n)(x, dim=[0]), ROWS),
        ]
        for name in ("amax", "amin", "logsumexp")
    },
    **{
        name: [
            of(lambda x, n=name: named(n)(x), ROWS),
            of(lambda x, n=name: named(n)(x, 1), ROWS),
            of(lambda x, n=name: named(n)(x, -1, True), ROWS),
            of(lambda x, n=name: named(n)(x, dim=0), ROWS),
        ]
        for name in ("max", "min", "prod", "any", "all", "argmax", "argmin", "median")
    },
    "count_nonzero": [
        of(torch.count_nonzero, COUNTS),
        of(lambda x: torch.count_nonzero(x, dim=(0, 2)), COUNTS),
        of(lambda x: torch.count_nonzero(x, 1), COUNTS),
    ],
    **{
        name: [
            of(lambda x, n=name: named(n)(x), ROWS),
            of(lambda x, n=name: named(n)(x, True), ROWS),
            of(lambda x, n=name: named(n)(x, [1]), ROWS),
            of(lambda x, n=name: named(n)(x, [1], correction=0, keepdim=True), ROWS),
            of(lambda x, n=name: named(n)(x, [-1], False), ROWS),
            of(lambda x, n=name: named(n)(x, dim=[-1], unbiased=False, keepdim=True), ROWS),
            of(lambda x, n=name: named(n)(x, dim=None, correction=0), ROWS),
        ]
        for name in ("std", "var", "std_mean", "var_mean")
    },
    "norm": [
        of(lambda x: aten.norm(x, 2, [1], True), ROWS),
        of(lambda x: aten.norm(x, 2), ROWS),
        of(lambda x: aten.norm(x), ROWS),
        of(lambda x: aten.norm(x, 1, [-1]), ROWS),
        of(lambda x: torch.norm(x, dim=-1), ROWS),
    ],
    "linalg_vector_norm": [
        of(lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True), ROWS),
        of(lambda x: F.normalize(x, dim=-1), ROWS),
        of(lambda x: torch.linalg.vector_norm(x), ROWS),
        of(lambda x: aten.linalg_vector_norm(x, 1, [0, 2]), ROWS),
    ],
    "aminmax": [
        of(lambda x: torch.aminmax(x, dim=1), ROWS),
        of(lambda x: torch.aminmax(x, dim=-1, keepdim=True), ROWS),
        of(lambda x: torch.aminmax(x), ROWS),
    ],
    # Along one dimension.
    **{
        name: [
            of(lambda x, n=name: named(n)(x, 1, False), ROWS),
            of(lambda x, n=name: named(n)(x, -1, False), ROWS),
            of(lambda x, n=name: named(n)(x, 0, False), ROWS),
        ]
        for name in ("_softmax", "_log_softmax")
    },
    **{
        name: [
            of(lambda x, n=name: named(n)(x, 1), ROWS),
            of(lambda x, n=name: named(n)(x, dim=-1), ROWS),
            of(lambda x, n=name: named(n)(x, 0), ROWS),
        ]
        for name in ("softmax", "log_softmax", "cumsum", "cumprod", "logcumsumexp", "cummax")
    },
    "cummin": [of(lambda x: x.cummin(1), ROWS), of(lambda x: torch.cummin(x, dim=0), ROWS)],
    "_safe_softmax": [
        of(lambda x: aten._safe_softmax(x, 1), ROWS),
        of(lambda x: aten._safe_softmax(x, -1), ROWS),
    ],
    "sort": [
        of(lambda x: x.sort(), ROWS),
        of(lambda x: x.sort(1), ROWS),
        of(lambda x: torch.sort(x, dim=0, descending=True), ROWS),
        of(lambda x: torch.sort(x, stable=True, dim=1), ROWS),
    ],
    "argsort": [
        of(lambda x: x.argsort(), ROWS),
        of(lambda x: x.argsort(1), ROWS),
        of(lambda x: torch.argsort(x, dim=0, descending=True), ROWS),
        of(lambda x: torch.argsort(x, stable=True, dim=1), ROWS),
    ],
    "topk": [
        of(lambda x: x.topk(2), ROWS),
        of(lambda x: x.topk(3, 1), ROWS),
        of(lambda x: torch.topk(x, 8, dim=1), ROWS),
        of(lambda x: torch.topk(x, 2, dim=0), ROWS),
    ],
    "flip": [
        of(lambda x: x.flip(1), ROWS),
        of(lambda x: x.flip((-1, 1)), ROWS),
        of(lambda x: torch.flip(x, dims=[0]), ROWS),
    ],
    "roll": [
        of(lambda x: x.roll(1), ROWS),
        of(lambda x: x.roll(2, 1), ROWS),
        of(lambda x: x.roll((1, 2), (-1, 1)), ROWS),
        of(lambda x: torch.roll(x, shifts=1, dims=0), ROWS),
    ],
    # Views.
    **{
        name: [
            of(lambda x, n=name: named(n)(x, [x.shape[0], -1]), IMAGE),
            of(lambda x, n=name: named(n)(x, [4, 48, 10]), IMAGE),
            of(lambda x, n=name: named(n)(x, [4, 8, -1]), IMAGE),
            of(lambda x, n=name: named(n)(x, [x.shape[0], 2, -1, 6, 10]), IMAGE),
            of(lambda x, n=name: named(n)(x, [x.shape[0], -1, 4, 6, 10]), IMAGE),
            of(lambda x, n=name: named(n)(x, [4, 8, 3, 20]), IMAGE),
            of(lambda x, n=name: named(n)(x, [-1, *x.shape[2:]]), IMAGE),
            of(lambda x, n=name: named(n)(x, [-1]), IMAGE),
            of(lambda x, n=name: named(n)(x, [2, 2, *x.shape[1:]]), IMAGE),
            of(lambda x, n=name: named(n)(x, [*x.shape[:2], 1, 6, 10, 1]), IMAGE),
            of(lambda x, n=name: named(n)(x, [4, 6, 8, 10]), IMAGE),
        ]
        for name in ("view", "reshape", "_unsafe_view")
    },
    "_reshape_alias": [of(lambda x: aten._reshape_alias(x, [4, 48, 10], [480, 10, 1]), IMAGE)],
    "flatten": [
        of(lambda x: x.flatten(), IMAGE),
        of(lambda x: x.flatten(1), IMAGE),
        of(lambda x: x.flatten(2), IMAGE),
        of(lambda x: x.flatten(0, 1), IMAGE),
        of(lambda x: torch.flatten(x, start_dim=1, end_dim=-2), IMAGE),
        of(lambda x: x.flatten(0, 1).flatten(1), IMAGE),
        of(lambda x: x.transpose(1, 2).flatten(1, 2), IMAGE),
    ],
    "unflatten": [
        of(lambda x: x.unflatten(1, (2, 4)), ROWS),
        of(lambda x: x.unflatten(1, (2, -1)), ROWS),
        of(lambda x: x.unflatten(1, (-1, 2)), ROWS),
        of(lambda x: x.unflatten(-1, (3, 2)), ROWS),
        of(lambda x: x.unflatten(0, (2, 2)), ROWS),
        of(lambda x: x.unflatten(1, (2, 2, -1)), ROWS),
    ],
    "ravel": [of(torch.ravel, ROWS)],
    "reshape_as": [of(lambda x, y: x.reshape_as(y), (4, 48), ROWS)],
    "view_as": [of(lambda x, y: x.view_as(y), ROWS, (4, 48))],
    "permute": [
        of(lambda x: x.permute(0, 2, 1), ROWS),
        of(lambda x: torch.permute(x, (-1, 0, 1)), ROWS),
    ],
    **{
        name: [
            of(lambda x, n=name: named(n)(x, 1, 2), ROWS),
            of(lambda x, n=name: named(n)(x, -1, 0), ROWS),
        ]
        for name in ("transpose", "swapaxes", "swapdims")
    },
    "t": [of(lambda x: x.t(), FLAT), of(lambda x: x.t(), (8,))],
    **{
        name: [
            of(lambda x, n=name: named(n)(x, 1, -1), IMAGE),
            of(lambda x, n=name: named(n)(x, [0, -1], [1, 0]), IMAGE),
            of(lambda x, n=name: named(n)(x, [3, 1], [1, 2]), IMAGE),
        ]
        for name in ("movedim", "moveaxis")
    },
    "squeeze": [
        of(lambda x: x.squeeze(), (4, 1, 8, 1, 6)),
        of(lambda x: x.squeeze(1), (4, 1, 8, 1, 6)),
        of(lambda x: x.squeeze(-2), (4, 1, 8, 1, 6)),
        of(lambda x: x.squeeze((1, 3)), (4, 1, 8, 1, 6)),
        of(lambda x: x.squeeze(dim=2), (4, 1, 8, 1, 6)),
    ],
    "unsqueeze": [
        of(lambda x: x.unsqueeze(1), ROWS),
        of(lambda x: x.unsqueeze(-1), ROWS),
        of(lambda x: torch.unsqueeze(x, dim=0), ROWS),
    ],
    "expand": [
        of(lambda x: x.expand(-1, 8, -1), (4, 1, 6)),
        of(lambda x: x.expand(4, 8, 6), (8, 1)),
        of(lambda x: x.expand(2, -1, -1, -1), ROWS),
    ],
    "expand_as": [of(lambda x, y: x.expand_as(y), (8, 1), ROWS)],
    "broadcast_to": [of(lambda x: torch.broadcast_to(x, (4, 8, x.shape[-1])), (4, 1, 6))],
    "repeat": [
        of(lambda x: x.repeat(1, 2, 1), ROWS),
        of(lambda x: x.repeat(2, 1, 1, 3), ROWS),
        of(lambda x: x.repeat(2, 1, 1), ROWS),
        of(lambda x: x.repeat(1, 8, 1), (4, 1, 6)),
    ],
    "tile": [of(lambda x: x.tile((2,)), ROWS), of(lambda x: torch.tile(x, (2, 1, 1, 1)), ROWS)],
    "select": [
        of(lambda x: x[:, 2], ROWS),
        of(lambda x: x[..., -1], ROWS),
        of(lambda x: x.select(0, -2), ROWS),
        of(lambda x: x.select(dim=1, index=-3), ROWS),
    ],
    "unbind": [
        of(lambda x: x.unbind(1), ROWS),
        of(lambda x: x.unbind(-1), ROWS),
        of(lambda x: torch.unbind(x), ROWS),
        of(lambda x: torch.unbind(x, dim=2)[1], ROWS),
    ],
    "slice": [
        of(lambda x: x[:, 2:5], ROWS),
        of(lambda x: x[:, -3:], ROWS),
        of(lambda x: x[:, :-2], ROWS),
        of(lambda x: x[:, 3:99], ROWS),
        of(lambda x: x[:, :4].relu() + x[:, 4:], ROWS),
        of(lambda x: x[:, ::2], ROWS),
        of(lambda x: x[:, 1::3], ROWS),
        of(lambda x: x[1:], ROWS),
        of(lambda x: x[..., :3], ROWS),
        of(lambda x: x[:, : x.shape[1] // 2], ROWS),
        of(lambda x: x[:, 0:], ROWS),
        of(lambda x: aten.slice(x, dim=1, start=-4, end=None), ROWS),
        of(lambda x: aten.slice(x, 1, None, -4), ROWS),
    ],
    "narrow": [
        of(lambda x: x.narrow(1, 2, 3), ROWS),
        of(lambda x: x.narrow(-1, 0, 4), ROWS),
        of(lambda x: torch.narrow(x, dim=1, start=4, length=4), ROWS),
        of(lambda x: x.narrow(1, -3, 2), ROWS),
        of(lambda x: x.narrow(0, 1, 2), ROWS),
    ],
    "chunk": [
        of(lambda x: x.chunk(2, 1), ROWS),
        of(lambda x: x.chunk(3, 1), ROWS),
        of(lambda x: torch.chunk(x, 2, dim=-1), ROWS),
        of(lambda x: x.chunk(2), ROWS),
        of(lambda x: x.chunk(5, 1), ROWS),
        of(lambda x: torch.add(*x.chunk(2, 1)), ROWS),
    ],
    "split": [
        of(lambda x: x.split(4, 1), ROWS),
        of(lambda x: x.split(3, 1), ROWS),
        of(lambda x: torch.split(x, split_size_or_sections=2, dim=-1), ROWS),
        of(lambda x: x.split(2), ROWS),
        of(lambda x: x.split(x.shape[1] // 2, dim=1), ROWS),
    ],
    "split_with_sizes": [
        of(lambda x: x.split([2, 6], 1), ROWS),
        of(lambda x: x.split([1, 2, 3], -1), ROWS),
        of(lambda x: x.split([1, 3]), ROWS),
        of(lambda x: x.split([4, 4], 1), ROWS),
    ],
    "tensor_split": [
        of(lambda x: x.tensor_split(3, 1), ROWS),
        of(lambda x: x.tensor_split((2, 5), dim=1), ROWS),
        of(lambda x: torch.tensor_split(x, 2, dim=-1), ROWS),
        of(lambda x: x.tensor_split(2), ROWS),
        of(lambda x: x.tensor_split((5, 2), dim=1), ROWS),
        of(lambda x: x.tensor_split((-3, 99), dim=1), ROWS),
    ],
    "glu": [
        of(lambda x: F.glu(x, 1), ROWS),
        of(lambda x: F.glu(x), ROWS),
        of(lambda x: aten.glu(x, dim=0), ROWS),
    ],
    # Several tensors.
    "cat": [
        of(lambda x, y: torch.cat((x, y), 1), ROWS, (4, 2, 6)),
        of(lambda x, y: torch.cat((x, y), dim=-1), ROWS, (4, 8, 10)),
        of(lambda x, y: torch.cat([x, y]), ROWS, (2, 8, 6)),
        of(lambda x, y: torch.cat([y, x, x], 1), ROWS, (4, 2, 6)),
        of(lambda x: torch.cat([torch.empty(0, dtype=x.dtype), x, x], 1), ROWS),
        of(lambda x: torch.cat([x[:, :4], x[:, 4:]], 1), ROWS),
        of(lambda x: torch.cat([x[:, 8:], x[:, :8]], 1), ROWS),
    ],
    "concat": [of(lambda x, y: aten.concat([x, y], 1), ROWS, (4, 2, 6))],
    "concatenate": [of(lambda x, y: aten.concatenate([x, y], -1), ROWS, (4, 8, 10))],
    "stack": [
        of(lambda x, y: torch.stack((x, y)), ROWS, ROWS),
        of(lambda x, y: torch.stack((x, y), 1), ROWS, ROWS),
        of(lambda x, y: torch.stack([x, y, x], dim=-1), ROWS, ROWS),
        of(lambda x, y: torch.stack([x, y], dim=-2), ROWS, ROWS),
        of(lambda x, y: torch.stack([x, y], 2).flatten(1, 2), ROWS, ROWS),
    ],
    "matmul": [
        of(torch.matmul, ROWS, (4, 6, 10)),
        of(torch.matmul, ROWS, (6, 10)),
        of(torch.matmul, ROWS, (6,)),
        of(torch.matmul, (6,), (4, 6, 10)),
        of(torch.matmul, (2, 1, 8, 6), (5, 6, 10)),
        of(torch.matmul, FLAT, (8, 6)),
        of(lambda x: x.transpose(1, 2) @ x, ROWS),
        of(lambda x: x @ x.transpose(1, 2), ROWS),
        of(lambda x: x @ x.t(), FLAT),
        of(lambda x, y: x.matmul(y), (8, 10), (4, 10, 6)),
    ],
    "bmm": [of(torch.bmm, ROWS, (4, 6, 10)), of(torch.bmm, (2, 8, 4), (2, 4, 6))],
    "mm": [of(torch.mm, FLAT, (8, 6)), of(torch.mm, (8, 4), (4, 6)), of(torch.mm, (6, 8), (8, 4))],
    "linear": [
        of(F.linear, ROWS, (10, 6)),
        of(F.linear, ROWS, (10, 6), (10,)),
        of(F.linear, ROWS, (6,)),
        of(F.linear, (6,), (10, 6), (10,)),
        of(F.linear, FLAT, (4, 8)),
    ],
    "einsum": [
        of(lambda x, y: torch.einsum("bij,bjk->bik", x, y), ROWS, (4, 6, 10)),
        of(lambda x, y: torch.einsum("bij, jk -> bki", x, y), ROWS, (6, 10)),
        of(lambda x, y: torch.einsum("bij,bij->bj", x, y), ROWS, ROWS),
        of(lambda x: torch.einsum("bii->bi", x), (4, 8, 8)),
        of(lambda x: torch.einsum("b...->...b", x), ROWS),
        of(lambda x, y: torch.einsum("...i,ij->...j", x, y), ROWS, (6, 10)),
        of(lambda x: torch.einsum("bij->jib", x), ROWS),
        of(lambda x: torch.einsum("bij->ij", x), ROWS),
        of(lambda x, y: torch.einsum("bi,cj->bcij", x, y), FLAT, (4, 6)),
        of(lambda x, y: torch.einsum("bij,jk", x, y), ROWS, (6, 10)),
        of(lambda x, y: torch.einsum("bij,bjk->bik", x, y), ROWS, (1, 6, 10)),
    ],
    "scaled_dot_product_attention": [
        of(F.scaled_dot_product_attention, *[(4, 8, 6, 10)] * 3),
        of(F.scaled_dot_product_attention, (4, 8, 3, 10), (4, 8, 6, 10), (4, 8, 6, 12)),
        of(
            lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
            *[(4, 8, 6, 10)] * 3,
            (6, 6),
        ),
        of(
            lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask),
            *[(4, 8, 6, 10)] * 3,
            Bools((4, 1, 1, 6)),
        ),
        of(
            lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask, scale=0.3),
            *[(4, 8, 6, 10)] * 3,
            (8, 6, 6),
        ),
        of(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            *[(4, 8, 6, 10)] * 3,
        ),
        of(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
            (4, 8, 6, 10),
            *[(4, 2, 6, 10)] * 2,
        ),
        of(F.scaled_dot_product_attention, (4, 6, 10), (4, 6, 10), (4, 6, 12)),
        of(F.scaled_dot_product_attention, (6, 10), (6, 10), (6, 4)),
        of(F.scaled_dot_product_attention, (4, 8, 6, 10), (8, 6, 10), (8, 6, 10)),
    ],
    "pixel_shuffle": [
        of(lambda x: F.pixel_shuffle(x, 2), IMAGE),
        of(lambda x: F.pixel_shuffle(x, 2), (8, 4, 6)),
        of(lambda x: F.pixel_shuffle(x, 2), (2, 4, 8, 6, 10)),
    ],
    "pixel_unshuffle": [
        of(lambda x: F.pixel_unshuffle(x, 2), IMAGE),
        of(lambda x: F.pixel_unshuffle(x, 2), (8, 4, 6)),
    ],
    "channel_shuffle": [of(lambda x: F.channel_shuffle(x, 2), IMAGE)],
    "im2col": [
        of(lambda x: F.unfold(x, 2), IMAGE),
        of(lambda x: F.unfold(x, (3, 2), padding=1, stride=2), IMAGE),
    ],
    "index_select": [
        of(lambda x, at: x.index_select(1, at), ROWS, Ints((5,), 8)),
        of(lambda x, at: torch.index_select(x, dim=-1, index=at), ROWS, Ints((6,), 6)),
        of(lambda x, at: x.index_select(0, at), ROWS, Ints((2,), 4)),
    ],
    # What is made of sizes alone, and joined with what came in.
    "zeros": [of(lambda x: x + torch.zeros(8, 1, dtype=x.dtype), ROWS)],
    "ones": [of(lambda x: x * torch.ones(x.shape[1], 1, dtype=x.dtype), ROWS)],
    "empty": [of(lambda x: x + torch.empty(6, dtype=x.dtype).zero_(), ROWS)],
    "full": [of(lambda x: x + torch.full((4, 8, 6), 0.5, dtype=x.dtype), ROWS)],
    "arange": [of(lambda x: x + torch.arange(x.shape[1])[:, None], ROWS)],
    "rand": [of(lambda x: x + torch.rand(6, dtype=x.dtype), ROWS, random=True)],
    "randn": [of(lambda x: x + torch.randn(6, dtype=x.dtype), ROWS, random=True)],
    "randint": [of(lambda x: x + torch.randint(9, (6,)), ROWS, random=True)],
    "randperm": [of(lambda x: x + torch.randperm(6), ROWS, random=True)],
    "eye": [of(lambda x: x + torch.eye(8, 6, dtype=x.dtype), ROWS)],
    "linspace": [of(lambda x: x + torch.linspace(0, 1, 6, dtype=x.dtype), ROWS)],
    "scalar_tensor": [of(lambda x: x + aten.scalar_tensor(0.5, dtype=x.dtype), ROWS)],
    "constant": [of(lambda x: x * torch.tensor(0.5), ROWS)],
    "new_zeros": [of(lambda x: x + x.new_zeros(x.shape), ROWS)],
    "new_ones": [of(lambda x: x + x.new_ones(8, 6), ROWS)],
    "new_empty": [of(lambda x: x + x.new_empty(8, 6).zero_(), ROWS)],
    "new_full": [of(lambda x: x + x.new_full((6,), 0.5), ROWS)],
    "empty_strided": [
        of(lambda x: x + torch.empty_strided((8, 6), (6, 1), dtype=x.dtype).zero_(), ROWS)
    ],
    "empty_permuted": [
        of(lambda x: x + torch.empty_permuted((8, 6), (1, 0), dtype=x.dtype).zero_(), ROWS)
    ],
    "tril": [
        of(torch.tril, IMAGE),
        of(lambda x: x + torch.ones(8, 6, dtype=x.dtype).tril(), ROWS),
        of(lambda x: x.tril(-1), FLAT),
    ],
    "triu": [
        of(torch.triu, IMAGE),
        of(lambda x: torch.triu(x, diagonal=1), FLAT),
        of(lambda x: x + torch.ones(8, 6, dtype=x.dtype).triu(), ROWS),
    ],
}

# Forms of operations that the table does not know, or that are something else than their name.
MORE: list[Example] = [
    of(lambda x: x.view(torch.int64), ROWS),
    of(lambda x: x.view(torch.float32), ROWS),
    of(lambda x, at: x[:, at], ROWS, Ints((5,), 8)),
    of(lambda x, at: F.embedding(at, x), (8, 6), Ints((4, 10), 8)),
    of(lambda x, at: x.gather(1, at), ROWS, Ints((4, 5, 6), 8)),
    of(lambda x, y: torch.cdist(x, y), ROWS, (4, 10, 6)),
    of(lambda x: torch.fft.rfft(x, dim=1).abs(), ROWS),
    of(lambda x: x.repeat_interleave(2, 1), ROWS),
    of(lambda x: x.diagonal(dim1=1, dim2=2), ROWS),
    of(lambda x: x.unfold(1, 2, 2), ROWS),
    of(lambda x: x.clone().mul_(2).add_(x), ROWS),
    of(lambda x: torch.outer(x.sum((1, 2)), x.sum((0, 2))), ROWS),
    of(lambda x: F.instance_norm(x), ROWS),
    of(lambda x: F.layer_norm(x, (6,)), ROWS),
    of(lambda x: F.batch_norm(x, None, None, training=True), ROWS),
    of(lambda x: F.group_norm(x, 2), ROWS),
    of(lambda x, y: F.prelu(x, y), ROWS, (8,)),
    of(lambda x, w: F.conv1d(x, w), ROWS, (10, 8, 3)),
    of(lambda x, w: F.bilinear(x, x, w), ROWS, (10, 6, 6)),
    of(lambda x: torch.atleast_3d(x), FLAT),
    of(lambda x: x.unsqueeze(0).squeeze(0), ROWS),
    of(lambda x, y: torch.addmm(y, x, x.t() @ x), FLAT, (8,)),
    of(lambda x: torch.max(x, x.flip(1)), ROWS),
    of(lambda x: torch.hstack((x, x)), ROWS),
    of(lambda x: torch.meshgrid(x[:, 0], x[0], indexing="ij"), FLAT),
    of(lambda x, y: x.t() @ y, FLAT, (4, 6)),
    # A row of rows is another row after them than before.
    of(lambda x: x.repeat(2, 1) + x.repeat_interleave(2, 0), FLAT),
    of(lambda x: x.flatten(0, 1) + x.transpose(0, 1).flatten(0, 1), ROWS),
    of(lambda x: x.expand(2, 4, 8).flatten(0, 1) + x[:, None].expand(4, 2, 8).flatten(0, 1), FLAT),
    of(lambda x: x.view(2, 2, 8).transpose(0, 1).flatten(0, 1) + x, FLAT),
    of(lambda x: torch.cat([x, x], 0), FLAT),
    of(lambda x: x[None] - x[:, None], FLAT),
    of(lambda x: x.view(4, 2, 4).transpose(1, 2).flatten(1) + x, FLAT),
    of(lambda x: x.view(4, 2, 4).transpose(1, 2).flatten(1), FLAT),
]
