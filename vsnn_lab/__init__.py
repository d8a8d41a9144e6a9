"""Variable-sized neural networks: train once, use at any width.

Triangular Dropout, Staley & Markowitz 2022, arXiv 2205.01235.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

from vsnn_lab.extract import extract
from vsnn_lab.forward import forward_at_widths
from vsnn_lab.layers import VariableLinear
from vsnn_lab.masks import prefix_mask
from vsnn_lab.models import MLP, Autoencoder
from vsnn_lab.samplers import Interpolated, Stratified, Triangular, Uniform, Weighted
from vsnn_lab.widths import Width, WidthControl, at_width

if TYPE_CHECKING:
    from vsnn_lab.ablation import count_parameters, width_sweep
    from vsnn_lab.training import fit

__version__ = "0.1.0"

__all__ = [
    "MLP",
    "Autoencoder",
    "Interpolated",
    "Stratified",
    "Triangular",
    "Uniform",
    "VariableLinear",
    "Weighted",
    "Width",
    "WidthControl",
    "at_width",
    "count_parameters",
    "extract",
    "fit",
    "forward_at_widths",
    "prefix_mask",
    "width_sweep",
]

# Loaded when first used, so that importing the package costs little more than importing torch.
_LATE = {
    "count_parameters": "ablation",
    "fit": "training",
    "width_sweep": "ablation",
    "ablation": None,
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
