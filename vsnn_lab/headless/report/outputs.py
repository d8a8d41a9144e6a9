"""Outputs of a cell: what a page shows of each."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vsnn_lab import explore
from vsnn_lab.explore.instrument import MIME as INSTRUMENT
from vsnn_lab.figures import Metric
from vsnn_lab.headless.report.text import Place, clean, markdown, terminal_text
from vsnn_lab.headless.runs.results import MIME as RECORD
from vsnn_lab.headless.runs.results import decode_results

PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_NEEDS_KERNEL = "This instrument needs a kernel: open the notebook in JupyterLab."
_STREAMS = ("stdout", "stderr")
_PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")


@dataclass(frozen=True)
class Block:
    """One thing that a page shows.

    Attributes:
        kind: Which part of the template draws it.
        value: What it is drawn from: text, HTML, an address, or data for Plotly.
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
    if INSTRUMENT in data:
        return Block("instrument", data[INSTRUMENT])
    if PLOTLY in data:
        return Block("figure", {name: data[PLOTLY].get(name) for name in ("data", "layout")})
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


def data_url(kind: str, picture: str) -> str:
    """Return a picture as a data address, which a browser shows without a request."""
    if kind == "image/svg+xml":
        picture = base64.b64encode(picture.encode()).decode()
    return f"data:{kind};base64,{''.join(picture.split())}"
