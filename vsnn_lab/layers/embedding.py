"""The variable embedding."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int
from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.corners import Axis, first_units
from vsnn_lab.widths import check_axis, full_size


class VariableEmbedding(VariableLayer, nn.Embedding):
    """`torch.nn.Embedding` whose vectors may be variable, as in Matryoshka representations.

    Args:
        num_embeddings: Rows of the table; fixed.
        embedding_dim: Axis of a vector: an int, or a `Width`. The other arguments are torch's;
            ``scale_grad_by_freq`` counts the indices of one call, of a run of equal widths say.

    Shape:
        Indices (...) to (..., embedding_dim), cut to the units that are kept; whole under a width
        vector, where the units beyond a sample's width are for the next layer to leave out.

    Raises:
        ValueError: For ``max_norm``, which would rescale the table by the vector of the moment's
            width, and for ``sparse``, whose gradient has no slices.

    References:
        Kusupati et al. 2022, "Matryoshka Representation Learning", arXiv 2205.13147.
    """

    padding_idx: int | None

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: Axis,
        padding_idx: int | None = None,
        *args: Any,
        **options: Any,
    ) -> None:
        rows = check_int("num_embeddings", num_embeddings)
        axis = check_axis("embedding_dim", embedding_dim)
        if padding_idx is not None:
            padding_idx = check_int("padding_idx", padding_idx, -rows, rows - 1)
        super().__init__(rows, full_size(axis), padding_idx, *args, **options)
        for name in ("max_norm", "sparse"):
            if getattr(self, name):
                raise ValueError(
                    f"{name} must not be set on a variable embedding, got {getattr(self, name)}"
                )
        self.in_axis, self.out_axis = rows, axis

    @property
    def takes_prefixes(self) -> bool:  # type: ignore[override]
        """Whether rows of a batch can be computed apart: not where their indices are counted."""
        return not self.scale_grad_by_freq

    @property
    def parameter_axes(self) -> dict[str, tuple[Axis, ...]]:
        """The axes along the first dimensions of each parameter."""
        return {"weight": (self.num_embeddings, self.out_axis)}

    @property
    def plain_sizes(self) -> dict[str, object]:
        """The plain layer's size attributes, from axes that are ints."""
        return {"embedding_dim": self.out_axis}

    def forward(self, input: Tensor) -> Tensor:
        """Look up the units kept at the width the knob stands at."""
        table = first_units(self.weight, self.out_axis, 1)
        scale = self.scale_grad_by_freq
        return F.embedding(input, table, self.padding_idx, scale_grad_by_freq=scale)
