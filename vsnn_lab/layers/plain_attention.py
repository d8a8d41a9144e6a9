"""Attention whose heads have fewer entries together than its embedding, or more.

This file needs nothing but torch, so that it may be copied to wherever a submodel goes.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CutMultiheadAttention(nn.Module):
    """`torch.nn.MultiheadAttention` with an inner size of its own, ``num_heads * head_dim``.

    In torch's layer the heads have as many entries together as the embedding, so that nothing in
    torch computes what is left when some heads are cut and the embedding is not: heads of zeros
    would be exact and no smaller, and a graph of torch's functions has neither the training mode
    of dropout nor the attributes that ``nn.TransformerEncoderLayer`` reads. So this is the one
    class of this package that a submodel may hold; its file needs nothing but torch, and what fits
    torch's layer becomes that one.

    Its names of parameters, its arguments and its results are those of torch's layer.

    Args:
        embed_dim: Entries of a query.
        num_heads: Heads.
        head_dim: Entries of a head.
        out_dim: Entries of an output; by default ``embed_dim``. The other arguments are torch's.

    References:
        Michel et al. 2019, "Are Sixteen Heads Really Better than One?", arXiv 1905.10650.

    Example:
        >>> layer = CutMultiheadAttention(embed_dim=8, num_heads=3, head_dim=2, batch_first=True)
        >>> x = torch.ones(1, 5, 8)
        >>> layer(x, x, x)[0].shape
        torch.Size([1, 5, 8])
    """

    # Torch's encoder layers give their weights to a fused kernel only where this is true.
    _qkv_same_embed_dim = False

    in_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        head_dim: int,
        out_dim: int | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        where: dict[str, Any] = {"device": device, "dtype": dtype}
        self.embed_dim, self.num_heads, self.head_dim = embed_dim, num_heads, head_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.dropout, self.batch_first, self.add_zero_attn = dropout, batch_first, add_zero_attn
        inner = num_heads * head_dim
        packed = self.kdim == self.vdim == embed_dim
        shapes: dict[str, tuple[int, ...] | None] = {
            "in_proj_weight": (3 * inner, embed_dim) if packed else None,
            "q_proj_weight": None if packed else (inner, embed_dim),
            "k_proj_weight": None if packed else (inner, self.kdim),
            "v_proj_weight": None if packed else (inner, self.vdim),
            "in_proj_bias": (3 * inner,) if bias else None,
            "bias_k": (1, 1, inner) if add_bias_kv else None,
            "bias_v": (1, 1, inner) if add_bias_kv else None,
        }
        for name, shape in shapes.items():
            tensor = None if shape is None else nn.Parameter(torch.zeros(shape, **where))
            self.register_parameter(name, tensor)
            if tensor is not None and name.endswith("weight"):
                nn.init.xavier_uniform_(tensor)
            elif tensor is not None and name in ("bias_k", "bias_v"):
                nn.init.xavier_normal_(tensor)
        self.out_proj = nn.modules.linear.NonDynamicallyQuantizableLinear(
            inner, embed_dim if out_dim is None else out_dim, bias=bias, **where
        )
        if bias:
            nn.init.zeros_(self.out_proj.bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend as torch's layer does."""
        single = query.dim() == 2
        q, k, v = (rows_first(x, self.batch_first) for x in (query, key, value))
        parts: Any = self.in_proj_weight
        if parts is None:
            parts = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        else:
            parts = parts.chunk(3)
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        q, k, v = map(F.linear, (q, k, v), parts, biases)
        if key_padding_mask is not None and single:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        entries, weights = attend(
            *(q, k, v, self.num_heads),
            bias_k=self.bias_k,
            bias_v=self.bias_v,
            add_zero_attn=self.add_zero_attn,
            attn_mask=attn_mask,
            key_padding_mask=key_padding_mask,
            dropout=self.dropout if self.training else 0.0,
            need_weights=need_weights,
            is_causal=is_causal,
        )
        output = F.linear(entries, self.out_proj.weight, self.out_proj.bias)
        output = as_given(output, single, self.batch_first)
        if weights is None:
            return output, None
        weights = weights.mean(1) if average_attn_weights else weights
        return output, weights.squeeze(0) if single else weights


