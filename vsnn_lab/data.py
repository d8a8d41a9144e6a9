"""Datasets as tensors in memory, with pinned hashes, and batches of them.

``python -m vsnn_lab.data mnist fashion-mnist`` fetches and verifies; ``data/README.md`` lists
sources and licences.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pooch
import torch
from torch import Tensor

from vsnn_lab import fetch
from vsnn_lab._checks import check_int
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


class TensorBatches:
    """Batches of in-memory tensors, in a different order each epoch.

    The order depends on the seed and the epoch alone, so a run that resumes at an epoch sees what
    it would have seen, and torch's global generator is left alone. Each ``iter`` starts the next
    epoch; ``set_epoch`` chooses it, as in torch's ``DistributedSampler``. The last batch may be
    smaller.

    Args:
        inputs: One row per sample, on any device.
        targets: As many rows.
        batch_size: Rows in a batch.
        seed: Chooses the sequence of orders.

    Raises:
        TypeError: If an argument is of the wrong kind.
        ValueError: If the lengths differ or are zero, or a number is out of range.

    Example:
        >>> x = torch.arange(5)
        >>> batches = TensorBatches(x, x, batch_size=2)
        >>> [len(inputs) for inputs, _ in batches]
        [2, 2, 1]
    """

    def __init__(
        self, inputs: Tensor, targets: Tensor, batch_size: int = 256, seed: int = 0
    ) -> None:
        _check_rows(inputs, targets)
        self.inputs = inputs
        self.targets = targets
        self.batch_size = check_int("batch_size", batch_size)
        self.seed = check_int("seed", seed, low=0)
        self._next_epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Let the next ``iter`` give this epoch's order."""
        self._next_epoch = check_int("epoch", epoch, low=0)

    def __len__(self) -> int:
        return -(-len(self.inputs) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = _shuffled(len(self.inputs), self.seed, self._next_epoch)
        self._next_epoch += 1
        return self._batches(order)

    def _batches(self, order: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in order.split(self.batch_size):
            yield (
                self.inputs[rows.to(self.inputs.device)],
                self.targets[rows.to(self.targets.device)],
            )


def split_validation(
    inputs: Tensor, targets: Tensor, fraction: float, seed: int = 0
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Hold out a random share of the rows, the same one for the same seed.

    Args:
        inputs: One row per sample.
        targets: As many rows.
        fraction: Share held out, between 0 and 1.
        seed: Chooses the rows.

    Returns:
        ``(train_inputs, train_targets), (validation_inputs, validation_targets)``, the rows of
        each in their original order.

    Raises:
        ValueError: If the fraction is outside (0, 1) or leaves a part empty.

    Example:
        >>> x = torch.arange(10)
        >>> (train, _), (held_out, _) = split_validation(x, x, fraction=0.2)
        >>> len(train), len(held_out)
        (8, 2)
    """
    _check_rows(inputs, targets)
    seed = check_int("seed", seed, low=0)
    if isinstance(fraction, bool) or not 0 < fraction < 1:
        raise ValueError(f"fraction must lie between 0 and 1, both excluded, got {fraction!r}")
    held_out = round(len(inputs) * fraction)
    if not 0 < held_out < len(inputs):
        raise ValueError(
            f"fraction must leave both parts at least one row, got {fraction} of {len(inputs)} rows"
        )
    order = _shuffled(len(inputs), seed)
    parts = (order[held_out:].sort().values, order[:held_out].sort().values)
    train, validation = (
        (inputs[rows.to(inputs.device)], targets[rows.to(targets.device)]) for rows in parts
    )
    return train, validation


def _check_rows(inputs: Tensor, targets: Tensor) -> None:
    for name, value in (("inputs", inputs), ("targets", targets)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(value).__name__}")
        if value.ndim == 0 or len(value) == 0:
            raise ValueError(f"{name} must hold at least one row, got shape {tuple(value.shape)}")
    if len(inputs) != len(targets):
        raise ValueError(
            f"inputs and targets must have as many rows, got {len(inputs)} and {len(targets)}"
        )


def seed_from(*numbers: int) -> int:
    """Return one seed that depends on all ``numbers`` and their order.

    Hashing them together keeps (seed 0, epoch 1) and (seed 1, epoch 0) apart.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def _shuffled(rows: int, *numbers: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed_from(*numbers))
    return torch.randperm(rows, generator=generator)


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
