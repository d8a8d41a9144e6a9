"""Language models of every width beside plain ones and ones trained for a single size.

Needs the extra ``text``.
"""

from vsnn_lab.train.language.experiment import (
    LENGTH,
    METHODS,
    RECIPES,
    SIZES,
    STEPS,
    VOCABULARY,
    Run,
    accepted_share,
    language_model,
    measure,
    train,
    varying,
)
from vsnn_lab.train.language.results import (
    bits_by_width,
    keep_runs,
    results_folder,
    tracked_results,
)

__all__ = [
    "LENGTH",
    "METHODS",
    "RECIPES",
    "SIZES",
    "STEPS",
    "VOCABULARY",
    "Run",
    "accepted_share",
    "bits_by_width",
    "keep_runs",
    "language_model",
    "measure",
    "results_folder",
    "tracked_results",
    "train",
    "varying",
]
