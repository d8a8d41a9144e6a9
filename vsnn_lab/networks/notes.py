"""What is noted on a network when it is made variable: plain data, no part of what it computes."""

from dataclasses import dataclass

from torch import nn

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
