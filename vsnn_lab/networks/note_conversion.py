"""Notes on a network that is made variable: why axes stay, and a picture of what flows where."""

from collections.abc import Collection

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from vsnn_lab.networks.graph.layer_rules import LAYERS
from vsnn_lab.networks.graph.understanding import Understanding
from vsnn_lab.networks.graph.walk import Walk
from vsnn_lab.networks.layer_graph import LayerGraph
from vsnn_lab.networks.notes import NOTES, Notes


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
        elif held := walk.held.get(name):
            # Of one that varies along its units it goes without saying that its rows stay.
            known = {
                f"{key} {place}": walk.axes.reason(dim)
                for key, shape in held.items()
                for place, dim in enumerate(shape)
                if not any(map(walk.axes.varies, shape))
            }
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
