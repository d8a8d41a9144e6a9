"""Training steps: how much all widths cost beside full width alone."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import PlainVGG, plain_mlp, variable_mlp, variable_vgg
from benchmarks.timing import Figure, Work, ratios, threads
from vsnn_lab import Distilled, Sampled, Stratified, Triangular
from vsnn_lab.ablation import Metric
from vsnn_lab.recipes import Recipe
from vsnn_lab.widths import single_control

_THREADS = 2


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
        widths = recipe.draw(len(x), single_control(model).steps, generator)
        recipe(model, x, y, widths, loss).backward()
        optimizer.step()

    return plain if recipe is None else of_recipe


def runs() -> Iterator[Figure]:
    """Four stratified runs, MLP 32-256-256-256-32, batch 5120."""
    yield _sampled("step of 4 stratified runs, MLP 32-256³-32, batch 5120", 256, 5120)


def wide() -> Iterator[Figure]:
    """The same at width 1024, batch 2048."""
    yield _sampled("step of 4 stratified runs, MLP 32-1024³-32, batch 2048", 1024, 2048)


def _sampled(what: str, width: int, batch: int) -> Figure:
    x, y = torch.randn(batch, 32), torch.randn(batch, 32)
    with threads(_THREADS):
        works = {
            "plain": step(plain_mlp(width), x, y),
            "variable": step(variable_mlp(width), x, y, recipe=Sampled(Stratified(4))),
        }
        values = ratios(works)["variable"]
    return Figure(what, values, 0.45, threads=_THREADS)


def convolutional() -> Iterator[Figure]:
    """Four stratified runs of a network like VGG, batch 128."""
    x, y = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    with threads(_THREADS):
        works = {
            "plain": step(PlainVGG(), x, y, F.cross_entropy),
            "variable": step(variable_vgg(), x, y, F.cross_entropy, Sampled(Stratified(4))),
        }
        values = ratios(works)["variable"]
    what = "step of 4 stratified runs, convolutions of 32 to 128 channels, batch 128"
    yield Figure(what, values, 0.55, threads=_THREADS)


def triangle() -> Iterator[Figure]:
    """A width for every sample, drawn as the paper draws it."""
    x, y = torch.randn(5120, 32), torch.randn(5120, 32)
    with threads(_THREADS):
        works = {
            "plain": step(plain_mlp(256), x, y),
            "variable": step(variable_mlp(256), x, y, recipe=Sampled(Triangular())),
        }
        values = ratios(works)["variable"]
    what = "step of the triangle, a width for every sample, the same MLP, batch 5120"
    yield Figure(what, values, 1.1, threads=_THREADS)


def recipe() -> Iterator[Figure]:
    """The default recipe: full width and what it teaches."""
    for what, sizes, batch, loss in (
        ("MLP 784-256²-10, batch 256", (256, 2, 784, 10), 256, F.cross_entropy),
        ("MLP 32-256³-32, batch 5120", (256, 3, 32, 32), 5120, F.mse_loss),
    ):
        x = torch.randn(batch, sizes[2])
        y = torch.randint(10, (batch,)) if loss is F.cross_entropy else torch.randn(batch, 32)
        with threads(_THREADS):
            works = {
                "plain": step(plain_mlp(*sizes), x, y, loss),
                "variable": step(variable_mlp(*sizes, conditioned=True), x, y, loss, Distilled()),
            }
            values = ratios(works, 25)["variable"]
        yield Figure(f"step of the recommended recipe, {what}", values, 1.6, threads=_THREADS)
