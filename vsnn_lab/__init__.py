"""Variable-sized neural networks: train once, use at any width.

Triangular Dropout, Staley & Markowitz 2022, arXiv 2205.01235.
"""

from importlib import import_module as _import_module
from sys import modules as _modules
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING

from vsnn_lab.layers import (
    ConditionedRMSNorm,
    TriangularDropout,
    VariableBatchNorm1d,
    VariableBatchNorm2d,
    VariableBatchNorm3d,
    VariableBilinear,
    VariableConv1d,
    VariableConv2d,
    VariableConv3d,
    VariableConvTranspose1d,
    VariableConvTranspose2d,
    VariableConvTranspose3d,
    VariableEmbedding,
    VariableGroupNorm,
    VariableGRU,
    VariableInstanceNorm1d,
    VariableInstanceNorm2d,
    VariableInstanceNorm3d,
    VariableLayerNorm,
    VariableLinear,
    VariableLSTM,
    VariableMultiheadAttention,
    VariablePReLU,
    VariableRMSNorm,
    VariableRNN,
)
from vsnn_lab.networks import (
    MLP,
    Autoencoder,
    ConvAutoencoder,
    ConvNet,
    condition,
    condition_norms,
    extract,
    forward_at_widths,
)
from vsnn_lab.samplers import (
    Fixed,
    FixedFraction,
    Full,
    Geometric,
    Interpolated,
    Listed,
    LogUniform,
    Octaves,
    Sandwich,
    Shifted,
    Stratified,
    TailExponential,
    Triangular,
    Uniform,
    Weighted,
)
from vsnn_lab.widths import Width, WidthControl, at_width, joint_positions, prefix_mask

if TYPE_CHECKING:
    from vsnn_lab.export import (
        export_onnx,
        load_weights,
        save_weights,
        to_transformers,
        verify_extraction,
    )
    from vsnn_lab.measure import (
        BitsPerByte,
        Latency,
        choose_width,
        choose_widths,
        count_macs,
        count_parameters,
        measure_latency,
        next_token_agreement,
        recalibrate,
        recalibrate_widths,
        token_cross_entropy,
        width_sweep,
    )
    from vsnn_lab.networks import (
        LanguageModel,
        Taylor,
        continuation,
        explain,
        extract_view,
        load_pretrained,
        make_variable,
        order_units,
        pretrained_header,
        pretrained_tokenizer,
        speculative_continuation,
    )
    from vsnn_lab.train import (
        Distilled,
        EachOctave,
        NarrowestAndRandom,
        Phases,
        Sampled,
        fit,
        soft_targets,
        teach,
    )

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Autoencoder",
    "BitsPerByte",
    "ConditionedRMSNorm",
    "ConvAutoencoder",
    "ConvNet",
    "Distilled",
    "EachOctave",
    "Fixed",
    "FixedFraction",
    "Full",
    "Geometric",
    "Interpolated",
    "LanguageModel",
    "Latency",
    "Listed",
    "LogUniform",
    "NarrowestAndRandom",
    "Octaves",
    "Phases",
    "Sampled",
    "Sandwich",
    "Shifted",
    "Stratified",
    "TailExponential",
    "Taylor",
    "Triangular",
    "TriangularDropout",
    "Uniform",
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
    "VariableLayerNorm",
    "VariableLinear",
    "VariableMultiheadAttention",
    "VariablePReLU",
    "VariableRMSNorm",
    "VariableRNN",
    "Weighted",
    "Width",
    "WidthControl",
    "at_width",
    "choose_width",
    "choose_widths",
    "condition",
    "condition_norms",
    "continuation",
    "count_macs",
    "count_parameters",
    "explain",
    "export_onnx",
    "extract",
    "extract_view",
    "fit",
    "forward_at_widths",
    "joint_positions",
    "load_pretrained",
    "load_weights",
    "make_variable",
    "measure_latency",
    "next_token_agreement",
    "order_units",
    "prefix_mask",
    "pretrained_header",
    "pretrained_tokenizer",
    "recalibrate",
    "recalibrate_widths",
    "save_weights",
    "soft_targets",
    "speculative_continuation",
    "teach",
    "to_transformers",
    "token_cross_entropy",
    "verify_extraction",
    "width_sweep",
]

# Loaded when first used, so that importing the package costs little more than importing torch.
_LATE_ROOMS = ("networks", "measure", "export", "train", "data", "figures", "explore", "headless")


def __getattr__(name: str) -> object:
    if name in _LATE_ROOMS:
        return _import_module(f"{__name__}.{name}")
    if name == "policies":  # the one part of a room that has an extra of its own
        return _import_module(f"{__name__}.train.policies")
    if name in __all__:
        for room in map(__getattr__, _LATE_ROOMS):
            if hasattr(room, name):
                return getattr(room, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _LatePolicies(_ModuleType):
    """What ``from vsnn_lab.policies import ...`` finds: `train.policies`, loaded when used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # whoever looks through all modules wants none of them loaded
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        return getattr(_import_module("vsnn_lab.train.policies"), name)


_modules[f"{__name__}.policies"] = _LatePolicies(f"{__name__}.policies")

# Networks are models to most people: ``from vsnn_lab.models import LanguageModel`` works, too.
models = _import_module(f"{__name__}.networks")
_modules[f"{__name__}.models"] = models
