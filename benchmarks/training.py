"""Training steps: how much all widths cost beside full width alone."""

import time
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.networks import PlainVGG, plain_autoencoder, plain_mlp, variable_mlp, variable_vgg
from benchmarks.timing import Measurement, Work, device, ratios, threads
from vsnn_lab import (
    Autoencoder,
    Distilled,
    LanguageModel,
    Octaves,
    Sampled,
    Stratified,
    Triangular,
    Width,
    WidthControl,
    token_cross_entropy,
)
from vsnn_lab.measure.ablation import Metric
from vsnn_lab.train.compiled import StepCompiler
from vsnn_lab.train.recipes import Recipe, Step
from vsnn_lab.widths import width_controls

THREADS = 2
# Most widths that there are graphs for have been drawn by then.
_STEPS_TO_COMPILE = 60


def step(
    model: nn.Module,
    x: Tensor,
    y: Tensor,
    loss: Metric = F.mse_loss,
    recipe: Recipe | None = None,
    half: bool = False,
) -> Work:
    """Return one step of Adam: of a recipe, or of plain training as one writes it by hand."""
    where = device()
    model, x, y = model.to(where), x.to(where), y.to(where)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    generator = torch.Generator().manual_seed(0)

    def plain() -> None:
        optimizer.zero_grad()
        with torch.autocast(where.type, torch.bfloat16, enabled=half):
            value = loss(model(x), y)
        value.backward()
        optimizer.step()

    def of_recipe() -> None:
        optimizer.zero_grad()
        parts = recipe.losses(Step(model, x, y, loss, generator))
        while True:
            with torch.autocast(where.type, torch.bfloat16, enabled=half):
                part = next(parts, None)
            if part is None:
                break
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
    half: bool = False,
) -> np.ndarray:
    """Return the time of a recipe's step over that of the plain network, one ratio a round."""
    works = {
        "plain": step(plain, x, y, loss, half=half),
        "variable": step(model, x, y, loss, recipe, half),
    }
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
    plain, model, x, y = _classifiers(256)
    values = ratios_to_plain(plain, model, x, y, Distilled(), F.cross_entropy, rounds=25)
    yield Measurement(f"{what}, MLP 784-256²-10, batch 256", values, 1.6, threads=THREADS)
    values = _dense(256, 5120, Distilled(), conditioned=True, rounds=25)
    yield Measurement(f"{what}, MLP 32-256³-32, batch 5120", values, 1.6, threads=THREADS)
    images, code = torch.rand(256, 1, 28, 28), Width(32)
    plain, model = plain_autoencoder(32), Autoencoder((1, 28, 28), code, conditioned=True)
    values = ratios_to_plain(plain, model, images, images, Distilled(Octaves()), rounds=25)
    yield Measurement(
        f"{what}, autoencoder of a code of 32, batch 256", values, 2.4, threads=THREADS
    )


def compiled() -> Iterator[Measurement]:
    """The default recipe with `fit(compile=True)`, over plain steps that are not compiled."""
    for batch in (256, 5120):
        plain, model, x, y = _classifiers(batch)
        measured = step(model, x, y, F.cross_entropy, Distilled())
        compiler = StepCompiler(model, width_controls(model), device())

        def of_graphs(measured: Work = measured, compiler: StepCompiler = compiler) -> None:
            with compiler.step():
                measured()

        works = {"plain": step(plain, x, y, F.cross_entropy), "compiled": of_graphs}
        with threads(THREADS), compiler.quiet():
            start = time.perf_counter()
            for _ in range(_STEPS_TO_COMPILE):
                of_graphs()
            seconds = time.perf_counter() - start
            values = ratios(works, rounds=25)["compiled"]
        what = f"recommended step, compiled, MLP 784-256²-10, batch {batch}"
        yield Measurement(what, values, 1.6, threads=THREADS)
        what = f"... its first {_STEPS_TO_COMPILE} steps, {compiler.graphs} graphs"
        yield Measurement(what, np.array([seconds]), 120, unit="s", threads=THREADS)


def language() -> Iterator[Measurement]:
    """The default recipe of a language model."""
    yield Measurement(
        "recommended step, language model of 4 layers, 32 texts of 128 tokens",
        ratios_to_plain(*language_models(), loss=token_cross_entropy),
        2.4,
        threads=THREADS,
    )


def half() -> Iterator[Measurement]:
    """Steps in bfloat16, over plain ones in bfloat16."""
    what, how = "step in bf16 of", {"loss": F.cross_entropy, "half": True}
    plain, model, x, y = _classifiers(5120)
    values = ratios_to_plain(plain, model, x, y, Distilled(), **how)
    name = f"{what} the recommended recipe, MLP 784-256²-10, batch 5120"
    yield Measurement(name, values, 1.6, threads=THREADS)
    x, y = torch.randn(128, 3, 32, 32), torch.randint(10, (128,))
    values = ratios_to_plain(PlainVGG(), variable_vgg(), x, y, Sampled(Stratified(4)), **how)
    name = f"{what} 4 stratified runs, convolutions of 32 to 128 channels, batch 128"
    yield Measurement(name, values, 0.55, threads=THREADS)
    values = ratios_to_plain(*language_models(), loss=token_cross_entropy, half=True)
    name = f"{what} the recommended recipe, language model, 32 texts of 128 tokens"
    yield Measurement(name, values, 2.4, threads=THREADS)


def _classifiers(batch: int) -> tuple[nn.Module, nn.Module, Tensor, Tensor]:
    x, y = torch.randn(batch, 784), torch.randint(10, (batch,))
    sizes = (256, 2, 784, 10)
    return plain_mlp(*sizes), variable_mlp(*sizes, conditioned=True), x, y


def language_models() -> tuple[nn.Module, nn.Module, Tensor, Tensor, Recipe]:
    """Return a plain one and one with a knob for heads and units, texts, and a recipe."""
    tokens = torch.randint(256, (32, 128))
    knob = WidthControl(4)
    sizes = {"layers": 4, "width": 128, "head_dim": 32}
    plain = LanguageModel(256, heads=4, ffn=512, **sizes)
    model = LanguageModel(256, heads=knob.axis(4), ffn=knob.axis(512), **sizes)
    return plain, model, tokens, tokens.roll(-1, 1), Distilled()


def _dense(
    width: int, batch: int, recipe: Recipe, conditioned: bool = False, rounds: int = 15
) -> np.ndarray:
    x, y = torch.randn(batch, 32), torch.randn(batch, 32)
    model = variable_mlp(width, conditioned=conditioned)
    return ratios_to_plain(plain_mlp(width), model, x, y, recipe, rounds=rounds)
