"""Move the units of an image's code and watch what is decoded."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as widgets
import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int
from vsnn_lab.explore.controls import ReadOuts, WidthSlider, unobserved
from vsnn_lab.explore.figure_box import FigureBox
from vsnn_lab.explore.image_batch import check_image_batch, to_floats
from vsnn_lab.explore.image_picker import ImagePicker
from vsnn_lab.explore.unit_slider import UnitSlider
from vsnn_lab.figures.images import MSE_SCALE
from vsnn_lab.figures.panels import panels_figure, show_panels
from vsnn_lab.measure.evaluation import evaluate
from vsnn_lab.widths import at_width, single_control

MOST_UNITS = 8  # sliders; more would not fit on the screen, and the first units do most
_TITLES = ("original", "its own code", "code moved", "moved minus own")
_PERCENTILES = (1, 99)  # a few images would stretch the sliders otherwise
_LIMIT = 0.5  # half the range of a pixel: fixed, so that colours keep their meaning as one moves
_CHUNK = 1024  # images encoded at a time


class CodeExplorer(FigureBox):
    """An instrument for the code of an autoencoder: a slider for each of its first units.

    An image sets the sliders to its own code; moving one decodes at once. They reach from the 1st
    to the 99th percentile of their unit over the images, and further for an image beyond that.
    Units without a slider stay as the image's code has them; units beyond the width are cut off.

    Args:
        model: A `vsnn_lab.Autoencoder`, or another module with one knob and the children
            ``encoder`` and ``decoder``.
        images: Images to choose from, shape ``(n, *model.shape)``, pixels in [0, 1].
        labels: Class of each, integers, shape (n,): adds a menu of classes.
        class_names: What each class is called; by default its number.

    Attributes:
        picker: The `ImagePicker`; its value is the index of the image.
        width: The `WidthSlider` of the code.
        units: The `UnitSlider` of each of the first units.
        button: Goes back to the image's own code.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If the images do not fit the model, or the model has no such children.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | np.ndarray | None = None,
        *,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self.steps = single_control(model).steps
        for child in ("encoder", "decoder"):
            if not isinstance(getattr(model, child, None), nn.Module):
                raise ValueError(
                    f"model must have the children encoder and decoder, got "
                    f"{type(model).__name__} without {child}"
                )
        check_image_batch(images, getattr(model, "shape", None))
        self.model, self.images = model, images
        self.picker = ImagePicker(len(images), labels, class_names)
        self.width = WidthSlider(self.steps, description="code units")
        self._ranges = self._percentiles()
        self.units = [
            UnitSlider(f"unit {unit}", *ends) for unit, ends in enumerate(self._ranges, 1)
        ]
        for slider in self.units:
            slider.observe(self._move_unit, "value")
        self.button = widgets.Button(
            description="Back to the image's own code", icon="undo", layout={"width": "250px"}
        )
        self.read_outs = ReadOuts()
        self._moved_units: dict[int, float] = {}  # by position among the sliders
        self._image = 0
        self._encode()
        with at_width(model, 1):
            narrow = self._encode_images(images[:1])[0]
        # Whether a unit's value depends on the width, as where hidden layers vary too.
        own = self._own_code[: len(narrow)]
        self._code_varies = not torch.allclose(narrow, own, atol=1e-6)
        self._decode()
        self.figure = go.FigureWidget(self.static_figure())
        self.read_outs.show(self.read_out())
        self.picker.observe(lambda change: self.show_image(change.new), "value")
        self.width.observe(lambda change: self.change_width(), "value")
        self.button.on_click(lambda button: self.restore_code())
        grid = widgets.GridBox(
            self.units, layout={"grid_template_columns": "50% 50%", "width": "100%"}
        )
        super().__init__(
            [self.picker, self.width, self.figure, grid, self.read_outs, self.button],
            layout={"max_width": "1016px"},
        )

    def show_image(self, image: int) -> None:
        """Show another image and its own code: the picker's callback.

        Args:
            image: Its index.
        """
        self._image = check_int("image", image, 0, len(self.images) - 1)
        self._moved_units.clear()
        self._encode()
        self.show()

    def change_width(self) -> None:
        """Keep as many units as the width slider says, moved ones moved: its callback."""
        if self._code_varies:
            self._ranges[: self.width.value] = self._percentiles()
        self._encode()
        self.show()

    def restore_code(self) -> None:
        """Return to the image's own code: the button's callback."""
        self.show_image(self._image)

    @property
    def code(self) -> Tensor:
        """The code that is decoded, shape (units at this width,)."""
        code = self._own_code.clone()
        for index, value in self._moved_units.items():
            if index < len(code):
                code[index] = value
        return code

    def show(self) -> None:
        """Decode the code of the sliders and show it."""
        self._decode()
        show_panels(self.figure, self._pictures, _LIMIT)
        self.read_outs.show(self.read_out())

    def read_out(self) -> dict[str, tuple[str, str]]:
        """Return what the read-outs say: number and small print by name."""
        original, own, moved = self._pictures
        errors = [((each - original) ** 2).mean() * MSE_SCALE for each in (own, moved)]
        moved_units = (self.code != self._own_code).nonzero().flatten().tolist()
        names = ["unit" if len(moved_units) == 1 else "units", *(f"{i + 1}" for i in moved_units)]
        change = np.abs(moved - own).mean() * MSE_SCALE
        return {
            "image": (f"{self._image}", self.picker.class_name or f"of {len(self.images):,}"),
            "code units kept": (f"{self.width.value}", f"of {self.steps}"),
            "units moved": (f"{len(moved_units)}", " ".join(names) if moved_units else "none"),
            "MSE × 1000, own": (f"{errors[0]:.2f}", "per pixel, this image"),
            "MSE × 1000, moved": (f"{errors[1]:.2f}", "per pixel, this image"),
            "change × 1000": (f"{change:.1f}", "mean absolute, per pixel"),
        }

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        return panels_figure(self._pictures, _TITLES, _LIMIT)

    def _move_unit(self, change: Any) -> None:
        self._moved_units[self.units.index(change.owner)] = change.new
        self.show()

    def _encode_images(self, images: Tensor) -> Tensor:
        return evaluate(self.model.get_submodule("encoder"), images).cpu()

    def _percentiles(self) -> list[tuple[float, float]]:
        """Return how far the slider of each unit at this width reaches."""
        chunks = self.images.split(_CHUNK)
        with at_width(self.model, self.width.value):
            codes = torch.cat([self._encode_images(chunk) for chunk in chunks])
        if codes.dim() != 2 or not codes.is_floating_point():
            raise ValueError(
                f"model must have an encoder of codes of shape (n, units), got {codes.dtype} of "
                f"shape {tuple(codes.shape)}"
            )
        first = codes[:, :MOST_UNITS].double().numpy()
        pairs = np.percentile(first, _PERCENTILES, axis=0).T.tolist()
        # A unit that is the same for every image has a slider nevertheless.
        return [(low, high) if low < high else (low - 1, high + 1) for low, high in pairs]

    def _encode(self) -> None:
        """Compute the image's own code at the width, and put the sliders to it."""
        image = self.images[self._image : self._image + 1]
        with at_width(self.model, self.width.value):
            self._own_code = self._encode_images(image)[0]
        own, shown = self._own_code.tolist(), self.code.tolist()
        for index, slider in enumerate(self.units):
            if index < len(own):
                with unobserved(slider, self._move_unit):
                    slider.set_range(*self._ranges[index], own[index], shown[index])
            slider.disabled = index >= len(own)

    def _decode(self) -> None:
        original = self.images[self._image]
        codes = torch.stack([self._own_code, self.code])
        with at_width(self.model, self.width.value):
            rebuilt = evaluate(self.model.get_submodule("decoder"), codes)
        if rebuilt.shape[1:] != original.shape:
            raise ValueError(
                f"model must have a decoder to images of shape {tuple(original.shape)}, got "
                f"{tuple(rebuilt.shape[1:])}"
            )
        self._pictures = to_floats(torch.cat([original[None].cpu(), rebuilt.cpu()]))
