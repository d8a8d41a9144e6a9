"""An instrument as HTML that moves without a kernel: for saved notebooks, exports and reports."""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vsnn_lab.explore import front
from vsnn_lab.explore.parts import nearest_places, widths_that_fit

if TYPE_CHECKING:
    from vsnn_lab.explore.instrument import Instrument

MIME = "application/vnd.vsnn_lab.instrument+json"
_MOST = 2_500_000  # bytes of text of what differs by width


def portable_state(instrument: "Instrument", most: int = _MOST) -> dict[str, Any]:
    """Return all that an instrument shows, ready for JSON.

    Where that is too much, widths are left out: those of the log2 scale stay, then every second of
    them and so on; the first, the last and the one shown always do.

    Args:
        instrument: What to show.
        most: Bytes that it may take.

    Returns:
        Its ``description``, its ``arrays`` with their data in base64, and where each control
        stands, by name.
    """
    description, arrays = instrument.description, instrument.arrays
    controls = {each["name"]: each for each in description["controls"]}
    positions = {name: getattr(instrument, name) for name in controls}
    sliders = [each for each in controls.values() if each["type"] == "width"]
    if sliders:
        widths, steps = sliders[0]["values"], sliders[0]["of"]
        bulk = [held for held in arrays.values() if held["by"]]
        size = len(json.dumps(description)) + sum(len(held["data"]) * 4 // 3 for held in bulk)
        always = [positions[slider["name"]] for slider in sliders]
        kept = widths_that_fit(size // len(widths), steps, most, always)
        near = nearest_places(widths, kept)
        if len(near) < len(widths):
            description, arrays = _thin(description, arrays, sliders[0]["axis"], near)
    encoded = {
        name: {**held, "data": base64.b64encode(held["data"]).decode()}
        for name, held in arrays.items()
    }
    return {"description": description, "arrays": encoded, **positions}


def _thin(
    description: Mapping[str, Any], arrays: Mapping[str, Any], axis: str, kept: Sequence[int]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Keep some positions of an axis: of its sliders, its arrays, and the texts that follow it."""
    names = {each["name"] for each in description["controls"] if each.get("axis") == axis}

    def pick(texts: Any, by: Any) -> Any:
        return [texts[i] for i in kept] if by in names and isinstance(texts, list) else texts

    def thin_control(control: Mapping[str, Any]) -> Mapping[str, Any]:
        if control["name"] not in names:
            return control
        log2 = [place for place, index in enumerate(kept) if index in {*control["log2"]}]
        return {**control, "values": [control["values"][i] for i in kept], "log2": log2}

    def thin_part(part: Mapping[str, Any]) -> Mapping[str, Any]:
        by = part.get("by")
        items = [
            {k: pick(v, item.get("by", by)) for k, v in item.items()}
            for item in part.get("items", ())
        ]
        lists = {name: pick(texts, by) for name, texts in part.get("by_width", {}).items()}
        found = {"items": items, "by_width": lists}
        return {**part, **{name: found[name] for name in found if name in part}}

    def thin_array(held: Mapping[str, Any]) -> Mapping[str, Any]:
        values = np.frombuffer(held["data"], held["dtype"]).reshape(held["shape"])
        for place, own in enumerate(held["by"]):
            values = values.take(kept, place) if own == axis else values
        return {**held, "shape": list(values.shape), "data": values.tobytes()}

    controls = [thin_control(control) for control in description["controls"]]
    parts = [thin_part(part) for part in description["parts"]]
    thinned = {name: thin_array(held) for name, held in arrays.items()}
    return {**description, "controls": controls, "parts": parts}, thinned


def portable_html(instrument: "Instrument") -> str:
    """Return an instrument with its data and what moves it, for a page that has neither."""
    state = portable_state(instrument) | {"_esm": front.module(), "_css": front.style()}
    # In HTML a script ends where it says so, whatever JSON thinks of it.
    text = json.dumps(state).replace("<", "\\u003c")
    boot = f"{front.boot_script()}(document.currentScript, null)"
    return f'<script type="{MIME}">{text}</script><script>{boot}</script>'


def revival_html(model: str) -> str:
    """Return what starts an instrument whose state a page without a widget manager holds."""
    return f"<script>{front.boot_script()}(document.currentScript, {json.dumps(model)})</script>"
