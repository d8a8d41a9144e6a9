"""What the atlas says of each task: curves, costs, and a line of read-outs at each width."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean

from docs.atlas.metrics import METRICS, ShownMetric
from docs.atlas.rows import COLLECTIONS, Row

GROUPS = {
    "Classifiers": ("classifiers", "vgg", "top"),
    "Autoencoders": ("autoencoders",),
    "Control policies": ("policies",),
    "Language model": ("language",),
}
_TITLES = {
    ("classifiers", "fashion-mnist"): "Fashion-MNIST, dense",
    ("classifiers", "mnist"): "MNIST, dense",
    ("classifiers", "convolutional"): "Fashion-MNIST, two convolutions",
    ("vgg", "fashion-mnist"): "Fashion-MNIST, VGG-11",
    ("top", "fashion-mnist"): "Fashion-MNIST, top on EfficientNet-Lite0",
    ("autoencoders", "fashion-mnist"): "Fashion-MNIST",
    ("autoencoders", "mnist"): "MNIST",
    ("autoencoders", "emoji"): "Emoji, convolutional",
    ("autoencoders", "faces"): "Faces",
    ("language", "fh"): "Austen, heads and feed-forward",
    ("language", "fhd"): "Austen, the model's width too",
}
NETWORKS = ("variable", "dedicated", "plain", "pca", "linear")
AXES = {
    "width": "width",
    "parameters": "parameters",
    "macs": "multiplications",
    "latency_ms": "latency, s",
}
READOUTS = ("width", "parameters", "macs", "latency", "metric", "alone", "full")
NONE = "–"  # noqa: RUF001 - a dash: no value
ByWidth = Mapping[int, Sequence[float]]


@dataclass(frozen=True)
class Task:
    """A task, as the page shows it.

    Attributes:
        name: Its collection and its own name.
        title: For people.
        full_width: The knob's last position.
        metric: How values are shown.
        curves: For each network the shown metric by width, one a seed.
        costs: For each axis and each network, what each width costs, the mean over seeds.
        timed_samples: Samples of a forward that was timed, if one was.
    """

    name: str
    title: str
    full_width: int
    metric: ShownMetric
    curves: dict[str, dict[int, list[float]]]
    costs: dict[str, dict[str, dict[int, float]]]
    timed_samples: int | None

    @property
    def widths(self) -> list[int]:
        """Widths that the variable network was measured at."""
        return [*self.curves["variable"]]

    def shown_at(self, share: Fraction) -> int:
        """Return the place of the widest measured width within a share, or of the narrowest."""
        within = [width for width in self.widths if width <= share * self.full_width]
        return max(len(within) - 1, 0)

    def readouts(self, width: int) -> dict[str, str]:
        """Return what the table says at a width, by the names of ``READOUTS``."""
        value = fmean(self.curves["variable"][width])
        # What is trained for full width alone is the plain network.
        plain = self.curves.get("plain", {})
        alone = (plain if width == self.full_width else self.curves.get("dedicated", {})).get(width)
        full = plain.get(self.full_width, self.curves["variable"].get(self.full_width))
        latency = self.costs["latency_ms"].get("variable", {}).get(width)
        return {
            "width": f"{width:,}\xa0of\xa0{self.full_width:,}",
            "parameters": self._share("parameters", width),
            "macs": self._share("macs", width),
            "latency": NONE if latency is None else f"{latency:.3g}\xa0ms, {self.timed_samples}",
            "metric": self.metric.text(value),
            "alone": self.metric.difference(value, fmean(alone)) if alone else NONE,
            "full": self.metric.difference(value, fmean(full)) if full else NONE,
        }

    def _share(self, cost: str, width: int) -> str:
        counts = self.costs[cost].get("variable", {})
        if width not in counts or self.full_width not in counts:
            return NONE
        whole = counts[self.full_width]
        return f"{100 * counts[width] / whole:.3g}\xa0% of {short_count(whole)}"


def short_count(count: float) -> str:
    """Return a count in thousands, millions or billions, in three digits."""
    rounded = float(f"{count:.3g}")
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if rounded >= size:
            return f"{rounded / size:#.3g}".rstrip(".") + f"\xa0{letter}"
    return f"{rounded:g}"


def summarise(rows: Iterable[Row]) -> list[Task]:
    """Return the tasks of some rows, in the order of the groups."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.collection, row.task), []).append(row)
    order = [collection.name for collection in COLLECTIONS]
    titles = [*_TITLES]
    places = {key: titles.index(key) if key in titles else len(titles) for key in found}
    keys = sorted(found, key=lambda key: (order.index(key[0]), places[key], key[1]))
    return [_task(key, found[key]) for key in keys]


def _task(key: tuple[str, str], rows: Sequence[Row]) -> Task:
    metric = METRICS[rows[0].metric]
    curves: dict[str, dict[int, list[float]]] = {}
    costs: dict[str, dict[str, dict[int, float]]] = {}
    for network in NETWORKS:
        own = sorted((row for row in rows if row.network == network), key=lambda row: row.width)
        for row in own:
            curves.setdefault(network, {}).setdefault(row.width, []).append(
                metric.convert(row.value)
            )
        costs.setdefault("width", {})[network] = {
            row.width: row.width / row.full_width for row in own if row.width
        }
        for axis in [*AXES][1:]:
            costs.setdefault(axis, {})[network] = _means(own, axis)
    full = rows[0].full_width
    timed = {row.timed_samples for row in rows if row.timed_samples is not None}
    if len(timed) > 1:
        raise ValueError(f"forwards of {key} must be timed for as many samples, got {timed}")
    name, title = "-".join(key), _TITLES.get(key, key[1])
    return Task(name, title, full, metric, curves, costs, next(iter(timed), None))


def _means(rows: Iterable[Row], axis: str) -> dict[int, float]:
    """Return what each width costs, the mean over seeds of what was measured."""
    found: dict[int, list[float]] = {}
    for row in rows:
        cost = getattr(row, axis)
        if cost is not None:
            found.setdefault(row.width, []).append(cost)
    return {width: fmean(values) for width, values in found.items()}


def slider_stops(tasks: Iterable[Task]) -> list[Fraction]:
    """Return the shares of full width at which some task was measured, in ascending order."""
    return sorted({Fraction(width, task.full_width) for task in tasks for width in task.widths})
