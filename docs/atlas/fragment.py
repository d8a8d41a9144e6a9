"""The atlas as a piece of a page, for Plotly that the page has: panels, slider, read-outs."""

import json
from collections.abc import Sequence
from fractions import Fraction
from html import escape
from pathlib import Path
from typing import Any

from docs.atlas.tasks import AXES, GROUPS, READOUTS, Task, slider_stops
from vsnn_lab.figures import panel_curves, style
from vsnn_lab.figures.panel import LOOKS

_HERE = Path(__file__).parent
_FIRST = Fraction(1, 4)  # where the slider stands at first
_HEADS = {
    "width": "width",
    "parameters": "parameters",
    "macs": "MACs of a sample",
    "latency": "latency, samples",
    "metric": "variable network",
    "alone": "beside one of this width alone",
    "full": "beside plain, full width",
}
_SYMBOLS = {
    "circle": '<circle cx="14" cy="6" r="3.5"/>',
    "diamond": '<path d="M14 1l5 5-5 5-5-5z"/>',
    "cross": '<path d="M12.4 1.5h3.2v3h3v3h-3v3h-3.2v-3h-3v-3h3z"/>',
    "square": '<path d="M10.5 2.5h7v7h-7z"/>',
    "line-ew": "",
}
_DASHES = {"solid": "", "dash": "6 3", "dashdot": "6 2 1 2", "dot": "2 2"}


def atlas_html(tasks: Sequence[Task], csv: str, page: str | None = None) -> str:
    """Return the atlas as HTML.

    Args:
        tasks: At least one.
        csv: Address of the table.
        page: Address of the page of its own, if this is another.

    Raises:
        ValueError: If there is no task.
    """
    if not tasks:
        raise ValueError("results must hold a task with a variable network, got none")
    stops = slider_stops(tasks)
    start = min(range(len(stops)), key=lambda place: abs(stops[place] - _FIRST))
    data = json.dumps(page_data(tasks, stops), separators=(",", ":")).replace("</", "<\\/")
    files = f'<a href="{escape(csv)}" download>The table behind it (CSV)</a>'
    if page:
        files += f' · <a href="{escape(page)}">the atlas as one file</a>'
    return "\n".join(
        [
            '<div class="vsnn-atlas" data-vsnn-instrument="atlas" '
            f'style="--atlas-here: {style.POINTER}">',
            f"<style>{_text('atlas.css')}</style>",
            _controls(stops, start),
            *_panels(tasks),
            _table(tasks, stops[start]),
            f'<p class="atlas-files">{files}</p>',
            f'<script type="application/json">{data}</script>',
            f"<script>{_text('atlas.js')}</script>",
            "</div>",
        ]
    )


def page_data(tasks: Sequence[Task], stops: Sequence[Fraction]) -> dict[str, Any]:
    """Return what the page's script moves: texts, figures and markers of each task by width."""
    return {
        "stops": [stop_text(stop) for stop in stops],
        "template": style.TEMPLATE.to_plotly_json(),
        "tasks": [
            {
                "name": task.name,
                "shown": [task.shown_at(stop) for stop in stops],
                "texts": [[*task.readouts(width).values()] for width in task.widths],
                "figures": {axis: _figure(task, axis) for axis in AXES},
            }
            for task in tasks
        ],
    }


def stop_text(share: Fraction) -> str:
    """Return a share of full width in per cent."""
    return f"{float(100 * share):.3g} %"


def _figure(task: Task, axis: str) -> dict[str, Any] | None:
    """Return a panel against an axis, and the markers' places; None without costs of it."""
    costs = task.costs[axis]
    if axis == "latency_ms":
        costs = {name: _in_seconds(own) for name, own in costs.items()}
    if not costs.get("variable"):
        return None
    curves, places = dict(task.curves), dict(costs)
    if "linear" in curves:
        # It has no units, and is a level alone.
        curves["linear"] = {1: curves["linear"][0]}
        del places["linear"]
    steps = task.full_width if axis == "width" else None
    drawn = json.loads(panel_curves(curves, places, steps=steps).to_json())
    del drawn["layout"]["template"]
    means = _means(task)
    markers = [[costs["variable"].get(width), means[width]] for width in task.widths]
    return drawn | {"markers": markers}


def _in_seconds(milliseconds: dict[int, float]) -> dict[int, float]:
    """Return latencies in seconds, of which ticks show milli and micro."""
    return {width: each / 1000 for width, each in milliseconds.items()}


def _means(task: Task) -> dict[int, float]:
    return {width: sum(each) / len(each) for width, each in task.curves["variable"].items()}


def _controls(stops: Sequence[Fraction], start: int) -> str:
    choices = "".join(
        f'<label><input type="radio" name="atlas-axis" value="{axis}"'
        f"{' checked' if axis == 'width' else ''}> {text}</label>"
        for axis, text in AXES.items()
    )
    text = stop_text(stops[start])
    return (
        '<div class="atlas-controls"><label class="atlas-share">share of full width '
        f'<input type="range" aria-label="share of full width" min="0" max="{len(stops) - 1}" '
        f'step="1" value="{start}" aria-valuetext="{text}" autocomplete="off">'
        f'<output data-readout="share">{text}</output></label>'
        '<div class="atlas-axes" role="radiogroup" aria-label="against">'
        f"<span>against</span>{choices}</div></div>"
    )


def _panels(tasks: Sequence[Task]) -> list[str]:
    parts = [_legend({name for task in tasks for name in task.curves})]
    for group, collections in GROUPS.items():
        own = [task for task in tasks if task.name.partition("-")[0] in collections]
        if not own:
            continue
        panels = "".join(
            f'<figure data-task="{escape(task.name)}"><figcaption><b>{escape(task.title)}</b> '
            f"{task.metric.label}</figcaption>"
            '<div class="atlas-frame"><div class="atlas-plot"></div><i class="atlas-stem"></i>'
            '<i class="atlas-ring"></i><p class="atlas-none">not measured</p></div></figure>'
            for task in own
        )
        parts.append(f'<h3>{group}</h3><div class="atlas-panels">{panels}</div>')
    return parts


def _legend(networks: set[str]) -> str:
    entries = "".join(
        f'<li><svg width="28" height="12" aria-hidden="true" fill="{look.color}" '
        f'stroke="{look.color}">{_line(name, look)}{_SYMBOLS[look.symbol]}</svg>{look.name}</li>'
        for name, look in LOOKS.items()
        if name in networks
    )
    return f'<ul class="atlas-legend">{entries}</ul>'


def _line(name: str, look: style.Style) -> str:
    if name == "dedicated":  # points alone
        return ""
    return f'<path d="M0 6h28" stroke-width="2" stroke-dasharray="{_DASHES[look.dash]}"/>'


def _table(tasks: Sequence[Task], share: Fraction) -> str:
    heads = "".join(f'<th scope="col">{text}</th>' for text in _HEADS.values())
    rows = []
    for task in tasks:
        texts = task.readouts(task.widths[task.shown_at(share)])
        group = next(
            name for name, own in GROUPS.items() if task.name.partition("-")[0] in own
        ).lower()
        cells = "".join(
            f'<td data-head="{_HEADS[name]}" data-readout="{escape(task.name)}:{name}">'
            f"{texts[name]}</td>"
            for name in READOUTS
        )
        rows.append(
            f'<tr data-row="{escape(task.name)}"><th scope="row">{escape(task.title)}'
            f"<small>{group}</small></th>{cells}</tr>"
        )
    return (
        f'<table class="atlas-readouts"><thead><tr><th scope="col">task</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
