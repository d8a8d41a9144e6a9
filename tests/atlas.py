"""Files of results for the atlas: those that are tracked, and made-up ones where one is missing."""

import json
import shutil
from pathlib import Path

RESULTS = Path(__file__).parents[1] / "docs" / "results"
MADE = {"date": "2026-11-27", "versions": {"python": "3.11.7", "torch": "2.13.0"}, "device": "CPU"}


def columns(metric: str, values: dict[int, float], *costs: str) -> dict:
    """Return columns by position whose costs grow with it."""
    prices = {"parameters": 1000, "macs": 900, "latency_ms": 0.25}
    found = {metric: {str(at): value for at, value in values.items()}}
    return found | {name: {str(at): prices[name] * at for at in values} for name in costs or prices}


def image_runs(task: str, metric: str, full: int) -> list[dict]:
    """Return runs as `vsnn_lab.train.image_tasks` keeps them."""
    runs = []
    for seed in range(2):
        drift = 0.01 * seed
        methods = {
            "plain": {full: 0.02 + drift},
            "dedicated-2": {2: 0.07 + drift},
            "variable": {at: 0.03 + drift + 0.1 / at for at in (1, 2, 4, full)},
        }
        if metric == "mse" and not seed:
            methods["pca"] = {at: 0.05 + 0.1 / at for at in (1, 2, 4, full)}
        runs += [
            {"task": task, "method": method, "seed": seed, "epochs": 2, "images": 60}
            | {"measured_on": 40, "command": f"make it ARGS='--tasks {task}'"}
            | MADE
            | columns(metric, values, *(["parameters", "macs"] if method == "pca" else []))
            for method, values in methods.items()
        ]
    return runs


def vgg_runs() -> list[dict]:
    """Return runs as `vsnn_lab.train.vgg` keeps them, one of a knob for each layer among them."""
    accuracies = {
        "plain": {32: 0.93},
        "dedicated-8": {8: 0.88},
        "variable": {at: 0.92 - 0.2 / at for at in range(1, 33)},
        "ordered": {at: 0.92 - 0.4 / at for at in range(1, 33)},
    }
    runs = [
        {"method": method, "seed": 0, "epochs": 12, "images": 54000, "command": "make vgg"}
        | MADE
        | columns("accuracy", values, "parameters", "macs")
        for method, values in accuracies.items()
    ]
    runs[2]["latency_ms"] = {"4": 1.5, "8": 2.5, "16": 7.0, "32": 21.0}
    return [*runs, {"method": "layers", "seed": 0, "epochs": 12, "images": 54000, **MADE}]


MADE_UP = {
    "classifiers": lambda: image_runs("mnist", "accuracy", 256),
    "autoencoders": lambda: image_runs("faces", "mse", 16) + image_runs("emoji", "mse", 32),
    "vgg": vgg_runs,
}


def write_results(folder: Path) -> Path:
    """Write what is tracked to a folder, and made-up runs of what is not yet."""
    for path in RESULTS.glob("*.json"):
        shutil.copyfile(path, folder / path.name)
    for name, runs in MADE_UP.items():
        if not (folder / f"{name}.json").exists():
            (folder / f"{name}.json").write_text(json.dumps({"runs": runs()}))
    return folder
