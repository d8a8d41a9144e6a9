"""Give the layers of a variable network something of their own for each width."""

from typing import Any

from torch import nn

from vsnn_lab._basics.checks import (
    check_choice,
    check_fraction,
    check_int,
    check_module,
    check_number,
    short_repr,
)
from vsnn_lab.layers import VariableLayer
from vsnn_lab.layers.conditioned_norm import CONDITIONED
from vsnn_lab.layers.norm import Norm
from vsnn_lab.layers.octaves import Per
from vsnn_lab.layers.own_weights import SwitchableLayer
from vsnn_lab.layers.switchable import SWITCHABLE
from vsnn_lab.widths import WidthControl, check_controls, knobs_of

# Own weights move this much faster than shared ones, whose rate an optimizer is given: narrow
# networks learn best at up to three times the rate that full width does.
OWN_PACE = 3.0
# Of networks of 784-256-256-10 as good as weights of their own at 96 to 224 units.
OWN_RANK = 16


def condition(
    model: nn.Module,
    own_share: float = 1.0,
    *,
    pace: float = 1.0,
    wide_pace: float = 1.0,
    rank: int | None = None,
    control: WidthControl | None = None,
) -> list[str]:
    """Give the layers of a variable network weights of their own for narrow widths, in place.

    Linear layers, convolutions of any kind and norms get, for each octave of widths below full
    width, what is added there to weight and bias; a layer without a bias stays without one. All of
    it is zero at first, so that nothing is changed until training moves it. Narrow widths pass no
    gradient to what was there; full width computes what it did, to the bit. The entries of the
    ``state_dict`` stay, and those of ``own_weights`` of each layer come in addition: with
    ``own_share=1`` about 1.3 times as many as there were. A cut has nothing more than before.

    Several knobs count as the widest of them in a layer that stands on several.

    Args:
        model: A variable network. Layers of other types stay as they are, also those whose weight a
            parametrization recomputes.
        own_share: Up to which share of its knobs a layer has weights of its own; wider ones share
            those of full width.
        pace: What own weights count: above 1 they move so much faster than others do.
        wide_pace: The same for those of widths above a quarter of full width; above half where a
            knob has at most 32 positions.
        rank: That of a product of two matrices which linear layers have there in place of large
            weights, and at every width where their axes are fixed; None is none. A product counts
            as ``pace`` says.
        control: A knob for variable layers whose axes are fixed, those of an autoencoder say.

    Returns:
        The names of the layers that have weights of their own now.

    Raises:
        TypeError: If ``model`` is no module, or ``control`` no knob.
        ValueError: If it has no layer to give some, ``own_share`` lies outside [0, 1], or a
            pace is not above 0.

    Example:
        >>> from vsnn_lab import VariableLinear, Width, extract
        >>> hidden = Width(8)
        >>> net = nn.Sequential(VariableLinear(4, hidden), nn.ReLU(), VariableLinear(hidden, 2))
        >>> condition(net)
        ['0', '2']
        >>> extract(net, 3)[0]
        Linear(in_features=4, out_features=3, bias=True)
    """
    check_module("model", model)
    share = check_fraction("own_share", own_share)
    for name, value in (("pace", pace), ("wide_pace", wide_pace)):
        if not check_number(name, value, 0):
            raise ValueError(f"{name} must be above 0, got {value}")
    if rank is not None:
        rank = check_int("rank", rank)
    if control is not None and not isinstance(control, WidthControl):
        raise TypeError(f"control must be a WidthControl, or None, got {short_repr(control)}")
    layers = {
        name: layer
        for name, layer in model.named_modules()
        if type(layer) in SWITCHABLE
        and getattr(layer, "weight", None) is not None
        and any(knob.steps > 1 for knob in _knobs(layer, control))
    }
    if not layers:
        raise ValueError(
            "model must have a variable linear layer, convolution or norm that has no weights of "
            "its own for narrow widths yet, got none"
        )
    for layer in layers.values():
        layer.__class__ = SWITCHABLE[type(layer)]
        assert isinstance(layer, SwitchableLayer)
        layer.add_own_parameters(share, control, pace, wide_pace, rank)
    return [*layers]


def condition_on(
    model: nn.Module,
    control: WidthControl | None,
    pace: float = OWN_PACE,
    rank: int = OWN_RANK,
) -> None:
    """Give the variable layers of one of this package's models weights of their own, if asked."""
    if control is not None and control.steps > 1:
        condition(model, pace=pace, rank=rank, control=control)


def _knobs(layer: Any, control: WidthControl | None) -> list[WidthControl]:
    return knobs_of(layer.in_axis, layer.out_axis) or ([] if control is None else [control])


def condition_norms(model: nn.Module, per: Per = "position") -> list[str]:
    """Give the norms of a variable network a gain for each position of its knobs, in place.

    The weight of a norm is multiplied by the gain of the position, full width included, and a bias
    has a shift added. All are zero at first, so that nothing is changed until training moves them.
    A norm that spans a variable axis knows the knobs of that axis, any other all knobs of the
    network; of several the mean of their gains counts. `extract` folds them into the norm's weight
    and bias. Instance norms, norms over several dimensions and norms without a weight stay as they
    are, and so do those that have weights of their own for narrow widths (`condition`).

    Args:
        model: A variable network.
        per: Whether each position has a gain of its own, or each octave of them (1, 2, 3..4,
            5..8, ...) and full width.

    Returns:
        The names of the norms that have gains now.

    Raises:
        TypeError: If ``model`` is no module.
        ValueError: If it has no knob or no norm to give some, or ``per`` is neither.

    Example:
        >>> from vsnn_lab import VariableLinear, Width
        >>> hidden = Width(8)
        >>> net = nn.Sequential(nn.LayerNorm(4), VariableLinear(4, hidden))
        >>> condition_norms(net), net[0].gain.shape
        (['0'], torch.Size([8, 4]))
    """
    check_module("model", model)
    check_choice("per", per, ("position", "octave"))
    controls = check_controls(model)
    norms = {name: module for name, module in model.named_modules() if _takes_gains(module)}
    if not norms:
        raise ValueError(
            "model must have a norm with a weight over one axis that has no gains yet, got none"
        )
    for module in norms.values():
        if not isinstance(module, VariableLayer):
            module.__class__ = CONDITIONED[type(module)].__bases__[1]
            assert isinstance(module, Norm)
            module.set_axis(len(module.weight))  # type: ignore[arg-type]
        assert isinstance(module, Norm)
        module.__class__ = CONDITIONED[type(module)]
        module.add_gains(knobs_of(module.axis) or controls, per)  # type: ignore[operator]
    return [*norms]


def _takes_gains(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return type(module) in CONDITIONED and weight is not None and weight.dim() == 1
