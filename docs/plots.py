"""Plots of tracked results, drawn from `docs/results` when the documentation is built."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import plotly.graph_objects as go
from docutils import nodes
from plotly.offline import get_plotlyjs
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vsnn_lab._basics.files import atomic_write
from vsnn_lab.figures import comparison_curves, cost_curves
from vsnn_lab.train import image_tasks, top, vgg

RESULTS = Path(__file__).parent / "results"
_SCRIPT = "_static/plotly.min.js"  # one file for all pages that ask for it
_LABEL = "test accuracy, %"


def _percent(by_position: dict[int, list[float]]) -> dict[int, list[float]]:
    return {at: [100 * each for each in values] for at, values in by_position.items()}


def top_plot() -> go.Figure:
    """Draw accuracy against costs of a top of every width, tops of one size beside it."""
    results = top.tracked_results()
    variable = top.by_position(results, "variable")
    alone = {max(variable): top.by_position(results, "plain")[1]}
    for method in {each["method"] for each in results}:
        name, _, position = method.partition("-")
        if name == "dedicated":
            alone[int(position)] = top.by_position(results, method)[1]
    parameters, milliseconds = (
        top.by_position(results, "variable", name) for name in ("parameters", "latency_ms")
    )
    costs = {
        "parameters of the top": {at: each[0] for at, each in parameters.items()},
        "latency of one image, µs": {at: 1000 * each[0] for at, each in milliseconds.items()},
    }
    return cost_curves(_percent(variable), costs, dedicated=_percent(alone), label=_LABEL)


def vgg_plot() -> go.Figure:
    """Draw the same of a whole VGG, networks of one size and the plain one beside it."""
    results = vgg.tracked_results()
    variable = next(each for each in results if each["method"] == "variable")
    costs = {
        title: {int(at): count for at, count in variable[name].items()}
        for title, name in {"parameters": "parameters", "multiply-accumulates": "macs"}.items()
    }
    return _beside_dedicated(partial(vgg.accuracy_by_width, results), costs)


def classifiers_plot() -> go.Figure:
    """Draw the same of a dense classifier of Fashion-MNIST."""
    tracked = image_tasks.COLLECTIONS["classifiers"].tracked()
    results = [each for each in tracked if each["task"] == "fashion-mnist"]
    accuracy = partial(image_tasks.values_by_width, results, column="accuracy")
    counts = {
        title: image_tasks.values_by_width(results, "variable", column)
        for title, column in {"parameters": "parameters", "multiply-accumulates": "macs"}.items()
    }
    costs = {title: {at: each[0] for at, each in found.items()} for title, found in counts.items()}
    return _beside_dedicated(accuracy, costs)


def autoencoders_plot() -> go.Figure:
    """Draw errors of autoencoders of Fashion-MNIST, principal components and their ratio too."""
    tracked = image_tasks.COLLECTIONS["autoencoders"].tracked()
    results = [each for each in tracked if each["task"] == "fashion-mnist"]
    methods = ("variable", "dedicated", "pca")
    return comparison_curves(
        {each: image_tasks.values_by_width(results, each, "mse") for each in methods}
    )


def _beside_dedicated(
    accuracy: Callable[[str], dict[int, list[float]]], costs: dict[str, dict[int, float]]
) -> go.Figure:
    """Draw what ``accuracy`` says of the variable network and of those of one size."""
    variable, dedicated = (_percent(accuracy(each)) for each in ("variable", "dedicated"))
    return cost_curves(variable, costs, dedicated=dedicated, label=_LABEL)


PLOTS: dict[str, Callable[[], go.Figure]] = {
    "autoencoders": autoencoders_plot,
    "classifiers": classifiers_plot,
    "top": top_plot,
    "vgg": vgg_plot,
}


class Plot(SphinxDirective):
    """A plot by its name in ``PLOTS``, which is that of the file of results, too."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the plot, to be drawn anew when its results change."""
        (name,) = self.arguments
        self.env.note_dependency(str(RESULTS / f"{name}.json"))
        figure = PLOTS[name]()
        figure.update_layout(width=None, autosize=True)  # as wide as the text
        html = figure.to_html(
            {"responsive": True}, full_html=False, include_plotlyjs=False, div_id=f"plot-{name}"
        )
        above = "../" * self.env.docname.count("/")
        script = f'<script src="{above}{_SCRIPT}"></script>'
        return [nodes.raw("", f'<div class="plot">{script}{html}</div>', format="html")]


def _write_script(app: Sphinx, error: Exception | None) -> None:
    if error is None and app.builder.format == "html":
        with atomic_write(Path(app.outdir) / _SCRIPT) as part:
            part.write_text(get_plotlyjs(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Let pages ask for plots."""
    app.add_directive("plot", Plot)
    app.connect("build-finished", _write_script)
    return {"parallel_read_safe": True}
