"""Pick a code width and see what the autoencoder keeps of the pictures."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm.auto import tqdm

from vsnn_lab import data
from vsnn_lab._basics.checks import check_int, check_path
from vsnn_lab.explore.drawing import drawing_pad
from vsnn_lab.explore.image_batch import check_image_batch, check_rebuilt, to_sprites
from vsnn_lab.explore.instrument import Instrument, Position
from vsnn_lab.explore.parts import (
    array,
    count_tile,
    curve,
    tile,
    tiles,
    width_control,
    widths_that_fit,
)
from vsnn_lab.export.submodel import free_stem
from vsnn_lab.export.weights import save_weights
from vsnn_lab.figures.checks import check_curve, check_sweep
from vsnn_lab.figures.images import MSE_SCALE
from vsnn_lab.measure.ablation import WidthSweep, width_sweep
from vsnn_lab.measure.costs import count_parameters
from vsnn_lab.measure.evaluation import evaluate
from vsnn_lab.widths import at_width, single_control

COLUMNS = 5
_MOST = 24_000_000  # bytes of pictures; beyond it widths are left out


class AutoencoderExplorer(Instrument):
    """An instrument for one autoencoder: slider, pictures, error curve, read-outs.

    Everything is computed when it is made (and, for the pictures, when new ones are asked for): the
    shown images at every width, the error curve, the sizes. Pictures beyond 24 MB are thinned: then
    the slider has fewer stops. Large images are shown at 144 pixels.

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
        width: The width shown; set it, or observe it.

    Raises:
        TypeError: If ``images`` is no tensor.
        ValueError: If the images have the wrong shape or values, the sweep lacks a width, or the
            model returns what is no picture.
    """

    width = Position().tag(sync=True)

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
        self.model, self.images, pca = model, images, check_curve("pca", pca)
        self.shown = min(check_int("shown", shown), len(images))
        self._generator = torch.Generator().manual_seed(check_int("seed", seed, 0))
        folder = data.data_root() / "submodels" if folder is None else folder
        self.folder = check_path("folder", folder)
        first = to_sprites(images[:1])
        self._widths = widths_that_fit(first.nbytes * self.shown, self.steps, _MOST)
        arrays = self._pictures()
        if sweep is None:
            sweep = width_sweep(model, F.mse_loss, (images, images))
        self.sweep = check_sweep(sweep, self.steps)
        values = self.sweep.values * MSE_SCALE
        if not np.isfinite(values).all():
            at = self.sweep.widths[~np.isfinite(values)][0]
            raise ValueError(
                f"sweep must hold finite errors, got {self.sweep.at(at)} at {at} units"
            )
        top = 1.08 * max([values.max(), *(error * MSE_SCALE for error in pca.values())])
        tracks = [
            {"label": label, "source": name}
            for label, name in (("original", "originals"), ("rebuilt", "rebuilt"))
        ]
        pictures = {"type": "pictures", "size": list(first.shape[1:]), "count": self.shown}
        line = curve(self.sweep, "test MSE per pixel × 1000", top, scale=MSE_SCALE, pca=pca)
        parts = [pictures | {"columns": COLUMNS, "tracks": tracks}, line, tiles(self._tiles())]
        description = {
            "kind": "autoencoder",
            "label": "Autoencoder by code width",
            "controls": [width_control("width", "code units", self._widths, self.steps)],
            "parts": parts,
            "actions": [
                {"name": "new_images", "label": "New images"},
                {"name": "save", "label": "Extract this width and save"},
            ],
        }
        pad = drawing_pad(model, images, images, self._widths)
        if pad is not None:
            parts.append(pad[0])
            arrays |= pad[1]
        buttons = {"new_images": self.new_images, "save": self.save}
        arrays["curve"] = array(values)
        super().__init__(description, arrays, buttons, width=self.steps)
        self.run_drawing = pad and pad[2]

    def new_images(self) -> None:
        """Show other images, at the same width."""
        self.arrays = self.arrays | self._pictures()
        self.status = ""

    def save(self) -> Path:
        """Cut the width shown out and save its weights; return the file.

        Files of other networks stay: then its name gets a number.
        """
        width = self.width
        wanted = self.folder / f"autoencoder-width-{width}"
        stem = free_stem(self.model, width, wanted)
        path = stem.with_name(f"{stem.name}.safetensors")
        try:
            save_weights(self.model, path, width=width)
        except OSError as error:
            self.status = f"not saved: {error}"
            raise
        kept = "" if stem == wanted else f"; {wanted.name} holds another network and was kept"
        self.status = (
            f"saved {path.name} ({path.stat().st_size / 1e6:.1f} MB) in {path.parent}{kept}"
        )
        return path

    def _tiles(self) -> list[dict[str, Any]]:
        """Return what the read-outs say at each width of the slider."""
        widths, pixels = self._widths, math.prod(self.images.shape[1:])
        errors = [self.sweep.at(width) * MSE_SCALE for width in widths]
        full = errors[-1]
        return [
            tile("code units kept", [f"{w}" for w in widths], f"of {self.steps}"),
            tile(
                "compression",
                [f"{pixels / w:.1f} : 1" for w in widths],
                [f"{pixels} pixels to {w} numbers" for w in widths],
            ),
            tile("test MSE × 1000", [f"{e:.2f}" for e in errors], "per pixel, pixels in [0, 1]"),
            tile("against full width", [f"{e / full:.2f} ×" for e in errors], f"full: {full:.2f}"),
            count_tile("parameters", [count_parameters(self.model, w) for w in widths]),
        ]

    def _pictures(self) -> dict[str, Any]:
        """Choose images and compute their pictures at every width of the slider."""
        chosen = torch.randperm(len(self.images), generator=self._generator)[: self.shown]
        originals = self.images[chosen]
        rebuilt = []
        for width in tqdm(self._widths, desc="pictures", delay=2):
            with at_width(self.model, width):
                output = evaluate(self.model, originals)
            check_rebuilt(output, tuple(originals.shape), f" at {width} units")
            rebuilt.append(to_sprites(output))
        return {
            "originals": array(to_sprites(originals)),
            "rebuilt": array(np.stack(rebuilt), "width"),
        }
