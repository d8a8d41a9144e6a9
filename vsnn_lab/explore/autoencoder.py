"""Pick a code width and see what the autoencoder keeps of the pictures."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab import data
from vsnn_lab._basics.checks import check_int, check_path, short_repr
from vsnn_lab.explore.image_batch import check_image_batch
from vsnn_lab.explore.instrument import Instrument
from vsnn_lab.export.weights import save_weights
from vsnn_lab.figures.autoencoder import COLUMNS, MSE_SCALE, autoencoder_figure, show_width
from vsnn_lab.figures.checks import check_curve, check_sweep
from vsnn_lab.figures.images import mosaic, png, to_bytes
from vsnn_lab.measure.ablation import WidthSweep, width_sweep
from vsnn_lab.measure.costs import count_parameters
from vsnn_lab.measure.evaluation import evaluate
from vsnn_lab.widths import at_width, single_control


class AutoencoderExplorer(Instrument):
    """An instrument for one autoencoder: slider, pictures, error curve, read-outs.

    Everything is computed when it is made (and, for the pictures, when new ones are asked for): the
    shown images at every width, the error curve, the sizes. A move of the slider only looks up.

    Args:
        model: An autoencoder with one knob, such as `vsnn_lab.Autoencoder`.
        images: Images to choose from, shape ``(n, *model.shape)``, pixels in [0, 1].
        sweep: Mean square error at every width, if it is known; by default it is measured on
            ``images``.
        pca: Mean square error of principal components by their number, drawn beside it.
        shown: Pictures shown at a time, or all if there are fewer.
        seed: Chooses the first ones.
        folder: Where the save button writes; by default ``submodels`` among the data.

    Attributes:
        slider: The `WidthSlider`.
        width: The width shown.

    Raises:
        TypeError: If ``images`` is no tensor.
        ValueError: If the images have the wrong shape or values, or the sweep lacks a width.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        *,
        sweep: WidthSweep | None = None,
        pca: Mapping[int, float] | None = None,
        shown: int = 10,
        seed: int = 0,
        folder: str | Path | None = None,
    ) -> None:
        self.steps = single_control(model).steps
        check_image_batch(images, getattr(model, "shape", None))
        self.model, self.images, self.pca = model, images, check_curve("pca", pca)
        self.shown = min(check_int("shown", shown), len(images))
        self._generator = torch.Generator().manual_seed(check_int("seed", seed, 0))
        folder = data.data_root() / "submodels" if folder is None else folder
        self.folder = check_path("folder", folder)
        if sweep is None:
            sweep = width_sweep(model, F.mse_loss, (images, images))
        self.sweep = check_sweep(sweep, self.steps)
        self.parameters = [count_parameters(model, w) for w in range(1, self.steps + 1)]
        self._choose_images()
        super().__init__(self.steps, "code units")

    def move_figure(self, figure: go.Figure, width: int) -> None:
        """Put the figure, or one like it, to a width."""
        width = check_int("width", width, 1, self.steps)
        show_width(figure, self._pictures[width - 1], self.sweep, width)

    def read_out(self, width: int) -> dict[str, tuple[str, str]]:
        """Return what the read-outs say at a width: number and small print by name."""
        width = check_int("width", width, 1, self.steps)
        pixels = math.prod(self.images.shape[1:])
        error, full = self.sweep.at(width), self.sweep.at(self.steps)
        parameters, most = self.parameters[width - 1], self.parameters[-1]
        return {
            "code units kept": (f"{width}", f"of {self.steps}"),
            "compression": (f"{pixels / width:.1f} : 1", f"{pixels} pixels to {width} numbers"),
            "test MSE × 1000": (f"{error * MSE_SCALE:.2f}", "per pixel, pixels in [0, 1]"),
            "against full width": (f"{error / full:.2f} ×", f"full: {full * MSE_SCALE:.2f}"),
            "parameters": (f"{parameters:,}", f"{parameters / most:.1%} of full width"),
        }

    def new_images(self) -> None:
        """Show other images, at the same width."""
        self.status.value = ""
        self._choose_images()
        self.show(self.width)

    def save(self) -> Path:
        """Cut the width shown out and save its weights; return the file."""
        width = self.width
        path = self.folder / f"autoencoder-width-{width}.safetensors"
        try:
            save_weights(self.model, path, width=width)
        except OSError as error:
            self.status.value = f"not saved: {error}"
            raise
        size = path.stat().st_size / 1e6
        self.status.value = f"saved {path.name} ({size:.1f} MB) in {path.parent}"
        return path

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        originals, reconstructions = self._bytes
        return autoencoder_figure(
            originals, reconstructions[self.width - 1], self.sweep, self.width, pca=self.pca
        )

    def _choose_images(self) -> None:
        """Choose images and compute their pictures at every width."""
        chosen = torch.randperm(len(self.images), generator=self._generator)[: self.shown]
        originals = self.images[chosen]
        rebuilt = []
        for width in range(1, self.steps + 1):
            with at_width(self.model, width):
                output = evaluate(self.model, originals)
            if not isinstance(output, Tensor) or output.shape != originals.shape:
                raise ValueError(
                    f"model must return images of shape {tuple(originals.shape)}, got "
                    f"{short_repr(output)}"
                )
            rebuilt.append(to_bytes(output))
        self._bytes = to_bytes(originals), np.stack(rebuilt)
        self._pictures = [png(mosaic(self._bytes[0], pictures, COLUMNS)) for pictures in rebuilt]
