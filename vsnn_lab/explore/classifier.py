"""Pick a width and see what a classifier says of its samples, and what that width costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab import data
from vsnn_lab._basics.checks import check_int, check_path, check_rows
from vsnn_lab.explore.autoencoder import check_images
from vsnn_lab.explore.budget_box import BudgetBox
from vsnn_lab.explore.controls import ReadOuts, WidthSlider, log2_positions
from vsnn_lab.explore.figure_box import FigureBox
from vsnn_lab.explore.portable import Portable
from vsnn_lab.explore.predictions import (
    choose_samples,
    confusion_matrices,
    count_classes,
    name_classes,
    predict,
    settled_at,
)
from vsnn_lab.explore.take_home import Saved, take_home
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
from vsnn_lab.measure.costs import Latency, count_macs_by_width, count_parameters, measure_latency
from vsnn_lab.widths import single_control

_VERIFIED = 100  # inputs that an extracted network is verified on
_REPEATS = 20  # forwards timed at a width


class ClassifierExplorer(Portable, FigureBox):
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
        class_names: What each class is called, at most seventy; by default its number.
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
        check_images(images, None)
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
        self.plain = None if plain is None else check_share("plain", plain)
        if sweep is not None:
            check_accuracies(sweep)
            if list(sweep.widths) != list(range(1, self.steps + 1)):
                raise ValueError(f"sweep must hold every width 1..{self.steps}, got {sweep.widths}")
        classes = count_classes(model, self.inputs)
        self.class_names = name_classes(names, self.labels, classes)

        self.predictions = predict(model, self.inputs, classes)
        self.confusion = confusion_matrices(self.predictions, self.labels, classes)
        self.flips = (self.predictions != self.predictions[-1]).sum(1)
        self._settled = settled_at(self.predictions)
        self.sweep = self._costed(sweep)
        self.latency = self._timed(timed)

        self.slider = WidthSlider(self.steps, description="width")
        self.read_outs = ReadOuts()
        self.budget = BudgetBox(self.sweep, {w: t.median_ms for w, t in self.latency.items()})
        self.status = widgets.HTML(layout={"flex": "1 1 auto"})
        self.new_button = widgets.Button(
            description="New images", icon="refresh", layout={"flex": "0 0 auto"}
        )
        self.save_button = widgets.Button(
            description="Extract this width and save",
            icon="scissors",
            layout={"width": "250px", "flex": "0 0 auto"},
        )
        self._choose()
        self.figure = go.FigureWidget(self.static_figure())
        self.show(self.width)
        self.slider.observe(lambda change: self.show(change.new), "value")
        self.budget.on_ask(self.to_budget)
        self.new_button.on_click(lambda button: self.new_images())
        self.save_button.on_click(lambda button: self.save())
        buttons = widgets.HBox(
            [self.new_button, self.save_button, self.status], layout={"align_items": "center"}
        )
        super().__init__(
            [self.slider, self.figure, self.read_outs, self.budget, buttons],
            layout={"max_width": "1016px"},
        )

    @property
    def width(self) -> int:
        """The width shown."""
        return self.slider.value

    def show(self, width: int) -> None:
        """Put figure and read-outs to a width: the slider's callback, look-ups only."""
        self.move_figure(self.figure, width)
        self.read_outs.show(self.read_out(width))
        self.budget.width = width
        self._say("")  # what was said was about another width

    def move_figure(self, figure: go.Figure, width: int) -> None:
        """Put the figure, or one like it, to a width."""
        width = check_int("width", width, 1, self.steps)
        show_predictions(figure, *self._told(width), self.sweep, width, self.class_names)

    def read_out(self, width: int) -> dict[str, tuple[str, str]]:
        """Return what the read-outs say at a width: number and small print by name."""
        width = check_int("width", width, 1, self.steps)
        accuracy, full = (self.sweep.at(each) * PERCENT for each in (width, self.steps))
        costs = [
            (self.sweep.cost(kind, width), self.sweep.cost(kind, self.steps))
            for kind in ("parameters", "macs")
        ]
        counts = [(f"{cost:,}", f"{cost / most:.1%} of full width") for cost, most in costs]
        timed = self.budget.nearest(width)
        latency = self.latency[timed]
        threads = f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"
        where = threads if latency.device == "cpu" else latency.device
        return {
            "width": (f"{width}", f"of {self.steps}"),
            "test accuracy": (f"{accuracy:.2f} %", "of the test images"),
            "against full width": (f"{accuracy - full:+.2f}", f"points; full: {full:.2f} %"),
            "parameters": counts[0],
            "MACs a sample": counts[1],
            f"latency, batch {latency.batch}": (
                f"{latency.median_ms:.3f} ms",
                f"width {timed}, {where}",
            ),
            "flips vs full width": (
                f"{self.flips[width - 1]:,}",
                f"of {len(self.labels):,} images",
            ),
        }

    def new_images(self) -> None:
        """Show other samples, at the same width."""
        self._choose()
        shown = self.static_figure()
        with self.figure.batch_update():
            self.figure.data[0].source = shown.data[0].source
            self.move_figure(self.figure, self.width)
        self._say("")

    def to_budget(self) -> int | None:
        """Move to the width that the budget box asks for; return it, or None if there is none.

        The status line says what that width has, or why no width will do.
        """
        try:
            width, has = self.budget.choose()
        except (TypeError, ValueError) as error:
            self._say(f"{error}")
            return None
        self.slider.value = width
        self._say(f"width {width} of {self.steps}: {has}")
        return width

    def save(self) -> tuple[Path, ...]:
        """Cut the width shown out, verify it, and save it; return the files.

        These are weights as safetensors and, where onnx is installed, the network as ONNX. What
        goes wrong is said in the status line and raised.
        """
        width, saved = self.width, Saved()
        self._say(f"saving width {width} …")
        stem = self.folder / f"classifier-width-{width}"
        try:
            take_home(self.model, width, stem, self.inputs[:_VERIFIED], saved)
        except Exception as error:
            self._say(f"{saved}; then: {error}" if saved.files else f"not saved: {error}")
            raise
        self._say(f"{saved}")
        return saved.files

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        return classifier_figure(
            to_bytes(self.images[self.chosen]),
            *self._told(self.width),
            self.sweep,
            self.width,
            self.class_names,
            dedicated=self.dedicated,
            plain=self.plain,
        )

    def _told(self, width: int) -> tuple[np.ndarray, ...]:
        """Return classes of the samples shown (true, predicted, at full width) and confusion."""
        predicted, at_full = self.predictions[width - 1], self.predictions[-1]
        of_shown = (each[self.chosen] for each in (self.labels, predicted, at_full))
        return *of_shown, self.confusion[width - 1]

    def _choose(self) -> None:
        self.chosen = choose_samples(self._settled, self.shown, self._generator)

    def _costed(self, sweep: WidthSweep | None) -> WidthSweep:
        """Return accuracy and costs at every width."""
        widths = np.arange(1, self.steps + 1)
        if sweep is None:
            values = (self.predictions == self.labels).mean(1)
            sweep = WidthSweep("accuracy", widths, values, self.steps)
        parameters = [count_parameters(self.model, width) for width in widths.tolist()]
        sample = self._on_device(self.inputs[:1])
        macs = count_macs_by_width(self.model, widths.tolist(), sample)
        return replace(sweep, parameters=np.array(parameters), macs=np.array(macs))

    def _timed(self, images: int) -> dict[int, Latency]:
        """Time a forward of some images, at widths evenly spaced in log2."""
        some = self._on_device(self.inputs[:images])
        bar = tqdm(log2_positions(self.steps), desc="latency", delay=2)
        return {w: measure_latency(self.model, w, some, repeats=_REPEATS) for w in bar}

    def _on_device(self, inputs: Tensor) -> Tensor:
        return inputs.to(next(self.model.parameters(), inputs).device)

    def _say(self, text: str) -> None:
        line = '<div style="font-size:12px;line-height:1.3;overflow-wrap:anywhere">{}</div>'
        said = line.format(escape(text)) if text else ""
        if self.status.value != said:
            self.status.value = said
