"""What a classifier says of every sample at every width, and which samples are worth a look."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab.explore.outputs import check_finite
from vsnn_lab.figures.checks import check_class_names
from vsnn_lab.measure.costs import (
    Latency,
    count_macs_by_width,
    count_parameters,
    measure_latency,
)
from vsnn_lab.measure.evaluation import evaluate, evaluation_mode, to_device_of
from vsnn_lab.networks.gate import proven_chain
from vsnn_lab.networks.trunk import outputs_by_width
from vsnn_lab.widths import at_width, joint_steps, turn_of

# Samples a forward; as in `width_sweep`, so that activations stay in the cache.
_CHUNK = 1024
# Multiplications of a forward below which threads would save a second at most, and in thousands of
# short operations wait minutes for each other where another process wants a core.
_ONE_THREAD = 5e8
_REPEATS = 20  # forwards timed at a width
_TIMING = 2.0  # seconds for all widths that are timed; of slow networks fewer forwards are
# Of those shown, the share whose prediction changes on the way to full width.
_CHANGING = 2 / 3


def count_classes(model: nn.Module, inputs: Tensor) -> int:
    """Return how many classes a classifier tells apart, tried at both ends of its knobs.

    Raises:
        ValueError: If the model does not take the inputs, or does not return one row of numbers for
            each, as many at every width.
    """
    shapes = []
    for width in (joint_steps(model), 1):
        try:
            with at_width(model, turn_of(model, width)):
                output = evaluate(model, inputs[:1])
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise ValueError(
                f"inputs must be what model takes, one row for each image, got shape "
                f"{tuple(inputs.shape)}; a fully connected network takes images.flatten(1). It "
                f"says: {error}"
            ) from error
        fits = isinstance(output, Tensor) and output.dim() == 2 and output.is_floating_point()
        if not fits or len(output) != 1 or not output.shape[1]:
            raise ValueError(
                "model must return a number for each class, floats of shape (batch, classes), got "
                f"{getattr(output, 'shape', type(output).__name__)}"
            )
        shapes.append(output.shape[1])
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"model must tell apart as many classes at every width, got {shapes[0]} at full width "
            f"and {shapes[1]} at width 1; its last axis must be an int"
        )
    return shapes[0]


def name_classes(names: list[str] | None, labels: np.ndarray, classes: int) -> list[str]:
    """Return a name for each class that a model tells apart: its number, if there are no names.

    Raises:
        ValueError: If there is not one name for each, there are more than a figure can show, or a
            label is none of them.
    """
    if names is None:
        names = check_class_names([str(index) for index in range(classes)])
    if len(names) != classes:
        raise ValueError(
            f"class_names must name the {classes} classes that model tells apart, got {len(names)}"
        )
    if labels.max() >= classes:
        raise ValueError(
            f"labels must lie in 0..{classes - 1}, the classes that model tells apart, got "
            f"{labels.max()}"
        )
    return names


@dataclass(frozen=True)
class Measured:
    """What a classifier's instrument shows of every width.

    Attributes:
        predictions: As from `predict`, shape (steps, n).
        parameters: Of each submodel, shape (steps,).
        macs: Multiply-accumulates per sample, shape (steps,).
        latency: Time of a forward, by width, of those that were timed.
    """

    predictions: np.ndarray
    parameters: np.ndarray
    macs: np.ndarray
    latency: dict[int, Latency]


def measure_widths(
    model: nn.Module,
    inputs: Tensor,
    classes: int,
    timed: int,
    timed_widths: Sequence[int],
    *,
    progress: bool = True,
) -> Measured:
    """Predict at every width, count what each costs, and time some, all under one bar.

    Args:
        model: A classifier with one knob, or several that are turned together.
        inputs: What it takes, shape (n, ...).
        classes: How many it tells apart.
        timed: Inputs in the forward that is timed.
        timed_widths: Knob positions at which it is.
        progress: Show a bar if it takes more than a second.

    Raises:
        ValueError: If an output is not finite.
    """
    turns = [turn_of(model, width) for width in range(1, joint_steps(model) + 1)]
    some = to_device_of(model, inputs[:timed])
    # A width that is timed takes about as long as one at which all is predicted.
    chunks = -(-len(inputs) // _CHUNK)
    total = chunks * (len(turns) + len(timed_widths))
    latency = {}
    with tqdm(total=total, desc="all widths", delay=1, disable=not progress) as bar:
        parameters = np.array([count_parameters(model, turn) for turn in turns])
        macs = np.array(count_macs_by_width(model, turns, some[:1], progress=False))
        small = proven_chain(model) is not None and macs[-1] * _CHUNK < _ONE_THREAD
        with _single_thread() if small else nullcontext():
            predictions = predict(model, inputs, classes, bar)
        seconds = _TIMING / len(timed_widths)
        for width in timed_widths:
            latency[width] = measure_latency(
                model, turns[width - 1], some, repeats=_REPEATS, seconds=seconds
            )
            bar.update(chunks)
    return Measured(predictions, parameters, macs, latency)


@contextmanager
def _single_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(threads)


def predict(
    model: nn.Module, inputs: Tensor, classes: int, bar: "tqdm[NoReturn] | None" = None
) -> np.ndarray:
    """Return the class with the largest output, for every width and input.

    Args:
        model: A classifier with one knob, or several that are turned together.
        inputs: What it takes, shape (n, ...).
        classes: How many it tells apart.
        bar: Moves on by one at every width of every 1,024 inputs.

    Returns:
        Integers as small as they can be, shape (steps, n); the first row is that of width 1.

    Raises:
        ValueError: If an output is not finite.
    """
    steps = joint_steps(model)
    found = np.empty((steps, len(inputs)), np.min_scalar_type(classes - 1))
    with evaluation_mode(model):
        for start in range(0, len(inputs), _CHUNK):
            chunk = to_device_of(model, inputs[start : start + _CHUNK])
            outputs = outputs_by_width(model, chunk, range(1, steps + 1))
            for width, output in enumerate(outputs, 1):
                said = check_finite(output, width).argmax(1)
                found[width - 1, start : start + len(chunk)] = said.cpu().numpy()
                if bar is not None:
                    bar.update()
    return found


def confusion_matrices(predictions: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Return samples by width, true class and predicted class, shape (steps, classes, classes)."""
    # As small as they can be, since of many classes there are many.
    counts = np.empty((len(predictions), classes**2), np.min_scalar_type(len(labels)))
    for row, predicted in zip(counts, predictions, strict=True):
        row[:] = np.bincount(labels * classes + predicted, minlength=classes**2)
    return counts.reshape(-1, classes, classes)


