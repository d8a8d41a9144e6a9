"""Choose one of many images: by its number, or by its class and a number within it."""

from collections.abc import Sequence

import ipywidgets as widgets
import numpy as np
import traitlets
from torch import Tensor

from vsnn_lab._basics.checks import check_int
from vsnn_lab.figures.checks import check_class_names, check_classes

_ALL = -1  # in place of a class


class ImagePicker(widgets.HBox):
    """A slider over images and, if there are labels, a menu of their classes before it.

    Args:
        count: Number of images.
        labels: Class of each, integers, shape (count,).
        class_names: What each class is called; by default its number.

    Attributes:
        value: Index of the image chosen, an int in 0..count - 1; observe it.
        position: The slider, over the images of the class chosen.
        category: The menu of classes; index 0 is all of them.

    Raises:
        TypeError: If an argument is of another kind.
        ValueError: If there is not one label for each image.
    """

    value = traitlets.Int()

    def __init__(
        self,
        count: int,
        labels: Tensor | np.ndarray | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        self._all_indices = np.arange(check_int("count", count))
        names = None if class_names is None else check_class_names(class_names)
        self.labels = None if labels is None else check_classes("labels", labels, count, names)
        present = [] if self.labels is None else np.unique(self.labels).tolist()
        self._classes = {i: names[i] if names else f"class {i}" for i in present}
        wide = {"flex": "1 1 auto", "width": "auto"}
        self.position = widgets.IntSlider(0, 0, 1, description="image", layout=wide)
        self.category = widgets.Dropdown(
            options=[("all", _ALL), *((name, index) for index, name in self._classes.items())],
            description="class",
            layout={"flex": "0 0 auto", "width": "240px"},
        )
        self._fit_slider()
        shown = [self.category, self.position] if labels is not None else [self.position]
        super().__init__(shown, layout={"width": "100%", "overflow": "hidden"})
        self.position.observe(lambda change: self._read_position(), "value")
        self.category.observe(lambda change: self._change_class(), "value")

    @property
    def indices(self) -> np.ndarray:
        """Indices of the images that the slider runs through."""
        if self.category.value == _ALL:
            return self._all_indices
        return np.flatnonzero(self.labels == self.category.value)

    @property
    def class_name(self) -> str:
        """What the class of the image chosen is called; nothing without labels."""
        return "" if self.labels is None else self._classes[int(self.labels[self.value])]

    def _fit_slider(self) -> None:
        # A slider needs two ends; over a single image it stands still.
        self.position.max = max(1, len(self.indices) - 1)
        self.position.disabled = len(self.indices) == 1

    def _read_position(self) -> None:
        self.value = int(self.indices[min(self.position.value, len(self.indices) - 1)])

    def _change_class(self) -> None:
        # Silent until the slider fits the class, so that no image in between is shown.
        with self.position.hold_trait_notifications():
            self.position.value = 0
            self._fit_slider()
        self._read_position()
