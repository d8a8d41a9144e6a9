"""A decoder-only language model of torch's own layers.

This file needs nothing but torch, so that it may be copied to wherever a submodel goes. Names of
parameters are those of Hugging Face's Llama, whose arithmetic this is.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PlainLayers:
    """What a language model is built of."""

    def linear(self, fan_in: Any, fan_out: Any) -> nn.Linear:
        """Return a linear layer without a bias."""
        return nn.Linear(fan_in, fan_out, bias=False)

    def norm(self, size: Any) -> nn.RMSNorm:
        """Return a norm over the model's width."""
        return nn.RMSNorm(size, eps=1e-5)

    def embedding(self, rows: int, size: Any) -> nn.Embedding:
        """Return a table of vectors."""
        return nn.Embedding(rows, size)


class KeyValueCache:
    """Keys and values of the tokens that a model has read, at one width.

    Attributes:
        length: Tokens read; `truncate` forgets the last of them.
        reader: Which model read them, and at which width; no other can read on.
    """

    def __init__(self) -> None:
        self.length = 0
        self.reader: Any = None
        self._layers: list[tuple[Tensor, Tensor]] = []

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write what a layer makes of the next tokens; return that of all tokens so far.

        Keys and values have shape (batch, heads, tokens, entries).
        """
        end, start = self.length + keys.shape[2], self.length
        if layer == len(self._layers):
            self._layers.append((_with_room(keys, None, 0), _with_room(values, None, 0)))
        rooms = self._layers[layer]
        held = tuple(rooms[0].shape[:2])
        if held != keys.shape[:2]:  # A single row or head would be taken for all.
            raise ValueError(f"cache must hold {(*keys.shape[:2],)} rows and heads, got {held}")
        if rooms[0].shape[2] < end:
            rooms = _with_room(keys, rooms[0], start), _with_room(values, rooms[1], start)
            self._layers[layer] = rooms
        rooms[0][:, :, start:end], rooms[1][:, :, start:end] = keys, values
        return rooms[0][:, :, :end], rooms[1][:, :, :end]

    def truncate(self, length: int) -> None:
        """Forget all but the first tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"length must lie in 0..{self.length}, got {length}")
        self.length = length


def _with_room(new: Tensor, old: Tensor | None, length: int) -> Tensor:
    """Return what there is of some tokens, with room for twice as many as are to come."""
    room = new.new_empty(*new.shape[:2], 2 * (length + new.shape[2]), new.shape[3])
    if old is not None:
        room[:, :, :length] = old[:, :, :length]
    return room


