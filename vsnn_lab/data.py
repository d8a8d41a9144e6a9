"""Datasets as tensors in memory, with pinned hashes.

``python -m vsnn_lab.data mnist fashion-mnist`` fetches and verifies; ``data/README.md`` lists
sources and licences.
"""

import argparse
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
import torch
from torch import Tensor

from vsnn_lab import fetch
from vsnn_lab._torchvision import datasets
from vsnn_lab.fetch import DamagedFileWarning, DataUnavailable

NAMES = ("digits", "fashion-mnist", "mnist")
SPLITS = ("train", "test")
_TEN_DIGITS = tuple("0123456789")
_DIGITS_TEST_SHARE = 0.2
_DIGITS_SEED = 0


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    Attributes:
        images: Grey values in [0, 1], float32, shape (n, 1, height, width).
        labels: Class indices, int64, shape (n,).
        name: Name of the data set.
        class_names: What each class index means.
    """

    images: Tensor
    labels: Tensor
    name: str
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def load(name: str, split: str = "train", root: str | os.PathLike | None = None) -> ImageSet:
    """Load a data set; MNIST and Fashion-MNIST are verified, and fetched if need be.

    Args:
        name: "mnist" or "fashion-mnist" (28x28, 60,000 + 10,000 images), or "digits", which
            scikit-learn carries (8x8, 1,797 images; four fifths of each class train).
        split: "train" or "test".
        root: Folder of the downloads; ``data_root()`` if not given.

    Raises:
        ValueError: If the name or the split is unknown.
        DataUnavailable: If files are missing and no source can be reached.

    Example:
        >>> digits = load("digits", "test")
        >>> digits.images.shape, digits.labels.dtype
        (torch.Size([360, 1, 8, 8]), torch.int64)
    """
    _check_choice("name", name, NAMES)
    _check_choice("split", split, SPLITS)
    if name == "digits":
        return _load_digits(split)
    return _load_idx(name, split, data_root() if root is None else Path(root))


def data_root() -> Path:
    """Folder of the downloads.

    VSNN_LAB_DATA if set; else ``data/`` of the checkout that the package lives in; else the
    user's cache folder.
    """
    chosen = os.environ.get("VSNN_LAB_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    checkout = Path(__file__).resolve().parents[1]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path(pooch.os_cache("vsnn_lab"))


def _check_choice(argument: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        listed = ", ".join(map(repr, choices))
        raise ValueError(f"{argument} must be one of {listed}, got {value!r}")


def _load_idx(name: str, split: str, root: Path) -> ImageSet:
    idx_set = fetch.SETS[name]
    fetch.ensure(idx_set, root)
    dataset = getattr(datasets, idx_set.folder)(root, train=split == "train")
    images = dataset.data.to(torch.float32).div_(255).unsqueeze(1)
    class_names = _TEN_DIGITS if name == "mnist" else tuple(dataset.classes)
    return ImageSet(images, dataset.targets.to(torch.int64), name, class_names)


def _load_digits(split: str) -> ImageSet:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    train_rows, test_rows = train_test_split(
        np.arange(len(bunch.target)),
        test_size=_DIGITS_TEST_SHARE,
        stratify=bunch.target,
        random_state=_DIGITS_SEED,
    )
    rows = train_rows if split == "train" else test_rows
    # The scans count the inked pixels of 4x4 blocks: 0..16.
    images = torch.from_numpy(bunch.images[rows] / 16).to(torch.float32).unsqueeze(1)
    labels = torch.from_numpy(bunch.target[rows]).to(torch.int64)
    return ImageSet(images, labels, "digits", _TEN_DIGITS)


def main(argv: list[str] | None = None) -> int:
    """Fetch and verify data sets; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m vsnn_lab.data", description="Fetch data sets and verify their hashes."
    )
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument(
        "--root",
        type=Path,
        help="where to put them (default: VSNN_LAB_DATA, else data/ of the checkout, else a cache)",
    )
    arguments = parser.parse_args(argv)
    root = (arguments.root or data_root()).absolute()
    with warnings.catch_warnings():
        warnings.simplefilter("always", DamagedFileWarning)
        warnings.showwarning = lambda message, *_, **__: print(
            f"warning: {message}", file=sys.stderr
        )
        try:
            for name in arguments.names:
                print(_fetched(name, root), flush=True)
        except (DataUnavailable, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def _fetched(name: str, root: Path) -> str:
    if name == "digits":
        return f"digits: inside scikit-learn, {len(load(name))} + {len(load(name, 'test'))} images"
    idx_set = fetch.SETS[name]
    folder = fetch.ensure(idx_set, root)
    # A label file is a header of 8 bytes and a byte per image.
    train, test = (file.size - 8 for file in idx_set.files if "labels" in file.name)
    return f"{name}: {folder}, {train} + {test} images, sha256 verified"


if __name__ == "__main__":
    sys.exit(main())
