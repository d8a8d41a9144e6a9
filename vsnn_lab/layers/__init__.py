"""Variable layers: torch's own, with axes that may be a `Width`.

Each keeps the parameters, names and initialisation of the layer it derives from, so that a
state_dict of plain layers loads straight in.

May import ``_basics``, ``widths``, ``samplers``.
"""

from vsnn_lab.layers.attention import VariableMultiheadAttention
from vsnn_lab.layers.base import VariableLayer
from vsnn_lab.layers.batch_norm import (
    VariableBatchNorm1d,
    VariableBatchNorm2d,
    VariableBatchNorm3d,
)
from vsnn_lab.layers.bilinear import VariableBilinear
from vsnn_lab.layers.conditioned_norm import ConditionedRMSNorm
from vsnn_lab.layers.conv import (
    VariableConv1d,
    VariableConv2d,
    VariableConv3d,
    VariableConvTranspose1d,
    VariableConvTranspose2d,
    VariableConvTranspose3d,
)
from vsnn_lab.layers.dropout import TriangularDropout
from vsnn_lab.layers.embedding import VariableEmbedding
from vsnn_lab.layers.instance_norm import (
    VariableInstanceNorm1d,
    VariableInstanceNorm2d,
    VariableInstanceNorm3d,
)
from vsnn_lab.layers.linear import VariableLinear
from vsnn_lab.layers.norm import VariableGroupNorm, VariableLayerNorm, VariableRMSNorm
from vsnn_lab.layers.prelu import VariablePReLU
from vsnn_lab.layers.recurrent import VariableGRU, VariableLSTM, VariableRNN

__all__ = [
    "ConditionedRMSNorm",
    "TriangularDropout",
    "VariableBatchNorm1d",
    "VariableBatchNorm2d",
    "VariableBatchNorm3d",
    "VariableBilinear",
    "VariableConv1d",
    "VariableConv2d",
    "VariableConv3d",
    "VariableConvTranspose1d",
    "VariableConvTranspose2d",
    "VariableConvTranspose3d",
    "VariableEmbedding",
    "VariableGRU",
    "VariableGroupNorm",
    "VariableInstanceNorm1d",
    "VariableInstanceNorm2d",
    "VariableInstanceNorm3d",
    "VariableLSTM",
    "VariableLayer",
    "VariableLayerNorm",
    "VariableLinear",
    "VariableMultiheadAttention",
    "VariablePReLU",
    "VariableRMSNorm",
    "VariableRNN",
]
