"""Set two code widths side by side on one image."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int, short_repr
from vsnn_lab.explore.image_batch import check_rebuilt, to_sprites
from vsnn_lab.explore.image_instrument import ImageInstrument
from vsnn_lab.explore.instrument import Position
from vsnn_lab.explore.parts import array, tiles, width_control, widths_that_fit
from vsnn_lab.figures.images import MSE_SCALE
from vsnn_lab.measure.evaluation import evaluation_mode, to_device_of
from vsnn_lab.networks.forward import forward_at_widths

_MOST = 24_000_000  # bytes of pictures
# Pairs of widths, in all and times the pixels of an image: 1 MB to send, 0.2 s to compute.
_PAIRS, _PAIRED_PIXELS = 2**18, 2e8
_SMALLEST = 1 / 255  # limit of the scale of an image that no width changes


class WidthComparison(ImageInstrument):
    """An instrument for two widths of one autoencoder: an image, rebuilt at each, and what differs.

    All widths of an image are computed when it is chosen; a move of a width slider asks nobody. Of
    many widths or large images the sliders have fewer stops. The colours of the difference have one
    scale for all pairs of widths of an image.

    Args:
        model: An autoencoder with one knob, such as `vsnn_lab.Autoencoder`.
        images: Images to choose from, shape ``(n, *model.shape)``, pixels in [0, 1].
        labels: Class of each, integers, shape (n,): adds a menu of classes.
        class_names: What each class is called; by default its number.
        widths: Where the two sliders start; by default an eighth of the knob, and all of it.

    Attributes:
        image: Index of the image shown; set it, or observe it.
        first: Width A; so with it.
        second: Width B; so with it.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If images, labels or widths do not fit the model or each other, or the model
            returns what is no picture.
    """

    first = Position().tag(sync=True)
    second = Position().tag(sync=True)

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | np.ndarray | None = None,
        *,
        class_names: Sequence[str] | None = None,
        widths: tuple[int, int] | None = None,
    ) -> None:
        picker = self._take(model, images, labels, class_names)
        if widths is None:
            widths = max(1, self.steps // 8), self.steps
        if not isinstance(widths, tuple | list) or len(widths) != 2:
            raise TypeError(f"widths must be a pair of widths (A, B), got {short_repr(widths)}")
        first, second = (check_int("each of widths", width, 1, self.steps) for width in widths)
        self._shape = to_sprites(images[:1]).shape[1:]
        stops = math.isqrt(min(_PAIRS, int(_PAIRED_PIXELS / images[0].numel())))
        size = max(math.prod(self._shape), -(-_MOST // stops))
        self._widths = widths_that_fit(size, self.steps, _MOST, (first, second))
        sliders = [
            width_control(name, label, self._widths, self.steps)
            for name, label in (("first", "width A"), ("second", "width B"))
        ]
        self._start = {
            "kind": "comparison",
            "label": "Two code widths side by side",
            "controls": [*sliders, picker],
            "actions": [],
        }
        super().__init__(**self._shown(0), image=0, first=first, second=second)

    @property
    def widths(self) -> tuple[int, int]:
        """The two widths shown."""
        return self.first, self.second

    @traitlets.observe("image")
    def _show_image(self, change: object) -> None:
        shown = self._shown(self.image)
        with self.hold_sync():
            self.arrays, self.description = shown["arrays"], shown["description"]

    def _shown(self, image: int) -> dict[str, Any]:
        """Return description and arrays of an image."""
        rebuilt = self._rebuild(image)
        pixels = rebuilt.flatten(1).double()
        change = torch.cdist(pixels, pixels, p=1) / pixels.shape[1]
        errors = (pixels - self.images[image].cpu().flatten().double()).square().mean(1)
        arrays = self._image_arrays(image) | {
            "rebuilt": array(to_sprites(rebuilt)[:, None], "width") | {"answers": {"image": image}},
            "errors": array(errors.numpy() * MSE_SCALE, "width"),
            "change": array(change.numpy() * MSE_SCALE, "width", "width"),
        }
        spread = pixels.view_as(rebuilt).mean(1)
        limit = max(float((spread.amax(0) - spread.amin(0)).max()), _SMALLEST)
        a, b = ({"array": "rebuilt", "by": [name]} for name in ("first", "second"))
        tracks = [
            {"label": "original", "source": "original"},
            {"label": "width A", "source": a},
            {"label": "width B", "source": b},
            {"label": "B minus A", "source": b, "minus": a, "limit": limit * 255},
        ]
        pictures = {"type": "pictures", "layout": "columns", "size": list(self._shape), "count": 1}
        said = tiles([self._image_tile(image), *self._tiles()])
        parts = [pictures | {"tracks": tracks}, said]
        return {"description": self._start | {"parts": parts}, "arrays": arrays}

    def _tiles(self) -> list[dict[str, Any]]:
        a, b = ({"array": "errors", "by": [name]} for name in ("first", "second"))
        notes = [f"{width} of {self.steps} units, per pixel" for width in self._widths]
        ratio = {"name": "error of B against A", "source": b, "over": a, "digits": 2}
        change = {"name": "change × 1000", "source": {"array": "change", "by": ["first", "second"]}}
        return [
            {"name": "MSE × 1000 at A", "by": "first", "source": a, "notes": notes, "digits": 2},
            {"name": "MSE × 1000 at B", "by": "second", "source": b, "notes": notes, "digits": 2},
            ratio | {"suffix": " ×", "notes": "below 1: B is closer"},
            change | {"notes": "mean absolute, per pixel", "digits": 1},
        ]

    def _rebuild(self, image: int) -> Tensor:
        """Rebuild one image at each stop, in one call where the network is proven to allow it."""
        original = self.images[image : image + 1]
        repeated = original.expand(len(self._widths), *original.shape[1:])
        with evaluation_mode(self.model):
            output = forward_at_widths(
                self.model, to_device_of(self.model, repeated), torch.tensor(self._widths)
            )
        return check_rebuilt(output, tuple(repeated.shape)).cpu().float()
