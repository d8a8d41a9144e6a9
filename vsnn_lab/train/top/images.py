"""Images as a backbone takes them: in memory, or decoded from a folder by worker processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import short_repr
from vsnn_lab.data import load
from vsnn_lab.data._torchvision import datasets, transforms
from vsnn_lab.data.folders import evenly_spaced
from vsnn_lab.train.top.backbones import Backbone

FASHION = "fashion-mnist"
# Of the paper: the shorter side becomes 256, of which the middle 224 are kept.
_SHORTER, _KEPT = 256, 224
# What a folder's splits are called there, as in ImageNet.
_FOLDERS = {"train": "train", "test": "val"}


class Images(Protocol):
    """Images with their classes, to be read row by row.

    Attributes:
        classes: How many there are.
        identity: What JSON can hold of all that the images depend on.
    """

    classes: int
    identity: dict[str, Any]

    def __len__(self) -> int: ...

    def __getitem__(self, row: int) -> tuple[Tensor, int]: ...


def load_images(
    data: str, split: str, backbone: Backbone, side: int, limit: int | None = None
) -> Images:
    """Return the images of a split, as a backbone takes them.

    Args:
        data: "fashion-mnist", enlarged, its grey in each colour; or the path of a folder with
            folders ``train`` and ``val``, each with a folder of images for each class, as in
            ImageNet: the shorter side becomes 8/7 of ``side``, the middle is kept.
        split: "train" or "test".
        backbone: What takes them.
        side: Of the images, in pixels.
        limit: At most so many, spread evenly.

    Raises:
        FileNotFoundError: If the folder is not there or a class in it has no image.
        ValueError: If ``train`` and ``val`` do not have the same classes.
    """
    v2 = transforms()
    last = [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(backbone.mean), list(backbone.deviation)),
    ]
    if data == FASHION:
        return FashionImages(split, v2.Compose([v2.Resize(side), v2.RGB(), *last]), limit)
    shorter = round(side * _SHORTER / _KEPT)
    first = [v2.RGB(), v2.Resize(shorter), v2.CenterCrop(side), v2.ToImage()]
    return FolderImages(Path(data), split, v2.Compose([*first, *last]), limit)


class FashionImages:
    """Fashion-MNIST, as `load` gives it, transformed when it is read."""

    def __init__(self, split: str, transform: Any, limit: int | None = None) -> None:
        found = load(FASHION, split)
        rows = evenly_spaced(range(len(found)), limit)
        self.images, self.labels = found.images[rows], found.labels[rows]
        self.classes, self.transform = len(found.class_names), transform
        self.identity = {
            "data": [FASHION, split, len(rows)],
            "transform": repr(transform),
        }

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.transform(self.images[row]), int(self.labels[row])


class FolderImages:
    """A folder of images, each file decoded when it is read: more than fit into memory."""

    def __init__(self, path: Path, split: str, transform: Any, limit: int | None = None) -> None:
        names = [_class_names(path / folder) for folder in _FOLDERS.values()]
        if names[0] != names[1]:
            other = sorted(set(names[0]) ^ set(names[1]))
            raise ValueError(
                f"data must have the same classes in train and val, got {short_repr(other)} in one "
                f"of them alone, in {path}"
            )
        folder = path / _FOLDERS[split]
        self.files = datasets.ImageFolder(str(folder), transform)
        self.rows = evenly_spaced(range(len(self.files)), limit)
        self.classes = len(names[0])
        # Reading every file for its hash would take as long as decoding it.
        listed = [
            f"{Path(name).relative_to(folder).as_posix()} {Path(name).stat().st_size} {label}"
            for name, label in (self.files.samples[row] for row in self.rows)
        ]
        self.identity = {"data": [len(listed), _hash(listed)], "transform": repr(transform)}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image, label = self.files[self.rows[row]]
        return image, label


def _class_names(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise FileNotFoundError(
            f"data must be {FASHION!r} or a folder with folders train and val, got no {folder}"
        )
    return sorted(each.name for each in folder.iterdir() if each.is_dir())


def _hash(lines: Sequence[str]) -> str:
    text = "\n".join(lines).encode(errors="surrogatepass")
    return checkpoints.digest([torch.frombuffer(bytearray(text or b" "), dtype=torch.uint8)])
