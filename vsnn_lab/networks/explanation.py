"""What became of a network that was made variable: what varies, what stayed, and why."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from vsnn_lab._basics.checks import check_module
from vsnn_lab.layers import VariableLayer
from vsnn_lab.networks.axis_words import axes_in_words
from vsnn_lab.networks.explanation_text import as_html, as_text
from vsnn_lab.networks.extraction import inner_network
from vsnn_lab.networks.notes import Notes, notes_within
from vsnn_lab.networks.tensor_uses import TensorUse, tensor_uses
from vsnn_lab.widths import Width, WidthControl, knobs_of, width_controls

_OUTPUT, _BEHIND = "the network's output", "what it is given stays"


class Layer(NamedTuple):
    """A module that has parameters of its own.

    Attributes:
        name: As in ``named_modules``.
        kind: Its class, of a variable layer the plain one.
        axes: In words, such as ``"3 -> 2..64 channels"``: the fewest and the most that are kept.
        knobs: The numbers of the knobs behind its axes, counted from 1.
        parameters: How many numbers it has.
        share: The share of them that lie on a variable axis, from 0 to 1.
        reason: Why an axis of it stays; empty if none does, or nothing is known.
    """

    name: str
    kind: str
    axes: str
    knobs: tuple[int, ...]
    parameters: int
    share: float
    reason: str


class Knob(NamedTuple):
    """A knob.

    Attributes:
        number: Counted from 1, in the order in which the layers come.
        positions: How many.
        rounded: Whether its axes keep whole units that are nearest above the share.
        layers: How many layers have an axis on it.
    """

    number: int
    positions: int
    rounded: bool
    layers: int


class Fixed(NamedTuple):
    """Why axes stay.

    Attributes:
        reason: In words; ``*`` stands for numbers that differ among the layers.
        layers: The layers that it holds for.
        parameters: How many numbers they have that lie on no variable axis.
    """

    reason: str
    layers: tuple[str, ...]
    parameters: int


class Node(NamedTuple):
    """What stands in a picture of a network.

    Attributes:
        name: Of a layer as in ``named_modules``, or of an operation that joins paths.
        kind: Its class, or "input", "output", "operation".
        knob: The number of the knob of what it gives, else of what it takes; None if both stay.
    """

    name: str
    kind: str
    knob: int | None


@dataclass(frozen=True, repr=False)
class Explanation:
    """What varies in a network, and what stays, where and why; a table as text and in notebooks.

    Attributes:
        model: The class of the network.
        rows: Its layers; ``pandas.DataFrame(rows)`` makes a frame of them.
        knobs: Its knobs.
        fixed: Why axes stay, each reason once.
        parameters: How many numbers it has, shared ones counted once.
        share: The share of them that lie on a variable axis, from 0 to 1.
        nodes: What `vsnn_lab.figures.network_graph` draws.
        edges: And from which node to which later one something flows; of a network that was not
            converted none are known.
        converted_seconds: What finding out took; None if it was not converted.
        proof_seconds: What the proof took; None if it is not proven.
        training: Why it could not be looked at in training; empty if it could.
    """

    model: str
    rows: list[Layer]
    knobs: list[Knob]
    fixed: list[Fixed]
    parameters: int
    share: float
    nodes: list[Node]
    edges: list[tuple[int, int]]
    converted_seconds: float | None
    proof_seconds: float | None
    training: str

    @property
    def proven(self) -> bool:
        """Whether its slices, masks and cuts were compared before it was handed over."""
        return self.proof_seconds is not None

    def __str__(self) -> str:
        return as_text(self)

    def __repr__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def explain(model: nn.Module) -> Explanation:
    """Say what varies in a network, and what stays, where and why.

    Args:
        model: What `make_variable` returned, or a network that has such a one within; or one that
            was built of variable layers, of which no reasons are known.

    Returns:
        A table of its layers, its knobs and the reasons, which shows itself in a console and in a
        notebook; its attributes are plain data.

    Raises:
        TypeError: If ``model`` is no module.
        ValueError: If it has no variable axis, or what recomputes a variable layer's weight is not
            known.

    Example:
        >>> from vsnn_lab import make_variable
        >>> net = make_variable(nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)))
        >>> found = explain(net)
        >>> found.rows[0].axes, found.rows[0].share
        ('784 -> 1..256 features', 1.0)
        >>> found.fixed
        [Fixed(reason="the network's output", layers=('2',), parameters=10)]
    """
    check_module("model", model)
    model = inner_network(model)
    controls = {control: number for number, control in enumerate(width_controls(model), 1)}
    if not controls:
        raise ValueError(
            f"model must have a variable axis, got a plain {type(model).__name__}; "
            "make_variable(model) gives it some"
        )
    notes = notes_within(model)
    uses = [
        use
        for use in tensor_uses(model, {control: control.steps for control in controls})
        if use.is_parameter
    ]
    reasons = {name: found for each in notes.values() for name, found in each.reasons.items()}
    rows = [*_rows(model, uses, reasons, controls)]
    sizes = {use.key: (_numel(use), False) for use in uses}
    sizes |= {use.key: (_numel(use), True) for use in uses if _varies(use)}
    total = sum(size for size, _ in sizes.values())
    nodes, edges = _picture(model, notes, rows, controls)
    seconds = [each.seconds for each in notes.values()]
    proofs = [proof for _, proof in seconds if proof is not None]
    return Explanation(
        type(model).__name__.removeprefix("Variable"),
        rows,
        [
            Knob(number, knob.steps, knob.rounded, sum(number in row.knobs for row in rows))
            for knob, number in controls.items()
        ],
        _folded(rows, reasons),
        total,
        sum(size for size, varies in sizes.values() if varies) / max(total, 1),
        nodes,
        edges,
        sum(first for first, _ in seconds) if seconds else None,
        sum(proofs) if seconds and len(proofs) == len(seconds) else None,
        "; ".join(each.training for each in notes.values() if each.training),
    )


def _rows(
    model: nn.Module,
    uses: list[TensorUse],
    reasons: Mapping[str, Mapping[str, str]],
    controls: Mapping[WidthControl, int],
) -> Iterator[Layer]:
    for name, module in model.named_modules():
        if "parametrizations" in name.split("."):
            continue
        # What parametrizations hold is the parametrized layer's own.
        inner = module._modules.get("parametrizations")
        held = {module, *([] if inner is None else inner.modules())}
        own = [use for use in uses if use.module in held]
        if not own and not isinstance(module, VariableLayer):
            continue
        size = sum(map(_numel, own))
        why = [*dict.fromkeys(reasons.get(name, {}).values())]
        varying = sum(_numel(use) for use in own if _varies(use))
        yield Layer(
            name,
            type(module).__name__.removeprefix("Variable"),
            axes_in_words(module),
            tuple(sorted(controls[knob] for knob in knobs_of(*_axes(module)))),
            size,
            varying / size if size else 0.0,
            "; ".join(why or [_BEHIND] * (name in reasons and varying < size)),
        )


def _axes(module: nn.Module) -> list[Width]:
    return [value for value in vars(module).values() if isinstance(value, Width)]


def _numel(use: TensorUse) -> int:
    size = 1
    for each in use.shape:
        size *= each
    return size


def _varies(use: TensorUse) -> bool:
    axes = use.module.parameter_axes[use.name] if isinstance(use.module, VariableLayer) else ()
    return any(isinstance(axis, Width) for axis in axes)


def _folded(rows: list[Layer], reasons: Mapping[str, Mapping[str, str]]) -> list[Fixed]:
    """Return each reason once, those that differ in a number only as one."""
    folds: dict[str, dict[str, list[Layer]]] = {}
    for row in rows:
        for reason in dict.fromkeys(reasons.get(row.name, {}).values()) or filter(
            None, [row.reason]
        ):
            pattern = re.sub(r"\d+", "*", reason)
            folds.setdefault(pattern, {}).setdefault(reason, []).append(row)
    found = []
    for pattern, alike in folds.items():
        layers = {row.name: row for each in alike.values() for row in each}
        fixed = sum(round(row.parameters * (1 - row.share)) for row in layers.values())
        reason = pattern if len(alike) > 1 else next(iter(alike))
        found.append(Fixed(reason, tuple(layers), fixed))
    # What may surprise comes first, and that which does to nobody last.
    return sorted(found, key=lambda each: (each.reason in (_OUTPUT, _BEHIND), -each.parameters))


def _picture(
    model: nn.Module,
    notes: Mapping[str, Notes],
    rows: list[Layer],
    controls: Mapping[WidthControl, int],
) -> tuple[list[Node], list[tuple[int, int]]]:
    modules = dict(model.named_modules())
    if not notes:
        return [Node(row.name, row.kind, _knob(modules[row.name], controls)) for row in rows], []
    nodes: list[Node] = []
    edges: list[tuple[int, int]] = []
    for each in notes.values():
        edges += [(len(nodes) + first, len(nodes) + second) for first, second in each.edges]
        for name, kind in each.nodes:
            knob = _knob(modules[name], controls) if name in modules else None
            nodes.append(Node(name, kind, knob))
    return nodes, edges


def _knob(module: nn.Module, controls: Mapping[WidthControl, int]) -> int | None:
    """Return the knob of what a module gives, else of what it takes."""
    given = [axis for axis in [getattr(module, "out_axis", None)] if isinstance(axis, Width)]
    knobs = knobs_of(*given) or knobs_of(*_axes(module))
    return controls[knobs[0]] if knobs else None
