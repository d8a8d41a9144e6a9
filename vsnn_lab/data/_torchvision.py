"""The one place that imports torchvision.

A torchvision wheel built for CUDA does not load next to a CPU build of torch: its compiled
operators stay unregistered, and torchvision attaches code to two of them while it is imported.
Datasets, transforms, models and utilities need neither operator, so declaring their schemas is
enough. A matching pair (conda, CUDA, a CPU wheel of torchvision) takes the plain import.
"""

import importlib
import sys
from types import ModuleType

import torch

_MISSING_OPERATOR = "operator torchvision::nms does not exist"
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"

# torch forgets the schemas as soon as the Library object is collected.
_libraries: list[torch.library.Library] = []


def _import_torchvision() -> ModuleType:
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if _MISSING_OPERATOR not in str(error):
            raise
    # The failed import takes `torchvision` itself out of sys.modules, not what it had imported.
    for name in list(sys.modules):
        if name.partition(".")[0] == "torchvision":
            del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(name + _SCHEMA)
    _libraries.append(library)
    return importlib.import_module("torchvision")


torchvision = _import_torchvision()
datasets = torchvision.datasets
models = torchvision.models


def transforms() -> ModuleType:
    """Return torchvision's transforms, version 2, which only those who use them wait for."""
    return importlib.import_module("torchvision.transforms.v2")
