"""Pick a width and see what a classifier says of its samples, and what that width costs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vsnn_lab import data
from vsnn_lab._basics.checks import check_int, check_path, check_rows
from vsnn_lab.explore.drawing import drawing_pad
from vsnn_lab.explore.image_batch import check_image_batch, to_sprites
from vsnn_lab.explore.instrument import Instrument, Position
from vsnn_lab.explore.parts import (
    array,
    count_tile,
    counts,
    curve,
    log2_positions,
    tile,
    tiles,
    width_control,
    widths_that_fit,
)
from vsnn_lab.explore.predictions import (
    choose_samples,
    confusion_matrices,
    count_classes,
    measure_widths,
    name_classes,
    settling_widths,
)
from vsnn_lab.export.submodel import SavedSubmodel, save_submodel
from vsnn_lab.figures.checks import (
    check_accuracies,
    check_class_names,
    check_classes,
    check_share,
    check_shares,
)
from vsnn_lab.figures.names import short_names
from vsnn_lab.measure.ablation import WidthSweep
from vsnn_lab.widths import joint_steps, turn_of

MOST_SHOWN, COLUMNS = 15, 5  # three rows are as high as the curve beside them
_CURVE = 250  # pixels: with its legend as high as the pictures
_LETTERS = 9, 12  # of a name below a picture, and beside the matrix
_PERCENT = 100
_MOST = 24_000_000  # bytes of confusion matrices; beyond it widths are left out
# Accuracies are means of float32, and a goal is typed as what the read-out shows: so both are
# rounded to decimals that count far less than a sample.
_DECIMALS = 6
_VERIFIED = 100  # inputs that an extracted network is verified on


class ClassifierExplorer(Instrument):
    """An instrument for one classifier: slider, predictions, accuracy, confusion, costs, budgets.

    Everything is computed when it is made: all predictions at every width, costs, and the latency
    at widths evenly spaced in log2. Confusion matrices beyond 24 MB are thinned: then the slider
    has fewer stops.

    Two thirds of the samples shown change their prediction on the way to full width, spread over
    the octaves of the knob; the others are drawn from all. The first of them settle at the
    narrowest width. They stay while the slider moves.

    Args:
        model: A classifier that returns a number for each class, such as `vsnn_lab.MLP`. Several
            knobs are turned together by the slider, see `joint_positions`.
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
        width: The width shown; set it, or observe it.
        predictions: Class predicted, by width (from 1) and image, shape (steps, n).
        sweep: Accuracy, parameters and multiply-accumulates at every width.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If images, inputs, labels, names or accuracies do not fit each other or the
            model, or the sweep lacks a width.
    """

    width = Position().tag(sync=True)

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
        self.steps = joint_steps(model)
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
        alone = check_shares("dedicated", dedicated)
        for width in alone:
            check_int("each width of dedicated", width, 1, self.steps)
        plain = check_share("plain", plain)
        if sweep is not None:
            check_accuracies(sweep, self.steps)
        classes = count_classes(model, self.inputs)
        self.class_names = name_classes(names, self.labels, classes)

        found = measure_widths(model, self.inputs, classes, timed, log2_positions(self.steps))
        self.predictions, self.latency = found.predictions, found.latency
        self.flips = (self.predictions != self.predictions[-1]).sum(1)
        self._settling_widths = settling_widths(self.predictions)
        if sweep is None:
            accuracies = (self.predictions == self.labels).mean(1)
            sweep = WidthSweep("accuracy", np.arange(1, self.steps + 1), accuracies, self.steps)
        self.sweep = replace(sweep, parameters=found.parameters, macs=found.macs)

        size = classes**2 * np.min_scalar_type(len(images)).itemsize
        self._widths = widths_that_fit(size, self.steps, _MOST)
        samples = self._samples()
        names, (below, beside) = self.class_names, _LETTERS
        captions = {"said": "said", "truth": "truth", "full": "full", "names": names}
        captions["short"] = short_names(names, below)
        pictures = {
            "type": "pictures",
            "size": samples["pictures"]["shape"][1:],
            "count": self.shown,
            "columns": COLUMNS,
            "key": "✗ framed: wrong (true class)   ⇄ not as at full width",
            "tracks": [{"label": "", "source": "pictures", "captions": captions}],
        }
        line = curve(
            self.sweep, "test accuracy (%)", _PERCENT, scale=_PERCENT, dedicated=alone, plain=plain
        )
        line["height"] = _CURVE
        matrix = {
            "type": "matrix",
            "source": "confusion",
            "names": names,
            "short": short_names(names, beside),
            "label": "% of each true class (row) by prediction",
        }
        budget = {"type": "budget", "by": "width", "of": self.steps, "by_width": self._budgets()}
        confusion = confusion_matrices(self._at(self.predictions), self.labels, classes)
        arrays = samples | {
            "confusion": counts(confusion, "width"),
            "curve": array(self.sweep.values * _PERCENT),
        }
        parts: list[dict[str, Any]] = [pictures, line, matrix, tiles(self._tiles()), budget]
        pad = drawing_pad(model, images, self.inputs, self._widths, names)
        if pad is not None:
            parts.insert(-1, pad[0])  # beside the tiles
            arrays |= pad[1]
        description = {
            "kind": "classifier",
            "label": "Classifier by width",
            "controls": [width_control("width", "width", self._widths, self.steps)],
            "parts": parts,
            "actions": [
                {"name": "new_images", "label": "New images"},
                {"name": "save", "label": "Extract this width and save"},
            ],
        }
        buttons = {"new_images": self.new_images, "save": self.save}
        super().__init__(description, arrays, buttons, width=self.steps)
        self.run_drawing = pad and pad[2]

    def new_images(self) -> None:
        """Show other samples, at the same width."""
        self.arrays = self.arrays | self._samples()
        self.status = ""

    def save(self) -> tuple[Path, ...]:
        """Cut the width shown out, verify it, and save it; return the files.

        These are weights as safetensors and, where onnx is installed, the network as ONNX. What
        goes wrong is said in the status line and raised.
        """
        width, saved = self.width, SavedSubmodel()
        self.status = f"saving width {width} …"
        stem = self.folder / f"classifier-width-{width}"
        try:
            save_submodel(
                self.model, turn_of(self.model, width), stem, self.inputs[:_VERIFIED], saved
            )
        except Exception as error:
            self.status = f"{saved}; then: {error}" if saved.files else f"not saved: {error}"
            raise
        self.status = f"{saved}"
        return saved.files

    def _at(self, values: np.ndarray) -> np.ndarray:
        """Return what an array over all widths has at those of the slider."""
        return values[np.array(self._widths) - 1]

    def _samples(self) -> dict[str, Any]:
        """Choose samples; return their pictures, true classes, and predictions by width."""
        self.chosen = choose_samples(self._settling_widths, self.shown, self._generator)
        return {
            "pictures": array(to_sprites(self.images[self.chosen])),
            "truth": counts(self.labels[self.chosen]),
            "said": counts(self._at(self.predictions)[:, self.chosen], "width"),
            "full": counts(self.predictions[-1, self.chosen]),
        }

    def _tiles(self) -> list[dict[str, Any]]:
        """Return what the read-outs say at each width of the slider."""
        accuracies, full = self._at(self.sweep.values) * _PERCENT, self.sweep.at(self.steps)
        timed = [min(self.latency, key=lambda t: abs(t - width)) for width in self._widths]
        latency = self.latency[self.steps]
        threads = f"{latency.threads} thread{'' if latency.threads == 1 else 's'}"
        where = threads if latency.device == "cpu" else latency.device
        return [
            tile("width", [f"{width}" for width in self._widths], f"of {self.steps}"),
            tile("test accuracy", [f"{a:.2f} %" for a in accuracies], "of the test images"),
            tile(
                "against full width",
                [f"{accuracy - full * _PERCENT:+.2f}" for accuracy in accuracies],
                f"points; full: {full * _PERCENT:.2f} %",
            ),
            count_tile("parameters", self._costs("parameters")),
            count_tile("MACs a sample", self._costs("macs")),
            tile(
                f"latency, batch {latency.batch}",
                [f"{self.latency[width].median_ms:.3f} ms" for width in timed],
                [f"width {width}, {where}" for width in timed],
            ),
            tile(
                "flips vs full width",
                [f"{flips:,}" for flips in self._at(self.flips)],
                f"of {len(self.labels):,} images",
            ),
        ]

    def _costs(self, kind: str) -> list[Any]:
        return [self.sweep.cost(kind, width) for width in self._widths]

    def _budgets(self) -> dict[str, list[float | None]]:
        """Return what each width of the slider costs and reaches; None where it was not timed."""
        times = {width: latency.median_ms for width, latency in self.latency.items()}
        return {
            "width": self._widths,
            "parameters": self._costs("parameters"),
            "macs": self._costs("macs"),
            "latency_ms": [times.get(width) for width in self._widths],
            "accuracy": self._at(self.sweep.values).round(_DECIMALS).tolist(),
        }
