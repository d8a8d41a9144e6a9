"""What was measured: kept seed by seed, and summed up over seeds."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from vsnn_lab._basics.files import atomic_write

Result = dict[str, Any]
_METHODS = {
    "magnitude, one-shot": "one-shot by magnitude",
    "magnitude, recalibrated": "… batch norms recalibrated",
    "taylor, one-shot": "one-shot by Taylor scores",
    "taylor, recalibrated": "… batch norms recalibrated",
    "taylor, fitted": "… layers fitted",
    "taylor, taught": "… and taught",
}
_SAME_BITS = ("before ordering, the same bits", "ordered and taught, the same bits")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file of JSON, whole or not at all."""
    with atomic_write(path) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_result(path: Path, settings: Mapping[str, Any], part: str) -> Result | None:
    """Return what one seed measured, or None if there is no such file.

    Raises:
        ValueError: If the file is damaged, or holds what was measured with other settings.
    """
    if not path.is_file():
        return None
    try:
        found: Result = json.loads(path.read_text(encoding="utf-8"))
        asked = found["settings"], found["measured on"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} must be a result that was kept, got {error!r}; delete it, and it is measured "
            "again"
        ) from error
    if asked != (settings, part):
        raise ValueError(
            f"{path} must be of {dict(settings)} on {part}, got {asked[0]} on {asked[1]}; delete "
            "it, and it is measured again"
        )
    return found


def summarise(runs: Sequence[Result], command: str) -> Result:
    """Return the results of some seeds, with mean, least and largest agreement.

    Args:
        runs: What each seed measured, at least one.
        command: What measured them.
    """
    found = runs[0]
    return {
        "command": command,
        "held-out images": found["images"]["held out"],
        "seeds": [run["seed"] for run in runs],
        "agreement with full width": {
            method: {size: _spread([run["agreement"][method][size] for run in runs]) for size in by}
            for method, by in found["agreement"].items()
            if method in _METHODS
        },
        "agreement of full width with itself on mirrored images": _spread(
            [run["agreement"]["its own mirror image"] for run in runs]
        ),
        "full width bit-identical": {
            key: all(run["full width"][key] for run in runs) for key in _SAME_BITS
        },
        "largest difference of a logit by ordering": max(
            run["full width"]["ordered, largest difference"] for run in runs
        ),
        "sizes": found["sizes"],
        "runs": list(runs),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {"mean": round(fmean(values), 4), "least": min(values), "largest": max(values)}


def as_markdown(summary: Mapping[str, Any]) -> str:
    """Return the table of `summarise`: a line for each method, a column for each size."""
    agreement, sizes = summary["agreement with full width"], summary["sizes"]
    names = [name for name in sizes if name != "full"]
    lines = [
        f"| agreement with full width | {' | '.join(names)} |",
        "|---" * (len(names) + 1) + "|",
    ]
    shares = [
        " and ".join(
            f"{100 * sizes[name][f'share of {of}']:.1f} %" for of in ("parameters", "macs")
        )
        for name in names
    ]
    lines.append(f"| its share of parameters and of MACs | {' | '.join(shares)} |")
    for method, label in _METHODS.items():
        cells = [_percentages(agreement[method][name]) for name in names]
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percentages(spread: Mapping[str, float]) -> str:
    mean, least, largest = (f"{100 * spread[key]:.1f}" for key in ("mean", "least", "largest"))
    return f"{mean} % ({least} to {largest})"
