"""One training: a method and a seed; its result is a file."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab.data import data_root
from vsnn_lab.data.batches import seed_from
from vsnn_lab.measure.metrics import accuracy
from vsnn_lab.networks import MLP, make_variable
from vsnn_lab.networks.ordering import Taylor
from vsnn_lab.train.by_position import measure_by_position, measured_positions
from vsnn_lab.train.kept_runs import Result, made_with, read_or_make
from vsnn_lab.train.loop import seeded_rng
from vsnn_lab.train.top.backbones import load_backbone
from vsnn_lab.train.top.features import (
    FeatureBatches,
    Features,
    in_single_precision,
    keep_features,
)
from vsnn_lab.train.top.images import load_images
from vsnn_lab.train.top.setup import Setup
from vsnn_lab.train.training import fit
from vsnn_lab.widths import WidthControl, single_control, width_controls

DEDICATED = (1, 2, 4)  # positions that have a network of their own beside them
METHODS = ("plain", "variable", "linear", *(f"dedicated-{each}" for each in DEDICATED))
"""
``plain``: a top of full width, trained alone; ``variable``: of all widths; ``dedicated-4``: of the
size that the variable one has at position 4, trained alone; ``linear``: one layer, no hidden units.
"""
_LINEAR_RATE = 5  # times the others'
_ORDERED_BY = 8  # batches of features that tell how much a unit is used
_REPEATS = 30  # forwards that are timed
_PACKAGES = ("torch", "torchvision", "numpy")
_in_memory: dict[Setup, tuple[Features, Features]] = {}  # those of one setup


class Run(NamedTuple):
    """A training that is asked for.

    Attributes:
        method: One of ``METHODS``.
        seed: Of weights, order of the images and widths.
        setup: What it is trained on, and how.
    """

    method: str
    seed: int
    setup: Setup = Setup()

    def __str__(self) -> str:
        return f"{self.method}, seed {self.seed}"

    def file(self, folder: Path) -> Path:
        """Return where its result is kept."""
        return self.setup.folder(folder) / f"{self.method}-{self.seed}.json"

    def keep(self, folder: Path) -> Result:
        """Return the result, from its file if it is there; train, measure and write otherwise."""
        return read_or_make(self.file(folder), lambda: self.execute(folder))

    def execute(self, folder: Path, *, measures: bool = True) -> Result:
        """Train and measure; what is interrupted goes on after the last epoch that ended."""
        train, test = kept_features(self.setup)
        start = time.perf_counter(), time.process_time()
        model = train_top(self, train, folder / "checkpoints")
        seconds, processor = time.perf_counter() - start[0], time.process_time() - start[1]
        if not measures:
            return {}
        return {
            "method": self.method,
            "seed": self.seed,
            "settings": self.setup.settings(),
            "trained on": len(train.labels),
            "measured on": len(test.labels),
            **made_with(_PACKAGES),
            "seconds": round(seconds, 1),
            "processor_seconds": round(processor, 1),
            **measure_top(model, test),
        }


def kept_features(
    setup: Setup, *, workers: int = 0, compute: bool = True
) -> tuple[Features, Features]:
    """Return features of training and test images, computed where they are not kept yet.

    They stay in memory until those of another setup are asked for.

    Args:
        setup: Which images and backbone.
        workers: Processes that decode images.
        compute: Whether to compute what is missing.
    """
    if setup in _in_memory:
        return _in_memory[setup]
    _in_memory.clear()
    backbone = load_backbone(setup.backbone, setup.weights)
    limits = {"train": setup.images, "test": setup.test_images}
    images = [
        load_images(setup.data, split, backbone, setup.side, limit)
        for split, limit in limits.items()
    ]
    root = data_root() / "features"
    train, test = (
        keep_features(root, backbone, each, workers=workers, compute=compute) for each in images
    )
    _in_memory[setup] = train, test
    return train, test


def train_top(run: Run, features: Features, checkpoint: Path | None = None) -> nn.Module:
    """Train the top of a method on features; it ends in evaluation mode, on the CPU."""
    setup = run.setup
    batches = FeatureBatches(features.values, features.labels, setup.batch_size, run.seed)
    model = make_top(run, features)
    fit(
        model,
        batches,
        F.cross_entropy,
        epochs=setup.epochs,
        lr=setup.lr * (_LINEAR_RATE if run.method == "linear" else 1),
        validation=None,  # the rate ends at nothing, so that the last weights are the best
        precision=setup.precision,
        seed=run.seed,
        checkpoint=checkpoint,
    )
    return model.eval()


def make_top(run: Run, features: Features) -> nn.Module:
    """Return the untrained top of a method: variable, of one size, or a single layer."""
    setup, method = run.setup, run.method
    inputs, classes = features.values.shape[1], features.classes
    if setup.start == "original" and method in ("plain", "variable"):
        return _original_top(run, features)
    hidden: list[Any] = list(setup.units)
    if method == "linear":
        hidden = []
    elif method == "variable":
        knob = WidthControl(setup.steps)
        hidden = [knob.axis(units) for units in setup.units]
    elif method != "plain":
        hidden = [units * int(method.partition("-")[2]) // setup.steps for units in setup.units]
    with seeded_rng(seed_from(run.seed), torch.device("cpu")):
        return MLP(inputs, hidden, classes, conditioned=method == "variable")


def _original_top(run: Run, features: Features) -> nn.Module:
    """Return the top that the backbone's weights have, variable or as it is."""
    setup = run.setup
    top = load_backbone(setup.backbone, setup.weights).top
    linear = [each for each in (top or nn.Identity()).modules() if isinstance(each, nn.Linear)]
    sizes = [features.values.shape[1], *setup.units, features.classes]
    found = [linear[0].in_features, *(each.out_features for each in linear)] if linear else []
    if top is None or found != sizes:
        raise ValueError(
            f"start must be 'random' unless the original top has layers of {sizes}, which units "
            f"and data ask for, got 'original' and layers of {found}"
        )
    top.requires_grad_(True)
    if run.method == "plain":
        return top
    rows = slice(_ORDERED_BY * setup.batch_size)
    few = features._replace(values=features.values[rows], labels=features.labels[rows])
    order = Taylor(list(in_single_precision(few, setup.batch_size)), F.cross_entropy)
    example = few.values[:2].float()
    return make_variable(top, example, steps=setup.steps, order=order, conditioned=True)


def measure_top(model: nn.Module, test: Features) -> dict[str, Any]:
    """Return test accuracy and costs, by knob position; of a top of one size by 1."""
    turns: dict[int, int | None] = {1: None}
    if width_controls(model):
        turns = {each: each for each in measured_positions(single_control(model).steps)}
    batches, one = in_single_precision(test), test.values[:1].float()
    return measure_by_position(model, ("accuracy", accuracy), batches, turns, one, _REPEATS)
