"""Pick a width and see what a classifier says of its samples, and what that width costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from vsnn_lab import data
from vsnn_lab._basics.checks import check_int, check_path, check_rows
from vsnn_lab.explore.budget_box import BudgetBox
from vsnn_lab.explore.controls import log2_positions
from vsnn_lab.explore.image_batch import check_image_batch
from vsnn_lab.explore.instrument import Instrument
from vsnn_lab.explore.predictions import (
    choose_samples,
    confusion_matrices,
    count_classes,
    measure_widths,
    name_classes,
    settling_widths,
)
from vsnn_lab.explore.save_submodel import SavedSubmodel, save_submodel
from vsnn_lab.figures.checks import (
    check_accuracies,
    check_class_names,
    check_classes,
    check_share,
    check_shares,
)
from vsnn_lab.figures.classifier import MOST_SHOWN, PERCENT, classifier_figure, show_predictions
from vsnn_lab.figures.images import to_bytes
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.widths import single_control

_VERIFIED = 100  # inputs that an extracted network is verified on


class ClassifierExplorer(Instrument):
    """An instrument for one classifier: slider, predictions, accuracy, confusion, costs, budgets.

    Everything is computed when it is made: all predictions at every width, costs, and the latency
    at widths evenly spaced in log2. A move of the slider only looks up.

    Two thirds of the samples shown change their prediction on the way to full width, spread over
    the octaves of the knob; the others are drawn from all. The first of them settle at the
    narrowest width. They stay while the slider moves.

    Args:
        model: A classifier with one knob that returns a number for each class, such as
            `vsnn_lab.MLP`.
        images: Images to show, shape (n, 1 or 3, height, width), pixels in [0, 1].
        labels: Class of each, integers, shape (n,).
        inputs: What the model takes, one row for each image, such as ``images.flatten(1)``; by
            default the images.
        class_names: What each class is called, at most a thousand; by default its number.
        sweep: Accuracy at every width, if it is known, as from ``width_sweep`` with
            ``metrics.accuracy``; by default it is measured on ``images``.
        dedicated: Accuracy of a network trained at one width, by width; several values, one a
            seed, become a point with whiskers.
        plain: Accuracy of a plain network of full width, drawn as a line.
        shown: Samples shown at a time, at most 15, or all if there are fewer.
        timed: Images in the forward that is timed; fewer suit a large network.
        seed: Chooses the first samples.
        folder: Where the save button writes; by default ``submodels`` among the data.

    Attributes:
        slider: The `WidthSlider`.
        budget: The `BudgetBox`, which moves the slider to the width that a budget asks for.
        width: The width shown.
        predictions: Class predicted, by width (from 1) and image, shape (steps, n).
        sweep: Accuracy, parameters and multiply-accumulates at every width.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If images, inputs, labels, names or accuracies do not fit each other or the
            model, or the sweep lacks a width.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | np.ndarray,
        *,
        inputs: Tensor | None = None,
        class_names: Sequence[str] | None = None,
        sweep: WidthSweep | None = None,
        dedicated: Mapping[int, float | Sequence[float]] | None = None,
        plain: float | None = None,
        shown: int = 15,
        timed: int = 256,
        seed: int = 0,
        folder: str | Path | None = None,
    ) -> None:
        self.steps = single_control(model).steps
        check_image_batch(images, None)
        self.model, self.images = model, images
        self.inputs = images if inputs is None else check_rows("inputs", inputs)
        if len(self.inputs) != len(images):
            raise ValueError(
                f"inputs must have a row for each of the {len(images)} images, got "
                f"{len(self.inputs)}"
            )
        names = None if class_names is None else check_class_names(class_names)
        self.labels = check_classes("labels", labels, len(images), names)
        self.shown = min(check_int("shown", shown, 1, MOST_SHOWN), len(images))
        timed = min(check_int("timed", timed), len(images))
        self._generator = torch.Generator().manual_seed(check_int("seed", seed, 0))
        folder = data.data_root() / "submodels" if folder is None else folder
        self.folder = check_path("folder", folder)
        self.dedicated = check_shares("dedicated", dedicated)
        for width in self.dedicated:
            check_int("each width of dedicated", width, 1, self.steps)
        self.plain = check_share("plain", plain)
        if sweep is not None:
            check_accuracies(sweep, self.steps)
        classes = count_classes(model, self.inputs)
        self.class_names = name_classes(names, self.labels, classes)

        found = measure_widths(model, self.inputs, classes, timed, log2_positions(self.steps))
        self.predictions, self.latency = found.predictions, found.latency
        self.confusion = confusion_matrices(self.predictions, self.labels, classes)
        self.flips = (self.predictions != self.predictions[-1]).sum(1)
        self._settling_widths = settling_widths(self.predictions)
        self.chosen = choose_samples(self._settling_widths, self.shown, self._generator)
        if sweep is None:
            accuracies = (self.predictions == self.labels).mean(1)
            sweep = WidthSweep("accuracy", np.arange(1, self.steps + 1), accuracies, self.steps)
        self.sweep = replace(sweep, parameters=found.parameters, macs=found.macs)
        self.budget = BudgetBox(self.sweep, {w: t.median_ms for w, t in self.latency.items()})
        self.budget.on_submit(self.to_budget)
        super().__init__(self.steps, "width", [self.budget])

    def show(self, width: int) -> None:
        """Put figure and read-outs to a width: the slider's callback, look-ups only."""
        super().show(width)
        self.budget.width = width
        self._write_status("")  # what it said was about another width

    def move_figure(self, figure: go.Figure, width: int) -> None:
        """Put the figure, or one like it, to a width."""
        width = check_int("width", width, 1, self.steps)
        show_predictions(figure, *self._classes_at(width), self.sweep, width, self.class_names)

    def read_out(self, width: int) -> dict[str, tuple[str, str]]:
        """Return what the read-outs say at a width: number and small print by name."""
        width = check_int("width", width, 1, self.steps)
        accuracy, full = (self.sweep.at(each) * PERCENT for each in (width, self.steps))
        costs = [
            (self.sweep.cost(kind, width), self.sweep.cost(kind, self.steps))
            for kind in ("parameters", "macs")
        ]
        counts = [(f"{cost:,}", f"{cost / most:.1%} of full width") for cost, most in costs]
        timed = self.budget.nearest_timed(width)
        latency, flips = self.latency[timed], self.flips[width - 1]
        milliseconds = f"{latency.median_ms:.3f} ms"
        threads = f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"
        where = threads if latency.device == "cpu" else latency.device
        return {
            "width": (f"{width}", f"of {self.steps}"),
            "test accuracy": (f"{accuracy:.2f} %", "of the test images"),
            "against full width": (f"{accuracy - full:+.2f}", f"points; full: {full:.2f} %"),
            "parameters": counts[0],
            "MACs a sample": counts[1],
            f"latency, batch {latency.batch}": (milliseconds, f"width {timed}, {where}"),
            "flips vs full width": (f"{flips:,}", f"of {len(self.labels):,} images"),
        }

    def new_images(self) -> None:
        """Show other samples, at the same width."""
        self.chosen = choose_samples(self._settling_widths, self.shown, self._generator)
        shown = self.static_figure()
        with self.figure.batch_update():
            self.figure.data[0].source = shown.data[0].source
            self.move_figure(self.figure, self.width)
        self._write_status("")

    def to_budget(self) -> int | None:
        """Move to the width that the budget box asks for; return it, or None if there is none.

        The status line says what that width has, or why no width will do.
        """
        try:
            width, has = self.budget.choose()
        except (TypeError, ValueError) as error:
            self._write_status(f"{error}")
            return None
        self.slider.value = width
        self._write_status(f"width {width} of {self.steps}: {has}")
        return width

    def save(self) -> tuple[Path, ...]:
        """Cut the width shown out, verify it, and save it; return the files.

        These are weights as safetensors and, where onnx is installed, the network as ONNX. What
        goes wrong is said in the status line and raised.
        """
        width, saved = self.width, SavedSubmodel()
        self._write_status(f"saving width {width} …")
        stem = self.folder / f"classifier-width-{width}"
        try:
            save_submodel(self.model, width, stem, self.inputs[:_VERIFIED], saved)
        except Exception as error:
            self._write_status(f"{saved}; then: {error}" if saved.files else f"not saved: {error}")
            raise
        self._write_status(f"{saved}")
        return saved.files

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        return classifier_figure(
            to_bytes(self.images[self.chosen]),
            *self._classes_at(self.width),
            self.sweep,
            self.width,
            self.class_names,
            dedicated=self.dedicated,
            plain=self.plain,
        )

    def _classes_at(self, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return classes of the samples shown (true, predicted, at full width) and confusion."""
        chosen, predicted, full = self.chosen, self.predictions[width - 1], self.predictions[-1]
        return self.labels[chosen], predicted[chosen], full[chosen], self.confusion[width - 1]

    def _write_status(self, text: str) -> None:
        line = '<div style="font-size:12px;line-height:1.3;overflow-wrap:anywhere">{}</div>'
        self.status.value = line.format(escape(text)) if text else ""
