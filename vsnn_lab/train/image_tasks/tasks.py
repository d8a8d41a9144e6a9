"""What is compared: a data set, a network, and how it is trained at every width and at one.

Networks, rates and epochs are those of the notebooks on classifiers and autoencoders, which tell
how they were chosen, on validation images. A task's methods:

- ``plain``: full width, alone;
- ``dedicated-8``: as large as the variable network is at 8 units, alone;
- ``variable``: every width, by the recipe that the notebook recommends;
- ``pca``, of autoencoders: principal components of all training images, by their number.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab.data import load
from vsnn_lab.measure.ablation import Metric
from vsnn_lab.measure.metrics import accuracy
from vsnn_lab.networks import MLP, Autoencoder, ConvAutoencoder, ConvNet
from vsnn_lab.networks.blocks import Axis
from vsnn_lab.samplers import Octaves
from vsnn_lab.train.by_position import measured_positions
from vsnn_lab.train.recipes import Distilled, EachOctave, Recipe
from vsnn_lab.train.recipes.step import Loss
from vsnn_lab.widths import Width

Pair = tuple[Tensor, Tensor]
_CLASSES = 10
# Of a wider knob not every position is measured.
_MOST_MEASURED = 32


def dense_classifier(shape: tuple[int, ...], units: Axis, **options: Any) -> nn.Module:
    """Return a classifier of two hidden layers of ``units``."""
    return MLP(math.prod(shape), (units, units), _CLASSES, **options)


def convolutional_classifier(shape: tuple[int, ...], channels: Axis, **options: Any) -> nn.Module:
    """Return a classifier of two convolutions of ``channels``."""
    return ConvNet(shape, (channels, channels), _CLASSES, **options)


@dataclass(frozen=True)
class Task:
    """A data set, a network, and how it is trained.

    Attributes:
        data: Name of the data set.
        network: Makes a network of an image's shape and an axis, with options.
        width: Units of that axis at full width.
        dedicated: Widths that have a network of their own beside the variable one.
        epochs: Passes over the training images, for every network alike.
        rates: Learning rate of the ``plain``, the ``dedicated`` and the ``variable`` networks.
        recipe: How a batch becomes a loss, of the variable network.
        metric: What is measured on test images: the name in results, and the function.
        loss: What is trained by.
        flat: Whether the network takes images as rows of pixels.
        batch_size: Images of a step.
        validation: Share of the training images that the best epoch is chosen on; None is none.
    """

    data: str
    network: Callable[..., nn.Module]
    width: int
    dedicated: tuple[int, ...]
    epochs: int
    rates: dict[str, float]
    recipe: Recipe
    metric: tuple[str, Metric] = ("accuracy", accuracy)
    loss: Loss = F.cross_entropy
    flat: bool = False
    batch_size: int = 256
    validation: float | None = None

    @property
    def reconstructs(self) -> bool:
        """Whether it trains autoencoders, whose targets are their inputs."""
        return self.loss is F.mse_loss

    @property
    def methods(self) -> tuple[str, ...]:
        """What is trained for it."""
        alone = (f"dedicated-{width}" for width in self.dedicated)
        return ("plain", *alone, "variable", *(["pca"] if self.reconstructs else []))

    @property
    def measured(self) -> list[int]:
        """Widths that the variable network is measured at."""
        if self.width <= _MOST_MEASURED:
            return [*range(1, self.width + 1)]
        return measured_positions(self.width)

    def images(self, split: str, count: int | None = None) -> Pair:
        """Return inputs and targets of a split, the first ones or all."""
        found = load(self.data, split)
        images = found.images[:count]
        inputs = images.flatten(1) if self.flat else images
        return inputs, inputs if self.reconstructs else found.labels[:count]

    def variable(self, shape: tuple[int, ...]) -> nn.Module:
        """Return the untrained network of every width."""
        return self.network(shape, Width(self.width), conditioned=True)


_DENSE = Task(
    data="fashion-mnist",
    network=dense_classifier,
    width=256,
    dedicated=(4, 8, 16, 32, 64, 128),
    epochs=20,
    rates={"plain": 4e-3, "dedicated": 8e-3, "variable": 4e-3},
    recipe=Distilled(),
    flat=True,
)
_CODE = Task(
    data="fashion-mnist",
    network=Autoencoder,
    width=32,
    dedicated=(1, 2, 4, 8, 16),
    epochs=10,
    rates={"plain": 6e-3, "dedicated": 6e-3, "variable": 6e-3},
    recipe=Distilled(Octaves()),
    metric=("mse", F.mse_loss),
    loss=F.mse_loss,
    validation=0.1,
)
KINDS: dict[str, dict[str, Task]] = {
    "classifiers": {
        "fashion-mnist": _DENSE,
        "mnist": replace(_DENSE, data="mnist"),
        "convolutional": replace(
            _DENSE,
            network=convolutional_classifier,
            width=32,
            dedicated=(4, 8, 16),
            rates={"plain": 4e-3, "dedicated": 8e-3, "variable": 4e-3},
            flat=False,
        ),
    },
    "autoencoders": {
        "fashion-mnist": _CODE,
        "mnist": replace(_CODE, data="mnist"),
        "emoji": replace(_CODE, data="emoji", network=ConvAutoencoder, epochs=20, batch_size=64),
        # Of 80 images a batch has too few for each octave to have some of its own.
        "faces": replace(
            _CODE,
            data="faces",
            width=16,
            dedicated=(1, 2, 4, 8),
            epochs=200,
            batch_size=32,
            recipe=Distilled(EachOctave(rows=1.0, half=1.0, wide=1.0)),
        ),
    },
}
