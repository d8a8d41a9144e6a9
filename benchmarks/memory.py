"""The memory that a training step holds at its peak, in tensors."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from benchmarks.networks import plain_mlp, variable_mlp
from benchmarks.timing import Measurement, Work, device
from benchmarks.training import step
from vsnn_lab import Distilled, Sampled, Stratified, Triangular
from vsnn_lab.train.recipes import Recipe

_STEPS = 5


def peak() -> Iterator[Measurement]:
    """Peak memory of a step beside that of the plain network, batch 5120."""
    recipes = {
        "4 stratified runs": Sampled(Stratified(4)),
        "the triangle": Sampled(Triangular()),
        "the recommended recipe": Distilled(),
    }
    for name, recipe in recipes.items():
        values = ratios_to_plain(256, 5120, recipe)
        what = f"peak memory of a step, {name}, MLP 32-256³-32, batch 5120"
        yield Measurement(what, values, 1.05)


def ratios_to_plain(width: int, batch: int, recipe: Recipe) -> np.ndarray:
    """Return the peak of some steps over that of a plain one."""
    x, y = torch.randn(batch, 32), torch.randn(batch, 32)
    conditioned = isinstance(recipe, Distilled)
    model, plain = variable_mlp(width, conditioned=conditioned), plain_mlp(width)
    held = [sum(p.numel() * p.element_size() for p in each.parameters()) for each in (plain, model)]
    # Parameters and the two moments of Adam are there before the step and after it.
    alone = 3 * held[0] + bytes_at_peak(step(plain, x, y))
    measured = step(model, x, y, F.mse_loss, recipe)
    return np.array([3 * held[1] + bytes_at_peak(measured) for _ in range(_STEPS)]) / alone


def bytes_at_peak(work: Work) -> int:
    """Return how many bytes more than before the work holds at its peak."""
    work()  # moments and other things that stay
    if device().type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    changes = [
        event.nbytes()
        for event in profiled.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    return int(np.cumsum([0, *changes]).max())
