"""A language model any of whose sizes may be a `Width`: feed-forward, heads, the model's width."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_choice,
    check_collection,
    check_int,
    check_number,
    check_tensor,
)
from vsnn_lab.layers import ConditionedRMSNorm, VariableEmbedding, VariableLinear, VariableRMSNorm
from vsnn_lab.layers.octaves import Per
from vsnn_lab.networks.plain_language_model import (
    KeyValueCache,
    PlainLanguageModel,
    PlainLayers,
)
from vsnn_lab.widths import Width, WidthControl, check_axis, full_size, knobs_of

Axis = int | Width
_EPS = 1e-5  # as `PlainLayers` has it
_STD = 0.02


class _VariableLayers(PlainLayers):
    """Layers of axes, torch's own where all of them are fixed."""

    def __init__(self, controls: Sequence[WidthControl], gains: Per | None) -> None:
        # A model of one width has a gain of its own, too, for a comparison on equal terms.
        self.controls, self.gains = controls or [WidthControl(1)], gains

    def linear(self, fan_in: Axis, fan_out: Axis) -> nn.Linear:
        varies = isinstance(fan_in, Width) or isinstance(fan_out, Width)
        if varies:
            return VariableLinear(fan_in, fan_out, bias=False)
        return super().linear(fan_in, fan_out)

    def norm(self, size: Axis) -> nn.RMSNorm:
        if self.gains is not None:
            return ConditionedRMSNorm(size, self.controls, self.gains, eps=_EPS)
        return VariableRMSNorm(size, eps=_EPS) if isinstance(size, Width) else super().norm(size)

    def embedding(self, rows: int, size: Axis) -> nn.Embedding:
        varies = isinstance(size, Width)
        return VariableEmbedding(rows, size) if varies else super().embedding(rows, size)


class LanguageModel(PlainLanguageModel):
    """A decoder-only language model whose feed-forward, heads and width may each be a `Width`.

    Each block normalises (RMSNorm), attends with rotary positions and adds, then normalises,
    applies SwiGLU and adds; the head is the table of tokens. Its arithmetic is Llama's: a cut is a
    `vsnn_lab.networks.plain_language_model.PlainLanguageModel` of that size, whose file needs
    nothing but torch, and `to_transformers` makes a Llama of it.

    Heads are cut whole, with all their queries. Axes may stand on one knob or several; lists have
    one for each layer.

    Args:
        vocabulary: Tokens.
        layers: Blocks.
        width: Axis of a token's vector, the model's width: an int, or a `Width`.
        heads: Axis of the heads of keys and values, or one for each layer.
        ffn: Axis of the feed-forward network's units, or one for each layer.
        queries_per_head: Heads of queries that share one of keys and values (grouped queries); 1 is
            ordinary attention.
        head_dim: Entries of a head, even; by default the width divided by the heads of queries.
        gains: Whether norms have a gain for each "position" of the knobs, for each "octave", or
            None (`ConditionedRMSNorm`). A model without knobs has one gain then, and a knob of a
            single position.
        base: Of the rotary positions' wavelengths.

    Shape:
        Tokens (batch, time) to logits (batch, time, vocabulary), with a
        `vsnn_lab.networks.plain_language_model.KeyValueCache` those of the tokens that are new. A
        cache belongs to the width that it was filled at.

    Raises:
        TypeError: If a size is neither an integer nor a `Width`.
        ValueError: If sizes do not fit each other.

    References:
        Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", for the weights
        that a model begins with; Devvrit et al. 2023, "MatFormer", arXiv 2310.07707, for nested
        feed-forward networks of language models; the plain model names those of its parts.

    Example:
        >>> from vsnn_lab import WidthControl, at_width, extract
        >>> knob = WidthControl(6)
        >>> model = LanguageModel(64, layers=2, width=48, heads=knob.axis(6), ffn=knob.axis(96))
        >>> with at_width(model, 2):
        ...     model(torch.zeros(1, 5, dtype=torch.long)).shape
        torch.Size([1, 5, 64])
        >>> extract(model, 2).layers[0].mlp.down_proj
        Linear(in_features=32, out_features=48, bias=False)
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        layers: int = 3,
        width: Axis = 192,
        heads: Axis | Sequence[Axis] = 6,
        ffn: Axis | Sequence[Axis] = 576,
        queries_per_head: int = 1,
        head_dim: int | None = None,
        gains: Per | None = "position",
        base: float = 10_000.0,
    ) -> None:
        vocabulary, layers = check_int("vocabulary", vocabulary), check_int("layers", layers)
        queries = check_int("queries_per_head", queries_per_head)
        check_axis("width", width)
        head_axes, ffn_axes = _for_layers("heads", heads, layers), _for_layers("ffn", ffn, layers)
        if gains is not None:
            check_choice("gains", gains, ("position", "octave"))
        check_number("base", base, 1)
        if head_dim is None:
            entries, count = full_size(width), full_size(head_axes[0]) * queries
            if entries % count:
                raise ValueError(
                    f"width must be a multiple of the {count} heads of queries, got {entries}; "
                    "head_dim gives heads a size of their own"
                )
            head_dim = entries // count
        if check_int("head_dim", head_dim) % 2:
            raise ValueError(f"head_dim must be even for rotary positions, got {head_dim}")
        super().__init__(
            *(vocabulary, width, head_axes, ffn_axes, queries, head_dim, base),
            layers=_VariableLayers(knobs_of(width, *head_axes, *ffn_axes), gains),
        )
        self.out_axis = vocabulary
        self._draw_first_weights()

    @torch.no_grad()
    def _draw_first_weights(self) -> None:
        # As in GPT-2: what blocks add is no larger at first than the vectors of tokens, and logits
        # begin near zero. With torch's own linear layers, twice as wide, a model of 1.6 million
        # parameters needed 2.41 bits per byte after 300 steps, with these 2.04.
        for name, weight in self.named_parameters():
            if name.endswith(("_proj.weight", "_tokens.weight")):
                last = name.endswith(("o_proj.weight", "down_proj.weight"))
                nn.init.normal_(weight, 0, _STD / (math.sqrt(2 * len(self.layers)) if last else 1))

    @property
    def standing(self) -> tuple[Any, ...]:
        """Where the knobs stand, each at a position or at one for each sample."""
        positions = (each.position for each in knobs_of(self.width, *self.heads, *self.ffn))
        return tuple(p if isinstance(p, int) else tuple(p.tolist()) for p in positions)

    def check(self, tokens: Tensor, cache: KeyValueCache | None) -> None:
        """Refuse what is no batch of tokens, and a cache of another model or width."""
        check_tensor("tokens", tokens)
        super().check(tokens, cache)


def _for_layers(name: str, axis: Axis | Sequence[Axis], layers: int) -> list[Axis]:
    """Return an axis for each layer, or say what is wrong with them."""
    if not isinstance(axis, list | tuple):
        return [check_axis(name, axis)] * layers
    check_collection(name, axis, "axes")
    if len(axis) != layers:
        raise ValueError(f"{name} must name one axis for each of {layers} layers, got {len(axis)}")
    return [check_axis(name, each) for each in axis]