class Attention(nn.Module):
    """Causal attention with rotary positions, each head of keys and values serving its queries."""

    def __init__(
        self, width: Any, heads: Any, queries_per_head: int, head_dim: int, layers: PlainLayers
    ) -> None:
        super().__init__()
        self.head_dim, self.grouped = head_dim, queries_per_head > 1
        self.q_proj = layers.linear(width, heads * (queries_per_head * head_dim))
        self.k_proj = layers.linear(width, heads * head_dim)
        self.v_proj = layers.linear(width, heads * head_dim)
        self.o_proj = layers.linear(heads * (queries_per_head * head_dim), width)

    def forward(self, x: Tensor, rotation: Tensor, cache: KeyValueCache | None, at: int) -> Tensor:
        """Attend to the tokens before, those that the cache holds included."""
        q, k, v = (
            part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for part in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        q, k = _rotate(q, rotation), _rotate(k, rotation)
        start, mask = 0, None
        if cache is not None:
            start = cache.length
            k, v = cache.append(at, k, v)
        if start and q.shape[2] > 1:
            mask = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool, device=x.device).tril(start)
        found = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=not start, enable_gqa=self.grouped
        )
        return self.o_proj(found.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU: a linear layer, gated by another through a SiLU."""

    def __init__(self, width: Any, ffn: Any, layers: PlainLayers) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = layers.linear(width, ffn), layers.linear(width, ffn)
        self.down_proj = layers.linear(ffn, width)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to each token."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention, then a feed-forward network, each after a norm and added to what came in."""

    def __init__(
        self,
        width: Any,
        heads: Any,
        ffn: Any,
        queries_per_head: int,
        head_dim: int,
        layers: PlainLayers,
    ) -> None:
        super().__init__()
        self.input_layernorm = layers.norm(width)
        self.self_attn = Attention(width, heads, queries_per_head, head_dim, layers)
        self.post_attention_layernorm = layers.norm(width)
        self.mlp = FeedForward(width, ffn, layers)

    def forward(self, x: Tensor, rotation: Tensor, cache: KeyValueCache | None, at: int) -> Tensor:
        """Apply both."""
        x = x + self.self_attn(self.input_layernorm(x), rotation, cache, at)
        return x + self.mlp(self.post_attention_layernorm(x))


class PlainLanguageModel(nn.Module):
    """A decoder-only language model: pre-norm, rotary positions, SwiGLU, a tied head.

    Args:
        vocabulary: Tokens.
        width: Entries of a token's vector.
        heads: Heads of keys and values, in each layer.
        ffn: Units of the feed-forward network, in each layer.
        queries_per_head: Heads of queries that share one head of keys and values.
        head_dim: Entries of a head, even.
        base: Of the rotary positions' wavelengths.
        layers: What it is built of; torch's layers by default.

    References:
        Touvron et al. 2023, "LLaMA", arXiv 2302.13971; Su et al. 2021, "RoFormer", arXiv
        2104.09864; Shazeer 2020, "GLU Variants Improve Transformer", arXiv 2002.05202; Ainslie et
        al. 2023, "GQA", arXiv 2305.13245.
    """

    def __init__(
        self,
        vocabulary: int,
        width: Any,
        heads: Sequence[Any],
        ffn: Sequence[Any],
        queries_per_head: int = 1,
        head_dim: int = 32,
        base: float = 10_000.0,
        layers: PlainLayers | None = None,
    ) -> None:
        super().__init__()
        made = PlainLayers() if layers is None else layers
        self.vocabulary, self.width, self.heads, self.ffn = vocabulary, width, [*heads], [*ffn]
        self.queries_per_head, self.head_dim, self.base = queries_per_head, head_dim, base
        self.embed_tokens = made.embedding(vocabulary, width)
        self.layers = nn.ModuleList(
            Block(width, *sizes, queries_per_head, head_dim, made)
            for sizes in zip(heads, ffn, strict=True)
        )
        self.norm = made.norm(width)
        self.lm_head = made.linear(width, vocabulary)
        self.lm_head.weight = self.embed_tokens.weight

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Return a score of each next token.

        Args:
            tokens: Integers in 0..vocabulary - 1, shape (batch, time).
            cache: Holds what was read before, to which these tokens are added.

        Returns:
            Logits, shape (batch, time, vocabulary).
        """
        self.check(tokens, cache)
        x = self.embed_tokens(tokens)
        rotation = self._rotation(0 if cache is None else cache.length, tokens.shape[1], x)
        for at, block in enumerate(self.layers):
            x = block(x, rotation, cache, at)
        if cache is not None:
            cache.length += tokens.shape[1]
        return self.lm_head(self.norm(x))

    @property
    def standing(self) -> tuple[Any, ...]:
        """Where knobs stand; a model of one size has none."""
        return ()

    def check(self, tokens: Tensor, cache: KeyValueCache | None) -> None:
        """Refuse what is no batch of tokens, and a cache that a gradient would go through."""
        kinds = (torch.int64, torch.int32)
        if tokens.dim() != 2 or not tokens.shape[1] or tokens.dtype not in kinds:
            rule = "tokens must be integers of shape (batch, time), at least one a row"
            raise ValueError(f"{rule}, got {tokens.dtype} of shape {tuple(tokens.shape)}")
        if cache is not None:
            if torch.is_grad_enabled():
                raise ValueError("cache must be None where gradients are recorded: torch.no_grad()")
            reader = (id(self), *self.standing)
            if cache.length and cache.reader != reader:
                rule = "cache must be this model's at the width that it stands at"
                raise ValueError(f"{rule}, {reader[1:]}, got that of another, {cache.reader[1:]}")
            cache.reader = reader
        # Elsewhere a look at the values would wait for the device.
        if tokens.is_cpu and not torch.compiler.is_compiling() and len(tokens):
            low, high = (int(each) for each in tokens.aminmax())
            if low < 0 or high >= self.vocabulary:
                worst = low if low < 0 else high
                raise ValueError(f"tokens must lie in 0..{self.vocabulary - 1}, got {worst}")

    def _rotation(self, start: int, length: int, x: Tensor) -> Tensor:
        """Return cosine and sine of every angle of some positions, (2, tokens, entries)."""
        # Made anew, since a buffer would be rounded with a model in half precision.
        place = {"device": x.device, "dtype": torch.float32}
        rates = self.base ** (torch.arange(0, self.head_dim, 2, **place) / -self.head_dim)  # type: ignore[call-overload]
        angles = torch.outer(torch.arange(start, start + length, **place), rates).repeat(1, 2)  # type: ignore[call-overload]
        return torch.stack((angles.cos(), angles.sin())).to(x.dtype)


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn pairs of entries, one of each half, by the angles of their positions."""
    cos, sin = rotation.to(x.dtype)
    first, second = x.chunk(2, -1)
    return x * cos + torch.cat((-second, first), -1) * sin
