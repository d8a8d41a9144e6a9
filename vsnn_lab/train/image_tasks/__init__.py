"""Classifiers and autoencoders of every width beside ones that are trained for a single size.

``python -m vsnn_lab.train.image_tasks classifiers`` and ``... autoencoders`` make them.
"""

from vsnn_lab.train.image_tasks.experiment import Run
from vsnn_lab.train.image_tasks.results import COLLECTIONS, values_by_width
from vsnn_lab.train.image_tasks.tasks import KINDS, Task

__all__ = ["COLLECTIONS", "KINDS", "Run", "Task", "values_by_width"]
