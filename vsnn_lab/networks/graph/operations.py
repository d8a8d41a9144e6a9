"""What torch's core operations do with the dimensions of their tensors: a table.

Each line of `OPERATIONS` names operations that treat dimensions alike, the rule that says how, and
what it means for units. The tests perturb single units of each operation's inputs and see whether
more moves than the table says. What is not in it fixes all that reaches it.
"""

from typing import Any, NamedTuple

from torch import Tensor, fx

from vsnn_lab.networks.graph import rules_of_values as values
from vsnn_lab.networks.graph import rules_of_views as views
from vsnn_lab.networks.graph.calls import Rule


class Operation(NamedTuple):
    """A line of the table.

    Attributes:
        rule: How dimensions go through.
        meaning: The same in words.
        sizes: Whether numbers among the arguments may differ at another width, since the sizes of
            what it gives tell all that they say.
    """

    rule: Rule
    meaning: str
    sizes: bool = False


# Entry by entry.
_EACH = """
abs acos acosh add addcdiv addcmul alias alpha_dropout asin asinh atan atan2 atanh bernoulli
bitwise_and bitwise_not bitwise_or bitwise_xor ceil celu clamp clamp_max clamp_min clip clone
contiguous copy copysign cos cosh deg2rad detach div divide dropout elu eq erf erfc erfinv exp exp2
expm1 feature_alpha_dropout feature_dropout float_power floor floor_divide fmax fmin fmod frac ge
gelu gt hardshrink hardsigmoid hardswish hardtanh heaviside hypot isfinite isinf isnan ldexp le
leaky_relu lerp lgamma lift_fresh_copy log log10 log1p log2 log_sigmoid logaddexp
logaddexp2 logical_and logical_not logical_or logical_xor logit lt masked_fill maximum minimum
mish mul multiply mvlgamma nan_to_num native_dropout ne neg negative nextafter positive pow
rad2deg reciprocal relu relu6 remainder requires_grad_ resolve_conj resolve_neg round rrelu rsqrt
rsub selu sgn sigmoid sign signbit silu sin sinc sinh softplus softshrink special_expit sqrt
square sub subtract tan tanh threshold to true_divide trunc type_as where xlogy _conj _neg_view
_to_copy
"""

_LINES: list[tuple[str, Rule, str, bool]] = [
    (_EACH, values.each, "each entry is made of those in its place", False),
    (
        "zeros_like ones_like empty_like full_like rand_like randn_like randint_like zero fill",
        values.like,
        "dimensions are those of the tensor that it is like",
        False,
    ),
    (
        " ".join(values.WINDOWED) + " constant_pad_nd pad",
        values.windows,
        "channels stay apart; entries along an image are mixed",
        False,
    ),
    (
        "mean sum amax amin max min prod any all std var norm linalg_vector_norm logsumexp argmax "
        "argmin median nanmean nansum count_nonzero std_mean var_mean aminmax",
        values.reduce,
        "the dimensions that are summed over are mixed",
        False,
    ),
    (
        "softmax _softmax log_softmax _log_softmax cumsum cumprod sort argsort topk flip roll "
        "_safe_softmax logcumsumexp cummax cummin",
        values.along,
        "one dimension is mixed",
        False,
    ),
    (
        "view reshape flatten unflatten _unsafe_view _reshape_alias ravel reshape_as view_as",
        views.view,
        "neighbouring dimensions become one, or one becomes several",
        True,
    ),
    (
        "permute transpose swapaxes swapdims t",
        views.permute,
        "dimensions change places",
        False,
    ),
    ("movedim moveaxis", views.move, "dimensions change places", False),
    ("squeeze unsqueeze", views.squeeze, "dimensions of one entry come or go", False),
    ("expand expand_as broadcast_to", views.expand, "dimensions of one entry are repeated", True),
    ("repeat tile", views.repeat, "a row of units stands there several times", True),
    ("select unbind", views.select, "one entry of a dimension that stays", False),
    ("slice narrow", views.slice_, "neighbouring entries: an axis is split", False),
    (
        "chunk split split_with_sizes tensor_split",
        views.split,
        "neighbouring parts: an axis is split, into equal parts unless sizes are given",
        True,
    ),
    ("cat concat concatenate", views.cat, "a sum of axes", False),
    ("glu", views.halves, "the first half of a dimension is weighed by the second", False),
    ("stack", views.stack, "tensors side by side are united", False),
    ("matmul bmm mm", values.matmul, "the dimension between two matrices is mixed", False),
    ("linear", values.linear, "a matrix that is no layer's mixes the last dimension", False),
    ("einsum", values.einsum, "letters that do not come back are mixed, others united", False),
    ("scaled_dot_product_attention", values.attention, "heads and values stay apart", False),
    ("pixel_shuffle", views.shuffle, "groups of channels become pixels", False),
    ("pixel_unshuffle", views.unshuffle, "pixels become neighbouring channels", False),
    ("channel_shuffle", views.interleave, "groups of channels are interleaved", False),
    (
        "zeros ones empty full arange rand randn randint eye scalar_tensor linspace "
        "constant new_zeros new_ones new_empty new_full empty_strided empty_permuted randperm",
        values.made,
        "what is made of sizes alone stays",
        False,
    ),
    ("tril triu", values.triangle, "entries are left out by their places", False),
    ("im2col", views.patches, "each channel becomes the entries of a patch", False),
    ("index_select", values.index_select, "the dimension that is indexed is mixed", False),
]

OPERATIONS: dict[str, Operation] = {
    name: Operation(rule, meaning, sizes)
    for names, rule, meaning, sizes in _LINES
    for name in names.split()
}
"""What is known of torch's operations, by name; one in place is named as the other."""


def operation(name: str) -> Operation | None:
    """Return what is known of an operation, in place or not."""
    return OPERATIONS.get(name) or OPERATIONS.get(name.removesuffix("_"))


def sizes_of(value: Any) -> list[tuple[int, ...]]:
    """Return the sizes of what a node gives, one tuple for each tensor."""
    if isinstance(value, Tensor):
        return [tuple(map(int, value.shape))]
    if isinstance(value, list | tuple):
        return [size for each in value for size in sizes_of(each)]
    return []


def value_of(node: fx.Node) -> Any:
    """Return the tensors of sizes alone that a node gives."""
    return node.meta.get("val")