def settling_widths(predictions: np.ndarray) -> np.ndarray:
    """Return the width from which on each sample's prediction is that of full width, shape (n,).

    Example:
        >>> settling_widths(np.array([[1, 0], [0, 0], [1, 0]]))
        array([3, 1])
    """
    same = predictions == predictions[-1]
    # From full width down, as long as nothing differs.
    run = np.logical_and.accumulate(same[::-1]).sum(0)
    return len(predictions) - run + 1


def choose_samples(settled: np.ndarray, shown: int, generator: torch.Generator) -> np.ndarray:
    """Choose samples to look at: most settle on the way to full width, the others are any.

    Two thirds change their prediction somewhere, spread over the octaves of the knob, so that a
    move of the slider anywhere changes some; the others are drawn from all. The first settle at
    the narrowest width.

    Args:
        settled: As from `settling_widths`.
        shown: How many, at most all.
        generator: Draws them.

    Returns:
        Indices of samples, shape (shown,), each once.
    """
    order = torch.randperm(len(settled), generator=generator).numpy()
    octaves = np.ceil(np.log2(settled[order])).astype(int)
    # Place of each sample among those of its octave, in the order drawn: a round takes one of each.
    turn = np.zeros(len(order), int)
    for octave in np.unique(octaves):
        own = np.flatnonzero(octaves == octave)
        turn[own] = np.arange(len(own))
    # Of an unfinished round the widest octaves come first: they are the rarest.
    rounds = np.lexsort((-octaves, turn))
    changing = order[[index for index in rounds if octaves[index]]][: round(shown * _CHANGING)]
    others = order[~np.isin(order, changing)][: shown - len(changing)]
    chosen = np.concatenate([changing, others])
    return chosen[np.argsort(settled[chosen], kind="stable")]
