"""What instruments have in common that show one image of many."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_int
from vsnn_lab.explore.image_batch import check_image_batch, to_sprites
from vsnn_lab.explore.instrument import Instrument, Position
from vsnn_lab.explore.parts import array, counts, tile
from vsnn_lab.figures.checks import check_class_names, check_classes
from vsnn_lab.widths import single_control


class ImageInstrument(Instrument):
    """Base of an instrument for one image of many; the kernel computes what it shows when chosen.

    Attributes:
        image: Index of the image shown; set it, or observe it.
    """

    image = Position().tag(sync=True)

    def show_image(self, image: int) -> None:
        """Show another image.

        Args:
            image: Its index.
        """
        self.image = check_int("image", image, 0, len(self.images) - 1)

    def _take(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor | np.ndarray | None,
        class_names: Sequence[str] | None,
    ) -> dict[str, Any]:
        """Check and keep what there is to choose from; return the control that chooses."""
        self.steps = single_control(model).steps
        check_image_batch(images, getattr(model, "shape", None))
        self.model, self.images = model, images
        names = None if class_names is None else check_class_names(class_names)
        present, self._classes = np.array([], int), np.array([], int)
        if labels is not None:
            given = check_classes("labels", labels, len(images), names)
            present, self._classes = np.unique(given, return_inverse=True)
        self._class_names = [names[i] if names else f"class {i}" for i in present]
        kind = {"type": "picker", "name": "image", "label": "image"}
        return kind | {"count": len(images), "classes": self._class_names}

    def _image_arrays(self, image: int) -> dict[str, Any]:
        """Return the image as it is shown, and the class of each that there is."""
        original = array(to_sprites(self.images[image : image + 1]))
        return {"labels": counts(self._classes), "original": original}

    def _image_tile(self, image: int) -> dict[str, Any]:
        remark = f"of {len(self.images):,}"
        if self._class_names:
            remark = self._class_names[self._classes[image]]
        return tile("image", f"{image}", remark)
