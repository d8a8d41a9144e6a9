"""Fashion-MNIST on a canvas of 32x32 pixels, shifted and mirrored at random while it trains."""

import hashlib
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from vsnn_lab._basics.checks import check_choice, check_int
from vsnn_lab.data import load
from vsnn_lab.data.batches import TensorBatches, seed_from, split_validation
from vsnn_lab.train.vgg.network import SIDE

Pair = tuple[Tensor, Tensor]
PARTS = ("train", "validation", "test")
_VALIDATION = 0.1  # of the training images, the same for every seed: what settings are chosen on


def load_images(part: str, count: int | None = None) -> Pair:
    """Return Fashion-MNIST, images of shape (n, 1, 28, 28) as they are stored, and their classes.

    Args:
        part: "train", "validation" or "test".
        count: How many, from the first on; by default all of them.
    """
    check_choice("part", part, PARTS)
    found = load("fashion-mnist", "test" if part == "test" else "train")
    if part == "test":
        return found.images[:count], found.labels[:count]
    rows = torch.arange(len(found))  # so that only those asked for are copied
    rows = split_validation(rows, rows, _VALIDATION)[PARTS.index(part)][0][:count]
    return found.images[rows], found.labels[rows]


def on_canvas(images: Tensor) -> Tensor:
    """Return images in the middle of a black canvas of 32x32 pixels."""
    margin = (SIDE - images.shape[-1]) // 2
    return F.pad(images, 4 * (margin,))


class AugmentedBatches:
    """Batches of images, each mirrored or not, somewhere on the canvas.

    Order, places and mirrors depend on seed and epoch alone. Of each batch all images are shifted
    alike, which a network's convolutions cannot tell from shifts of their own.

    Args:
        images: Shape (n, 1, height, width), no larger than the canvas.
        labels: Their classes.
        batch_size: Images in a batch.
        seed: Of all that is drawn.
    """

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int, seed: int) -> None:
        self.batches = TensorBatches(images, labels, batch_size, seed)
        self.seed = seed
        self._epoch = 0

    @property
    def data_fingerprint(self) -> str:
        """What the batches are made of."""
        digest = hashlib.sha256(self.batches.inputs.numpy().tobytes())
        digest.update(self.batches.targets.numpy().tobytes())
        return f"{digest.hexdigest()} {self.batches.batch_size} {self.seed}"

    def set_epoch(self, epoch: int) -> None:
        """Let the next ``iter`` give this epoch's batches."""
        self._epoch = check_int("epoch", epoch, 0)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Pair]:
        generator = torch.Generator().manual_seed(seed_from(self.seed, self._epoch, 2))
        self.batches.set_epoch(self._epoch)
        self._epoch += 1
        return ((self._augment(x, generator), y) for x, y in self.batches)

    def _augment(self, x: Tensor, generator: torch.Generator) -> Tensor:
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        room = SIDE - x.shape[-1]
        left, top = torch.randint(room + 1, (2,), generator=generator).tolist()
        return F.pad(x, (left, room - left, top, room - top))
