"""The variable attention layer."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab.layers.base import VariableLayer, is_at_rest, is_masked
from vsnn_lab.layers.corners import Axis, Device, first_corner, first_units
from vsnn_lab.layers.plain_attention import CutMultiheadAttention, as_given, attend, rows_first
from vsnn_lab.widths import Width, check_axis, full_size, keep_prefix, mask_like, widest_size


class VariableMultiheadAttention(VariableLayer, nn.MultiheadAttention):
    """`torch.nn.MultiheadAttention` whose embedding, heads or both may be variable.

    Heads are cut whole, and keep their size. A head that shares what it attends by with others,
    as in grouped queries, torch's layer does not have; an axis of groups,
    ``knob.axis(groups) * heads_of_a_group``, keeps whole ones.

    A submodel holds torch's layer where the heads kept have as many entries together as the
    embedding kept; where they have not, `vsnn_lab.layers.plain_attention.CutMultiheadAttention`,
    which says why.

    Args:
        embed_dim: Axis of the queries and of the output: an int, or a `Width`.
        num_heads: Axis of the heads: an int, or a `Width`.
        dropout: As in torch, like all arguments but the next two.
        bias: As in torch.
        add_bias_kv: As in torch.
        add_zero_attn: As in torch.
        kdim: Axis of the keys; None is that of the queries.
        vdim: Axis of the values; None is that of the queries.
        batch_first: As in torch.
        device: As in torch.
        dtype: As in torch.

    Shape:
        As in torch, each variable axis cut to the units that are kept. A mask for each head has
        all heads, or those kept. Under a width vector axes stay whole: each sample's units of the
        input beyond its width count as zero, and so do its heads beyond it, whose attention
        weights are zero; the average over heads is that over the sample's own.

    Raises:
        ValueError: If the heads do not divide the embedding, or keys or values of the embedding's
            size have an axis of their own, which torch's packed weight cannot have.

    References:
        Vaswani et al. 2017, "Attention Is All You Need", arXiv 1706.03762; Michel et al. 2019,
        "Are Sixteen Heads Really Better than One?", arXiv 1905.10650.

    Example:
        >>> from vsnn_lab import Width, at_width
        >>> layer = VariableMultiheadAttention(8, Width(4), batch_first=True)
        >>> x = torch.ones(1, 5, 8)
        >>> with at_width(layer, 3):
        ...     layer(x, x, x, average_attn_weights=False)[1].shape
        torch.Size([1, 3, 5, 5])
    """

    own_attributes = ("in_axis", "out_axis", "heads_axis", "key_axis", "value_axis")
    is_link = False

    heads_axis: Axis
    key_axis: Axis
    value_axis: Axis

    def __init__(
        self,
        embed_dim: int | Width,
        num_heads: int | Width,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | Width | None = None,
        vdim: int | Width | None = None,
        batch_first: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        axis, heads = check_axis("embed_dim", embed_dim), check_axis("num_heads", num_heads)
        key_axis = axis if kdim is None else check_axis("kdim", kdim)
        value_axis = axis if vdim is None else check_axis("vdim", vdim)
        sizes = full_size(axis), full_size(heads)
        if sizes[0] % sizes[1]:
            raise ValueError(
                f"embed_dim must be a multiple of num_heads at full width, got {sizes[0]} and "
                f"{sizes[1]}"
            )
        super().__init__(
            *(*sizes, dropout, bias, add_bias_kv, add_zero_attn),
            *(full_size(key_axis), full_size(value_axis), batch_first, device, dtype),
        )
        self.in_axis = self.out_axis = axis
        self.heads_axis, self.key_axis, self.value_axis = heads, key_axis, value_axis
        self._check_packed()

    def _check_packed(self) -> None:
        if not self._qkv_same_embed_dim:
            return
        for name, axis in (("kdim", self.key_axis), ("vdim", self.value_axis)):
            if not _same(axis, self.in_axis):
                raise ValueError(
                    f"{name} must be the axis of embed_dim where both have its size, as the "
                    f"weights are packed then, got {axis!r} and {self.in_axis!r}"
                )

    @property
    def inner_axis(self) -> Axis:
        """The entries of all heads."""
        return self.heads_axis * self.head_dim

    def widest_alike(self, position: int) -> int:
        """Return the position itself: an output is a sum over heads."""
        return position

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        inner = self.inner_axis
        packed = inner + inner + inner
        # Torch registers these only where it has them.
        has_more = getattr(self, "bias_k", None) is not None
        more = dict.fromkeys(("bias_k", "bias_v"), (1, 1, inner)) if has_more else {}
        return {
            "in_proj_weight": (packed, self.in_axis),
            "q_proj_weight": (inner, self.in_axis),
            "k_proj_weight": (inner, self.key_axis),
            "v_proj_weight": (inner, self.value_axis),
            "in_proj_bias": (packed,),
            "out_proj.weight": (self.out_axis, inner),
            "out_proj.bias": (self.out_axis,),
            **more,
        }

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        fits = self.plain_form is nn.MultiheadAttention
        return {
            "embed_dim": self.in_axis,
            "num_heads": self.heads_axis,
            "kdim": self.key_axis,
            "vdim": self.value_axis,
            "_qkv_same_embed_dim": self._qkv_same_embed_dim and fits,
            "out_proj.in_features": self.inner_axis,
            "out_proj.out_features": self.out_axis,
        }

    @property
    def plain_form(self) -> type[nn.Module]:
        """Torch's layer where its one size fits, from axes that are ints."""
        fits = self.inner_axis == self.in_axis == self.out_axis
        return nn.MultiheadAttention if fits else CutMultiheadAttention

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
        """Attend with the heads kept at the width the knobs stand at; arguments as in torch."""
        axes = (self.in_axis, self.key_axis, self.value_axis)
        if is_at_rest(*axes, self.out_axis, self.heads_axis):
            return super().forward(
                *(query, key, value, key_padding_mask, need_weights),
                *(attn_mask, average_attn_weights, is_causal),
            )
        self._check_packed()
        single = query.dim() == 2
        if single and any(map(is_masked, (*axes, self.heads_axis))):
            raise ValueError(
                "query must be a batch where each sample has a width of its own, got shape "
                f"{tuple(query.shape)}"
            )
        given = zip((query, key, value), axes, strict=True)
        inputs = [keep_prefix(rows_first(x, self.batch_first), axis) for x, axis in given]
        q, k, v = map(F.linear, inputs, *self._projections())
        inner = self.inner_axis
        if key_padding_mask is not None and single:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        entries, weights = attend(
            *(q, k, v, widest_size(self.heads_axis)),
            bias_k=first_units(self.bias_k, inner, 2),
            bias_v=first_units(self.bias_v, inner, 2),
            add_zero_attn=self.add_zero_attn,
            attn_mask=self._masks_of_heads(attn_mask, q.shape[0]),
            key_padding_mask=key_padding_mask,
            dropout=self.dropout if self.training else 0.0,
            need_weights=need_weights,
            is_causal=is_causal,
        )
        output = F.linear(
            keep_prefix(entries, inner),
            first_corner(self.out_proj.weight, self.out_axis, inner),
            first_units(self.out_proj.bias, self.out_axis),
        )
        output = as_given(output, single, self.batch_first)
        if weights is None:
            return output, None
        weights = self._weights_of_heads(weights, average_attn_weights)
        return output, weights.squeeze(0) if single else weights

    def _projections(self) -> tuple[list[Tensor], list[Tensor | None]]:
        """Return the weights that make queries, keys and values now, and their biases."""
        parts: Any = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        if self._qkv_same_embed_dim:
            parts = self.in_proj_weight.chunk(3)
        axes, inner = (self.in_axis, self.key_axis, self.value_axis), self.inner_axis
        weights = [first_corner(part, inner, axis) for part, axis in zip(parts, axes, strict=True)]
        bias: Any = self.in_proj_bias
        biases = (None,) * 3 if bias is None else bias.chunk(3)
        return weights, [first_units(part, inner) for part in biases]

    def _masks_of_heads(self, mask: Tensor | None, rows: int) -> Tensor | None:
        """Return the masks of the heads computed now, where there is one for each."""
        heads = full_size(self.heads_axis)
        if mask is None or mask.dim() != 3 or mask.shape[0] != rows * heads:
            return mask
        kept = first_units(mask.unflatten(0, (rows, heads)), self.heads_axis, 1)
        return kept.flatten(0, 1)

    def _weights_of_heads(self, weights: Tensor, average: bool) -> Tensor:
        """Return attention weights, those of heads that a sample does not keep being zero."""
        axis = self.heads_axis
        weights = keep_prefix(weights, axis, 1)
        if not average:
            return weights
        if not is_masked(axis):
            return weights.mean(1)
        return weights.sum(1) / mask_like(weights, axis, 1).sum(1)

    def extra_repr(self) -> str:
        """Show the axes, not only their full sizes."""
        return f"{self.in_axis}, {self.heads_axis}, head_dim={self.head_dim}"


def _same(axis: Axis, other: Axis) -> bool:
    """Whether two axes keep the same units."""
    if isinstance(axis, Width) and isinstance(other, Width):
        return axis.parts == other.parts
    return axis == other
