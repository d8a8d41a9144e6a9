"""The axes of a layer in words: what it takes and gives, and of what of it how much may go."""

from typing import Any

from torch import nn

from vsnn_lab.layers import VariableLayer
from vsnn_lab.widths import Width

# The sizes of torch's own layers, in the order in which they are said.
_SIZES = (
    ("in_features", "out_features"),
    ("in_channels", "out_channels"),
    ("num_embeddings", "embedding_dim"),
    ("input_size", "hidden_size"),
    ("embed_dim",),
    ("num_features",),
    ("num_channels",),
    ("normalized_shape",),
    ("num_parameters",),
)
_CHANNELS = (nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.PReLU)


def axes_in_words(module: nn.Module) -> str:
    """Return what a layer takes and gives, such as ``"3 -> 2..64 channels"``.

    Of an axis that varies the fewest and the most elements are said that a position keeps; a sum is
    that of a concatenation.
    """
    axes = _axes(module)
    if not axes:
        return ""
    if isinstance(module, nn.Embedding):
        axes[0] += " rows"
    unit = "channels" if isinstance(module, _CHANNELS) else "features"
    return f"{' -> '.join(axes)} {unit}"


def _axes(module: nn.Module) -> list[str]:
    if isinstance(module, VariableLayer):
        names = [name for name in module.own_attributes if name.endswith("axis")]
        held = {name: vars(module).get(name) for name in names}
        axes = {name: axis for name, axis in held.items() if isinstance(axis, int | Width)}
        if "axis" in axes:
            return [_words(axes["axis"])]
        if axes and axes.keys() <= {"in_axis", "out_axis"}:
            return [_words(axes[name]) for name in ("in_axis", "out_axis") if name in axes]
        if axes:
            return [
                ", ".join(
                    f"{name.removesuffix('_axis')} {_words(axis)}" for name, axis in axes.items()
                )
            ]
    for sizes in _SIZES:
        if all(hasattr(module, size) for size in sizes):
            return [_words(getattr(module, size)) for size in sizes]
    return []


def _words(axis: Any) -> str:
    if isinstance(axis, Width):
        parts = []
        for part in axis.parts:
            fewest = part.size if part.control is None else part.kept(1)
            parts.append(str(fewest) if fewest == part.size else f"{fewest}..{part.size}")
        return " + ".join(parts)
    if isinstance(axis, tuple):
        return " x ".join(map(str, axis))
    return str(axis)
