"""What an instrument has sent, as numbers."""

from typing import Any

import numpy as np

from vsnn_lab.explore.instrument import Instrument


def numbers(explorer: Instrument, name: str) -> np.ndarray:
    """Return an array, its leading axes those of the controls that it follows."""
    held = explorer.arrays[name]
    return np.frombuffer(held["data"], held["dtype"]).reshape(held["shape"])


def tiles(explorer: Instrument) -> dict[str, dict[str, Any]]:
    """Return the read-outs by name."""
    items = [item for part in explorer.description["parts"] for item in part.get("items", ())]
    return {item["name"]: item for item in items}


def control(explorer: Instrument, name: str) -> dict[str, Any]:
    return next(each for each in explorer.description["controls"] if each["name"] == name)
