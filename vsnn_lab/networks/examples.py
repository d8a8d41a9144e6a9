"""What a network takes: as it is given, or made for its first layer."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from vsnn_lab._basics.checks import short_repr
from vsnn_lab.networks.graph.sizes_alone import run_on_sizes
from vsnn_lab.networks.restoring import restored

# In the order in which they are tried: what images people have, and small ones.
_IMAGES = (32, 28, 64, 96, 128, 224, 299, 16, 8, 12)
_LENGTHS = (32, 16, 64, 128, 8, 256)
_TOKENS = 5
_SAMPLES = 2


class Example(NamedTuple):
    """The arguments of a forward.

    Attributes:
        args: By place.
        options: By name.
        given: Whether they are the user's own.
    """

    args: tuple[Any, ...]
    options: dict[str, Any]
    given: bool


def find_examples(model: nn.Module, example: Any) -> Iterator[Example]:
    """List the arguments that ``example`` stands for, or all that fit one of the first layers.

    Raises:
        TypeError: If ``example`` is neither a tensor, a tuple nor a dict.
        ValueError: If none is given and none can be made.
    """
    if example is not None:
        yield _given(example)
        return
    found = False
    for guess in _guesses(model):
        if _runs(model, guess):
            found = True
            # Numbers of some spread, so that a deviation shows.
            noise = torch.Generator().manual_seed(0)
            if guess.is_floating_point():
                values = torch.randn(guess.shape, generator=noise, dtype=torch.float64)
                guess = values.to(guess.device, guess.dtype)
            yield Example((guess,), {}, False)
    if found:
        return
    needed = _needed(model)
    more = f": its forward takes {', '.join(needed)}" if len(needed) > 1 else ""
    raise ValueError(
        f"example must be given for this network{more}; make_variable(model, inputs) takes a "
        "tensor, a tuple or a dict of what the model takes"
    )


def _given(example: Any) -> Example:
    try:
        pytree.tree_leaves(example)
    except RecursionError as error:
        raise ValueError(f"example must not hold itself, got {short_repr(example)}") from error
    if isinstance(example, Tensor):
        return Example((example,), {}, True)
    if isinstance(example, Mapping):
        return Example((), dict(example), True)
    if isinstance(example, tuple | list):
        return Example(tuple(example), {}, True)
    raise TypeError(
        f"example must be a tensor, a tuple or a dict of arguments, got {short_repr(example)}"
    )


def _needed(model: nn.Module) -> list[str]:
    """Return the arguments that a forward cannot do without."""
    parameters = inspect.signature(model.forward).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in kinds]


def _runs(model: nn.Module, guess: Tensor) -> bool:
    try:
        with restored(model):
            run_on_sizes(model.eval(), (guess,), {})
    except Exception:
        # Whatever it is, this is not what the network takes.
        return False
    return True


def _guesses(model: nn.Module) -> Iterator[Tensor]:
    weight = next(model.parameters(), torch.empty(0))
    dtype = weight.dtype if weight.is_floating_point() else torch.float32
    seen: set[object] = set()
    for module in model.modules():
        for shape in _shapes(module):
            if shape not in seen:
                seen.add(shape)
                yield torch.zeros(shape, dtype=dtype, device=weight.device)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            for sizes in ((_SAMPLES, _TOKENS), (_SAMPLES,)):
                yield torch.zeros(sizes, dtype=torch.long, device=weight.device)


def _shapes(module: nn.Module) -> Iterator[tuple[int, ...]]:
    """List shapes of inputs that a module may take."""
    samples = _SAMPLES
    if isinstance(module, nn.Linear):
        yield from ((samples, module.in_features), (samples, _TOKENS, module.in_features))
    elif isinstance(module, nn.modules.conv._ConvNd):
        dims = len(module.kernel_size)
        for size in {1: _LENGTHS, 2: _IMAGES, 3: (8, 16, 32)}[dims]:
            yield (samples, module.in_channels, *[size] * dims)
    elif isinstance(module, nn.modules.batchnorm._NormBase):
        for size in _IMAGES:
            yield (samples, module.num_features, size, size)
        yield from ((samples, module.num_features), (samples, module.num_features, 8))
    elif isinstance(module, nn.LayerNorm | nn.RMSNorm):
        yield from (
            (samples, *module.normalized_shape),
            (samples, _TOKENS, *module.normalized_shape),
        )
    elif isinstance(module, nn.GroupNorm):
        yield (samples, module.num_channels, 8, 8)
    elif isinstance(module, nn.RNNBase):
        yield (samples, _TOKENS, module.input_size)
    elif isinstance(module, nn.MultiheadAttention):
        yield (samples, _TOKENS, module.embed_dim)
