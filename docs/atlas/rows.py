"""Tracked results as one table: a row for each task, network, seed and width."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vsnn_lab.train.image_tasks.experiment import TIMED

RESULTS = Path(__file__).parents[1] / "results"


class Row(NamedTuple):
    """A trained network at one width.

    Attributes:
        collection: Name of the file of results, and of the `make` target that writes it.
        task: Data set or environment, and what tells its network from others on it.
        network: "variable" (every width), "dedicated" (trained for this width alone), "plain" (for
            full width alone), or what else the collection compares with.
        seed: Of weights, batches and widths.
        width: Position of the knob; 0 of a network that has no units.
        full_width: The knob's last position.
        metric: As the results name it: "accuracy" (a share), "mse" (of pixels in [0, 1]),
            "bits_per_byte", "returns" (of an episode, mean).
        value: Of the metric, on test data.
        parameters: Of the network at that width.
        macs: Multiply-accumulates of one sample.
        sample: What a sample is.
        latency_ms: Median of a forward on one thread.
        timed_samples: Samples of that forward.
        device: What it trained on, where that was noted.
        date: When it trained, UTC.
        versions: Of Python and packages.
        command: Makes it anew.
        source: Where the value stands: the file, and a JSON pointer (RFC 6901) in it.
    """

    collection: str
    task: str
    network: str
    seed: int
    width: int
    full_width: int
    metric: str
    value: float
    parameters: int | None
    macs: float | None
    sample: str
    latency_ms: float | None
    timed_samples: int | None
    device: str
    date: str
    versions: str
    command: str
    source: str


@dataclass(frozen=True)
class Collection:
    """How the file of a collection is read.

    Attributes:
        name: Of the file.
        metric: The column of values.
        macs: The column of multiply-accumulates.
        sample: What these are counted for.
        by_size: Whether a network of one size stands in its columns at 1, whatever its width is.
    """

    name: str
    metric: str = "accuracy"
    macs: str = "macs"
    sample: str = "image"
    by_size: bool = False

    def tasks(self, result: dict[str, Any]) -> list[tuple[str, str]]:
        """Return the tasks that a result belongs to, and what kind of network it is there."""
        method = str(result["method"])
        kind = method.partition("-")[0]
        if self.name == "language":
            # A plain model is the widest of both.
            if kind == "plain":
                return [(task, kind) for task in ("fh", "fhd")]
            return [(kind, "variable" if method == kind else "dedicated")]
        if self.name == "vgg":
            return [("fashion-mnist", kind)]
        if self.name == "top":
            return [(str(result["settings"]["data"]), kind)]
        return [(str(result["task"]), kind)]

    def timed_samples(self, result: dict[str, Any]) -> int:
        """Return how many samples a timed forward had."""
        return 1 if self.name == "top" else min(TIMED, result.get("measured_on", TIMED))


COLLECTIONS = (
    Collection("classifiers"),
    Collection("vgg"),
    Collection("top", by_size=True),
    Collection("autoencoders", metric="mse"),
    Collection("policies", metric="returns", sample="observation"),
    Collection(
        "language", metric="bits_per_byte", macs="macs_per_token", sample="token", by_size=True
    ),
)
# Of two runs of a task, only method, seed and what follows from them may differ.
_SAME = ("epochs", "images", "steps", "episodes", "measured_on", "trained on", "measured on")


def read_rows(folder: Path = RESULTS) -> list[Row]:
    """Return all rows; a collection without a file has none, nor has a task without a knob.

    Args:
        folder: Where files of results are.

    Raises:
        ValueError: If a task has runs of different length or data, or one run twice.
    """
    rows = [
        row
        for collection in COLLECTIONS
        if (path := folder / f"{collection.name}.json").is_file()
        for row in _read(collection, json.loads(path.read_text(encoding="utf-8"))["runs"])
    ]
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        key = (row.collection, row.task, row.network, row.seed, row.width)
        if key in seen:
            raise ValueError(f"each run must be in {row.collection}.json once, got {key[1:]} twice")
        seen.add(key)
    return rows


def _read(collection: Collection, results: Sequence[dict[str, Any]]) -> Iterator[Row]:
    full = _full_widths(collection, results)
    setups: dict[str, dict[str, Any]] = {}
    for index, result in enumerate(results):
        if collection.metric not in result:  # of other knobs than one for all layers
            continue
        for task, network in collection.tasks(result):
            if task not in full:
                continue
            _check_setup(collection, task, result, setups)
            for position in result[collection.metric]:
                width = _width(collection, result, network, position, full[task])
                pointer = f"/runs/{index}/{collection.metric}/{position}"
                yield _row(collection, result, position)._replace(
                    task=task,
                    network=network,
                    width=width,
                    full_width=full[task],
                    source=f"{collection.name}.json#{pointer}",
                )


def _full_widths(collection: Collection, results: Sequence[dict[str, Any]]) -> dict[str, int]:
    """Return the last position of the knob of each task that has one."""
    found: dict[str, int] = {}
    for result in results:
        for task, network in collection.tasks(result):
            if network == "variable":
                last = max(map(int, result[collection.metric]))
                if found.setdefault(task, last) != last:
                    raise ValueError(
                        f"variable networks of {collection.name}.json, {task}, must have one full "
                        f"width, got {found[task]} and {last}"
                    )
    return found


def _check_setup(
    collection: Collection, task: str, result: dict[str, Any], setups: dict[str, dict[str, Any]]
) -> None:
    """Check that a run is of the same length and data as the others of its task."""
    # Components are fitted, in no epoch.
    names = [name for name in _SAME if name in result and result["method"] != "pca"]
    if collection.name == "top":
        names.append("settings")
    setup = setups.setdefault(task, {})
    for name in names:
        if setup.setdefault(name, result[name]) != result[name]:
            raise ValueError(
                f"runs of {collection.name}.json, {task}, must have the same {name}, got "
                f"{setup[name]} and {result[name]}"
            )


def _width(
    collection: Collection, result: dict[str, Any], network: str, position: str, full: int
) -> int:
    if not collection.by_size or network == "variable":
        return int(position)
    if network == "plain":
        return full
    return int(str(result["method"]).partition("-")[2] or 0)


def _row(collection: Collection, result: dict[str, Any], position: str) -> Row:
    """Return what a row says whatever task it belongs to."""
    costs = {
        name: result.get(column, {}).get(position)
        for name, column in (
            ("parameters", "parameters"), ("macs", collection.macs), ("latency", "latency_ms"),
        )
    }  # fmt: skip
    macs = costs["macs"]
    return Row(
        collection=collection.name,
        task="",
        network="",
        seed=result["seed"],
        width=0,
        full_width=0,
        metric=collection.metric,
        value=result[collection.metric][position],
        parameters=costs["parameters"],
        macs=int(macs) if isinstance(macs, float) and macs.is_integer() else macs,
        sample=collection.sample,
        latency_ms=costs["latency"],
        timed_samples=None if costs["latency"] is None else collection.timed_samples(result),
        device=result.get("device", ""),
        date=result["date"],
        versions="; ".join(f"{name} {number}" for name, number in result["versions"].items()),
        command=result.get("command", f"make {collection.name}"),
        source="",
    )