def rows_first(x: Tensor, batch_first: bool) -> Tensor:
    """Return a sequence (length, units), or a batch of them in torch's order, batch first."""
    if x.dim() == 2:
        return x.unsqueeze(0)
    return x if batch_first else x.transpose(0, 1)


def as_given(y: Tensor, single: bool, batch_first: bool) -> Tensor:
    """Return a batch of sequences in the order that `rows_first` took its input in."""
    if single:
        return y.squeeze(0)
    return y if batch_first else y.transpose(0, 1)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    num_heads: int,
    *,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    dropout: float,
    need_weights: bool,
    is_causal: bool,
) -> tuple[Tensor, Tensor | None]:
    """Let projected queries attend, as ``F.multi_head_attention_forward`` does.

    Args:
        q: Queries, shape (batch, queries, num_heads * entries).
        k: Keys, shape (batch, keys, num_heads * entries).
        v: Values, shaped as the keys.
        num_heads: Heads.
        bias_k: A key more, shape (1, 1, num_heads * entries).
        bias_v: Its value.
        add_zero_attn: Whether to add a key and a value of zeros.
        attn_mask: Shape (queries, keys) or (batch * num_heads, queries, keys); True is left out, a
            float is added.
        key_padding_mask: The same, shape (batch, keys).
        dropout: Share of the weights that are dropped.
        need_weights: Whether to return the weights.
        is_causal: Whether ``attn_mask`` is the causal one.

    Returns:
        What the heads give, shaped as the queries, and their weights, shape (batch, num_heads,
        queries, keys), or None.
    """
    if is_causal and attn_mask is None:
        raise ValueError("attn_mask must be the causal mask where is_causal says so, got None")
    is_causal = is_causal and key_padding_mask is None and not need_weights
    if is_causal:
        attn_mask = None
    mask = _merged(attn_mask, key_padding_mask, q, k, num_heads)
    before = k.shape[1]
    if bias_k is not None and bias_v is not None:
        k = torch.cat((k, bias_k.expand(k.shape[0], -1, -1)), 1)
        v = torch.cat((v, bias_v.expand(v.shape[0], -1, -1)), 1)
    if add_zero_attn:
        k, v = F.pad(k, (0, 0, 0, 1)), F.pad(v, (0, 0, 0, 1))
    if mask is not None:
        mask = F.pad(mask, (0, k.shape[1] - before))
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    if not need_weights:
        entries = F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal)
        return entries.transpose(1, 2).flatten(2), None
    scores = (q * math.sqrt(1.0 / q.shape[-1])) @ k.transpose(-2, -1)
    weights = (scores if mask is None else scores + mask.to(scores.dtype)).softmax(-1)
    if dropout:
        weights = F.dropout(weights, dropout)
    return (weights @ v).transpose(1, 2).flatten(2), weights


def _merged(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, q: Tensor, k: Tensor, num_heads: int
) -> Tensor | None:
    """Return what is added to the scores, or None; it broadcasts to their shape."""
    rows, queries, keys = q.shape[0], q.shape[1], k.shape[1]
    mask = None
    if attn_mask is not None:
        whole = rows * num_heads, queries, keys
        if attn_mask.shape not in ((queries, keys), whole):
            raise ValueError(
                f"attn_mask must have shape {(queries, keys)} or {whole}, got shape "
                f"{tuple(attn_mask.shape)}"
            )
        mask = _added(attn_mask, q.dtype).view(-1, *whole[1:])
        mask = mask.unflatten(0, (rows, num_heads)) if attn_mask.dim() == 3 else mask
    if key_padding_mask is not None:
        if key_padding_mask.shape != (rows, keys):
            raise ValueError(
                f"key_padding_mask must have shape {(rows, keys)}, got shape "
                f"{tuple(key_padding_mask.shape)}"
            )
        padding = _added(key_padding_mask, q.dtype).view(rows, 1, 1, keys)
        mask = padding if mask is None else mask + padding
    return mask


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -torch.inf)
