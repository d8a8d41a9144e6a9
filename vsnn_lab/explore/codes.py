"""Move the units of an image's code and watch what is decoded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_collection, check_number, short_repr
from vsnn_lab.explore.image_batch import check_rebuilt, to_sprites
from vsnn_lab.explore.image_instrument import ImageInstrument
from vsnn_lab.explore.instrument import Position
from vsnn_lab.explore.parts import array, tile, tiles, width_control, widths_that_fit
from vsnn_lab.figures.images import MSE_SCALE
from vsnn_lab.measure.evaluation import evaluate, evaluation_mode, to_device_of
from vsnn_lab.networks.gate import private_copy
from vsnn_lab.widths import at_width

MOST_UNITS = 8  # sliders; more would not fit on the screen, and the first units do most
_PERCENTILES = (1, 99)  # a few images would stretch the sliders otherwise
_LIMIT = 127.5  # half the range of a pixel: fixed, so that colours keep their meaning as one moves
_CHUNK = 1024  # images encoded at a time
_MOST = 24_000_000  # bytes of pictures; beyond it widths are left out


class CodeExplorer(ImageInstrument):
    """An instrument for the code of an autoencoder: a slider for each of its first units.

    An image sets the sliders to its own code; moving one decodes at once, for all widths. They
    reach from the 1st to the 99th percentile of their unit over the images, and further for an
    image beyond that. Units without a slider stay as the image's code has them; units beyond the
    width are cut off.

    Args:
        model: A `vsnn_lab.Autoencoder`, or another module with one knob and the children
            ``encoder`` and ``decoder``.
        images: Images to choose from, shape ``(n, *model.shape)``, pixels in [0, 1].
        labels: Class of each, integers, shape (n,): adds a menu of classes.
        class_names: What each class is called; by default its number.

    Attributes:
        image: Index of the image shown; set it, or observe it.
        width: Units of the code kept; so with it.
        units: Value of each of the first units, None where it is the image's own; so with it.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If the images do not fit the model, or the model has no such children.
    """

    width = Position().tag(sync=True)
    units: traitlets.List[Any] = traitlets.List().tag(sync=True)

    def __init__(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | np.ndarray | None = None,
        *,
        class_names: Sequence[str] | None = None,
    ) -> None:
        for child in ("encoder", "decoder"):
            if not isinstance(getattr(model, child, None), nn.Module):
                raise ValueError(
                    f"model must have the children encoder and decoder, got "
                    f"{type(model).__name__} without {child}"
                )
        picker = self._take(model, images, labels, class_names)
        sprite = to_sprites(images[:1])
        self._widths = widths_that_fit(2 * sprite.nbytes, self.steps, _MOST)
        self._reach = {self.steps: self._percentiles(self.steps)}
        narrow, full = (self._encode(images[:1], width)[0] for width in (1, self.steps))
        # Whether a unit's value depends on the width, as where hidden layers vary too.
        self._code_varies = not torch.allclose(narrow, full[: len(narrow)], atol=1e-6)
        count = len(self._reach[self.steps])
        sliders = {
            "type": "ranges",
            "name": "units",
            "label": "unit",
            "count": count,
            "source": "ends",
            "note": "A move is decoded by a Python kernel, and this page has none.",
        }
        width = width_control("width", "code units", self._widths, self.steps)
        moved = {"source": "moved", "minus": "own", "limit": _LIMIT}
        tracks = [
            {"label": "original", "source": "original"},
            {"label": "its own code", "source": "own"},
            {"label": "code moved", "source": "moved"},
            {"label": "moved minus own"} | moved,
        ]
        pictures = {"type": "pictures", "layout": "columns", "size": list(sprite.shape[1:])}
        self._start = {
            "kind": "codes",
            "label": "The units of an image's code",
            "controls": [width, picker, sliders],
            "actions": [{"name": "restore", "label": "Back to the image's own code"}],
        }
        self._pictures = pictures | {"count": 1, "tracks": tracks}
        self._choose(0)
        units = [None] * count
        shown = self._shown(0, units, self.steps)
        super().__init__(
            **shown, buttons={"restore": self.restore_code}, image=0, width=self.steps, units=units
        )

    def restore_code(self) -> None:
        """Return to the image's own code."""
        self.units = [None] * len(self.units)

    @property
    def code(self) -> Tensor:
        """The code that is decoded, shape (units at this width,)."""
        own = self._encode(self.images[self.image : self.image + 1], self.width)[0]
        return self._move(own, self.units)

    @traitlets.validate("units")
    def _check_units(self, proposal: dict[str, Any]) -> list[float | None]:
        count = len(self._reach[self.steps])
        units = check_collection("units", proposal["value"], "numbers")
        if len(units) != count:
            raise ValueError(f"units must be {count} numbers or None, got {short_repr(units)}")
        return [None if unit is None else check_number("each of units", unit) for unit in units]

    @traitlets.observe("image")
    def _show_image(self, change: object) -> None:
        self._choose(self.image)
        with self.hold_sync():
            self.restore_code()
            self._show(change)

    @traitlets.observe("units", "width")
    def _show(self, change: Any) -> None:
        if change.name == "width" and not self._code_varies:
            return
        shown = self._shown(self.image, self.units, self.width)
        with self.hold_sync():
            self.arrays, self.description = shown["arrays"], shown["description"]

    def _choose(self, image: int) -> None:
        """Compute the image's own code and its picture at every stop."""
        one = self.images[image : image + 1]
        self._own_codes = [self._encode(one, width)[0] for width in self._widths]
        self._own = self._decode(self._own_codes)

    def _shown(self, image: int, units: Sequence[float | None], width: int) -> dict[str, Any]:
        """Return description and arrays: the image at all widths, with units moved."""
        if self._code_varies and width not in self._reach:
            self._reach[width] = self._percentiles(width)
        original = self.images[image].cpu().double()
        moved = self._decode([self._move(code, units) for code in self._own_codes])
        own_error, moved_error = (
            (each.double() - original).square().mean((1, 2, 3)) for each in (self._own, moved)
        )
        change = (moved.double() - self._own.double()).abs().mean((1, 2, 3))
        answers = {"image": image, "units": list(units)}
        numbers = {"own error": own_error, "moved error": moved_error, "change": change}
        arrays = self._image_arrays(image) | {
            "own": array(to_sprites(self._own)[:, None], "width"),
            "moved": array(to_sprites(moved)[:, None], "width") | {"answers": answers},
            "ends": array(self._ends(), "width"),
        }
        arrays |= {k: array(v.numpy() * MSE_SCALE, "width") for k, v in numbers.items()}
        names = [
            [f"{i + 1}" for i, unit in enumerate(units[:stop]) if unit is not None]
            for stop in self._widths
        ]
        told = [" ".join(["units" if len(n) > 1 else "unit", *n]) if n else "none" for n in names]
        per_pixel = {"notes": "per pixel, this image", "digits": 2}
        absolute = {"notes": "mean absolute, per pixel", "digits": 1}
        said = [
            self._image_tile(image),
            tile("code units kept", [f"{w}" for w in self._widths], f"of {self.steps}"),
            tile("units moved", [f"{len(n)}" for n in names], told),
            {"name": "MSE × 1000, own", "source": "own error"} | per_pixel,
            {"name": "MSE × 1000, moved", "source": "moved error"} | per_pixel,
            {"name": "change × 1000", "source": "change"} | absolute,
        ]
        description = self._start | {"parts": [self._pictures, tiles(said)]}
        return {"description": description, "arrays": arrays}

    def _ends(self) -> np.ndarray:
        """Return low end, high end and home of each unit's slider, shape (stops, units, 3)."""
        full = self._reach[self.steps]
        ends = np.full((len(self._widths), len(full), 3), np.nan)
        for row, width, code in zip(ends, self._widths, self._own_codes, strict=True):
            for unit, value in enumerate(code[: len(full)].tolist()):
                low, high = self._reach.get(width, full)[unit]
                row[unit] = min(low, value), max(high, value), value
        return ends

    def _percentiles(self, width: int) -> list[tuple[float, float]]:
        """Return how far the slider of each unit reaches at a width."""
        chunks = self.images.split(_CHUNK)
        codes = torch.cat([self._encode(chunk, width) for chunk in chunks])
        first = codes[:, :MOST_UNITS].double().numpy()
        pairs = np.percentile(first, _PERCENTILES, axis=0).T.tolist()
        # A unit that is the same for every image has a slider nevertheless.
        return [(low, high) if low < high else (low - 1, high + 1) for low, high in pairs]

    def _encode(self, images: Tensor, width: int) -> Tensor:
        with at_width(self.model, width):
            codes = evaluate(self.model.get_submodule("encoder"), images).cpu()
        if codes.dim() != 2 or not codes.is_floating_point():
            raise ValueError(
                f"model must have an encoder of codes of shape (n, units), got {codes.dtype} of "
                f"shape {tuple(codes.shape)}"
            )
        return codes

    def _move(self, code: Tensor, units: Sequence[float | None]) -> Tensor:
        """Return a code with some of its units replaced."""
        moved = code.clone()
        for index, value in enumerate(units[: len(code)]):
            if value is not None:
                moved[index] = value
        return moved

    def _decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Return a picture of each code, one for each stop."""
        decoder, pictures = self.model.get_submodule("decoder"), []
        with evaluation_mode(self.model):
            for width, code in zip(self._widths, codes, strict=True):
                with at_width(self.model, width):
                    given = to_device_of(decoder, private_copy(decoder, code[None]))
                    output = decoder(given)
                pictures.append(check_rebuilt(output, (1, *self.images.shape[1:])).cpu().float())
        return torch.cat(pictures)
