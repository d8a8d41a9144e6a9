"""What a variable top is trained on, and how: all but method and seed."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vsnn_lab._basics.checks import check_choice, check_int, check_number
from vsnn_lab.train.loop import PRECISIONS, Precision
from vsnn_lab.train.top.backbones import BACKBONES, PUBLISHED
from vsnn_lab.train.top.images import FASHION

STARTS = ("random", "original")


@dataclass(frozen=True)
class Setup:
    """What tops are trained on, and how.

    Attributes:
        backbone: One of ``BACKBONES``.
        weights: Its weights: "published", "random" or a file, see `load_backbone`.
        data: "fashion-mnist", or a folder with folders ``train`` and ``val`` as ImageNet has.
        side: Of the images, in pixels.
        images: Training images at most, spread evenly; None is all.
        test_images: The same for test images.
        units: Of the hidden layers, all on one knob.
        steps: Positions of that knob, which divide the units.
        epochs: Passes over the features.
        lr: Learning rate at its peak; five times as much of a single layer.
        batch_size: Samples of a step.
        start: What the plain and the variable top start from: "random" weights, or the top that the
            backbone's weights have, its units ordered by use.
        precision: As in `fit`.
    """

    backbone: str = "efficientnet-lite0"
    weights: str = PUBLISHED
    data: str = FASHION
    side: int = 96
    images: int | None = 10_000
    test_images: int | None = None
    units: tuple[int, ...] = (4096, 4096)
    steps: int = 16
    epochs: int = 8
    lr: float = 1e-3
    batch_size: int = 256
    start: str = "random"
    precision: Precision = "full"

    def __post_init__(self) -> None:
        check_choice("backbone", self.backbone, BACKBONES)
        check_choice("start", self.start, STARTS)
        check_choice("precision", self.precision, PRECISIONS)
        check_int("side", self.side, 32)
        if self.backbone == "efficientnet-lite0" and self.side % 32:
            raise ValueError(f"side must be a multiple of 32 for this backbone, got {self.side}")
        for name in ("images", "test_images"):
            if getattr(self, name) is not None:
                check_int(name, getattr(self, name))
        for name in ("steps", "epochs", "batch_size"):
            check_int(name, getattr(self, name))
        if check_number("lr", self.lr, 0) == 0:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if not self.units:
            raise ValueError("units must name at least one hidden layer, got none")
        for each in self.units:
            check_int("units", each)
            if each % self.steps:
                raise ValueError(
                    f"units must be multiples of steps, got {each} and {self.steps}; each position "
                    "of the knob adds as many"
                )
        if self.start == "original" and self.weights == "random":
            raise ValueError("start must be 'random' where the weights are, got 'original'")

    def settings(self) -> dict[str, Any]:
        """Return what JSON can hold of it; of a path its last name, whatever machine it is on."""
        found = asdict(self) | {"units": list(self.units)}
        return found | {name: Path(found[name]).name for name in ("data", "weights")}

    def folder(self, root: Path) -> Path:
        """Return where its runs are kept."""
        text = json.dumps(asdict(self), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        return root / f"{self.backbone}-{Path(self.data).name}-{digest}"
