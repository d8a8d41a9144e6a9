"""Datasets as tensors in memory, with pinned hashes, and the batches that training takes of them.

``python -m vsnn_lab.data mnist fashion-mnist emoji austen`` fetches and verifies;
``data/README.md`` lists sources and licences.

May import ``_basics``.
"""

from typing import TYPE_CHECKING

from vsnn_lab._basics.late import late_names as _late_names
from vsnn_lab.data.image_set import SPLITS, ImageSet

if TYPE_CHECKING:
    from vsnn_lab.data.celeba import load_celeba
    from vsnn_lab.data.folders import load_folder
    from vsnn_lab.data.sets import NAMES, data_root, load
    from vsnn_lab.data.text import TEXTS, TextSet, load_text

__all__ = [
    "NAMES",
    "SPLITS",
    "TEXTS",
    "ImageSet",
    "TextSet",
    "data_root",
    "load",
    "load_celeba",
    "load_folder",
    "load_text",
]

# Loaded when first used: torchvision takes longer to import than a small network to train.
_MODULES = {
    "NAMES": "sets",
    "TEXTS": "text",
    "TextSet": "text",
    "data_root": "sets",
    "load": "sets",
    "load_celeba": "celeba",
    "load_folder": "folders",
    "load_text": "text",
}
__getattr__ = _late_names(__name__, _MODULES)
