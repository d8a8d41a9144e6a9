"""Data sets by name."""

import os
from pathlib import Path

import pooch
import torch

from vsnn_lab._basics.checks import check_choice, check_path
from vsnn_lab.data import fetch
from vsnn_lab.data.emoji import load_emoji
from vsnn_lab.data.idx import read_idx
from vsnn_lab.data.image_set import SPLITS, ImageSet
from vsnn_lab.data.packaged import TEN_DIGITS, load_digits, load_faces

NAMES = ("digits", "emoji", "faces", "fashion-mnist", "mnist")
_CLASS_NAMES = {
    "mnist": TEN_DIGITS,
    # Torchvision's own, which it takes a second or two to import for.
    "fashion-mnist": (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
}


def load(name: str, split: str = "train", root: str | os.PathLike[str] | None = None) -> ImageSet:
    """Load a data set; what is no part of another package is verified, and fetched if need be.

    Args:
        name: One of

            - "mnist" or "fashion-mnist": grey, 28x28, 60,000 + 10,000 images;
            - "emoji": colour, 32x32, 3,138 + 778 glyphs of a font over white, one class. The skin
              tones and genders of an emoji are in one split;
            - "digits": grey, 8x8, 1,437 + 360 images, inside scikit-learn;
            - "faces": grey, 25x25, 80 + 20 faces, one class, inside scikit-image.
        split: "train" or "test".
        root: Folder of the downloads; ``data_root()`` if not given.

    Raises:
        ValueError: If the name or the split is unknown.
        DataUnavailable: If files are missing and no source can be reached.
        ImportError: If a package that the set needs is not installed; the message names it.

    Example:
        >>> digits = load("digits", "test")
        >>> digits.images.shape, digits.labels.dtype
        (torch.Size([360, 1, 8, 8]), torch.int64)
    """
    check_choice("name", name, NAMES)
    check_choice("split", split, SPLITS)
    folder = data_root() if root is None else check_path("root", root)
    if name == "digits":
        return load_digits(split)
    if name == "faces":
        return load_faces(split)
    if name == "emoji":
        return load_emoji(split, folder)
    return _load_idx(name, split, folder)


def data_root() -> Path:
    """Folder of the downloads.

    VSNN_LAB_DATA if set; else ``data/`` of the checkout that the package lives in; else the
    user's cache folder.
    """
    chosen = os.environ.get("VSNN_LAB_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path(pooch.os_cache("vsnn_lab"))


def _load_idx(name: str, split: str, root: Path) -> ImageSet:
    pinned_set = fetch.SETS[name]
    folder = fetch.ensure(pinned_set, root)
    stem = "train" if split == "train" else "t10k"
    pixels = read_idx(folder / f"{stem}-images-idx3-ubyte", 3)
    labels = read_idx(folder / f"{stem}-labels-idx1-ubyte", 1)
    images = pixels.to(torch.float32).div_(255).unsqueeze(1)
    return ImageSet(images, labels.to(torch.int64), name, _CLASS_NAMES[name])
