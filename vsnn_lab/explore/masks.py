"""Pick a batch size and a width and see which units a sampler trains."""

from collections.abc import Mapping

import ipywidgets as widgets
import plotly.graph_objects as go
import torch

from vsnn_lab._basics.checks import check_callable, check_int, short_repr
from vsnn_lab.explore.figure_box import FigureBox
from vsnn_lab.figures.checks import check_text
from vsnn_lab.figures.masks import mask_figure, show_mask
from vsnn_lab.samplers import Sampler
from vsnn_lab.samplers.draws import draw_widths
from vsnn_lab.widths import prefix_mask


class MaskExplorer(FigureBox):
    """An instrument for samplers: their masks for any batch size and width.

    Args:
        samplers: Samplers to choose from, by name.
        most: Largest batch and width.
        seed: Seed of the draws; the same position shows the same mask.

    Attributes:
        sampler: The menu of samplers.
        batch_size: The slider over samples.
        units: The slider over units.
    """

    def __init__(self, samplers: Mapping[str, Sampler], most: int = 32, seed: int = 0) -> None:
        most = check_int("most", most)
        if not isinstance(samplers, Mapping):
            raise TypeError(f"samplers must map names to samplers, got {short_repr(samplers)}")
        if not samplers:
            raise ValueError("samplers must hold at least one sampler, got none")
        self.samplers = {
            check_text("each name of samplers", name): check_callable(
                "each of samplers", sampler, "a sampler"
            )
            for name, sampler in samplers.items()
        }
        self.seed = check_int("seed", seed, 0)
        wide = {"flex": "1 1 0", "width": "auto"}
        self.sampler = widgets.Dropdown(
            options=list(self.samplers), description="sampler", layout={"width": "260px"}
        )
        start = min(16, most)
        self.batch_size = widgets.IntSlider(start, 1, most, description="batch", layout=wide)
        self.units = widgets.IntSlider(start, 1, most, description="width", layout=wide)
        self.status = widgets.HTML()
        self.figure = go.FigureWidget(mask_figure(self.mask(), most))
        self.show()
        for control in (self.sampler, self.batch_size, self.units):
            control.observe(lambda change: self.show(), "value")
        top = widgets.HBox([self.sampler, self.batch_size, self.units])
        super().__init__([top, self.figure, self.status], layout={"max_width": "916px"})

    def mask(self) -> torch.Tensor:
        """Return the mask at the controls' positions, shape (batch, units)."""
        generator = torch.Generator().manual_seed(self.seed)
        name, units = self.sampler.value, self.units.value
        sampler, what = self.samplers[name], f"samplers[{name!r}]"
        widths = draw_widths(sampler, self.batch_size.value, units, generator, what)
        return prefix_mask(widths, units)

    def show(self) -> None:
        """Draw the mask at the controls' positions: their callback."""
        mask = self.mask()
        show_mask(self.figure, mask)
        widths = mask.sum(1)
        runs = len(widths.unique())
        self.status.value = (
            f"{len(mask)} samples in {runs} {'run' if runs == 1 else 'runs'} of equal width; "
            f"{mask.float().mean():.0%} of the units kept on average"
        )
