"""Language models of every width beside plain ones and ones trained for a single size.

Needs the extra ``text``.
"""

from vsnn_lab.train.language.experiment import METHODS, Run, language_model, train
from vsnn_lab.train.language.results import (
    bits_by_width,
    keep_runs,
    results_folder,
    tracked_results,
)

__all__ = [
    "METHODS",
    "Run",
    "bits_by_width",
    "keep_runs",
    "language_model",
    "results_folder",
    "tracked_results",
    "train",
]
