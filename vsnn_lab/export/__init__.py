"""A width taken home: weights in files, ONNX, and the proof that they compute the same.

May import ``_basics``, ``widths``, ``samplers``, ``data``, ``layers``, ``networks``, ``measure``.
"""

from vsnn_lab.export.llama import to_transformers
from vsnn_lab.export.verification import export_onnx, verify_extraction
from vsnn_lab.export.weights import load_weights, save_weights

__all__ = [
    "export_onnx",
    "load_weights",
    "save_weights",
    "to_transformers",
    "verify_extraction",
]
