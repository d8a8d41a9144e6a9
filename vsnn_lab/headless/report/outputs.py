"""Outputs of a cell: what a page shows of each."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vsnn_lab import explore
from vsnn_lab.explore.portable import MIME as INSTRUMENT
from vsnn_lab.figures import Metric
from vsnn_lab.headless.report.text import Place, clean, markdown, terminal_text
from vsnn_lab.headless.runs.results import MIME as RECORD
from vsnn_lab.headless.runs.results import decode_results

PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_NEEDS_KERNEL = "This instrument needs a kernel: open the notebook in JupyterLab."
_UNREADABLE = "This instrument is damaged: run the notebook again."
_NOT_ALONE = "This figure ({}) needs code or maps that a page on its own is not allowed."
# As `vsnn_lab.explore.portable` writes it.
_STATE = re.compile(rf'<script type="{re.escape(INSTRUMENT)}">(.*?)</script>', re.DOTALL)
# Plotly draws these by code that it makes as it runs, or on maps from a server.
_REFUSED = re.compile("parcoords|splom|choropleth.*|scattergeo|(scatter|density)map.*")
_STREAMS = ("stdout", "stderr")
_PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")


@dataclass(frozen=True)
class Block:
    """One thing that a page shows.

    Attributes:
        kind: Which part of the template draws it.
        value: What it is drawn from: text, HTML, an address, data for Plotly, or an instrument's
            state.
    """

    kind: str
    value: Any


def output_blocks(outputs: list[Mapping[str, Any]], place: Place) -> list[Block]:
    """Return what is shown of a cell's outputs, pieces of one stream together."""
    blocks: list[Block] = []
    for output in outputs:
        block = _block(output, place)
        if block and blocks and block.kind == blocks[-1].kind and block.kind in _STREAMS:
            block = Block(block.kind, blocks.pop().value + block.value)
        if block:
            blocks.append(block)
    cleaned = [
        Block(block.kind, terminal_text(block.value)) if block.kind in _STREAMS else block
        for block in blocks
    ]
    return [block for block in cleaned if block.value]


def _block(output: Mapping[str, Any], place: Place) -> Block | None:
    kind = output["output_type"]
    if kind == "stream":
        return Block(output["name"], output["text"])
    if kind == "error":
        trace = terminal_text("\n".join(output["traceback"]))
        return Block("error", {"name": output["ename"], "said": output["evalue"], "trace": trace})
    return _richest_block(output["data"], output.get("metadata", {}), place)


def _richest_block(data: Mapping[str, Any], about: Mapping[str, Any], place: Place) -> Block | None:
    """Return the richest of the forms that an output has."""
    if found := _STATE.search(data.get("text/html", "")):
        return _instrument(found[1])
    if PLOTLY in data:
        return _figure(data[PLOTLY])
    if RECORD in data:
        metric = about.get(RECORD, {}).get("metric")
        metric = None if metric is None else Metric(**metric)
        return Block("record", {"values": decode_results(data[RECORD]), "metric": metric})
    if _WIDGET in data:
        # Dead without its kernel: nobody misses a progress bar, but an instrument.
        text = data.get("text/plain", "")
        is_instrument = any(f"{name}(" in text for name in explore.__all__)
        return Block("note", _NEEDS_KERNEL) if is_instrument else None
    for kind in _PICTURES:
        if kind in data:
            return Block("picture", data_url(kind, data[kind]))
    if "text/html" in data:
        return Block("html", clean(data["text/html"], place.files).strip())
    if "text/markdown" in data:
        return Block("html", markdown(data["text/markdown"], place))
    return Block("text", terminal_text(data.get("text/plain", "")))


def _instrument(text: str) -> Block:
    """Return an instrument as it was saved, without the program that came with it."""
    try:
        state = json.loads(text, parse_constant=_refuse_constant)
        if isinstance(state["description"], dict) and isinstance(state["arrays"], dict):
            return Block("instrument", {n: v for n, v in state.items() if not n.startswith("_")})
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return Block("note", _UNREADABLE)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _figure(figure: Mapping[str, Any]) -> Block:
    """Return a figure of traces that are drawn without WebGL, whose code is made as it runs."""
    traces = [dict(trace) for trace in figure.get("data") or []]
    for trace in traces:
        kind = trace.get("type", "scatter")
        if _REFUSED.fullmatch(kind):
            return Block("note", _NOT_ALONE.format(kind))
        if kind in ("scattergl", "scatterpolargl"):
            trace["type"] = kind.removesuffix("gl")
    return Block("figure", {"data": traces, "layout": figure.get("layout") or {}})


def data_url(kind: str, picture: str) -> str:
    """Return a picture as a data address, which a browser shows without a request."""
    if kind == "image/svg+xml":
        picture = base64.b64encode(picture.encode()).decode()
    return f"data:{kind};base64,{''.join(picture.split())}"
