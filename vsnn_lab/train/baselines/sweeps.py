"""Errors by width of what is made for each width alone: ordinary networks, and PCA."""

from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import (
    check_callable,
    check_collection,
    check_int,
    check_module,
    check_pair,
    check_rows,
)
from vsnn_lab.data.batches import seed_from
from vsnn_lab.measure.ablation import Metric, WidthSweep, mean_metric
from vsnn_lab.measure.costs import count_parameters
from vsnn_lab.train.loop import Batches, Pair, seeded_rng
from vsnn_lab.train.recipes.step import Loss
from vsnn_lab.train.training import fit
from vsnn_lab.widths import width_controls

_ON_BATCH = "callable on (output, target)"


def dedicated(
    build: Callable[[int], nn.Module],
    data: Pair | Batches,
    loss: Loss,
    widths: Collection[int],
    test: Pair,
    *,
    metric: Metric | None = None,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    **options: Any,
) -> WidthSweep:
    """Train an ordinary network of each width alone, and measure it.

    With ``checkpoint``, the same call returns at once when it has run before, and goes on where
    it was interrupted; see `fit`.

    Args:
        build: Makes the untrained network of one width, without a knob; torch's CPU generator is
            seeded for it by ``seed`` and the width, and is the same afterwards.
        data: Training data, as in `fit`.
        loss: Mean loss of a batch, as in `fit`.
        widths: Widths to train; each once, in ascending order.
        test: A pair of tensors (inputs, targets) to measure on.
        metric: Mean of a quantity over a batch, ``metric(output, target) -> scalar``; by default
            the loss.
        seed: Determines initial weights, validation split and shuffling.
        checkpoint: Folder for the checkpoints of all widths; None writes none.
        progress: Show a progress bar for each network.
        options: Further arguments of `fit`, such as ``epochs`` and ``lr``.

    Returns:
        The metric on ``test`` and the number of parameters, by width; its ``steps`` are the
        largest width.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If it lies outside its range, or ``build`` makes a network with a knob.

    Example:
        >>> import torch.nn.functional as F
        >>> x = torch.rand(40, 3)
        >>> def build(width):
        ...     return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 3))
        >>> sweep = dedicated(build, (x, x), F.mse_loss, [1, 4], (x, x), epochs=1, progress=False)
        >>> sweep.widths, sweep.parameters
        (array([1, 4]), array([10, 31]))
    """
    check_callable("build", build, "callable on a width")
    metric = check_callable("loss", loss, _ON_BATCH) if metric is None else metric
    check_callable("metric", metric, _ON_BATCH)
    seed = check_int("seed", seed, 0)
    wanted = _sorted_widths(widths)
    # Refused here, not after hours of training.
    rows = [len(check_rows("test", part)) for part in check_pair("test", test)]
    if rows[0] != rows[1]:
        raise ValueError(f"test must pair as many inputs as targets, got {rows[0]} and {rows[1]}")
    models = []
    for width in wanted:
        with seeded_rng(seed_from(seed, width), torch.device("cpu")):
            models.append(check_module("what build makes", build(width)))
        if knobs := width_controls(models[-1]):
            raise ValueError(
                f"build must make a network without a knob, got {knobs[0]} at width {width}; an "
                "axis of fixed size is an int"
            )
    values: list[float] = []
    parameters = []
    for model in models:
        fit(model, data, loss, seed=seed, checkpoint=checkpoint, progress=progress, **options)
        values += mean_metric(model, metric, test, [nullcontext()], progress=False).tolist()
        parameters.append(count_parameters(model))
    name = getattr(metric, "__name__", type(metric).__name__)
    columns = np.array(wanted), np.array(values)
    return WidthSweep(name, *columns, wanted[-1], parameters=np.array(parameters))


def pca_errors(train: Tensor, test: Tensor, widths: Collection[int]) -> dict[int, float]:
    """Return the mean square error per pixel of principal components, by their number.

    One PCA of the largest number is fitted to ``train``, without approximation and in float64.
    Components are orthonormal, so what the first k leave out of an image is its energy about the
    training mean minus that of its first k coordinates.

    Args:
        train: Images to fit, shape (n, ...).
        test: Images to measure on, shape (m, ...), of the same size.
        widths: Numbers of components, at most images and pixels of ``train``.

    Returns:
        The error for each of ``widths``, in ascending order.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If the images differ in size, or there are not so many components.

    Example:
        >>> line = torch.arange(8.0)[:, None] * torch.tensor([1.0, 2.0])
        >>> errors = pca_errors(line, line + torch.tensor([2.0, -1.0]), [1, 2])
        >>> {width: round(error, 6) for width, error in errors.items()}
        {1: 2.5, 2: 0.0}
    """
    from sklearn.decomposition import PCA

    fitted, measured = _flatten_images("train", train), _flatten_images("test", test)
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"test must hold images of shape {tuple(train.shape[1:])} as train does, got "
            f"{tuple(test.shape[1:])}"
        )
    wanted = _sorted_widths(widths, most=min(fitted.shape))
    # Both are exact; the first is faster, but its matrix grows with the square of the pixels.
    solver = "covariance_eigh" if fitted.shape[0] >= fitted.shape[1] else "full"
    pca = PCA(wanted[-1], svd_solver=solver).fit(fitted)
    centred = measured - pca.mean_
    coordinates = centred @ pca.components_.T
    left_out = (centred**2).sum() - (coordinates**2).sum(0).cumsum()
    # Rounding may leave less than nothing where the components explain everything.
    return {width: max(0.0, float(left_out[width - 1])) / centred.size for width in wanted}


def _sorted_widths(widths: Collection[int], most: int | None = None) -> list[int]:
    """Return the widths asked for as checked integers, each once."""
    check_collection("widths", widths, "integers", hint="[8] is a single width")
    found = sorted({check_int("widths", width, 1, most) for width in widths})
    if not found:
        raise ValueError("widths must name at least one width, got none")
    return found


def _flatten_images(name: str, images: Tensor) -> np.ndarray:
    if check_rows(name, images).dim() < 2:
        raise ValueError(f"{name} must have shape (n, ...), got {tuple(images.shape)}")
    return images.detach().cpu().flatten(1).double().numpy()
