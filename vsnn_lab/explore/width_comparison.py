"""Set two code widths side by side on one image."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
import torch
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, short_repr
from vsnn_lab.explore.controls import ReadOuts, WidthSlider
from vsnn_lab.explore.figure_box import FigureBox
from vsnn_lab.explore.image_batch import check_image_batch, to_floats
from vsnn_lab.explore.image_picker import ImagePicker
from vsnn_lab.figures.images import MSE_SCALE
from vsnn_lab.figures.panels import panels_figure, show_panels
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.networks.forward import forward_at_widths
from vsnn_lab.widths import single_control

_TITLES = ("original", "width A", "width B", "B minus A")
_SMALLEST = 1 / 255  # limit of the scale of an image that no width changes


class WidthComparison(FigureBox):
    """An instrument for two widths of one autoencoder: an image, rebuilt at each, and what differs.

    All widths of an image are computed when it is chosen; a move of a width slider only looks up.
    The colours of the difference have one scale for all pairs of widths of an image.

    Args:
        model: An autoencoder with one knob, such as `vsnn_lab.Autoencoder`.
        images: Images to choose from, shape ``(n, *model.shape)``, pixels in [0, 1].
        labels: Class of each, integers, shape (n,): adds a menu of classes.
        class_names: What each class is called; by default its number.
        widths: Where the two sliders start; by default an eighth of the knob, and all of it.

    Attributes:
        picker: The `ImagePicker`; its value is the index of the image.
        first: The `WidthSlider` of width A.
        second: The `WidthSlider` of width B.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If images, labels or widths do not fit the model or each other.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | np.ndarray | None = None,
        *,
        class_names: Sequence[str] | None = None,
        widths: tuple[int, int] | None = None,
    ) -> None:
        self.steps = single_control(model).steps
        check_image_batch(images, getattr(model, "shape", None))
        self.model, self.images = model, images
        if widths is None:
            widths = max(1, self.steps // 8), self.steps
        if not isinstance(widths, tuple | list) or len(widths) != 2:
            raise TypeError(f"widths must be a pair of widths (A, B), got {short_repr(widths)}")
        first, second = (check_int("each of widths", width, 1, self.steps) for width in widths)
        self.picker = ImagePicker(len(images), labels, class_names)
        self.first = WidthSlider(self.steps, first, description="width A")
        self.second = WidthSlider(self.steps, second, description="width B")
        self.read_outs = ReadOuts()
        self._rebuild(0)
        self.figure = go.FigureWidget(self.static_figure())
        self.show()
        self.picker.observe(lambda change: self.show_image(change.new), "value")
        for slider in (self.first, self.second):
            slider.observe(lambda change: self.show(), "value")
        # One above the other, so that equal widths stand above each other.
        super().__init__(
            [self.picker, self.first, self.second, self.figure, self.read_outs],
            layout={"max_width": "1016px"},
        )

    @property
    def widths(self) -> tuple[int, int]:
        """The two widths shown."""
        return self.first.value, self.second.value

    def show_image(self, image: int) -> None:
        """Show another image: the picker's callback.

        Args:
            image: Its index.
        """
        self._rebuild(check_int("image", image, 0, len(self.images) - 1))
        self.show()

    def show(self) -> None:
        """Put pictures and read-outs to the widths of the sliders, look-ups only."""
        show_panels(self.figure, self._panel_images(), self._limit)
        self.read_outs.show(self.read_out())

    def read_out(self) -> dict[str, tuple[str, str]]:
        """Return what the read-outs say: number and small print by name."""
        a, b = self.widths
        first, second = (self._errors[width - 1] * MSE_SCALE for width in (a, b))
        change = np.abs(self._rebuilt[b - 1] - self._rebuilt[a - 1]).mean() * MSE_SCALE
        ratio = f"{second / first:.2f} ×" if first else "–"  # noqa: RUF001 - a dash: no number
        return {
            "image": (f"{self._image}", self.picker.class_name or f"of {len(self.images):,}"),
            "MSE × 1000 at A": (f"{first:.2f}", f"{a} of {self.steps} units, per pixel"),
            "MSE × 1000 at B": (f"{second:.2f}", f"{b} of {self.steps} units, per pixel"),
            "error of B against A": (ratio, "below 1: B is closer"),
            "change × 1000": (f"{change:.1f}", "mean absolute, per pixel"),
        }

    def static_figure(self) -> go.Figure:
        """Return what the instrument shows as a figure for headless runs, reports and print."""
        return panels_figure(self._panel_images(), _TITLES, self._limit)

    def _panel_images(self) -> np.ndarray:
        a, b = self.widths
        return np.stack([self._original, self._rebuilt[a - 1], self._rebuilt[b - 1]])

    def _rebuild(self, image: int) -> None:
        """Rebuild one image at every width, in one call where the network is proven to allow it."""
        original = self.images[image : image + 1]
        repeated = original.expand(self.steps, *original.shape[1:])
        widths = torch.arange(1, self.steps + 1)
        with evaluation_mode(self.model):
            output = forward_at_widths(self.model, to_device_of(self.model, repeated), widths)
        if output.shape != repeated.shape:
            raise ValueError(
                f"model must return images of shape {tuple(repeated.shape)}, got "
                f"{tuple(output.shape)}"
            )
        self._image, self._original = image, to_floats(original)[0]
        self._rebuilt = to_floats(output)
        self._errors = ((self._rebuilt - self._original) ** 2).mean((1, 2, 3))
        spread = self._rebuilt.mean(1)
        self._limit = max(float((spread.max(0) - spread.min(0)).max()), _SMALLEST)
