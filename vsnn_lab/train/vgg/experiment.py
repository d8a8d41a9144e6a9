"""One training: a method and a seed; its result is a file, and its network another."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from vsnn_lab._basics import checkpoints
from vsnn_lab._basics.checks import check_choice, check_int
from vsnn_lab.train.history import History
from vsnn_lab.train.kept_runs import Result, device_name, made_with, measuring_device, read_or_make
from vsnn_lab.train.training import fit
from vsnn_lab.train.vgg.images import AugmentedBatches, Pair, load_images, on_canvas
from vsnn_lab.train.vgg.layer_widths import accuracy_of_layer_widths
from vsnn_lab.train.vgg.measuring import costs_by_position, latency_by_position, width_accuracies
from vsnn_lab.train.vgg.methods import BATCH, FINE_TUNING, METHODS, SETTINGS, Method, untrained

TRAINING_IMAGES = 54_000
_CALIBRATION, _SCORED = 2000, 1000  # training images that statistics, and units, are measured on
_PACKAGES = ("torch", "torchvision", "numpy")


class Run(NamedTuple):
    """A training that is asked for.

    Attributes:
        method: One of ``METHODS``.
        seed: Of weights, batches and widths.
        epochs: Passes over the images; a network that was trained before has a third of them.
        images: How many to train on, the first ones; it is measured on as many at most.
    """

    method: str
    seed: int
    epochs: int = 12
    images: int = TRAINING_IMAGES

    def __str__(self) -> str:
        return f"{self.method}, seed {self.seed}, {self.epochs} epochs of {self.images} images"

    @property
    def begins_with(self) -> "Run | None":
        """The run whose network it begins with, if any."""
        name = self.how.begins_with
        return None if name is None else self._replace(method=name)

    @property
    def how(self) -> Method:
        """How its network begins and trains."""
        return METHODS[check_choice("method", self.method, tuple(METHODS))]

    def file(self, folder: Path) -> Path:
        """Return where its result is kept."""
        return folder / f"{self.epochs}x{self.images}" / f"{self.method}-{self.seed}.json"

    def model_file(self, folder: Path) -> Path:
        """Return where its weights are kept."""
        return self.file(folder).with_suffix(".safetensors")

    def keep(self, folder: Path) -> Result:
        """Return the result, from its file if it is there; train, measure and write otherwise."""
        return read_or_make(self.file(folder), lambda: self.execute(folder))

    def execute(self, folder: Path) -> Result:
        """Train and measure; write the weights to a file."""
        check_int("epochs", self.epochs)
        check_int("images", self.images, 1, TRAINING_IMAGES)
        torch.set_num_threads(1)
        model = self.network(folder)
        start = time.process_time()
        history = self.train(model, folder / "checkpoints")
        seconds = time.process_time() - start
        made_by = {
            "method": self.method,
            "seed": self.seed,
            "epochs": self.epochs,
            "images": self.images,
            "command": "make vgg",
            "device": device_name(),
            **made_with(_PACKAGES),
        }
        checkpoints.write(self.model_file(folder), model.state_dict(), {"made_by": made_by})
        recipe = None if self.how.position else repr(self.how.recipe)
        return {
            **made_by,
            "settings": self.settings | {"batch_size": BATCH, "recipe": recipe},
            # Of what was resumed, the seconds before are not known.
            "seconds": None if history.resumed_at else round(seconds, 1),
            "parameters_kept": sum(each.numel() for each in model.parameters()),
            **self.measure(model),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """Rate and schedule of its training."""
        return FINE_TUNING if self.how.begins_with else SETTINGS

    def network(self, folder: Path) -> nn.Module:
        """Return the network that training begins with: a trained one, if it says so."""
        before = self.begins_with
        if before is None:
            return untrained(self.method, self.seed)
        before.keep(folder)
        weights, _ = checkpoints.read(before.model_file(folder))
        return untrained(self.method, self.seed, weights, self._images("train", _SCORED))

    def train(self, model: nn.Module, checkpoint: Path | None = None) -> History:
        """Train a network in place; what was interrupted goes on from its checkpoint."""
        history = fit(
            model,
            AugmentedBatches(*load_images("train", self.images), BATCH, self.seed),
            F.cross_entropy,
            epochs=-(-self.epochs // 3) if self.how.begins_with else self.epochs,
            recipe=self.how.recipe,
            knobs=self.how.draws,
            validation=None,  # the rate ends at nothing, so that the last weights are the best
            seed=self.seed,
            checkpoint=checkpoint,
            progress=False,
            **self.settings,
        )
        model.eval()
        return history

    def measure(self, model: nn.Module, part: str = "test") -> dict[str, Any]:
        """Return accuracy, parameters and multiply-accumulates by position.

        Args:
            model: The trained network.
            part: "test", or "validation" to choose by.
        """
        device = measuring_device()
        model.to(device)
        images, labels = self._images(part)
        data = images.to(device), labels.to(device)
        calibration = self._images("train", _CALIBRATION)[0].to(device)
        if self.how.knobs == "per_layer":
            scored, classes = self._images("validation", _SCORED)
            chosen_on = scored.to(device), classes.to(device)
            return accuracy_of_layer_widths(model, data, chosen_on, calibration)
        found = width_accuracies(model, data, calibration, self.how.position)
        model.to("cpu")
        found |= costs_by_position(model, images[:1], self.how.position)
        if self.how.position is None:
            found["latency_ms"] = latency_by_position(model, images)
        return found

    def _images(self, part: str, count: int = TRAINING_IMAGES) -> Pair:
        images, labels = load_images(part, min(self.images, count))
        return on_canvas(images), labels
