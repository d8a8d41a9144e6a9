"""How each network of the comparison begins and trains.

- ``plain``: full width, alone;
- ``variable``: every width; narrow octaves of widths have weights of their own;
- ``dedicated-4``, ``-8`` and ``-16``: as large as the variable network is at that position, alone;
- ``ordered``: the plain network, its units ordered by a Taylor score, made variable and trained on
  for a third of the epochs;
- ``layers``: the same with a knob for each layer, all weights shared.
"""

from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vsnn_lab._basics.checks import check_choice
from vsnn_lab.networks import Taylor, condition
from vsnn_lab.networks.knob_choice import Knobs
from vsnn_lab.train.loop import seeded_rng
from vsnn_lab.train.recipes import Distilled, Draws, EachOctave, NarrowestAndRandom, Recipe
from vsnn_lab.train.vgg.network import STEPS, plain_vgg, variable_vgg
from vsnn_lab.widths import WidthControl

BATCH = 128
# All that begin anew train the same way. On validation images, one seed: rates of 2, 4 and 8 in a
# thousand give the plain network 93.3, 93.5 and 93.3 %, one of 16 positions 92.1, 92.4 and 92.5 %,
# and narrower ones gain more.
SETTINGS: dict[str, Any] = {"lr": 8e-3, "schedule": "one-cycle"}
# For those that begin with a trained network; not tuned.
FINE_TUNING: dict[str, Any] = {"lr": 1e-3, "schedule": "cosine"}
# Up to half of the knob, octaves of widths have weights of their own; wider ones share those of
# full width.
_OWN_SHARE = 0.5


class Method(NamedTuple):
    """How a network begins and trains.

    Attributes:
        position: The position whose size it has, if it is plain.
        own: Whether narrow widths have weights of their own.
        recipe: How a batch becomes a loss; of a plain network it is the loss.
        begins_with: The method whose network it begins with.
        knobs: How many there are, and how `fit` draws widths for them.
    """

    position: int | None = None
    own: bool = False
    recipe: Recipe = Distilled(EachOctave(rows=1.0, half=1.0, inner_rows=0.5))
    begins_with: str | None = None
    knobs: Literal["shared", "per_layer"] = "shared"

    @property
    def draws(self) -> Draws:
        """How widths are drawn for its knobs."""
        return "independent" if self.knobs == "per_layer" else "joint"


METHODS = {
    "plain": Method(STEPS),
    "variable": Method(own=True),
    "dedicated-4": Method(4),
    "dedicated-8": Method(8),
    "dedicated-16": Method(16),
    "ordered": Method(own=True, begins_with="plain"),
    "layers": Method(
        recipe=Distilled(NarrowestAndRandom(inner=2)), begins_with="plain", knobs="per_layer"
    ),
}  # fmt: skip


def untrained(
    method: str,
    seed: int = 0,
    weights: dict[str, Tensor] | None = None,
    scored: tuple[Tensor, Tensor] | None = None,
) -> nn.Module:
    """Return the network of a method as its training begins.

    Args:
        method: One of ``METHODS``.
        seed: Of its weights.
        weights: Those of the network that it begins with, if it is one that was trained before.
        scored: Images and classes that units are ordered by, of such a network.
    """
    how = METHODS[check_choice("method", method, tuple(METHODS))]
    with seeded_rng(seed, torch.device("cpu")):
        plain = plain_vgg(how.position or STEPS)
    if how.position is not None:
        return plain
    if weights is not None:
        plain.load_state_dict(weights)
    order = None
    if scored is not None:
        images, labels = scored
        pairs = zip(images.split(BATCH), labels.split(BATCH), strict=True)
        order = Taylor([*pairs], F.cross_entropy)
    model = variable_vgg(plain, order=order, knobs=_knobs(how))
    if how.own:
        condition(model, _OWN_SHARE)
    return model


def _knobs(how: Method) -> Knobs | None:
    if how.knobs == "shared":
        return None
    # As many positions for each layer as the one knob has for all.
    makers = [
        name
        for name, layer in plain_vgg().named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    # The last one makes the classes.
    return {name: WidthControl(STEPS, rounded=True) for name in makers[:-1]}
