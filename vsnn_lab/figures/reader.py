"""What an instrument's arrays and texts hold where its controls stand."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vsnn_lab.figures.labels import as_label

_INDEXED = ("width", "menu", "picker")  # controls whose value is a place, or has one


class Reader:
    """Looks up what arrays and texts hold at the controls' positions."""

    def __init__(
        self,
        description: Mapping[str, Any],
        arrays: Mapping[str, Any],
        positions: Mapping[str, Any],
    ) -> None:
        self.arrays, self.positions = arrays, positions
        self.index = {}
        # Of others the value is what there is to know.
        for control in (each for each in description["controls"] if each["type"] in _INDEXED):
            name, value = control["name"], positions[control["name"]]
            stops = np.array(control.get("values", range(value + 1)))
            self.index[name] = int(np.abs(stops - value).argmin())

    def at(self, source: Any) -> np.ndarray:
        """Return what an array holds."""
        named = isinstance(source, str)
        held = self.arrays[source if named else source["array"]]
        values = np.frombuffer(held["data"], held["dtype"]).reshape(held["shape"])
        for axis in held["by"] if named else source.get("by", held["by"]):
            values = values[self.index[axis]]
        return values

    def text(self, item: Mapping[str, Any], by: str) -> str:
        """Return what a read-out says."""
        if "values" not in item:
            value = float(self.at(item["source"]))
            over = float(self.at(item["over"])) if "over" in item else 1.0
            number = f"{value / over:,.{item.get('digits', 0)}f}" if over else "–"  # noqa: RUF001
            return number + item.get("suffix", "")
        values = item["values"]
        return as_label(
            values if isinstance(values, str) else values[self.index[item.get("by", by)]]
        )
