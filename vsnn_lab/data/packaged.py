"""Data sets that come inside other packages, without a download."""

import numpy as np
import torch

from vsnn_lab.data.fetch import DataUnavailable
from vsnn_lab.data.image_set import ImageSet, missing_extra, split_rows

# Name of the set, and the package that carries it.
CARRIERS = {"digits": "scikit-learn", "faces": "scikit-image"}
TEN_DIGITS = tuple("0123456789")

_DIGITS_TEST_SHARE = 0.2
_DIGITS_SEED = 0
_FACES = 100  # the rows after them show backgrounds, for training detectors of faces


def load_digits(split: str) -> ImageSet:
    """Load the 8x8 digits of scikit-learn."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    bunch = datasets.load_digits()
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
    return ImageSet(images, labels, "digits", TEN_DIGITS)


def load_faces(split: str) -> ImageSet:
    """Load the 25x25 faces of scikit-image, one class.

    Raises:
        ImportError: If scikit-image is not installed.
        DataUnavailable: If this scikit-image came without the file and cannot download it.
    """
    try:
        from skimage.data import lfw_subset
    except ImportError as error:
        raise missing_extra("faces", error) from error
    try:
        pixels = lfw_subset()[:_FACES]
    except OSError as error:
        raise DataUnavailable(
            f"could not get faces; scikit-image came without lfw_subset.npy: {error}"
        ) from error
    rows = split_rows(split, [str(row) for row in range(_FACES)])
    images = torch.from_numpy(pixels[rows]).to(torch.float32).unsqueeze(1)
    return ImageSet(images, torch.zeros(len(rows), dtype=torch.int64), "faces", ("face",))
