"""What is noted on a network when it is made variable: plain data, no part of what it computes."""

from collections.abc import Collection
from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.networks.graph.understanding import Understanding
from vsnn_lab.networks.graph.walk import Walk
from vsnn_lab.networks.layer_graph import LayerGraph

NOTES = "_conversion_notes"
"""The attribute of the converted module that holds its `Notes`; a cut has none."""


@dataclass(frozen=True)
class Notes:
    """What was found out about a network, and what it took.

    Attributes:
        reasons: Why axes stay, by the name of a layer and that of its axis.
        nodes: Name and kind of what stands in a picture of it, layers as in ``named_modules``.
        edges: Which of these nodes gives to which later one.
        training: Why it could not be looked at in training; empty if it could.
        seconds: That finding out took, and that the proof did; None if it was not proven.
    """

    reasons: dict[str, dict[str, str]]
    nodes: list[tuple[str, str]]
    edges: list[tuple[int, int]]
    training: str
    seconds: tuple[float, float | None]


def note_conversion(
    variable: nn.Module,
    found: Understanding,
    excluded: Collection[str],
    seconds: tuple[float, float | None],
) -> None:
    """Note on a converted network what is known of it.

    Args:
        variable: The network.
        found: What was found out.
        excluded: Names of modules that were to stay.
        seconds: That this took, and the proof; None if there was none.
    """
    walk = found.walk
    reasons: dict[str, dict[str, str]] = {}
    for name, module in variable.named_modules():
        if dims := walk.layers.get(name):
            known = {key: walk.axes.reason(dim) for key, dim in dims.items()}
            reasons[name] = {key: reason for key, reason in known.items() if reason}
        elif module._parameters or is_parametrized(module):
            reasons[name] = {"": _why_unknown(name, module, walk, excluded)}
    graph = LayerGraph(variable, found.graphs[0])
    notes = Notes(reasons, graph.nodes, graph.edges, found.training, seconds)
    setattr(variable, NOTES, notes)


def _why_unknown(name: str, module: nn.Module, walk: Walk, excluded: Collection[str]) -> str:
    """Return why nothing is known of the axes of a module that has parameters."""
    if any(f"{name}.".startswith(f"{each}." if each else "") for each in excluded):
        return "excluded"
    kind = type(module).__name__
    if is_parametrized(module):
        return f"{kind} has no variable form; parametrize it after make_variable"
    if type(module) not in LAYERS:
        if type(module).__module__.startswith("torch."):
            return f"{kind} has no variable form"
        return f"what {kind} holds itself has no variable form"
    if "forward" in vars(module):
        return f"{kind} with a forward of its own has no variable form"
    if name in walk.layers:
        return f"{kind} with these options has no variable form"
    return "not called on the example"


def notes_within(model: nn.Module) -> dict[str, Notes]:
    """Return what is noted on a network and on those within, names those of the whole."""
    found: dict[str, Notes] = {}
    for prefix, module in model.named_modules():
        notes = vars(module).get(NOTES)
        if isinstance(notes, Notes):
            layers = dict(module.named_modules())
            before = f"{prefix}." if prefix else ""
            found[prefix] = Notes(
                {f"{before}{name}".rstrip("."): each for name, each in notes.reasons.items()},
                [
                    (f"{before}{name}" if name in layers else name, kind)
                    for name, kind in notes.nodes
                ],
                notes.edges,
                notes.training,
                notes.seconds,
            )
    return found
