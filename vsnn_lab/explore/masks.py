"""Pick a batch size and a width and see which units a sampler trains."""

from collections.abc import Mapping

import numpy as np
import torch

from vsnn_lab._basics.checks import check_callable, check_int, short_repr
from vsnn_lab.explore.instrument import Instrument, Position
from vsnn_lab.explore.parts import array, counts, tile, tiles, width_control, widths_that_fit
from vsnn_lab.figures import style
from vsnn_lab.figures.checks import check_text
from vsnn_lab.samplers import Sampler
from vsnn_lab.samplers.draws import draw_widths
from vsnn_lab.widths import prefix_mask

_MOST = 1_500_000  # bytes of what is drawn; beyond it the sliders have fewer stops


class MaskExplorer(Instrument):
    """An instrument for samplers: their masks for any batch size and width.

    All are drawn when it is made, and a move asks nobody.

    Args:
        samplers: Samplers to choose from, by name.
        most: Largest batch and width.
        seed: Seed of the draws; the same position shows the same mask.

    Attributes:
        sampler: The sampler shown, by its place; set it, or observe it.
        batch: Samples of the batch; so with it.
        units: Units of the layer; so with it.
    """

    sampler = Position().tag(sync=True)
    batch = Position().tag(sync=True)
    units = Position().tag(sync=True)

    def __init__(self, samplers: Mapping[str, Sampler], most: int = 32, seed: int = 0) -> None:
        most = check_int("most", most)
        if not isinstance(samplers, Mapping):
            raise TypeError(f"samplers must map names to samplers, got {short_repr(samplers)}")
        if not samplers:
            raise ValueError("samplers must hold at least one sampler, got none")
        for name, sampler in samplers.items():
            check_text("each name of samplers", name)
            check_callable("each of samplers", sampler, "a sampler")
        self.samplers = dict(samplers)
        self.seed, start = check_int("seed", seed, 0), min(16, most)
        row = most * np.min_scalar_type(most).itemsize * len(samplers)
        # As many stops for both sliders, so many that their pairs fit.
        stops = widths_that_fit(1, most, max(1, int((_MOST / row) ** 0.5)), [start])
        drawn = np.zeros((len(samplers), len(stops), len(stops), most), int)
        for place, name in enumerate(self.samplers):
            for i, batch in enumerate(stops):
                for j, units in enumerate(stops):
                    drawn[place, i, j, :batch] = self._draw(name, batch, units).numpy()
        by = ("sampler", "batch", "units")
        runs = (np.diff(np.sort(drawn), axis=-1, prepend=0) > 0).sum(-1)
        kept = 100 * drawn.sum(-1) / np.multiply.outer(stops, stops)
        arrays = {"widths": counts(drawn, *by), "runs": counts(runs, *by), "kept": array(kept, *by)}
        menu = {"type": "menu", "name": "sampler", "label": "sampler", "options": [*self.samplers]}
        sizes = [
            width_control(name, label, stops, most, name)
            for name, label in (("batch", "samples"), ("units", "units"))
        ]
        mask = {"type": "mask", "source": "widths", "rows": "batch", "columns": "units"}
        items = [
            tile("samples", [f"{batch}" for batch in stops], "in the batch"),
            {"name": "runs of equal width", "source": "runs", "notes": "side by side in it"},
            {
                "name": "units kept",
                "source": "kept",
                "suffix": " %",
                "notes": "mean of the samples",
            },
        ]
        description = {
            "kind": "masks",
            "label": "Which units each sample trains",
            "controls": [menu | {"count": len(samplers)}, *sizes],
            "parts": [mask | {"most": most, "color": style.VARIABLE.color}, tiles(items, "batch")],
            "actions": [],
        }
        super().__init__(description, arrays, sampler=0, batch=start, units=start)

    def mask(self) -> torch.Tensor:
        """Return the mask at the controls' positions, shape (batch, units)."""
        name = [*self.samplers][self.sampler]
        return prefix_mask(self._draw(name, self.batch, self.units), self.units)

    def _draw(self, name: str, batch: int, units: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        return draw_widths(self.samplers[name], batch, units, generator, f"samplers[{name!r}]")
