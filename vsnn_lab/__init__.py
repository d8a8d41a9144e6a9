"""Variable-sized neural networks: train once, use at any width.

Triangular Dropout, Staley & Markowitz 2022, arXiv 2205.01235.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from vsnn_lab.extract import extract
from vsnn_lab.forward import forward_at_widths
from vsnn_lab.layers import (
    ConditionedLinear,
    OctaveConv2d,
    OctaveLinear,
    TriangularDropout,
    VariableBatchNorm1d,
    VariableBatchNorm2d,
    VariableBatchNorm3d,
    VariableConv1d,
    VariableConv2d,
    VariableConv3d,
    VariableConvTranspose1d,
    VariableConvTranspose2d,
    VariableConvTranspose3d,
    VariableEmbedding,
    VariableGroupNorm,
    VariableLayerNorm,
    VariableLinear,
    VariableRMSNorm,
)
from vsnn_lab.masks import prefix_mask
from vsnn_lab.models import MLP, Autoencoder, ConvAutoencoder, ConvNet
from vsnn_lab.samplers import (
    Fixed,
    FixedFraction,
    Full,
    Geometric,
    Interpolated,
    Listed,
    LogUniform,
    Sandwich,
    Shifted,
    Stratified,
    TailExponential,
    Triangular,
    Uniform,
    Weighted,
)
from vsnn_lab.widths import Width, WidthControl, at_width

if TYPE_CHECKING:
    from vsnn_lab.ablation import width_sweep
    from vsnn_lab.budgets import choose_width, choose_widths
    from vsnn_lab.convert import make_variable
    from vsnn_lab.costs import Latency, count_macs, count_parameters, measure_latency
    from vsnn_lab.export import export_onnx, verify_extraction
    from vsnn_lab.recalibration import recalibrate
    from vsnn_lab.recipes import Distilled, FullAndNarrow, Phases, Sampled, soft_targets
    from vsnn_lab.training import fit
    from vsnn_lab.weights import load_weights, save_weights

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Autoencoder",
    "ConditionedLinear",
    "ConvAutoencoder",
    "ConvNet",
    "Distilled",
    "Fixed",
    "FixedFraction",
    "Full",
    "FullAndNarrow",
    "Geometric",
    "Interpolated",
    "Latency",
    "Listed",
    "LogUniform",
    "OctaveConv2d",
    "OctaveLinear",
    "Phases",
    "Sampled",
    "Sandwich",
    "Shifted",
    "Stratified",
    "TailExponential",
    "Triangular",
    "TriangularDropout",
    "Uniform",
    "VariableBatchNorm1d",
    "VariableBatchNorm2d",
    "VariableBatchNorm3d",
    "VariableConv1d",
    "VariableConv2d",
    "VariableConv3d",
    "VariableConvTranspose1d",
    "VariableConvTranspose2d",
    "VariableConvTranspose3d",
    "VariableEmbedding",
    "VariableGroupNorm",
    "VariableLayerNorm",
    "VariableLinear",
    "VariableRMSNorm",
    "Weighted",
    "Width",
    "WidthControl",
    "at_width",
    "choose_width",
    "choose_widths",
    "count_macs",
    "count_parameters",
    "export_onnx",
    "extract",
    "fit",
    "forward_at_widths",
    "load_weights",
    "make_variable",
    "measure_latency",
    "prefix_mask",
    "recalibrate",
    "save_weights",
    "soft_targets",
    "verify_extraction",
    "width_sweep",
]

# Loaded when first used, so that importing the package costs little more than importing torch.
_LATE = {
    "Distilled": "recipes",
    "FullAndNarrow": "recipes",
    "Latency": "costs",
    "Phases": "recipes",
    "Sampled": "recipes",
    "choose_width": "budgets",
    "choose_widths": "budgets",
    "count_macs": "costs",
    "count_parameters": "costs",
    "export_onnx": "export",
    "fit": "training",
    "load_weights": "weights",
    "make_variable": "convert",
    "measure_latency": "costs",
    "recalibrate": "recalibration",
    "save_weights": "weights",
    "soft_targets": "recipes",
    "verify_extraction": "export",
    "width_sweep": "ablation",
    "ablation": None,
    "budgets": None,
    "costs": None,
    "data": None,
    "explore": None,
    "figures": None,
    "training": None,
}


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room = _LATE[name]
    if room is None:
        return _import_module(f"{__name__}.{name}")
    return getattr(_import_module(f"{__name__}.{room}"), name)
