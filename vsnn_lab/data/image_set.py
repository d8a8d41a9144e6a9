"""What every data set becomes, and how those without a split of their own are split."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

SPLITS = ("train", "test")
_TEST_SHARE = 0.2


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images with their labels.

    Attributes:
        images: Values in [0, 1], float32, shape (n, channels, height, width); one channel is grey,
            three are red, green and blue.
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


def split_rows(split: str, keys: Sequence[str]) -> list[int]:
    """List the rows of a split, a fifth of the keys being the test set; equal keys stay together.

    Keys are ranked by their sha256, so that no version of a library and no order of files moves an
    image to the other side.

    Example:
        >>> split_rows("test", ["a", "b", "c", "d", "e", "a"])
        [3]
    """
    ranked = sorted(set(keys), key=_rank)
    test = set(ranked[: round(_TEST_SHARE * len(ranked))])
    return [row for row, key in enumerate(keys) if (key in test) == (split == "test")]


def _rank(key: str) -> bytes:
    # Names of files may have bytes that are no text in UTF-8, which Python keeps as surrogates.
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def missing_extra(name: str, error: ImportError) -> ImportError:
    """Return the error that says which extra brings what a data set needs."""
    return ImportError(
        f"load({name!r}) needs {error.name}, got {error}; pip install vsnn-lab[lab] brings it",
        name=error.name,
    )
