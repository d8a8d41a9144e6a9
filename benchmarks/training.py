"""Training steps: how much all widths cost beside full width alone."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import PlainVGG, plain_mlp, variable_mlp, variable_vgg
from benchmarks.timing import Measurement, Work, ratios, threads
from vsnn_lab import Distilled, Sampled, Stratified, Triangular
from vsnn_lab.measure.ablation import Metric
from vsnn_lab.train.recipes import Recipe, Step

THREADS = 2


def step(
    model: nn.Module, x: Tensor, y: Tensor, loss: Metric = F.mse_loss, recipe: Recipe | None = None
) -> Work:
    """Return one step of Adam: of a recipe, or of plain training as one writes it by hand."""
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    generator = torch.Generator().manual_seed(0)

    def plain() -> None:
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()

    def of_recipe() -> None:
        optimizer.zero_grad()
        for part in recipe.losses(Step(model, x, y, loss, generator)):
            part.backward()
        optimizer.step()

    return plain if recipe is None else of_recipe


def ratios_to_plain(
    plain: nn.Module,
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    recipe: Recipe,
    loss: Metric = F.mse_loss,
    rounds: int = 15,
) -> np.ndarray:
    """Return the time of a recipe's step over that of the plain network, one ratio a round."""
    works = {"plain": step(plain, x, y, loss), "variable": step(model, x, y, loss, recipe)}
    with threads(THREADS):
        return ratios(works, rounds)["variable"]


def runs() -> Iterator[Measurement]:
    """Four stratified runs, MLP 32-256-256-256-32, batch 5120."""
    what = "step of 4 stratified runs, MLP 32-256³-32, batch 5120"
    yield Measurement(what, _dense(256, 5120, Sampled(Stratified(4))), 0.45, threads=THREADS)


def wide() -> Iterator[Measurement]:
    """The same at width 1024, batch 2048."""
    what = "step of 4 stratified runs, MLP 32-1024³-32, batch 2048"
    yield Measurement(what, _dense(1024, 2048, Sampled(Stratified(4))), 0.45, threads=THREADS)


def triangle() -> Iterator[Measurement]:
    """A width for every sample, drawn as the paper draws it."""
    what = "step of the triangle, a width for every sample, MLP 32-256³-32, batch 5120"
    yield Measurement(what, _dense(256, 5120, Sampled(Triangular())), 1.1, threads=THREADS)


def convolutional() -> Iterator[Measurement]:
    """Four stratified runs of a network like VGG, batch 128."""
    x, y = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    recipe = Sampled(Stratified(4))
    values = ratios_to_plain(PlainVGG(), variable_vgg(), x, y, recipe, F.cross_entropy)
    what = "step of 4 stratified runs, convolutions of 32 to 128 channels, batch 128"
    yield Measurement(what, values, 0.55, threads=THREADS)


def recipe() -> Iterator[Measurement]:
    """The default recipe: full width and what it teaches."""
    what = "step of the recommended recipe"
    sizes, x, y = (256, 2, 784, 10), torch.randn(256, 784), torch.randint(10, (256,))
    plain, model = plain_mlp(*sizes), variable_mlp(*sizes, conditioned=True)
    values = ratios_to_plain(plain, model, x, y, Distilled(), F.cross_entropy, rounds=25)
    yield Measurement(f"{what}, MLP 784-256²-10, batch 256", values, 1.6, threads=THREADS)
    values = _dense(256, 5120, Distilled(), conditioned=True, rounds=25)
    yield Measurement(f"{what}, MLP 32-256³-32, batch 5120", values, 1.6, threads=THREADS)


def _dense(
    width: int, batch: int, recipe: Recipe, conditioned: bool = False, rounds: int = 15
) -> np.ndarray:
    x, y = torch.randn(batch, 32), torch.randn(batch, 32)
    model = variable_mlp(width, conditioned=conditioned)
    return ratios_to_plain(plain_mlp(width), model, x, y, recipe, rounds=rounds)
