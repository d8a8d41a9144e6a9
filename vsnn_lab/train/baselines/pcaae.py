"""PCAAE: an autoencoder that grows one unit at a time."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, check_number, check_rows
from vsnn_lab.data.batches import seed_from
from vsnn_lab.measure.evaluation import evaluate, evaluation_mode, to_device_of
from vsnn_lab.networks import Autoencoder
from vsnn_lab.train.loop import seeded_rng
from vsnn_lab.train.training import fit

# Images per forward where no gradient is taken: more only fills memory with activations.
_CHUNK = 1024


class PCAAE(nn.Module):
    """An autoencoder of one-unit encoders, in order, with a decoder for each number of them.

    Encoders and decoders are those of `Autoencoder` with ``hidden`` layers; each encoder ends in
    a batch norm without scale and shift. `train_pcaae` makes a trained one.

    Args:
        shape: Shape of one image.
        units: Units of the code.
        hidden: Sizes of an encoder's hidden layers; a decoder mirrors them.

    Attributes:
        encoders: One for each unit, images to shape (batch, 1).
        decoders: The one at index k - 1 makes images of the first k units.

    References:
        Pham, Ladjal & Newson 2020, "PCAAE: Principal Component Analysis Autoencoder for organising
        the latent space of generative networks", arXiv 2006.07827; the layers are ours.

    Example:
        >>> model = PCAAE((1, 8, 8), 3, hidden=(16,))
        >>> model(torch.rand(5, 1, 8, 8), width=2).shape
        torch.Size([5, 1, 8, 8])
    """

    def __init__(
        self, shape: Sequence[int], units: int, hidden: Sequence[int] = (512, 256)
    ) -> None:
        super().__init__()
        self.units = check_int("units", units)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        # Unit by unit, so that more units begin with the same initial weights.
        for unit in range(self.units):
            single = Autoencoder(shape, 1, hidden)
            layers = single.get_submodule("encoder").children()
            self.encoders.append(nn.Sequential(*layers, _UnitNorm(1, affine=False)))
            self.decoders.append(Autoencoder(shape, unit + 1, hidden).get_submodule("decoder"))
        self.shape = single.shape

    def encode(self, x: Tensor, width: int | None = None) -> Tensor:
        """Return the first ``width`` units, by default all, shape (batch, width)."""
        width = self._check_width(width)
        _check_images("x", x, self.shape)
        return torch.cat([encoder(x) for encoder in self.encoders[:width]], 1)

    def forward(self, x: Tensor, width: int | None = None) -> Tensor:
        """Return the reconstruction from the first ``width`` units, by default all."""
        width = self._check_width(width)
        return self.decoders[width - 1](self.encode(x, width))

    def errors(self, x: Tensor) -> dict[int, float]:
        """Return the mean square error per pixel of images, by the number of units."""
        _check_images("x", x, self.shape)
        totals = np.zeros(self.units)
        with evaluation_mode(self):
            for images in x.split(_CHUNK):
                images = to_device_of(self, images)
                codes = self.encode(images)
                for index, decoder in enumerate(self.decoders):
                    difference = decoder(codes[:, : index + 1]) - images
                    # On the CPU, since not every device has float64.
                    totals[index] += difference.cpu().double().square().sum().item()
        return dict(enumerate((totals / x.numel()).tolist(), start=1))

    def _check_width(self, width: int | None) -> int:
        return self.units if width is None else check_int("width", width, 1, self.units)


def train_pcaae(
    shape: Sequence[int],
    units: int,
    data: Tensor,
    *,
    hidden: Sequence[int] = (512, 256),
    covariance: float = 0.01,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> PCAAE:
    """Train a `PCAAE`, one unit after the other.

    A stage trains the encoder of one more unit and a decoder of all units so far, for the square
    error of the reconstruction plus ``covariance`` times the mean square of the new unit's
    covariances with the earlier ones. Earlier encoders stay as they are.

    The penalty and the batch norm are those of the authors' code (github.com/chieupham/PCAAE).
    Ours: fully connected layers, the learning rate's cycle of `fit`, the square error where they
    take the cross entropy, and with it a weight of 0.01 where theirs is 1 (on Fashion-MNIST, 1
    decorrelates no better and costs reconstruction). The norms of earlier encoders keep their
    statistics here, so that a finished unit is a fixed function of the image.

    With ``checkpoint``, every finished epoch of every stage is on disk: the same call goes on
    where it was interrupted, and one for more units begins with those that are there.

    Args:
        shape: Shape of one image.
        units: Units of the code.
        data: Training images, shape ``(n, *shape)``, pixels in [0, 1].
        hidden: Sizes of an encoder's hidden layers; a decoder mirrors them.
        covariance: Weight of the penalty.
        seed: Determines initial weights, validation split and shuffling.
        checkpoint: Folder for the checkpoints of all stages; None writes none.
        progress: Show a progress bar for each stage.
        options: Further arguments of `fit` for each stage, such as ``epochs`` and ``lr``.

    Returns:
        The trained model, in evaluation mode.

    Raises:
        TypeError: If an argument has the wrong type; ``validation`` may not be a pair here.
        ValueError: If it lies outside its range, or the images have another shape.

    Example:
        >>> images = torch.rand(40, 1, 4, 4)
        >>> model = train_pcaae((1, 4, 4), 2, images, hidden=(8,), epochs=1, progress=False)
        >>> sorted(model.errors(images))
        [1, 2]
    """
    covariance = check_number("covariance", covariance, 0)
    seed = check_int("seed", seed, 0)
    with seeded_rng(seed_from(seed), torch.device("cpu")):
        model = PCAAE(shape, units, hidden)
    _check_images("data", data, model.shape)
    if isinstance(options.get("validation"), Sequence):
        raise TypeError(
            "validation must be a share or None, since each stage has data of its own, got "
            f"{type(options['validation']).__name__}"
        )
    # Units that are done are data of the next stage, which then cannot change them.
    images = data.flatten(1)
    codes = images[:, :0]
    loss = functools.partial(_stage_loss, covariance=covariance)
    for encoder, decoder in zip(model.encoders, model.decoders, strict=True):
        stage = _Stage(encoder, decoder, images.shape[1])
        pair = torch.cat([images, codes], 1), images
        fit(stage, pair, loss, seed=seed, checkpoint=checkpoint, progress=progress, **options)
        found = [evaluate(encoder, rows).to(images.device) for rows in images.split(_CHUNK)]
        codes = torch.cat([codes, torch.cat(found)], 1)
    return model.eval()


class _UnitNorm(nn.BatchNorm1d):
    """A batch norm to which a last batch of a single image is no error."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1:
            return F.batch_norm(x, self.running_mean, self.running_var, eps=self.eps)
        return super().forward(x)


class _Stage(nn.Module):
    """A new encoder and its decoder; rows of pixels and earlier units to pixels and all units."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module, pixels: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.pixels = encoder, decoder, pixels

    def forward(self, rows: Tensor) -> Tensor:
        images, codes = rows[:, : self.pixels], rows[:, self.pixels :]
        codes = torch.cat([codes, self.encoder(images)], 1)
        return torch.cat([self.decoder(codes).flatten(1), codes], 1)


def _stage_loss(output: Tensor, images: Tensor, covariance: float) -> Tensor:
    pixels = images.shape[1]
    error = F.mse_loss(output[:, :pixels], images)
    earlier, new = output[:, pixels:-1], output[:, -1:]
    if not earlier.shape[1]:
        return error
    # The new unit's mean over a batch is 0, by its norm: a mean product is a covariance.
    return error + covariance * (earlier * new).mean(0).square().mean()


def _check_images(name: str, images: Tensor, shape: tuple[int, ...]) -> None:
    if check_rows(name, images).shape[1:] != torch.Size(shape):
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must have shape (n, {wanted}), got {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"{name} must be floats in [0, 1], got {images.dtype}")
