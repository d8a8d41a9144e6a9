"""One training: a task, a method and a seed; its result is a file."""

import hashlib
import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from vsnn_lab._basics.checks import check_choice, check_int
from vsnn_lab.data.batches import seed_from
from vsnn_lab.train.baselines import pca_errors
from vsnn_lab.train.by_position import by_position, measure_by_position
from vsnn_lab.train.history import History
from vsnn_lab.train.image_tasks.tasks import KINDS, Pair, Task
from vsnn_lab.train.kept_runs import Result, device_name, made_with, read_or_make
from vsnn_lab.train.loop import seeded_rng
from vsnn_lab.train.training import fit

TIMED = 128  # test images, or as many as there are, in a forward that is timed
_PACKAGES = ("torch", "numpy")


class Run(NamedTuple):
    """A training that is asked for.

    Attributes:
        kind: "classifiers" or "autoencoders".
        task: One of those of that kind.
        method: One of the task's.
        seed: Of weights, batches and widths.
        epochs: Passes over the images; None means the task's.
        images: How many to train on, the first ones, and as many to measure on at most; None means
            all.
    """

    kind: str
    task: str
    method: str
    seed: int
    epochs: int | None = None
    images: int | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.task} {self.method}, seed {self.seed}"

    @property
    def how(self) -> Task:
        """What it trains, and how."""
        tasks = KINDS[check_choice("kind", self.kind, tuple(KINDS))]
        return tasks[check_choice("task", self.task, tuple(tasks))]

    @property
    def alone(self) -> int | None:
        """The one width that its network has; None of one that has every width."""
        if self.method == "plain":
            return self.how.width
        return int(self.method.partition("-")[2] or 0) or None

    @property
    def settings(self) -> dict[str, Any]:
        """All that its training depends on beside seed, epochs and the number of images."""
        task, kind = self.how, self.method.partition("-")[0]
        found: dict[str, Any] = {"data": task.data, "width": task.width}
        if kind == "pca":
            return found
        return found | {
            "network": task.network.__name__,
            "lr": task.rates[kind],
            "batch_size": task.batch_size,
            "validation": task.validation,
            "recipe": repr(task.recipe) if self.alone is None else None,
        }

    def file(self, folder: Path) -> Path:
        """Return where its result is kept."""
        # By its settings, so that another recipe or rate makes another run.
        text = json.dumps([self.settings, self.epochs, self.images], sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return folder / self.task / f"{self.method}-{self.seed}-{digest}.json"

    def keep(self, folder: Path) -> Result:
        """Return the result, from its file if it is there; train, measure and write otherwise."""
        return read_or_make(self.file(folder), lambda: self.execute(folder))

    def execute(self, folder: Path) -> Result:
        """Train and measure; what is interrupted goes on after the last epoch that ended."""
        task = self.how
        check_choice("method", self.method, task.methods)
        epochs = task.epochs if self.epochs is None else check_int("epochs", self.epochs)
        if self.images is not None:
            check_int("images", self.images)
        torch.set_num_threads(1)
        train, test = (task.images(split, self.images) for split in ("train", "test"))
        made_by = {
            "task": self.task,
            "method": self.method,
            "seed": self.seed,
            "epochs": epochs,
            "images": len(train[0]),
            "measured_on": len(test[0]),
            "command": f"make {self.kind} ARGS='--tasks {self.task} --methods {self.method}'",
            "device": device_name(),
            **made_with(_PACKAGES),
            "settings": self.settings,
        }
        start = time.process_time()
        if self.method == "pca":
            return made_by | _principal_components(task, train, test)
        model, history = self.train(train, epochs, folder / "checkpoints")
        # What an interrupted training took before is not known.
        seconds = None if history.resumed_at else round(time.process_time() - start, 1)
        return made_by | {"seconds": seconds} | self.measure(model, test)

    def untrained(self, shape: tuple[int, ...]) -> nn.Module:
        """Return the network as its training begins, for inputs of a shape."""
        width = self.alone
        # A plain network begins as the variable one does: at full width they are one.
        seed = self.seed if width in (None, self.how.width) else seed_from(self.seed, width)
        with seeded_rng(seed, torch.device("cpu")):
            return self.how.variable(shape) if width is None else self.how.network(shape, width)

    def train(
        self, data: Pair, epochs: int, checkpoint: Path | None = None
    ) -> tuple[nn.Module, History]:
        """Return the trained network; what was interrupted goes on from its checkpoint."""
        task, model = self.how, self.untrained(tuple(data[0].shape[1:]))
        history = fit(
            model,
            data,
            task.loss,
            epochs=epochs,
            lr=self.settings["lr"],
            batch_size=task.batch_size,
            recipe=task.recipe,  # a network of one width trains plainly
            validation=task.validation,
            seed=self.seed,
            checkpoint=checkpoint,
            progress=False,
        )
        return model.eval(), history

    def measure(self, model: nn.Module, test: Pair) -> dict[str, Any]:
        """Return the metric and the costs of a trained network by width."""
        task = self.how
        turns: dict[int, int | None] = {width: width for width in task.measured}
        if self.alone is not None:
            turns = {self.alone: None}
        return measure_by_position(model, task.metric, test, turns, test[0][:TIMED])


def _principal_components(task: Task, train: Pair, test: Pair) -> dict[str, Any]:
    """Return errors by number of components; costs are those of a matrix and a mean image."""
    start = time.process_time()
    widths = range(1, min(task.width, *train[0].flatten(1).shape) + 1)
    errors = pca_errors(train[0], test[0], widths)
    pixels = math.prod(train[0].shape[1:])
    columns: dict[str, list[Any]] = {
        "mse": [round(error, 7) for error in errors.values()],
        "parameters": [(width + 1) * pixels for width in widths],
        "macs": [2 * width * pixels for width in widths],
    }
    return {
        "seconds": round(time.process_time() - start, 1),
        **by_position(widths, columns),
    }
