"""How a step's time and memory grow: two pictures for the documentation."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import plotly.io
import torch
from plotly.subplots import make_subplots
from tqdm import tqdm

from benchmarks import memory, training
from benchmarks.networks import plain_mlp, variable_mlp
from benchmarks.timing import device, device_name
from vsnn_lab import Sampled, Stratified
from vsnn_lab._basics.files import atomic_write
from vsnn_lab.figures import TEMPLATE
from vsnn_lab.figures.style import PLAIN, REFERENCE, VARIABLE

_DOCS = Path(__file__).parents[1] / "docs"


@dataclass(frozen=True)
class Case:
    """An MLP with 32 inputs and outputs, and how it is trained."""

    width: int = 256
    batch: int = 2048
    depth: int = 3
    runs: int = 4

    @property
    def recipe(self) -> Sampled:
        """One width for each of the runs."""
        return Sampled(Stratified(self.runs))

    @property
    def multiplications(self) -> float:
        """Those of all widths on average, over those of full width."""
        share = np.arange(1, self.width + 1) / self.width
        ends, square = 2 * 32 * self.width, (self.depth - 1) * self.width**2
        return float(np.mean(ends * share + square * share**2) / (ends + square))


# What varies, over which values.
_TIMES: dict[str, tuple[str, tuple[int, ...]]] = {
    "width": ("units of each hidden layer", (64, 128, 256, 512, 1024, 2048, 4096)),
    "batch": ("samples in a batch", (64, 256, 1024, 4096, 16384)),
    "depth": ("hidden layers", (1, 2, 4, 8)),
    "runs": ("stratified runs in a batch", (1, 2, 4, 8, 16)),
}
_MEMORY = ("width", "batch")


def draw() -> None:
    """Measure both, and write the pictures into the documentation's folder."""
    of_a_card = "-gpu" if device().type == "cuda" else ""
    _panels(_DOCS / f"speed-time{of_a_card}.png", _TIMES, _time, "time of a step", theory=True)
    held = {name: _TIMES[name] for name in _MEMORY}
    _panels(
        _DOCS / f"speed-memory{of_a_card}.png", held, _memory, "peak memory of a step", theory=False
    )


def _cases(name: str, values: tuple[int, ...]) -> list[Case]:
    # Wide networks with smaller batches, or a step would take minutes.
    narrower = {"batch": 512} if name == "width" else {}
    return [replace(Case(**narrower), **{name: value}) for value in values]


def _time(case: Case) -> np.ndarray:
    x, y = torch.randn(case.batch, 32), torch.randn(case.batch, 32)
    model, plain = variable_mlp(case.width, case.depth), plain_mlp(case.width, case.depth)
    rounds = 3 if case.width > 2000 else 9
    return training.ratios_to_plain(plain, model, x, y, case.recipe, rounds=rounds)


def _memory(case: Case) -> np.ndarray:
    return memory.ratios_to_plain(case.width, case.batch, case.recipe)


def _panels(
    path: Path,
    panels: dict[str, tuple[str, tuple[int, ...]]],
    measure: Callable[[Case], np.ndarray],
    what: str,
    theory: bool,
) -> None:
    figure = make_subplots(1, len(panels), shared_yaxes=True, horizontal_spacing=0.03)
    for column, (name, (title, values)) in enumerate(panels.items(), 1):
        cases = _cases(name, values)
        found = np.array(
            [
                np.percentile(measure(case), (50, 25, 75))
                for case in tqdm(cases, desc=name, leave=False)
            ]
        )
        add = {"row": 1, "col": column}
        spread = {
            "array": found[:, 2] - found[:, 0],
            "arrayminus": found[:, 0] - found[:, 1],
            "symmetric": False,
            "thickness": 1,
        }
        lines = {"all widths, measured": (found[:, 0], VARIABLE, spread)}
        if theory:
            lines["multiplications"] = ([case.multiplications for case in cases], REFERENCE, None)
        lines["plain network"] = (np.ones(len(cases)), PLAIN, None)
        for label, (heights, style, error) in lines.items():
            figure.add_scatter(
                x=values,
                y=heights,
                error_y=error,
                name=label,
                mode="lines+markers" if error else "lines",
                line=style.line,
                marker=style.marker,
                showlegend=column == 1,
                **add,
            )
        figure.update_xaxes(type="log", tickvals=values, tickformat="d", title=title, **add)
    figure.update_yaxes(rangemode="tozero")
    where = f", {device_name()}" if device().type == "cuda" else ""
    figure.update_yaxes(title=f"{what} ÷ plain step{where}", row=1, col=1)
    figure.update_layout(
        template=TEMPLATE,
        legend={"orientation": "h", "x": 0, "xanchor": "left", "y": 1.14},
        width=330 * len(panels) + 60,
        height=330,
        # On a ground of its own, so that it reads on a dark page, too.
        paper_bgcolor="white",
    )
    with atomic_write(path) as part:
        plotly.io.write_image(figure, part, format="png", scale=2)
